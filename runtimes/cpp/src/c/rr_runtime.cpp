// The C interface: no exception leaves it, and every failure has a code and a text.
#include "rr_runtime.h"

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "rr/draws.hpp"
#include "rr/errors.hpp"
#include "rr/session.hpp"
#include "text/text.hpp"

struct rr_session {
    rr::Session session;
};

struct rr_result {
    rr::Result result;
};

namespace {

static_assert(static_cast<int>(rr::DType::float16) == RR_FLOAT16 && static_cast<int>(rr::DType::uint64) == RR_UINT64);

thread_local std::string last_error;

rr_code failed(rr_code code, const char* text) noexcept {
    try {
        last_error = text;
    } catch (const std::bad_alloc&) {
        last_error.clear();
    }
    return code;
}

// Runs what may throw; returns its code.
template <typename Work>
rr_code guarded(Work work) noexcept {
    try {
        work();
        return RR_OK;
    } catch (const rr::Error& error) {
        return failed(static_cast<rr_code>(error.kind()), error.what());
    } catch (const std::bad_alloc&) {
        return failed(RR_FAILURE, "memory: expected enough of it, got none; close other programs, or pass smaller inputs");
    } catch (const std::exception& error) {
        return failed(RR_FAILURE, error.what());
    } catch (...) {
        return failed(RR_FAILURE, "rr_runtime: expected a known failure, got another; report it");
    }
}

void expect(bool given, const char* name) {
    if (!given) throw rr::ValueError(rr::cat(name, ": expected a pointer, got NULL; pass one"));
}

rr::Inputs inputs_of(const rr_input* inputs, size_t count) {
    if (count) expect(inputs, "inputs");
    rr::Inputs found;
    for (size_t i = 0; i < count; ++i) {
        expect(inputs[i].name, "input name");
        if (inputs[i].rank) expect(inputs[i].shape, "input shape");
        if (inputs[i].dtype < RR_FLOAT16 || inputs[i].dtype > RR_UINT64)
            throw rr::TypeError(rr::cat("input ", rr::quoted(inputs[i].name), ": expected a dtype of rr_dtype, got ",
                                        inputs[i].dtype, "; pass one"));
        std::vector<std::int64_t> shape(inputs[i].shape, inputs[i].shape + inputs[i].rank);
        const auto elements = rr::count_of(shape, 8);
        if (!inputs[i].data && (!elements || *elements)) expect(false, "input data");
        found.emplace_back(inputs[i].name, static_cast<rr::DType>(inputs[i].dtype), std::move(shape), inputs[i].data);
    }
    return found;
}

rr::Ask ask_of(const rr_ask* given) {
    rr::Ask ask;
    if (!given) return ask;
    if (given->size < sizeof(rr_ask))  // grows with later versions, which read what an older caller has
        throw rr::ValueError(rr::cat("ask: expected a size of at least ", sizeof(rr_ask), ", got ", given->size,
                                     "; fill it by rr_ask_init"));
    if (given->has_seed) ask.seed = given->seed;
    if (given->path) ask.path = rr::Path(given->path, given->path + given->path_length);
    if (given->profile) ask.profile = given->profile;
    if (given->budget != 0) ask.budget = given->budget;
    if (given->most_probable) ask.decision = "most_probable";
    return ask;
}

const rr::Array* array_of(const rr_result* result, size_t output) noexcept {
    return result && output < result->result.outputs.size() ? &result->result.outputs[output].array : nullptr;
}

const rr::Site* site_of(const rr_session* session, size_t site) noexcept {
    if (!session) return nullptr;
    const auto& sites = session->session.manifest().sites;
    return site < sites.size() ? &sites[site] : nullptr;
}

}  // namespace

const char* rr_version(void) { return "0.1.0"; }

const char* rr_onnxruntime_version(void) { return OrtGetApiBase()->GetVersionString(); }

const char* rr_last_error(void) { return last_error.c_str(); }

rr_code rr_draws(int64_t seed, size_t sites, float* draws) {
    return guarded([&] {
        if (sites) expect(draws, "draws");
        const auto found = rr::draws(seed, sites);
        std::copy(found.begin(), found.end(), draws);
    });
}

