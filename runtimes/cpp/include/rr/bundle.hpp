// What is shipped: a bundle folder, every file checked against its recorded hash, or a single model file (section 8).
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "rr/manifest.hpp"

namespace rr {

/// A bundle whose files are what its manifest says.
struct Bundle {
    std::filesystem::path path;                  ///< the folder or file that was opened
    std::optional<std::filesystem::path> model;  ///< its own model; none where the folder has targets only
    Manifest manifest;

    /// Returns the bundle in a folder, or in a single `.onnx` file. In a folder, the size and SHA-256 of every recorded
    /// file are right afterwards, external weights included. A folder without a manifest stands for its folder `onnx`,
    /// where that has one. Throws BundleError where there is none, or it is damaged.
    static Bundle open(const std::filesystem::path& place);
};

}  // namespace rr
