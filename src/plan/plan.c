/* Making a plan: check, choose, measure the workspace. */
#include "plan/plan.h"

#include <math.h>
#include <stdlib.h>

#include "base/error.h"
#include "exec/exec.h"
#include "plan/lengths.h"
#include "plan/tiles.h"
#include "plan/workspace.h"

enum {
    CACHED_BLOCK_KEYS = 256, /* of a block where keys come from a cache, at most */
    CACHED_CHUNK_KEYS = 512, /* about, of a chunk */
};

/* Keys of a block. Packed keys and values of one block should fill at most half of the second-level
 * cache, where the block of scores lives too. */
static int choose_block_keys(const struct attn_plan *plan)
{
    const attn_problem *problem = &plan->problem;
    int64_t channels = (problem->head_size + problem->head_size_v) / plan->kernels->pair + 1;
    int64_t fit = (int64_t)(attn_cpu_info()->caches.l2 / 2 / sizeof(float)) / channels;
    int64_t step = 64; /* a multiple of every path's columns */
    int64_t most = plan->cached ? CACHED_BLOCK_KEYS : ATTN_BLOCK_KEYS;
    fit = attn_int64_max(step, attn_int64_min(fit / step * step, most));
    return (int)fit;
}

static struct attn_panels panels_of(int64_t channels, const struct attn_kernels *kernels)
{
    struct attn_panels panels = {(int)attn_int64_div_up(channels, kernels->columns), false};
    int64_t rest = channels % kernels->columns;
    panels.half = rest > 0 && rest <= kernels->lanes;
    return panels;
}

/* Reading in place takes whole quads of keys and whole vectors of values. */
static int choose_in_place_rows(const struct attn_plan *plan)
{
    const attn_problem *p = &plan->problem;
    const struct attn_kernels *kernels = plan->kernels;
    if (plan->cached) /* its kernels take any size */
        return ATTN_IN_PLACE_ROWS;
    if (plan->turn) /* keys are turned when they are packed */
        return 0;
    bool whole = p->head_size % kernels->quad_channels == 0 && p->head_size_v % kernels->lanes == 0;
    return whole ? ATTN_IN_PLACE_ROWS : 0;
}

/* How many kv heads to pack at once: up to 64 MiB of them, at least as many as give 16 tasks. */
static int64_t choose_flight(const struct attn_plan *plan)
{
    const attn_problem *p = &plan->problem;
    int64_t pairs = p->batch * p->kv_heads;
    if (pairs == 0 || p->heads == 0)
        return 0;
    if (attn_plan_packing(plan, p->queries) != ATTN_PACK_SHARED)
        return pairs; /* nothing is kept */
    int64_t bytes = 4 * (plan->packed_keys + plan->packed_values);
    int64_t in_budget = (64 << 20) / attn_int64_max(bytes, 1);
    struct attn_row_blocks blocks = attn_row_blocks(p->queries, plan->kernels->rows);
    int64_t tasks_each = p->heads / p->kv_heads * attn_int64_max(blocks.count, 1);
    int64_t wanted = attn_int64_max(in_budget, attn_int64_div_up(16, tasks_each));
    return attn_int64_min(wanted, pairs);
}

/* How many kv heads to decode at once: all, or up to 64 MiB of kept weights. */
static int64_t choose_decode_heads(const struct attn_plan *plan)
{
    const attn_problem *p = &plan->problem;
    int64_t floats;
    if (!plan->keeps_weights || p->heads == 0)
        return p->kv_heads;
    if (!attn_int64_mul(&floats, p->batch * (p->heads / p->kv_heads),
                        attn_decoded_queries(plan, p->queries)) ||
        !attn_int64_mul(&floats, floats, p->keys))
        return 1;
    int64_t fit = (64 << 20) / (int64_t)sizeof(float) / attn_int64_max(floats, 1);
    return attn_int64_max(1, attn_int64_min(fit, p->kv_heads));
}

