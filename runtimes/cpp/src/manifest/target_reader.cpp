// Reads the targets of a bundle.
#include <algorithm>
#include <cmath>
#include <set>

#include "manifest/readers.hpp"
#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

FrozenPath read_path(const Node& node, const Referred& referred) {
    FrozenPath found;
    found.path = read_routes(node.key("path"), referred.branches);
    found.keep = node.key("keep").number(0.0, 1.0);
    found.weight = node.key("weight").number(0.0, 1.0);
    found.model = read_file_name(node.key("model"), referred.files);
    return found;
}

void read_frozen(const Node& node, const Referred& referred, Target& target) {
    const Node paths = node.key("paths"), thresholds = node.key("thresholds");
    target.paths = paths.each([&](const Node& path) { return read_path(path, referred); });
    if (target.paths.empty()) paths.fail("at least one path");
    std::set<Path> different;
    double sum = 0;
    for (const auto& frozen : target.paths) {
        different.insert(frozen.path);
        sum += frozen.weight;
    }
    if (different.size() != target.paths.size()) paths.fail("different paths");
    if (std::abs(sum - 1) > 1e-6) paths.fail("weights that sum to 1");
    target.thresholds = thresholds.each([](const Node& number) { return number.number(0.0, 1.0); });
    if (target.thresholds.size() != target.paths.size() - 1 ||
        !std::is_sorted(target.thresholds.begin(), target.thresholds.end()))
        thresholds.fail(cat(target.paths.size() - 1, " thresholds that do not fall"));
}

Target read_target(const std::string& name, const Node& node, const Referred& referred) {
    Target target;
    target.name = name;
    const std::string form = node.key("form").one_of({"routed", "segments", "frozen"});
    target.form = form == "routed"     ? Target::Form::routed
                  : form == "segments" ? Target::Form::segments
                                       : Target::Form::frozen;
    if (const auto sizes = node.optional("sizes"))
        for (const auto& [axis, size] : sizes->items()) {
            if (!referred.axes.count(axis)) {
                const std::vector<std::string> axes(referred.axes.begin(), referred.axes.end());
                sizes->fail(cat("sizes of ", axes.empty() ? "no axis" : joined(axes)));
            }
            target.sizes[axis] = size.integer(1);
        }
    if (const auto operators = node.optional("operators")) read_file_name(*operators, referred.files);
    if (target.form == Target::Form::frozen) read_frozen(node, referred, target);
    target.provider = node.key("provider").text();
    target.precision = node.key("precision").one_of({"float32", "float16", "qdq", "qdq16"});
    target.rtol = node.key("rtol").number(0.0, 1e9);
    target.atol = node.key("atol").number(0.0, 1e9);
    if (const auto share = node.optional("share")) target.share = share->number(0.0, 1.0);
    if (target.form == Target::Form::routed) {
        target.interface = node.key("interface").one_of({"explicit", "host", "gates", "plain"});
        target.model = read_file_name(node.key("model"), referred.files);
    }
    if (target.form == Target::Form::segments) target.program = read_program(node.key("program"), referred);
    return target;
}

}  // namespace

std::vector<Target> read_targets(const Node& node, const Referred& referred) {
    std::vector<Target> targets;
    for (const auto& [name, entry] : node.items()) targets.push_back(read_target(name, entry, referred));
    for (const auto& target : targets) {
        if (target.name == "default") node.fail("other names than 'default', which is the bundle's own model");
        if (target.form == Target::Form::segments)
            check_values(target.program, referred, cat(node.where(), ": ", node.place(), ".", target.name, ".program"));
    }
    return targets;
}

std::string read_file_name(const Node& node, const std::set<std::string>& files) {
    std::string name = node.text();
    if (!files.count(name)) node.fail("the name of a recorded file");
    return name;
}

}  // namespace rr
