/* What forward tells by a second sweep, decoding tells of weights that it kept: reading keys again would cost
 * half as much as all of it, and the weights of few rows are little beside keys and values.
 *
 * A kept weight is e = 2^(s - r) for the row's reference r as it was after the block. Below 0 it is no weight:
 * HIDDEN where masks that are read hide the key, NOTHING where else the score was -inf; p is 0 there even in a
 * row that is NaN, where that of an e which underflowed to 0 is NaN. With the finished reference R and sum l,
 * p = e 2^(r - R) / l: as each block has one factor, no exponential is taken twice. Numbers stand by a row's own keys and queries, sums are in the order
 * of the queries, so nothing depends on pages, company or who runs what. */
#include "attention/kept.h"

#include <math.h>

static const float HIDDEN = -1.0f, NOTHING = -2.0f;

static int64_t group_of(const struct attn_plan *plan)
{
    return plan->problem.heads / plan->problem.kv_heads;
}

/* The number of a row among those kept. */
static int64_t row_of(const struct attn_run_state *run, const struct attn_place *place,
                      int64_t query)
{
    const int64_t group = group_of(run->plan);
    const int64_t head = (place->kv_head - run->decode_first) * run->args->batch + place->batch;
    return (head * group + place->head % group) *
               attn_decoded_queries(run->plan, run->args->queries) +
           query;
}

static float *weights_at(const struct attn_run_state *run, int64_t row, int64_t key)
{
    return run->workspace.kept + row * run->key_blocks * run->plan->block_keys + key;
}

static float *reference_at(const struct attn_run_state *run, int64_t row,
                           const struct attn_block *block)
{
    return run->workspace.kept_reference + row * run->key_blocks +
           block->key_begin / run->plan->block_keys;
}

/* Keys [first, last) of the block are those of the query's group. */
static void find_group(const struct attn_plan *plan, const struct attn_block *block, int query,
                       int *first, int *last)
{
    const int group = query / plan->kernels->rows;
    *first = block->key_first[group];
    *last = block->key_last[group] < block->keys ? block->key_last[group] : block->keys;
}

static bool has_nothing(const float *scores, int first, int last)
{
    int found = 0;
    for (int j = first; j < last; j++)
        found |= scores[j] == -INFINITY;
    return found;
}

/* Few blocks have such a score, or keys outside a group: for the others the reference 0 says that there is
 * nothing to look for. */
void attn_kept_scores(const struct attn_run_state *run, const struct attn_place *place,
                      const struct attn_block *block, const struct attn_scratch *scratch)
{
    for (int query = 0; query < block->rows; query++) {
        const int64_t row = row_of(run, place, query);
        const float *scores = scratch->scores + (int64_t)query * ATTN_SCORE_STRIDE;
        int first, last;
        find_group(run->plan, block, query, &first, &last);
        const bool all = first == 0 && last == block->keys && !has_nothing(scores, first, last);
        *reference_at(run, row, block) = all ? 0.0f : -INFINITY;
        if (all)
            continue;
        float *kept = weights_at(run, row, block->key_begin);
        for (int j = 0; j < block->keys; j++)
            kept[j] = j < first || j >= last ? -INFINITY : scores[j];
    }
}

void attn_kept_block(const struct attn_run_state *run, const struct attn_place *place,
                     const struct attn_block *block, const struct attn_scratch *scratch,
                     const float *weights)
{
    const struct attn_plan *plan = run->plan;
    const bool viewed = plan->reads_masks && attn_plan_wants(plan, ATTN_STAT_COLUMN_VIEWERS);
    for (int query = 0; query < block->rows; query++) {
        const int64_t row = row_of(run, place, query);
        float *kept = weights_at(run, row, block->key_begin),
              *reference = reference_at(run, row, block);
        const float *from = weights ? weights + (int64_t)query * ATTN_SCORE_STRIDE : NULL;
        const bool all = *reference == 0.0f;
        *reference = weights ? scratch->rows[query].reference : -INFINITY;
        if (weights && all)
            memcpy(kept, from, (size_t)block->keys * sizeof(float));
        for (int j = 0; weights && !all && j < block->keys; j++)
            kept[j] = kept[j] == -INFINITY ? NOTHING : from[j];
        for (int j = 0; !weights && j < block->keys; j++)
            kept[j] = HIDDEN;
        if (!weights || !viewed || !block->marked)
            continue;
        int first, last;
        find_group(plan, block, query, &first, &last);
        const uint8_t *visible = scratch->visible + (int64_t)query * ATTN_BLOCK_KEYS;
        for (int j = 0; j < block->keys; j++)
            if (j < first || j >= last || !visible[j])
                kept[j] = HIDDEN;
    }
}

