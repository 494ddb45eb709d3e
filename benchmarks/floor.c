/* Calls OrtApi::Run over and over: what ONNX Runtime takes where no Python is in between.

   floor.py compiles this when it needs it. The wheel brings no header, so the entries of the table OrtApi are reached
   by their places. All of them are of its first version, to which later ones only append (onnxruntime_c_api.h), and
   the answer is checked by the caller. */

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum {
    GET_ERROR_MESSAGE = 2,
    CREATE_ENV = 3,
    CREATE_SESSION = 7,
    RUN = 9,
    CREATE_SESSION_OPTIONS = 10,
    SET_INTRA_OP_NUM_THREADS = 24,
    CREATE_TENSOR_WITH_DATA = 49,
    CREATE_CPU_MEMORY_INFO = 69,
};

enum { API_VERSION = 1, LOG_ERRORS = 3, ELEMENT_FLOAT = 1, ARENA = 1, MEMORY_DEFAULT = 0 };

struct base {
    void **(*api)(uint32_t version);
    const char *(*version)(void);
};

typedef void *status;

static void **api;
static void *session, *input, *output;
static float x, y;

static const char *message(status failed)
{
    return ((const char *(*)(status))api[GET_ERROR_MESSAGE])(failed);
}

/* A session of one thread for a model x (1 float) -> y (1 float). NULL, or what went wrong. */
const char *floor_open(const char *library, const char *model)
{
    void *loaded = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    const struct base *(*get)(void) = loaded ? (const struct base *(*)(void))dlsym(loaded, "OrtGetApiBase") : NULL;
    if (!get)
        return dlerror();
    api = get()->api(API_VERSION);
    if (!api)
        return "its OrtApi has no first version";
    status failed;
    void *environment, *options, *memory;
    int64_t shape = 1;
    if ((failed = ((status(*)(int, const char *, void **))api[CREATE_ENV])(LOG_ERRORS, "floor", &environment)))
        return message(failed);
    if ((failed = ((status(*)(void **))api[CREATE_SESSION_OPTIONS])(&options)))
        return message(failed);
    if ((failed = ((status(*)(void *, int))api[SET_INTRA_OP_NUM_THREADS])(options, 1)))
        return message(failed);
    if ((failed = ((status(*)(void *, const char *, void *, void **))api[CREATE_SESSION])(environment, model, options,
                                                                                        &session)))
        return message(failed);
    if ((failed = ((status(*)(int, int, void **))api[CREATE_CPU_MEMORY_INFO])(ARENA, MEMORY_DEFAULT, &memory)))
        return message(failed);
    status (*tensor)(void *, void *, size_t, const int64_t *, size_t, int, void **) = api[CREATE_TENSOR_WITH_DATA];
    if ((failed = tensor(memory, &x, sizeof x, &shape, 1, ELEMENT_FLOAT, &input)))
        return message(failed);
    if ((failed = tensor(memory, &y, sizeof y, &shape, 1, ELEMENT_FLOAT, &output)))
        return message(failed);
    return NULL;
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Make `calls` calls on `value`; nanoseconds of each into `ns`, the last answer into `answer`. NULL, or what failed. */
const char *floor_take(int calls, float value, int64_t *ns, float *answer)
{
    status (*run)(void *, const void *, const char *const *, const void *const *, size_t, const char *const *, size_t,
                  void **) = api[RUN];
    const char *const in[] = {"x"}, *const out[] = {"y"};
    const void *const inputs[] = {input};
    x = value;
    for (int i = 0; i < calls; i++) {
        int64_t before = now();
        status failed = run(session, NULL, in, inputs, 1, out, 1, &output);
        ns[i] = now() - before;
        if (failed)
            return message(failed);
    }
    *answer = y;
    return NULL;
}