rr_code rr_session_open(const char* path, const char* target, int threads, rr_session** session) {
    return guarded([&] {
        expect(path, "path");
        expect(session, "session");
        if (threads < 0) throw rr::ValueError(rr::cat("threads: expected an integer >= 0, got ", threads, "; pass 0 or more"));
        rr::Options options;
        options.threads = threads;
        if (target) options.target = target;
        *session = new rr_session{rr::Session(std::filesystem::u8path(path), options)};
    });
}

void rr_session_free(rr_session* session) { delete session; }

size_t rr_session_sites(const rr_session* session) { return session ? session->session.manifest().sites.size() : 0; }

const char* rr_session_site(const rr_session* session, size_t site) {
    const auto* found = site_of(session, site);
    return found ? found->name.c_str() : nullptr;
}

size_t rr_session_branches(const rr_session* session, size_t site) {
    const auto* found = site_of(session, site);
    return found ? found->branches.size() : 0;
}

const char* rr_session_branch(const rr_session* session, size_t site, size_t branch) {
    const auto* found = site_of(session, site);
    return found && branch < found->branches.size() ? found->branches[branch].c_str() : nullptr;
}

size_t rr_session_inputs(const rr_session* session) { return session ? session->session.manifest().inputs.size() : 0; }

const char* rr_session_input(const rr_session* session, size_t input) {
    return input < rr_session_inputs(session) ? session->session.manifest().inputs[input].name.c_str() : nullptr;
}

rr_dtype rr_session_input_dtype(const rr_session* session, size_t input) {
    return input < rr_session_inputs(session) ? static_cast<rr_dtype>(session->session.manifest().inputs[input].dtype) : RR_FLOAT32;
}

size_t rr_session_profiles(const rr_session* session) { return session ? session->session.manifest().profiles.size() : 0; }

const char* rr_session_profile(const rr_session* session, size_t profile) {
    return profile < rr_session_profiles(session) ? session->session.manifest().profiles[profile].name.c_str() : nullptr;
}

void rr_ask_init(rr_ask* ask, size_t size) {
    if (!ask) return;
    std::memset(ask, 0, size);
    ask->size = size;
}

rr_code rr_session_run(rr_session* session, const rr_input* inputs, size_t count, const rr_ask* ask, rr_result** result) {
    return guarded([&] {
        expect(session, "session");
        expect(result, "result");
        const auto given = inputs_of(inputs, count);
        const auto asked = ask_of(ask);
        if (*result) {
            session->session.run(given, asked, (*result)->result);
        } else {
            *result = new rr_result{session->session.run(given, asked)};
        }
    });
}

rr_code rr_session_check(rr_session* session, size_t* runs) {
    return guarded([&] {
        expect(session, "session");
        const size_t count = session->session.check();
        if (runs) *runs = count;
    });
}

size_t rr_result_outputs(const rr_result* result) { return result ? result->result.outputs.size() : 0; }

const char* rr_result_name(const rr_result* result, size_t output) {
    return array_of(result, output) ? result->result.outputs[output].name.c_str() : nullptr;
}

rr_dtype rr_result_dtype(const rr_result* result, size_t output) {
    const auto* array = array_of(result, output);
    return array ? static_cast<rr_dtype>(array->dtype()) : RR_FLOAT32;
}

size_t rr_result_rank(const rr_result* result, size_t output) {
    const auto* array = array_of(result, output);
    return array ? array->shape().size() : 0;
}

const int64_t* rr_result_shape(const rr_result* result, size_t output) {
    const auto* array = array_of(result, output);
    return array ? array->shape().data() : nullptr;
}

const void* rr_result_data(const rr_result* result, size_t output) {
    const auto* array = array_of(result, output);
    return array ? array->data() : nullptr;
}

size_t rr_result_bytes(const rr_result* result, size_t output) {
    const auto* array = array_of(result, output);
    return array ? array->bytes() : 0;
}

size_t rr_result_path_length(const rr_result* result) { return result && result->result.path ? result->result.path->size() : 0; }

const int64_t* rr_result_path(const rr_result* result) {
    return result && result->result.path ? result->result.path->data() : nullptr;
}

int rr_result_has_seed(const rr_result* result) { return result && result->result.seed ? 1 : 0; }

int64_t rr_result_seed(const rr_result* result) { return result ? result->result.seed.value_or(-1) : -1; }

void rr_result_free(rr_result* result) { delete result; }
