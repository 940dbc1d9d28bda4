// Manifests: those of all conformance cases are read, and each way in which one can be damaged is refused.
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "bundle/file_names.hpp"
#include "check.hpp"
#include "rr/errors.hpp"
#include "rr/manifest.hpp"

using nlohmann::json;

namespace {

// What a text is refused with, "" where it is read.
std::string refusal(const std::string& text) {
    try {
        rr::Manifest::parse(text, "m");
        return "";
    } catch (const rr::BundleError& error) {
        return error.what();
    }
}

void refused(const json& good, const char* match, const std::function<void(json&)>& damage) {
    json bad = good;
    damage(bad);
    const std::string why = refusal(bad.dump());
    CHECK_FOR(std::string(match) + " <- " + why, why.find(match) != why.npos);
}

void check_real_ones() {
    int found = 0;
    for (const auto& entry : std::filesystem::directory_iterator(RR_CASES)) {
        const auto file = entry.path() / "manifest.json";
        if (!std::filesystem::is_regular_file(file)) continue;
        CHECK_FOR(file.string() + ": " + refusal(check::read(file.string())), refusal(check::read(file.string())).empty());
        ++found;
    }
    CHECK(found > 20);
}

void check_texts() {
    CHECK(refusal("{").find("expected JSON") != std::string::npos);
    CHECK(refusal("NaN").find("expected JSON") != std::string::npos);
    CHECK(refusal(R"({"format": "rr.manifest", "format": 1})").find("the key 'format' twice") != std::string::npos);
    CHECK(refusal(std::string(100000, '[')).find("nested deeper") != std::string::npos);
    CHECK(refusal(std::string((1 << 24) + 1, ' ')).find("at most 16777216 bytes") != std::string::npos);
    CHECK(refusal("[]").find("expected an object, got []") != std::string::npos);
}

void check_damage() {
    const json good = json::parse(check::read(RR_CASES "/nested2/manifest.json"));
    CHECK(refusal(good.dump()).empty());
    refused(good, "m: format: expected 'rr.manifest', got 'x'", [](json& m) { m["format"] = "x"; });
    refused(good, "expected version 1, got 2", [](json& m) { m["version"] = 2; });
    refused(good, "m: generator: expected 'splitmix64'", [](json& m) { m["generator"] = "mt"; });
    refused(good, "m: interface: expected this key, got none", [](json& m) { m.erase("interface"); });
    refused(good, "sites in a file of interface", [](json& m) { m["sites"] = json::array(); });
    refused(good, "no sites in a file of interface 'plain'", [](json& m) { m["interface"] = "plain"; });
    refused(good, "at most 16384 elements", [](json& m) { m["sites"] = json::array(); for (int i = 0; i < 16385; ++i) m["sites"].push_back(0); });
    refused(good, "opset: expected an integer >= 1, got True", [](json& m) { m["opset"] = true; });
    refused(good, "sites of different names", [](json& m) { m["sites"][1]["name"] = m["sites"][0]["name"]; });
    refused(good, "rows that sum to 1", [](json& m) { m["sites"][0]["policy"]["probabilities"][0][0] = 0.0; });
    refused(good, "the cumulated probabilities", [](json& m) { m["sites"][0]["policy"]["thresholds"][0][0] = 0.0; });
    refused(good, "enclosing branches of other sites", [](json& m) { m["sites"][0]["calls"] = {{{9, 0}}}; });
    refused(good, "different names, and none of", [](json& m) { m["inputs"][0]["name"] = "rr_seed"; });
    refused(good, "different names, and none of", [](json& m) { m["inputs"][0]["name"] = "rr_gate.0.1"; });
    refused(good, "inside the bundle's folder", [](json& m) { m["files"]["../x"] = m["files"]["model.onnx"]; });
    refused(good, "inside the bundle's folder", [](json& m) { m["files"]["C:x"] = m["files"]["model.onnx"]; });
    refused(good, "64 hexadecimal digits", [](json& m) { m["files"]["model.onnx"]["sha256"] = "AB"; });
    refused(good, "tolerances.rtol: expected a number", [](json& m) { m["tolerances"]["rtol"] = -1; });
    refused(good, "either policies or a path", [](json& m) { m["profiles"]["p"] = json::object(); });
    refused(good, "a least size that is not above", [](json& m) { m["axes"]["n"] = {3, 2}; });
    refused(good, "expected this key, got none", [](json& m) { m["targets"]["t"] = {{"provider", "cpu"}}; });
}

void check_names() {
    for (const char* name : {"model.onnx", "a/b..c", ".hidden", "a b", "console", "com10"}) CHECK_FOR(name, rr::is_portable(name));
    for (const char* name : {"", "/a", "..", ".", "a/../b", "./a", "a//b", "a/", "a\\b", "C:a", "NUL", "a/com1.txt", "lpt\xC2\xB9",
                             "aux .x", "a ", "a.", "a\nb", "a|b"})
        CHECK_FOR(name, !rr::is_portable(name));
    CHECK(!rr::colliding({"a", "b", "a.b", "c/a", "c/b"}));
    CHECK(rr::colliding({"a", "B", "b"}) && rr::colliding({"a", "c", "C/b"}) && rr::colliding({"a/b/c", "A/B"}));
}

}  // namespace

int main() {
    check_real_ones();
    check_texts();
    check_damage();
    check_names();
    return check::end();
}