static void choose_softmax(struct attn_plan *plan)
{
    struct attn_row_extras *extras = &plan->extras;
    const attn_statistics_wanted *wanted = &plan->wanted;
    extras->logits =
        attn_plan_wants(plan, ATTN_STAT_MAX_LOGIT | ATTN_STAT_MAX_ABS_LOGIT | ATTN_STAT_MIN_SCORE);
    extras->max_key = attn_plan_wants(plan, ATTN_STAT_MAX_KEY);
    extras->masses =
        attn_plan_wants(plan, ATTN_STAT_MASS_SELF | ATTN_STAT_MASS_PREVIOUS | ATTN_STAT_MASS_NEXT |
                                  ATTN_STAT_MASS_FIRST | ATTN_STAT_MASS_LOCAL);
    extras->distances = attn_plan_wants(plan, ATTN_STAT_DISTANCE_MEAN | ATTN_STAT_DISTANCE_SD);
    extras->first_keys = wanted->first_keys;
    extras->local_distance = wanted->local_distance;
    extras->top_keys = attn_plan_wants(plan, ATTN_STAT_TOP_KEYS) ? wanted->top_keys : 0;

    bool all = extras->max_key || extras->masses || extras->distances || extras->top_keys > 0 ||
               attn_plan_wants(plan, ATTN_STAT_VARENTROPY | ATTN_STAT_PARTICIPATION);
    plan->softmax = all                                        ? plan->kernels->softmax_all
                    : attn_plan_wants(plan, ATTN_STAT_ENTROPY) ? plan->kernels->softmax_entropy
                                                               : plan->kernels->softmax;
    plan->column_sweep = attn_plan_wants(plan, ATTN_STAT_COLUMN_MASS) ||
                         (plan->reads_masks && attn_plan_wants(plan, ATTN_STAT_COLUMN_VIEWERS));
    plan->keeps_weights =
        plan->cached &&
        (plan->column_sweep ||
         attn_plan_wants(plan, ATTN_STAT_WEIGHTS | ATTN_STAT_PAIRS | ATTN_STAT_MASS_SEGMENTS));
    plan->second_sweep = plan->column_sweep || plan->keeps_weights ||
                         attn_plan_wants(plan, ATTN_STAT_WEIGHTS | ATTN_STAT_PAIRS);
}

/* Keep the workspace within the limit: pack fewer kv heads at a time or, if one is too many, let every task
 * pack for itself. Borders of blocks stay, and with them every bit. */
static attn_status keep_limit(struct attn_plan *plan, attn_error *error)
{
    const attn_problem *p = &plan->problem;
    const size_t limit = p->workspace_limit;
    const int threads =
        p->workspace_threads > 0 ? p->workspace_threads : attn_exec_default_threads();
    const int64_t wanted = plan->flight;
    if (limit == 0 || attn_plan_workspace(plan, threads) <= limit)
        return ATTN_OK;
    if (plan->keeps_weights)
        plan->decode_heads = attn_int64_min(plan->decode_heads, 1);
    if (attn_plan_workspace(plan, threads) <= limit)
        return ATTN_OK;
    int64_t low = 0, high = wanted; /* `low` fits (or is none), `high` does not */
    while (high - low > 1) {
        plan->flight = low + (high - low) / 2;
        bool fits = attn_plan_workspace(plan, threads) <= limit;
        *(fits ? &low : &high) = plan->flight;
    }
    plan->flight = attn_int64_max(low, attn_int64_min(wanted, 1));
    plan->flight_limited = true;
    if (low > 0)
        return ATTN_OK;
    const size_t one = attn_plan_workspace(plan, threads);
    plan->flight = wanted > 0 ? p->batch * p->kv_heads : 0; /* nothing of them is kept */
    plan->pack_in_tasks = true;
    const size_t none = attn_plan_workspace(plan, threads);
    return none <= limit
               ? ATTN_OK
               : attn_fail(error, ATTN_ERR_VALUE,
                           "problem.workspace_limit is %zu; the least that would do for %d threads "
                           "is %zu",
                           limit, threads, none < one ? none : one);
}

