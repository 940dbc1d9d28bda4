// Reads the profiles of a bundle, and what a pruned file was made from.
#include <algorithm>

#include "law/router.hpp"
#include "manifest/readers.hpp"
#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

Measured read_measured(const Node& node) {
    Measured measured;
    measured.cost = node.key("cost").number(0.0, 1e9);
    measured.quality = node.key("quality").number(-1e300, 1e300);
    measured.spread = node.key("spread").number(0.0, 1e300);
    measured.metric = node.key("metric").text();
    return measured;
}

std::vector<Site> read_laws(const Node& node, const std::vector<Site>& sites) {
    const auto rows = node.elements();
    if (rows.size() != sites.size()) node.fail(cat(sites.size(), " policies, one per site"));
    auto routed = sites;
    for (std::size_t i = 0; i < sites.size(); ++i) routed[i].policy = read_policy(rows[i], sites[i].branches.size());
    check_sites(node, routed);
    for (std::size_t i = 0; i < sites.size(); ++i)
        if (routed[i].policy.type == Policy::Type::gate && !(routed[i].policy == sites[i].policy))
            node.fail(cat("a law of its own for site ", rr::quoted(sites[i].name), ", at which no gate decides so"));
    return routed;
}

bool is_hash(const std::string& text) {
    return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

Profile read_profile(const std::string& name, const Node& node, const std::vector<Site>& sites, const Router& router,
                     const std::vector<std::size_t>& branches) {
    const auto policies = node.optional("policies"), path = node.optional("path"), measured = node.optional("measured");
    if (name.empty() || policies.has_value() == path.has_value()) node.fail("a name, and either policies or a path");
    Profile profile;
    profile.name = name;
    if (policies) profile.sites = read_laws(*policies, sites);
    if (path) {
        profile.path = read_routes(*path, branches);
        for (std::size_t i = 0; i < sites.size(); ++i)
            if (router.reached(i, *profile.path) != ((*profile.path)[i] >= 0))
                path->fail(cat("a route for site ", i, " where, and only where, it is reached"));
    }
    if (measured) profile.measured = read_measured(*measured);
    return profile;
}

}  // namespace

std::vector<Profile> read_profiles(const Node& node, const std::vector<Site>& sites) {
    const Router router(sites);
    std::vector<std::size_t> branches;
    for (const auto& site : sites) branches.push_back(site.branches.size());
    std::vector<Profile> found;
    for (const auto& [name, entry] : node.items()) found.push_back(read_profile(name, entry, sites, router, branches));
    return found;
}

Pruned read_pruned(const Node& node, const std::vector<Site>& sites) {
    Pruned pruned;
    const Node source = node.key("source").key("sha256"), law = node.key("law"), rows = node.key("sites");
    pruned.source = source.text();
    if (!is_hash(pruned.source)) source.fail("64 hexadecimal digits, lower case");
    const auto entries = rows.elements();
    if (entries.size() != sites.size()) rows.fail(cat(sites.size(), " rows, one per site"));
    pruned.profiles = node.key("profiles").texts();
    if (!law.is_null()) pruned.law = law.text();
    for (std::size_t i = 0; i < sites.size(); ++i) {
        const auto& branches = pruned.branches.emplace_back(entries[i].key("branches").texts());
        const Node kept = entries[i].key("kept");
        const auto last = static_cast<std::int64_t>(branches.size()) - 1;
        const auto& routes = pruned.kept.emplace_back(
            kept.each([&](const Node& route) { return static_cast<std::size_t>(route.integer(0, last)); }));
        std::vector<std::string> names;
        for (const auto route : routes) names.push_back(branches[route]);
        const bool rises = std::adjacent_find(routes.begin(), routes.end(), std::greater_equal<>()) == routes.end();
        if (!rises || names != sites[i].branches)
            kept.fail(cat("rising numbers of the branches ", few(sites[i].branches)));
    }
    return pruned;
}

}  // namespace rr
