/* The launches of a run, in a fixed order: pack the kv heads of a flight, run every head that reads them,
 * sweep a second time where asked; then the next flight. Tasks of one launch never wait for each other. */
#include "attention/run.h"

#include "attention/cascade.h"
#include "attention/decode.h"
#include "attention/kept.h"
#include "exec/exec.h"

static attn_status run_flight(struct attn_run_state *run, const attn_executor *executor,
                              attn_error *error)
{
    const struct attn_plan *plan = run->plan;
    const int64_t group_heads = plan->problem.heads / plan->problem.kv_heads;
    const int64_t heads = run->flight_count * group_heads;
    attn_status status = ATTN_OK;
    /* without queries keys are not read; what the longest sequence does not share, no other does */
    if (run->row_blocks.count > 0 &&
        attn_plan_packing(plan, run->args->queries) == ATTN_PACK_SHARED)
        status =
            attn_launch(executor, run->flight_count * run->key_blocks, attn_task_pack, run, error);
    if (!status)
        status =
            attn_launch(executor, heads * run->row_blocks.count, attn_task_forward, run, error);
    if (!status && plan->column_sweep)
        status =
            attn_launch(executor, heads * attn_int64_div_up(run->key_blocks, ATTN_COLUMN_BLOCKS),
                        attn_task_columns, run, error);
    if (!status && attn_plan_wants(plan, ATTN_STAT_WEIGHTS) && run->row_blocks.count > 0)
        status =
            attn_launch(executor, run->statistics->weights_count, attn_task_weights, run, error);
    return status;
}

/* What is told of the weights that decoded rows keep. */
static attn_status tell_kept(struct attn_run_state *run, const attn_executor *executor,
                             attn_error *error)
{
    const struct attn_plan *plan = run->plan;
    const attn_problem *p = &plan->problem;
    const int64_t heads = run->args->batch * run->decode_count * (p->heads / p->kv_heads);
    attn_status status = ATTN_OK;
    if (plan->column_sweep)
        status = attn_launch(executor, heads * attn_key_chunks(plan, run->key_blocks),
                             attn_task_kept_columns, run, error);
    if (!status && attn_plan_wants(plan, ATTN_STAT_MASS_SEGMENTS))
        status = attn_launch(executor, heads, attn_task_kept_segments, run, error);
    if (!status && attn_plan_wants(plan, ATTN_STAT_WEIGHTS))
        status = attn_launch(executor, run->statistics->weights_count, attn_task_kept_weights, run,
                             error);
    if (!status && attn_plan_wants(plan, ATTN_STAT_PAIRS))
        status =
            attn_launch(executor, run->statistics->pairs_count, attn_task_kept_pair, run, error);
    return status;
}

/* The sequences of a cache that have few queries. */
static attn_status decode(struct attn_run_state *run, const attn_executor *executor,
                          attn_error *error)
{
    const struct attn_plan *plan = run->plan;
    const attn_problem *p = &plan->problem;
    const int64_t batch = run->args->batch;
    const int64_t queries = attn_decoded_queries(plan, run->args->queries);
    const int64_t chunks = attn_key_chunks(plan, run->key_blocks);
    attn_status status = ATTN_OK;
    if (p->heads == 0 || batch == 0)
        return ATTN_OK;
    const int64_t tiles = attn_decode_tiles(plan, queries);
    attn_cascade_find(run, attn_executor_threads(executor));
    for (int64_t first = 0; !status && first < p->kv_heads; first += plan->decode_heads) {
        run->decode_first = first;
        run->decode_count = attn_int64_min(plan->decode_heads, p->kv_heads - first);
        run->decode_together = attn_decode_heads_together(run, attn_executor_threads(executor));
        const int64_t pairs = batch * run->decode_count;
        const int64_t sets = batch * attn_int64_div_up(run->decode_count, run->decode_together);
        if (queries > 0)
            status = attn_launch(executor, sets * tiles * chunks, attn_task_decode, run, error);
        if (!status && queries > 0 && chunks > 1)
            status = attn_launch(executor, pairs * (p->heads / p->kv_heads), attn_task_merge_chunks,
                                 run, error);
        if (!status && plan->keeps_weights)
            status = tell_kept(run, executor, error);
    }
    return status;
}

/* What decoding leaves: sequences of more queries, and what is behind the end of padded ones. */
static attn_status run_flights(struct attn_run_state *run, const attn_executor *executor,
                               attn_error *error)
{
    const struct attn_plan *plan = run->plan;
    const attn_problem *p = &plan->problem;
    const int64_t pairs = p->heads > 0 ? run->args->batch * p->kv_heads : 0;
    const bool one_hot = !plan->cached || run->args->queries > plan->in_place_rows;
    attn_status status = ATTN_OK;
    if (plan->segments.count > 0 && one_hot)
        status = attn_launch(executor, run->args->batch * run->key_blocks, attn_task_segments, run,
                             error);
    for (int64_t first = 0; !status && first < pairs; first += plan->flight) {
        run->flight_first = first;
        run->flight_count = attn_int64_min(plan->flight, pairs - first);
        status = run_flight(run, executor, error);
    }
    return status;
}

attn_status attn_run_forward(struct attn_run_state *run, const attn_executor *executor,
                             attn_error *error)
{
    const struct attn_plan *plan = run->plan;
    const attn_problem *p = &plan->problem;
    const attn_args *args = run->args;
    attn_status status = ATTN_OK;
    run->row_blocks = attn_row_blocks(args->queries, plan->kernels->rows);
    run->key_blocks = attn_key_blocks(plan, args->keys);
    run->scores = plan->constant_given ? &plan->constant : args->scores;
    run->statistics = plan->wanted.set != 0 ? args->statistics : NULL;

    if (plan->cached)
        status = decode(run, executor, error);
    if (!status &&
        (!plan->cached || args->queries > plan->in_place_rows || p->lengths == ATTN_LENGTHS_PADDED))
        status = run_flights(run, executor, error);
    if (!status && attn_plan_wants(plan, ATTN_STAT_COLUMN_VIEWERS) && !plan->reads_masks)
        status = attn_launch(executor, args->batch * p->heads, attn_task_viewers, run, error);
    if (!status && attn_plan_wants(plan, ATTN_STAT_PAIRS))
        status = attn_launch(executor, run->statistics->pairs_count, attn_task_pair, run, error);
    return status;
}
