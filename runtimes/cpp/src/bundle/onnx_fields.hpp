// What a model file says about other files and itself, read off its bytes before an engine loads it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace rr {

/// The reason why bytes are no protobuf message.
struct NoProtobuf {
    std::string what;
};

/// By the name of each file that tensors of a model lie in: what they say of its SHA-1 (one text where it is whole).
using ExternalFiles = std::map<std::string, std::set<std::string>>;

/// Returns the files that the tensors of an ONNX model lie in; throws NoProtobuf.
ExternalFiles external_files(std::string_view model);

/// Returns the value of a key in a model's metadata, of several the last one; throws NoProtobuf.
std::optional<std::string_view> metadata(std::string_view model, std::string_view key);

}  // namespace rr
