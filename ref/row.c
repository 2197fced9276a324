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
double attn_ref_logit(const attn_problem *problem, const attn_args *args, int64_t batch,
                      int64_t head, int64_t query, int64_t key)
{
    const void *q = attn_ref_query_vector(problem, args, batch, head, query);
    double dot = 0;
    for (int64_t d = 0; d < problem->head_size; d++)
        dot += attn_ref_value(q, problem->q.dtype, d) *
               attn_ref_key_element(problem, args, batch, kv_head(problem, head), key, d);
    return attn_ref_scale(problem) * dot;
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
    row->share = exp(row->lse - high) / both;
    row->lse_with_sink = high + log(both);
}

/* o = sum p v over the visible keys, times what the sink leaves to them */
static void weighted_values(attn_ref_row *row, const attn_problem *problem, const attn_args *args)
{
    for (int64_t d = 0; d < problem->head_size_v; d++)
        row->o[d] = 0;
    for (int64_t j = 0; j < row->keys && (args->v || args->cache); j++) {
        if (!row->visible[j])
            continue;
        for (int64_t d = 0; d < problem->head_size_v; d++)
            row->o[d] += row->weight[j] * attn_ref_value_element(problem, args, row->batch,
                                                                 kv_head(problem, row->head), j, d);
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
    for (int64_t j = 0; j < row->keys; j++) {
        row->reached[j] = attn_ref_visible(problem, args, batch, head, query, j);
        row->visible[j] = row->reached[j];
        row->logit[j] = row->score[j] = NAN;
        if (!row->reached[j])
            continue;
        row->logit[j] = attn_ref_logit(problem, args, batch, head, query, j);
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
    weighted_values(row, problem, args);
    attn_ref_row_statistics(row, problem, args);
}

attn_status attn_ref_row_create(attn_ref_row *row, const attn_problem *problem,
                                const attn_args *args)
{
    size_t keys = (size_t)args->keys + 1, size_v = (size_t)problem->head_size_v;
    memset(row, 0, sizeof *row);
    row->reached = calloc(keys, sizeof *row->reached);
    row->visible = calloc(keys, sizeof *row->visible);
    row->logit = calloc(keys, sizeof *row->logit);
    row->score = calloc(keys, sizeof *row->score);
    row->weight = calloc(keys, sizeof *row->weight);
    row->o = calloc(size_v, sizeof *row->o);
    if (row->reached && row->visible && row->logit && row->score && row->weight && row->o)
        return ATTN_OK;
    attn_ref_row_destroy(row);
    return ATTN_ERR_MEMORY;
}

void attn_ref_row_destroy(attn_ref_row *row)
{
    free(row->reached);
    free(row->visible);
    free(row->logit);
    free(row->score);
    free(row->weight);
    free(row->o);
    memset(row, 0, sizeof *row);
}
