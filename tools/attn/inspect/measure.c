/* Watching a model run; see measure.h. */
#include "measure.h"

#include "classes.h"
#include "detail.h"
#include "probe.h"
#include "rows.h"
#include "without_sinks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct measurement {
    struct inspection *in;
    const struct measure_options *options;
    struct classes classes;
    struct row_arrays rows;
    struct without_sinks rest;
    float *scratch;           /* [layer_heads, tokens] */
    struct failure *failures; /* [layer_heads]: what a head's reduction said, "" = nothing */
    const struct model_attention *attention; /* of the layer at work */
    int64_t next_layer;                      /* index into in->layer */
};

struct measure_options measure_options_init(void)
{
    return (struct measure_options){
        .rules = attn_label_rules_init(), .probe = true, .detail_layer = -1};
}

static bool measurement_create(struct measurement *m, struct inspection *in,
                               const struct measure_options *options, struct failure *f)
{
    *m = (struct measurement){.in = in, .options = options};
    if (!classes_create(&m->classes, in->token, in->tokens, f) ||
        !row_arrays_create(&m->rows, in->layer_heads, in->tokens, m->classes.segments,
                           m->classes.segment_ids, f) ||
        !without_sinks_create(&m->rest, in->layer_heads, in->tokens, f))
        return false;
    /* without_sinks_create has allocated as much: the size fits */
    m->scratch = malloc((size_t)in->layer_heads * (size_t)in->tokens * sizeof *m->scratch);
    m->failures = calloc((size_t)in->layer_heads, sizeof *m->failures);
    return (m->scratch && m->failures) ||
           fail(f, "out of memory for the statistics of %lld tokens", (long long)in->tokens);
}

static void measurement_destroy(struct measurement *m)
{
    classes_destroy(&m->classes);
    row_arrays_destroy(&m->rows);
    without_sinks_destroy(&m->rest);
    free(m->scratch);
    free(m->failures);
}

/* ---- the observer ---- */

static bool is_wanted(const struct measurement *m, int64_t layer)
{
    return m->next_layer < m->in->layers && m->in->layer[m->next_layer] == layer;
}

static bool before(void *context, int64_t layer, attn_problem *problem, bool *contribution,
                   struct failure *f)
{
    struct measurement *m = context;
    (void)f;
    if (is_wanted(m, layer)) {
        problem->statistics = &m->rows.wanted;
        *contribution = true;
    }
    return true;
}

static bool arguments(void *context, int64_t layer, attn_args *args, struct failure *f)
{
    struct measurement *m = context;
    (void)f;
    if (is_wanted(m, layer))
        args->statistics = &m->rows.statistics;
    return true;
}

static attn_head_rows rows_of_head(const struct measurement *m, int64_t h)
{
    return attn_head_rows_of(&m->rows.statistics, m->rows.wanted.set, m->in->layer_heads,
                             m->in->tokens, m->in->tokens, m->rows.wanted.segments, 0, h);
}

/* A task for each head of the layer at work; what went wrong is in m->failures. */
static bool for_each_head(struct measurement *m, attn_task task, struct failure *f)
{
    const attn_executor *executor = m->attention->executor;
    const int64_t heads = m->in->layer_heads;
    if (!executor)
        for (int64_t h = 0; h < heads; h++)
            task(m, h, 0);
    else if (executor->parallel_for(executor->context, heads, task, m) != 0)
        return fail(f, "the executor failed");
    for (int64_t h = 0; h < heads; h++)
        if (m->failures[h].message[0] != '\0')
            return fail(f, "%s", m->failures[h].message);
    return true;
}

static void find_sinks(void *argument, int64_t h, int worker)
{
    (void)worker;
    struct measurement *m = argument;
    attn_sink sinks[ATTN_SUMMARY_SINKS];
    attn_head_rows rows = rows_of_head(m, h);
    attn_error error;
    if (attn_find_sinks(sinks, rows.column_mass, rows.column_viewers, rows.keys,
                        m->options->rules.sink_viewers, &error) != ATTN_OK) {
        fail(&m->failures[h], "sinks: %s", error.message);
        return;
    }
    for (int i = 0; i < ATTN_SUMMARY_SINKS; i++)
        m->rest.sinks[h * ATTN_SUMMARY_SINKS + i] = sinks[i].key;
}

/* One head of the layer at work; heads do not share anything, so each is a task. */
static void reduce_head(void *argument, int64_t h, int worker)
{
    (void)worker;
    struct measurement *m = argument;
    const struct model_attention *attention = m->attention;
    struct inspection *in = m->in;
    struct inspected_head *head = &in->head[m->next_layer * in->layer_heads + h];
    attn_head_rows rows = rows_of_head(m, h);
    if (m->rest.sinks[h * ATTN_SUMMARY_SINKS] >= 0) {
        rows.entropy_without_sinks = m->rest.entropy + h * in->tokens;
        rows.visible_without_sinks = m->rest.visible + h * in->tokens;
    }
    attn_error error;
    if (attn_summarize_head(&head->summary, &rows, &m->options->rules, m->scratch + h * in->tokens,
                            &error) != ATTN_OK) {
        fail(&m->failures[h], "summary: %s", error.message);
        return;
    }
    head->layer = attention->layer;
    head->head = h;
    head->kv_head = h / (in->layer_heads / in->model->kv_heads);
    head->rows_not_finite = head->summary.metric[ATTN_METRIC_ENTROPY].not_finite;
    classes_masses(&m->classes, &head->summary, head->mass_classes);
    head->scores = attn_label_scores_of(&head->summary, in->model->causal);
    head->scores.special =
        classes_special(&m->classes, &head->summary, m->options->rules.sink_above);
    head->contribution_norm = attention->contribution ? attention->contribution[h] : NAN;
}

