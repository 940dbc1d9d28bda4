// Draws and the asked path -> latent routes and the path taken.
#include "law/router.hpp"

#include <algorithm>
#include <map>

namespace rr {

std::vector<std::pair<std::size_t, std::size_t>> later_steps(const std::vector<Site>& sites) {
    std::map<std::pair<std::int64_t, std::int64_t>, std::size_t> steps;  // by step, then chain
    for (std::size_t i = 0; i < sites.size(); ++i)
        if (const auto& policy = sites[i].policy; policy.chain) steps[{policy.step.value_or(0), *policy.chain}] = i;
    std::vector<std::pair<std::size_t, std::size_t>> found;
    for (const auto& [key, site] : steps)
        if (key.first > 0) found.emplace_back(steps.at({key.first - 1, key.second}), site);
    return found;
}

Router::Router(const std::vector<Site>& sites) : later_(later_steps(sites)) {
    for (std::size_t i = 0; i < sites.size(); ++i) {
        auto& table = tables_.emplace_back();
        for (const auto& row : sites[i].policy.thresholds) {
            auto& thresholds = table.emplace_back();
            for (const double threshold : row) thresholds.push_back(static_cast<float>(threshold));
        }
        last_.push_back(static_cast<std::int64_t>(sites[i].branches.size()) - 1);
        if (sites[i].policy.type == Policy::Type::gate) gates_.push_back(i);
        calls_.push_back(sites[i].calls);
        nested_ |= std::none_of(calls_[i].begin(), calls_[i].end(), [](const Call& call) { return call.empty(); });
    }
}

std::int64_t Router::drawn(std::size_t site, std::size_t row, float draw) const noexcept {
    const auto& thresholds = tables_[site][row];
    return std::upper_bound(thresholds.begin(), thresholds.end(), draw) - thresholds.begin();
}

void Router::latent(const float* draws, const std::int64_t* asked, Path& routes) const {
    routes.resize(size());
    for (std::size_t i = 0; i < size(); ++i)
        routes[i] = asked && asked[i] >= 0 ? std::min(asked[i], last_[i]) : tables_[i].empty() ? 0 : drawn(i, 0, draws[i]);
    for (const auto site : gates_)
        if (!asked || asked[site] < 0) routes[site] = -1;
    for (const auto& [before, site] : later_)
        if (!asked || asked[site] < 0) routes[site] = drawn(site, static_cast<std::size_t>(routes[before]), draws[site]);
}

void Router::taken(const Path& latent, Path& path) const {
    path.resize(size());
    for (std::size_t i = 0; i < size(); ++i) path[i] = !nested_ || reached(i, latent) ? latent[i] : -1;
}

bool Router::reached(std::size_t site, const Path& routes) const noexcept {
    return std::any_of(calls_[site].begin(), calls_[site].end(), [&](const Call& call) {
        return std::all_of(call.begin(), call.end(), [&](const Pair& pair) {
            return routes[pair.first] == static_cast<std::int64_t>(pair.second);
        });
    });
}

}  // namespace rr
