// Repeats the recorded runs of a bundle and compares their outputs.
#pragma once

#include <cstddef>

#include "rr/session.hpp"

namespace rr {

/// Returns how many recorded runs were repeated; see Session::check.
std::size_t check_golden(Session& session, const Bundle& bundle, const Target* target);

}  // namespace rr
