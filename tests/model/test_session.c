/* Sessions: a text read in pieces of any size gives what plain loops in double give for the whole text;
 * the same bits for any number of threads; a step that is refused changes nothing.
 *
 * Tolerance: that of test_tiny.c, whose models and plain loops these are. */
#include "model/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "plain_model.h"

#include <attn/stats.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-4

enum { N = 150, TOP = 3, HEADS = TINY_GEMMA_LAYERS * TINY_HEADS };

static struct tiny_model *tiny;
static struct model *model;
static struct plain_result *plain;
static int32_t tokens[N];

static int open_all(void **state)
{
    (void)state;
    tiny = tiny_gemma3(1);
    tiny_write_gguf(tiny);
    struct failure f = {""};
    if (!model_open(&model, tiny->path, &f))
        fail_msg("%s", f.message);
    uint32_t random = 7;
    for (int i = 0; i < N; i++) {
        random = random * 1664525u + 1013904223u;
        tokens[i] = (int32_t)((random >> 8) % TINY_VOCABULARY);
    }
    plain = plain_gemma3(tiny, tokens, N);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    plain_free(plain);
    model_close(model);
    tiny_free(tiny);
    return 0;
}

static struct session *new_session(int64_t capacity, int64_t step_rows, int top_keys,
                                   const attn_executor *executor)
{
    struct session_options options = session_options_init();
    options.capacity = capacity;
    options.step_rows = step_rows;
    options.top_keys = top_keys;
    options.executor = executor;
    struct session *session;
    struct failure f = {""};
    if (!session_create(&session, model, &options, &f))
        fail_msg("%s", f.message);
    return session;
}

static void step(struct session *session, int64_t first, int64_t count,
                 const struct session_wanted *wanted)
{
    struct failure f = {""};
    assert_int_equal(session_length(session), first);
    if (!session_step(session, tokens + first, count, wanted, &f))
        fail_msg("%s", f.message);
    assert_int_equal(session_length(session), first + count);
}

static void near(const char *what, const float *ours, const double *expected, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)ours[i] - expected[i]) <= TOLERANCE * (1 + fabs(expected[i]))))
            fail_msg("%s[%lld] is %.9g, by plain loops %.9g", what, (long long)i, (double)ours[i],
                     expected[i]);
}

/* Steps of `size` tokens (the last one shorter), each in pieces of `step_rows`. */
static void read_in_steps(int64_t size, int64_t step_rows, const attn_executor *executor,
                          float nll[N], float logits[TINY_VOCABULARY])
{
    struct session *session = new_session(N, step_rows, -1, executor);
    struct session_wanted wanted = session_wanted_init();
    wanted.logits = logits;
    for (int64_t first = 0; first < N; first += size) {
        int64_t count = N - first < size ? N - first : size;
        wanted.nll = nll + first;
        wanted.follows = first + count < N ? tokens[first + count] : -1;
        step(session, first, count, &wanted);
        near("logits", logits, plain->logits + (first + count - 1) * TINY_VOCABULARY,
             TINY_VOCABULARY);
    }
    session_free(session);
}

static void steps_of_any_size(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 8, 9, 17, N}, rows[] = {0, 7};
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 2; j++) {
            float nll[N], logits[TINY_VOCABULARY];
            read_in_steps(sizes[i], rows[j], attn_default_executor(), nll, logits);
            near("nll", nll, plain->nll, N - 1);
            assert_true(isnan(nll[N - 1]));
        }
}

/* Without nll the last layer works on the last row alone. */
static void logits_alone(void **state)
{
    (void)state;
    struct session *session = new_session(N, 50, -1, NULL);
    float logits[TINY_VOCABULARY];
    struct session_wanted nothing = session_wanted_init(), wanted = session_wanted_init();
    wanted.logits = logits;
    step(session, 0, 60, &nothing);
    step(session, 60, 70, &wanted);
    near("logits", logits, plain->logits + 129 * TINY_VOCABULARY, TINY_VOCABULARY);
    step(session, 130, 1, &wanted);
    near("logits", logits, plain->logits + 130 * TINY_VOCABULARY, TINY_VOCABULARY);
    session_free(session);
}

