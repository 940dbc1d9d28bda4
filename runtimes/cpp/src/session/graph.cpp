// Runs one graph. What a run needs besides the caller's arrays is made once per thread that runs at the same time, and
// kept: the inputs that the interface adds, the place of the path taken, and onnxruntime's handles of the caller's arrays
// as long as these stay where they are.
#include "session/graph.hpp"

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <set>

#include "rr/draws.hpp"
#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

constexpr const char* TAKEN = "rr_path_taken";
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

Ort::Value value_of(DType dtype, const std::vector<std::int64_t>& shape, const void* data) {
    static const Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const std::size_t bytes = count_of(shape, size_of(dtype)).value_or(0) * size_of(dtype);
    // Inputs are read only, though onnxruntime's signature does not say so.
    return Ort::Value::CreateTensor(memory, const_cast<void*>(data), bytes, shape.data(), shape.size(), element_of(dtype));
}

Ort::Session opened(const std::filesystem::path& model, const Ort::SessionOptions& options) {
    try {
        return Ort::Session(environment(), model.c_str(), options);
    } catch (const Ort::Exception& error) {
        throw BundleError(cat(model.string(), ": expected an ONNX model that onnxruntime ", Ort::GetVersionString(),
                              " loads, got: ", error.what(),
                              "; copy or export it again (it may be cut short), or update onnxruntime"));
    }
}

std::optional<std::string> manifest_in(const Ort::Session& session) {
    Ort::AllocatorWithDefaultOptions allocator;
    const auto text = session.GetModelMetadata().LookupCustomMetadataMapAllocated(METADATA_KEY, allocator);
    return text ? std::optional<std::string>(text.get()) : std::nullopt;
}

struct Port {
    std::string name;
    std::optional<DType> dtype;
    std::vector<std::int64_t> shape;  // below 0 where the graph leaves a size open
};

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

struct Gate {
    std::string name;
    std::size_t site = 0;
    std::int64_t middle = 0;  // the least route for which it is true
};

// Returns the inputs that are gates.
std::vector<Gate> gates_of(const std::vector<Port>& inputs, const Manifest& manifest, const std::string& where) {
    std::vector<Gate> found;
    for (const auto& port : inputs) {
        if (port.name.rfind("rr_gate.", 0) != 0) continue;
        unsigned long long site = 0, middle = 0;
        int end = 0;
        const bool read = std::sscanf(port.name.c_str(), "rr_gate.%9llu.%9llu%n", &site, &middle, &end) == 2 &&
                          port.name == cat("rr_gate.", site, ".", middle);
        if (!read || site >= manifest.sites.size() || middle < 1 || middle >= manifest.sites[site].branches.size())
            throw BundleError(cat(where, ": input ", rr::quoted(port.name),
                                  ": expected a gate of a site, got another; export it again"));
        found.push_back({port.name, static_cast<std::size_t>(site), static_cast<std::int64_t>(middle)});
    }
    return found;
}

}  // namespace

std::optional<std::string> engine_metadata(const std::filesystem::path& model) {
    Ort::SessionOptions options;
    options.SetGraphOptimizationLevel(ORT_DISABLE_ALL);
    options.SetIntraOpNumThreads(1);
    options.SetLogSeverityLevel(ORT_LOGGING_LEVEL_FATAL);  // its failures are thrown
    return manifest_in(opened(model, options));
}

struct Graph::Parts {
    // What one run at a time needs.
    struct Workspace {
        std::vector<Input> known;        // the arrays that the handles below are of
        std::vector<Ort::Value> own;     // handles of the caller's arrays
        std::vector<Ort::Value> added;   // of what the interface adds
        std::vector<const OrtValue*> inputs;
        std::vector<OrtValue*> outputs;
        std::int64_t seed = 0;
        std::vector<float> draws;
        Path asked, latent, taken;
        std::optional<Ort::Value> taken_place;
    };

