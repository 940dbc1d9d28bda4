// Whole numbers of any size, as far as stratified draws need them: in digits of 24 bits, least first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace rr {

/// A number >= 0. A draw is one digit, so numbers below 2^(24 S) have S digits.
class BigUnsigned {
public:
    static constexpr unsigned BITS = 24;
    static constexpr std::uint32_t BASE = 1U << BITS;

    BigUnsigned() = default;
    explicit BigUnsigned(std::uint64_t number);

    /// Returns 2^(24 digits).
    static BigUnsigned power(std::size_t digits);

    void append(std::uint32_t digit);             ///< *this = *this * 2^24 + digit
    void shift_down();                            ///< *this = *this / 2^24
    void divide(std::uint32_t divisor);           ///< *this = *this / divisor, rounded down; divisor < 2^32
    void subtract(const BigUnsigned& other);      ///< other <= *this
    BigUnsigned times(std::uint32_t factor) const;  ///< factor <= 2^24
    int compare(const BigUnsigned& other) const noexcept;  ///< below, at or above 0, as *this is to other

    /// Returns *this / other, rounded down, where that is below 2^24 and other is not 0.
    std::uint32_t quotient(const BigUnsigned& other) const;

    std::string hexadecimal() const;

private:
    void trim();
    std::vector<std::uint32_t> digits_;
};

}  // namespace rr
