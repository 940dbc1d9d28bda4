// The conformance agent: one JSON object per line in, one per line out, until the input ends.
#include <onnxruntime_cxx_api.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <iostream>
#include <nlohmann/json.hpp>

#include "rr/errors.hpp"
#include "rr/session.hpp"
#include "text/text.hpp"

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

constexpr const char* DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string to_base64(const unsigned char* bytes, std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; i += 3) {
        const std::uint32_t three = std::uint32_t{bytes[i]} << 16 | (i + 1 < count ? std::uint32_t{bytes[i + 1]} << 8 : 0) |
                                    (i + 2 < count ? std::uint32_t{bytes[i + 2]} : 0);
        text += DIGITS[three >> 18];
        text += DIGITS[three >> 12 & 63];
        text += i + 1 < count ? DIGITS[three >> 6 & 63] : '=';
        text += i + 2 < count ? DIGITS[three & 63] : '=';
    }
    return text;
}

std::string from_base64(const std::string& text) {
    std::string bytes;
    std::uint32_t held = 0;
    unsigned bits = 0;
    for (const char c : text) {
        const char* at = c ? std::strchr(DIGITS, c) : nullptr;
        if (!at) continue;
        held = held << 6 | static_cast<std::uint32_t>(at - DIGITS);
        if ((bits += 6) >= 8) bytes += static_cast<char>(held >> (bits -= 8) & 0xFF);
    }
    return bytes;
}

ordered_json array_json(const rr::Array& array) {
    return {{"dtype", rr::name_of(array.dtype())},
            {"shape", array.shape()},
            {"data", to_base64(static_cast<const unsigned char*>(array.data()), array.bytes())}};
}

ordered_json arrays_json(const std::vector<rr::Output>& outputs) {
    ordered_json found = ordered_json::object();
    for (const auto& output : outputs) found[output.name] = array_json(output.array);
    return found;
}

const char* python_type(const json& value) {
    return value.is_null()             ? "NoneType"
           : value.is_boolean()        ? "bool"
           : value.is_number_integer() ? "int"
           : value.is_number()         ? "float"
           : value.is_string()         ? "str"
           : value.is_array()          ? "list"
                                       : "dict";
}

std::string python_text(const json& value) {
    if (value.is_string()) return rr::quoted(value.get<std::string>());
    if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
    return value.is_null() ? "None" : value.dump();
}

// A decimal text, or a JSON number without a fraction, is a whole number; its text, "" where it is none.
std::string whole_text(const json& value) {
    std::string text = value.is_string() ? value.get<std::string>() : value.is_number_integer() ? value.dump() : "";
    const std::size_t sign = !text.empty() && text[0] == '-';
    return text.size() > sign && text.find_first_not_of("0123456789", sign) == text.npos ? text : "";
}

std::optional<std::int64_t> int64_of(const std::string& text) {
    try {
        return std::stoll(text);
    } catch (const std::out_of_range&) {
        return std::nullopt;
    }
}

std::optional<std::int64_t> seed_of(const json& value) {
    if (value.is_null()) return std::nullopt;
    const std::string text = whole_text(value);
    if (text.empty())
        throw rr::TypeError(rr::cat("seed: expected an integer, got ", python_type(value), " ", python_text(value),
                                    "; pass 0 <= seed < 2**63"));
    const auto seed = int64_of(text);
    if (!seed)
        throw rr::ValueError(rr::cat("seed: expected 0 <= seed < 2**63, got ", text, "; pass one in that range, or none"));
    return seed;
}

std::optional<rr::Path> path_of(const json& value) {
    if (value.is_null()) return std::nullopt;
    if (!value.is_array())
        throw rr::TypeError(rr::cat("path: expected integers, one per site, got ", python_type(value), "; pass a list"));
    rr::Path path;
    for (std::size_t i = 0; i < value.size(); ++i) {
        const std::string text = value[i].is_string() ? "" : whole_text(value[i]);
        // The parser makes floats of whole numbers beyond 64 bits; no test gives a float that is so large.
        const bool large = value[i].is_number_float() && std::abs(value[i].get<double>()) >= 0x1p63;
        if (text.empty() && !large)
            throw rr::TypeError(rr::cat("path[", i, "]: expected an integer, got ", python_type(value[i]), " ",
                                        python_text(value[i]), "; pass an int"));
        const bool negative = large ? value[i].get<double>() < 0 : text[0] == '-';
        const auto route = large ? std::nullopt : int64_of(text);
        path.push_back(route.value_or(negative ? INT64_MIN : INT64_MAX));
    }
    return path;
}

std::optional<std::string> text_of(const json& value, const char* name, const char* what) {
    if (value.is_null()) return std::nullopt;
    if (!value.is_string())
        throw rr::TypeError(rr::cat(name, ": expected ", what, ", got ", python_type(value), " ", python_text(value),
                                    "; pass a text"));
    return value.get<std::string>();
}

std::optional<double> number_of(const json& value, const char* name, const char* such) {
    if (value.is_null()) return std::nullopt;
    if (!value.is_number())
        throw rr::TypeError(rr::cat(name, ": expected a number, got ", python_type(value), "; pass ", such));
    return value.get<double>();
}

std::int64_t count_of(const json& value, const char* name) {
    if (!value.is_number_integer())
        throw rr::TypeError(rr::cat(name, ": expected an integer >= 1, got ", python_type(value), " ",
                                    python_text(value), "; pass an int"));
    return value.get<std::int64_t>();
}

