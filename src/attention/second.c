/* The second sweep: exact weights p = e^(s - lse) once the rows are finished. Scores are made again by the
 * same kernels, so each weight is the one the forward pass used; it is summed by column, written out where
 * asked for, or looked up for single pairs. */
#include <math.h>

#include "attention/block.h"
#include "attention/cached.h"
#include "attention/turned.h"
#include "base/half.h"
#include "plan/lengths.h"

/* Whether another file tells it: of the weights that decoded rows keep (attention/kept.c). */
static bool decoded(const struct attn_plan *plan, const struct attn_place *place)
{
    return plan->cached && place->packing == ATTN_PACK_NOTHING;
}

/* Keys of a sequence in arrays of keys, with what is behind its own where sequences lie that far apart. */
static int64_t keys_of_arrays(const struct attn_run_state *run, const struct attn_place *place)
{
    const struct attn_plan *plan = run->plan;
    return attn_is_ragged(plan->problem.lengths) && !plan->cached ? place->keys : run->args->keys;
}

/* The finished rows of a head, as the weights kernel wants them. */
static void call_for_group(struct attn_weights_call *call, const struct attn_block *block,
                           const struct attn_run_state *run, const struct attn_place *place,
                           const struct attn_scratch *scratch, int group)
{
    const int group_rows = run->plan->kernels->rows;
    const int row = group * group_rows;
    const int first = block->key_first[group];
    int64_t at = place->rows_at + block->row_begin + row;
    *call = (struct attn_weights_call){
        .scores = scratch->scores + (int64_t)row * ATTN_SCORE_STRIDE + first,
        .rows = block->rows - row < group_rows ? block->rows - row : group_rows,
        .keys = block->key_last[group] - first,
        .reference = run->workspace.reference + at,
        .inverse = run->workspace.inverse + at,
    };
}

/* Which rows see each key, where masks are read. */
static void count_viewers(const struct attn_block *block, const struct attn_plan *plan,
                          const struct attn_scratch *scratch, int32_t *viewers)
{
    for (int row = 0; row < block->rows; row++) {
        int group = row / plan->kernels->rows;
        int last = block->key_last[group] < block->keys ? block->key_last[group] : block->keys;
        const uint8_t *visible = scratch->visible + (int64_t)row * ATTN_BLOCK_KEYS;
        for (int j = block->key_first[group]; j < last; j++)
            viewers[j] += block->marked ? visible[j] : 1;
    }
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
    struct attn_scratch scratch = attn_workspace_scratch(&run->workspace, plan, worker);
    struct attn_place place = attn_run_place(run, head / group_heads, head % group_heads);
    struct attn_shape shape = attn_run_shape(run, &place);
    const bool count = plan->reads_masks && attn_plan_wants(plan, ATTN_STAT_COLUMN_VIEWERS);
    const int64_t begin = first * plan->block_keys;
    const int64_t span = ATTN_COLUMN_BLOCKS * plan->block_keys;
    const bool add = run->statistics->column_add;
    const int64_t all_keys = add ? place.keys : keys_of_arrays(run, &place);
    const int64_t written = attn_int64_max(0, attn_int64_min(span, all_keys - begin));
    const int64_t keys = attn_int64_max(0, attn_int64_min(span, place.keys - begin));
    const int64_t blocks = attn_int64_div_up(keys, plan->block_keys);

    if (decoded(plan, &place))
        return;
    memset(scratch.column_totals, 0, (size_t)written * sizeof(double));
    memset(scratch.column_viewers, 0, (size_t)written * sizeof(int32_t));
    for (int64_t row = 0; keys > 0 && row < place.queries; row += place.blocks.rows) {
        struct attn_block block;
        int rows = (int)attn_int64_min(place.blocks.rows, place.queries - row);
        if (attn_mask_tile(&shape.mask, row, row + rows, begin, begin + keys) == ATTN_TILE_SKIP)
            continue;
        attn_block_rows(&block, run, &place, &scratch, row, rows);
        for (int64_t i = 0; i < blocks; i++) {
            if (!attn_block_scores(&block, run, &place, &shape, &scratch, first + i, false))
                continue;
            if (count)
                count_viewers(&block, plan, &scratch,
                              scratch.column_viewers + i * plan->block_keys);
            add_columns(&block, run, &place, &scratch,
                        scratch.column_totals + i * plan->block_keys);
        }
    }
    for (int64_t j = 0; j < written; j++) {
        const int64_t at = place.keys_at + begin + j;
        float *mass = run->statistics->column_mass + at;
        int32_t *viewers = run->statistics->column_viewers + at;
        if (attn_plan_wants(plan, ATTN_STAT_COLUMN_MASS))
            *mass = (float)((add ? (double)*mass : 0.0) + scratch.column_totals[j]);
        if (count)
            *viewers = (add ? *viewers : 0) + scratch.column_viewers[j];
    }
}

