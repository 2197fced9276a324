/* Few queries over a cache. One task takes a chunk of the keys of one kv head, a fixed number of blocks, for
 * every query head that reads it: the rows of all these heads stand together, so keys and values are read
 * once. A sequence of one chunk is finished at once; others leave what is known of each row after each
 * chunk, and a second launch merges them in the order of the keys (attention/chunks.c).
 *
 * A block goes the way it does in forward.c, head by head where masks and statistics are meant and all
 * heads together in the two products, which take an address for every key: nothing here depends on pages,
 * on other sequences or on who runs what, so neither does any bit. */
#include <math.h>

#include "attention/decode.h"
#include "attention/kept.h"
#include "attention/rows.h"
#include "attention/stands.h"
#include "base/half.h"

/* What the driver keeps of each head of the tile. */
struct head {
    struct attn_place place;
    struct attn_shape shape;
    struct attn_block block;
    bool seen; /* some row sees some key of the block */
};

_Static_assert(sizeof(struct head) <= ATTN_DECODE_HEAD_BYTES, "a worker has room for each head");

/* The rows that go through a chunk together: heads [first_head, first_head + heads), all their queries. */
struct tile {
    const struct attn_run_state *run;
    struct attn_scratch scratch;
    struct head *heads;
    int64_t batch;
    int head_count, queries, rows;
    bool all_seen;
    struct attn_cached_addresses keys, values;
};

/* How many heads of a group a tile takes: told from the sequence's own queries. */
static int64_t tile_heads(const struct attn_plan *plan, int64_t queries)
{
    const int64_t group = plan->problem.heads / plan->problem.kv_heads;
    return attn_int64_min(group, ATTN_CACHED_ROWS / queries);
}

int64_t attn_decode_tiles(const struct attn_plan *plan, int64_t queries)
{
    if (queries == 0)
        return 1;
    return attn_int64_div_up(plan->problem.heads / plan->problem.kv_heads,
                             tile_heads(plan, queries));
}

/* The scratch as head `h` of the tile sees it: its own rows are the first. */
static struct attn_scratch scratch_of(const struct tile *tile, int h)
{
    struct attn_scratch view = tile->scratch;
    const int64_t row = (int64_t)h * tile->queries;
    const int64_t top = tile->run->plan->extras.top_keys;
    view.scores += row * ATTN_SCORE_STRIDE;
    view.rows += row;
    view.top_keys = top > 0 ? view.top_keys + row * top : NULL;
    view.top_scores = top > 0 ? view.top_scores + row * top : NULL;
    view.borders = view.borders ? view.borders + row : NULL;
    view.visible = view.visible ? view.visible + row * ATTN_BLOCK_KEYS : NULL;
    return view;
}

/* Row of q as f32, times scale and what the key's channels are scaled by; filled up with 0. */
static void load_query(const struct attn_run_state *run, const struct attn_place *place,
                       int64_t query, float *to)
{
    const struct attn_plan *plan = run->plan;
    const attn_dtype dtype = plan->problem.q.dtype;
    const int64_t size = plan->problem.head_size;
    const void *from = attn_place_query(run, place, query);
    if (dtype == ATTN_F32)
        for (int64_t t = 0; t < size; t++)
            to[t] = plan->query_scale * ((const float *)from)[t];
    else
        for (int64_t t = 0; t < size; t++)
            to[t] = plan->query_scale * attn_element_value(from, dtype, t);
    for (int64_t t = size; t < plan->cached_size; t++)
        to[t] = 0.0f;
    if (plan->cache.k_channel_scales) {
        const float *scale = run->args->cache->k_channel_scale + place->kv_head * size;
        for (int64_t t = 0; t < size; t++)
            to[t] *= scale[t];
    }
}

