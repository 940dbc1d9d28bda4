// Files that are read now and opened by an engine later: whether they are still what was read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <tuple>

#include "bundle/sha.hpp"

namespace rr {

/// The files that were hashed, and the system's record of each: device, number, size and times of the last change. A file
/// that is written to, or that another one takes the place of, has another record, also where it is put back.
class Watched {
public:
    /// Returns the hash of a file, which is watched from now on; throws BundleError where it cannot be read.
    std::string digest(const std::filesystem::path& place, Hash hash);

    /// Throws BundleError where a file has another content; those with another record are hashed again.
    void renew();

    /// Throws BundleError where a file was changed since it was hashed.
    void check() const;

private:
    using Stamp = std::tuple<std::uint64_t, std::uint64_t, std::int64_t, std::int64_t, std::int64_t>;
    struct Seen {
        Stamp stamp;
        std::map<Hash, std::string> digests;
    };
    static bool stamp_of(const std::filesystem::path& place, Stamp& stamp) noexcept;
    std::map<std::filesystem::path, Seen> seen_;
};

}  // namespace rr
