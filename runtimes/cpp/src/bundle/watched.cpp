// Files that are read now and opened later.
#include "bundle/watched.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

template <typename Stat>
auto parts(const Stat& found) {
#if defined(__APPLE__)
    const auto& changed = found.st_mtimespec;
    const auto& recorded = found.st_ctimespec;
#else
    const auto& changed = found.st_mtim;
    const auto& recorded = found.st_ctim;
#endif
    const auto nanoseconds = [](const auto& time) {
        return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::int64_t>(time.tv_nsec);
    };
    return std::make_tuple(static_cast<std::uint64_t>(found.st_dev), static_cast<std::uint64_t>(found.st_ino),
                           static_cast<std::int64_t>(found.st_size), nanoseconds(changed), nanoseconds(recorded));
}

}  // namespace

std::string Watched::digest(const std::filesystem::path& place, Hash hash) {
    auto& seen = seen_[place];
    if (!stamp_of(place, seen.stamp))  // before it is read: what changes meanwhile is a change
        throw BundleError(cat(place.string(), ": expected a readable file, got ", std::strerror(errno),
                              "; check its permissions"));
    return seen.digests[hash] = digest_of_file(hash, place);
}

void Watched::renew() {
    for (const auto& [place, seen] : std::map(seen_)) {
        Stamp now;
        if (stamp_of(place, now) && now == seen.stamp) continue;
        for (const auto& [name, told] : seen.digests)
            if (digest(place, name) != told)
                throw BundleError(cat(place.string(), ": expected the file that was checked when the bundle was opened, "
                                                      "got another; open the bundle again"));
    }
}

void Watched::check() const {
    for (const auto& [place, seen] : seen_) {
        Stamp now;
        if (!stamp_of(place, now) || now != seen.stamp)
            throw BundleError(cat(place.string(), ": expected the file that was checked, got one that was changed while "
                                                  "it was opened; open the bundle again when nothing writes to it"));
    }
}

bool Watched::stamp_of(const std::filesystem::path& place, Stamp& stamp) noexcept {
    struct stat found{};
    if (stat(place.c_str(), &found) != 0) return false;
    stamp = parts(found);
    return true;
}

}  // namespace rr
