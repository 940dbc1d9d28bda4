// The most probable path, exactly: best-first search, one linked group of sites after another.
//
// A partial path is bounded by the most that a forward pass over each chain can keep: a fixed step keeps its route, an open
// step that is certain to be reached its best route, and a step that may stay latent all of its mass. Maxima moved inside
// sums only grow, so the bound never falls below what a completion reaches, and equals it where every open step is certain.
#include "law/most_probable.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <queue>
#include <set>
#include <tuple>

namespace rr {

namespace {

using Open = std::set<Pair>;                                          // of a call: the branches that are not decided yet
using OpenSites = std::vector<std::pair<std::size_t, std::set<Open>>>;  // sites, and their calls that can still be reached
using Chain = std::vector<std::size_t>;

constexpr std::int64_t LATENT = -1, CERTAIN = -2;  // an open step: may stay latent (or will), or is certain to be reached
constexpr double IMPOSSIBLE = -std::numeric_limits<double>::infinity();

// The calls without those that another one implies.
std::set<Open> simplest(const std::set<Open>& calls) {
    std::set<Open> found;
    for (const auto& call : calls)
        if (std::none_of(calls.begin(), calls.end(), [&](const Open& other) {
                return other.size() < call.size() && std::includes(call.begin(), call.end(), other.begin(), other.end());
            }))
            found.insert(call);
    return found;
}

// The other sites' calls once a site has this route (-1: it is not reached).
OpenSites given(OpenSites::const_iterator begin, OpenSites::const_iterator end, std::size_t site, std::int64_t route) {
    OpenSites found;
    for (; begin != end; ++begin) {
        std::set<Open> alive;
        for (const auto& call : begin->second) {
            Open left;
            bool dead = false;
            for (const auto& pair : call) {
                if (pair.first != site) left.insert(pair);
                else if (static_cast<std::int64_t>(pair.second) != route) dead = true;
            }
            if (!dead) alive.insert(left);
        }
        found.emplace_back(begin->first, simplest(alive));
    }
    return found;
}

// The logarithm of the most that one chain can keep; a state is a route, CERTAIN or LATENT.
double log_bound(const std::vector<Site>& sites, const Chain& chain, const std::map<std::size_t, std::int64_t>& states) {
    Row mass{1.0};
    double total = 0.0;
    std::int64_t before = LATENT;
    for (const auto site : chain) {
        const auto& table = sites[site].policy.probabilities;
        Row next(sites[site].branches.size(), 0.0);
        for (std::size_t j = 0; j < mass.size(); ++j)
            for (std::size_t k = 0; k < next.size(); ++k) {
                const double moved = mass[j] * table[j][k];
                next[k] = before == CERTAIN ? std::max(next[k], moved) : next[k] + moved;
            }
        const std::int64_t state = states.at(site);
        for (std::size_t k = 0; state >= 0 && k < next.size(); ++k)
            if (static_cast<std::int64_t>(k) != state) next[k] = 0.0;
        const double most = *std::max_element(next.begin(), next.end());
        if (most == 0.0) return IMPOSSIBLE;
        for (double& number : next) number /= most;
        total += std::log(most);
        mass = std::move(next);
        before = state;
    }
    double sum = 0.0;
    for (const double number : mass) sum += number;
    return before == CERTAIN ? total : total + std::log(sum);
}

// Chains in the order of their steps; a site without a chain is one of its own.
std::vector<Chain> chains_of(const std::vector<Site>& sites) {
    std::map<std::int64_t, std::map<std::int64_t, std::size_t>> steps;
    std::vector<Chain> found;
    for (std::size_t i = 0; i < sites.size(); ++i) {
        if (const auto& policy = sites[i].policy; policy.chain) steps[*policy.chain][policy.step.value_or(0)] = i;
        else found.push_back({i});
    }
    for (const auto& [name, chain] : steps) {
        auto& made = found.emplace_back();
        for (const auto& [step, site] : chain) made.push_back(site);
    }
    return found;
}

// Sites such that every one comes after all that enclose it, in site order where possible.
std::vector<std::size_t> enclosing_first(const std::vector<Site>& sites) {
    std::vector<std::size_t> order;
    std::vector<bool> placed(sites.size(), false);
    while (order.size() < sites.size()) {
        for (std::size_t i = 0; i < sites.size(); ++i) {
            const bool ready = !placed[i] && std::all_of(sites[i].calls.begin(), sites[i].calls.end(), [&](const Call& call) {
                return std::all_of(call.begin(), call.end(), [&](const Pair& pair) { return placed[pair.first]; });
            });
            if (!ready) continue;
            placed[i] = true;
            order.push_back(i);
            break;
        }
    }
    return order;
}

// Sites that nesting or a chain links, each group in that order.
std::vector<std::vector<std::size_t>> linked(const std::vector<Site>& sites, const std::vector<Chain>& chains) {
    std::vector<std::size_t> group(sites.size());
    for (std::size_t i = 0; i < sites.size(); ++i) group[i] = i;
    const auto root = [&](std::size_t i) {
        while (group[i] != i) i = group[i];
        return i;
    };
    for (const auto& chain : chains)
        for (const auto site : chain) group[root(site)] = root(chain[0]);
    for (std::size_t i = 0; i < sites.size(); ++i)
        for (const auto& call : sites[i].calls)
            for (const auto& pair : call) group[root(pair.first)] = root(i);
    std::map<std::size_t, std::vector<std::size_t>> found;
    for (const auto site : enclosing_first(sites)) found[root(site)].push_back(site);
    std::vector<std::vector<std::size_t>> groups;
    for (auto& [first, members] : found) groups.push_back(std::move(members));
    return groups;
}

void best_of(const std::vector<Site>& sites, const std::vector<Chain>& chains, const std::vector<std::size_t>& members, Path& path) {
    std::vector<const Chain*> inside;
    for (const auto& chain : chains)
        if (std::find(members.begin(), members.end(), chain[0]) != members.end()) inside.push_back(&chain);
    OpenSites start;
    for (const auto site : members) {
        std::set<Open> calls;
        for (const auto& call : sites[site].calls) calls.insert(Open(call.begin(), call.end()));
        start.emplace_back(site, simplest(calls));
    }
    using Entry = std::tuple<double, Path, OpenSites>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> heap;
    heap.emplace(0.0, Path{}, start);
    while (true) {
        const auto [cost, routes, open] = heap.top();
        heap.pop();
        if (open.empty()) {
            for (std::size_t i = 0; i < members.size(); ++i) path[members[i]] = routes[i];
            return;
        }
        const auto& [site, calls] = open.front();
        const auto count = static_cast<std::int64_t>(sites[site].branches.size());
        for (std::int64_t route = calls.empty() ? -1 : 0; route < (calls.empty() ? 0 : count); ++route) {
            Path extended = routes;
            extended.push_back(route);
            OpenSites left = given(open.begin() + 1, open.end(), site, route);
            std::map<std::size_t, std::int64_t> states;
            for (std::size_t i = 0; i < extended.size(); ++i) states[members[i]] = extended[i];
            for (const auto& [other, alive] : left) states[other] = alive.count(Open{}) ? CERTAIN : LATENT;
            double total = 0.0;
            for (const auto* chain : inside) total += log_bound(sites, *chain, states);
            if (total > IMPOSSIBLE) heap.emplace(std::round(-total * 1e9) / 1e9, std::move(extended), std::move(left));
        }
    }
}

}  // namespace

Path most_probable_of(const std::vector<Site>& sites) {
    Path path(sites.size(), -1);
    const auto chains = chains_of(sites);
    for (const auto& members : linked(sites, chains)) best_of(sites, chains, members, path);
    return path;
}

}  // namespace rr
