// Arrays as they go in and come out: a dtype, a shape and numbers row by row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rr {

/// The dtypes of the contract, with numpy's names; half precision numbers are carried as their bits.
enum class DType : std::uint8_t {
    float16, float32, float64, boolean, int8, int16, int32, int64, uint8, uint16, uint32, uint64
};

const char* name_of(DType dtype) noexcept;
std::size_t size_of(DType dtype) noexcept;  ///< bytes of one number
std::optional<DType> dtype_named(std::string_view name) noexcept;
inline bool is_float(DType dtype) noexcept { return dtype <= DType::float64; }

/// Returns the number of elements of a shape, or nothing where that or its bytes overflow or a size is negative.
std::optional<std::size_t> count_of(const std::vector<std::int64_t>& shape, std::size_t bytes_each) noexcept;

/// The dtype of a C++ type.
template <typename T> struct DTypeOf;
template <> struct DTypeOf<float> { static constexpr DType value = DType::float32; };
template <> struct DTypeOf<double> { static constexpr DType value = DType::float64; };
template <> struct DTypeOf<bool> { static constexpr DType value = DType::boolean; };
template <> struct DTypeOf<std::int8_t> { static constexpr DType value = DType::int8; };
template <> struct DTypeOf<std::int16_t> { static constexpr DType value = DType::int16; };
template <> struct DTypeOf<std::int32_t> { static constexpr DType value = DType::int32; };
template <> struct DTypeOf<std::int64_t> { static constexpr DType value = DType::int64; };
template <> struct DTypeOf<std::uint8_t> { static constexpr DType value = DType::uint8; };
template <> struct DTypeOf<std::uint16_t> { static constexpr DType value = DType::uint16; };
template <> struct DTypeOf<std::uint32_t> { static constexpr DType value = DType::uint32; };
template <> struct DTypeOf<std::uint64_t> { static constexpr DType value = DType::uint64; };

/// An array that owns its memory, or holds what the engine made; it is moved, never copied silently.
class Array {
public:
    Array() = default;

    /// Makes an array of zeros.
    Array(DType dtype, std::vector<std::int64_t> shape);

    /// Makes an array that holds memory of others, which `release(owner)` frees.
    Array(DType dtype, std::vector<std::int64_t> shape, void* data, void* owner, void (*release)(void*));

    Array(Array&&) noexcept = default;
    Array& operator=(Array&&) noexcept = default;

    DType dtype() const noexcept { return dtype_; }
    const std::vector<std::int64_t>& shape() const noexcept { return shape_; }
    std::size_t count() const noexcept { return count_; }
    std::size_t bytes() const noexcept { return count_ * size_of(dtype_); }
    const void* data() const noexcept { return data_; }
    void* data() noexcept { return data_; }

    /// Returns the numbers; throws TypeError where they are of another type.
    template <typename T> const T* as() const {
        check(DTypeOf<T>::value);
        return static_cast<const T*>(data_);
    }
    template <typename T> T* as() {
        check(DTypeOf<T>::value);
        return static_cast<T*>(data_);
    }

    /// Returns one number as float64, whatever the dtype.
    double number(std::size_t i) const noexcept;

    Array copy() const;

    /// The array takes other memory, and keeps the room of its shape.
    void adopt(DType dtype, const std::int64_t* sizes, std::size_t rank, void* data, void* owner, void (*release)(void*));

    /// The memory goes back; dtype and shape stay until the next `adopt`.
    void drop() noexcept { owner_.reset(); data_ = nullptr; count_ = 0; }

private:
    void check(DType dtype) const;
    DType dtype_ = DType::float32;
    std::vector<std::int64_t> shape_;
    std::size_t count_ = 0;
    void* data_ = nullptr;
    std::unique_ptr<void, void (*)(void*)> owner_{nullptr, [](void*) {}};
};

/// One input of a run: its name, and numbers of the caller, which stay where they are while it runs.
struct Input {
    std::string name;
    DType dtype = DType::float32;
    std::vector<std::int64_t> shape;
    const void* data = nullptr;

    Input() = default;
    Input(std::string name_, DType dtype_, std::vector<std::int64_t> shape_, const void* data_)
        : name(std::move(name_)), dtype(dtype_), shape(std::move(shape_)), data(data_) {}
    template <typename T>
    Input(std::string name_, std::vector<std::int64_t> shape_, const T* data_)
        : Input(std::move(name_), DTypeOf<T>::value, std::move(shape_), data_) {}
    Input(std::string name_, const Array& array)
        : Input(std::move(name_), array.dtype(), array.shape(), array.data()) {}
};

using Inputs = std::vector<Input>;

/// Returns the float32 number of the bits of a half precision number.
float half_to_float(std::uint16_t bits) noexcept;

}  // namespace rr
