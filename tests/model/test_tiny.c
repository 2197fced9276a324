/* Whole models, small and random, against plain loops in double; the same bits for any number of
 * threads.
 *
 * Tolerance: activations are of size 1 after every norm. A layer adds an error of some tens of f32
 * roundings (6e-8 each) relative to that size, seven layers and the final product of 32 terms make
 * it less than 1e-4 with a wide margin; leaving out any one part of a layer changes the result by
 * more than 1e-2. */
#include "model/architecture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "plain_model.h"

#include <attn/stats.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-4

static struct model *open_model(struct tiny_model *tiny, bool directory)
{
    if (directory)
        tiny_write_directory(tiny);
    else
        tiny_write_gguf(tiny);
    struct failure f = {""};
    struct model *model;
    if (!model_open(&model, tiny->path, &f))
        fail_msg("%s", f.message);
    return model;
}

static int32_t *some_tokens(int count)
{
    int32_t *tokens = malloc((size_t)count * sizeof *tokens);
    uint32_t state = 7;
    for (int i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        tokens[i] = (int32_t)((state >> 8) % TINY_VOCABULARY);
    }
    return tokens;
}

/* What an observer saw. */
struct seen {
    int before, arguments, after;
    int64_t count, measured; /* the layer that has statistics */
    attn_statistics_wanted wanted;
    attn_statistics statistics;
    float *entropy;
    double *contribution; /* [layers, TINY_HEADS] */
};

static bool before(void *context, int64_t layer, attn_problem *problem, bool *contribution,
                   struct failure *f)
{
    (void)f;
    struct seen *seen = context;
    assert_int_equal(layer, seen->before++);
    assert_int_equal(problem->queries, seen->count);
    *contribution = true;
    if (layer == seen->measured)
        problem->statistics = &seen->wanted;
    return true;
}

static bool arguments(void *context, int64_t layer, attn_args *args, struct failure *f)
{
    (void)f;
    struct seen *seen = context;
    assert_int_equal(layer, seen->arguments++);
    assert_non_null(args->lse);
    if (layer == seen->measured)
        args->statistics = &seen->statistics;
    return true;
}

static bool after(void *context, const struct model_attention *a, struct failure *f)
{
    (void)f;
    struct seen *seen = context;
    assert_int_equal(a->layer, seen->after++);
    assert_int_equal(a->problem->statistics != NULL, a->layer == seen->measured);
    memcpy(seen->contribution + a->layer * TINY_HEADS, a->contribution,
           TINY_HEADS * sizeof(double));
    /* The tensors are there for another call, which gives the same o. */
    attn_problem again = *a->problem;
    attn_args args = *a->args;
    again.statistics = NULL, args.statistics = NULL, args.lse = NULL;
    size_t values = (size_t)(seen->count * again.heads * again.head_size_v);
    float *o = malloc(values * sizeof *o);
    args.o = o;
    attn_error error;
    if (attn_forward(&again, &args, a->executor, &error) != ATTN_OK)
        fail_msg("%s", error.message);
    assert_memory_equal(o, a->args->o, values * sizeof *o);
    free(o);
    return true;
}

static struct seen new_seen(int64_t count, int64_t layers, int64_t measured)
{
    struct seen seen = {.count = count, .measured = measured};
    seen.wanted = attn_statistics_wanted_init(ATTN_STAT_ENTROPY);
    seen.statistics = attn_statistics_init();
    seen.entropy = malloc((size_t)(count * TINY_HEADS) * sizeof(float));
    seen.statistics.entropy = seen.entropy;
    seen.contribution = calloc((size_t)(layers * TINY_HEADS), sizeof(double));
    return seen;
}

static void free_seen(struct seen *seen)
{
    free(seen->entropy);
    free(seen->contribution);
}

static void near(const char *what, const float *ours, const double *plain, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)ours[i] - plain[i]) <= TOLERANCE * (1 + fabs(plain[i]))))
            fail_msg("%s[%lld] is %.9g, by plain loops %.9g", what, (long long)i, (double)ours[i],
                     plain[i]);
}

static void contributions_near(const struct seen *seen, const double *plain, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(seen->contribution[i] - plain[i]) <= TOLERANCE * (1 + plain[i])))
            fail_msg("contribution[%lld] is %.9g, by plain loops %.9g", (long long)i,
                     seen->contribution[i], plain[i]);
}

/* The likeliest token and how far it is ahead, where that is beyond doubt. */
static void predictions_near(const int32_t *argmax, const float *gap,
                             const struct plain_result *plain, int n)
{
    for (int r = 0; r < n; r++) {
        const double *logits = plain->logits + r * TINY_VOCABULARY;
        int best = 0;
        double second = -INFINITY;
        for (int i = 1; i < TINY_VOCABULARY; i++)
            if (logits[i] > logits[best])
                best = i;
        for (int i = 0; i < TINY_VOCABULARY; i++)
            if (i != best && logits[i] > second)
                second = logits[i];
        assert_true(fabs((double)gap[r] - (logits[best] - second)) < 2e-3);
        if (logits[best] - second > 2e-3)
            assert_int_equal(argmax[r], best);
    }
}

