// The known answers of the contract: draws, thresholds, routes, chains, paths, profiles and designs.
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "draws/designs.hpp"
#include "law/router.hpp"
#include "law/thresholds.hpp"
#include "rr/draws.hpp"

using nlohmann::json;

namespace {

json vectors(const char* name) { return json::parse(check::read(std::string(RR_VECTORS "/") + name)); }

std::int64_t seed_of(const json& text) { return std::stoll(text.get<std::string>()); }

std::string text_of(const rr::Path& path) {
    std::string text;
    for (const auto route : path) text += route < 0 ? '-' : "0123456789abcdefghijklmnopqrstuvwxyz"[route];
    return text;
}

rr::Path path_of(const std::string& text) {
    rr::Path path;
    for (const char c : text) path.push_back(c == '-' ? -1 : c <= '9' ? c - '0' : c - 'a' + 10);
    return path;
}

float float_of(const std::string& bits) {
    const auto number = static_cast<std::uint32_t>(std::stoul(bits, nullptr, 16));
    float found = 0;
    std::memcpy(&found, &number, sizeof found);
    return found;
}

void set_policy(rr::Site& site, const json& tables, const json& row) {
    const json& table = tables[row["table"].get<std::size_t>()];
    site.policy = {};
    site.policy.probabilities = table["probabilities"].get<std::vector<rr::Row>>();
    site.policy.thresholds = table["thresholds"].get<std::vector<rr::Row>>();
    if (!row["chain"].is_null()) {
        site.policy.type = rr::Policy::Type::markov;
        site.policy.chain = row["chain"].get<std::int64_t>();
        site.policy.step = row["step"].get<std::int64_t>();
    }
}

std::vector<rr::Site> sites_of(const json& plan) {
    std::vector<rr::Site> sites;
    for (int n = 0; n < plan["repeat"].get<int>(); ++n)
        for (const auto& row : plan["sites"]) {
            rr::Site site;
            site.name = "site" + std::to_string(sites.size());
            set_policy(site, plan["tables"], row);
            site.branches.resize(site.policy.probabilities[0].size(), "branch");
            for (const auto& call : row["calls"]) site.calls.push_back(call.get<rr::Call>());
            sites.push_back(std::move(site));
        }
    return sites;
}

std::map<std::string, std::vector<rr::Site>> plans_of(const json& file) {
    std::map<std::string, std::vector<rr::Site>> plans;
    for (const auto& plan : file["plans"]) plans[plan["name"]] = sites_of(plan);
    return plans;
}

void check_draws() {
    const json file = vectors("draws.json");
    for (const auto& row : file["cases"]) {
        const auto seed = seed_of(row["seed"]);
        CHECK(rr::mix64(static_cast<std::uint64_t>(seed)) == std::stoull(row["key"].get<std::string>(), nullptr, 16));
        const auto wanted = row["draws"].get<std::vector<float>>();
        const auto found = rr::draws(seed, wanted.size());
        for (std::size_t i = 0; i < wanted.size(); ++i) CHECK(found[i] == wanted[i] * 0x1p-24F);
    }
    for (const auto& row : file["full"]) {
        const auto wanted = row["draws"].get<std::vector<float>>();
        const auto found = rr::draws(seed_of(row["seed"]), wanted.size());
        CHECK(wanted.size() == 1000);
        for (std::size_t i = 0; i < wanted.size(); ++i) CHECK(found[i] == wanted[i] * 0x1p-24F);
    }
}

void check_thresholds() {
    const json file = vectors("thresholds.json");
    CHECK(file["cases"].size() > 10);
    for (const auto& row : file["cases"]) {
        rr::Row law;
        for (const auto& text : row["probabilities"]) law.push_back(std::stod(text.get<std::string>()));
        const auto sums = rr::cumulated(law);
        CHECK(sums.size() == row["bits"].size());
        for (std::size_t j = 0; j < sums.size(); ++j)
            CHECK_FOR(row["name"], static_cast<float>(sums[j]) == float_of(row["bits"][j]));
    }
}

void check_routes() {
    const json file = vectors("routes.json");
    CHECK(file["cases"].size() > 10);
    for (const auto& row : file["cases"]) {
        rr::Site site;
        site.branches.resize(row["probabilities"].size(), "branch");
        site.calls = {{}};
        site.policy.thresholds.emplace_back();
        for (const auto& bits : row["bits"])
            site.policy.thresholds[0].push_back(static_cast<double>(float_of(bits)));
        const rr::Router router({site});
        rr::Path routes;
        for (std::size_t i = 0; i < row["draws"].size(); ++i) {
            const float draw = row["draws"][i].get<float>() * 0x1p-24F;
            router.latent(&draw, nullptr, routes);
            CHECK_FOR(row["name"], routes[0] == row["routes"][i].get<std::int64_t>());
        }
    }
}

void check_path(const std::vector<rr::Site>& sites, const json& row, const rr::Path& asked) {
    const rr::Router router(sites);
    const auto draws = rr::draws(seed_of(row["seed"]), sites.size());
    rr::Path latent, taken;
    router.latent(draws.data(), asked.data(), latent);
    router.taken(latent, taken);
    CHECK_FOR(row["plan"], text_of(latent) == row[row.contains("fed") ? "fed" : "routes"].get<std::string>());
    CHECK_FOR(row["plan"], text_of(taken) == row["taken"].get<std::string>());
}

void check_paths(const char* name) {
    const json file = vectors(name);
    const auto plans = plans_of(file);
    for (const auto& row : file["cases"]) check_path(plans.at(row["plan"]), row, path_of(row["path"]));
    if (!file.contains("clipped")) return;
    for (const auto& row : file["clipped"]) {
        rr::Path asked;
        for (const auto& route : row["path"]) asked.push_back(seed_of(route));
        check_path(plans.at(row["plan"]), row, asked);
    }
}

void check_profiles() {
    const json file = vectors("profiles.json");
    const auto plans = plans_of(file);
    std::map<std::pair<std::string, std::string>, std::vector<rr::Site>> laws;
    for (const auto& profile : file["profiles"]) {
        if (!profile.contains("tables")) continue;  // one path: what is fed there needs no draws
        auto sites = plans.at(profile["plan"]);
        for (std::size_t i = 0; i < sites.size(); ++i) set_policy(sites[i], profile["tables"], profile["sites"][i]);
        laws[{profile["plan"], profile["name"]}] = std::move(sites);
    }
    for (const auto& row : file["cases"])
        if (const auto law = laws.find({row["plan"], row["profile"]}); law != laws.end())
            check_path(law->second, row, path_of(row["path"]));
}

void check_designs() {
    const json file = vectors("designs.json");
    const auto plans = plans_of(file);
    const auto sites = file["sites"].get<std::size_t>();
    const auto design_of = [](const json& row) {
        const std::string name = row["design"];
        return rr::check_design(name, name == "antithetic" ? std::nullopt : std::optional(row["block"].get<std::int64_t>()));
    };
    for (const auto& row : file["cases"]) {
        const auto design = design_of(row);
        std::vector<std::int64_t> seeds;
        for (std::size_t r = 0; r < design.block; ++r)
            seeds.push_back(design.seed(seed_of(row["seed"]), row["number"].get<std::size_t>() * design.block + r));
        if (design.name == rr::Design::Name::stratified) {
            const auto found = rr::stratified_numbers(seeds, sites);
            const json& wanted = row.contains("numbers") ? row["numbers"] : row["draws"];
            for (std::size_t r = 0; r < found.size(); ++r) {
                const auto text = wanted[r].get<std::string>();
                const auto first = text.find_first_not_of('0');
                CHECK(found[r].hexadecimal() == (first == text.npos ? "0" : text.substr(first)));
            }
        } else {
            CHECK(rr::block_numbers(design, seeds, sites) ==
                  row["draws"].get<std::vector<std::vector<std::uint32_t>>>());
        }
    }
    for (const auto& row : file["runs"]) {
        const auto design = design_of(row);
        const auto& plan = plans.at(row["plan"]);
        const auto before = row["number"].get<std::size_t>() * design.block;
        rr::DesignedRoutes designed(design, plan, seed_of(row["seed"]));
        for (std::size_t r = 0; r < before; ++r) designed.next();
        const rr::Router router(plan);
        rr::Path taken;
        for (std::size_t r = 0; r < design.block; ++r) {
            const rr::Path& latent = designed.next();
            router.taken(latent, taken);
            CHECK(design.seed(seed_of(row["seed"]), before + r) == seed_of(row["seeds"][r]));
            CHECK_FOR(row["plan"], text_of(latent) == row["routes"][r].get<std::string>());
            CHECK_FOR(row["plan"], text_of(taken) == row["taken"][r].get<std::string>());
        }
    }
}

// The sabotaged twin: a generator with one bit of its constant turned must not pass for the right one.
void check_that_wrong_draws_are_seen() {
    const json row = vectors("draws.json")["cases"][1];
    const std::uint64_t key = rr::mix64(static_cast<std::uint64_t>(seed_of(row["seed"])));
    const auto wrong = rr::mix64(key + 0x9E3779B97F4A7C14ULL) >> 40;
    CHECK(wrong != row["draws"][0].get<std::uint64_t>());
}

}  // namespace

int main() {
    check_draws();
    check_thresholds();
    check_routes();
    check_paths("markov.json");
    check_paths("paths.json");
    check_profiles();
    check_designs();
    check_that_wrong_draws_are_seen();
    return check::end();
}