static void begin_tile(struct tile *tile, int64_t first_head)
{
    const struct attn_run_state *run = tile->run;
    const struct attn_plan *plan = run->plan;
    const struct attn_decode_scratch *d = &tile->scratch.decode;
    const int group_rows = plan->kernels->rows;
    for (int h = 0; h < tile->head_count; h++) {
        struct head *head = &tile->heads[h];
        head->place = attn_run_sequence(run, tile->batch, first_head + h);
        head->shape = attn_run_shape(run, &head->place);
        head->block.row_begin = 0;
        head->block.rows = tile->queries;
        head->block.groups = (tile->queries + group_rows - 1) / group_rows;
        const struct attn_scratch view = scratch_of(tile, h);
        attn_stands_rows(plan, &head->shape.mask, 0, tile->queries, &view);
        for (int q = 0; q < tile->queries; q++)
            load_query(run, &head->place, q,
                       d->rows + ((int64_t)h * tile->queries + q) * plan->cached_size);
    }
    tile->keys = (struct attn_cached_addresses){d->keys, d->key_scales, d->key_factors};
    tile->values = (struct attn_cached_addresses){d->values, d->value_scales, d->value_factors};
    plan->kernels->cached_queries(d->rows, tile->rows, plan->cached_size, d->queries);
    attn_rows_begin(run, &tile->scratch, tile->rows);
    memset(d->output, 0, (size_t)tile->rows * (size_t)plan->output_size * sizeof(float));
}

static void fill_zeros(float *weights, int first, int last)
{
    for (int j = first; j < last; j++)
        weights[j] = 0.0f;
}

static void softmax_head(struct tile *tile, int h)
{
    const struct attn_run_state *run = tile->run;
    const struct attn_plan *plan = run->plan;
    const struct head *head = &tile->heads[h];
    const struct attn_block *block = &head->block;
    struct attn_scratch view = scratch_of(tile, h);
    float rescale[ATTN_IN_PLACE_ROWS];
    struct attn_softmax_call call = {
        .scores = view.scores,
        .rows = block->rows,
        .group_rows = plan->kernels->rows,
        .key_first = block->key_first,
        .key_last = block->key_last,
        .row = view.rows,
        .rescale = rescale,
        .extras = &plan->extras,
        .key_begin = block->key_begin,
        .position = head->shape.mask.offset,
        .borders = view.borders,
        .stands = view.stands,
        .top_keys = view.top_keys,
        .top_scores = view.top_scores,
    };
    plan->softmax(&call);
    for (int q = 0; call.rescaled && q < block->rows; q++)
        if (rescale[q] != 1.0f)
            plan->kernels->rescale_row(tile->scratch.decode.output +
                                           ((int64_t)h * tile->queries + q) * plan->output_size,
                                       1, plan->values.count, rescale[q]);
    for (int q = 0; block->tile != ATTN_TILE_FULL && q < block->rows; q++) {
        int group = q / plan->kernels->rows;
        float *weights = view.scores + (int64_t)q * ATTN_SCORE_STRIDE;
        fill_zeros(weights, 0, block->key_first[group]);
        fill_zeros(weights, block->key_last[group], block->keys);
    }
}

static bool row_sees(const struct tile *tile, int h, int query, int j)
{
    const struct head *head = &tile->heads[h];
    const struct attn_block *block = &head->block;
    const int group = query / tile->run->plan->kernels->rows;
    if (!head->seen || j < block->key_first[group] || j >= block->key_last[group])
        return false;
    if (block->marked)
        return scratch_of(tile, h).visible[(int64_t)query * ATTN_BLOCK_KEYS + j] != 0;
    struct attn_row_keys keys = attn_mask_row(&head->shape.mask, query);
    return attn_row_sees(&keys, block->key_begin + j) &&
           !attn_mask_excludes(&head->shape.mask, block->key_begin + j);
}

/* Whether value j of the block has an element, or a scale, that is NaN or Inf. */
static bool poisoned(const struct attn_plan *plan, const struct attn_decode_scratch *d, int j)
{
    const int64_t size = plan->problem.head_size_v, group = plan->cache.group;
    if (plan->cache.v_dtype == ATTN_INT8)
        return !isfinite(d->value_factors[j]);
    if (plan->cache.v_dtype == ATTN_INT4) {
        for (int64_t g = 0; g < attn_int64_div_up(size, group); g++)
            if (!isfinite(d->value_scales[j][g]))
                return true;
        return false;
    }
    return plan->kernels->non_finite(d->values[j], plan->cache.v_dtype, size, 1, size);
}

