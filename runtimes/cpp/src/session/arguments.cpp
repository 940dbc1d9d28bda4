// Holds the arguments of a run against the manifest.
#include "session/arguments.hpp"

#include <algorithm>

#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

std::string listed_inputs(const std::vector<Tensor>& declared) {
    std::vector<std::string> texts;
    for (const auto& tensor : declared) texts.push_back(tensor.text());
    return texts.empty() ? "no inputs" : joined(texts);
}

void check_names(const Inputs& inputs, const std::vector<Tensor>& declared, std::vector<std::size_t>& order) {
    std::vector<std::string> missing;
    order.clear();
    for (const auto& tensor : declared) {
        const auto found = std::find_if(inputs.begin(), inputs.end(), [&](const Input& i) { return i.name == tensor.name; });
        if (found == inputs.end()) missing.push_back(tensor.name);
        order.push_back(static_cast<std::size_t>(found - inputs.begin()));
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        const auto& name = inputs[i].name;
        if (std::find(order.begin(), order.end(), i) != order.end()) continue;
        for (const char* own : {"rr_seed", "rr_path", "rr_draws", "rr_path_taken"})
            if (name == own)
                throw ValueError(cat("input ", rr::quoted(name), ": expected the model's own inputs (",
                                     listed_inputs(declared),
                                     "), got one that the runtime feeds; pass seed= or path= instead"));
        std::vector<std::string> names = missing;
        if (names.empty())
            for (const auto& tensor : declared) names.push_back(tensor.name);
        const auto near = nearest(name, names);
        throw ValueError(cat("input ", rr::quoted(name), ": expected only ", listed_inputs(declared),
                             ", got an unknown name; ",
                             near.empty() ? "remove it" : cat("did you mean ", rr::quoted(near), "?")));
    }
    if (missing.empty()) return;
    std::vector<std::string> got;
    for (const auto& input : inputs) got.push_back(rr::quoted(input.name));
    throw ValueError(cat("input ", rr::quoted(missing[0]), ": expected ", listed_inputs(declared), ", got ",
                         got.empty() ? "none" : joined(got), "; pass the missing ", joined(missing)));
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
    return shape.size() == 1 ? cat("(", shape[0], ",)") : listed(shape, "(", ")");
}

using Bound = std::map<std::string, std::pair<std::int64_t, std::string>>;  // by size: what it is, and of which input

void check_sizes(const Input& input, const Tensor& tensor, Bound& bound) {
    const std::string where = cat("input ", rr::quoted(tensor.name));
    if (input.shape.size() != tensor.shape.size())
        throw ValueError(cat(where, ": expected rank ", tensor.shape.size(), ", ", tensor.sizes(), ", got shape ",
                             shape_text(input.shape), "; reshape it"));
    for (std::size_t axis = 0; axis < input.shape.size(); ++axis) {
        const auto size = input.shape[axis];
        if (size < 0)
            throw ValueError(cat(where, ": expected sizes >= 0, got ", shape_text(input.shape),
                                 "; pass a tuple such as (8, 16)"));
        if (const auto* wanted = std::get_if<std::int64_t>(&tensor.shape[axis])) {
            if (size != *wanted)
                throw ValueError(cat(where, ": expected size ", *wanted, " on axis ", axis, " of ", tensor.sizes(),
                                     ", got ", size, "; reshape it"));
            continue;
        }
        const auto& name = std::get<std::string>(tensor.shape[axis]);
        const auto& [first, other] = bound.emplace(name, std::make_pair(size, tensor.name)).first->second;
        if (size != first)
            throw ValueError(cat(where, ": expected ", name, " = ", first, " on axis ", axis, " of ", tensor.sizes(),
                                 ", as in input ", rr::quoted(other), ", got ", size, "; pass inputs of one ", name));
    }
}

void check_bounds(const Bound& bound, const std::map<std::string, Bounds>& axes) {
    for (const auto& [name, told] : bound) {
        const auto found = axes.find(name);
        if (found == axes.end()) continue;
        const auto& [least, most] = found->second;
        if ((!least || told.first >= *least) && (!most || told.first <= *most)) continue;
        std::vector<std::string> allowed;
        if (least) allowed.push_back(cat("at least ", *least));
        if (most) allowed.push_back(cat("at most ", *most));
        throw ValueError(cat("inputs: expected ", name, " of ", joined(allowed, " and "), ", got ", told.first,
                             "; the model has no other sizes"));
    }
}

}  // namespace

