// ONNX Runtime's sessions on model files, and arrays as its tensors.
#include "session/opened.hpp"

#include <algorithm>
#include <set>

#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

constexpr const char* METADATA_KEY = "rr.manifest";

Ort::Env& environment() {
    static Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "rr_runtime");
    return env;
}

constexpr ONNXTensorElementDataType ELEMENTS[] = {
    ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,  ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,    ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,   ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,   ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16,  ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64};

ONNXTensorElementDataType element_of(DType dtype) { return ELEMENTS[static_cast<std::size_t>(dtype)]; }

std::optional<DType> dtype_of(ONNXTensorElementDataType element) {
    const auto found = std::find(std::begin(ELEMENTS), std::end(ELEMENTS), element);
    if (found == std::end(ELEMENTS)) return std::nullopt;
    return static_cast<DType>(found - std::begin(ELEMENTS));
}

Ort::Session opened_with(const std::filesystem::path& model, const Ort::SessionOptions& options) {
    try {
        return Ort::Session(environment(), model.c_str(), options);
    } catch (const Ort::Exception& error) {
        throw BundleError(cat(model.string(), ": expected an ONNX model that onnxruntime ", Ort::GetVersionString(),
                              " loads, got: ", error.what(),
                              "; copy or export it again (it may be cut short), or update onnxruntime"));
    }
}

}  // namespace

Ort::Session opened(const std::filesystem::path& model, int threads) {
    Ort::SessionOptions options;
    if (threads > 0) options.SetIntraOpNumThreads(threads);
    options.SetLogSeverityLevel(ORT_LOGGING_LEVEL_FATAL);  // its failures are thrown
#if defined(__x86_64__) || defined(_M_X64)
    // There the kernel of this fusion is slower than the nodes that it replaces.
    options.AddConfigEntry("optimization.disable_specified_optimizers", "SkipLayerNormFusion");
#endif
    return opened_with(model, options);
}

std::optional<std::string> manifest_in(const Ort::Session& session) {
    Ort::AllocatorWithDefaultOptions allocator;
    const auto text = session.GetModelMetadata().LookupCustomMetadataMapAllocated(METADATA_KEY, allocator);
    return text ? std::optional<std::string>(text.get()) : std::nullopt;
}

std::vector<Port> ports_of(const Ort::Session& session, bool inputs, const std::string& where) {
    Ort::AllocatorWithDefaultOptions allocator;
    std::vector<Port> found;
    for (std::size_t i = 0; i < (inputs ? session.GetInputCount() : session.GetOutputCount()); ++i) {
        const auto name = inputs ? session.GetInputNameAllocated(i, allocator) : session.GetOutputNameAllocated(i, allocator);
        if (!is_utf8(name.get()))
            throw BundleError(cat(where, ": expected an ONNX model that onnxruntime loads, got: a name that is no "
                                         "UTF-8; copy or export it again (it may be cut short), or update onnxruntime"));
        const auto type = inputs ? session.GetInputTypeInfo(i) : session.GetOutputTypeInfo(i);
        Port port{name.get(), std::nullopt, {}};
        if (type.GetONNXType() == ONNX_TYPE_TENSOR) {
            const auto info = type.GetTensorTypeAndShapeInfo();
            port.dtype = dtype_of(info.GetElementType());
            port.shape = info.GetShape();
        }
        found.push_back(std::move(port));
    }
    return found;
}

// A graph has the inputs or outputs that are expected, in name, type, rank and fixed sizes.
void compare(const std::string& where, const char* side, const std::vector<Tensor>& expected,
             const std::vector<Port>& found) {
    std::vector<std::string> wanted, got;
    for (const auto& tensor : expected) wanted.push_back(tensor.name);
    for (const auto& port : found) got.push_back(port.name);
    if (std::set<std::string>(wanted.begin(), wanted.end()) != std::set<std::string>(got.begin(), got.end()))
        throw BundleError(cat(where, ": expected the ", side, "s ", joined(wanted), " of its manifest, got ",
                              joined(got), "; export it again (a tool that changes the file may have dropped some)"));
    for (const auto& tensor : expected) {
        const auto& port = *std::find_if(found.begin(), found.end(), [&](const Port& p) { return p.name == tensor.name; });
        // A shape that the graph leaves open is told as [].
        bool same = port.dtype == tensor.dtype && (port.shape.empty() || port.shape.size() == tensor.shape.size());
        for (std::size_t axis = 0; same && axis < port.shape.size(); ++axis)
            if (const auto* size = std::get_if<std::int64_t>(&tensor.shape[axis]))
                same = port.shape[axis] < 0 || port.shape[axis] == *size;
        if (!same)
            throw BundleError(cat(where, ": ", side, " ", rr::quoted(tensor.name), ": expected ", name_of(tensor.dtype),
                                  " ", tensor.sizes(), " of its manifest, got ",
                                  port.dtype ? name_of(*port.dtype) : "no tensor of these", " ", listed(port.shape),
                                  "; export it again"));
    }
}

std::vector<Tensor> fixed(std::vector<Tensor> tensors, const std::map<std::string, std::int64_t>& sizes) {
    for (auto& tensor : tensors)
        for (auto& size : tensor.shape)
            if (const auto* name = std::get_if<std::string>(&size))
                if (const auto found = sizes.find(*name); found != sizes.end()) size = found->second;
    return tensors;
}

Ort::Value value_of(DType dtype, const std::vector<std::int64_t>& shape, const void* data) {
    static const Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const std::size_t bytes = count_of(shape, size_of(dtype)).value_or(0) * size_of(dtype);
    // Inputs are read only, though onnxruntime's signature does not say so.
    return Ort::Value::CreateTensor(memory, const_cast<void*>(data), bytes, shape.data(), shape.size(), element_of(dtype));
}

std::optional<std::string> engine_metadata(const std::filesystem::path& model) {
    Ort::SessionOptions options;
    options.SetGraphOptimizationLevel(ORT_DISABLE_ALL);
    options.SetIntraOpNumThreads(1);
    options.SetLogSeverityLevel(ORT_LOGGING_LEVEL_FATAL);  // its failures are thrown
    return manifest_in(opened_with(model, options));
}

void adopt(OrtValue* value, DType dtype, Array& into) {
    const Ort::UnownedValue held(value);
    ONNXTensorElementDataType element{};
    Ort::Value::Shape shape{};
    held.GetTensorElementTypeAndShapeDataReference(element, shape);
    into.adopt(dtype, shape.shape, shape.shape_len, Ort::UnownedValue(value).GetTensorMutableRawData(), value,
               [](void* owner) { Ort::GetApi().ReleaseValue(static_cast<OrtValue*>(owner)); });
}

void throw_where_failed(OrtStatus* status, const std::string& where) {
    if (!status) return;
    const Ort::Status failed(status);
    throw RuntimeFailure(cat(where, ": expected a run on cpu, got: ", failed.GetErrorMessage(),
                             "; check the values of the inputs"));
}

}  // namespace rr
