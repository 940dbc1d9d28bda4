// Walks the path: every stretch between sites and every branch is a static file of its own (section 9).
#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>

#include "bundle/watched.hpp"
#include "law/router.hpp"
#include "rr/draws.hpp"
#include "rr/errors.hpp"
#include "session/form.hpp"
#include "session/opened.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

using Value = std::shared_ptr<Ort::Value>;
using Values = std::unordered_map<std::string, Value>;

class Segments final : public Form {
public:
    Segments(const Bundle& bundle, const Target& target, int threads)
        : bundle_(bundle), target_(target), router_(bundle.manifest.sites) {
        open(target.program, threads);
        bundle.watched->check();
    }

    bool routed() const noexcept override { return router_.size() > 0; }

    void run(const Inputs& inputs, const std::vector<std::size_t>& order, std::optional<std::int64_t> seed,
             const Path* asked, Result& into) override {
        Path latent, taken;
        if (seed) {
            router_.latent(draws(*seed, router_.size()).data(), asked ? asked->data() : nullptr, latent);
            router_.taken(latent, taken);
        }
        Values values;
        std::set<const Ort::Value*> kept;  // what is not handed out as it is: inputs of the caller, and what was handed out
        for (const auto i : order) {
            const auto& input = inputs[i];
            const auto& value = values[input.name] =
                std::make_shared<Ort::Value>(value_of(input.dtype, input.shape, input.data));
            kept.insert(value.get());
        }
        walk(target_.program, taken, values);
        hand_out(values, kept, into);
        into.seed = seed;
        if (seed) into.path = taken;
        else into.path.reset();
    }

private:
    void open(const std::vector<Step>& steps, int threads) {
        for (const auto& step : steps) {
            for (const auto& branch : step.branches) open(branch.steps, threads);
            if (step.model.empty()) continue;
            const auto file = bundle_.path / step.model;
            auto found = sessions_.find(step.model);
            if (found == sessions_.end()) found = sessions_.emplace(step.model, opened(file, threads)).first;
            check(file.string(), "input", step.inputs, bundle_.manifest.inputs, ports_of(found->second, true, file.string()));
            check(file.string(), "output", step.outputs, bundle_.manifest.outputs,
                  ports_of(found->second, false, file.string()));
        }
    }

    // A file has the inputs or outputs that its step says; those that are the model's own are what the manifest says.
    void check(const std::string& where, const char* side, std::vector<std::string> told, const std::vector<Tensor>& own,
               const std::vector<Port>& ports) const {
        std::vector<std::string> names;
        for (const auto& port : ports) names.push_back(port.name);
        std::sort(told.begin(), told.end());
        std::sort(names.begin(), names.end());
        if (told != names)
            throw BundleError(cat(where, ": expected the ", side, "s ", joined(told), " of its program, got ", joined(names),
                                  "; package the bundle again"));
        for (const auto& tensor : fixed(own, target_.sizes))
            for (const auto& port : ports)
                if (port.name == tensor.name) compare(where, side, {tensor}, {port});
    }

    void walk(const std::vector<Step>& steps, const Path& path, Values& values) {
        for (const auto& step : steps) {
            if (!step.model.empty()) {
                execute(step, values);
                continue;
            }
            const auto& branch = step.branches[static_cast<std::size_t>(path[step.site])];
            walk(branch.steps, path, values);
            std::vector<Value> results;
            for (const auto& name : branch.results) results.push_back(values.at(name));
            for (std::size_t i = 0; i < results.size(); ++i) values[step.outputs[i]] = results[i];
        }
    }

    void execute(const Step& step, Values& values) {
        std::vector<const char*> inputs, outputs;
        std::vector<const OrtValue*> given;
        for (const auto& name : step.inputs) {
            inputs.push_back(name.c_str());
            given.push_back(*values.at(name));
        }
        for (const auto& name : step.outputs) outputs.push_back(name.c_str());
        std::vector<OrtValue*> made(outputs.size(), nullptr);
        throw_where_failed(Ort::GetApi().Run(sessions_.at(step.model), nullptr, inputs.data(), given.data(), given.size(),
                                             outputs.data(), made.size(), made.data()),
                           bundle_.path.string());
        for (std::size_t i = 0; i < made.size(); ++i) values[step.outputs[i]] = std::make_shared<Ort::Value>(made[i]);
    }

    void hand_out(Values& values, std::set<const Ort::Value*>& kept, Result& into) const {
        const auto& outputs = bundle_.manifest.outputs;
        std::unordered_map<const Ort::Value*, std::size_t> first;  // the output that a value was handed out as
        into.outputs.resize(outputs.size());
        for (std::size_t i = 0; i < outputs.size(); ++i) {
            const Value value = values.at(outputs[i].name);
            auto& output = into.outputs[i];
            output.name = outputs[i].name;
            if (const auto before = first.find(value.get()); before != first.end()) {
                output.array = into.outputs[before->second].array.copy();
            } else if (kept.count(value.get())) {
                const auto shape = value->GetTensorTypeAndShapeInfo().GetShape();
                output.array = Array(outputs[i].dtype, shape, value->GetTensorMutableRawData(), nullptr, [](void*) {}).copy();
            } else {
                first[value.get()] = i;
                adopt(value->release(), outputs[i].dtype, output.array);
            }
        }
    }

    const Bundle& bundle_;
    const Target& target_;
    Router router_;
    std::map<std::string, Ort::Session> sessions_;
};

}  // namespace

std::unique_ptr<Form> open_segments(const Bundle& bundle, const Target& target, int threads) {
    return std::make_unique<Segments>(bundle, target, threads);
}

}  // namespace rr
