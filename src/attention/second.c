/* The second sweep: exact weights p = e^(s - lse) once the rows are finished. Scores are made again by the
 * same kernels, so each weight is the one the forward pass used; it is summed by column, written out where
 * asked for, or looked up for single pairs. */
#include <math.h>

#include "attention/block.h"

/* The finished rows of a head, as the weights kernel wants them. */
static void call_for_group(struct attn_weights_call *call, const struct attn_block *block,
                           const struct attn_run_state *run, const struct attn_place *place,
                           const struct attn_scratch *scratch, int group)
{
    const int group_rows = run->plan->kernels->rows;
    const int row = group * group_rows;
    const int first = block->key_first[group];
    int64_t at = attn_run_row(run, place, block->row_begin + row);
    *call = (struct attn_weights_call){
        .scores = scratch->scores + (int64_t)row * ATTN_SCORE_STRIDE + first,
        .rows = block->rows - row < group_rows ? block->rows - row : group_rows,
        .keys = block->key_last[group] - first,
        .reference = run->workspace.reference + at,
        .inverse = run->workspace.inverse + at,
    };
}

/* Add what a block of rows gives to each key of a block of keys: f32 within the block, double across. */
static void add_columns(const struct attn_block *block, const struct attn_run_state *run,
                        const struct attn_place *place, struct attn_scratch *scratch,
                        double *totals)
{
    memset(scratch->column_sums, 0, ATTN_BLOCK_KEYS * sizeof(float));
    for (int group = 0; group < block->groups; group++) {
        struct attn_weights_call call;
        call_for_group(&call, block, run, place, scratch, group);
        call.column_sums = scratch->column_sums + block->key_first[group];
        run->plan->kernels->weights(&call);
    }
    for (int j = 0; j < block->keys; j++)
        totals[j] += (double)scratch->column_sums[j];
}

/* Column mass of ATTN_COLUMN_BLOCKS blocks of keys: all rows, in order; queries are packed once for all of
 * these blocks. */
void attn_task_columns(void *argument, int64_t index, int worker)
{
    struct attn_run_state *run = argument;
    const struct attn_plan *plan = run->plan;
    const int64_t group_heads = plan->problem.heads / plan->problem.kv_heads;
    const int64_t stripes = attn_int64_div_up(run->key_blocks, ATTN_COLUMN_BLOCKS);
    const int64_t head = index / stripes, first = index % stripes * ATTN_COLUMN_BLOCKS;
    const int64_t last = attn_int64_min(first + ATTN_COLUMN_BLOCKS, run->key_blocks);
    const int64_t begin = first * plan->block_keys;
    const int64_t end = attn_int64_min(last * plan->block_keys, run->args->keys);
    struct attn_scratch scratch = attn_workspace_scratch(&run->workspace, plan, worker);
    struct attn_place place = attn_run_place(run, head / group_heads, head % group_heads);
    struct attn_mask mask = attn_run_mask(run, place.batch, place.head);

    for (int64_t j = 0; j < end - begin; j++)
        scratch.column_totals[j] = 0.0;
    for (int64_t row = 0; row < run->args->queries; row += run->row_blocks.rows) {
        struct attn_block block;
        int rows = (int)attn_int64_min(run->row_blocks.rows, run->args->queries - row);
        if (attn_mask_tile(&mask, row, row + rows, begin, end) == ATTN_TILE_SKIP)
            continue;
        attn_block_rows(&block, run, &place, &scratch, row, rows);
        for (int64_t key_block = first; key_block < last; key_block++)
            if (attn_block_scores(&block, run, &place, &mask, &scratch, key_block, false))
                add_columns(&block, run, &place, &scratch,
                            scratch.column_totals + (key_block - first) * plan->block_keys);
    }
    int64_t at = (place.batch * plan->problem.heads + place.head) * run->args->keys + begin;
    for (int64_t j = 0; j < end - begin; j++)
        run->statistics->column_mass[at + j] = (float)scratch.column_totals[j];
}