/* Value j meets only the rows that see it, for 0 * NaN is NaN; then zeros take its place. */
static void set_apart(struct tile *tile, int j)
{
    const struct attn_plan *plan = tile->run->plan;
    const struct attn_decode_scratch *d = &tile->scratch.decode;
    struct attn_cached_rows value =
        attn_cached_values(plan, &tile->values, tile->heads[0].block.keys);
    const float factor = plan->cache.v_dtype == ATTN_INT8 ? d->value_factors[j] : 1.0f;
    plan->kernels->widen_cached(&value, j, 1, plan->output_size, d->wide);
    for (int row = 0; row < tile->rows; row++) {
        if (!row_sees(tile, row / tile->queries, row % tile->queries, j))
            continue;
        float weight = tile->scratch.scores[(int64_t)row * ATTN_SCORE_STRIDE + j] * factor;
        for (int64_t t = 0; t < plan->problem.head_size_v; t++)
            d->output[row * plan->output_size + t] += weight * d->wide[t];
    }
    d->values[j] = d->zeros;
    if (plan->cache.v_dtype == ATTN_INT8)
        d->value_factors[j] = 0.0f;
    if (plan->cache.v_dtype == ATTN_INT4)
        d->value_scales[j] = d->zeros;
}

static void add_values(struct tile *tile, int64_t begin, int keys)
{
    const struct attn_run_state *run = tile->run;
    const struct attn_plan *plan = run->plan;
    const struct attn_decode_scratch *d = &tile->scratch.decode;
    attn_cached_find_values(run, &tile->heads[0].place, begin, keys, &tile->values);
    if (!tile->all_seen) {
        memset(d->zeros, 0, (size_t)plan->output_size * sizeof(float));
        for (int j = 0; j < keys; j++)
            if (poisoned(plan, d, j))
                set_apart(tile, j);
    }
    for (int row = 0; row < tile->rows && plan->cache.v_dtype == ATTN_INT8; row++)
        plan->kernels->multiply_row(tile->scratch.scores + (int64_t)row * ATTN_SCORE_STRIDE,
                                    d->value_factors, keys);
    const struct attn_cached_values_call call = {
        .values = attn_cached_values(plan, &tile->values, keys),
        .weights = tile->scratch.scores,
        .rows = tile->rows,
        .wide = d->wide,
        .output = d->output,
        .stride = plan->output_size,
    };
    plan->kernels->cached_values(&call);
}

static void multiply_keys(struct tile *tile, int64_t begin, int keys)
{
    const struct attn_run_state *run = tile->run;
    const struct attn_plan *plan = run->plan;
    const struct attn_decode_scratch *d = &tile->scratch.decode;
    attn_cached_find_keys(run, &tile->heads[0].place, begin, keys, &tile->keys);
    const struct attn_cached_scores_call call = {
        .keys = attn_cached_keys(plan, &tile->keys, keys),
        .queries = d->queries,
        .factors = plan->cache.k_dtype == ATTN_INT8 ? d->key_factors : NULL,
        .rows = tile->rows,
        .wide = d->wide,
        .scores = tile->scratch.scores,
    };
    plan->kernels->cached_scores(&call);
}