// The arrays of a request, which own what the inputs point to.
struct Given {
    std::deque<std::string> bytes;
    rr::Inputs inputs;

    explicit Given(const json& rows) {
        for (const auto& [name, row] : rows.items()) {
            const auto dtype = rr::dtype_named(row.at("dtype").get<std::string>());
            if (!dtype)
                throw rr::TypeError(rr::cat("input ", rr::quoted(name), ": expected a dtype of the contract, got ",
                                            row.at("dtype").get<std::string>(), "; convert it"));
            auto shape = row.at("shape").get<std::vector<std::int64_t>>();
            const auto count = rr::count_of(shape, rr::size_of(*dtype));
            const auto& held = bytes.emplace_back(from_base64(row.at("data").get<std::string>()));
            if (!count || *count * rr::size_of(*dtype) != held.size())
                throw rr::ValueError(rr::cat("input ", rr::quoted(name), ": expected as many bytes as its shape says, got ",
                                             held.size(), "; mend it"));
            inputs.emplace_back(name, *dtype, std::move(shape), held.data());
        }
    }
};

class Agent {
public:
    ordered_json answer(const json& request) {
        const std::string what = request.at("do");
        if (what == "versions")
            return {{"versions", {{"onnxruntime", Ort::GetVersionString()}, {"runtime", "cpp 0.1.0"}}}};
        if (what == "open") return open(request);
        if (!session_) throw rr::RuntimeFailure("agent: expected a session, got none; open one first");
        if (what == "run") return run(request);
        if (what == "ensemble") return ensemble(request);
        if (what == "nodes") return {{"nodes", nullptr}};
        if (what == "check") {
            session_->check();
            return {{"check", ordered_json::object()}};
        }
        throw rr::RuntimeFailure(rr::cat("agent: expected versions, open, run, ensemble, check or nodes, got ", rr::quoted(what),
                                         "; this runtime does not offer it"));
    }

private:
    static json value(const json& request, const char* name) { return request.contains(name) ? request[name] : json(); }

    ordered_json open(const json& request) {
        session_.reset();
        rr::Options options;
        options.target = text_of(value(request, "target"), "target", "a name such as 'default'");
        options.provider = text_of(request.at("provider"), "provider", "a name such as 'cpu'").value_or("cpu");
        options.threads = 1;
        session_ = std::make_unique<rr::Session>(request.at("bundle").get<std::string>(), options);
        const auto& manifest = session_->manifest();
        ordered_json sites = ordered_json::array(), branches = sites, profiles = sites;
        for (const auto& site : manifest.sites) {
            sites.push_back(site.name);
            branches.push_back(site.branches);
        }
        for (const auto& profile : manifest.profiles) profiles.push_back(profile.name);
        return {{"open", {{"sites", sites}, {"branches", branches}, {"interface", manifest.interface}, {"profiles", profiles}}}};
    }

    ordered_json run(const json& request) {
        rr::Ask ask;
        ask.decision = text_of(value(request, "decision"), "decision", "'most_probable'");
        ask.path = path_of(value(request, "path"));
        ask.seed = seed_of(value(request, "seed"));
        ask.profile = text_of(value(request, "profile"), "profile", "a name");
        ask.budget = number_of(value(request, "budget"), "budget", "a share such as 0.6");
        const Given given(request.at("inputs"));
        const auto result = session_->run(given.inputs, ask);
        ordered_json seed, path;
        if (result.seed) seed = std::to_string(*result.seed);
        if (result.path) path = *result.path;
        return {{"seed", seed}, {"path", path}, {"outputs", arrays_json(result.outputs)}};
    }

    ordered_json ensemble(const json& request) {
        rr::EnsembleAsk ask;
        ask.runs = count_of(request.at("runs"), "runs");
        ask.seed = seed_of(value(request, "seed"));
        ask.draws = text_of(value(request, "draws"), "draws", "the name of a design").value_or("independent");
        if (const json block = value(request, "block"); !block.is_null()) ask.block = count_of(block, "block");
        ask.profile = text_of(value(request, "profile"), "profile", "a name");
        ask.budget = number_of(value(request, "budget"), "budget", "a share such as 0.6");
        ask.until = number_of(value(request, "until"), "until", "a standard error such as 0.01");
        const Given given(request.at("inputs"));
        const auto result = session_->ensemble(given.inputs, ask);
        ordered_json seeds, paths;
        for (const auto seed : result.seeds) seeds.push_back(std::to_string(seed));
        for (const auto& path : result.paths) paths.push_back(path);
        return {{"seeds", seeds}, {"paths", paths}, {"mean", arrays_json(result.mean)}, {"std", arrays_json(result.std)}};
    }

    std::unique_ptr<rr::Session> session_;
};

ordered_json error_json(const char* kind, const std::string& text) {
    return {{"error", {{"class", kind}, {"message", text}}}};
}

}  // namespace

int main() {
    Agent agent;
    for (std::string line; std::getline(std::cin, line);) {
        ordered_json answer;
        try {
            answer = agent.answer(json::parse(line));
        } catch (const rr::Error& error) {
            answer = error_json(rr::name_of(error.kind()), error.what());
        } catch (const std::exception& error) {
            answer = error_json("RuntimeFailure", std::string("agent: expected a request, got: ") + error.what());
        }
        std::cout << answer.dump(-1, ' ', false, ordered_json::error_handler_t::replace) << std::endl;
    }
}