    std::string where, interface;
    std::optional<Ort::Session> session;
    std::optional<Router> router;
    std::vector<Tensor> own_outputs;
    std::vector<std::string> names;  // of all inputs, then of all outputs
    std::vector<const char*> input_names, output_names;
    std::vector<Gate> gates;
    std::size_t own_inputs = 0;
    bool is_false = false, is_true = true;
    std::optional<Ort::Value> false_value, true_value;
    std::mutex lock;
    std::vector<std::unique_ptr<Workspace>> idle;

    bool tells() const { return interface == "explicit" || interface == "host"; }

    std::unique_ptr<Workspace> take() {
        {
            const std::lock_guard<std::mutex> held(lock);
            if (!idle.empty()) {
                auto found = std::move(idle.back());
                idle.pop_back();
                return found;
            }
        }
        auto made = std::make_unique<Workspace>();
        const std::size_t count = router->size();
        made->draws.resize(count);
        made->asked.resize(count);
        made->latent.resize(count);
        made->taken.resize(count);
        const auto sites = static_cast<std::int64_t>(count);
        if (interface == "explicit") made->added.push_back(value_of(DType::int64, {}, &made->seed));
        if (interface == "host") made->added.push_back(value_of(DType::float32, {sites}, made->draws.data()));
        if (tells()) {
            made->added.push_back(value_of(DType::int64, {sites}, made->asked.data()));
            made->taken_place = value_of(DType::int64, {sites}, made->taken.data());
        }
        made->inputs.resize(input_names.size());
        for (std::size_t i = 0; i < made->added.size(); ++i) made->inputs[own_inputs + i] = made->added[i];
        made->outputs.resize(output_names.size());
        return made;
    }

    void give(std::unique_ptr<Workspace> used) {
        const std::lock_guard<std::mutex> held(lock);
        idle.push_back(std::move(used));
    }

    void bind(const Inputs& inputs, const std::vector<std::size_t>& order, Workspace& work) {
        work.known.resize(order.size());
        while (work.own.size() < order.size()) work.own.emplace_back(nullptr);
        for (std::size_t i = 0; i < order.size(); ++i) {
            const Input& input = inputs[order[i]];
            Input& known = work.known[i];
            if (!work.own[i] || known.data != input.data || known.dtype != input.dtype || known.shape != input.shape) {
                work.own[i] = value_of(input.dtype, input.shape, input.data);
                known = input;
            }
            work.inputs[i] = work.own[i];
        }
    }

    void decide(std::int64_t seed, const Path* asked, Workspace& work) {
        work.seed = seed;
        const Words words(seed);
        if (interface != "explicit")
            for (std::size_t i = 0; i < work.draws.size(); ++i) work.draws[i] = words.draw(i);
        if (tells()) {
            if (asked) std::copy(asked->begin(), asked->end(), work.asked.begin());
            else std::fill(work.asked.begin(), work.asked.end(), -1);
            return;
        }
        router->latent(work.draws.data(), asked ? asked->data() : nullptr, work.latent);
        router->taken(work.latent, work.taken);
        for (std::size_t g = 0; g < gates.size(); ++g)
            work.inputs[own_inputs + g] = work.taken[gates[g].site] >= gates[g].middle ? *true_value : *false_value;
    }
};

