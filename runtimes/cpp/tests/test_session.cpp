// The conformance cases, as far as their default files and routed targets go: paths exactly, outputs within tolerance.
#include <cmath>
#include <cstring>
#include <deque>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "check.hpp"
#include "rr/errors.hpp"
#include "rr/session.hpp"

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

std::uint16_t half_of(double number) {  // exact: the cases' numbers are half precision numbers
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits)
        if (static_cast<double>(rr::half_to_float(static_cast<std::uint16_t>(bits))) == number)
            return static_cast<std::uint16_t>(bits);
    return 0;
}

template <typename T>
void fill(rr::Array& array, const json& data) {
    for (std::size_t i = 0; i < data.size(); ++i) array.as<T>()[i] = data[i].get<T>();
}

rr::Array array_of(const json& row) {
    rr::Array made(*rr::dtype_named(row["dtype"].get<std::string>()), row["shape"].get<std::vector<std::int64_t>>());
    const json& data = row["data"];
    switch (made.dtype()) {
        case rr::DType::float16:
            for (std::size_t i = 0; i < data.size(); ++i) static_cast<std::uint16_t*>(made.data())[i] = half_of(data[i]);
            break;
        case rr::DType::float32: fill<float>(made, data); break;
        case rr::DType::float64: fill<double>(made, data); break;
        case rr::DType::boolean: fill<bool>(made, data); break;
        case rr::DType::int8: fill<std::int8_t>(made, data); break;
        case rr::DType::int16: fill<std::int16_t>(made, data); break;
        case rr::DType::int32: fill<std::int32_t>(made, data); break;
        case rr::DType::int64: fill<std::int64_t>(made, data); break;
        case rr::DType::uint8: fill<std::uint8_t>(made, data); break;
        case rr::DType::uint16: fill<std::uint16_t>(made, data); break;
        case rr::DType::uint32: fill<std::uint32_t>(made, data); break;
        case rr::DType::uint64: fill<std::uint64_t>(made, data); break;
    }
    return made;
}

struct Tolerance {
    double rtol = 0, atol = 0;
};

// What differs between a result and one expected answer, "" where nothing does.
std::string difference(const rr::Result& result, const json& expected, const Tolerance& tolerance) {
    if (!expected["path"].is_null() && result.path && *result.path != expected["path"].get<rr::Path>()) return "path";
    std::size_t seen = 0;
    for (const auto& [name, row] : expected["outputs"].items()) {
        const rr::Array& found = result[name];
        const rr::Array wanted = array_of(row);
        if (found.dtype() != wanted.dtype() || found.shape() != wanted.shape()) return name + ": dtype or shape";
        for (std::size_t i = 0; i < wanted.count(); ++i) {
            const double a = found.number(i), b = wanted.number(i);
            const double allowed = rr::is_float(wanted.dtype()) ? tolerance.atol + tolerance.rtol * std::abs(b) : 0.0;
            if (!(std::abs(a - b) <= allowed)) return name + ": a number";
        }
        ++seen;
    }
    return seen == result.outputs.size() ? "" : "the number of outputs";
}

class Case {
public:
    Case(const std::string& name, rr::Session& session, Tolerance tolerance)
        : name_(name), session_(session), tolerance_(tolerance) {}

