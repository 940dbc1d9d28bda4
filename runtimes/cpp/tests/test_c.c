/* The C interface, from C: a run, the same run again, what is refused, and what NULL gives. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "rr_runtime.h"

static int failures = 0;

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            printf("%s:%d: expected %s (%s)\n", __FILE__, __LINE__, #condition, rr_last_error()); \
            ++failures;                                                                   \
        }                                                                                 \
    } while (0)

static void check_runs(rr_session* session) {
    float x[8] = {1, -2, 3, -4, 5, -6, 7, -8};
    const int64_t shape[2] = {2, 4};
    const rr_input input = {rr_session_input(session, 0), RR_FLOAT32, shape, 2, x};
    rr_ask ask;
    rr_result *first = NULL, *second = NULL;
    rr_ask_init(&ask, sizeof ask);
    CHECK(rr_session_run(session, &input, 1, NULL, &first) == RR_OK);
    CHECK(rr_result_has_seed(first) && rr_result_seed(first) >= 0);
    CHECK(rr_result_path_length(first) == rr_session_sites(session));
    ask.has_seed = 1;
    ask.seed = rr_result_seed(first);
    CHECK(rr_session_run(session, &input, 1, &ask, &second) == RR_OK);
    CHECK(rr_result_outputs(second) == rr_result_outputs(first) && rr_result_bytes(second, 0) > 0);
    CHECK(memcmp(rr_result_path(first), rr_result_path(second), 3 * sizeof(int64_t)) == 0);
    CHECK(memcmp(rr_result_data(first, 0), rr_result_data(second, 0), rr_result_bytes(first, 0)) == 0);
    const int64_t path[3] = {0, 1, 0};
    ask.path = path;
    ask.path_length = 3;
    CHECK(rr_session_run(session, &input, 1, &ask, &second) == RR_OK); /* into the same result */
    CHECK(memcmp(rr_result_path(second), path, sizeof path) == 0);
    ask.path_length = 2;
    CHECK(rr_session_run(session, &input, 1, &ask, &second) == RR_VALUE);
    CHECK(strstr(rr_last_error(), "path: expected 3 integers, one per site, got 2") != NULL);
    ask.path = NULL;
    ask.seed = -1;
    CHECK(rr_session_run(session, &input, 1, &ask, &second) == RR_VALUE);
    rr_ask_init(&ask, sizeof ask);
    ask.profile = "none";
    CHECK(rr_session_run(session, &input, 1, &ask, &second) == RR_VALUE);
    rr_ask_init(&ask, sizeof ask);
    ask.most_probable = 1;
    CHECK(rr_session_run(session, &input, 1, &ask, &second) == RR_OK && !rr_result_has_seed(second));
    ask.size = 4;
    CHECK(rr_session_run(session, &input, 1, &ask, &second) == RR_VALUE);
    rr_input wrong = input;
    wrong.dtype = RR_FLOAT64;
    CHECK(rr_session_run(session, &wrong, 1, NULL, &second) == RR_TYPE);
    wrong.dtype = 99;
    CHECK(rr_session_run(session, &wrong, 1, NULL, &second) == RR_TYPE);
    wrong = input;
    wrong.data = NULL;
    CHECK(rr_session_run(session, &wrong, 1, NULL, &second) == RR_VALUE);
    CHECK(rr_session_run(session, NULL, 1, NULL, &second) == RR_VALUE);
    CHECK(rr_session_run(session, &input, 0, NULL, &second) == RR_VALUE);
    rr_result_free(first);
    rr_result_free(second);
}

static void check_nothing(void) {
    rr_session* session = NULL;
    CHECK(rr_session_open("nothing", NULL, 1, &session) == RR_BUNDLE && session == NULL);
    CHECK(strstr(rr_last_error(), "expected a bundle folder or a model file") != NULL);
    CHECK(rr_session_open(NULL, NULL, 1, &session) == RR_VALUE);
    CHECK(rr_session_open(RR_CASES "/layer", "none", 1, &session) == RR_VALUE);
    CHECK(rr_session_open(RR_CASES "/layer", NULL, -1, &session) == RR_VALUE);
    CHECK(rr_session_open(RR_CASES "/standalone/model.onnx", NULL, 1, &session) == RR_PROVIDER && session == NULL);
    CHECK(rr_session_sites(NULL) == 0 && rr_session_site(NULL, 0) == NULL && rr_session_input(NULL, 0) == NULL);
    CHECK(rr_result_outputs(NULL) == 0 && rr_result_data(NULL, 0) == NULL && rr_result_path(NULL) == NULL);
    CHECK(rr_session_run(NULL, NULL, 0, NULL, NULL) == RR_VALUE && rr_session_check(NULL, NULL) == RR_VALUE);
    rr_session_free(NULL);
    rr_result_free(NULL);
}

int main(void) {
    rr_session* session = NULL;
    float draws[2] = {0, 0};
    size_t runs = 0;
    CHECK(strcmp(rr_version(), "0.1.0") == 0 && rr_onnxruntime_version()[0] == '1');
    CHECK(rr_draws(0, 2, draws) == RR_OK && draws[0] != draws[1] && draws[0] >= 0 && draws[0] < 1);
    CHECK(rr_draws(-1, 2, draws) == RR_VALUE);
    CHECK(rr_session_open(RR_CASES "/layer", NULL, 1, &session) == RR_OK);
    if (session) {
        CHECK(rr_session_sites(session) == 3 && rr_session_branches(session, 0) == 2);
        CHECK(rr_session_site(session, 3) == NULL && rr_session_branches(session, 3) == 0);
        CHECK(rr_session_branch(session, 0, 1) != NULL && rr_session_branch(session, 0, 2) == NULL);
        CHECK(rr_session_input_dtype(session, 0) == RR_FLOAT32);
        CHECK(rr_session_check(session, &runs) == RR_OK && runs > 0);
        check_runs(session);
    }
    rr_session_free(session);
    check_nothing();
    return failures != 0;
}