static void same_bits(void **state)
{
    (void)state;
    static float first[N], nll[N], logits[2][TINY_VOCABULARY];
    const int threads[] = {0, 2, 3};
    for (int size = 1; size <= 40; size += 39)
        for (int i = 0; i < 3; i++) {
            attn_executor *executor = NULL;
            if (threads[i] > 0)
                assert_int_equal(attn_executor_create(&executor, threads[i], NULL), ATTN_OK);
            read_in_steps(size, 0, executor, i == 0 ? first : nll, logits[i > 0]);
            attn_executor_destroy(executor);
            if (i > 0) {
                assert_memory_equal(nll, first, (N - 1) * sizeof *nll);
                assert_memory_equal(logits[1], logits[0], sizeof logits[0]);
            }
        }
}

/* Pages of 32 tokens: layers with a window hold two of them at most, however long the text. */
static void windows_are_bounded(void **state)
{
    (void)state;
    enum { PAGE = 32 };
    struct session *session = new_session(N, 8, -1, NULL);
    struct session_wanted nothing = session_wanted_init();
    const int64_t page = PAGE * TINY_KV_HEADS * (TINY_GEMMA_KEY + TINY_GEMMA_VALUE) * 4;
    assert_int_equal(session_cache_bytes(session), 0);
    for (int64_t i = 0; i < N; i++) {
        step(session, i, 1, &nothing);
        int64_t all = i / PAGE + 1, local = all < 2 ? all : 2;
        assert_in_range(session_cache_bytes(session), (all + 6) * page, (all + 6 * local) * page);
    }
    session_free(session);
}

/* ---- statistics, against those of one run over all tokens up to the one that is measured ---- */

struct watch {
    int64_t count;
    attn_statistics_wanted wanted;
    attn_statistics statistics;
    float entropy[TINY_HEADS * N], max_weight[TINY_HEADS * N];
    int32_t top_keys[TINY_HEADS * N * TOP];
    float top_weights[TINY_HEADS * N * TOP];
    const struct session_statistics *ours;
};

static bool before(void *context, int64_t layer, attn_problem *problem, bool *contribution,
                   struct failure *f)
{
    (void)layer, (void)contribution, (void)f;
    problem->statistics = &((struct watch *)context)->wanted;
    return true;
}

static bool arguments(void *context, int64_t layer, attn_args *args, struct failure *f)
{
    (void)layer, (void)f;
    args->statistics = &((struct watch *)context)->statistics;
    return true;
}

static bool after(void *context, const struct model_attention *a, struct failure *f)
{
    (void)f;
    const struct watch *w = context;
    for (int64_t h = 0; h < TINY_HEADS; h++) {
        int64_t row = h * w->count + w->count - 1, head = a->layer * TINY_HEADS + h;
        assert_true(fabsf(w->ours->entropy[head] - w->entropy[row]) < 1e-3f);
        assert_true(fabsf(w->ours->max_weight[head] - w->max_weight[row]) < 1e-3f);
        for (int i = 0; i < TOP; i++) {
            assert_int_equal(w->ours->top_key[head * TOP + i], w->top_keys[row * TOP + i]);
            assert_true(fabsf(w->ours->top_weight[head * TOP + i] - w->top_weights[row * TOP + i]) <
                        1e-3f);
        }
    }
    return true;
}

static void compare_statistics(int64_t count, const struct session_statistics *ours)
{
    static struct watch w;
    w.count = count, w.ours = ours;
    w.wanted =
        attn_statistics_wanted_init(ATTN_STAT_ENTROPY | ATTN_STAT_MAX_WEIGHT | ATTN_STAT_TOP_KEYS);
    w.wanted.top_keys = TOP;
    w.statistics = attn_statistics_init();
    w.statistics.entropy = w.entropy, w.statistics.max_weight = w.max_weight;
    w.statistics.top_keys = w.top_keys, w.statistics.top_weights = w.top_weights;
    const struct model_observer observer = {&w, before, arguments, after};
    struct model_request request = model_request_init();
    request.observer = &observer;
    struct failure f = {""};
    if (!model_run(model, tokens, count, &request, &f))
        fail_msg("%s", f.message);
}

static void statistics(void **state)
{
    (void)state;
    float entropy[HEADS], max_weight[HEADS], top_weight[HEADS * TOP];
    int32_t top_key[HEADS * TOP];
    const struct session_statistics ours = {
        .entropy = entropy, .max_weight = max_weight, .top_key = top_key, .top_weight = top_weight};
    struct session *session = new_session(N, 0, TOP, NULL);
    struct session_wanted nothing = session_wanted_init(), wanted = session_wanted_init();
    wanted.statistics = &ours;
    step(session, 0, 1, &wanted);
    compare_statistics(1, &ours);
    assert_int_equal(top_key[0], 0);
    assert_int_equal(top_key[1], -1);
    step(session, 1, 60, &nothing);
    for (int64_t i = 61; i < 64; i++) {
        step(session, i, 1, &wanted);
        compare_statistics(i + 1, &ours);
    }
    session_free(session);
}