    void judge(const json& run) {
        std::deque<rr::Array> arrays;
        rr::Inputs inputs;
        for (const auto& [name, row] : run["inputs"].items()) inputs.emplace_back(name, arrays.emplace_back(array_of(row)));
        const std::string about = name_ + ": " + run["name"].get<std::string>();
        const std::string kind = run["kind"];
        rr::Ask ask;
        if (run.contains("path") && !run["path"].is_null()) ask.path = run["path"].get<rr::Path>();
        if (run.contains("seed") && !run["seed"].is_null()) {
            const auto text = run["seed"].get<std::string>();
            if (text.size() >= 19 && text >= "9223372036854775808") return;  // no int64: C++'s own type refuses it
            ask.seed = std::stoll(text);
        }
        if (kind == "run") {
            const auto what = difference(session_.run(inputs, ask), run["expected"][0], tolerance_);
            CHECK_FOR(about + ": " + what, what.empty());
        } else if (kind == "stream") {
            rr::Result result;  // handed in again and again
            for (std::size_t i = 0; i < run["seeds"].size(); ++i) {
                ask.seed = std::stoll(run["seeds"][i].get<std::string>());
                session_.run(inputs, ask, result);
                CHECK_FOR(about, result.path && *result.path == run["expected"][i].get<rr::Path>());
            }
        } else if (kind == "fresh") {
            fresh(run, inputs, ask, about);
        } else if (kind == "refused") {
            std::string found;
            try {
                session_.run(inputs, ask);
            } catch (const rr::Error& error) {
                found = rr::name_of(error.kind());
            }
            CHECK_FOR(about + " got " + found, found == run["error"].get<std::string>());
        }
    }

private:
    void fresh(const json& run, const rr::Inputs& inputs, const rr::Ask& ask, const std::string& about) {
        std::set<rr::Path> paths;
        for (int n = 0; n < run["repeat"].get<int>(); ++n) {
            const auto result = session_.run(inputs, ask);
            bool found = false;
            for (const auto& expected : run["expected"]) found |= difference(result, expected, tolerance_).empty();
            CHECK_FOR(about, found);
            CHECK_FOR(about, result.path && result.seed);
            if (result.path) paths.insert(*result.path);
        }
        CHECK_FOR(about, paths.size() > 1);
    }
    std::string name_;
    rr::Session& session_;
    Tolerance tolerance_;
};

int check_form(const fs::path& folder, const json& file, const std::string& target, const json& entry) {
    const std::string name = folder.filename().string() + ":" + target;
    try {
        rr::Options options;
        options.target = target;
        options.threads = 1;
        rr::Session session(folder / file["model"].get<std::string>(), options);
        Tolerance tolerance{file["rtol"], file["atol"]};
        if (!entry.is_null()) {
            if (entry.value("share", 0.0) > 0 || entry.contains("sizes")) return 0;
            tolerance = {std::max(tolerance.rtol, entry["rtol"].get<double>()),
                         std::max(tolerance.atol, entry["atol"].get<double>())};
        }
        Case one(name, session, tolerance);
        for (const auto& run : file["runs"]) one.judge(run);
    } catch (const rr::ProviderError& error) {
        CHECK_FOR(name + ": " + error.what(), folder.filename() == "standalone");
    } catch (const rr::Error& error) {
        CHECK_FOR(name + ": " + error.what(), false);
    }
    return 1;
}

// The sabotaged twin: another answer than the expected one must not pass.
void check_that_wrong_answers_are_seen() {
    const fs::path folder = fs::path(RR_CASES) / "static";
    const json file = json::parse(check::read((folder / "runs.json").string()));
    rr::Session session(folder);
    const json& run = file["runs"][0];
    const rr::Array x = array_of(run["inputs"]["x"]);
    rr::Ask ask;
    ask.path = run["path"].get<rr::Path>();
    const auto result = session.run({{"x", x}}, ask);
    CHECK(difference(result, run["expected"][0], {file["rtol"], file["atol"]}).empty());
    json wrong = run["expected"][0];
    wrong["outputs"]["y"]["data"][3] = wrong["outputs"]["y"]["data"][3].get<double>() + 0.01;
    CHECK(difference(result, wrong, {file["rtol"], file["atol"]}) == "y: a number");
    wrong = run["expected"][0];
    wrong["path"] = {1, 1};
    CHECK(difference(result, wrong, {1, 1}) == "path");
}

}  // namespace

int main() {
    int forms = 0;
    for (const auto& place : fs::directory_iterator(RR_CASES)) {
        const json file = json::parse(check::read((place.path() / "runs.json").string()));
        forms += check_form(place.path(), file, "default", nullptr);
        const auto manifest = place.path() / "manifest.json";
        if (!fs::is_regular_file(manifest)) continue;
        const json told = json::parse(check::read(manifest.string()));
        const json targets = told.value("targets", json::object());
        for (const auto& [name, entry] : targets.items())
            if (entry["form"] == "routed") forms += check_form(place.path(), file, name, entry);
    }
    CHECK(forms > 30);
    check_that_wrong_answers_are_seen();
    return check::end();
}
