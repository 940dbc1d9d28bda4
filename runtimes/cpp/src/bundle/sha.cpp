// SHA-1 and SHA-256 as FIPS 180-4 states them, over blocks of 64 bytes.
#include "bundle/sha.hpp"

#include <array>
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <vector>

#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

constexpr std::uint32_t rotated(std::uint32_t x, unsigned n) { return x >> n | x << (32 - n); }

constexpr std::array<std::uint32_t, 64> K256{
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

class Digest {
public:
    explicit Digest(Hash hash) : hash_(hash) {
        if (hash == Hash::sha1) state_ = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
        else
            state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    }

    void add(const unsigned char* bytes, std::size_t count) {
        length_ += count;
        while (count) {
            const std::size_t part = std::min(count, block_.size() - used_);
            std::memcpy(block_.data() + used_, bytes, part);
            used_ += part;
            bytes += part;
            count -= part;
            if (used_ == block_.size()) take();
        }
    }

    std::string end() {
        const std::uint64_t bits = length_ * 8;
        const unsigned char first = 0x80, zero = 0;
        add(&first, 1);
        while (used_ != 56) add(&zero, 1);
        for (unsigned i = 0; i < 8; ++i) {
            const auto byte = static_cast<unsigned char>(bits >> (56 - 8 * i));
            add(&byte, 1);
        }
        std::string text;
        for (std::size_t i = 0; i < (hash_ == Hash::sha1 ? 5U : 8U); ++i)
            for (unsigned shift = 32; shift > 0; shift -= 4) text += "0123456789abcdef"[state_[i] >> (shift - 4) & 15U];
        return text;
    }

private:
    void take() {
        used_ = 0;
        std::array<std::uint32_t, 80> w{};
        for (std::size_t i = 0; i < 16; ++i)
            for (std::size_t b = 0; b < 4; ++b) w[i] = w[i] << 8 | block_[4 * i + b];
        if (hash_ == Hash::sha1) take_sha1(w);
        else take_sha256(w);
    }

    void take_sha1(std::array<std::uint32_t, 80>& w) {
        for (std::size_t i = 16; i < 80; ++i) w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 31);
        auto [a, b, c, d, e, f, g, h] = state_;
        for (std::size_t i = 0; i < 80; ++i) {
            const std::uint32_t chosen = i < 20   ? (b & c) | (~b & d)
                                         : i < 40 ? b ^ c ^ d
                                         : i < 60 ? (b & c) | (b & d) | (c & d)
                                                  : b ^ c ^ d;
            const std::uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
            const std::uint32_t next = rotated(a, 27) + chosen + e + k + w[i];
            e = d;
            d = c;
            c = rotated(b, 2);
            b = a;
            a = next;
        }
        put({a, b, c, d, e, 0, 0, 0});
    }

    void take_sha256(std::array<std::uint32_t, 80>& w) {
        for (std::size_t i = 16; i < 64; ++i) {
            const std::uint32_t s0 = rotated(w[i - 15], 7) ^ rotated(w[i - 15], 18) ^ w[i - 15] >> 3;
            const std::uint32_t s1 = rotated(w[i - 2], 17) ^ rotated(w[i - 2], 19) ^ w[i - 2] >> 10;
            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        auto [a, b, c, d, e, f, g, h] = state_;
        for (std::size_t i = 0; i < 64; ++i) {
            const std::uint32_t s1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
            const std::uint32_t one = h + s1 + ((e & f) ^ (~e & g)) + K256[i] + w[i];
            const std::uint32_t s0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
            const std::uint32_t two = s0 + ((a & b) ^ (a & c) ^ (b & c));
            h = g;
            g = f;
            f = e;
            e = d + one;
            d = c;
            c = b;
            b = a;
            a = one + two;
        }
        put({a, b, c, d, e, f, g, h});
    }

    void put(const std::array<std::uint32_t, 8>& added) {
        for (std::size_t i = 0; i < 8; ++i) state_[i] += added[i];
    }

    Hash hash_;
    std::array<std::uint32_t, 8> state_{};
    std::array<unsigned char, 64> block_{};
    std::size_t used_ = 0;
    std::uint64_t length_ = 0;
};

}  // namespace

std::string digest_of(Hash hash, std::string_view bytes) {
    Digest digest(hash);
    digest.add(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    return digest.end();
}

std::string digest_of_file(Hash hash, const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    Digest digest(hash);
    std::vector<char> part(std::size_t{1} << 20);
    while (stream) {
        stream.read(part.data(), static_cast<std::streamsize>(part.size()));
        digest.add(reinterpret_cast<const unsigned char*>(part.data()), static_cast<std::size_t>(stream.gcount()));
    }
    if (!stream.eof())
        throw BundleError(
            cat(file.string(), ": expected a readable file, got none that can be read; check its permissions"));
    return digest.end();
}

}  // namespace rr
