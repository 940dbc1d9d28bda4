// Seed to draws: the counter-based generator that every runtime and every exported graph shares (section 3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rr {

/// SplitMix64's finaliser of a number, modulo 2^64.
constexpr std::uint64_t mix64(std::uint64_t z) noexcept {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

/// The words z(0), z(1), ... of a seed, all different; draws are their top 24 bits.
class Words {
public:
    explicit Words(std::int64_t seed) noexcept : key_(mix64(static_cast<std::uint64_t>(seed))) {}

    std::uint64_t word(std::uint64_t i) const noexcept { return mix64(key_ + (i + 1) * 0x9E3779B97F4A7C15ULL); }

    /// The draw of site i as a whole number below 2^24.
    std::uint32_t number(std::uint64_t i) const noexcept { return static_cast<std::uint32_t>(word(i) >> 40); }

    /// The draw of site i, in [0, 1); the conversion and the product are exact.
    float draw(std::uint64_t i) const noexcept { return static_cast<float>(number(i)) * 0x1p-24F; }

private:
    std::uint64_t key_;
};

/// Returns the draws of a seed, float32 [sites], in [0, 1): the same bit for bit on every machine.
/// Throws ValueError where the seed is negative.
std::vector<float> draws(std::int64_t seed, std::size_t sites);

/// Returns the seed itself, 0 <= seed < 2^63; throws ValueError where it is negative.
std::int64_t check_seed(std::int64_t seed);

/// Returns a seed from the operating system's entropy, uniform in [0, 2^63); every call asks the system.
std::int64_t fresh_seed();

}  // namespace rr
