/* One row: logits, scores, weights, output. Masked keys and values are never read. */
#include "row.h"

#include <math.h>
#include <stdlib.h>

static int64_t kv_head(const attn_problem *problem, int64_t head)
{
    return head / (problem->heads / problem->kv_heads);
}

double attn_ref_scale(const attn_problem *problem)
{
    return problem->scale != 0.0f ? (double)problem->scale : 1 / sqrt((double)problem->head_size);
}

/* u = scale * q.k */
double attn_ref_logit(const attn_problem *problem, const double *query, const double *key)
{
    double dot = 0;
    for (int64_t d = 0; d < problem->head_size; d++)
        dot += query[d] * key[d];
    return attn_ref_scale(problem) * dot;
}

/* Forget the keys and values that are known, unless they are of this sequence and kv head. */
static void know_keys(attn_ref_row *row, const attn_args *args, int64_t batch, int64_t head)
{
    const void *of = args->cache ? (const void *)args->cache : args->k;
    if (of && row->known_of == of && row->known_batch == batch && row->known_head == head)
        return;
    row->known_of = of, row->known_batch = batch, row->known_head = head;
    for (int64_t j = 0; j < args->keys; j++)
        row->key_known[j] = row->value_known[j] = false;
}

static const double *key_channels(attn_ref_row *row, const attn_problem *problem,
                                  const attn_args *args, int64_t key)
{
    double *channels = row->key_channels + key * problem->head_size;
    if (!row->key_known[key])
        attn_ref_key_channels(problem, args, row->known_batch, row->known_head, key, channels);
    row->key_known[key] = true;
    return channels;
}

static const double *value_channels(attn_ref_row *row, const attn_problem *problem,
                                    const attn_args *args, int64_t key)
{
    double *channels = row->value_channels + key * problem->head_size_v;
    for (int64_t d = 0; !row->value_known[key] && d < problem->head_size_v; d++)
        channels[d] =
            attn_ref_value_element(problem, args, row->known_batch, row->known_head, key, d);
    row->value_known[key] = true;
    return channels;
}

/* s = softcap * tanh(u / softcap) */
double attn_ref_softcap(const attn_problem *problem, double logit)
{
    double cap = (double)problem->softcap;
    return cap > 0 ? cap * tanh(logit / cap) : logit;
}

/* lse = ln sum exp s, shifted by the largest score: exact for any shift. -inf without a visible key. */
static void log_sum_exp(attn_ref_row *row)
{
    double max = -INFINITY, sum = 0;
    for (int64_t j = 0; j < row->keys; j++)
        if (row->visible[j] && !(row->score[j] <= max))
            max = row->score[j];
    for (int64_t j = 0; j < row->keys; j++)
        if (row->visible[j])
            sum += exp(row->score[j] - max);
    row->max_score = max;
    row->log_sum = row->visible_keys > 0 ? log(sum) : 0;
    row->lse = max + row->log_sum;
}

/* The sink is one more term of the denominator: exp(lse) + exp(sink). */
static void add_sink(attn_ref_row *row, const attn_problem *problem, const attn_args *args)
{
    row->share = 1, row->lse_with_sink = row->lse;
    if (!problem->sinks)
        return;
    double sink = (double)args->sinks[row->head];
    double high = row->lse < sink ? sink : row->lse;
    if (high == -INFINITY)
        return;
    double both = exp(row->lse - high) + exp(sink - high);
    if (!problem->unnormalised)
        row->share = exp(row->lse - high) / both;
    row->lse_with_sink = high + log(both);
}

/* e^(s - reference) v, added up by its definition. */
void attn_ref_row_refer(attn_ref_row *row, const attn_problem *problem, const attn_args *args,
                        double reference)
{
    row->reference = reference, row->sum = 0;
    for (int64_t d = 0; d < problem->head_size_v; d++)
        row->o[d] = 0;
    for (int64_t j = 0; j < row->keys; j++) {
        if (!row->visible[j])
            continue;
        double e = exp(row->score[j] - reference);
        row->sum += e;
        if (!args->v && !args->cache)
            continue;
        const double *value = value_channels(row, problem, args, j);
        for (int64_t d = 0; d < problem->head_size_v; d++)
            row->o[d] += e * value[d];
    }
}

