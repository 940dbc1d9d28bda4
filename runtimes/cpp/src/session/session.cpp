// The session: a bundle, the form of it that runs, and the checks of what a run is asked for.
#include "rr/session.hpp"

#include <algorithm>

#include "draws/designs.hpp"
#include "law/router.hpp"
#include "rr/draws.hpp"
#include "rr/errors.hpp"
#include "session/arguments.hpp"
#include "session/graph.hpp"
#include "session/moments.hpp"
#include "text/text.hpp"

namespace rr {

struct Session::Parts {
    Bundle bundle;
    std::string target;
    std::map<std::string, Bounds> axes;
    std::unique_ptr<Graph> graph;
    std::map<std::string, Router> routers;  // by profile
};

namespace {

// Returns the target of that name, or, without a name, of the provider's; nullptr for the bundle's own model.
const Target* find_target(const Bundle& bundle, const Options& options) {
    const auto& targets = bundle.manifest.targets;
    std::string name = options.target.value_or("default");
    if (!options.target) {
        if (bundle.manifest.target(options.provider)) name = options.provider;
        else if (!bundle.model) name = targets.front().name;
    }
    if (name == "default" && bundle.model) return nullptr;
    if (const auto* found = bundle.manifest.target(name)) return found;
    std::vector<std::string> known;
    if (bundle.model) known.emplace_back("default");
    for (const auto& target : targets) known.push_back(target.name);
    throw ValueError(cat("target: expected one of ", joined(known), " of ", bundle.path.string(), ", got ",
                         rr::quoted(name), "; package it, or name another"));
}

// The routes that are fed under a profile: those of its law, or of its one path, with the asked ones forced.
Path fed(const Profile& profile, const std::map<std::string, Router>& routers, std::int64_t seed, const Path* asked) {
    if (profile.path) {
        Path found = *profile.path;
        for (std::size_t i = 0; asked && i < found.size(); ++i)
            if ((*asked)[i] >= 0) found[i] = (*asked)[i];
        return found;
    }
    const Router& router = routers.at(profile.name);
    Path found;
    router.latent(draws(seed, router.size()).data(), asked ? asked->data() : nullptr, found);
    return found;
}

}  // namespace

const Array& Result::operator[](const std::string& name) const {
    const auto found = std::find_if(outputs.begin(), outputs.end(), [&](const Output& o) { return o.name == name; });
    if (found != outputs.end()) return found->array;
    std::vector<std::string> names;
    for (const auto& output : outputs) names.push_back(output.name);
    throw ValueError(cat("outputs: expected one of ", joined(names), ", got ", rr::quoted(name), "; name one of them"));
}

Session::Session(const std::filesystem::path& place, const Options& options) : parts_(std::make_unique<Parts>()) {
    if (options.provider != "cpu")
        throw ProviderError(cat("provider: expected one of cpu, got ", rr::quoted(options.provider),
                                "; this runtime has no other one yet, pass one of these"));
    auto& p = *parts_;
    p.bundle = Bundle::open(place, engine_metadata);
    const Target* target = find_target(p.bundle, options);
    const std::string& interface = target ? target->interface : p.bundle.manifest.interface;
    p.target = target ? target->name : "default";
    if (target && target->form != Target::Form::routed)
        throw ProviderError(cat(p.bundle.path.string(), ": target ", rr::quoted(target->name),
                                ": expected a form that this runtime runs, got ", target->form_name(),
                                "; name a routed target, or run it with the Python runtime"));
    if (interface == "standalone")
        throw ProviderError(cat(p.bundle.path.string(),
                                ": expected a file that takes seeds, got interface 'standalone'; onnxruntime's C "
                                "interface cannot set the seed of the process, so that all processes could draw the "
                                "same: export it with interface='explicit'"));
    p.axes = p.bundle.manifest.axes;
    if (target)
        for (const auto& [name, size] : target->sizes) p.axes[name] = {size, size};
    const auto model = target ? p.bundle.path / target->model : *p.bundle.model;
    p.graph = std::make_unique<Graph>(p.bundle, model, interface,
                                      target ? target->sizes : std::map<std::string, std::int64_t>{}, options.threads);
    for (const auto& profile : p.bundle.manifest.profiles)
        if (!profile.path) p.routers.emplace(profile.name, Router(profile.sites));
}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

const Manifest& Session::manifest() const noexcept { return parts_->bundle.manifest; }
const std::string& Session::target() const noexcept { return parts_->target; }

Result Session::run(const Inputs& inputs, const Ask& ask) {
    Result result;
    run(inputs, ask, result);
    return result;
}

void Session::run(const Inputs& inputs, const Ask& ask, Result& into) {
    auto& p = *parts_;
    const auto& manifest = p.bundle.manifest;
    std::vector<std::size_t> order;
    check_inputs(inputs, manifest.inputs, p.axes, order);
    if (!p.graph->routed()) {
        refuse_given(ask, manifest, p.bundle.path.string());
        p.graph->run(inputs, order, std::nullopt, nullptr, into);
        return;
    }
    if (ask.path) check_path(*ask.path, manifest.sites);
    const std::int64_t seed = ask.seed ? check_seed(*ask.seed) : fresh_seed();
    const Path* asked = ask.path ? &*ask.path : nullptr;
    if (!ask.profile && !ask.budget) {
        p.graph->run(inputs, order, seed, asked, into);
        return;
    }
    const Path routes = fed(find_profile(manifest, ask, p.bundle.path.string()), p.routers, seed, asked);
    p.graph->run(inputs, order, seed, &routes, into);
}

EnsembleResult Session::ensemble(const Inputs& inputs, const EnsembleAsk& ask) {
    auto& p = *parts_;
    const auto& manifest = p.bundle.manifest;
    if (ask.runs < 1) throw ValueError(cat("runs: expected an integer >= 1, got ", ask.runs, "; pass at least 1"));
    const auto runs = static_cast<std::size_t>(ask.runs);
    const Design design = check_design(ask.draws, ask.block);
    check_whole_blocks(design, ask.draws, runs);
    const bool designed = design.name != Design::Name::independent;
    const std::string where = p.bundle.path.string();
    const Ask law{std::nullopt, std::nullopt, ask.profile, ask.budget};
    if (!p.graph->routed()) {
        refuse_given({ask.seed, std::nullopt, ask.profile, ask.budget}, manifest, where);
        if (designed) refuse_given({}, manifest, where, "draws");
    }
    const std::int64_t first = ask.seed ? check_seed(*ask.seed) : fresh_seed();
    std::vector<std::size_t> order;
    check_inputs(inputs, manifest.inputs, p.axes, order);
    const Profile* profile = ask.profile || ask.budget ? &find_profile(manifest, law, where) : nullptr;
    std::optional<DesignedRoutes> routes;
    if (designed && !(profile && profile->path)) {
        const auto& sites = profile ? profile->sites : manifest.sites;
        for (const auto& site : sites)
            if (site.policy.type == Policy::Type::gate)
                throw ValueError(cat("draws: expected sites whose law does not depend on the input, got a gate at ",
                                     rr::quoted(site.name),
                                     "; leave it away, or name a profile with another law there"));
        routes.emplace(design, sites, first);
    }
    EnsembleResult found;
    std::vector<Moments> moments;
    Result result;
    Ask one = law;
    if (routes) one = {};
    for (std::size_t run = 0; run < runs; ++run) {
        if (p.graph->routed()) one.seed = design.seed(first, run);
        if (routes) one.path = routes->next();
        if (routes) p.graph->run(inputs, order, one.seed, &*one.path, result);  // -1 nowhere: no site draws
        else this->run(inputs, one, result);
        for (std::size_t i = 0; i < result.outputs.size(); ++i) {
            if (moments.size() <= i) moments.emplace_back(result.outputs[i].array.shape());
            moments[i].add(result.outputs[i], where);
        }
        if (result.seed) found.seeds.push_back(*result.seed);
        if (result.path) found.paths.push_back(*result.path);
    }
    for (std::size_t i = 0; i < moments.size(); ++i) {
        found.mean.push_back({result.outputs[i].name, moments[i].mean()});
        found.std.push_back({result.outputs[i].name, moments[i].std()});
    }
    return found;
}

}  // namespace rr