/* What the weights of a row in key block `block` are multiplied by. */
static float factor_of(const struct attn_run_state *run, const struct attn_place *place,
                       int64_t query, int64_t block)
{
    const struct attn_workspace *w = &run->workspace;
    const int64_t at = place->rows_at + query;
    const float reference = w->kept_reference[row_of(run, place, query) * run->key_blocks + block];
    if (reference == -INFINITY)
        return 0.0f;
    return (float)(exp2((double)reference - (double)w->reference[at]) * (double)w->inverse[at]);
}

/* 0 for what is no weight, even in a row that is NaN. */
static inline float weight_of(float kept, float factor)
{
    return kept < 0.0f ? 0.0f : kept * factor;
}

/* Place of task (batch, head decoded now); false if it was not decoded. */
static bool find_place(const struct attn_run_state *run, int64_t index, struct attn_place *place)
{
    const int64_t heads = run->decode_count * group_of(run->plan);
    *place = attn_run_sequence(run, index / heads,
                               run->decode_first * group_of(run->plan) + index % heads);
    return place->packing == ATTN_PACK_NOTHING;
}

/* ---- columns ---- */

/* One query: sums are its weights. */
static void store_single(const float *kept, float factor, int keys, bool add, float *mass)
{
    if (add)
        for (int j = 0; j < keys; j++)
            mass[j] += weight_of(kept[j], factor);
    else
        for (int j = 0; j < keys; j++)
            mass[j] = weight_of(kept[j], factor);
}

static void store_block(const struct attn_run_state *run, const struct attn_place *place,
                        const struct attn_scratch *scratch, int64_t block, int keys, float *mass)
{
    const bool add = run->statistics->column_add;
    const int64_t begin = block * run->plan->block_keys;
    double *totals = scratch->column_totals;
    if (place->queries == 1) {
        store_single(weights_at(run, row_of(run, place, 0), begin), factor_of(run, place, 0, block),
                     keys, add, mass);
        return;
    }
    for (int j = 0; j < keys; j++)
        totals[j] = add ? (double)mass[j] : 0.0;
    for (int64_t query = 0; query < place->queries; query++) {
        const float *kept = weights_at(run, row_of(run, place, query), begin);
        const float factor = factor_of(run, place, query, block);
        for (int j = 0; j < keys; j++)
            totals[j] += (double)weight_of(kept[j], factor);
    }
    for (int j = 0; j < keys; j++)
        mass[j] = (float)totals[j];
}

static void count_block(const struct attn_run_state *run, const struct attn_place *place,
                        int64_t block, int keys, int32_t *viewers)
{
    for (int j = 0; !run->statistics->column_add && j < keys; j++)
        viewers[j] = 0;
    for (int64_t query = 0; query < place->queries; query++) {
        const float *kept =
            weights_at(run, row_of(run, place, query), block * run->plan->block_keys);
        for (int j = 0; j < keys; j++)
            viewers[j] += kept[j] != HIDDEN;
    }
}

void attn_task_kept_columns(void *argument, int64_t index, int worker)
{
    struct attn_run_state *run = argument;
    const struct attn_plan *plan = run->plan;
    const attn_statistics *s = run->statistics;
    const int64_t chunks = attn_key_chunks(plan, run->key_blocks), chunk = index % chunks;
    const bool mass = attn_plan_wants(plan, ATTN_STAT_COLUMN_MASS);
    const bool count = plan->reads_masks && attn_plan_wants(plan, ATTN_STAT_COLUMN_VIEWERS);
    struct attn_place place;
    if (!find_place(run, index / chunks, &place))
        return;
    const struct attn_scratch scratch = attn_workspace_scratch(&run->workspace, plan, worker);
    const int64_t end = attn_int64_min((chunk + 1) * plan->chunk_blocks, run->key_blocks);
    for (int64_t block = chunk * plan->chunk_blocks; block < end; block++) {
        const int64_t begin = block * plan->block_keys, at = place.keys_at + begin;
        const int64_t all = attn_int64_min(plan->block_keys, run->args->keys - begin);
        const int64_t keys = attn_int64_max(0, attn_int64_min(all, place.keys - begin));
        if (mass && keys > 0) /* behind the sequence's keys nothing was kept */
            store_block(run, &place, &scratch, block, (int)keys, s->column_mass + at);
        if (count && keys > 0)
            count_block(run, &place, block, (int)keys, s->column_viewers + at);
        for (int64_t j = keys; !s->column_add && j < all; j++) {
            if (mass)
                s->column_mass[at + j] = 0.0f;
            if (count)
                s->column_viewers[at + j] = 0;
        }
    }
}

