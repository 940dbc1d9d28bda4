// What is shipped: a bundle folder, every file checked against its recorded hash, or a single model file (section 8).
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "rr/manifest.hpp"

namespace rr {

/// Returns the text of a model file's metadata `rr.manifest`, nothing where there is none; throws BundleError where the
/// engine does not load the file.
using MetadataReader = std::function<std::optional<std::string>(const std::filesystem::path&)>;

class Watched;

/// A bundle whose files are what its manifest says.
struct Bundle {
    std::filesystem::path path;                  ///< the folder or file that was opened
    std::optional<std::filesystem::path> model;  ///< its own model; none where the folder has targets only
    Manifest manifest;
    std::shared_ptr<Watched> watched;            ///< the files that were hashed when it was opened

    /// Returns the bundle in a folder, or in a single `.onnx` file. In a folder, the size and SHA-256 of every recorded
    /// file are right afterwards, external weights included. A folder without a manifest stands for its folder `onnx`,
    /// where that has one. Throws BundleError where there is none, or it is damaged.
    /// `engine` returns the manifest's text in a single file that is no protobuf, such as one in the engine's own format.
    static Bundle open(const std::filesystem::path& place, const MetadataReader& engine = {});
};

}  // namespace rr
