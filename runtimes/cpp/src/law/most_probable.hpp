// The most probable path that a run reports.
#pragma once

#include "rr/manifest.hpp"

namespace rr {

/// Returns the most probable reported path of sites without gates, S routes, -1 where a site is not reached; of paths whose
/// probabilities differ by less than a relative 1e-9, one of them.
Path most_probable_of(const std::vector<Site>& sites);

}  // namespace rr