/* o = sum p v over the visible keys, times what the sink leaves to them */
static void weighted_values(attn_ref_row *row, const attn_problem *problem, const attn_args *args)
{
    for (int64_t d = 0; d < problem->head_size_v; d++)
        row->o[d] = 0;
    for (int64_t j = 0; j < row->keys && (args->v || args->cache); j++) {
        if (!row->visible[j])
            continue;
        const double *value = value_channels(row, problem, args, j);
        for (int64_t d = 0; d < problem->head_size_v; d++)
            row->o[d] += row->weight[j] * value[d];
    }
    for (int64_t d = 0; d < problem->head_size_v; d++)
        row->o[d] *= row->share;
}

void attn_ref_row_compute(attn_ref_row *row, const attn_problem *problem, const attn_args *args,
                          int64_t batch, int64_t head, int64_t query)
{
    const bool ragged = problem->lengths >= ATTN_LENGTHS_RAGGED_I32 || problem->cache;
    const bool function = problem->scores && problem->scores->function;
    row->batch = batch, row->head = head, row->query = query;
    row->position = attn_ref_position(problem, args, batch, query);
    row->keys = ragged ? attn_ref_keys(problem, args, batch).length : args->keys;
    row->visible_keys = 0;
    bool query_known = false; /* a query that reaches no key is not read either */
    know_keys(row, args, batch, kv_head(problem, head));
    for (int64_t j = 0; j < row->keys; j++) {
        row->stands[j] = attn_ref_key_stands(problem, args, batch, j);
        row->reached[j] = attn_ref_visible(problem, args, batch, head, query, j);
        row->visible[j] = row->reached[j];
        row->logit[j] = row->score[j] = NAN;
        if (!row->reached[j])
            continue;
        if (!query_known)
            attn_ref_query_channels(problem, args, batch, head, query, row->query_channels);
        query_known = true;
        row->logit[j] =
            attn_ref_logit(problem, row->query_channels, key_channels(row, problem, args, j));
        row->score[j] = attn_ref_score(problem, args, batch, head, query, j, row->logit[j]);
        if (function && row->score[j] == -INFINITY) {
            row->visible[j] = false;
            row->score[j] = NAN;
        }
        row->visible_keys += row->visible[j];
    }
    log_sum_exp(row);
    for (int64_t j = 0; j < row->keys; j++)
        row->weight[j] = row->visible[j] ? exp(row->score[j] - row->max_score - row->log_sum) : 0;
    add_sink(row, problem, args);
    if (problem->unnormalised)
        attn_ref_row_refer(row, problem, args, (double)(float)row->max_score);
    else
        weighted_values(row, problem, args);
    attn_ref_row_statistics(row, problem, args);
}

attn_status attn_ref_row_create(attn_ref_row *row, const attn_problem *problem,
                                const attn_args *args)
{
    size_t keys = (size_t)args->keys + 1, size_v = (size_t)problem->head_size_v;
    memset(row, 0, sizeof *row);
    row->stands = calloc(keys, sizeof *row->stands);
    row->reached = calloc(keys, sizeof *row->reached);
    row->visible = calloc(keys, sizeof *row->visible);
    row->logit = calloc(keys, sizeof *row->logit);
    row->score = calloc(keys, sizeof *row->score);
    row->weight = calloc(keys, sizeof *row->weight);
    row->o = calloc(size_v, sizeof *row->o);
    row->query_channels = calloc((size_t)problem->head_size, sizeof *row->query_channels);
    row->key_channels = calloc(keys * (size_t)problem->head_size, sizeof *row->key_channels);
    row->value_channels = calloc(keys * size_v, sizeof *row->value_channels);
    row->key_known = calloc(keys, sizeof *row->key_known);
    row->value_known = calloc(keys, sizeof *row->value_known);
    row->known_batch = -1;
    if (row->stands && row->reached && row->visible && row->logit && row->score && row->weight &&
        row->o && row->query_channels && row->key_channels && row->value_channels &&
        row->key_known && row->value_known)
        return ATTN_OK;
    attn_ref_row_destroy(row);
    return ATTN_ERR_MEMORY;
}

void attn_ref_row_destroy(attn_ref_row *row)
{
    free(row->stands);
    free(row->reached);
    free(row->visible);
    free(row->logit);
    free(row->score);
    free(row->weight);
    free(row->o);
    free(row->query_channels);
    free(row->key_channels);
    free(row->value_channels);
    free(row->key_known);
    free(row->value_known);
    memset(row, 0, sizeof *row);
}
