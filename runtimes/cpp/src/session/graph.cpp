// Runs one graph. What a run needs besides the caller's arrays is made once per thread that runs at the same time, and
// kept: the inputs that the interface adds, the place of the path taken, and onnxruntime's handles of the caller's arrays
// as long as these stay where they are.
#include <algorithm>
#include <mutex>

#include "rr/draws.hpp"
#include "rr/errors.hpp"
#include "bundle/watched.hpp"
#include "law/router.hpp"
#include "session/form.hpp"
#include "session/opened.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

constexpr const char* TAKEN = "rr_path_taken";

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

class Graph final : public Form {
public:
    Graph(const Bundle& bundle, const std::filesystem::path& model, const std::string& interface,
          const std::map<std::string, std::int64_t>& sizes, int threads);
    ~Graph() override;
    bool routed() const noexcept override;
    void run(const Inputs& inputs, const std::vector<std::size_t>& order, std::optional<std::int64_t> seed,
             const Path* asked, Result& into) override;

private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

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
    p.session.emplace(opened(model, threads));
    bundle.watched->check();
    const auto& manifest = bundle.manifest;
    const auto inside = manifest_in(*p.session);
    if (inside && bundle.model == model &&
        !Manifest::parse(*inside, cat(p.where, ": metadata rr.manifest")).same_model(manifest))
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
    throw_where_failed(status, p.where);
    into.outputs.resize(p.own_outputs.size());
    for (std::size_t i = 0; i < p.own_outputs.size(); ++i) {
        OrtValue* value = work->outputs[i];
        into.outputs[i].name = p.own_outputs[i].name;
        adopt(value, p.own_outputs[i].dtype, into.outputs[i].array);
    }
    into.seed = seed;
    if (!seed) into.path.reset();
    else if (into.path) into.path->assign(work->taken.begin(), work->taken.end());
    else into.path = work->taken;
    p.give(std::move(work));
}

}  // namespace

std::unique_ptr<Form> open_graph(const Bundle& bundle, const std::filesystem::path& model, const std::string& interface,
                                 const std::map<std::string, std::int64_t>& sizes, int threads) {
    return std::make_unique<Graph>(bundle, model, interface, sizes, threads);
}

}  // namespace rr
