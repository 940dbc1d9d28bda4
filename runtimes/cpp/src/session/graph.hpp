// Runs one graph whose `If` nodes choose: by a seed, by draws or by gates; or a graph without sites.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "law/router.hpp"
#include "rr/bundle.hpp"
#include "rr/session.hpp"

namespace rr {

/// Returns the manifest's text in a model file that the engine loads.
std::optional<std::string> engine_metadata(const std::filesystem::path& model);

class Graph {
public:
    /// Opens a model file of a bundle; throws BundleError where it is not what the manifest says.
    Graph(const Bundle& bundle, const std::filesystem::path& model, const std::string& interface,
          const std::map<std::string, std::int64_t>& sizes, int threads);
    ~Graph();

    bool routed() const noexcept;

    /// Runs once; inputs and their order, seed and asked path (nullptr: all draw) are right.
    void run(const Inputs& inputs, const std::vector<std::size_t>& order, std::optional<std::int64_t> seed,
             const Path* asked, Result& into);

private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

}  // namespace rr
