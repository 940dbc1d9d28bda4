// Bundles: hashes by their standards' examples, every conformance case opened, and damaged or hostile ones refused.
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bundle/onnx_fields.hpp"
#include "bundle/sha.hpp"
#include "check.hpp"
#include "rr/bundle.hpp"
#include "rr/draws.hpp"
#include "rr/errors.hpp"

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

const fs::path SCRATCH = fs::temp_directory_path() / ("rr_test_bundle_" + std::to_string(rr::fresh_seed()));

std::string refusal(const fs::path& place) {
    try {
        rr::Bundle::open(place);
        return "";
    } catch (const rr::BundleError& error) {
        return error.what();
    }
}

void refused(const fs::path& place, const char* match) {
    const std::string why = refusal(place);
    CHECK_FOR(std::string(match) + " <- " + why, why.find(match) != why.npos);
}

void write(const fs::path& file, const std::string& content) {
    std::ofstream(file, std::ios::binary) << content;
}

fs::path copied(const char* name) {
    const fs::path place = SCRATCH / name;
    fs::remove_all(place);
    fs::copy(fs::path(RR_CASES) / name, place, fs::copy_options::recursive);
    return place;
}

void check_hashes() {
    CHECK(rr::digest_of(rr::Hash::sha1, "abc") == "a9993e364706816aba3e25717850c26c9cd0d89d");
    CHECK(rr::digest_of(rr::Hash::sha256, "abc") ==
          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(rr::digest_of(rr::Hash::sha256, "") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(rr::digest_of(rr::Hash::sha1, std::string(1000000, 'a')) == "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    const json row = json::parse(check::read(RR_VECTORS "/draws.json"))["cases"];
    for (const auto& told : row)
        for (const auto& [sites, digest] : told["sha256"].items()) {
            const auto draws = rr::draws(std::stoll(told["seed"].get<std::string>()), std::stoul(sites));
            const std::string_view bytes(reinterpret_cast<const char*>(draws.data()), draws.size() * sizeof(float));
            CHECK(rr::digest_of(rr::Hash::sha256, bytes) == digest.get<std::string>());
        }
}

void check_real_ones() {
    int found = 0;
    for (const auto& entry : fs::directory_iterator(RR_CASES)) {
        const json runs = json::parse(check::read((entry.path() / "runs.json").string()));
        const fs::path place = entry.path() / runs["model"].get<std::string>();
        if (place.extension() == ".ort") continue;  // the engine's own format is no protobuf
        CHECK_FOR(place.string() + ": " + refusal(place), refusal(place).empty());
        ++found;
    }
    CHECK(found > 20);
}

void check_damaged() {
    refused(SCRATCH / "nothing", "got nothing there; check the path");
    refused(SCRATCH, "expected a bundle folder with manifest.json, got none");
    auto place = copied("static");
    CHECK(refusal(place).empty());
    CHECK(refusal(place / "").empty());
    CHECK(refusal(place / "model.onnx").empty());
    write(place / "model.onnx", "damaged");
    refused(place, "bytes, got 7; copy the bundle again");
    refused(place / "model.onnx", "bytes, got 7; copy the bundle again");
    fs::remove(place / "model.onnx");
    refused(place, "expected the file that manifest.json records, got none");

    place = copied("static");
    std::string model = check::read((place / "model.onnx").string());
    model.back() = static_cast<char>(model.back() ^ 1);
    write(place / "model.onnx", model);
    refused(place, "expected SHA-256");

    place = copied("static");
    json manifest = json::parse(check::read((place / "manifest.json").string()));
    manifest["files"].erase("model.onnx");
    manifest.erase("targets");
    write(place / "manifest.json", manifest.dump());
    refused(place, "expected a record of model.onnx");
}

void check_external() {
    auto place = copied("external");
    CHECK(refusal(place).empty());
    json manifest = json::parse(check::read((place / "manifest.json").string()));
    manifest["files"].erase("model.onnx.data");
    write(place / "manifest.json", manifest.dump());
    refused(place, "expected weights in files that manifest.json records, got 'model.onnx.data'");
    fs::remove(place / "manifest.json");  // now the tensors alone tell the hash
    CHECK_FOR(refusal(place / "model.onnx"), refusal(place / "model.onnx").empty());
    std::string weights = check::read((place / "model.onnx.data").string());
    weights[0] = static_cast<char>(weights[0] ^ 1);
    write(place / "model.onnx.data", weights);
    refused(place / "model.onnx", "expected the SHA-1");
}

void check_moved() {
    const auto place = copied("plain");
    fs::rename(place, SCRATCH / ".plain.rr-old");
    CHECK(refusal(place).empty());
    CHECK(fs::is_directory(place));
    fs::create_directories(SCRATCH / "hub");
    fs::rename(place, SCRATCH / "hub" / "onnx");
    CHECK(refusal(SCRATCH / "hub").empty());
}

void check_protobuf() {
    for (const char* bytes : {"\x07", "\x0a\x7f", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"}) {
        bool thrown = false;
        try {
            rr::metadata(bytes, "x");
        } catch (const rr::NoProtobuf&) {
            thrown = true;
        }
        CHECK(thrown);
    }
    write(SCRATCH / "none.onnx", "\x07");
    refused(SCRATCH / "none.onnx", "expected an ONNX model");
    write(SCRATCH / "empty.onnx", "");
    refused(SCRATCH / "empty.onnx", "got one without");
}

}  // namespace

int main() {
    fs::create_directories(SCRATCH);
    check_hashes();
    check_real_ones();
    check_damaged();
    check_external();
    check_moved();
    check_protobuf();
    fs::remove_all(SCRATCH);
    return check::end();
}
