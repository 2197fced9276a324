/* What a model says about a list of token ids, as JSON: for the scripts in scripts/oracle, which
 * compare it with other programs. Not installed, not a test by itself.
 *
 *     score MODEL [--entropy] [--threads N] < ids > out.json
 *
 * ids are decimal numbers separated by white space. Out: nll, argmax and gap of every prediction
 * (models that predict tokens), embedding (models with pooling), and with --entropy the mean
 * entropy of every head over all rows, [layers][heads]. */
#include "model/model.h"

#include <attn/stats.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct watcher {
    const struct model_description *model;
    int64_t count;
    attn_statistics_wanted wanted;
    attn_statistics statistics;
    float *entropy; /* [heads, count] */
    json_t *means;  /* [layers][heads] */
};

static bool before(void *context, int64_t layer, attn_problem *problem, bool *contribution,
                   struct failure *f)
{
    (void)layer, (void)contribution, (void)f;
    struct watcher *w = context;
    problem->statistics = &w->wanted;
    return true;
}

static bool arguments(void *context, int64_t layer, attn_args *args, struct failure *f)
{
    (void)layer, (void)f;
    struct watcher *w = context;
    args->statistics = &w->statistics;
    return true;
}

static bool after(void *context, const struct model_attention *attention, struct failure *f)
{
    (void)attention, (void)f;
    struct watcher *w = context;
    json_t *heads = json_array();
    for (int64_t h = 0; h < w->model->heads; h++) {
        double sum = 0;
        for (int64_t i = 0; i < w->count; i++)
            sum += (double)w->entropy[h * w->count + i];
        json_array_append_new(heads, json_real(sum / (double)w->count));
    }
    json_array_append_new(w->means, heads);
    return true;
}

static json_t *floats(const float *values, int64_t count)
{
    json_t *array = json_array();
    for (int64_t i = 0; i < count; i++)
        json_array_append_new(array, json_real((double)values[i]));
    return array;
}

static int32_t *read_ids(int64_t *count)
{
    int64_t room = 1024;
    int32_t *ids = malloc((size_t)room * sizeof *ids);
    *count = 0;
    while (ids != NULL && scanf("%d", &ids[*count]) == 1) {
        if (++*count == room) {
            room *= 2;
            ids = realloc(ids, (size_t)room * sizeof *ids);
        }
    }
    return ids;
}

static bool score(struct model *model, bool entropy, const attn_executor *executor, json_t *out,
                  struct failure *f)
{
    const struct model_description *d = model_describe(model);
    int64_t n;
    int32_t *ids = read_ids(&n);
    float *nll = malloc((size_t)n * sizeof *nll), *gap = malloc((size_t)n * sizeof *gap);
    int32_t *argmax = malloc((size_t)n * sizeof *argmax);
    float *embedding = malloc((size_t)d->width * sizeof *embedding);
    struct watcher w = {.model = d, .count = n, .means = json_array()};
    w.wanted = attn_statistics_wanted_init(ATTN_STAT_ENTROPY);
    w.statistics = attn_statistics_init();
    w.statistics.entropy = w.entropy = malloc((size_t)(n * d->heads) * sizeof *w.entropy);
    const struct model_observer observer = {&w, before, arguments, after};
    struct model_request request = model_request_init();
    request.executor = executor;
    request.observer = entropy ? &observer : NULL;
    if (d->predicts_tokens)
        request.nll = nll, request.gap = gap, request.argmax = argmax;
    if (d->pooling != MODEL_POOLING_NONE)
        request.embedding = embedding;
    bool ok = model_run(model, ids, n, &request, f);
    if (ok && d->predicts_tokens) {
        json_object_set_new(out, "nll", floats(nll, n - 1));
        json_object_set_new(out, "gap", floats(gap, n));
        json_t *best = json_array();
        for (int64_t i = 0; i < n; i++)
            json_array_append_new(best, json_integer(argmax[i]));
        json_object_set_new(out, "argmax", best);
    }
    if (ok && d->pooling != MODEL_POOLING_NONE)
        json_object_set_new(out, "embedding", floats(embedding, d->width));
    if (ok && entropy)
        json_object_set(out, "entropy", w.means);
    json_decref(w.means);
    free(ids), free(nll), free(gap), free(argmax), free(embedding), free(w.entropy);
    return ok;
}

int main(int argc, char **argv)
{
    bool entropy = false;
    int threads = 0;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--entropy") == 0)
            entropy = true;
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            threads = atoi(argv[++i]);
    }
    if (argc < 2) {
        fprintf(stderr, "usage: score MODEL [--entropy] [--threads N] < ids\n");
        return 2;
    }
    struct failure f = {""};
    struct model *model;
    attn_executor *executor = NULL;
    attn_error error;
    json_t *out = json_object();
    bool ok = attn_executor_create(&executor, threads, &error) == ATTN_OK ||
              fail(&f, "%s", error.message);
    ok = ok && model_open(&model, argv[1], &f);
    if (ok) {
        ok = score(model, entropy, executor, out, &f);
        model_close(model);
    }
    attn_executor_destroy(executor);
    if (ok)
        json_dumpf(out, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    else
        fprintf(stderr, "score: %s\n", f.message);
    json_decref(out);
    return ok ? 0 : 1;
}
