// Designs: the draws of many runs, spread over the law more evenly than independent ones (section 13).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "draws/big_unsigned.hpp"
#include "law/router.hpp"
#include "rr/manifest.hpp"

namespace rr {

/// How the draws of many runs hang together: those of a block do, blocks are independent of each other.
struct Design {
    enum class Name { independent, antithetic, stratified, latin };
    Name name = Name::independent;
    std::size_t block = 1;

    /// Returns the seed of a run of an ensemble whose first seed is this.
    std::int64_t seed(std::int64_t first, std::size_t run) const noexcept;
};

/// Returns the design of that name; throws ValueError where there is none, or it has no blocks of that size.
Design check_design(const std::string& name, std::optional<std::int64_t> block);

/// Throws ValueError where a number of runs is not one of whole blocks.
void check_whole_blocks(const Design& design, const std::string& name, std::size_t runs);

/// Returns the draws of the runs of an antithetic or latin block, n of n * 2^-24, [N][S].
std::vector<std::vector<std::uint32_t>> block_numbers(const Design& design, const std::vector<std::int64_t>& seeds,
                                                      std::size_t sites);

/// Returns a number below 2^(24 S) for each run of a stratified block.
std::vector<BigUnsigned> stratified_numbers(const std::vector<std::int64_t>& seeds, std::size_t sites);

/// Cuts the numbers below 2^(24 S) into parts, one for each combination of routes, as in arithmetic coding.
class PathCode {
public:
    explicit PathCode(const std::vector<Site>& sites);
    Path routes(BigUnsigned number) const;

private:
    std::vector<std::vector<std::vector<std::uint32_t>>> cuts_;  // by site and row: the least draw of each later route
    std::vector<std::pair<std::size_t, std::optional<std::size_t>>> order_;  // sites, and the step before
};

/// Gives the latent routes of run 0, 1, 2, ... of a design that is not independent, one block after another.
class DesignedRoutes {
public:
    DesignedRoutes(const Design& design, const std::vector<Site>& sites, std::int64_t first);
    const Path& next();

private:
    void fill();
    Design design_;
    std::int64_t first_;
    std::size_t sites_, run_ = 0;
    Router router_;
    std::optional<PathCode> code_;
    std::vector<Path> block_;
};

}  // namespace rr
