// Designs of draws.
#include "draws/designs.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "rr/draws.hpp"
#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

constexpr std::uint32_t GRID = BigUnsigned::BASE;
constexpr std::size_t APART = 2;  // words after the draws of the sites that frozen targets draw with
constexpr std::int64_t BLOCK = 16;

// The rank of each run's word among those of its row: word i of run r is z(S + 2 + i N + r) of the first seed.
std::vector<std::size_t> ranks(const Words& words, std::size_t sites, std::size_t row, std::size_t runs) {
    std::vector<std::size_t> order(runs), found(runs);
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto word = [&](std::size_t r) { return words.word(sites + APART + row * runs + r); };
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return word(a) < word(b); });
    for (std::size_t rank = 0; rank < runs; ++rank) found[order[rank]] = rank;
    return found;
}

}  // namespace

std::int64_t Design::seed(std::int64_t first, std::size_t run) const noexcept {
    const std::uint64_t further = name == Name::antithetic ? run / 2 : run;
    return static_cast<std::int64_t>((static_cast<std::uint64_t>(first) + further) & (~std::uint64_t{0} >> 1));
}

Design check_design(const std::string& name, std::optional<std::int64_t> block) {
    static const std::vector<std::string> names{"independent", "antithetic", "stratified", "latin"};
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
        throw ValueError(cat("draws: expected one of ", joined(names), ", got ", rr::quoted(name), "; name one of them"));
    Design design{static_cast<Design::Name>(found - names.begin()), 1};
    if (design.name == Design::Name::independent || design.name == Design::Name::antithetic) {
        if (block)
            throw ValueError(cat("block: expected none for ", name, " draws, got ", *block, "; leave it away"));
        design.block = design.name == Design::Name::independent ? 1 : 2;
        return design;
    }
    const auto size = block.value_or(BLOCK);
    if (size < 1) throw ValueError(cat("block: expected an integer >= 1, got ", size, "; pass at least 1"));
    if (size < 2)
        throw ValueError(
            cat("block: expected at least 2 runs of a block, got ", size, "; pass more, or draw independently"));
    design.block = static_cast<std::size_t>(size);
    return design;
}

void check_whole_blocks(const Design& design, const std::string& name, std::size_t runs) {
    if (runs % design.block == 0) return;
    const std::size_t more = (runs / design.block + 1) * design.block;
    throw ValueError(cat("runs: expected a multiple of ", design.block, ", a block of ", name, " draws, got ", runs,
                         "; pass ", more));
}

std::vector<std::vector<std::uint32_t>> block_numbers(const Design& design, const std::vector<std::int64_t>& seeds,
                                                      std::size_t sites) {
    const std::size_t runs = seeds.size();
    std::vector<std::vector<std::uint32_t>> found(runs, std::vector<std::uint32_t>(sites));
    for (std::size_t r = 0; r < runs; ++r)
        for (std::size_t i = 0; i < sites; ++i) found[r][i] = Words(seeds[r]).number(i);
    if (design.name == Design::Name::antithetic) {
        for (auto& number : found[1]) number = GRID - 1 - number;
        return found;
    }
    for (std::size_t i = 0; i < sites; ++i) {
        const auto rank = ranks(Words(seeds[0]), sites, i, runs);
        for (std::size_t r = 0; r < runs; ++r)
            found[r][i] = static_cast<std::uint32_t>((std::uint64_t{rank[r]} * GRID + found[r][i]) / runs);
    }
    return found;
}

std::vector<BigUnsigned> stratified_numbers(const std::vector<std::int64_t>& seeds, std::size_t sites) {
    const auto rank = ranks(Words(seeds[0]), sites, 0, seeds.size());
    std::vector<BigUnsigned> found;
    for (std::size_t r = 0; r < seeds.size(); ++r) {
        auto& number = found.emplace_back(rank[r]);
        for (std::size_t i = 0; i < sites; ++i) number.append(Words(seeds[r]).number(i));
        number.divide(static_cast<std::uint32_t>(seeds.size()));
    }
    return found;
}

PathCode::PathCode(const std::vector<Site>& sites) {
    for (const auto& site : sites) {
        auto& table = cuts_.emplace_back();
        for (const auto& row : site.policy.thresholds) {
            auto& cuts = table.emplace_back();
            for (const double threshold : row)
                cuts.push_back(static_cast<std::uint32_t>(std::ceil(static_cast<float>(threshold) * 0x1p24F)));
        }
    }
    std::vector<std::optional<std::size_t>> before(sites.size());
    for (const auto& [earlier, site] : later_steps(sites)) before[site] = earlier;
    std::vector<std::size_t> order(sites.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto step = [&](std::size_t i) { return sites[i].policy.step.value_or(0); };
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return step(a) < step(b); });
    for (const auto site : order) order_.emplace_back(site, before[site]);
}

Path PathCode::routes(BigUnsigned number) const {
    Path found(cuts_.size(), 0);
    auto width = BigUnsigned::power(found.size());  // of the part that is left, in which the number lies
    for (const auto& [site, before] : order_) {
        width.shift_down();
        const auto& cuts = cuts_[site][before ? static_cast<std::size_t>(found[*before]) : 0];
        const auto later = std::upper_bound(cuts.begin(), cuts.end(), number.quotient(width));
        const std::uint32_t least = later == cuts.begin() ? 0 : *(later - 1);
        const std::uint32_t end = later == cuts.end() ? GRID : *later;
        found[site] = later - cuts.begin();
        number.subtract(width.times(least));
        width = width.times(end - least);
    }
    return found;
}

DesignedRoutes::DesignedRoutes(const Design& design, const std::vector<Site>& sites, std::int64_t first)
    : design_(design), first_(first), sites_(sites.size()), router_(sites) {
    if (design.name == Design::Name::stratified) code_.emplace(sites);
}

const Path& DesignedRoutes::next() {
    if (run_ % design_.block == 0) fill();
    return block_[run_++ % design_.block];
}

void DesignedRoutes::fill() {
    std::vector<std::int64_t> seeds(design_.block);
    for (std::size_t r = 0; r < design_.block; ++r) seeds[r] = design_.seed(first_, run_ + r);
    block_.resize(design_.block);
    if (code_) {
        auto numbers = stratified_numbers(seeds, sites_);
        for (std::size_t r = 0; r < design_.block; ++r) block_[r] = code_->routes(std::move(numbers[r]));
        return;
    }
    const auto numbers = block_numbers(design_, seeds, sites_);
    std::vector<float> draws(sites_);
    for (std::size_t r = 0; r < design_.block; ++r) {
        for (std::size_t i = 0; i < sites_; ++i) draws[i] = static_cast<float>(numbers[r][i]) * 0x1p-24F;
        router_.latent(draws.data(), nullptr, block_[r]);
    }
}

}  // namespace rr
