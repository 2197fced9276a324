/* Few queries over a cache. One task takes a chunk of the keys of one kv head, a fixed number of blocks, for
 * every query head that reads it: the rows of all these heads stand together, so keys and values are read
 * once. A sequence of one chunk is finished at once; others leave what is known of each row after each
 * chunk, and a second launch merges them in the order of the keys (attention/chunks.c). Where sequences share
 * the chunk (attention/cascade.h), one task takes it for all of them: each is a tile of its own, and tiles of as
 * many rows are multiplied together. Where pages are small it takes several kv heads of a sequence
 * (attention/decode_together.c).
 *
 * A block goes the way it does in forward.c, head by head where masks and statistics are meant and all
 * heads together in the two products, which take an address for every key: nothing here depends on pages,
 * on other sequences or on who runs what, so neither does any bit. */
#include <math.h>

#include "attention/cascade.h"
#include "attention/decode.h"
#include "attention/decode_tiles.h"
#include "attention/kept.h"
#include "attention/rows.h"
#include "attention/stands.h"
#include "attention/turned.h"
#include "base/half.h"

_Static_assert(sizeof(struct attn_decode_head) <= ATTN_DECODE_HEAD_BYTES,
               "a worker has room for each head");

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

/* The scratch from row `row` on, but for what decode.h's functions use row by row. */
static struct attn_scratch scratch_from(const struct attn_scratch *scratch,
                                        const struct attn_plan *plan, int64_t row)
{
    struct attn_scratch view = *scratch;
    const int64_t top = plan->extras.top_keys;
    view.scores += row * ATTN_SCORE_STRIDE;
    view.rows += row;
    view.top_keys = top > 0 ? view.top_keys + row * top : NULL;
    view.top_scores = top > 0 ? view.top_scores + row * top : NULL;
    view.borders = view.borders ? view.borders + row : NULL;
    view.visible = view.visible ? view.visible + row * ATTN_BLOCK_KEYS : NULL;
    return view;
}

/* The scratch as head `h` of the tile sees it: its own rows are the first. */
static struct attn_scratch scratch_of(const struct attn_decode_tile *tile, int h)
{
    return scratch_from(&tile->scratch, tile->run->plan, (int64_t)h * tile->queries);
}

/* Row of q as f32, turned if keys are, times scale and what the key's channels are scaled by (where keys are
 * not turned: turning mixes channels); filled up with 0. */
static void load_query(const struct attn_run_state *run, const struct attn_place *place,
                       struct attn_scratch *scratch, int64_t query, float *to)
{
    const struct attn_plan *plan = run->plan;
    const int64_t size = plan->problem.head_size;
    const struct attn_rows_at from = attn_query_rows(run, place, scratch, query, 1, 0);
    if (from.dtype == ATTN_F32)
        for (int64_t t = 0; t < size; t++)
            to[t] = plan->query_scale * ((const float *)from.at)[t];
    else
        for (int64_t t = 0; t < size; t++)
            to[t] = plan->query_scale * attn_element_value(from.at, from.dtype, t);
    for (int64_t t = size; t < plan->cached_size; t++)
        to[t] = 0.0f;
    if (plan->cache.k_channel_scales && !plan->turn) {
        const float *scale = run->args->cache->k_channel_scale + place->kv_head * size;
        for (int64_t t = 0; t < size; t++)
            to[t] *= scale[t];
    }
}

