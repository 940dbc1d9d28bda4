// Names of files that a bundle may have: on every system they name a file of their own, inside the bundle's folder.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rr {

/// Tells whether a relative name, parts apart by "/", names a file below the folder it is joined to on every system.
bool is_portable(std::string_view name);

/// Returns two names that are one file on some system, or of which one is a folder of the other, if there are any.
std::optional<std::pair<std::string, std::string>> colliding(std::vector<std::string> names);

}  // namespace rr
