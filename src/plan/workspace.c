/* Carving a run's workspace; see workspace.h. */
#include "plan/workspace.h"

#include "plan/lengths.h"

static size_t count_of(int64_t value)
{
    size_t count = 0;
    attn_size_from_int64(&count, value); /* checked when planning: never negative */
    return count;
}

/* `count` times `each` elements; a product that overflows makes the take fail. */
static void *take(struct attn_arena *arena, size_t count, size_t each, size_t element_size)
{
    size_t total;
    if (!attn_size_mul(&total, count, each)) {
        arena->failed = true;
        return NULL;
    }
    return attn_arena_take(arena, total, element_size);
}

static void carve_decode(struct attn_decode_scratch *decode, struct attn_arena *arena,
                         const struct attn_plan *plan)
{
    const size_t rows = ATTN_CACHED_ROWS, keys = (size_t)plan->block_keys;
    const size_t size = count_of(plan->cached_size), output = count_of(plan->output_size);
    const size_t larger = size > output ? size : output;
    const bool groups = plan->cache.k_dtype == ATTN_INT4 || plan->cache.v_dtype == ATTN_INT4;
    decode->rows = take(arena, rows, size, sizeof(float));
    const size_t filled = attn_shares_chunks(plan) ? ATTN_CASCADE_MOST * (ATTN_QUERY_TILE - 1) : 0;
    decode->queries = take(arena, rows + filled, size, sizeof(float));
    decode->output = take(arena, rows, output, sizeof(float));
    decode->wide = take(arena, ATTN_CACHED_WIDE, larger, sizeof(float));
    decode->zeros = take(arena, 1, larger, sizeof(float));
    decode->keys = take(arena, keys, 1, sizeof(void *));
    decode->values = take(arena, keys, 1, sizeof(void *));
    decode->key_scales = take(arena, groups ? keys : 0, 1, sizeof(void *));
    decode->value_scales = take(arena, groups ? keys : 0, 1, sizeof(void *));
    decode->key_factors = take(arena, keys, 1, sizeof(float));
    decode->value_factors = take(arena, keys, 1, sizeof(float));
    decode->heads = take(arena, rows, ATTN_DECODE_HEAD_BYTES, 1);
}

static void carve_scratch(struct attn_scratch *scratch, struct attn_arena *arena,
                          const struct attn_plan *plan)
{
    const size_t rows = ATTN_BLOCK_ROWS, columns = (size_t)plan->kernels->columns;
    const size_t top = count_of(plan->extras.top_keys);
    const bool in_task = attn_plan_packs_in_tasks(plan);
    scratch->keys = take(arena, in_task ? count_of(plan->block_keys) : 0, count_of(plan->key_steps),
                         sizeof(float));
    scratch->values = take(arena, in_task ? count_of(plan->block_keys / plan->kernels->pair) : 0,
                           columns * (size_t)plan->values.count, sizeof(float));
    scratch->queries = take(arena, rows, count_of(plan->problem.head_size), sizeof(float));
    scratch->scores = take(arena, rows, ATTN_SCORE_STRIDE, sizeof(float));
    scratch->output = take(arena, rows, columns * (size_t)plan->values.count, sizeof(float));
    scratch->segment_output =
        take(arena, rows, columns * (size_t)plan->segments.count, sizeof(float));
    scratch->rows = take(arena, rows, 1, sizeof(struct attn_row));
    scratch->top_keys = take(arena, rows, top, sizeof(int32_t));
    scratch->top_scores = take(arena, rows, top, sizeof(float));
    const size_t swept = plan->second_sweep ? ATTN_BLOCK_KEYS : 0;
    const size_t viewed = attn_plan_wants(plan, ATTN_STAT_COLUMN_VIEWERS) ? ATTN_BLOCK_KEYS : swept;
    scratch->column_sums = take(arena, swept, 1, sizeof(float));
    scratch->column_totals = take(arena, swept, ATTN_COLUMN_BLOCKS, sizeof(double));
    scratch->column_viewers = take(arena, viewed, ATTN_COLUMN_BLOCKS, sizeof(int32_t));
    const size_t pairs = plan->turn ? count_of(plan->turn->pairs) : 0;
    const size_t turned =
        plan->turn ? (size_t)attn_int64_max(plan->kernels->rows, plan->kernels->columns) : 0;
    const size_t head_size = count_of(plan->problem.head_size);
    scratch->turned = take(arena, turned, head_size, sizeof(float));
    scratch->turned_half =
        take(arena, plan->kernels->pair == 2 ? turned : 0, head_size, sizeof(uint16_t));
    scratch->turn = (struct attn_turn_worker){
        .block = take(arena, pairs, 2, sizeof(double)),
        .cosine = take(arena, pairs, 1, sizeof(float)),
        .sine = take(arena, pairs, 1, sizeof(float)),
        .input = take(arena, plan->turn ? head_size : 0, 1, sizeof(float)),
    };
    const bool placed = plan->cached && plan->cache.positions;
    scratch->borders =
        take(arena, placed && plan->extras.masses ? rows : 0, 1, sizeof(struct attn_mass_borders));
    scratch->stands =
        take(arena, placed && plan->extras.distances ? ATTN_BLOCK_KEYS : 0, 1, sizeof(int32_t));
    if (plan->cached) {
        carve_decode(&scratch->decode, arena, plan);
        const int64_t larger = attn_int64_max(plan->cached_size, plan->output_size);
        const bool gathers = plan->problem.queries > plan->in_place_rows || plan->turn;
        scratch->gathered =
            take(arena, gathers, count_of(plan->block_keys * larger), sizeof(float));
    }
    scratch->visible = take(arena, plan->shaped ? rows : 0, ATTN_BLOCK_KEYS, 1);
}