/* `worker` keeps the angles of rows that are turned; copies of it would not know what others have turned. */
static void begin_tile(struct attn_decode_tile *tile, struct attn_scratch *worker,
                       int64_t first_head)
{
    const struct attn_run_state *run = tile->run;
    const struct attn_plan *plan = run->plan;
    const struct attn_decode_scratch *d = &tile->scratch.decode;
    const int group_rows = plan->kernels->rows;
    for (int h = 0; h < tile->head_count; h++) {
        struct attn_decode_head *head = &tile->heads[h];
        head->place = attn_run_sequence(run, tile->batch, first_head + h);
        head->shape = attn_run_shape(run, &head->place);
        head->block.row_begin = 0;
        head->block.rows = tile->queries;
        head->block.groups = (tile->queries + group_rows - 1) / group_rows;
        const struct attn_scratch view = scratch_of(tile, h);
        attn_stands_rows(plan, &head->shape.mask, 0, tile->queries, &view);
        for (int q = 0; q < tile->queries; q++)
            load_query(run, &head->place, worker, q,
                       d->rows + ((int64_t)h * tile->queries + q) * plan->cached_size);
    }
    tile->keys = (struct attn_cached_addresses){d->keys, d->key_scales, d->key_factors};
    tile->values = (struct attn_cached_addresses){d->values, d->value_scales, d->value_factors};
    attn_rows_begin(run, &tile->scratch, tile->rows);
    memset(d->output, 0, (size_t)tile->rows * (size_t)plan->output_size * sizeof(float));
}

static void fill_zeros(float *weights, int first, int last)
{
    for (int j = first; j < last; j++)
        weights[j] = 0.0f;
}

