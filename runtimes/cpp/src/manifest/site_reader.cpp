// Reads the sites of a manifest and their policies.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "law/thresholds.hpp"
#include "manifest/readers.hpp"
#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

Pair read_pair(const Node& node) {
    const auto pair = node.each([](const Node& index) { return index.index(); });
    if (pair.size() != 2) node.fail("a pair [site index, branch index]");
    return {pair[0], pair[1]};
}

Row read_row(const Node& node, std::size_t length, std::size_t branches) {
    auto numbers = node.each([](const Node& number) { return number.number(0.0, 1.0); });
    if (numbers.size() != length) node.fail(cat(length, " numbers (", branches, " branches)"));
    return numbers;
}

Site read_site(const Node& node) {
    Site site;
    site.branches = node.key("branches").texts();
    if (site.branches.empty()) node.key("branches").fail("at least one branch");
    site.name = node.key("name").text();
    site.kind = node.key("kind").one_of({"layer", "operation", "parameter", "python"});
    site.calls = node.key("calls").each([](const Node& call) { return call.each(read_pair); });
    site.policy = read_policy(node.key("policy"), site.branches.size());
    return site;
}

std::string shown_row(const Row& row) {
    std::vector<std::string> texts;
    for (const double number : row) texts.push_back(shown(number));
    return cat("[", joined(texts), "]");
}

std::string shown_call(const Call& call) {
    std::vector<std::string> texts;
    for (const auto& [site, branch] : call) texts.push_back(cat("[", site, ", ", branch, "]"));
    return cat("[", joined(texts), "]");
}

constexpr std::size_t MOST_COMPARISONS = std::size_t{1} << 20;  // of calls with calls of the sites around them

// Each call names branches of other sites, and for each of these all that are around one of its site's calls.
void check_calls(const Node& node, const std::vector<Site>& sites) {
    std::vector<std::set<Call>> around;
    for (const auto& site : sites) around.emplace_back(site.calls.begin(), site.calls.end());
    std::size_t comparisons = 0;
    const auto is_held = [&](const Call& call, std::size_t depth, const std::set<Pair>& named_pairs) {
        const std::size_t outer = call[depth].first;
        const auto before = call.begin() + static_cast<std::ptrdiff_t>(depth);
        if (around[outer].count({}) || around[outer].count(Call(call.begin(), before))) return true;  // as nearly always
        for (const auto& other : sites[outer].calls) {
            if (++comparisons > MOST_COMPARISONS) node.fail(cat("calls that ", MOST_COMPARISONS, " comparisons tell to fit"));
            if (std::all_of(other.begin(), other.end(), [&](const Pair& pair) { return named_pairs.count(pair) > 0; })) return true;
        }
        return false;
    };
    for (std::size_t i = 0; i < sites.size(); ++i) {
        for (const auto& call : sites[i].calls)
            for (const auto& [outer, branch] : call)
                if (outer >= sites.size() || outer == i || branch >= sites[outer].branches.size())
                    throw BundleError(cat(node.where(), ": ", node.place(), "[", i,
                                          "].calls: expected enclosing branches of other sites, got [", outer, ", ",
                                          branch, "]; ", DAMAGED));
        for (const auto& call : sites[i].calls) {
            const std::set<Pair> named_pairs(call.begin(), call.end());
            for (std::size_t depth = 0; depth < call.size(); ++depth)
                if (!is_held(call, depth, named_pairs))
                    throw BundleError(cat(node.where(), ": ", node.place(), "[", i,
                                          "].calls: expected all branches around each enclosing one, got ",
                                          shown_call(call), "; ", DAMAGED));
        }
    }
}

