// The parts of a manifest: how they are compared, found and shown.
#include <algorithm>
#include <tuple>

#include "rr/manifest.hpp"
#include "text/text.hpp"

namespace rr {

bool Policy::operator==(const Policy& o) const {
    return std::tie(type, probabilities, thresholds, chain, step, decision) ==
           std::tie(o.type, o.probabilities, o.thresholds, o.chain, o.step, o.decision);
}

bool Site::operator==(const Site& o) const {
    return std::tie(name, kind, branches, calls, policy) == std::tie(o.name, o.kind, o.branches, o.calls, o.policy);
}

bool Tensor::operator==(const Tensor& o) const {
    return std::tie(name, dtype, shape) == std::tie(o.name, o.dtype, o.shape);
}

bool Pruned::operator==(const Pruned& o) const {
    return std::tie(source, profiles, law, branches, kept) ==
           std::tie(o.source, o.profiles, o.law, o.branches, o.kept);
}

bool Manifest::same_model(const Manifest& o) const {
    return std::tie(interface, opset, sites, inputs, outputs, rtol, atol, producer, axes, unseen_conditions, pruned) ==
           std::tie(o.interface, o.opset, o.sites, o.inputs, o.outputs, o.rtol, o.atol, o.producer, o.axes,
                    o.unseen_conditions, o.pruned);
}

std::string Tensor::sizes() const {
    std::vector<std::string> texts;
    for (const auto& size : shape)
        texts.push_back(size.index() ? std::get<std::string>(size) : std::to_string(std::get<std::int64_t>(size)));
    return cat("[", joined(texts), "]");
}

std::string Tensor::text() const { return cat(name, ": ", name_of(dtype), " ", sizes()); }

namespace {

void add_files(const std::vector<Step>& steps, std::vector<std::string>& found) {
    for (const auto& step : steps) {
        if (!step.model.empty()) found.push_back(step.model);
        for (const auto& branch : step.branches) add_files(branch.steps, found);
    }
}

}  // namespace

std::vector<std::string> Target::files() const {
    std::vector<std::string> found;
    if (!model.empty()) found.push_back(model);
    add_files(program, found);
    for (const auto& frozen : paths) found.push_back(frozen.model);
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
}

const char* Target::form_name() const noexcept {
    return form == Form::routed ? "routed" : form == Form::segments ? "segments" : "frozen";
}

const Target* Manifest::target(std::string_view name) const noexcept {
    const auto found = std::find_if(targets.begin(), targets.end(), [&](const Target& t) { return t.name == name; });
    return found == targets.end() ? nullptr : &*found;
}

const Profile* Manifest::profile(std::string_view name) const noexcept {
    const auto found = std::find_if(profiles.begin(), profiles.end(), [&](const Profile& p) { return p.name == name; });
    return found == profiles.end() ? nullptr : &*found;
}

std::vector<std::string> symbols(const Size& size) {
    std::vector<std::string> found;
    if (size.index() == 0) return found;
    const std::string& text = std::get<std::string>(size);
    const auto letter = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
    };
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t start = i;
        while (i < text.size() && (letter(text[i]) || digit(text[i]))) ++i;
        if (i == start) {
            ++i;
            continue;
        }
        const bool function = i < text.size() && text[i] == '(';
        const std::string name = text.substr(start, i - start);
        if (letter(name[0]) && !function && std::find(found.begin(), found.end(), name) == found.end())
            found.push_back(name);
    }
    return found;
}

}  // namespace rr
