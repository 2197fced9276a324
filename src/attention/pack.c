/* Packing: each key and value once per run, for all query blocks and all heads of the group. */
#include "attention/cached.h"
#include "attention/turned.h"
#include "plan/lengths.h"

void attn_pack_keys(const struct attn_run_state *run, const struct attn_place *place,
                    struct attn_scratch *scratch, int64_t begin, int64_t keys, float *packed)
{
    const struct attn_plan *plan = run->plan;
    const int columns = plan->kernels->columns;
    int64_t gathered = 0;
    if (plan->cached)
        gathered = attn_cached_gather_keys(run, place, scratch, begin, (int)keys);
    if (plan->cached && plan->turn)
        attn_turn_gathered(run, place, scratch, begin, (int)keys, gathered);
    for (int64_t key = 0; key < keys; key += columns) {
        int used = (int)attn_int64_min(columns, keys - key);
        struct attn_rows_at from = {scratch->gathered + key * gathered, ATTN_F32, gathered};
        if (!plan->cached)
            from = attn_key_rows(run, place, scratch, begin + key, used, 0);
        plan->kernels->pack_keys(from.at, from.dtype, from.stride, used, plan->problem.head_size,
                                 packed + key * plan->key_steps);
    }
}

bool attn_pack_values(const struct attn_run_state *run, const struct attn_place *place,
                      struct attn_scratch *scratch, int64_t begin, int64_t keys, float *packed)
{
    const attn_problem *p = &run->plan->problem;
    if (run->plan->cached) {
        int64_t stride = attn_cached_gather_values(run, place, scratch, begin, (int)keys);
        return run->plan->kernels->pack_values(scratch->gathered, ATTN_F32, stride, keys,
                                               p->head_size_v, packed);
    }
    return run->plan->kernels->pack_values(attn_place_value(run, place, begin), p->v.dtype,
                                           p->v.stride[2], keys, p->head_size_v, packed);
}

void attn_task_pack(void *argument, int64_t index, int worker)
{
    struct attn_run_state *run = argument;
    const struct attn_plan *plan = run->plan;
    const attn_problem *p = &plan->problem;
    const struct attn_kernels *kernels = plan->kernels;
    const int64_t pair = index / run->key_blocks, block = index % run->key_blocks;
    const int64_t begin = block * plan->block_keys;
    struct attn_place place = attn_run_place(run, pair, 0);
    const int64_t keys = attn_int64_min(plan->block_keys, place.keys - begin);
    if (keys <= 0 || place.queries == 0 || place.packing != ATTN_PACK_SHARED)
        return;

    struct attn_scratch scratch = attn_workspace_scratch(&run->workspace, plan, worker);
    attn_pack_keys(run, &place, &scratch, begin, keys,
                   run->workspace.keys + pair * plan->packed_keys + begin * plan->key_steps);
    if (!run->args->o)
        return;
    float *packed = run->workspace.values + pair * plan->packed_values +
                    begin / kernels->pair * plan->values.count * kernels->columns;
    bool non_finite = attn_pack_values(run, &place, &scratch, begin, keys, packed);
    run->workspace.non_finite[pair * attn_key_blocks(plan, p->keys) + block] = non_finite;
}

/* Segment ids as one-hot rows: the mass on each segment is then one more product with the weights. */
void attn_task_segments(void *argument, int64_t index, int worker)
{
    (void)worker;
    struct attn_run_state *run = argument;
    const struct attn_plan *plan = run->plan;
    const int columns = plan->kernels->columns;
    const int64_t batch = index / run->key_blocks,
                  begin = index % run->key_blocks * plan->block_keys;
    const struct attn_span span = attn_plan_key_span(plan, run->args, batch);
    const int64_t keys = attn_int64_min(plan->block_keys, span.length - begin);
    const int64_t queries = attn_query_span(plan->problem.lengths, run->args, batch).length;
    if (keys <= 0 || (plan->cached && attn_plan_packing(plan, queries) == ATTN_PACK_NOTHING))
        return;
    const int64_t blocks = attn_key_blocks(plan, plan->problem.keys);
    const int64_t per_key = (int64_t)plan->segments.count * columns;
    float *packed = run->workspace.segments + batch * blocks * plan->block_keys * per_key;
    packed += begin * per_key;
    const int64_t origin = attn_is_ragged(plan->problem.lengths) && !plan->cached
                               ? span.first
                               : batch * run->args->keys;
    const uint8_t *ids = run->statistics->segment_ids + origin + begin;

    for (int64_t i = 0; i < keys * per_key; i++)
        packed[i] = 0.0f;
    for (int64_t key = 0; key < keys; key++)
        packed[ids[key] / columns * keys * columns + key * columns + ids[key] % columns] = 1.0f;
}