enum { VIEWERS_ADDED = ATTN_BLOCK_KEYS * ATTN_COLUMN_BLOCKS }; /* keys that a scratch holds */

void attn_task_viewers(void *argument, int64_t index, int worker)
{
    struct attn_run_state *run = argument;
    const struct attn_plan *plan = run->plan;
    const int64_t heads = plan->problem.heads;
    struct attn_place place = attn_run_sequence(run, index / heads, index % heads);
    struct attn_mask mask = attn_run_mask(run, &place);
    int32_t *viewers = run->statistics->column_viewers + place.keys_at;
    if (run->statistics->column_add) {
        int32_t *more = attn_workspace_scratch(&run->workspace, plan, worker).column_viewers;
        for (int64_t begin = 0; begin < place.keys; begin += VIEWERS_ADDED) {
            int64_t end = attn_int64_min(place.keys, begin + VIEWERS_ADDED);
            attn_mask_viewers(&mask, place.queries, begin, end, more);
            for (int64_t key = begin; key < end; key++)
                viewers[key] += more[key - begin];
        }
        return;
    }
    attn_mask_viewers(&mask, place.queries, 0, place.keys, viewers);
    const int64_t all = keys_of_arrays(run, &place);
    for (int64_t key = place.keys; key < all; key++)
        viewers[key] = 0;
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
    struct attn_shape shape = attn_run_shape(run, &place);

    if (decoded(plan, &place))
        return;
    for (int64_t row = request->row_begin; row < request->row_end; row += place.blocks.rows) {
        struct attn_block block;
        int rows = (int)attn_int64_min(place.blocks.rows, request->row_end - row);
        float *out = request->weights + (row - request->row_begin) * keys;
        memset(out, 0, (size_t)rows * (size_t)keys * sizeof(float));
        attn_block_rows(&block, run, &place, &scratch, row, rows);
        for (int64_t key_block = 0; key_block < place.key_blocks; key_block++) {
            if (!attn_block_scores(&block, run, &place, &shape, &scratch, key_block, false))
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

static struct attn_rows_at key_of_pair(const struct attn_run_state *run,
                                       const struct attn_place *place, struct attn_scratch *scratch,
                                       int64_t key)
{
    if (!run->plan->cached)
        return attn_key_rows(run, place, scratch, key, 1, 1);
    const int64_t stride = attn_cached_gather_keys(run, place, scratch, key, 1);
    if (run->plan->turn)
        attn_turn_gathered(run, place, scratch, key, 1, stride);
    return (struct attn_rows_at){scratch->gathered, ATTN_F32, stride};
}

/* One pair, straight from its query and key. */
void attn_task_pair(void *argument, int64_t index, int worker)
{
    struct attn_run_state *run = argument;
    const struct attn_plan *plan = run->plan;
    const attn_problem *p = &plan->problem;
    const attn_pair *pair = &run->statistics->pairs[index];
    struct attn_place place = attn_run_sequence(run, pair->batch, pair->head);
    struct attn_shape shape = attn_run_shape(run, &place);
    if (decoded(plan, &place))
        return;
    struct attn_scratch scratch = attn_workspace_scratch(&run->workspace, plan, worker);
    struct attn_rows_at q = attn_query_rows(run, &place, &scratch, pair->query, 1, 0);
    struct attn_rows_at k = key_of_pair(run, &place, &scratch, pair->key);
    double score = 0.0;
    for (int64_t t = 0; t < p->head_size; t++)
        score += (double)attn_element_value(q.at, q.dtype, t) *
                 (double)attn_element_value(k.at, k.dtype, t);
    const double log2_e = 1.4426950408889634;
    score = log2_e * attn_shape_pair(run, &place, &shape, pair->query, pair->key,
                                     score * (double)plan->query_scale / log2_e);
    int64_t at = place.rows_at + pair->query;
    double weight = score == -INFINITY ? 0.0
                                       : exp2(score - (double)run->workspace.reference[at]) *
                                             (double)run->workspace.inverse[at];
    /* a score in double may pass the f32 maximum it is told against; NaN stays */
    run->statistics->pair_weights[index] = weight > 1.0 ? 1.0f : (float)weight;
}