static void softmax_head(struct attn_decode_tile *tile, int h)
{
    const struct attn_run_state *run = tile->run;
    const struct attn_plan *plan = run->plan;
    const struct attn_decode_head *head = &tile->heads[h];
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

static bool row_sees(const struct attn_decode_tile *tile, int h, int query, int j)
{
    const struct attn_decode_head *head = &tile->heads[h];
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
static void set_apart(struct attn_decode_tile *tile, int j)
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

void attn_decode_set_apart(struct attn_decode_tile *tile, int keys)
{
    const struct attn_plan *plan = tile->run->plan;
    memset(tile->scratch.decode.zeros, 0, (size_t)plan->output_size * sizeof(float));
    for (int j = 0; j < keys; j++)
        if (poisoned(plan, &tile->scratch.decode, j))
            set_apart(tile, j);
}

/* How many tiles from `first` on take the values as they are, for all their rows see all keys; else one, with
 * poisoned values set apart. */
static int tiles_to_add(struct attn_decode_tiles *tiles, int first, int keys)
{
    struct attn_decode_tile *tile = &tiles->tile[first];
    int count = 0;
    while (first + count < tiles->count && tile[count].seen && tile[count].all_seen)
        count++;
    if (count > 0)
        return count;
    attn_decode_set_apart(tile, keys);
    return 1;
}

void attn_decode_scale(const struct attn_decode_tile *tile, int rows, const float *factors,
                       int keys)
{
    for (int row = 0; row < rows; row++)
        tile->run->plan->kernels->multiply_row(
            tile->scratch.scores + (int64_t)row * ATTN_SCORE_STRIDE, factors, keys);
}

void attn_decode_add_values(const struct attn_decode_tile *tile, int count, int keys)
{
    const struct attn_plan *plan = tile->run->plan;
    const struct attn_decode_scratch *d = &tile->scratch.decode;
    int rows = 0;
    for (int i = 0; i < count; i++)
        rows += tile[i].rows;
    if (plan->cache.v_dtype == ATTN_INT8)
        attn_decode_scale(tile, rows, d->value_factors, keys);
    const struct attn_cached_values_call call = {
        .values = attn_cached_values(plan, &tile->values, keys),
        .weights = tile->scratch.scores,
        .rows = rows,
        .wide = d->wide,
        .output = d->output,
        .stride = plan->output_size,
    };
    plan->kernels->cached_values(&call);
}

struct attn_cached_rows attn_decode_find_keys(struct attn_decode_tiles *tiles, int64_t begin,
                                              int keys)
{
    const struct attn_decode_tile *first = &tiles->tile[0];
    const struct attn_run_state *run = first->run;
    const struct attn_place *place = &first->heads[0].place;
    if (run->plan->turn)
        return attn_turned_cached_keys(run, place, &tiles->scratch, begin, keys);
    attn_cached_find_keys(run, place, begin, keys, &first->keys);
    return attn_cached_keys(run->plan, &first->keys, keys);
}

/* How many tiles from `first` on are multiplied together. */
static int alike(const struct attn_decode_tiles *tiles, int first)
{
    int count = 1;
    while (!tiles->together && first + count < tiles->count &&
           tiles->tile[first + count].rows == tiles->tile[first].rows)
        count++;
    return count;
}

/* Products of `count` tiles of as many rows, from `tile` on. */
static void multiply_keys(const struct attn_decode_tile *tile, int count,
                          const struct attn_cached_rows *keys)
{
    const struct attn_plan *plan = tile->run->plan;
    const struct attn_decode_scratch *d = &tile->scratch.decode;
    const bool scaled = plan->cache.k_dtype == ATTN_INT8 && !plan->turn;
    const struct attn_cached_scores_call call = {
        .keys = *keys,
        .queries = d->queries,
        .like = tile->rows,
        .factors = scaled ? d->key_factors : NULL,
        .rows = count * tile->rows,
        .wide = d->wide,
        .scores = tile->scratch.scores,
    };
    plan->kernels->cached_scores(&call);
}

/* Products of all tiles with the keys of the block. */
static void multiply_block(struct attn_decode_tiles *tiles, int64_t begin, int keys)
{
    const struct attn_cached_rows rows = attn_decode_find_keys(tiles, begin, keys);
    for (int i = 0, count = 0; i < tiles->count; i += count) {
        count = alike(tiles, i);
        multiply_keys(&tiles->tile[i], count, &rows);
    }
}

/* What the tile's rows see of the block. */
static void judge_tile(struct attn_decode_tile *tile, int64_t key_block)
{
    const struct attn_run_state *run = tile->run;
    tile->seen = false;
    tile->all_seen = true;
    for (int h = 0; h < tile->head_count; h++) {
        struct attn_decode_head *head = &tile->heads[h];
        struct attn_scratch view = scratch_of(tile, h);
        head->seen =
            attn_block_judge(&head->block, run, &head->place, &head->shape, &view, key_block);
        tile->seen |= head->seen;
        tile->all_seen &= head->block.all_seen;
    }
}

/* Products to weights, which are kept where asked for: those of a tile that sees nothing too. */
static void weigh_tile(struct attn_decode_tile *tile, int keys)
{
    const struct attn_run_state *run = tile->run;
    const struct attn_plan *plan = run->plan;
    const struct attn_block *first = &tile->heads[0].block;
    for (int h = 0; plan->keeps_weights && !tile->seen && h < tile->head_count; h++)
        attn_kept_block(run, &tile->heads[h].place, &tile->heads[h].block, NULL, NULL);
    if (!tile->seen)
        return;
    attn_stands_keys(&tile->heads[0].shape.mask, first->key_begin, first->keys, &tile->scratch);
    for (int h = 0; h < tile->head_count; h++) {
        struct attn_decode_head *head = &tile->heads[h];
        struct attn_scratch view = scratch_of(tile, h);
        for (int q = 0; !head->seen && q < tile->queries; q++)
            fill_zeros(view.scores + (int64_t)q * ATTN_SCORE_STRIDE, 0, keys);
        if (head->seen) {
            attn_block_finish(&head->block, run, &head->place, &head->shape, &view, true);
            if (plan->keeps_weights)
                attn_kept_scores(run, &head->place, &head->block, &view);
            softmax_head(tile, h);
        }
        if (plan->keeps_weights)
            attn_kept_block(run, &head->place, &head->block, &view,
                            head->seen ? view.scores : NULL);
    }
}

/* Values of the block to all tiles that see some of it. */
static void add_block(struct attn_decode_tiles *tiles, int64_t begin, int keys)
{
    const struct attn_decode_tile *first = &tiles->tile[0];
    bool found = false;
    for (int i = 0, count = 0; i < tiles->count; i += count) {
        struct attn_decode_tile *tile = &tiles->tile[i];
        count = 1;
        if (!tile->seen)
            continue;
        if (!found)
            attn_cached_find_values(tile->run, &first->heads[0].place, begin, keys, &first->values);
        count = tiles_to_add(tiles, i, keys);
        attn_decode_add_values(tile, count, keys);
        found = tile->all_seen; /* else some addresses may be those of zeros now */
    }
}

static void decode_block(struct attn_decode_tiles *tiles, int64_t key_block)
{
    const struct attn_run_state *run = tiles->tile[0].run;
    const struct attn_decode_tile *first = &tiles->tile[0];
    bool any = false;
    for (int i = 0; i < tiles->count; i++) {
        judge_tile(&tiles->tile[i], key_block);
        any |= tiles->tile[i].seen;
    }
    const int keys = first->heads[0].block.keys;
    const int64_t begin = first->heads[0].block.key_begin;
    if (any && tiles->together)
        attn_decode_multiply_together(tiles, begin, keys);
    else if (any)
        multiply_block(tiles, begin, keys);
    for (int i = 0; i < tiles->count; i++)
        weigh_tile(&tiles->tile[i], keys);
    if (any && run->args->o && tiles->together)
        attn_decode_add_together(tiles, begin, keys);
    else if (any && run->args->o)
        add_block(tiles, begin, keys);
}

/* The only chunk: rows are finished from where they are. */
static void finish_tile(struct attn_decode_tile *tile)
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

static void keep_tile(struct attn_decode_tile *tile, int64_t chunk)
{
    const struct attn_plan *plan = tile->run->plan;
    for (int row = 0; row < tile->rows; row++)
        attn_chunk_keep(tile->run, &tile->heads[row / tile->queries].place, row % tile->queries,
                        chunk, &tile->scratch, row,
                        tile->scratch.decode.output + row * plan->output_size);
}

/* One more tile: `heads` heads of a sequence from `first_head` on, behind the rows of the others. */
static void add_tile(struct attn_decode_tiles *tiles, const struct attn_run_state *run,
                     int64_t batch, int64_t first_head, int heads, int queries)
{
    const struct attn_plan *plan = run->plan;
    struct attn_decode_tile *tile = &tiles->tile[tiles->count++];
    *tile = (struct attn_decode_tile){
        .run = run,
        .scratch = scratch_from(&tiles->scratch, plan, tiles->rows),
        .batch = batch,
        .head_count = heads,
        .queries = queries,
        .rows = heads * queries,
    };
    struct attn_decode_scratch *d = &tile->scratch.decode;
    d->rows += tiles->rows * plan->cached_size;
    d->queries += tiles->filled_rows * plan->cached_size;
    d->output += tiles->rows * plan->output_size;
    tile->heads = (struct attn_decode_head *)(void *)d->heads + tiles->heads;
    tiles->rows += tile->rows;
    tiles->heads += heads;
    tiles->filled_rows += (int)attn_int64_div_up(tile->rows, ATTN_QUERY_TILE) * ATTN_QUERY_TILE;
    begin_tile(tile, &tiles->scratch, first_head);

    const attn_kv_layout *c = &plan->cache;
    const int64_t beside = tile->heads[0].place.kv_head - tiles->tile[0].heads[0].place.kv_head;
    tile->key_bytes = beside * c->k_stride[1] * attn_dtype_bits(c->k_dtype) / 8;
    tile->value_bytes = beside * c->v_stride[1] * attn_dtype_bits(c->v_dtype) / 8;
}

/* Queries as the kernels take them. */
static void lay_queries(struct attn_decode_tiles *tiles)
{
    for (int i = 0, count = 0; i < tiles->count; i += count) {
        const struct attn_decode_tile *tile = &tiles->tile[i];
        const struct attn_plan *plan = tile->run->plan;
        count = alike(tiles, i);
        plan->kernels->cached_queries(
            tile->scratch.decode.rows, count * tile->rows, tile->rows, plan->cached_size,
            plan->turn ? ATTN_F32 : plan->cache.k_dtype, tile->scratch.decode.queries);
    }
}

/* A chunk for kv heads [kv_head, kv_head + together) of a sequence, or, of one, for all who share the chunk. */
static void decode_chunk(struct attn_run_state *run, int64_t batch, int64_t kv_head, int together,
                         int64_t part, int64_t chunk, int worker)
{
    const struct attn_plan *plan = run->plan;
    const int64_t group = plan->problem.heads / plan->problem.kv_heads;
    const struct attn_place place = attn_run_sequence(run, batch, kv_head * group);
    struct attn_cascade_link link = attn_cascade_link_of(run, batch, chunk);
    const int64_t own_chunks = attn_key_chunks(plan, place.key_blocks);
    if (place.packing != ATTN_PACK_NOTHING || place.queries == 0 || chunk >= own_chunks ||
        link.number > 0)
        return;
    const int64_t each = tile_heads(plan, place.queries), first = part * each;
    if (first >= group)
        return;

    struct attn_decode_tiles tiles;
    tiles.scratch = attn_workspace_scratch(&run->workspace, plan, worker);
    tiles.together = together > 1;
    tiles.count = tiles.rows = tiles.heads = tiles.filled_rows = 0;
    for (int i = 0; i < together; i++)
        add_tile(&tiles, run, batch, (kv_head + i) * group + first,
                 (int)attn_int64_min(each, group - first), (int)place.queries);
    for (int64_t next = link.next; next >= 0; next = link.next) { /* whose rows fit one tile */
        const struct attn_place other = attn_run_sequence(run, next, place.head);
        add_tile(&tiles, run, next, place.head, (int)group, (int)other.queries);
        link = attn_cascade_link_of(run, next, chunk);
    }
    lay_queries(&tiles);
    const int64_t begin = chunk * plan->chunk_blocks;
    const int64_t end = attn_int64_min(place.key_blocks, begin + plan->chunk_blocks);
    for (int64_t key_block = begin; key_block < end; key_block++)
        decode_block(&tiles, key_block);
    for (int i = 0; i < tiles.count; i++) {
        struct attn_decode_tile *tile = &tiles.tile[i];
        if (attn_key_chunks(plan, tile->heads[0].place.key_blocks) > 1)
            keep_tile(tile, chunk);
        else
            finish_tile(tile);
    }
}

void attn_task_decode(void *argument, int64_t index, int worker)
{
    struct attn_run_state *run = argument;
    const struct attn_plan *plan = run->plan;
    const int64_t parts = attn_decode_tiles(plan, attn_decoded_queries(plan, run->args->queries));
    const int64_t chunks = attn_key_chunks(plan, run->key_blocks);
    const int64_t together = run->decode_together;
    const int64_t sets = attn_int64_div_up(run->decode_count, together);
    /* Heads of one chunk follow each other: they share pages. */
    const int64_t head = index % sets * together, part = index / sets % parts;
    const int64_t chunk = index / sets / parts % chunks, batch = index / sets / parts / chunks;
    const int64_t heads = attn_int64_min(together, run->decode_count - head);
    const int64_t kv_head = run->decode_first + head;
    const struct attn_cascade_link link = attn_cascade_link_of(run, batch, chunk);
    if (link.next < 0 && link.number == 0) {
        decode_chunk(run, batch, kv_head, (int)heads, part, chunk, worker);
        return;
    }
    for (int64_t i = 0; i < heads; i++)
        decode_chunk(run, batch, kv_head + i, 1, part, chunk, worker);
}
