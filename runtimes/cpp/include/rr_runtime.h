/* The C interface of the native runtime: opaque handles, error codes, no exceptions.
 *
 * Every function that can fail returns a code of rr_code; rr_last_error() then has the text, `where: expected X, got Y; do Z`,
 * of the calling thread's last failure. Handles are freed by their own function, which takes NULL too. Threads may share one
 * session; each result belongs to one thread at a time. A program that was built with one minor version of this header runs with
 * every later one of the same major version.
 */
#ifndef RR_RUNTIME_H
#define RR_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#define RR_VERSION_MAJOR 0
#define RR_VERSION_MINOR 1

#ifdef __cplusplus
extern "C" {
#endif

typedef enum rr_code {
    RR_OK = 0,
    RR_TYPE = 1,     /* an argument is of a wrong type or dtype */
    RR_VALUE = 2,    /* an argument is out of range, or not one that the file takes */
    RR_FAILURE = 3,  /* running or checking a file failed */
    RR_BUNDLE = 4,   /* a bundle or file is missing, damaged, foreign, or does not agree with itself */
    RR_PROVIDER = 5  /* the execution provider cannot be had, or is known to compute a form wrongly */
} rr_code;

typedef enum rr_dtype {
    RR_FLOAT16, RR_FLOAT32, RR_FLOAT64, RR_BOOL, RR_INT8, RR_INT16, RR_INT32, RR_INT64,
    RR_UINT8, RR_UINT16, RR_UINT32, RR_UINT64
} rr_dtype;

typedef struct rr_session rr_session;
typedef struct rr_result rr_result;

/* Numbers of the caller, row by row, which stay where they are while a run lasts. */
typedef struct rr_input {
    const char* name;
    int dtype;            /* of rr_dtype; a number, as C has any number in an enum, and C++ has not */
    const int64_t* shape; /* rank sizes */
    size_t rank;
    const void* data;
} rr_input;

/* What decides the path of a run. Fill it by rr_ask_init: then a fresh seed draws. */
typedef struct rr_ask {
    size_t size;           /* of this struct: that of the header that the caller was built with */
    int has_seed;          /* 1: `seed` fixes all draws */
    int64_t seed;          /* 0 <= seed < 2^63 */
    const int64_t* path;   /* NULL, or a route for each site: -1 draws, 0..K-1 forces */
    size_t path_length;
    const char* profile;   /* NULL, or the name of another law over the sites */
    double budget;         /* 0, or what the best profile of the menu may cost */
    int most_probable;     /* 1: nothing is drawn */
} rr_ask;

/* The version of the library, such as 0.1.0, and that of ONNX Runtime. */
const char* rr_version(void);
const char* rr_onnxruntime_version(void);

/* The text of the calling thread's last failure; it stays until the thread's next one. */
const char* rr_last_error(void);

/* Fills `draws` with the draws of a seed, one for each site. */
rr_code rr_draws(int64_t seed, size_t sites, float* draws);

/* Opens a bundle folder or a single model file, in UTF-8. `target` NULL: that of the CPU, else the bundle's own model. `threads` 0
 * leaves their number to ONNX Runtime. */
rr_code rr_session_open(const char* path, const char* target, int threads, rr_session** session);
void rr_session_free(rr_session* session);

/* What is there; texts belong to the session. Indices out of range give NULL, and 0 branches. */
size_t rr_session_sites(const rr_session* session);
const char* rr_session_site(const rr_session* session, size_t site);
size_t rr_session_branches(const rr_session* session, size_t site);
const char* rr_session_branch(const rr_session* session, size_t site, size_t branch);
size_t rr_session_inputs(const rr_session* session);
const char* rr_session_input(const rr_session* session, size_t input);
rr_dtype rr_session_input_dtype(const rr_session* session, size_t input);
size_t rr_session_profiles(const rr_session* session);
const char* rr_session_profile(const rr_session* session, size_t profile);

/* Sets an ask to a fresh seed and nothing else; `size` is sizeof(rr_ask). */
void rr_ask_init(rr_ask* ask, size_t size);

/* Runs once. `ask` NULL: a fresh seed. `*result` is NULL, or a result of an earlier run whose room is used again: what its arrays
 * pointed to is gone then. */
rr_code rr_session_run(rr_session* session, const rr_input* inputs, size_t count, const rr_ask* ask, rr_result** result);

/* Repeats the recorded runs of the bundle; `*runs` says how many. */
rr_code rr_session_check(rr_session* session, size_t* runs);

/* What came out; pointers stay until the result is used again or freed. */
size_t rr_result_outputs(const rr_result* result);
const char* rr_result_name(const rr_result* result, size_t output);
rr_dtype rr_result_dtype(const rr_result* result, size_t output);
size_t rr_result_rank(const rr_result* result, size_t output);
const int64_t* rr_result_shape(const rr_result* result, size_t output);
const void* rr_result_data(const rr_result* result, size_t output);
size_t rr_result_bytes(const rr_result* result, size_t output);
size_t rr_result_path_length(const rr_result* result);  /* 0 where the file tells no path */
const int64_t* rr_result_path(const rr_result* result);
int rr_result_has_seed(const rr_result* result);
int64_t rr_result_seed(const rr_result* result);
void rr_result_free(rr_result* result);

#ifdef __cplusplus
}
#endif

#endif
