// The session: a bundle, the form of it that runs, and the checks of what a run is asked for.
#include "rr/session.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "draws/designs.hpp"
#include "law/most_probable.hpp"
#include "law/router.hpp"
#include "rr/draws.hpp"
#include "rr/errors.hpp"
#include "session/arguments.hpp"
#include "session/form.hpp"
#include "session/golden.hpp"
#include "session/moments.hpp"
#include "session/opened.hpp"
#include "text/text.hpp"

namespace rr {

struct Session::Parts {
    Bundle bundle;
    const Target* target = nullptr;  // none: the bundle's own model
    std::string target_name;
    std::map<std::string, Bounds> axes;
    std::unique_ptr<Form> form;
    std::map<std::string, Router> routers;  // by profile
    std::map<std::string, Path> decided;    // by profile ("" of the sites): the most probable paths
    std::mutex deciding;

    Path decide(const Ask& ask);
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

// Throws where a law of routes is wanted that no input decides.
void refuse_gates(const char* what, const std::vector<Site>& sites) {
    for (const auto& site : sites)
        if (site.policy.type == Policy::Type::gate)
            throw ValueError(cat(what, ": expected sites whose law does not depend on the input, got a gate at ",
                                 rr::quoted(site.name), "; leave it away, or name a profile with another law there"));
}

constexpr std::size_t LEAST_RUNS = 32, LEAST_BLOCKS = 8;  // below them an error itself is not known well enough

std::size_t least_runs(const Design& design) { return std::max(LEAST_RUNS, LEAST_BLOCKS * design.block); }

void check_until(double until, std::size_t runs, const EnsembleAsk& ask, const Design& design, const Manifest& manifest) {
    if (!(until > 0 && std::isfinite(until)))
        throw ValueError(cat("until: expected a standard error above 0, got ", shown(until), "; pass one such as 0.01"));
    if (std::none_of(manifest.outputs.begin(), manifest.outputs.end(), [](const Tensor& t) { return is_float(t.dtype); }))
        throw ValueError("until: expected a model with a floating output, got one without; leave it away");
    if (runs < least_runs(design))
        throw ValueError(cat("until: expected at least ", least_runs(design), " runs of ", ask.draws, " draws, got ", runs,
                             "; below that the error itself is not known well enough"));
}

// The largest standard error of any element of a floating output; NaN where one is.
double largest_error(const std::vector<BlockMoments>& moments, const std::vector<Output>& outputs) {
    double largest = 0;
    for (std::size_t i = 0; i < moments.size(); ++i) {
        if (!is_float(outputs[i].array.dtype())) continue;
        const auto error = moments[i].error();
        for (std::size_t k = 0; error && k < error->count(); ++k)
            if (!(error->number(k) <= largest)) largest = error->number(k);
    }
    return largest;
}

}  // namespace

Path Session::Parts::decide(const Ask& ask) {
    const auto& manifest = bundle.manifest;
    const std::string where = bundle.path.string();
    if (*ask.decision != "most_probable")
        throw ValueError(cat("decision: expected 'most_probable', got ", rr::quoted(*ask.decision),
                             "; pass it, or none to draw"));
    if (!form->routed()) refuse_given({}, manifest, where, "decision");
    for (const auto& [name, given] : {std::pair("seed", ask.seed.has_value()), std::pair("path", ask.path.has_value())})
        if (given)
            throw ValueError(cat("decision: expected no ", name, " beside it, got one; nothing is drawn: pass one of them"));
    const Profile* law = ask.profile || ask.budget ? &find_profile(manifest, ask, where) : nullptr;
    if (law && law->path) return *law->path;
    const auto& sites = law ? law->sites : manifest.sites;
    refuse_gates("decision", sites);
    const std::lock_guard<std::mutex> held(deciding);
    const auto [found, fresh] = decided.try_emplace(law ? law->name : "");
    if (fresh) found->second = most_probable_of(sites);
    return found->second;
}

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
    if (options.loaded_paths < 1) throw ValueError("loaded_paths: expected an integer >= 1, got 0; pass at least 1");
    const Target* target = p.target = find_target(p.bundle, options);
    const std::string& interface = target ? target->interface : p.bundle.manifest.interface;
    p.target_name = target ? target->name : "default";
    if (interface == "standalone")
        throw ProviderError(cat(p.bundle.path.string(),
                                ": expected a file that takes seeds, got interface 'standalone'; onnxruntime's C "
                                "interface cannot set the seed of the process, so that all processes could draw the "
                                "same: export it with interface='explicit'"));
    p.axes = p.bundle.manifest.axes;
    if (target)
        for (const auto& [name, size] : target->sizes) p.axes[name] = {size, size};
    if (target && target->form == Target::Form::segments) p.form = open_segments(p.bundle, *target, options.threads);
    else if (target && target->form == Target::Form::frozen)
        p.form = open_frozen(p.bundle, *target, options.threads, options.loaded_paths);
    else if (target) p.form = open_graph(p.bundle, p.bundle.path / target->model, interface, target->sizes, options.threads);
    else p.form = open_graph(p.bundle, *p.bundle.model, interface, {}, options.threads);
    for (const auto& profile : p.bundle.manifest.profiles)
        if (!profile.path) p.routers.emplace(profile.name, Router(profile.sites));
}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