static void check_gemma3(int n)
{
    struct tiny_model *tiny = tiny_gemma3(1);
    struct model *model = open_model(tiny, false);
    int32_t *tokens = some_tokens(n);
    float *hidden = malloc((size_t)n * TINY_WIDTH * sizeof *hidden);
    float *nll = malloc((size_t)n * sizeof *nll), *gap = malloc((size_t)n * sizeof *gap);
    int32_t *argmax = malloc((size_t)n * sizeof *argmax);
    struct seen seen = new_seen(n, TINY_GEMMA_LAYERS, 5);
    const struct model_observer observer = {&seen, before, arguments, after};
    struct model_request request = model_request_init();
    request.executor = attn_default_executor();
    request.observer = &observer;
    request.hidden = hidden, request.nll = nll, request.gap = gap, request.argmax = argmax;
    struct failure f = {""};
    if (!model_run(model, tokens, n, &request, &f))
        fail_msg("%s", f.message);
    struct plain_result *plain = plain_gemma3(tiny, tokens, n);
    near("hidden", hidden, plain->hidden, (int64_t)n * TINY_WIDTH);
    near("nll", nll, plain->nll, n - 1);
    assert_true(isnan(nll[n - 1]));
    predictions_near(argmax, gap, plain, n);
    contributions_near(&seen, plain->contribution, TINY_GEMMA_LAYERS * TINY_HEADS);
    assert_int_equal(seen.after, TINY_GEMMA_LAYERS);
    plain_free(plain);
    free_seen(&seen);
    free(tokens), free(hidden), free(nll), free(gap), free(argmax);
    model_close(model);
    tiny_free(tiny);
}

static void gemma3_short(void **state)
{
    (void)state;
    check_gemma3(1);
    check_gemma3(13);
}

/* More rows than a chunk holds, and no whole number of anything. */
static void gemma3_several_chunks(void **state)
{
    (void)state;
    check_gemma3(2200);
}

static void check_bert(bool safetensors)
{
    const int n = 41;
    struct tiny_model *tiny = tiny_bert(2, safetensors);
    struct model *model = open_model(tiny, safetensors);
    int32_t *tokens = some_tokens(n);
    float hidden[41 * TINY_WIDTH], embedding[TINY_WIDTH];
    struct seen seen = new_seen(n, TINY_BERT_LAYERS, 1);
    const struct model_observer observer = {&seen, before, arguments, after};
    struct model_request request = model_request_init();
    request.observer = &observer;
    request.hidden = hidden, request.embedding = embedding;
    struct failure f = {""};
    if (!model_run(model, tokens, n, &request, &f))
        fail_msg("%s", f.message);
    struct plain_result *plain = plain_bert(tiny, safetensors, tokens, n);
    near("hidden", hidden, plain->hidden, n * TINY_WIDTH);
    near("embedding", embedding, plain->embedding, TINY_WIDTH);
    contributions_near(&seen, plain->contribution, TINY_BERT_LAYERS * TINY_HEADS);
    plain_free(plain);
    free_seen(&seen);
    free(tokens);
    model_close(model);
    tiny_free(tiny);
}

static void bert_gguf(void **state)
{
    (void)state;
    check_bert(false);
}

static void bert_safetensors(void **state)
{
    (void)state;
    check_bert(true);
}

/* 1, 2, 3 and 7 threads and none at all, watched and unwatched: the same bits. */
static void same_bits(void **state)
{
    (void)state;
    enum { N = 700 };
    struct tiny_model *tiny = tiny_gemma3(3);
    struct model *model = open_model(tiny, false);
    int32_t *tokens = some_tokens(N);
    static float first[N * TINY_WIDTH], hidden[N * TINY_WIDTH], nll[2][N];
    const int threads[] = {0, 1, 2, 3, 7};
    for (int i = 0; i < 5; i++) {
        attn_executor *executor = NULL;
        if (threads[i] > 0)
            assert_int_equal(attn_executor_create(&executor, threads[i], NULL), ATTN_OK);
        struct model_request request = model_request_init();
        request.executor = executor;
        request.hidden = i == 0 ? first : hidden;
        request.nll = nll[i > 0];
        struct failure f = {""};
        if (!model_run(model, tokens, N, &request, &f))
            fail_msg("%s", f.message);
        attn_executor_destroy(executor);
        if (i > 0) {
            assert_memory_equal(hidden, first, sizeof first);
            assert_memory_equal(nll[1], nll[0], (N - 1) * sizeof(float));
        }
    }
    free(tokens);
    model_close(model);
    tiny_free(tiny);
}

/* An output tensor of its own, a cap on the logits, a scaled rotary embedding, another pattern
 * of local layers, a scale: each changes the result, and the description tells. */
