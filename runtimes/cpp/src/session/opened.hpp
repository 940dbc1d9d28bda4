// ONNX Runtime's sessions on model files, and arrays as its tensors.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "rr/array.hpp"
#include "rr/manifest.hpp"

namespace rr {

/// Returns a session on a model file; throws BundleError where onnxruntime does not load it.
Ort::Session opened(const std::filesystem::path& model, int threads);

/// Returns the text of the manifest in a model's metadata; nothing where there is none.
std::optional<std::string> manifest_in(const Ort::Session& session);

/// Returns the same of a model file that the engine loads.
std::optional<std::string> engine_metadata(const std::filesystem::path& model);

/// An input or output of a graph.
struct Port {
    std::string name;
    std::optional<DType> dtype;       ///< none: no tensor of the contract's types
    std::vector<std::int64_t> shape;  ///< below 0 where the graph leaves a size open
};

/// Returns a graph's inputs, or its outputs; throws BundleError where a name is no text.
std::vector<Port> ports_of(const Ort::Session& session, bool inputs, const std::string& where);

/// Throws BundleError where a graph has not the inputs or outputs that are expected, in name, type, rank and fixed sizes.
void compare(const std::string& where, const char* side, const std::vector<Tensor>& expected, const std::vector<Port>& found);

/// Returns the tensors with the sizes that a target fixes.
std::vector<Tensor> fixed(std::vector<Tensor> tensors, const std::map<std::string, std::int64_t>& sizes);

/// Returns a tensor on the caller's numbers, which are not copied.
Ort::Value value_of(DType dtype, const std::vector<std::int64_t>& shape, const void* data);

/// The array takes what the engine made, without a copy.
void adopt(OrtValue* value, DType dtype, Array& into);

/// Throws RuntimeFailure where the engine failed in a run.
void throw_where_failed(OrtStatus* status, const std::string& where);

}  // namespace rr