const Manifest& Session::manifest() const noexcept { return parts_->bundle.manifest; }
const std::string& Session::target() const noexcept { return parts_->target_name; }

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
    if (ask.decision) {
        const Path path = parts_->decide(ask);
        p.form->run(inputs, order, 0, &path, into);
        into.seed.reset();
        return;
    }
    if (!p.form->routed()) {
        refuse_given(ask, manifest, p.bundle.path.string());
        p.form->run(inputs, order, std::nullopt, nullptr, into);
        return;
    }
    if (ask.path) check_path(*ask.path, manifest.sites);
    const std::int64_t seed = ask.seed ? check_seed(*ask.seed) : fresh_seed();
    const Path* asked = ask.path ? &*ask.path : nullptr;
    if (!ask.profile && !ask.budget) {
        p.form->run(inputs, order, seed, asked, into);
        return;
    }
    const Path routes = fed(find_profile(manifest, ask, p.bundle.path.string()), p.routers, seed, asked);
    p.form->run(inputs, order, seed, &routes, into);
}

EnsembleResult Session::ensemble(const Inputs& inputs, const EnsembleAsk& ask) {
    auto& p = *parts_;
    const auto& manifest = p.bundle.manifest;
    if (ask.runs < 1) throw ValueError(cat("runs: expected an integer >= 1, got ", ask.runs, "; pass at least 1"));
    const auto runs = static_cast<std::size_t>(ask.runs);
    const Design design = check_design(ask.draws, ask.block);
    check_whole_blocks(design, ask.draws, runs);
    if (ask.until) check_until(*ask.until, runs, ask, design, manifest);
    const bool designed = design.name != Design::Name::independent;
    const std::string where = p.bundle.path.string();
    const Ask law{std::nullopt, std::nullopt, ask.profile, ask.budget, std::nullopt};
    if (!p.form->routed()) {
        refuse_given({ask.seed, std::nullopt, ask.profile, ask.budget, std::nullopt}, manifest, where);
        if (designed) refuse_given({}, manifest, where, "draws");
    }
    const std::int64_t first = ask.seed ? check_seed(*ask.seed) : fresh_seed();
    std::vector<std::size_t> order;
    check_inputs(inputs, manifest.inputs, p.axes, order);
    const Profile* profile = ask.profile || ask.budget ? &find_profile(manifest, law, where) : nullptr;
    std::optional<DesignedRoutes> routes;
    if (designed && !(profile && profile->path)) {
        const auto& sites = profile ? profile->sites : manifest.sites;
        refuse_gates("draws", sites);
        routes.emplace(design, sites, first);
    }
    EnsembleResult found;
    std::vector<BlockMoments> moments;
    Result result;
    Ask one = law;
    if (routes) one = {};
    for (std::size_t run = 0; run < runs; ++run) {
        if (p.form->routed()) one.seed = design.seed(first, run);
        if (routes) one.path = routes->next();
        if (routes) p.form->run(inputs, order, one.seed, &*one.path, result);  // -1 nowhere: no site draws
        else this->run(inputs, one, result);
        if (moments.empty()) moments.assign(result.outputs.size(), BlockMoments(design.block));
        for (std::size_t i = 0; i < result.outputs.size(); ++i) {
            const auto& [name, array] = result.outputs[i];
            if (!moments[i].is_of(array))
                throw RuntimeFailure(cat(where, ": output ", rr::quoted(name), ": expected shape ", listed(moments[i].shape()),
                                         " in every run, got ", listed(array.shape()), "; take the outputs of single runs"));
            moments[i].add(array);
        }
        if (result.seed) found.seeds.push_back(*result.seed);
        if (result.path) found.paths.push_back(*result.path);
        const std::size_t made = run + 1;
        if (ask.until && made >= least_runs(design) && made % design.block == 0 &&
            largest_error(moments, result.outputs) <= *ask.until)
            break;
    }
    for (std::size_t i = 0; i < moments.size(); ++i) {
        const auto& name = result.outputs[i].name;
        found.mean.push_back({name, moments[i].mean()});
        found.std.push_back({name, moments[i].std()});
        if (auto error = moments[i].error()) found.error.push_back({name, std::move(*error)});
    }
    return found;
}

std::size_t Session::check() { return check_golden(*this, parts_->bundle, parts_->target); }

}  // namespace rr