/* ---- other kinds of models, other types of caches, files ---- */

/* Mean NLL of `count` tokens in steps of 3. */
static double nll_in_threes(const struct model *of, const int32_t *ids, int count, attn_dtype type)
{
    float nll[64];
    struct session_options options = session_options_init();
    options.capacity = count;
    options.cache_type = type;
    struct session *session;
    struct session_wanted wanted = session_wanted_init();
    struct failure f = {""};
    if (!session_create(&session, of, &options, &f))
        fail_msg("%s", f.message);
    for (int i = 0; i < count; i += 3) {
        int n = count - i < 3 ? count - i : 3;
        wanted.nll = nll + i;
        wanted.follows = i + n < count ? ids[i + n] : -1;
        if (!session_step(session, ids + i, n, &wanted, &f))
            fail_msg("%s", f.message);
    }
    double sum = 0;
    for (int i = 0; i + 1 < count; i++)
        sum += (double)nll[i];
    session_free(session);
    return sum / (count - 1);
}

/* The small models of tests/model/golden: rotary pairs and divisors, biases, learned positions. */
static void every_architecture(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt2", "llama3", "qwen2", "qwen3", "smollm2"};
    for (int i = 0; i < 5; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/tests/model/golden/small-%s.gguf", ATTN_SOURCE_DIR,
                 names[i]);
        struct model *small;
        struct failure f = {""};
        if (!model_open(&small, path, &f))
            fail_msg("%s", f.message);
        enum { COUNT = 40 };
        int32_t ids[COUNT];
        float nll[COUNT];
        for (int j = 0; j < COUNT; j++)
            ids[j] = (int32_t)(j * 37 % model_describe(small)->vocabulary);
        struct model_request request = model_request_init();
        request.nll = nll;
        if (!model_run(small, ids, COUNT, &request, &f))
            fail_msg("%s", f.message);
        double mean = 0;
        for (int j = 0; j + 1 < COUNT; j++)
            mean += (double)nll[j] / (COUNT - 1);
        double stepped = nll_in_threes(small, ids, COUNT, ATTN_F32);
        if (!(fabs(stepped - mean) < 1e-5))
            fail_msg("%s: NLL %.7f in steps, %.7f in one pass", names[i], stepped, mean);
        model_close(small);
    }
}

/* Rounding keys and values to 11, 8, about 7.5 and about 3.5 bits: the NLL of a model of random weights moves by as
 * much, about, and by no more than these limits (several times what is seen). */
static void types_of_caches(void **state)
{
    (void)state;
    static const struct {
        attn_dtype type;
        double limit;
    } types[] = {{ATTN_F16, 5e-4}, {ATTN_BF16, 3e-3}, {ATTN_INT8, 5e-3}, {ATTN_INT4, 6e-2}};
    double exact = nll_in_threes(model, tokens, 60, ATTN_F32);
    for (int i = 0; i < 4; i++) {
        double off = fabs(nll_in_threes(model, tokens, 60, types[i].type) - exact);
        print_message("cache type %d: NLL off by %.1e nats\n", (int)types[i].type, off);
        assert_true(off > 0 && off < types[i].limit);
    }
}

/* Saved, and loaded into a session of another capacity: the same bits from there on. */
static void saved_and_loaded(void **state)
{
    (void)state;
    const char path[] = "session_test.kv";
    float logits[2][TINY_VOCABULARY];
    struct session_wanted wanted = session_wanted_init();
    struct session *first = new_session(100, 0, -1, NULL), *second = new_session(N, 0, -1, NULL);
    struct failure f = {""};
    step(first, 0, 77, &wanted);
    if (!session_save(first, path, &f) || !session_load(second, path, &f))
        fail_msg("%s", f.message);
    assert_int_equal(session_length(second), 77);
    for (int64_t i = 77; i < 90; i++) {
        wanted.logits = logits[0];
        step(first, i, 1, &wanted);
        wanted.logits = logits[1];
        step(second, i, 1, &wanted);
        assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
    }
    assert_false(session_load(second, path, &f)); /* it is not empty */
    session_free(first);
    session_free(second);
    remove(path);
}

/* ---- what is refused ---- */

