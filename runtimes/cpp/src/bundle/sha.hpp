// SHA-256 of recorded files, and SHA-1, which ONNX has for external data (FIPS 180-4). They find damage, no more.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace rr {

enum class Hash { sha1, sha256 };

/// Returns the digest of bytes in lower-case hexadecimal.
std::string digest_of(Hash hash, std::string_view bytes);

/// Returns the digest of a file's bytes; throws BundleError where it cannot be read.
std::string digest_of_file(Hash hash, const std::filesystem::path& file);

}  // namespace rr
