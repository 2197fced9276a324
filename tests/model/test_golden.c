/* Real models against what other programs say about the same files: golden/, made by scripts/oracle
 * on the same file (its SHA-256 is in the golden file and in scripts/get-model).
 *
 * Limits: mean NLL to 1e-5 relative, the same argmax wherever the two best logits differ by more than
 * 1e-3, mean entropies of heads within 2e-3 nats, embeddings within 1e-4 of cosine distance. A text
 * has some hundred tokens here; the scripts compare longer ones. */
#include "model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <attn/stats.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Skips the test, with a line, where the model has not been fetched. */
static struct model *open_or_skip(const char *file, const char *name)
{
    char path[512];
    struct stat status;
    snprintf(path, sizeof path, "%s/%s", ATTN_MODELS_DIR, file);
    if (stat(path, &status) != 0) {
        print_message("skipped: %s is not there; `scripts/get-model %s` fetches it\n", path, name);
        skip();
    }
    struct failure f = {""};
    struct model *model;
    if (!model_open(&model, path, &f))
        fail_msg("%s", f.message);
    return model;
}

static json_t *read_golden(const char *name)
{
    char path[512];
    json_error_t error;
    snprintf(path, sizeof path, "%s/tests/model/golden/%s", ATTN_SOURCE_DIR, name);
    json_t *golden = json_load_file(path, 0, &error);
    if (golden == NULL)
        fail_msg("%s: %s", path, error.text);
    return golden;
}

static int32_t *ids_of(json_t *golden, int64_t *count)
{
    json_t *list = json_object_get(golden, "ids");
    *count = (int64_t)json_array_size(list);
    int32_t *ids = malloc((size_t)*count * sizeof *ids);
    for (int64_t i = 0; i < *count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
    return ids;
}

static double number_at(json_t *array, int64_t i)
{
    return json_number_value(json_array_get(array, (size_t)i));
}

struct entropies {
    int64_t heads, count;
    json_t *expected; /* [layers][heads] */
    attn_statistics_wanted wanted;
    attn_statistics statistics;
    float *entropy;
    double worst;
};

static bool before(void *context, int64_t layer, attn_problem *problem, bool *contribution,
                   struct failure *f)
{
    (void)layer, (void)contribution, (void)f;
    problem->statistics = &((struct entropies *)context)->wanted;
    return true;
}

static bool arguments(void *context, int64_t layer, attn_args *args, struct failure *f)
{
    (void)layer, (void)f;
    args->statistics = &((struct entropies *)context)->statistics;
    return true;
}

static bool after(void *context, const struct model_attention *attention, struct failure *f)
{
    (void)f;
    struct entropies *e = context;
    json_t *expected = json_array_get(e->expected, (size_t)attention->layer);
    for (int64_t h = 0; h < e->heads; h++) {
        double sum = 0;
        for (int64_t i = 0; i < e->count; i++)
            sum += (double)e->entropy[h * e->count + i];
        double off = fabs(sum / (double)e->count - number_at(expected, h));
        if (!(off <= 2e-3))
            fail_msg("head %lld.%lld: mean entropy is off by %g nats", (long long)attention->layer,
                     (long long)h, off);
        e->worst = off > e->worst ? off : e->worst;
    }
    return true;
}

static void compare_predictions(json_t *golden, int64_t n, const float *nll, const int32_t *argmax)
{
    double sum = 0, expected = json_number_value(json_object_get(golden, "nll_mean"));
    int differ = 0;
    for (int64_t i = 0; i + 1 < n; i++)
        sum += (double)nll[i];
    double relative = fabs(sum / (double)(n - 1) - expected) / expected;
    assert_true(relative <= 1e-5);
    for (int64_t i = 0; i < n; i++) {
        if (argmax[i] == (int32_t)number_at(json_object_get(golden, "argmax"), i))
            continue;
        differ++;
        assert_true(number_at(json_object_get(golden, "gap"), i) <= 1e-3);
    }
    print_message("%lld tokens: mean nll off by %.1e relative, argmax differs at %d", (long long)n,
                  relative, differ);
}

static void gemma3(const char *name)
{
    struct model *model = open_or_skip("gemma3-270m.gguf", "gemma3-270m");
    json_t *golden = read_golden(name);
    int64_t n;
    int32_t *ids = ids_of(golden, &n);
    float *nll = malloc((size_t)n * sizeof *nll);
    int32_t *argmax = malloc((size_t)n * sizeof *argmax);
    struct entropies e = {.heads = model_describe(model)->heads,
                          .count = n,
                          .expected = json_object_get(golden, "entropy")};
    e.wanted = attn_statistics_wanted_init(ATTN_STAT_ENTROPY);
    e.statistics = attn_statistics_init();
    e.statistics.entropy = e.entropy = malloc((size_t)(e.heads * n) * sizeof(float));
    const struct model_observer observer = {&e, before, arguments, after};
    struct model_request request = model_request_init();
    request.executor = attn_default_executor();
    request.observer = &observer;
    request.nll = nll, request.argmax = argmax;
    struct failure f = {""};
    if (!model_run(model, ids, n, &request, &f))
        fail_msg("%s", f.message);
    compare_predictions(golden, n, nll, argmax);
    print_message(", mean entropies by at most %.1e nats\n", e.worst);
    free(ids), free(nll), free(argmax), free(e.entropy);
    json_decref(golden);
    model_close(model);
}

static void gemma3_list(void **state)
{
    (void)state;
    gemma3("gemma3-list.json");
}

static void gemma3_languages(void **state)
{
    (void)state;
    gemma3("gemma3-languages.json");
}

static void gemma3_code(void **state)
{
    (void)state;
    gemma3("gemma3-ring_buffer.c.json");
}

static void minilm(void **state)
{
    (void)state;
    struct model *model = open_or_skip("minilm", "minilm");
    json_t *golden = read_golden("minilm.json"), *text;
    int64_t width = model_describe(model)->width;
    float *embedding = malloc((size_t)width * sizeof *embedding);
    double worst = 0;
    size_t index;
    json_array_foreach(json_object_get(golden, "texts"), index, text)
    {
        int64_t n;
        int32_t *ids = ids_of(text, &n);
        struct model_request request = model_request_init();
        request.executor = attn_default_executor();
        request.embedding = embedding;
        struct failure f = {""};
        if (!model_run(model, ids, n, &request, &f))
            fail_msg("%s", f.message);
        double dot = 0;
        for (int64_t i = 0; i < width; i++)
            dot += (double)embedding[i] * number_at(json_object_get(text, "embedding"), i);
        assert_true(1 - dot <= 1e-4);
        worst = 1 - dot > worst ? 1 - dot : worst;
        free(ids);
    }
    assert_true(index >= 4);
    print_message("%zu texts: cosine distance at most %.1e\n", index, worst);
    free(embedding);
    json_decref(golden);
    model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemma3_list),
        cmocka_unit_test(gemma3_languages),
        cmocka_unit_test(gemma3_code),
        cmocka_unit_test(minilm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