static bool after(void *context, const struct model_attention *attention, struct failure *f)
{
    struct measurement *m = context;
    struct inspection *in = m->in;
    if (!is_wanted(m, attention->layer))
        return true;
    m->attention = attention;
    if (!for_each_head(m, find_sinks, f) ||
        !without_sinks_measure(&m->rest, attention, m->rows.statistics.entropy,
                               m->rows.statistics.visible_keys, f) ||
        !for_each_head(m, reduce_head, f))
        return false;
    double layer_mean = 0.0;
    for (int64_t h = 0; h < in->layer_heads; h++)
        layer_mean += in->head[m->next_layer * in->layer_heads + h].contribution_norm;
    layer_mean /= (double)in->layer_heads;
    for (int64_t h = 0; h < in->layer_heads; h++) {
        struct inspected_head *head = &in->head[m->next_layer * in->layer_heads + h];
        head->contribution_norm_ratio =
            layer_mean > 0.0 ? head->contribution_norm / layer_mean : NAN;
    }
    const struct measure_options *o = m->options;
    if (attention->layer == o->detail_layer) {
        attn_head_rows rows = rows_of_head(m, o->detail_head);
        if (!detail_measure(in, attention, rows.column_mass, rows.column_viewers, o->npz, o->stop,
                            f))
            return false;
    }
    m->next_layer++;
    return true;
}

/* ---- progress ---- */

static void probe_progress(void *context, int64_t layer, int64_t layers, double done)
{
    const struct measure_options *o = context;
    char what[64];
    int64_t shown = layer < layers ? layer + 1 : layers;
    snprintf(what, sizeof what, "random probes, layer %lld of %lld", (long long)shown,
             (long long)layers);
    o->progress(o->progress_context, what, done);
}

static void layer_progress(void *context, int64_t layer, int64_t layers, double done)
{
    const struct measure_options *o = context;
    char what[64];
    int64_t shown = layer < layers ? layer + 1 : layers;
    snprintf(what, sizeof what, "layer %lld of %lld", (long long)shown, (long long)layers);
    o->progress(o->progress_context, what, done);
}

/* ---- the whole ---- */

static bool run_text(struct inspection *in, const struct model *model,
                     const struct measure_options *options, struct failure *f)
{
    struct measurement m;
    int32_t *ids = malloc((size_t)in->tokens * sizeof *ids + 1);
    bool ok = measurement_create(&m, in, options, f);
    if (ok && !ids)
        ok = fail(f, "out of memory for %lld tokens", (long long)in->tokens);
    if (ok) {
        for (int64_t i = 0; i < in->tokens; i++)
            ids[i] = in->token[i].id;
        struct model_observer observer = {&m, before, arguments, after};
        struct model_request request = model_request_init();
        request.executor = options->executor;
        request.observer = &observer;
        request.stop = options->stop;
        if (options->progress) {
            request.progress = layer_progress;
            request.progress_context = (void *)options;
        }
        ok = model_run(model, ids, in->tokens, &request, f);
    }
    measurement_destroy(&m);
    free(ids);
    return ok;
}

static void label_heads(struct inspection *in)
{
    in->label_keys = (attn_key_range){in->rules.voting_keys, INT32_MAX};
    for (int64_t i = 0; i < in->heads; i++) {
        struct inspected_head *head = &in->head[i];
        attn_label_scores *s = &head->scores;
        s->induction = head->induction.mean;
        s->duplicate = head->duplicate.mean;
        s->previous_probe = head->previous_probe.mean;
        s->contribution_norm_ratio = head->contribution_norm_ratio;
        head->labels = attn_head_labels(s, &in->rules);
        if (head->summary.label_keys.high < INT32_MAX)
            in->label_keys = head->summary.label_keys;
    }
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool measure(struct inspection *in, const struct model *model, const struct tokenizer *tokenizer,
             const struct measure_options *options, struct failure *f)
{
    double begin = now();
    in->rules = options->rules;
    in->layer_heads = in->model->heads;
    in->heads = in->layers * in->layer_heads;
    in->head = calloc((size_t)in->heads, sizeof *in->head);
    if (!in->head)
        return fail(f, "out of memory for the figures of %lld heads", (long long)in->heads);
    const struct probe_score none = {NAN, NAN};
    for (int64_t i = 0; i < in->heads; i++)
        in->head[i].induction = in->head[i].duplicate = in->head[i].previous_probe = none;
    in->detail.layer = options->detail_layer;
    in->detail.head = options->detail_head;
    in->detail.row_begin = options->row_begin;
    in->detail.row_end = options->row_end;
    in->threads = options->executor ? options->executor->threads : 1;
    if (options->probe && !probe_run(in, model, tokenizer, options->executor, options->stop,
                                     options->progress ? probe_progress : NULL, (void *)options, f))
        return false;
    if (!run_text(in, model, options, f))
        return false;
    label_heads(in);
    in->seconds = now() - begin;
    return true;
}