void check_inputs(const Inputs& inputs, const std::vector<Tensor>& declared, const std::map<std::string, Bounds>& axes,
                  std::vector<std::size_t>& order) {
    check_names(inputs, declared, order);
    for (std::size_t i = 0; i < declared.size(); ++i)
        if (const auto& input = inputs[order[i]]; input.dtype != declared[i].dtype)
            throw TypeError(cat("input ", rr::quoted(declared[i].name), ": expected ", name_of(declared[i].dtype),
                                ", got ", name_of(input.dtype), "; convert it yourself: .astype(",
                                rr::quoted(name_of(declared[i].dtype)), ")"));
    Bound bound;
    for (std::size_t i = 0; i < declared.size(); ++i) {
        const auto& input = inputs[order[i]];
        check_sizes(input, declared[i], bound);
        const auto count = count_of(input.shape, size_of(input.dtype));
        if (!count || (*count > 0 && !input.data))
            throw ValueError(cat("input ", rr::quoted(input.name), ": expected memory for shape ",
                                 shape_text(input.shape), ", got none; pass its address"));
    }
    check_bounds(bound, axes);
}

void check_path(const Path& path, const std::vector<Site>& sites) {
    if (path.size() != sites.size()) {
        std::vector<std::string> names;
        for (const auto& site : sites) names.push_back(site.name);
        throw ValueError(cat("path: expected ", sites.size(), " integers, one per site, got ", path.size(),
                             "; pass a route or -1 (draw) for each of ", joined(names)));
    }
    for (std::size_t i = 0; i < path.size(); ++i) {
        const auto last = static_cast<std::int64_t>(sites[i].branches.size()) - 1;
        if (path[i] >= -1 && path[i] <= last) continue;
        std::vector<std::string> branches;
        for (std::size_t k = 0; k < sites[i].branches.size(); ++k)
            branches.push_back(cat(k, " ", sites[i].branches[k]));
        throw ValueError(cat("path[", i, "], site ", rr::quoted(sites[i].name), ": expected -1 (draw) or 0..", last,
                             ", got ", path[i], "; its branches are ", joined(branches)));
    }
}

const Profile& best_within(const std::vector<Profile>& profiles, double budget) {
    if (!(budget > 0))
        throw ValueError(cat("budget: expected a share above 0, got ", shown(budget), "; pass one such as 0.6"));
    const Profile *best = nullptr, *cheapest = nullptr;
    for (const auto& profile : profiles) {
        if (!profile.measured) continue;
        const auto& [cost, quality, spread, metric] = *profile.measured;
        if (!cheapest || cost < cheapest->measured->cost) cheapest = &profile;
        if (cost > budget) continue;
        if (!best || quality > best->measured->quality ||
            (quality >= best->measured->quality && cost < best->measured->cost))
            best = &profile;
    }
    if (!cheapest)
        throw ValueError(
            "budget: expected a bundle with a menu, got one without; name a profile, or make a menu");
    if (!best)
        throw ValueError(cat("budget: expected at least ", rounded(cheapest->measured->cost, 4),
                             ", the cheapest of the menu, got ", shown(budget), "; pass a larger share"));
    return *best;
}

const Profile& find_profile(const Manifest& manifest, const Ask& ask, const std::string& where) {
    if (ask.budget) {
        if (ask.profile)
            throw ValueError("budget: expected none beside a profile, got both; name a profile or a budget");
        return best_within(manifest.profiles, *ask.budget);
    }
    if (manifest.profiles.empty())
        throw ValueError(cat("profile: expected a bundle with profiles, got ", where,
                             " without; open the folder that has them, as a single file has no room for any, or make "
                             "one"));
    if (const auto* found = manifest.profile(*ask.profile)) return *found;
    std::vector<std::string> names;
    for (const auto& profile : manifest.profiles) names.push_back(profile.name);
    throw ValueError(cat("profile: expected one of ", joined(names), " of ", where, ", got ",
                         rr::quoted(*ask.profile), "; name one of them"));
}

void refuse_given(const Ask& ask, const Manifest& manifest, const std::string& where, const char* also) {
    const char* name = ask.seed      ? "seed"
                       : ask.path    ? "path"
                       : ask.profile ? "profile"
                       : ask.budget  ? "budget"
                                     : also;
    if (!name) return;
    throw ValueError(cat(name, ": expected none for ", where, ", got one; a file of interface ",
                         rr::quoted(manifest.interface),
                         manifest.sites.empty() ? " has no sites; leave it away"
                                                : " draws by itself; export it with interface='explicit'"));
}

}  // namespace rr