static attn_status choose_sizes(struct attn_plan *plan, attn_error *error)
{
    const attn_problem *p = &plan->problem;
    plan->block_keys = choose_block_keys(plan);
    plan->values = panels_of(p->head_size_v, plan->kernels);
    plan->segments = panels_of(
        attn_plan_wants(plan, ATTN_STAT_MASS_SEGMENTS) ? plan->wanted.segments : 0, plan->kernels);

    int64_t padded, padded_channels = (int64_t)plan->values.count * plan->kernels->columns;
    if (!attn_int64_round_up(&padded, p->keys, plan->block_keys) ||
        !attn_int64_mul(&plan->packed_keys, padded, plan->key_steps) ||
        !attn_int64_mul(&plan->packed_values, padded / plan->kernels->pair, padded_channels) ||
        plan->packed_keys > INT64_MAX / 64 || plan->packed_values > INT64_MAX / 64)
        return attn_fail(error, ATTN_ERR_OVERFLOW,
                         "problem.keys * head_size is more than an address can tell");
    plan->in_place_rows = choose_in_place_rows(plan);
    plan->cached_size =
        attn_int64_div_up(p->head_size, plan->kernels->lanes) * plan->kernels->lanes;
    plan->output_size = padded_channels;
    plan->chunk_blocks = (CACHED_CHUNK_KEYS + plan->block_keys - 1) / plan->block_keys;
    plan->flight = choose_flight(plan);
    plan->decode_heads = choose_decode_heads(plan);

    struct attn_workspace workspace;
    struct attn_arena arena = attn_arena_measure();
    size_t bytes;
    attn_workspace_carve(&workspace, &arena, plan, ATTN_THREADS_MAX);
    if (!attn_arena_needed(&arena, &bytes))
        return attn_fail(error, ATTN_ERR_OVERFLOW,
                         "the problem's workspace is more than an address can tell");
    return keep_limit(plan, error);
}

static attn_status choose(struct attn_plan *plan, attn_error *error)
{
    const double log2_e = 1.4426950408889634;
    const attn_problem *p = &plan->problem;
    enum attn_path path;
    attn_status status = attn_path_choose(&path, error);
    if (status)
        return status;
    /* pairs round weights to bf16, too coarse for the masses of segments that ride as values */
    bool segments = attn_plan_wants(plan, ATTN_STAT_MASS_SEGMENTS);
    plan->kernels = attn_kernels_of(path, segments || plan->cached ? ATTN_F32 : p->q.dtype);
    plan->key_steps = plan->kernels ? attn_kernels_steps(plan->kernels, p->head_size) : 0;
    if (!plan->kernels)
        return attn_fail(error, ATTN_ERR_CPU, "this build has no kernels for the path %s",
                         attn_path_name(path));

    double scale = p->scale != 0.0f ? (double)p->scale : 1.0 / sqrt((double)p->head_size);
    plan->query_scale = (float)(scale * log2_e);
    plan->softcap_base2 = (float)((double)p->softcap * log2_e);
    if (!isfinite(plan->query_scale) || !isfinite(plan->softcap_base2))
        return attn_fail(error, ATTN_ERR_VALUE,
                         "problem.scale is %g and problem.softcap %g; both must stay finite when "
                         "multiplied by log2(e)",
                         (double)p->scale, (double)p->softcap);
    choose_softmax(plan);
    return choose_sizes(plan, error);
}

attn_status attn_plan_create(attn_plan **plan, const attn_problem *problem, attn_error *error)
{
    if (!plan)
        return attn_fail(error, ATTN_ERR_NULL, "plan is NULL; it must point to a plan pointer");
    *plan = NULL;
    struct attn_plan draft = {0};
    attn_status status = attn_problem_check(&draft, problem, error);
    if (!status && draft.problem.rotary)
        draft.turn = attn_turn_create(draft.problem.rotary, &status, error);
    draft.problem.rotary = NULL; /* read when planning, then not needed */
    if (!status)
        status = choose(&draft, error);
    /* a ragged run says only then which sequences a document's entries belong to */
    if (!status && draft.constant_given && draft.reads_masks &&
        !attn_is_ragged(draft.problem.lengths))
        status = attn_tiles_create(&draft, error);
    struct attn_plan *made = status ? NULL : malloc(sizeof *made);
    if (!made) {
        free(draft.tiles);
        free(draft.turn);
        return status ? status
                      : attn_fail(error, ATTN_ERR_MEMORY, "no memory for a plan of %zu bytes",
                                  sizeof *made);
    }
    *made = draft;
    *plan = made;
    return attn_succeed(error);
}

void attn_plan_destroy(attn_plan *plan)
{
    if (!plan)
        return;
    free(plan->tiles);
    free(plan->turn);
    free(plan);
}

size_t attn_plan_workspace(const attn_plan *plan, int threads)
{
    if (!plan || threads < 1 || threads > ATTN_THREADS_MAX)
        return 0;
    struct attn_workspace workspace;
    struct attn_arena arena = attn_arena_measure();
    size_t bytes = 0;
    attn_workspace_carve(&workspace, &arena, plan, threads);
    attn_arena_needed(&arena, &bytes); /* checked for the most threads when planning */
    return bytes;
}
