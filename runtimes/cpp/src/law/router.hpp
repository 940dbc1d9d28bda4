// Draws and the asked path -> latent routes and the path taken (sections 4 to 6).
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "rr/manifest.hpp"

namespace rr {

/// Returns (index of the step before, index of the step) for the later steps of all chains, in the order of steps.
std::vector<std::pair<std::size_t, std::size_t>> later_steps(const std::vector<Site>& sites);

/// Decides the routes of a run; nothing in it changes, so threads share one. Calls allocate nothing where the vectors
/// that they fill have room already.
class Router {
public:
    explicit Router(const std::vector<Site>& sites);

    std::size_t size() const noexcept { return last_.size(); }

    /// Fills the latent routes, S of them; -1 at a gate that no route is asked for, as the graph decides there.
    /// `draws` are S numbers in [0, 1); `asked` S routes, negative where the site draws, or nullptr: all draw.
    void latent(const float* draws, const std::int64_t* asked, Path& routes) const;

    /// Fills the path taken: the latent route of every reached site, -1 elsewhere.
    void taken(const Path& latent, Path& path) const;

    /// Tells whether a site is reached with these latent routes, or on this path taken.
    bool reached(std::size_t site, const Path& routes) const noexcept;

private:
    std::int64_t drawn(std::size_t site, std::size_t row, float draw) const noexcept;

    std::vector<std::vector<std::vector<float>>> tables_;  // by site and row: thresholds
    std::vector<std::int64_t> last_;                       // by site: its last branch
    std::vector<std::size_t> gates_;
    std::vector<std::pair<std::size_t, std::size_t>> later_;
    std::vector<std::vector<Call>> calls_;
    bool nested_ = false;
};

}  // namespace rr
