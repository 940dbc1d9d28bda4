// Static files of some paths: a run takes one of them (section 9).
#include <algorithm>
#include <list>
#include <map>
#include <mutex>

#include "bundle/watched.hpp"
#include "law/router.hpp"
#include "rr/draws.hpp"
#include "rr/errors.hpp"
#include "session/form.hpp"
#include "session/opened.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

std::string comma(const Path& path) {
    std::vector<std::string> texts;
    for (const auto route : path) texts.push_back(std::to_string(route));
    return joined(texts, ",");
}

class Frozen final : public Form {
public:
    Frozen(const Bundle& bundle, const Target& target, int threads, std::size_t loaded_paths)
        : bundle_(bundle), target_(target), threads_(threads), limit_(loaded_paths), router_(bundle.manifest.sites) {
        for (const auto& frozen : target.paths)
            for (std::size_t i = 0; i < frozen.path.size(); ++i)
                if ((frozen.path[i] >= 0) != router_.reached(i, frozen.path))
                    throw BundleError(cat(bundle.path.string(), ": target ", quoted(target.name),
                                          ": expected -1 at the sites that a path does not reach, and only there, got ",
                                          listed(frozen.path), "; package the bundle again"));
        load(*std::max_element(target.paths.begin(), target.paths.end(),
                               [](const auto& a, const auto& b) { return a.weight < b.weight; }));
    }

    bool routed() const noexcept override { return router_.size() > 0; }

    void run(const Inputs& inputs, const std::vector<std::size_t>& order, std::optional<std::int64_t> seed,
             const Path* asked, Result& into) override {
        const FrozenPath& chosen = seed ? choose(*seed, asked) : target_.paths[0];
        const auto& outputs = bundle_.manifest.outputs;
        std::vector<Ort::Value> values;
        std::vector<const OrtValue*> given;
        std::vector<const char*> input_names, output_names;
        for (const auto i : order) {
            values.push_back(value_of(inputs[i].dtype, inputs[i].shape, inputs[i].data));
            given.push_back(values.back());
            input_names.push_back(inputs[i].name.c_str());
        }
        for (const auto& tensor : outputs) output_names.push_back(tensor.name.c_str());
        const auto session = load(chosen);
        std::vector<OrtValue*> made(outputs.size(), nullptr);
        throw_where_failed(Ort::GetApi().Run(*session, nullptr, input_names.data(), given.data(), given.size(),
                                             output_names.data(), made.size(), made.data()),
                           bundle_.path.string());
        into.outputs.resize(outputs.size());
        for (std::size_t i = 0; i < made.size(); ++i) {
            into.outputs[i].name = outputs[i].name;
            adopt(made[i], outputs[i].dtype, into.outputs[i].array);
        }
        into.seed = seed;
        if (seed) into.path = chosen.path;
        else into.path.reset();
    }

private:
    const FrozenPath& choose(std::int64_t seed, const Path* asked) const {
        const std::size_t sites = router_.size();
        const auto numbers = draws(seed, sites + 2);
        Path latent, own;
        router_.latent(numbers.data(), asked ? asked->data() : nullptr, latent);
        router_.taken(latent, own);
        const auto& paths = target_.paths;
        const auto found = std::find_if(paths.begin(), paths.end(), [&](const auto& one) { return one.path == own; });
        if (asked && std::any_of(asked->begin(), asked->end(), [](auto route) { return route >= 0; }))
            return found != paths.end() ? *found : forced(*asked, numbers[sites + 1]);
        if (found != paths.end() && numbers[sites] < static_cast<float>(found->keep)) return *found;
        const auto passed = std::count_if(target_.thresholds.begin(), target_.thresholds.end(), [&](double threshold) {
            return static_cast<float>(threshold) <= numbers[sites + 1];
        });
        return paths[static_cast<std::size_t>(passed)];
    }

    // One of the paths that have every asked route, in proportion to the weights.
    const FrozenPath& forced(const Path& asked, float number) const {
        const auto& paths = target_.paths;
        Row weights;
        double total = 0.0;
        for (const auto& one : paths) {
            bool fits = true;
            for (std::size_t i = 0; i < asked.size(); ++i) fits &= asked[i] < 0 || one.path[i] < 0 || asked[i] == one.path[i];
            weights.push_back(fits ? one.weight : 0.0);
            total += weights.back();
        }
        if (total == 0.0) {
            std::vector<std::string> shown_paths;
            for (std::size_t i = 0; i < std::min<std::size_t>(8, paths.size()); ++i) shown_paths.push_back(comma(paths[i].path));
            throw ValueError(cat("path: expected one of the ", paths.size(), " paths of target ", quoted(target_.name), " (",
                                 joined(shown_paths, "; "), paths.size() > 8 ? cat(" and ", paths.size() - 8, " more") : "",
                                 "), got ", comma(asked), "; package it (of a profile all that it draws), or use target "
                                 "'default'"));
        }
        double sum = 0.0;
        std::size_t last = 0;
        for (std::size_t i = 0; i < weights.size(); ++i) {
            if (weights[i] == 0.0) continue;
            last = i;
            sum += weights[i];
            if (!(sum / total <= static_cast<double>(number))) return paths[i];
        }
        return paths[last];
    }

    // The session of a path, which is opened if it is not loaded; a run keeps it while others make room for theirs.
    std::shared_ptr<Ort::Session> load(const FrozenPath& chosen) {
        const std::lock_guard lock(loading_);
        const auto found = std::find_if(loaded_.begin(), loaded_.end(), [&](const auto& one) { return one.first == chosen.model; });
        if (found != loaded_.end()) {
            loaded_.splice(loaded_.end(), loaded_, found);
            return found->second;
        }
        bundle_.watched->renew();  // it may be long since they were checked
        const auto file = bundle_.path / chosen.model;
        auto session = std::make_shared<Ort::Session>(opened(file, threads_));
        bundle_.watched->check();
        const auto& manifest = bundle_.manifest;
        compare(file.string(), "input", fixed(manifest.inputs, target_.sizes), ports_of(*session, true, file.string()));
        compare(file.string(), "output", fixed(manifest.outputs, target_.sizes), ports_of(*session, false, file.string()));
        while (!loaded_.empty() && loaded_.size() >= limit_) loaded_.pop_front();
        loaded_.emplace_back(chosen.model, session);
        return session;
    }

    const Bundle& bundle_;
    const Target& target_;
    int threads_;
    std::size_t limit_;
    Router router_;
    std::mutex loading_;
    std::list<std::pair<std::string, std::shared_ptr<Ort::Session>>> loaded_;  // the least lately used first
};

}  // namespace

std::unique_ptr<Form> open_frozen(const Bundle& bundle, const Target& target, int threads, std::size_t loaded_paths) {
    return std::make_unique<Frozen>(bundle, target, threads, loaded_paths);
}

}  // namespace rr