static void refused(struct session *session, const int32_t *ids, int64_t count,
                    const struct session_wanted *wanted, const char *sentence)
{
    struct failure f = {""};
    int64_t length = session_length(session), bytes = session_cache_bytes(session);
    assert_false(session_step(session, ids, count, wanted, &f));
    assert_string_equal(f.message, sentence);
    assert_int_equal(session_length(session), length);
    assert_int_equal(session_cache_bytes(session), bytes);
}

static int failing_tasks;

static int run_or_fail(void *context, int64_t count, attn_task task, void *argument)
{
    (void)context;
    if (failing_tasks > 0 && --failing_tasks == 0)
        return 3;
    for (int64_t i = 0; i < count; i++)
        task(argument, i, 0);
    return 0;
}

static void bad_steps(void **state)
{
    (void)state;
    attn_executor executor = {sizeof executor, NULL, 1, run_or_fail};
    struct session *session = new_session(20, 0, -1, &executor);
    float logits[TINY_VOCABULARY], once_more[TINY_VOCABULARY];
    struct session_wanted wanted = session_wanted_init();
    wanted.logits = logits;
    step(session, 0, 10, &wanted);
    refused(session, tokens, 11, &wanted, "11 tokens do not fit; of room for 20, 10 are left");
    refused(session, tokens, 0, &wanted, "a step reads at least 1 token; it was given 0");
    const int32_t bad[] = {1, TINY_VOCABULARY};
    refused(session, bad, 2, &wanted, "token 1 is 70, but the vocabulary has ids 0 to 69");
    wanted.follows = 70;
    refused(session, tokens, 2, &wanted,
            "the token that follows is 70, but the vocabulary has ids 0 to 69");
    wanted.follows = -1;
    const struct session_statistics none = {0};
    wanted.statistics = &none;
    refused(
        session, tokens, 1, &wanted,
        "statistics were asked of a step of 1 tokens; it may be one token, of a session made to "
        "measure");
    wanted.statistics = NULL;
    /* A step that fails half-way is as if it had not been: the same step afterwards gives the same bits. */
    struct session *calm = new_session(20, 0, -1, NULL);
    step(calm, 0, 10, &wanted);
    step(calm, 10, 2, &wanted);
    session_free(calm);
    for (int at = 1; at < 40; at += 6) {
        struct failure f = {""};
        failing_tasks = at;
        assert_false(session_step(session, tokens + 10, 2, &wanted, &f));
        assert_int_equal(session_length(session), 10);
    }
    failing_tasks = 0;
    wanted.logits = once_more;
    step(session, 10, 2, &wanted);
    assert_memory_equal(once_more, logits, sizeof logits);
    session_free(session);
}

static void bad_sessions(void **state)
{
    (void)state;
    struct session_options options = session_options_init();
    struct session *session;
    struct failure f = {""};
    assert_false(session_create(&session, model, &options, &f));
    assert_string_equal(
        f.message, "room for 0 tokens was asked for; it may be 1 to 4096, the model's context");
    assert_null(session);
    options.capacity = TINY_CONTEXT + 1;
    assert_false(session_create(&session, model, &options, NULL));
    struct tiny_model *other = tiny_bert(2, false);
    tiny_write_gguf(other);
    struct model *bert;
    assert_true(model_open(&bert, other->path, NULL));
    options.capacity = 4;
    assert_false(session_create(&session, bert, &options, &f));
    assert_string_equal(f.message, "a bert model predicts no tokens, so it cannot write");
    model_close(bert);
    tiny_free(other);
}

/* Attention's workspace of so many chunks of keys is more than what sessions limit it to where they can. */
static void long_contexts(void **state)
{
    (void)state;
    struct tiny_model *long_one = tiny_gemma3(1);
    tiny_set_number(long_one, "gemma3.context_length", 'i', 1 << 22);
    tiny_write_gguf(long_one);
    struct model *of;
    struct failure f = {""};
    if (!model_open(&of, long_one->path, &f))
        fail_msg("%s", f.message);
    struct session_options options = session_options_init();
    options.capacity = 1 << 22;
    struct session *session;
    if (!session_create(&session, of, &options, &f))
        fail_msg("%s", f.message);
    session_free(session);
    model_close(of);
    tiny_free(long_one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_of_any_size), cmocka_unit_test(logits_alone),
        cmocka_unit_test(same_bits),         cmocka_unit_test(windows_are_bounded),
        cmocka_unit_test(statistics),        cmocka_unit_test(bad_steps),
        cmocka_unit_test(bad_sessions),      cmocka_unit_test(every_architecture),
        cmocka_unit_test(types_of_caches),   cmocka_unit_test(saved_and_loaded),
        cmocka_unit_test(long_contexts),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
