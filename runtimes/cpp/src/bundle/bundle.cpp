// Opens a bundle folder, or a single model file.
#include "rr/bundle.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "bundle/mapped.hpp"
#include "bundle/onnx_fields.hpp"
#include "bundle/watched.hpp"
#include "manifest/manifest.hpp"
#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

namespace fs = std::filesystem;

namespace {

constexpr const char* MANIFEST = "manifest.json";
constexpr const char* MODEL = "model.onnx";
constexpr const char* METADATA_KEY = "rr.manifest";

bool is_file(const fs::path& place) {
    std::error_code none;
    return fs::is_regular_file(place, none);
}

bool is_folder(const fs::path& place) {
    std::error_code none;
    return fs::is_directory(place, none);
}

std::uint64_t size_of_file(const fs::path& file) {
    std::error_code problem;
    const auto size = fs::file_size(file, problem);
    if (problem)
        throw BundleError(cat(file.string(), ": expected a readable file, got ", problem.message(),
                              "; check its permissions"));
    return size;
}

std::string read_file(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    std::string content(static_cast<std::size_t>(size_of_file(file)), '\0');
    if (!content.empty()) stream.read(content.data(), static_cast<std::streamsize>(content.size()));
    if (!stream || static_cast<std::size_t>(stream.gcount()) != content.size())
        throw BundleError(
            cat(file.string(), ": expected a readable file, got none that can be read; check its permissions"));
    return content;
}

std::string read_manifest(const fs::path& file) {
    refuse_long_manifest(size_of_file(file), file.string());
    return read_file(file);
}

[[noreturn]] void unreadable(const fs::path& file, const std::string& why) {
    throw BundleError(cat(file.string(), ": expected an ONNX model that onnxruntime loads, got: ", why,
                          "; copy or export it again (it may be cut short), or update onnxruntime"));
}

void check_file(const fs::path& file, const RecordedFile& record, Watched& watched) {
    if (!is_file(file))
        throw BundleError(cat(file.string(), ": expected the file that ", MANIFEST,
                              " records, got none; copy the whole bundle again"));
    if (const auto size = size_of_file(file); size != record.bytes)
        throw BundleError(
            cat(file.string(), ": expected ", record.bytes, " bytes, got ", size, "; copy the bundle again"));
    if (const auto digest = watched.digest(file, Hash::sha256); digest != record.sha256)
        throw BundleError(cat(file.string(), ": expected SHA-256 ", record.sha256, ", got ", digest,
                              "; copy or export the bundle again"));
}

// A model of the folder has weights only in files that are recorded, so that they were checked.
void check_weights(const fs::path& folder, const std::string& name, const Manifest& manifest) {
    const fs::path file = folder / name;
    if (file.extension() == ".ort") return;  // no protobuf; weights are inside
    try {
        for (const auto& [location, sums] : external_files(Mapped(file).bytes())) {
            const auto beside = (fs::path(name).parent_path() / location).generic_string();
            if (!manifest.files.count(beside))
                throw BundleError(cat(file.string(), ": expected weights in files that ", MANIFEST, " records, got ",
                                      rr::quoted(location), "; do not use this bundle, or export it again"));
        }
    } catch (const NoProtobuf& problem) {
        unreadable(file, problem.what);
    }
}

Bundle open_folder(const fs::path& folder) {
    const fs::path file = folder / MANIFEST;
    if (!is_file(file))
        throw BundleError(cat(folder.string(), ": expected a bundle folder with ", MANIFEST,
                              ", got none; export one, or name a model file"));
    Bundle bundle{folder, std::nullopt, Manifest::parse(read_manifest(file), file.string()),
                  std::make_shared<Watched>()};
    const auto& files = bundle.manifest.files;
    if (!files.count(MODEL) && bundle.manifest.targets.empty()) {
        std::vector<std::string> names;
        for (const auto& [name, record] : files) names.push_back(name);
        throw BundleError(cat(file.string(), ": files: expected a record of ", MODEL, ", got ",
                              names.empty() ? "nothing" : joined(names), "; export the model again"));
    }
    for (const auto& [name, record] : files) check_file(folder / name, record, *bundle.watched);
    std::set<std::string> models{MODEL};
    for (const auto& target : bundle.manifest.targets)
        for (const auto& name : target.files()) models.insert(name);
    for (const auto& name : models)
        if (files.count(name)) check_weights(folder, name, bundle.manifest);
    if (files.count(MODEL)) bundle.model = folder / MODEL;
    return bundle;
}

// What a bundle's manifest beside a file records; nothing where there is none, or one of something else.
std::map<std::string, RecordedFile> recorded_beside(const fs::path& file) {
    const fs::path beside = file.parent_path() / MANIFEST;
    if (!is_file(beside)) return {};
    const std::string content = read_manifest(beside);
    return is_manifest(content) ? Manifest::parse(content, beside.string()).files
                                : std::map<std::string, RecordedFile>{};
}

void check_checksum(const fs::path& place, std::string told, const fs::path& file, Watched& watched) {
    const std::string found = watched.digest(place, Hash::sha1);
    const std::string shown = told;
    std::transform(told.begin(), told.end(), told.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    if (found != told)
        throw BundleError(cat(place.string(), ": expected the SHA-1 ", shown, " that ", file.filename().string(),
                              " tells of its weights, got ", found,
                              "; copy both again, or export the model again"));
}

// The weights of a file that lie in other files are what is known of them.
void check_external(const fs::path& file, std::string_view content,
                    const std::map<std::string, RecordedFile>& recorded, Watched& watched) {
    ExternalFiles found;
    try {
        found = external_files(content);
    } catch (const NoProtobuf&) {
        return;  // its weights are inside, or nobody can read them
    }
    for (const auto& [name, sums] : found) {
        const fs::path place = file.parent_path() / name;
        if (const auto record = recorded.find(name); record != recorded.end()) check_file(place, record->second, watched);
        else if (is_file(place))  // what is missing is the engine's to tell
            for (const auto& told : sums) check_checksum(place, told, file, watched);
    }
}

std::optional<std::string> manifest_inside(const fs::path& file, std::string_view content, const MetadataReader& engine) {
    try {
        const auto text = metadata(content, METADATA_KEY);
        return text ? std::optional<std::string>(*text) : std::nullopt;
    } catch (const NoProtobuf& problem) {
        if (!engine) unreadable(file, problem.what);
        return engine(file);
    }
}

Bundle open_file(const fs::path& file, const MetadataReader& engine) {
    auto watched = std::make_shared<Watched>();
    const auto recorded = recorded_beside(file);
    if (const auto own = recorded.find(file.filename().string()); own != recorded.end()) check_file(file, own->second, *watched);
    watched->digest(file, Hash::sha256);
    const Mapped mapped(file);  // what is not looked at, such as weights, is not read
    const std::string_view content = mapped.bytes();
    check_external(file, content, recorded, *watched);
    const auto text = manifest_inside(file, content, engine);
    if (!text)
        throw BundleError(cat(file.string(), ": expected a model with metadata ", METADATA_KEY,
                              ", got one without; export it with rr_export, or run it with onnxruntime itself"));
    return {file, file, Manifest::parse(*text, cat(file.string(), ": metadata ", METADATA_KEY)), std::move(watched)};
}

// The folder that made room for its successor is at its place again where that never came; else nothing happens.
void move_back(const fs::path& place) {
    std::error_code none;
    if (fs::exists(fs::symlink_status(place, none))) return;
    const fs::path old = place.parent_path() / cat(".", place.filename().string(), ".rr-old");
    if (is_folder(old)) fs::rename(old, place, none);
}

}  // namespace

Bundle Bundle::open(const fs::path& place, const MetadataReader& engine) {
    const fs::path bare = place.has_filename() ? place : place.parent_path();  // without a slash at its end
    move_back(bare);
    const fs::path inner = bare / "onnx";
    const fs::path source = !is_file(bare / MANIFEST) && is_file(inner / MANIFEST) ? inner : bare;
    if (is_folder(source)) return open_folder(source);
    if (is_file(source)) return open_file(source, engine);
    throw BundleError(
        cat(source.string(), ": expected a bundle folder or a model file, got nothing there; check the path"));
}

}  // namespace rr
