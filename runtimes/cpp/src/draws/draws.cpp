// Seeds, and the draws of a seed.
#include "rr/draws.hpp"

#include <cerrno>
#include <cstring>

#include "rr/errors.hpp"
#include "text/text.hpp"

#if defined(__linux__)
#include <sys/random.h>
#else
#include <random>
#endif

namespace rr {

std::vector<float> draws(std::int64_t seed, std::size_t sites) {
    const Words words(check_seed(seed));
    std::vector<float> found(sites);
    for (std::size_t i = 0; i < sites; ++i) found[i] = words.draw(i);
    return found;
}

std::int64_t check_seed(std::int64_t seed) {
    if (seed < 0)
        throw ValueError(cat("seed: expected 0 <= seed < 2**63, got ", seed, "; pass one in that range, or none"));
    return seed;
}

std::int64_t fresh_seed() {
    std::uint64_t bits = 0;
#if defined(__linux__)
    // Every seed asks the system: numbers kept for later would be the same in processes that are copied meanwhile.
    for (std::size_t have = 0; have < sizeof bits;) {
        const ssize_t got = getrandom(reinterpret_cast<char*>(&bits) + have, sizeof bits - have, 0);
        if (got > 0) have += static_cast<std::size_t>(got);
        else if (errno != EINTR)
            throw RuntimeFailure(cat("seed: expected entropy of the operating system, got: ", std::strerror(errno),
                                     "; pass a seed"));
    }
#else
    std::random_device device;  // of the operating system in every standard library that this is built with
    bits = (std::uint64_t{device()} << 32) ^ device();
#endif
    return static_cast<std::int64_t>(bits >> 1);
}

}  // namespace rr
