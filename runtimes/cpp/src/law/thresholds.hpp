// The thresholds of a row of probabilities (section 4).
#pragma once

#include <vector>

#include "rr/manifest.hpp"

namespace rr {

constexpr double ROW_SUM_TOLERANCE = 1e-6;
constexpr double THRESHOLD_TOLERANCE = 0x1p-23;  // by which a threshold may differ from the cumulated probabilities

/// Returns the thresholds of a row before they are rounded: the sums of its first numbers, 1 where nothing remains.
Row cumulated(const Row& law);

}  // namespace rr
