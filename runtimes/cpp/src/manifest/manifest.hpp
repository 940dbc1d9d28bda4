// What is asked of a manifest before it is read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace rr {

constexpr std::uint64_t MOST_MANIFEST_BYTES = std::uint64_t{1} << 24;

/// Throws BundleError where a manifest is longer than any that is written: nothing of it is read.
void refuse_long_manifest(std::uint64_t size, const std::string& where);

/// Tells whether a text is JSON of the format `rr.manifest`, be the rest of it damaged.
bool is_manifest(std::string_view json);

}  // namespace rr