/* What decoded sequences of several chunks are merged from. */
static void carve_chunks(struct attn_workspace *workspace, struct attn_arena *arena,
                         const struct attn_plan *plan)
{
    const attn_problem *p = &plan->problem;
    const size_t top = count_of(plan->extras.top_keys);
    const size_t chunks = count_of(attn_key_chunks(plan, attn_key_blocks(plan, p->keys)));
    size_t rows;
    if (chunks <= 1)
        return;
    if (!attn_size_mul(&rows, count_of(p->batch * p->heads),
                       count_of(attn_decoded_queries(plan, p->queries))) ||
        !attn_size_mul(&rows, rows, chunks)) {
        arena->failed = true;
        return;
    }
    workspace->chunk_rows = take(arena, rows, 1, sizeof(struct attn_row));
    workspace->chunk_outputs = take(arena, rows, count_of(plan->output_size), sizeof(float));
    workspace->chunk_top_keys = take(arena, rows, top, sizeof(int32_t));
    workspace->chunk_top_scores = take(arena, rows, top, sizeof(float));
}

/* Who shares what, where there is more than one to share a chunk. */
static void carve_cascade(struct attn_workspace *workspace, struct attn_arena *arena,
                          const struct attn_plan *plan)
{
    const attn_problem *p = &plan->problem;
    const bool may = attn_shares_chunks(plan);
    const size_t chunks = may ? count_of(attn_whole_chunks(plan, p->keys)) : 0;
    const size_t room = may ? count_of(attn_cascade_room(p->batch)) : 0;
    workspace->cascade_links =
        take(arena, chunks, count_of(p->batch), sizeof(struct attn_cascade_link));
    workspace->cascade_sets = take(arena, room, 1, sizeof(struct attn_cascade_set));
}

/* The weights of the rows that are decoded at once. */
static void carve_kept(struct attn_workspace *workspace, struct attn_arena *arena,
                       const struct attn_plan *plan)
{
    const attn_problem *p = &plan->problem;
    const size_t blocks = count_of(attn_key_blocks(plan, p->keys));
    const int64_t group = p->kv_heads > 0 ? p->heads / p->kv_heads : 0;
    size_t rows;
    if (!attn_size_mul(&rows, count_of(p->batch * group), count_of(plan->decode_heads)) ||
        !attn_size_mul(&rows, rows, count_of(attn_decoded_queries(plan, p->queries)))) {
        arena->failed = true;
        return;
    }
    workspace->kept = take(arena, rows, blocks * (size_t)plan->block_keys, sizeof(float));
    workspace->kept_reference = take(arena, rows, blocks, sizeof(float));
}

void attn_workspace_carve(struct attn_workspace *workspace, struct attn_arena *arena,
                          const struct attn_plan *plan, int threads)
{
    const attn_problem *p = &plan->problem;
    const size_t flight = count_of(plan->flight);
    const size_t blocks = count_of(attn_key_blocks(plan, p->keys));
    const size_t padded_keys = blocks * (size_t)plan->block_keys;
    const size_t columns = (size_t)plan->kernels->columns;

    const size_t shared = attn_plan_packing(plan, p->queries) == ATTN_PACK_SHARED ? flight : 0;
    workspace->keys = take(arena, shared, count_of(plan->packed_keys), sizeof(float));
    workspace->values = take(arena, shared, count_of(plan->packed_values), sizeof(float));
    workspace->non_finite = take(arena, shared, blocks, 1);
    /* decoded rows have theirs of the weights they keep */
    const bool one_hot = !plan->cached || p->queries > plan->in_place_rows;
    workspace->segments =
        take(arena, one_hot ? count_of(p->batch) * (size_t)plan->segments.count : 0,
             padded_keys * columns, sizeof(float));
    bool ragged = attn_is_ragged(p->lengths);
    size_t kept = plan->second_sweep ? count_of(ragged ? p->heads : p->batch * p->heads) : 0;
    size_t rows = count_of(ragged ? p->total_queries : p->queries);
    workspace->reference = take(arena, kept, rows, sizeof(float));
    workspace->inverse = take(arena, kept, rows, sizeof(float));

    if (plan->cached) {
        carve_chunks(workspace, arena, plan);
        carve_cascade(workspace, arena, plan);
    }
    if (plan->keeps_weights)
        carve_kept(workspace, arena, plan);

    struct attn_scratch scratch;
    struct attn_arena one = attn_arena_measure();
    carve_scratch(&scratch, &one, plan);
    workspace->scratch_bytes = one.used;
    if (one.failed)
        arena->failed = true;
    workspace->scratch = take(arena, (size_t)threads, workspace->scratch_bytes, 1);
}

struct attn_scratch attn_workspace_scratch(const struct attn_workspace *workspace,
                                           const struct attn_plan *plan, int worker)
{
    struct attn_scratch scratch;
    struct attn_arena arena = attn_arena_over(
        workspace->scratch + (size_t)worker * workspace->scratch_bytes, workspace->scratch_bytes);
    carve_scratch(&scratch, &arena, plan);
    return scratch;
}
