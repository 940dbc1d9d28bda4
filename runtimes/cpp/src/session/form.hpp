// A form of a model that runs: a graph with `If`, static files of a program, or static files of some paths.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "rr/session.hpp"

namespace rr {

/// Runs one form; threads may share one.
class Form {
public:
    virtual ~Form() = default;

    /// Tells whether it takes seeds and paths.
    virtual bool routed() const noexcept = 0;

    /// Runs once; inputs and their order, seed and asked path (nullptr: all draw) are right. Throws ValueError for a path
    /// that the form does not have, RuntimeFailure where the engine fails.
    virtual void run(const Inputs& inputs, const std::vector<std::size_t>& order, std::optional<std::int64_t> seed,
                     const Path* asked, Result& into) = 0;
};

/// Returns a form on one graph of a bundle; throws BundleError where it is not what the manifest says.
std::unique_ptr<Form> open_graph(const Bundle& bundle, const std::filesystem::path& model, const std::string& interface,
                                 const std::map<std::string, std::int64_t>& sizes, int threads);

/// Returns a form on the static files of a program (section 9).
std::unique_ptr<Form> open_segments(const Bundle& bundle, const Target& target, int threads);

/// Returns a form on the static files of some paths, of which so many stay loaded at a time.
std::unique_ptr<Form> open_frozen(const Bundle& bundle, const Target& target, int threads, std::size_t loaded_paths);

}  // namespace rr
