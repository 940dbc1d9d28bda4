// What a file says about itself: its sites, inputs and outputs, and what belongs to a bundle (sections 8, 9 and 12).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "rr/array.hpp"

namespace rr {

using Path = std::vector<std::int64_t>;         ///< S routes, or -1
using Row = std::vector<double>;
using Pair = std::pair<std::size_t, std::size_t>;  ///< the index of a site, and of one of its branches
using Call = std::vector<Pair>;                 ///< the branches around one call of a site, outermost first

/// The law of one site's route.
struct Policy {
    enum class Type { categorical, markov, gate };
    Type type = Type::categorical;
    std::vector<Row> probabilities;  ///< J rows of K numbers; none of a gate
    std::vector<Row> thresholds;     ///< J rows of K - 1 numbers: the route is the number of them <= the draw
    std::optional<std::int64_t> chain, step;
    std::string decision;            ///< of a gate "sample" or "argmax", else ""
    bool operator==(const Policy& other) const;
};

/// A place in the model where one of K branches is chosen.
struct Site {
    std::string name, kind;
    std::vector<std::string> branches;
    std::vector<Call> calls;
    Policy policy;
    bool operator==(const Site& other) const;
};

/// A size of an axis: a number, or the name of a symbolic size.
using Size = std::variant<std::int64_t, std::string>;

/// An input or output of the model.
struct Tensor {
    std::string name;
    DType dtype = DType::float32;
    std::vector<Size> shape;
    std::string text() const;   ///< `name: dtype [sizes]`
    std::string sizes() const;  ///< `[sizes]`
    bool operator==(const Tensor& other) const;
};

/// The least and the largest size of a symbolic axis; none: no bound.
using Bounds = std::pair<std::optional<std::int64_t>, std::optional<std::int64_t>>;

/// What a file of the bundle must be.
struct RecordedFile {
    std::string sha256;
    std::uint64_t bytes = 0;
};

/// A recorded run; its arrays are in golden.npz.
struct GoldenCase {
    std::optional<std::int64_t> seed;
    std::optional<Path> path, taken;
    std::optional<std::size_t> inputs;  ///< the earlier run that has the same inputs
    std::string why;
};

/// What was measured of a profile.
struct Measured {
    double cost = 0, quality = 0, spread = 0;
    std::string metric;
};

/// Another law over the sites: a policy for each of them, or one path.
struct Profile {
    std::string name;
    std::vector<Site> sites;  ///< with the policies of the profile; empty where it is one path
    std::optional<Path> path;
    std::optional<Measured> measured;
};

struct Step;

/// One branch of a step that chooses.
struct StepBranch {
    std::vector<Step> steps;
    std::vector<std::string> results;
};

/// A step of a segments program: a file is run, or (model "") the branch that is the site's route is walked.
struct Step {
    std::string model;
    std::size_t site = 0;
    std::vector<std::string> inputs, outputs;
    std::vector<StepBranch> branches;
};

/// One path of a frozen target.
struct FrozenPath {
    Path path;
    double weight = 0, keep = 0;
    std::string model;
};

/// Another form of the bundle's model.
struct Target {
    enum class Form { routed, segments, frozen };
    std::string name, provider, precision, interface, model;
    Form form = Form::routed;
    double rtol = 0, atol = 0, share = 0;
    std::map<std::string, std::int64_t> sizes;
    std::vector<Step> program;
    std::vector<FrozenPath> paths;
    Row thresholds;
    std::vector<std::string> files() const;  ///< the names of its models, each once
    const char* form_name() const noexcept;
};

/// What a pruned file was made from.
struct Pruned {
    std::string source;
    std::vector<std::string> profiles;
    std::optional<std::string> law;
    std::vector<std::vector<std::string>> branches;
    std::vector<std::vector<std::size_t>> kept;
    bool operator==(const Pruned& other) const;
};

/// What a file says about itself.
struct Manifest {
    std::string interface;
    std::int64_t opset = 0;
    std::vector<Site> sites;
    std::vector<Tensor> inputs, outputs;
    double rtol = 0, atol = 0;
    std::map<std::string, std::string> producer;
    std::map<std::string, Bounds> axes;
    std::vector<std::string> unseen_conditions;
    std::optional<Pruned> pruned;
    // Only in manifest.json:
    std::map<std::string, RecordedFile> files;
    std::vector<Target> targets;    ///< in the order of the file
    std::vector<Profile> profiles;  ///< in the order of the file
    std::vector<GoldenCase> golden;

    /// Returns the manifest that a JSON text describes; `where` is the file it comes from, for messages.
    /// Throws BundleError where it is no JSON, too long, of another format, or a key is missing or wrong.
    static Manifest parse(std::string_view json, const std::string& where = "manifest");

    const Target* target(std::string_view name) const noexcept;    ///< nullptr where there is none
    const Profile* profile(std::string_view name) const noexcept;  ///< nullptr where there is none

    /// Tells whether both say the same of the model itself: all but files, targets, profiles and golden.
    bool same_model(const Manifest& other) const;
};

/// Returns the names in a size: none in a number, one in `batch`, those of an expression such as `2*s + t`.
std::vector<std::string> symbols(const Size& size);

/// Returns the interface's name where it takes seeds and paths.
inline bool is_routed(std::string_view interface) noexcept {
    return interface == "explicit" || interface == "host" || interface == "gates";
}

}  // namespace rr
