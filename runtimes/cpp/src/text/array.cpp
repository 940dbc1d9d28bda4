// Arrays and their dtypes.
#include "rr/array.hpp"

#include <array>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

struct Known {
    const char* name;
    std::size_t size;
};
constexpr std::array<Known, 12> KNOWN{{{"float16", 2}, {"float32", 4}, {"float64", 8}, {"bool", 1},
                                       {"int8", 1}, {"int16", 2}, {"int32", 4}, {"int64", 8},
                                       {"uint8", 1}, {"uint16", 2}, {"uint32", 4}, {"uint64", 8}}};

template <typename T>
double at(const void* data, std::size_t i) noexcept {
    return static_cast<double>(static_cast<const T*>(data)[i]);
}

}  // namespace

const char* name_of(DType dtype) noexcept { return KNOWN[static_cast<std::size_t>(dtype)].name; }
std::size_t size_of(DType dtype) noexcept { return KNOWN[static_cast<std::size_t>(dtype)].size; }

std::optional<DType> dtype_named(std::string_view name) noexcept {
    for (std::size_t i = 0; i < KNOWN.size(); ++i)
        if (name == KNOWN[i].name) return static_cast<DType>(i);
    return std::nullopt;
}

std::optional<std::size_t> count_of(const std::vector<std::int64_t>& shape, std::size_t bytes_each) noexcept {
    constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    std::uint64_t bytes = bytes_each;
    bool empty = false;
    for (const auto size : shape) {
        if (size < 0) return std::nullopt;
        if (size == 0) {
            empty = true;
            continue;
        }
        if (bytes > most / static_cast<std::uint64_t>(size)) return std::nullopt;
        bytes *= static_cast<std::uint64_t>(size);
    }
    return empty ? 0 : static_cast<std::size_t>(bytes / bytes_each);
}

Array::Array(DType dtype, std::vector<std::int64_t> shape) : dtype_(dtype), shape_(std::move(shape)) {
    const auto count = count_of(shape_, size_of(dtype));
    if (!count) throw ValueError(cat("array: expected a shape that fits in memory, got ", listed(shape_), "; mend it"));
    count_ = *count;
    data_ = std::calloc(count_ ? count_ : 1, size_of(dtype));
    if (!data_) throw std::bad_alloc();
    owner_ = {data_, [](void* memory) { std::free(memory); }};
}

Array::Array(DType dtype, std::vector<std::int64_t> shape, void* data, void* owner, void (*release)(void*))
    : dtype_(dtype), shape_(std::move(shape)), count_(count_of(shape_, size_of(dtype)).value_or(0)), data_(data),
      owner_(owner, release) {}

void Array::adopt(DType dtype, const std::int64_t* sizes, std::size_t rank, void* data, void* owner,
                  void (*release)(void*)) {
    owner_ = {owner, release};
    dtype_ = dtype;
    shape_.assign(sizes, sizes + rank);
    count_ = count_of(shape_, size_of(dtype)).value_or(0);
    data_ = data;
}

Array Array::copy() const {
    Array made(dtype_, shape_);
    if (count_) std::memcpy(made.data(), data_, bytes());
    return made;
}

double Array::number(std::size_t i) const noexcept {
    switch (dtype_) {
        case DType::float16: return static_cast<double>(half_to_float(static_cast<const std::uint16_t*>(data_)[i]));
        case DType::float32: return at<float>(data_, i);
        case DType::float64: return at<double>(data_, i);
        case DType::boolean: return static_cast<const std::uint8_t*>(data_)[i] ? 1.0 : 0.0;
        case DType::int8: return at<std::int8_t>(data_, i);
        case DType::int16: return at<std::int16_t>(data_, i);
        case DType::int32: return at<std::int32_t>(data_, i);
        case DType::int64: return at<std::int64_t>(data_, i);
        case DType::uint8: return at<std::uint8_t>(data_, i);
        case DType::uint16: return at<std::uint16_t>(data_, i);
        case DType::uint32: return at<std::uint32_t>(data_, i);
        case DType::uint64: return at<std::uint64_t>(data_, i);
    }
    return 0.0;
}

void Array::check(DType dtype) const {
    if (dtype != dtype_)
        throw TypeError(cat("array: expected ", name_of(dtype), ", got ", name_of(dtype_), "; read it as that"));
}

float half_to_float(std::uint16_t bits) noexcept {
    const std::uint32_t sign = std::uint32_t{bits} >> 15 << 31;
    const std::uint32_t exponent = bits >> 10 & 0x1F, fraction = bits & 0x3FF;
    float found = 0;
    if (exponent == 0) {
        found = static_cast<float>(fraction) * 0x1p-24F;
        return sign ? -found : found;
    }
    const std::uint32_t wide =
        exponent == 0x1F ? sign | 0x7F800000U | fraction << 13 : sign | (exponent + 112) << 23 | fraction << 13;
    std::memcpy(&found, &wide, sizeof found);
    return found;
}

}  // namespace rr