static void decode_block(struct tile *tile, int64_t key_block)
{
    const struct attn_run_state *run = tile->run;
    const struct attn_plan *plan = run->plan;
    bool any = false;
    tile->all_seen = true;
    for (int h = 0; h < tile->head_count; h++) {
        struct head *head = &tile->heads[h];
        struct attn_scratch view = scratch_of(tile, h);
        head->seen =
            attn_block_judge(&head->block, run, &head->place, &head->shape, &view, key_block);
        any |= head->seen;
        tile->all_seen &= head->block.all_seen;
    }
    for (int h = 0; plan->keeps_weights && !any && h < tile->head_count; h++)
        attn_kept_block(run, &tile->heads[h].place, &tile->heads[h].block, NULL, NULL);
    if (!any)
        return;
    attn_stands_keys(&tile->heads[0].shape.mask, tile->heads[0].block.key_begin,
                     tile->heads[0].block.keys, &tile->scratch);
    const int keys = tile->heads[0].block.keys;
    const int64_t begin = tile->heads[0].block.key_begin;
    multiply_keys(tile, begin, keys);
    for (int h = 0; h < tile->head_count; h++) {
        struct head *head = &tile->heads[h];
        struct attn_scratch view = scratch_of(tile, h);
        for (int q = 0; !head->seen && q < tile->queries; q++)
            fill_zeros(view.scores + (int64_t)q * ATTN_SCORE_STRIDE, 0, keys);
        if (head->seen) {
            attn_block_finish(&head->block, run, &head->place, &head->shape, &view, true);
            softmax_head(tile, h);
        }
        if (plan->keeps_weights)
            attn_kept_block(run, &head->place, &head->block, &view,
                            head->seen ? view.scores : NULL);
    }
    if (run->args->o)
        add_values(tile, begin, keys);
}

/* The only chunk: rows are finished from where they are. */
static void finish_tile(struct tile *tile)
{
    const struct attn_run_state *run = tile->run;
    const struct attn_plan *plan = run->plan;
    for (int h = 0; h < tile->head_count; h++) {
        struct attn_scratch view = scratch_of(tile, h);
        for (int q = 0; run->args->o && q < tile->queries; q++)
            attn_decode_output(plan, &view, q,
                               view.decode.output +
                                   ((int64_t)h * tile->queries + q) * plan->output_size);
        attn_rows_finish(run, &tile->heads[h].place, &tile->heads[h].shape.mask, &view, 0,
                         tile->queries);
    }
}

static void keep_tile(struct tile *tile, int64_t chunk)
{
    const struct attn_plan *plan = tile->run->plan;
    for (int row = 0; row < tile->rows; row++)
        attn_chunk_keep(tile->run, &tile->heads[row / tile->queries].place, row % tile->queries,
                        chunk, &tile->scratch, row,
                        tile->scratch.decode.output + row * plan->output_size);
}

void attn_task_decode(void *argument, int64_t index, int worker)
{
    struct attn_run_state *run = argument;
    const struct attn_plan *plan = run->plan;
    const attn_problem *p = &plan->problem;
    const int64_t tiles = attn_decode_tiles(plan, attn_decoded_queries(plan, run->args->queries));
    const int64_t chunks = attn_key_chunks(plan, run->key_blocks);
    const int64_t chunk = index % chunks, part = index / chunks % tiles;
    const int64_t pair = index / chunks / tiles;
    const int64_t batch = pair / run->decode_count, group = p->heads / p->kv_heads;
    const int64_t kv_head = run->decode_first + pair % run->decode_count;
    struct attn_place place = attn_run_sequence(run, batch, kv_head * group);
    const int64_t own_chunks = attn_key_chunks(plan, place.key_blocks);
    if (place.packing != ATTN_PACK_NOTHING || place.queries == 0 || chunk >= own_chunks)
        return;
    const int64_t each = tile_heads(plan, place.queries), first = part * each;
    if (first >= group)
        return;

    struct tile tile = {
        .run = run,
        .scratch = attn_workspace_scratch(&run->workspace, plan, worker),
        .batch = batch,
        .head_count = (int)attn_int64_min(each, group - first),
        .queries = (int)place.queries,
    };
    tile.heads = (struct head *)(void *)tile.scratch.decode.heads;
    tile.rows = tile.head_count * tile.queries;
    begin_tile(&tile, place.head + first);
    const int64_t begin = chunk * plan->chunk_blocks;
    const int64_t end = attn_int64_min(place.key_blocks, begin + plan->chunk_blocks);
    for (int64_t key_block = begin; key_block < end; key_block++)
        decode_block(&tile, key_block);
    if (own_chunks > 1)
        keep_tile(&tile, chunk);
    else
        finish_tile(&tile);
}
