// Arrays of numpy's files: .npy, and .npz whose members are not compressed.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "rr/array.hpp"

namespace rr {

/// The bytes are no such file; the text says why.
struct NoArrays : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Returns the array of the bytes of a .npy file, in C order and of the order of bytes of this machine.
Array read_npy(std::string_view bytes);

/// Returns the arrays of a .npz file by name, as numpy.savez writes it: its members stand there as they are, so that what
/// is unpacked is no larger than the file. Throws NoArrays, or BundleError where it cannot be read.
std::map<std::string, Array> read_npz(const std::filesystem::path& file);

}  // namespace rr
