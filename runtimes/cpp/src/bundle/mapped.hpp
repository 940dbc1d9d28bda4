// The bytes of a file, mapped into memory: what is not looked at is not read.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace rr {

/// A file of which nothing is changed.
class Mapped {
public:
    /// Throws BundleError where the file cannot be read.
    explicit Mapped(const std::filesystem::path& file);
    ~Mapped();
    Mapped(const Mapped&) = delete;
    Mapped& operator=(const Mapped&) = delete;
    std::string_view bytes() const noexcept { return {static_cast<const char*>(data_), size_}; }

private:
    void* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace rr