// Each step of a chain stands once, after the step before, with a row for each branch of that.
void check_chains(const Node& node, const std::vector<Site>& sites) {
    std::map<std::pair<std::int64_t, std::int64_t>, const Site*> steps;
    for (const auto& site : sites)
        if (site.policy.type == Policy::Type::markov &&
            !steps.emplace(std::make_pair(*site.policy.chain, *site.policy.step), &site).second)
            node.fail("each step of a chain once");
    for (const auto& [key, site] : steps) {
        const auto& [chain, step] = key;
        const auto before = step ? steps.find({chain, step - 1}) : steps.end();
        const std::string at = cat(node.where(), ": ", node.place(), ": site ", quoted(site->name), ", step ", step,
                                   " of chain ", chain, ": ");
        if (step && before == steps.end())
            throw BundleError(cat(at, "expected a step ", step - 1, " before it, got none; ", DAMAGED));
        const std::size_t rows = step ? before->second->branches.size() : 1;
        if (site->policy.probabilities.size() != rows)
            throw BundleError(cat(at, "expected ", rows, " rows of probabilities, got ",
                                  site->policy.probabilities.size(), "; ", DAMAGED));
    }
}

}  // namespace

std::vector<Site> read_sites(const Node& node) {
    auto sites = node.at_most(MOST_SITES).each(read_site);
    check_sites(node, sites);
    return sites;
}

Policy read_policy(const Node& node, std::size_t branches) {
    Policy policy;
    const std::string type = node.key("type").one_of({"categorical", "markov", "gate"});
    policy.type = type == "gate"     ? Policy::Type::gate
                  : type == "markov" ? Policy::Type::markov
                                     : Policy::Type::categorical;
    if (policy.type == Policy::Type::gate) {
        policy.decision = node.key("decision").one_of({"sample", "argmax"});
        return policy;
    }
    const bool markov = policy.type == Policy::Type::markov;
    const Node laws = node.key("probabilities"), rows = node.key("thresholds");
    policy.probabilities = laws.each([&](const Node& row) { return read_row(row, branches, branches); });
    policy.thresholds = rows.each([&](const Node& row) { return read_row(row, branches - 1, branches); });
    if (policy.probabilities.empty() || (!markov && policy.probabilities.size() != 1))
        laws.fail(markov ? "at least one row" : "one row");
    if (policy.thresholds.size() != policy.probabilities.size())
        rows.fail(cat(policy.probabilities.size(), " rows, as many as of probabilities"));
    for (const auto& law : policy.probabilities)
        if (std::abs(std::accumulate(law.begin(), law.end(), 0.0) - 1) > ROW_SUM_TOLERANCE)
            laws.fail("rows that sum to 1");
    for (const auto& row : policy.thresholds)
        if (!std::is_sorted(row.begin(), row.end())) rows.fail("rows that do not fall");
    for (std::size_t j = 0; j < policy.thresholds.size(); ++j) {
        const Row sums = cumulated(policy.probabilities[j]);
        for (std::size_t k = 0; k < sums.size(); ++k)
            if (std::abs(policy.thresholds[j][k] - sums[k]) > THRESHOLD_TOLERANCE)
                rows.fail(cat("in row ", j, " the cumulated probabilities ", shown_row(policy.probabilities[j])));
    }
    if (markov) {
        policy.chain = node.key("chain").integer(0);
        policy.step = node.key("step").integer(0);
    }
    return policy;
}

void check_sites(const Node& node, const std::vector<Site>& sites) {
    std::set<std::string> names;
    for (const auto& site : sites) names.insert(site.name);
    if (names.size() != sites.size()) node.fail("sites of different names");
    check_calls(node, sites);
    check_chains(node, sites);
}

Path read_routes(const Node& node, const std::vector<std::size_t>& branches) {
    auto routes = node.each([](const Node& route) { return route.integer(-1); });
    bool right = routes.size() == branches.size();
    for (std::size_t i = 0; right && i < routes.size(); ++i) right = routes[i] < static_cast<std::int64_t>(branches[i]);
    if (!right) node.fail(cat(branches.size(), " routes, each -1 or an index of the site's branches"));
    return routes;
}

}  // namespace rr