/* ---- segments ---- */

/* Keys of one segment mostly lie together: sums of runs, in eight strands. */
static double sum_run(const float *kept, int keys)
{
    enum { STRANDS = 8 };
    double strand[STRANDS] = {0};
    int j = 0;
    for (; j + STRANDS <= keys; j += STRANDS)
        for (int i = 0; i < STRANDS; i++)
            strand[i] += (double)weight_of(kept[j + i], 1.0f);
    for (int i = 0; j < keys; i++, j++)
        strand[i] += (double)weight_of(kept[j], 1.0f);
    return ((strand[0] + strand[1]) + (strand[2] + strand[3])) +
           ((strand[4] + strand[5]) + (strand[6] + strand[7]));
}

static void segments_of_row(const struct attn_run_state *run, const struct attn_place *place,
                            int64_t query)
{
    const struct attn_plan *plan = run->plan;
    const uint8_t *ids = run->statistics->segment_ids + place->batch * run->args->keys;
    const int32_t count = plan->wanted.segments;
    float *to = run->statistics->mass_segments + (place->rows_at + query) * count;
    double mass[UINT8_MAX + 1] = {0};
    for (int64_t block = 0; block < place->key_blocks; block++) {
        const int64_t begin = block * plan->block_keys;
        const int64_t end = attn_int64_min(place->keys, begin + plan->block_keys);
        const double factor = (double)factor_of(run, place, query, block);
        const float *kept = weights_at(run, row_of(run, place, query), 0);
        for (int64_t j = begin, next; j < end; j = next) {
            for (next = j + 1; next < end && ids[next] == ids[j];)
                next++;
            mass[ids[j]] += factor * sum_run(kept + j, (int)(next - j));
        }
    }
    const float inverse =
        run->workspace.inverse[place->rows_at + query]; /* NaN reaches every segment */
    for (int32_t i = 0; i < count; i++)
        to[i] = inverse != inverse ? inverse : (float)mass[i];
}

void attn_task_kept_segments(void *argument, int64_t index, int worker)
{
    (void)worker;
    struct attn_run_state *run = argument;
    struct attn_place place;
    if (!find_place(run, index, &place))
        return;
    for (int64_t query = 0; query < place.queries; query++)
        segments_of_row(run, &place, query);
}

/* ---- chosen weights ---- */

static bool decoded_now(const struct attn_run_state *run, const struct attn_place *place)
{
    return place->packing == ATTN_PACK_NOTHING && place->kv_head >= run->decode_first &&
           place->kv_head < run->decode_first + run->decode_count;
}

void attn_task_kept_weights(void *argument, int64_t index, int worker)
{
    (void)worker;
    struct attn_run_state *run = argument;
    const attn_weights_request *request = &run->statistics->weights[index];
    const struct attn_place place = attn_run_sequence(run, request->batch, request->head);
    if (!decoded_now(run, &place))
        return;
    for (int64_t query = request->row_begin; query < request->row_end; query++) {
        float *to = request->weights + (query - request->row_begin) * run->args->keys;
        const float *kept = weights_at(run, row_of(run, &place, query), 0);
        for (int64_t block = 0; block < place.key_blocks; block++) {
            const int64_t begin = block * run->plan->block_keys;
            const int64_t end = attn_int64_min(place.keys, begin + run->plan->block_keys);
            const float factor = factor_of(run, &place, query, block);
            for (int64_t key = begin; key < end; key++)
                to[key] = weight_of(kept[key], factor);
        }
        for (int64_t key = place.keys; key < run->args->keys; key++)
            to[key] = 0.0f;
    }
}

void attn_task_kept_pair(void *argument, int64_t index, int worker)
{
    (void)worker;
    struct attn_run_state *run = argument;
    const attn_pair *pair = &run->statistics->pairs[index];
    const struct attn_place place = attn_run_sequence(run, pair->batch, pair->head);
    if (decoded_now(run, &place))
        run->statistics->pair_weights[index] =
            weight_of(*weights_at(run, row_of(run, &place, pair->query), pair->key),
                      factor_of(run, &place, pair->query, pair->key / run->plan->block_keys));
}
