// Whole numbers of any size.
#include "draws/big_unsigned.hpp"

namespace rr {

BigUnsigned::BigUnsigned(std::uint64_t number) {
    for (; number; number >>= BITS) digits_.push_back(static_cast<std::uint32_t>(number % BASE));
}

BigUnsigned BigUnsigned::power(std::size_t digits) {
    BigUnsigned found;
    found.digits_.assign(digits + 1, 0);
    found.digits_.back() = 1;
    return found;
}

void BigUnsigned::append(std::uint32_t digit) {
    digits_.insert(digits_.begin(), digit);
    trim();
}

void BigUnsigned::shift_down() {
    if (!digits_.empty()) digits_.erase(digits_.begin());
}

void BigUnsigned::divide(std::uint32_t divisor) {
    std::uint64_t rest = 0;
    for (std::size_t i = digits_.size(); i-- > 0;) {
        rest = rest << BITS | digits_[i];
        digits_[i] = static_cast<std::uint32_t>(rest / divisor);
        rest %= divisor;
    }
    trim();
}

void BigUnsigned::subtract(const BigUnsigned& other) {
    std::int64_t borrow = 0;
    for (std::size_t i = 0; i < digits_.size(); ++i) {
        std::int64_t digit = std::int64_t{digits_[i]} - borrow - (i < other.digits_.size() ? other.digits_[i] : 0);
        borrow = digit < 0;
        digits_[i] = static_cast<std::uint32_t>(digit + borrow * BASE);
    }
    trim();
}

BigUnsigned BigUnsigned::times(std::uint32_t factor) const {
    BigUnsigned found;
    std::uint64_t carry = 0;
    for (const auto digit : digits_) {
        carry += std::uint64_t{digit} * factor;
        found.digits_.push_back(static_cast<std::uint32_t>(carry % BASE));
        carry >>= BITS;
    }
    for (; carry; carry >>= BITS) found.digits_.push_back(static_cast<std::uint32_t>(carry % BASE));
    found.trim();
    return found;
}

int BigUnsigned::compare(const BigUnsigned& other) const noexcept {
    if (digits_.size() != other.digits_.size()) return digits_.size() < other.digits_.size() ? -1 : 1;
    for (std::size_t i = digits_.size(); i-- > 0;)
        if (digits_[i] != other.digits_[i]) return digits_[i] < other.digits_[i] ? -1 : 1;
    return 0;
}

std::uint32_t BigUnsigned::quotient(const BigUnsigned& other) const {
    std::uint32_t low = 0, high = BASE - 1;  // the quotient lies between them, both included
    while (low < high) {
        const std::uint32_t middle = low + (high - low + 1) / 2;
        if (other.times(middle).compare(*this) <= 0) low = middle;
        else high = middle - 1;
    }
    return low;
}

std::string BigUnsigned::hexadecimal() const {
    std::string found;
    for (std::size_t i = digits_.size(); i-- > 0;)
        for (unsigned shift = BITS; shift > 0; shift -= 4)
            found += "0123456789abcdef"[digits_[i] >> (shift - 4) & 15U];
    const auto first = found.find_first_not_of('0');
    return first == found.npos ? "0" : found.substr(first);
}

void BigUnsigned::trim() {
    while (!digits_.empty() && digits_.back() == 0) digits_.pop_back();
}

}  // namespace rr