static void optional_settings(void **state)
{
    (void)state;
    enum { N = 9, VARIANTS = 5 };
    int32_t *tokens = some_tokens(N);
    float nll[VARIANTS][N];
    for (int variant = 0; variant < VARIANTS; variant++) {
        struct tiny_model *tiny = tiny_gemma3(4);
        if (variant == 1)
            tiny_set_number(tiny, "gemma3.final_logit_softcapping", 'f', 2);
        if (variant == 2) {
            tiny_set_text(tiny, "gemma3.rope.scaling.type", "linear");
            tiny_set_number(tiny, "gemma3.rope.scaling.factor", 'f', 8);
        }
        if (variant == 3)
            tiny_set_number(tiny, "gemma3.attention.sliding_window_pattern", 'i', 2);
        if (variant == 4)
            tiny_set_number(tiny, "gemma3.attention.scale", 'f', 0.1);
        struct model *model = open_model(tiny, false);
        const struct model_layer *layer = model_describe(model)->layer;
        for (int l = 0; l < TINY_GEMMA_LAYERS; l++) {
            bool local = variant == 3 ? l % 2 == 0 : l != 5;
            assert_int_equal(layer[l].window, local ? TINY_WINDOW : 0);
            assert_true(layer[l].rope_base == (local ? 1e4 : 1e6));
        }
        struct model_request request = model_request_init();
        request.nll = nll[variant];
        struct failure f = {""};
        if (!model_run(model, tokens, N, &request, &f))
            fail_msg("%s", f.message);
        model_close(model);
        tiny_free(tiny);
    }
    for (int variant = 1; variant < VARIANTS; variant++)
        assert_true(fabsf(nll[variant][N - 2] - nll[0][N - 2]) > 1e-5f);
    /* Capped at +-2, no prediction is worse than ln(70) + 4. */
    for (int i = 0; i + 1 < N; i++)
        assert_true((double)nll[1][i] < log(TINY_VOCABULARY) + 4);
    free(tokens);
}

/* Pooling by the first token is its hidden state, of length 1. */
static void pooling_by_first_token(void **state)
{
    (void)state;
    struct tiny_model *tiny = tiny_bert(6, false);
    tiny_set_number(tiny, "bert.pooling_type", 'i', 2);
    struct model *model = open_model(tiny, false);
    int32_t *tokens = some_tokens(5);
    float hidden[5 * TINY_WIDTH], embedding[TINY_WIDTH];
    struct model_request request = model_request_init();
    request.hidden = hidden, request.embedding = embedding;
    assert_true(model_run(model, tokens, 5, &request, NULL));
    double square = 0;
    for (int i = 0; i < TINY_WIDTH; i++)
        square += (double)hidden[i] * (double)hidden[i];
    for (int i = 0; i < TINY_WIDTH; i++)
        assert_true(fabs((double)embedding[i] - (double)hidden[i] / sqrt(square)) < 1e-6);
    free(tokens);
    model_close(model);
    tiny_free(tiny);
}

/* The 27B size, the only one of 62 layers, has heads of 128 but scales by width / heads = 168. */
static void scale_of_27b(void **state)
{
    (void)state;
    struct settings large = {.layers = 62, .width = 5376, .heads = 32, .key_size = 128};
    struct settings small = {.layers = 18, .width = 640, .heads = 4, .key_size = 256};
    architecture_gemma3.adjust(&large);
    architecture_gemma3.adjust(&small);
    assert_true(fabs(large.scale - 1 / sqrt(168)) < 1e-15);
    assert_true(small.scale == 0);
}

static void description(void **state)
{
    (void)state;
    struct tiny_model *tiny = tiny_gemma3(5);
    struct model *model = open_model(tiny, false);
    const struct model_description *d = model_describe(model);
    assert_string_equal(d->architecture, "gemma3");
    assert_string_equal(d->path, tiny->path);
    assert_int_equal(d->layers, TINY_GEMMA_LAYERS);
    assert_int_equal(d->vocabulary, TINY_VOCABULARY);
    assert_int_equal(d->kv_bytes_per_token,
                     7 * TINY_KV_HEADS * (TINY_GEMMA_KEY + TINY_GEMMA_VALUE) * 4);
    assert_true(d->causal && d->predicts_tokens && d->quantised);
    assert_int_equal(d->pooling, MODEL_POOLING_NONE);
    int64_t tensors = 0, parameters = 0;
    for (int i = 0; i < d->tensor_types; i++)
        tensors += d->tensor_type[i].tensors;
    for (int i = 0; i < tiny->tensors; i++)
        parameters += tiny->tensor[i].inputs * tiny->tensor[i].outputs;
    assert_int_equal(tensors, tiny->tensors);
    assert_int_equal(d->parameters, parameters);
    model_close(model);
    tiny_free(tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(description),
        cmocka_unit_test(gemma3_short),
        cmocka_unit_test(bert_gguf),
        cmocka_unit_test(bert_safetensors),
        cmocka_unit_test(same_bits),
        cmocka_unit_test(optional_settings),
        cmocka_unit_test(gemma3_several_chunks),
        cmocka_unit_test(pooling_by_first_token),
        cmocka_unit_test(scale_of_27b),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