Graph::Graph(const Bundle& bundle, const std::filesystem::path& model, const std::string& interface,
             const std::map<std::string, std::int64_t>& sizes, int threads)
    : parts_(std::make_unique<Parts>()) {
    auto& p = *parts_;
    p.where = model.string();
    p.interface = interface;
    Ort::SessionOptions options;
    if (threads > 0) options.SetIntraOpNumThreads(threads);
#if defined(__x86_64__) || defined(_M_X64)
    // There the kernel of this fusion is slower than the nodes that it replaces.
    options.AddConfigEntry("optimization.disable_specified_optimizers", "SkipLayerNormFusion");
#endif
    p.session.emplace(opened(model, options));
    const auto& manifest = bundle.manifest;
    const auto inside = manifest_in(*p.session);
    if (inside && bundle.model == model &&
        !Manifest::parse(*inside, cat(p.where, ": metadata ", METADATA_KEY)).same_model(manifest))
        throw BundleError(cat(p.where, ": expected the manifest of ", bundle.path.string(),
                              " in its metadata, got another; copy or export the bundle again"));
    const auto inputs = ports_of(*p.session, true, p.where), outputs = ports_of(*p.session, false, p.where);
    if (interface == "gates") p.gates = gates_of(inputs, manifest, p.where);
    auto wanted = fixed(manifest.inputs, sizes), given = fixed(manifest.outputs, sizes);
    p.own_inputs = wanted.size();
    p.own_outputs = given;
    const auto count = static_cast<std::int64_t>(manifest.sites.size());
    if (interface == "explicit") wanted.push_back({"rr_seed", DType::int64, {}});
    if (interface == "host") wanted.push_back({"rr_draws", DType::float32, {count}});
    if (p.tells()) {
        wanted.push_back({"rr_path", DType::int64, {count}});
        given.push_back({TAKEN, DType::int64, {count}});
    }
    for (const auto& gate : p.gates) wanted.push_back({gate.name, DType::boolean, {std::int64_t{1}}});
    compare(p.where, "input", wanted, inputs);
    compare(p.where, "output", given, outputs);
    for (const auto& tensor : wanted) p.names.push_back(tensor.name);
    for (const auto& tensor : given) p.names.push_back(tensor.name);
    for (std::size_t i = 0; i < p.names.size(); ++i)
        (i < wanted.size() ? p.input_names : p.output_names).push_back(p.names[i].c_str());
    p.router.emplace(manifest.sites);
    p.false_value = value_of(DType::boolean, {1}, &p.is_false);
    p.true_value = value_of(DType::boolean, {1}, &p.is_true);
}

Graph::~Graph() = default;

bool Graph::routed() const noexcept { return is_routed(parts_->interface); }

void Graph::run(const Inputs& inputs, const std::vector<std::size_t>& order, std::optional<std::int64_t> seed,
                const Path* asked, Result& into) {
    auto& p = *parts_;
    for (auto& output : into.outputs) output.array.drop();
    auto work = p.take();
    p.bind(inputs, order, *work);
    if (seed) p.decide(*seed, asked, *work);
    std::fill(work->outputs.begin(), work->outputs.end(), nullptr);
    if (work->taken_place) work->outputs.back() = *work->taken_place;
    const auto& api = Ort::GetApi();
    OrtStatus* status = api.Run(*p.session, nullptr, p.input_names.data(), work->inputs.data(), work->inputs.size(),
                                p.output_names.data(), work->outputs.size(), work->outputs.data());
    if (status) {
        const Ort::Status failed(status);
        throw RuntimeFailure(cat(p.where, ": expected a run on cpu, got: ", failed.GetErrorMessage(),
                                 "; check the values of the inputs"));
    }
    into.outputs.resize(p.own_outputs.size());
    for (std::size_t i = 0; i < p.own_outputs.size(); ++i) {
        OrtValue* value = work->outputs[i];
        into.outputs[i].name = p.own_outputs[i].name;
        const Ort::UnownedValue held(value);
        ONNXTensorElementDataType element{};
        Ort::Value::Shape shape{};
        held.GetTensorElementTypeAndShapeDataReference(element, shape);
        into.outputs[i].array.adopt(p.own_outputs[i].dtype, shape.shape, shape.shape_len,
                                    Ort::UnownedValue(value).GetTensorMutableRawData(), value,
                                    [](void* owner) { Ort::GetApi().ReleaseValue(static_cast<OrtValue*>(owner)); });
    }
    into.seed = seed;
    if (!seed) into.path.reset();
    else if (into.path) into.path->assign(work->taken.begin(), work->taken.end());
    else into.path = work->taken;
    p.give(std::move(work));
}

}  // namespace rr
