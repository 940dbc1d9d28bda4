// Holds the arguments of a run against the manifest before the graph runs (section 10).
#pragma once

#include <map>
#include <string>

#include "rr/manifest.hpp"
#include "rr/session.hpp"

namespace rr {

/// Throws TypeError or ValueError where inputs are not those of the model; `order` gets, for each declared input, its
/// place in `inputs`.
void check_inputs(const Inputs& inputs, const std::vector<Tensor>& declared, const std::map<std::string, Bounds>& axes,
                  std::vector<std::size_t>& order);

/// Throws ValueError where a path is not S routes, each -1 or a branch of its site.
void check_path(const Path& path, const std::vector<Site>& sites);

/// Returns the measured profile of the best quality that costs at most a share; of equal ones the cheaper, then the
/// first. Throws ValueError where the share is not above 0, or there is none.
const Profile& best_within(const std::vector<Profile>& profiles, double budget);

/// Returns the profile of a name, or the best within a budget.
const Profile& find_profile(const Manifest& manifest, const Ask& ask, const std::string& where);

/// Throws ValueError where something is given to a file that takes neither seed nor path; `also` names what else is given.
void refuse_given(const Ask& ask, const Manifest& manifest, const std::string& where, const char* also = nullptr);

}  // namespace rr
