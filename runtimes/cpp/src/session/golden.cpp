// Repeats the recorded runs of a bundle.
#include "session/golden.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "bundle/arrays.hpp"
#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

constexpr const char* GOLDEN = "golden.npz";
using Arrays = std::map<std::string, Array>;

Arrays load(const Bundle& bundle) {
    const auto file = bundle.path / GOLDEN;
    if (!bundle.manifest.files.count(GOLDEN))
        throw BundleError(cat(file.string(), ": expected a recorded file, as there are golden cases, got none; export again"));
    try {
        return read_npz(file);
    } catch (const NoArrays& problem) {
        throw BundleError(cat(file.string(), ": expected arrays, got: ", problem.what(), "; export again"));
    }
}

const Array* find(const Arrays& arrays, std::size_t number, const char* side, const std::string& name) {
    const auto found = arrays.find(cat(number, "/", side, "/", name));
    return found == arrays.end() ? nullptr : &found->second;
}

std::size_t inputs_of(const Bundle& bundle, std::size_t number) { return bundle.manifest.golden[number].inputs.value_or(number); }

bool has_sizes(const Bundle& bundle, const Arrays& arrays, std::size_t number, const Target& target) {
    for (const auto& tensor : bundle.manifest.inputs)
        if (const Array* array = find(arrays, inputs_of(bundle, number), "input", tensor.name))
            for (std::size_t axis = 0; axis < std::min(tensor.shape.size(), array->shape().size()); ++axis)
                if (const auto* name = std::get_if<std::string>(&tensor.shape[axis]))
                    if (const auto size = target.sizes.find(*name); size != target.sizes.end() && size->second != array->shape()[axis])
                        return false;
    return true;
}

// What differs between two outputs, in words; "" where nothing does.
std::string difference(const Array& expected, const Array& found, double rtol, double atol, double share) {
    if (expected.dtype() != found.dtype() || expected.shape() != found.shape())
        return cat("expected ", name_of(expected.dtype()), " ", listed(expected.shape()), ", got ", name_of(found.dtype()), " ",
                   listed(found.shape()));
    const bool floats = is_float(expected.dtype());
    double squares = 0, sum = 0, squared = 0;
    std::size_t finite = 0, wrong = 0, first = 0;
    for (std::size_t i = 0; i < expected.count(); ++i) {
        const double right = expected.number(i), got = found.number(i);
        bool same = right == got;
        if (floats && std::isnan(right)) same = std::isnan(got);
        else if (floats && std::isfinite(right)) {
            if (!std::isfinite(got)) same = false;
            else if (share > 0) same = true;
            else same = std::abs(got - right) <= atol + rtol * std::abs(right);
            squares += (got - right) * (got - right);
            sum += right;
            squared += right * right;
            ++finite;
        }
        if (!same && wrong++ == 0) first = i;
    }
    if (wrong)
        return cat("expected ", shown(expected.number(first)), " at element ", first, ", got ", shown(found.number(first)), " (",
                   wrong, " of ", expected.count(), " differ, rtol ", rounded(rtol), ", atol ", rounded(atol), ")");
    if (!floats || share <= 0 || !finite) return "";
    const auto count = static_cast<double>(finite);
    const double mean = sum / count, error = std::sqrt(squares / count);
    const double scale = finite > 1 ? std::sqrt(std::max(0.0, squared / count - mean * mean)) : std::abs(sum);
    if (error <= share * scale) return "";
    return cat("expected differences of at most ", rounded(100 * share), "% of the deviation ", rounded(scale, 3), ", got ",
               rounded(error, 3));
}

void check_case(Session& session, const Bundle& bundle, const Target* target, std::size_t number, const Arrays& arrays) {
    const auto& manifest = bundle.manifest;
    const auto& recorded = manifest.golden[number];
    const std::string where = cat(bundle.path.string(), ": golden case ", number, recorded.why.empty() ? "" : cat(" (", recorded.why, ")"));
    Inputs inputs;
    for (const auto& tensor : manifest.inputs)
        if (const Array* array = find(arrays, inputs_of(bundle, number), "input", tensor.name)) inputs.emplace_back(tensor.name, *array);
    Ask asked;
    if (manifest.interface != "plain") {
        const bool frozen = target && target->form == Target::Form::frozen;  // it takes the path itself, not the seed
        asked.seed = frozen ? std::nullopt : recorded.seed;
        asked.path = frozen || (!recorded.seed && !recorded.path) ? recorded.taken : recorded.path;
    }
    Result result;
    try {
        result = session.run(inputs, asked);
    } catch (const Error& error) {
        if (error.kind() != Kind::type && error.kind() != Kind::value) throw;
        throw BundleError(cat(where, ": expected inputs of this model, got: ", error.what(), "; export again"));
    }
    if (result.path && recorded.taken && *result.path != *recorded.taken)
        throw RuntimeFailure(cat(where, ": expected path ", listed(*recorded.taken), ", got ", listed(*result.path),
                                 "; this onnxruntime computes the routing wrongly, use another version or provider"));
    for (const auto& [name, found] : result.outputs) {
        const Array* expected = find(arrays, number, "output", name);
        if (!expected) throw BundleError(cat(where, ": expected an output ", quoted(name), ", got none; export again"));
        const std::string differs = target ? difference(*expected, found, target->rtol, target->atol, target->share)
                                           : difference(*expected, found, manifest.rtol, manifest.atol, 0);
        if (!differs.empty())
            throw RuntimeFailure(cat(where, ": output ", quoted(name), ": ", differs, "; try another version of onnxruntime or provider"));
    }
}

}  // namespace

std::size_t check_golden(Session& session, const Bundle& bundle, const Target* target) {
    const auto& manifest = bundle.manifest;
    const std::string where = cat(bundle.path.string(), ": ");
    if (manifest.golden.empty())
        throw RuntimeFailure(cat(where, "expected golden cases, got none; check a bundle folder that has some"));
    if (manifest.interface == "standalone" && !target)
        throw RuntimeFailure(cat(where, "expected a file that takes a path, got interface 'standalone', whose runs cannot be "
                                        "repeated; verify it with rr_export"));
    const Arrays arrays = load(bundle);
    std::size_t count = 0;
    for (std::size_t number = 0; number < manifest.golden.size(); ++number) {
        if (target && !has_sizes(bundle, arrays, number, *target)) continue;
        if (target && target->form == Target::Form::frozen) {
            const auto& taken = manifest.golden[number].taken;
            if (!taken || std::none_of(target->paths.begin(), target->paths.end(), [&](const auto& one) { return one.path == *taken; }))
                continue;
        }
        check_case(session, bundle, target, number, arrays);
        ++count;
    }
    if (!count)
        throw RuntimeFailure(cat(where, "expected golden cases at the sizes and on the paths of target ", quoted(target->name),
                                 ", got none; verify it with rr_export, or package it again"));
    return count;
}

}  // namespace rr
