// The session: opens a bundle or a model file once, and runs it with fresh, seeded or forced paths (section 10).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rr/array.hpp"
#include "rr/bundle.hpp"

namespace rr {

/// What a run is asked for; what is not given is drawn.
struct Ask {
    std::optional<std::int64_t> seed;    ///< 0 <= seed < 2^63; none: a fresh one from the operating system
    std::optional<Path> path;            ///< S routes: -1 draws, 0..K-1 forces
    std::optional<std::string> profile;  ///< the name of another law
    std::optional<double> budget;        ///< in its place: what the best of the menu may cost
    std::optional<std::string> decision;  ///< "most_probable": nothing is drawn, and the result has no seed
};

/// One output of a run.
struct Output {
    std::string name;
    Array array;
};

/// One run. A result that is passed in again keeps its room: only the engine's outputs are made anew.
struct Result {
    std::vector<Output> outputs;       ///< in the order of the manifest
    std::optional<Path> path;          ///< the path taken; none where the file does not tell it
    std::optional<std::int64_t> seed;  ///< the seed of the run's draws; none where the file takes none

    const Array& operator[](const std::string& name) const;  ///< throws ValueError where there is none
};

/// What an ensemble is asked for.
struct EnsembleAsk {
    std::int64_t runs = 0;                 ///< >= 1, whole blocks of the design; with `until` the most
    std::optional<std::int64_t> seed;      ///< the first seed; none: a fresh one
    std::string draws = "independent";     ///< or "antithetic", "latin", "stratified" (section 13)
    std::optional<std::int64_t> block;     ///< of latin and stratified draws; none: 16
    std::optional<std::string> profile;
    std::optional<double> budget;
    std::optional<double> until;           ///< no more runs where no standard error of a floating output is above this
};

/// Many runs on the same inputs.
struct EnsembleResult {
    std::vector<Output> mean, std;    ///< float64; the deviation is divided by the number of runs
    std::vector<Output> error;        ///< the standard error of the mean, float64; none below two runs, or two blocks
    std::vector<std::int64_t> seeds;  ///< of each run; none where the file takes none
    std::vector<Path> paths;          ///< taken by each run; none where the file does not tell them
};

/// How a session is opened.
struct Options {
    std::string provider = "cpu";       ///< the execution provider; this version has the CPU's
    std::optional<std::string> target;  ///< "default" is the bundle's own model; none: as section 9 says
    int threads = 0;                    ///< inside one operator; 0 leaves it to onnxruntime
    std::size_t loaded_paths = 8;       ///< of a frozen target: how many stay loaded at a time
};

/// A routed file, ready to run; one session may be used by many threads at once.
class Session {
public:
    explicit Session(const std::filesystem::path& place, const Options& options = {});
    ~Session();
    Session(Session&&) noexcept;
    Session& operator=(Session&&) noexcept;

    const Manifest& manifest() const noexcept;
    const std::string& target() const noexcept;

    /// Runs once. The inputs' memory must stay until it returns.
    Result run(const Inputs& inputs, const Ask& ask = {});

    /// The same into a result of an earlier run.
    void run(const Inputs& inputs, const Ask& ask, Result& into);

    /// Runs many times on the same inputs; only one run's outputs are in memory at a time.
    EnsembleResult ensemble(const Inputs& inputs, const EnsembleAsk& ask);

    /// Returns how many recorded runs of the bundle were repeated: the same paths, and outputs within the tolerances. Throws
    /// RuntimeFailure where there are none or one differs, BundleError where their arrays are damaged.
    std::size_t check();

private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

}  // namespace rr
