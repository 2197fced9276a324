/* Gemma 3 270M writing: greedy text token by token equal to that of transformers in f32 (golden/, made by
 * scripts/oracle/gemma3_generate.py on the same file), and the NLL of a text read piece by piece and token by
 * token equal to that of one pass.
 *
 * The least gap between the two best scores in the golden file is 0.03, thousands of times the differences
 * between two ways to add up in f32, so the tokens must be the same ones. Those differences are about 1e-4
 * nats at the worst token of a thousand and cancel in the mean: its NLL may differ by 1e-5 nats, that of one
 * token by 1e-3 (a key that is missing or at the wrong place changes it by whole nats). */
#include "model/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Sanitizers make a model slow: texts are shorter, the prompt of 986 tokens is left to other builds, and the
 * window of 512 is passed once, by pieces that end in single tokens, instead of three times. Single tokens
 * begin at the start, and where the window begins to move. */
#if defined(__SANITIZE_ADDRESS__) || !defined(__OPTIMIZE__)
enum { TOKENS = 3, LONGEST = 100, SINGLE = 8, SINGLE_BEGIN = 508, TOGETHER = 1 };
#else
enum { TOKENS = 16, LONGEST = 1000, SINGLE = 24, SINGLE_BEGIN = 500, TOGETHER = 0 };
#endif

static struct model *model; /* NULL: not there */

static int open_model(void **state)
{
    (void)state;
    char path[512];
    struct stat status;
    snprintf(path, sizeof path, "%s/gemma3-270m.gguf", ATTN_MODELS_DIR);
    if (stat(path, &status) != 0) {
        print_message("skipped: %s is not there; `scripts/get-model gemma3-270m` fetches it\n",
                      path);
        return 0;
    }
    struct failure f = {""};
    if (!model_open(&model, path, &f))
        fail_msg("%s", f.message);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    model_close(model);
    return 0;
}

static json_t *read_golden(const char *name)
{
    char path[512];
    json_error_t error;
    snprintf(path, sizeof path, "%s/tests/%s", ATTN_SOURCE_DIR, name);
    json_t *golden = json_load_file(path, 0, &error);
    if (golden == NULL)
        fail_msg("%s: %s", path, error.text);
    return golden;
}

static int32_t *integers(json_t *list, int64_t *count)
{
    *count = (int64_t)json_array_size(list);
    int32_t *ids = malloc((size_t)*count * sizeof *ids);
    for (int64_t i = 0; i < *count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
    return ids;
}

static struct session *new_session(int64_t capacity, int64_t step_rows)
{
    struct session_options options = session_options_init();
    options.capacity = capacity;
    options.step_rows = step_rows;
    options.executor = attn_default_executor();
    struct session *session;
    struct failure f = {""};
    if (!session_create(&session, model, &options, &f))
        fail_msg("%s", f.message);
    return session;
}

static void step(struct session *session, const int32_t *tokens, int64_t count,
                 const struct session_wanted *wanted)
{
    struct failure f = {""};
    if (!session_step(session, tokens, count, wanted, &f))
        fail_msg("%s", f.message);
}

static int32_t best_of(const float *logits, int64_t count)
{
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++)
        if (logits[i] > logits[best])
            best = i;
    return (int32_t)best;
}

static void write_like(json_t *golden, int64_t most)
{
    int64_t count, expected;
    int32_t *ids = integers(json_object_get(golden, "ids"), &count);
    int32_t *next = integers(json_object_get(golden, "generated"), &expected);
    most = count > LONGEST ? 0 : most;
    int64_t vocabulary = model_describe(model)->vocabulary;
    struct session_wanted wanted = session_wanted_init();
    wanted.logits = malloc((size_t)vocabulary * sizeof *wanted.logits);
    struct session *session = new_session(count + most, 0);
    if (most > 0)
        step(session, ids, count, &wanted);
    for (int64_t i = 0; i < most && i < expected; i++) {
        int32_t token = best_of(wanted.logits, vocabulary);
        if (token != next[i])
            fail_msg("after %lld + %lld tokens: token %d instead of %d", (long long)count,
                     (long long)i, token, next[i]);
        step(session, &token, 1, &wanted);
    }
    session_free(session);
    free(wanted.logits);
    free(ids);
    free(next);
}

static void greedy_text(void **state)
{
    (void)state;
    if (model == NULL)
        skip();
    json_t *golden = read_golden("run/golden/gemma3-greedy.json"), *one;
    json_t *cases = json_object_get(golden, "cases");
    size_t i;
    assert_true(json_array_size(cases) >= 8);
    json_array_foreach(cases, i, one) write_like(one, TOKENS);
    json_decref(golden);
}

/* A first step of `begin` tokens, then steps of `size`; from `single` on, of one. */
static void nll_in_steps(const int32_t *ids, int64_t count, int64_t begin, int64_t size,
                         int64_t single, int64_t step_rows, const float *expected)
{
    float *nll = malloc((size_t)count * sizeof *nll);
    struct session_wanted wanted = session_wanted_init();
    struct session *session = new_session(count, step_rows);
    for (int64_t first = 0, n = begin; first < count; first += n, n = size) {
        const int64_t end = first < single ? single : first + 1;
        n = end - first < n ? end - first : n;
        n = count - first < n ? count - first : n;
        wanted.nll = nll + first;
        wanted.follows = first + n < count ? ids[first + n] : -1;
        step(session, ids + first, n, &wanted);
    }
    double worst = 0, sum = 0;
    for (int64_t i = 0; i + 1 < count; i++) {
        sum += (double)nll[i] - (double)expected[i];
        worst = fmax(worst, fabs((double)nll[i] - (double)expected[i]));
    }
    double mean = fabs(sum) / (double)(count - 1);
    print_message(
        "%lld tokens, %lld at once, then %lld, from %lld on one by one: mean NLL within %.1e "
        "nats, each within %.1e\n",
        (long long)count, (long long)begin, (long long)size, (long long)single, mean, worst);
    assert_true(mean <= 1e-5);
    assert_true(worst <= 1e-3);
    session_free(session);
    free(nll);
}

static void nll_piece_by_piece(void **state)
{
    (void)state;
    if (model == NULL)
        skip();
    json_t *golden = read_golden("run/golden/gemma3-greedy.json");
    json_t *cases = json_object_get(golden, "cases");
    int64_t count; /* the last prompt is longer than a window */
    int32_t *ids =
        integers(json_object_get(json_array_get(cases, json_array_size(cases) - 1), "ids"), &count);
    assert_true(count > 600);
    count = TOGETHER ? SINGLE_BEGIN + SINGLE : 540;
    float *expected = malloc((size_t)count * sizeof *expected);
    struct model_request request = model_request_init();
    request.executor = attn_default_executor();
    request.nll = expected;
    struct failure f = {""};
    if (!model_run(model, ids, count, &request, &f))
        fail_msg("%s", f.message);
    nll_in_steps(ids, count, 1, 100, TOGETHER ? SINGLE_BEGIN : count, 64, expected);
    if (!TOGETHER)
        nll_in_steps(ids, SINGLE_BEGIN + SINGLE, SINGLE_BEGIN, 1, SINGLE_BEGIN, 0, expected);
    nll_in_steps(ids, SINGLE, 1, 1, SINGLE, 0, expected);
    json_decref(golden);
    free(expected);
    free(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_text),
        cmocka_unit_test(nll_piece_by_piece),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