void attn_task_viewers(void *argument, int64_t index, int worker)
{
    (void)worker;
    struct attn_run_state *run = argument;
    const int64_t heads = run->plan->problem.heads;
    struct attn_mask mask = attn_run_mask(run, index / heads, index % heads);
    attn_mask_viewers(&mask, run->args->queries,
                      run->statistics->column_viewers + index * run->args->keys);
}

/* One request, if its kv head is in the flight. */
void attn_task_weights(void *argument, int64_t index, int worker)
{
    struct attn_run_state *run = argument;
    const struct attn_plan *plan = run->plan;
    const int64_t keys = run->args->keys;
    const attn_weights_request *request = &run->statistics->weights[index];
    const int64_t group_heads = plan->problem.heads / plan->problem.kv_heads;
    const int64_t pair =
        request->batch * plan->problem.kv_heads + request->head / group_heads - run->flight_first;
    if (pair < 0 || pair >= run->flight_count)
        return;
    struct attn_scratch scratch = attn_workspace_scratch(&run->workspace, plan, worker);
    struct attn_place place = attn_run_place(run, pair, request->head % group_heads);
    struct attn_mask mask = attn_run_mask(run, place.batch, place.head);

    for (int64_t row = request->row_begin; row < request->row_end; row += run->row_blocks.rows) {
        struct attn_block block;
        int rows = (int)attn_int64_min(run->row_blocks.rows, request->row_end - row);
        float *out = request->weights + (row - request->row_begin) * keys;
        memset(out, 0, (size_t)rows * (size_t)keys * sizeof(float));
        attn_block_rows(&block, run, &place, &scratch, row, rows);
        for (int64_t key_block = 0; key_block < run->key_blocks; key_block++) {
            if (!attn_block_scores(&block, run, &place, &mask, &scratch, key_block, false))
                continue;
            for (int group = 0; group < block.groups; group++) {
                struct attn_weights_call call;
                call_for_group(&call, &block, run, &place, &scratch, group);
                int first = block.key_first[group];
                call.weights =
                    out + (int64_t)group * plan->kernels->rows * keys + block.key_begin + first;
                call.weights_stride = keys;
                call.weights_keys = attn_int64_min(call.keys, block.keys - first);
                plan->kernels->weights(&call);
            }
        }
    }
}

/* One pair, straight from its query and key. */
void attn_task_pair(void *argument, int64_t index, int worker)
{
    (void)worker;
    struct attn_run_state *run = argument;
    const struct attn_plan *plan = run->plan;
    const attn_problem *p = &plan->problem;
    const attn_pair *pair = &run->statistics->pairs[index];
    struct attn_mask mask = attn_run_mask(run, pair->batch, pair->head);
    struct attn_row_keys row = attn_mask_row(&mask, pair->query);
    if (!attn_row_sees(&row, pair->key) || attn_mask_excludes(&mask, pair->key)) {
        run->statistics->pair_weights[index] = 0.0f;
        return;
    }
    const int64_t kv_head = pair->head / (p->heads / p->kv_heads);
    const float *q = (const float *)run->args->q + pair->batch * p->q.stride[0] +
                     pair->head * p->q.stride[1] + pair->query * p->q.stride[2];
    const float *k = (const float *)run->args->k + pair->batch * p->k.stride[0] +
                     kv_head * p->k.stride[1] + pair->key * p->k.stride[2];
    double score = 0.0;
    for (int64_t t = 0; t < p->head_size; t++)
        score += (double)q[t] * (double)k[t];
    score *= (double)plan->query_scale;
    if (plan->softcap_base2 > 0.0f)
        score = (double)plan->softcap_base2 * tanh(score / (double)plan->softcap_base2);
    int64_t at = (pair->batch * p->heads + pair->head) * run->args->queries + pair->query;
    double weight =
        exp2(score - (double)run->workspace.reference[at]) * (double)run->workspace.inverse[at];
    /* a score in double may pass the f32 maximum it is told against; NaN stays */
    run->statistics->pair_weights[index] = weight > 1.0 ? 1.0f : (float)weight;
}
