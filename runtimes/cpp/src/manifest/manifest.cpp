// Reads what a file says about itself.
#include <algorithm>

#include "bundle/file_names.hpp"
#include "manifest/readers.hpp"
#include "rr/errors.hpp"
#include "rr/manifest.hpp"
#include "text/text.hpp"
#include "manifest/manifest.hpp"

namespace rr {

namespace {

const std::vector<std::string> INTERFACES{"explicit", "host", "gates", "standalone", "plain"};
const std::vector<std::string> GATED{"explicit", "host"};  // interfaces of graphs that may have gates
const std::vector<std::string> RESERVED{"rr_seed", "rr_path", "rr_draws", "rr_path_taken"};

Size read_size(const Node& node) {
    if (node.value().is(Json::Type::text)) return node.text();
    return node.integer(0);
}

DType read_dtype(const Node& node) {
    static const std::vector<std::string> names{"float16", "float32", "float64", "bool",   "int8",   "int16",
                                                "int32",   "int64",   "uint8",   "uint16", "uint32", "uint64"};
    return *dtype_named(node.one_of(names));
}

std::vector<Tensor> read_tensors(const Node& node) {
    auto tensors = node.each([](const Node& tensor) {
        return Tensor{tensor.key("name").text(), read_dtype(tensor.key("dtype")), tensor.key("shape").each(read_size)};
    });
    std::set<std::string> names;
    for (const auto& tensor : tensors) names.insert(tensor.name);
    if (names.size() != tensors.size() ||
        std::any_of(RESERVED.begin(), RESERVED.end(), [&](const auto& name) { return names.count(name); }) ||
        std::any_of(names.begin(), names.end(), [](const auto& name) { return name.rfind("rr_gate.", 0) == 0; }))
        node.fail(cat("different names, and none of ", joined(RESERVED), ", nor any that begins with rr_gate."));
    return tensors;
}

Bounds read_bounds(const Node& node) {
    const auto bounds = node.each([](const Node& bound) {
        return bound.is_null() ? std::nullopt : std::optional<std::int64_t>(bound.integer(0));
    });
    if (bounds.size() != 2) node.fail("the least and the largest size");
    if (bounds[0] && bounds[1] && *bounds[0] > *bounds[1]) node.fail("a least size that is not above the largest");
    return {bounds[0], bounds[1]};
}

// Only graphs that decide, and take a path, have gates.
void check_gates(const Node& root, const std::vector<Site>& sites, const std::string& interface) {
    const auto gate = [](const Site& site) { return site.policy.type == Policy::Type::gate; };
    if (std::none_of(sites.begin(), sites.end(), gate)) return;
    const auto is_gated = [](const std::string& name) { return std::find(GATED.begin(), GATED.end(), name) != GATED.end(); };
    if (!is_gated(interface))
        root.key("interface").fail(cat("one of ", joined(GATED), ", as the input decides at a site"));
    if (const auto targets = root.optional("targets"))
        for (const auto& [name, target] : targets->items()) {
            if (target.key("form").text() != "routed")
                target.key("form").fail("'routed', as the input decides at a site");
            target.key("interface").one_of(GATED);
        }
}

std::set<std::string> names_of(const std::vector<Tensor>& tensors) {
    std::set<std::string> names;
    for (const auto& tensor : tensors) names.insert(tensor.name);
    return names;
}

Json parsed(std::string_view json, const std::string& where) {
    try {
        return read_json(json);
    } catch (const JsonProblem& problem) {
        throw BundleError(cat(where, ": expected JSON, got ", problem.what, "; ", DAMAGED));
    }
}

void read_rest_of_bundle(const Node& root, Manifest& manifest) {
    Referred referred;
    for (const auto& site : manifest.sites) referred.branches.push_back(site.branches.size());
    referred.inputs = names_of(manifest.inputs);
    referred.outputs = names_of(manifest.outputs);
    for (const auto& [name, record] : manifest.files) referred.files.insert(name);
    for (const auto& tensor : manifest.inputs)
        for (const auto& size : tensor.shape)
            for (auto& name : symbols(size)) referred.axes.insert(std::move(name));
    if (const auto targets = root.optional("targets")) manifest.targets = read_targets(*targets, referred);
    if (const auto golden = root.optional("golden")) manifest.golden = read_golden(*golden, referred.branches);
    if (const auto profiles = root.optional("profiles")) manifest.profiles = read_profiles(*profiles, manifest.sites);
}

}  // namespace

void refuse_long_manifest(std::uint64_t size, const std::string& where) {
    if (size > MOST_MANIFEST_BYTES)
        throw BundleError(cat(where, ": expected a manifest of at most ", MOST_MANIFEST_BYTES, " bytes, got ", size,
                              "; do not use this file, no exporter writes such a long one"));
}

bool is_manifest(std::string_view json) {
    try {
        const Json told = read_json(json);
        if (!told.is(Json::Type::object)) return false;
        const Json* format = told.find("format");
        return format && format->is(Json::Type::text) && format->text() == "rr.manifest";
    } catch (const JsonProblem&) {
        return false;
    }
}

Manifest Manifest::parse(std::string_view json, const std::string& where) {
    refuse_long_manifest(json.size(), where);
    const Json value = parsed(json, where);
    const Node root(value, where, "");
    root.key("format").one_of({"rr.manifest"});
    if (const auto version = root.key("version").integer(0); version != 1)
        throw BundleError(
            cat(where, ": expected version 1, got ", version, "; update rr-runtime, or export again"));
    Manifest manifest;
    manifest.sites = read_sites(root.key("sites"));
    manifest.interface = root.key("interface").one_of(INTERFACES);
    if ((manifest.interface == "plain") != manifest.sites.empty())
        root.key("sites").fail(cat(manifest.sites.empty() ? "sites" : "no sites", " in a file of interface ",
                                   quoted(manifest.interface)));
    check_gates(root, manifest.sites, manifest.interface);
    root.key("generator").one_of({"splitmix64"});
    if (const auto files = root.optional("files")) manifest.files = read_files(*files);
    manifest.inputs = read_tensors(root.key("inputs"));
    manifest.outputs = read_tensors(root.key("outputs"));
    manifest.opset = root.key("opset").integer(1);
    const Node tolerances = root.key("tolerances");
    manifest.rtol = tolerances.key("rtol").number(0.0, 1e9);
    manifest.atol = tolerances.key("atol").number(0.0, 1e9);
    for (const auto& [name, node] : root.key("producer").items()) manifest.producer[name] = node.text();
    if (const auto axes = root.optional("axes"))
        for (const auto& [name, node] : axes->items()) manifest.axes[name] = read_bounds(node);
    read_rest_of_bundle(root, manifest);
    if (const auto unseen = root.optional("unseen_conditions")) manifest.unseen_conditions = unseen->texts();
    if (const auto pruned = root.optional("pruned"); pruned && !manifest.sites.empty())
        manifest.pruned = read_pruned(*pruned, manifest.sites);
    return manifest;
}

std::map<std::string, RecordedFile> read_files(const Node& node) {
    std::map<std::string, RecordedFile> found;
    for (const auto& [name, entry] : node.items()) {
        if (!is_portable(name))
            throw BundleError(cat(node.where(), ": files: expected names of files inside the bundle's folder, got ",
                                  quoted(name), "; do not use this bundle, somebody made it to reach other files"));
        const Node digest = entry.key("sha256");
        const std::string text = digest.text();
        if (text.size() != 64 || text.find_first_not_of("0123456789abcdef") != text.npos)
            digest.fail("64 hexadecimal digits, lower case");
        found[name] = {text, static_cast<std::uint64_t>(entry.key("bytes").integer(0))};
    }
    std::vector<std::string> names{"manifest.json"};
    for (const auto& [name, record] : found) names.push_back(name);
    if (const auto one_file = colliding(std::move(names)))
        node.fail(cat("names of different files on every system, and not ", quoted(one_file->first), " and ",
                      quoted(one_file->second)));
    return found;
}

std::vector<GoldenCase> read_golden(const Node& node, const std::vector<std::size_t>& branches) {
    std::vector<GoldenCase> cases;
    for (const Node& row : node.elements()) {
        GoldenCase made;
        const Node seed = row.key("seed"), path = row.key("path"), taken = row.key("taken");
        const auto inputs = row.optional("inputs"), why = row.optional("why");
        if (inputs) {
            const auto last = static_cast<std::int64_t>(cases.size()) - 1;
            made.inputs = static_cast<std::size_t>(inputs->integer(0, last));
            if (cases[*made.inputs].inputs) inputs->fail("an earlier run with inputs of its own");
        }
        if (!seed.is_null()) made.seed = seed.integer(0, std::numeric_limits<std::int64_t>::max());
        if (!path.is_null()) made.path = read_routes(path, branches);
        if (!taken.is_null()) made.taken = read_routes(taken, branches);
        if (why) made.why = why->text();
        cases.push_back(std::move(made));
    }
    return cases;
}

}  // namespace rr
