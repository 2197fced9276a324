/* Scores of a block: judge it, multiply, cap, mask. A full block skips all that a mask would need. */
#include "attention/block.h"

#include <math.h>

#include "attention/turned.h"
#include "base/half.h"

static const float log2_e = 1.44269504f;

void attn_block_rows(struct attn_block *block, const struct attn_run_state *run,
                     const struct attn_place *place, struct attn_scratch *scratch,
                     int64_t row_begin, int rows)
{
    const struct attn_plan *plan = run->plan;
    const int group_rows = plan->kernels->rows;
    block->row_begin = row_begin;
    block->rows = rows;
    block->groups = (rows + group_rows - 1) / group_rows;
    const bool in_place = place->packing == ATTN_PACK_NOTHING;
    const int step = in_place ? plan->kernels->lanes / 4 : group_rows; /* rows packed together */
    for (int first = 0; first < rows; first += step) {
        int used = rows - first < step ? rows - first : step;
        struct attn_rows_at from = attn_query_rows(run, place, scratch, row_begin + first, used, 0);
        float *to = scratch->queries + (int64_t)first * plan->key_steps;
        (in_place ? plan->kernels->pack_queries_quads : plan->kernels->pack_queries)(
            from.at, from.dtype, from.stride, used, plan->problem.head_size, plan->query_scale, to);
    }
}

static struct attn_row_part row_part(const struct attn_block *block, const struct attn_mask *mask,
                                     int row)
{
    struct attn_row_keys keys = attn_mask_row(mask, block->row_begin + row);
    return attn_row_clip(&keys, block->key_begin, block->key_begin + block->keys);
}

static void set_hull(struct attn_block *block, const struct attn_kernels *kernels, int group,
                     int first, int last)
{
    const int lanes = kernels->lanes;
    block->value_first[group] = (int16_t)(first / kernels->pair * kernels->pair);
    block->value_last[group] = (int16_t)last;
    first = first / lanes;
    last = (last + lanes - 1) / lanes;
    block->vector_first[group] = (int16_t)first;
    block->vector_last[group] = (int16_t)last;
    block->key_first[group] = (int16_t)(first * lanes);
    block->key_last[group] = (int16_t)(last * lanes);
}

/* What each group works on: whole vectors that cover what its rows see. */
static void find_hulls(struct attn_block *block, const struct attn_mask *mask,
                       const struct attn_kernels *kernels)
{
    const int group_rows = kernels->rows;
    for (int group = 0; group < block->groups; group++) {
        int first = INT16_MAX, last = 0;
        for (int row = group * group_rows; row < (group + 1) * group_rows && row < block->rows;
             row++) {
            struct attn_row_part part = row_part(block, mask, row);
            if (part.hull_last <= part.hull_first)
                continue;
            first = part.hull_first < first ? part.hull_first : first;
            last = part.hull_last > last ? part.hull_last : last;
        }
        set_hull(block, kernels, group, last > 0 ? first : 0, last);
    }
}

static void whole_hulls(struct attn_block *block, const struct attn_kernels *kernels)
{
    for (int group = 0; group < block->groups; group++)
        set_hull(block, kernels, group, 0, block->keys);
}

/* Extremes of the logits over what the row sees; excluded keys are looked out for one by one. */
static void measure_logits(const struct attn_block *block, const struct attn_mask *mask,
                           const struct attn_kernels *kernels, const float *scores,
                           const struct attn_row_part *part, struct attn_row *row)
{
    float *low = &row->min_logit, *high = &row->max_logit;
    if (mask->excluded_count == 0) {
        kernels->range(scores, part->prefix, low, high);
        kernels->range(scores + part->first, part->last - part->first, low, high);
        return;
    }
    for (int j = part->hull_first; j < part->hull_last; j++)
        if ((j < part->prefix || (part->first <= j && j < part->last)) &&
            !attn_mask_excludes(mask, block->key_begin + j))
            kernels->range(scores + j, 1, low, high);
}

static void fill(float *scores, int first, int last)
{
    for (int j = first; j < last; j++)
        scores[j] = -INFINITY;
}

/* -inf into what the row does not see, within the group's keys [first, last). */
static void mask_row(const struct attn_block *block, const struct attn_mask *mask, float *scores,
                     const struct attn_row_part *part, int first, int last)
{
    fill(scores, part->prefix > first ? part->prefix : first,
         part->first < last ? part->first : last);
    fill(scores, part->last > first ? part->last : first, last);
    for (int64_t i = 0; i < mask->excluded_count; i++) {
        int64_t j = mask->excluded[i] - block->key_begin;
        if (mask->excluded[i] >= 0 && first <= j && j < last)
            scores[j] = -INFINITY;
    }
}

/* Logits, cap and mask, row by row, where masks are runs of keys only. */
static void finish_scores(const struct attn_block *block, const struct attn_run_state *run,
                          const struct attn_mask *mask, struct attn_scratch *scratch, bool logits)
{
    const struct attn_plan *plan = run->plan;
    const bool capped = plan->softcap_base2 > 0.0f;
    const bool masked = block->tile == ATTN_TILE_PARTIAL;
    if (!logits && !capped && !masked)
        return;
    for (int row = 0; row < block->rows; row++) {
        int group = row / plan->kernels->rows;
        int first = block->key_first[group], last = block->key_last[group];
        if (first >= last)
            continue;
        float *scores = scratch->scores + (int64_t)row * ATTN_SCORE_STRIDE;
        struct attn_row_part part = {0, 0, block->keys, 0, block->keys};
        if (masked)
            part = row_part(block, mask, row);
        if (logits)
            measure_logits(block, mask, plan->kernels, scores, &part, &scratch->rows[row]);
        if (capped)
            plan->kernels->softcap(scores + first, last - first, plan->softcap_base2);
        if (masked)
            mask_row(block, mask, scores, &part, first, last);
    }
}

/* Which keys of the group's hull the row sees, by its runs, the excluded keys and what is read. */
static void mark_row(const struct attn_block *block, const struct attn_shape *shape, int row,
                     int first, int last, uint8_t *visible)
{
    struct attn_row_part part = row_part(block, &shape->mask, row);
    memset(visible + first, 0, (size_t)(last - first));
    if (part.prefix > first)
        memset(visible + first, 1, (size_t)(part.prefix - first));
    if (part.last > part.first)
        memset(visible + part.first, 1, (size_t)(part.last - part.first));
    for (int64_t i = 0; i < shape->mask.excluded_count; i++) {
        int64_t j = shape->mask.excluded[i] - block->key_begin;
        if (first <= j && j < last)
            visible[j] = 0;
    }
    int end = last < block->keys ? last : block->keys;
    attn_content_row(&shape->content, block->row_begin + row, block->key_begin + first, end - first,
                     visible + first);
}

/* The panels that hold a key of `any`, as bits. */
static uint64_t panels_of(const uint8_t *any, int first, int last, int columns)
{
    uint64_t seen = 0;
    for (int panel = first / columns; panel * columns < last; panel++) {
        int begin = panel * columns, end = begin + columns;
        begin = begin > first ? begin : first;
        end = end < last ? end : last;
        seen |= (uint64_t)(memchr(any + begin, 1, (size_t)(end - begin)) != NULL) << panel;
    }
    return seen;
}

/* Mark what every row sees, and shrink each group's hull to that. */
static void mark_block(struct attn_block *block, const struct attn_plan *plan,
                       const struct attn_shape *shape, struct attn_scratch *scratch)
{
    const int group_rows = plan->kernels->rows;
    uint8_t any[ATTN_BLOCK_KEYS];
    block->marked = true;
    for (int group = 0; group < block->groups; group++) {
        int first = block->key_first[group], last = block->key_last[group];
        memset(any + first, 0, (size_t)(last - first));
        for (int row = group * group_rows;
             row < (group + 1) * group_rows && row < block->rows && first < last; row++) {
            uint8_t *visible = scratch->visible + (int64_t)row * ATTN_BLOCK_KEYS;
            mark_row(block, shape, row, first, last, visible);
            plan->kernels->masks.gather(any + first, visible + first, last - first);
        }
        block->seen[group] = panels_of(any, first, last, plan->kernels->columns);
        while (first < last && !any[first])
            first++;
        while (first < last && !any[last - 1])
            last--;
        set_hull(block, plan->kernels, group, first < last ? first : 0, first < last ? last : 0);
    }
}

static void extremes(const float *scores, const uint8_t *visible, int first, int last, float *low,
                     float *high)
{
    for (int j = first; j < last; j++) {
        if (visible && !visible[j])
            continue;
        *low = scores[j] < *low ? scores[j] : *low;
        *high = scores[j] > *high ? scores[j] : *high;
    }
}

/* ALiBi where keys stand elsewhere than their index says. */
static void add_distances(const struct attn_mask *mask, float *scores, int64_t position,
                          int64_t key_begin, int first, int last, float slope)
{
    for (int j = first; j < last; j++) {
        int64_t distance = position - attn_mask_position(mask, key_begin + j);
        scores[j] += attn_distance_added(slope, (float)(distance < 0 ? -distance : distance));
    }
}

/* Everything before the caller's function, on one row's hull. */
static void shape_row(const struct attn_block *block, const struct attn_run_state *run,
                      const struct attn_shape *shape, float *scores, int row, int first, int last)
{
    const struct attn_plan *plan = run->plan;
    const struct attn_content *c = &shape->content;
    const int64_t query = block->row_begin + row;
    const int end = last < block->keys ? last : block->keys;
    if (plan->softcap_base2 > 0.0f)
        plan->kernels->softcap(scores + first, last - first, plan->softcap_base2);
    if (c->bias) {
        int64_t at = query * c->bias_stride + block->key_begin + first;
        const char *bias = (const char *)c->bias + at * attn_dtype_size(c->bias_dtype);
        plan->kernels->add_bias(scores + first, end - first, bias, c->bias_dtype, log2_e);
    }
    if (shape->slope != 0.0f && shape->mask.stands.positions)
        add_distances(&shape->mask, scores, query + shape->mask.offset, block->key_begin, first,
                      end, shape->slope);
    else if (shape->slope != 0.0f)
        plan->kernels->add_distance(scores + first, last - first,
                                    query + shape->mask.offset - block->key_begin - first,
                                    shape->slope);
}

static void give_rows(float *scores, int rows, int keys)
{
    for (int row = 0; row < rows; row++)
        for (int j = 0; j < keys; j++)
            scores[(int64_t)row * ATTN_SCORE_STRIDE + j] *= 1.0f / log2_e;
}

/* Back to base 2, where what is finite stays finite. */
static void take_rows(float *scores, int rows, int keys)
{
    for (int row = 0; row < rows; row++)
        for (int j = 0; j < keys; j++) {
            float *s = &scores[(int64_t)row * ATTN_SCORE_STRIDE + j];
            *s = (isinf(*s) ? *s : attn_score_within(*s)) * log2_e;
        }
}

/* The caller's function, on each group's hull, in natural units. */
static void call_function(const struct attn_block *block, const struct attn_run_state *run,
                          const struct attn_place *place, float *scores)
{
    const attn_scores *options = &run->plan->scores;
    const int group_rows = run->plan->kernels->rows;
    for (int group = 0; group < block->groups; group++) {
        int row = group * group_rows, first = block->key_first[group];
        int rows = block->rows - row < group_rows ? block->rows - row : group_rows;
        int last = block->key_last[group] < block->keys ? block->key_last[group] : block->keys;
        if (first >= last)
            continue;
        float *tile = scores + (int64_t)row * ATTN_SCORE_STRIDE + first;
        give_rows(tile, rows, last - first);
        options->function(options->function_context, place->batch, place->head,
                          block->row_begin + row, rows, block->key_begin + first, last - first,
                          tile, ATTN_SCORE_STRIDE);
        take_rows(tile, rows, last - first);
    }
}

static void least_score(const struct attn_plan *plan, const float *scores, const uint8_t *visible,
                        int first, int last, struct attn_row *row)
{
    float unused = -INFINITY;
    if (attn_plan_wants(plan, ATTN_STAT_MIN_SCORE))
        extremes(scores, visible, first, last, &row->min_score, &unused);
}

/* One row of the block's hull, and what is measured of it. */
struct shaped_row {
    int first, last;
    float *scores;
    uint8_t *visible; /* NULL: all of it is */
    struct attn_row *measured;
};

static struct shaped_row shaped_row_of(const struct attn_block *block, const struct attn_plan *plan,
                                       struct attn_scratch *scratch, int row, bool measure)
{
    const int group = row / plan->kernels->rows;
    return (struct shaped_row){
        .first = block->key_first[group],
        .last = block->key_last[group],
        .scores = scratch->scores + (int64_t)row * ATTN_SCORE_STRIDE,
        .visible = block->marked ? scratch->visible + (int64_t)row * ATTN_BLOCK_KEYS : NULL,
        .measured = measure ? &scratch->rows[row] : NULL,
    };
}

/* Masks, and what is counted under them; the caller's function masks by -inf. A product that is -inf by
 * itself belongs to a visible key, whether the block is marked or not. */
static void close_row(const struct attn_plan *plan, const struct shaped_row *row)
{
    const int first = row->first, last = row->last;
    if (row->visible) {
        for (int j = first; plan->scores.function && j < last; j++)
            row->visible[j] = (uint8_t)(row->visible[j] & (row->scores[j] != -INFINITY));
        plan->kernels->apply_mask(row->scores + first, last - first, row->visible + first);
    }
    if (!row->measured)
        return;
    least_score(plan, row->scores, row->visible, first, last, row->measured);
    if (!row->visible)
        row->measured->visible += last - first;
    else
        for (int j = first; j < last && attn_plan_wants(plan, ATTN_STAT_VISIBLE_KEYS); j++)
            row->measured->visible += row->visible[j];
}

/* The same as finish_scores where something of attn/scores.h applies. */
static void finish_shaped(const struct attn_block *block, const struct attn_run_state *run,
                          const struct attn_place *place, const struct attn_shape *shape,
                          struct attn_scratch *scratch, bool measure)
{
    const struct attn_plan *plan = run->plan;
    for (int i = 0; i < block->rows; i++) {
        struct shaped_row row = shaped_row_of(block, plan, scratch, i, measure);
        if (row.measured && plan->extras.logits)
            extremes(row.scores, row.visible, row.first, row.last, &row.measured->min_logit,
                     &row.measured->max_logit);
        if (row.first < row.last)
            shape_row(block, run, shape, row.scores, i, row.first, row.last);
    }
    if (plan->scores.function)
        call_function(block, run, place, scratch->scores);
    for (int i = 0; i < block->rows; i++) {
        struct shaped_row row = shaped_row_of(block, plan, scratch, i, measure);
        if (row.first < row.last)
            close_row(plan, &row);
    }
}

/* What is read makes of the block, from the plan's table if it is one of its blocks: a sequence shorter than the
 * plan's cuts its last ones. */
static enum attn_tile read_tile(const struct attn_block *block, const struct attn_plan *plan,
                                const struct attn_shape *shape)
{
    const int64_t row_end = block->row_begin + block->rows;
    const int64_t key_end = block->key_begin + block->keys;
    const struct attn_tiles *tiles = plan->tiles;
    if (shape->tiles && block->row_begin % tiles->rows.rows == 0 &&
        block->rows == attn_int64_min(tiles->rows.rows, plan->problem.queries - block->row_begin) &&
        block->keys == attn_int64_min(plan->block_keys, plan->problem.keys - block->key_begin))
        return (enum attn_tile)
            shape->tiles[block->row_begin / tiles->rows.rows * tiles->key_blocks +
                         block->key_begin / plan->block_keys];
    return attn_content_tile(&shape->content, block->row_begin, row_end, block->key_begin, key_end);
}

/* Judge the block by the runs of keys, then by what is read. */
static enum attn_tile judge(const struct attn_block *block, const struct attn_plan *plan,
                            const struct attn_shape *shape)
{
    const int64_t row_end = block->row_begin + block->rows;
    const int64_t key_end = block->key_begin + block->keys;
    enum attn_tile tile =
        attn_mask_tile(&shape->mask, block->row_begin, row_end, block->key_begin, key_end);
    if (tile == ATTN_TILE_SKIP || !plan->reads_masks)
        return tile;
    return attn_tile_join(plan, tile, read_tile(block, plan, shape));
}

/* Who packs in his task would wait for each block of keys and values: the next one is asked for now. */
static void ask_for_next(struct attn_scores_call *call, const struct attn_block *block,
                         const struct attn_run_state *run, const struct attn_place *place)
{
    const attn_problem *p = &run->plan->problem;
    const int64_t next = block->key_begin + block->keys, size = attn_dtype_size(p->k.dtype);
    const int rows = (int)attn_int64_min(run->plan->block_keys, place->keys - next);
    if (rows <= 0)
        return;
    call->soon[0] = (struct attn_soon){.at = attn_place_key(run, place, next),
                                       .stride = p->k.stride[2] * size,
                                       .rows = rows,
                                       .row_bytes = p->head_size * size};
    if (run->args->o)
        call->soon[1] = (struct attn_soon){.at = attn_place_value(run, place, next),
                                           .stride = p->v.stride[2] * size,
                                           .rows = rows,
                                           .row_bytes = p->head_size_v * size};
}

/* Products of the block from packed keys; who packs for himself does it now. */
static void multiply_packed(const struct attn_block *block, const struct attn_run_state *run,
                            const struct attn_place *place, struct attn_scratch *scratch)
{
    const struct attn_plan *plan = run->plan;
    const int lanes = plan->kernels->lanes;
    if (place->packing == ATTN_PACK_IN_TASK)
        attn_pack_keys(run, place, scratch, block->key_begin, block->keys, scratch->keys);
    struct attn_scores_call call = {
        .queries = scratch->queries,
        .keys = place->packing == ATTN_PACK_IN_TASK
                    ? scratch->keys
                    : place->packed_keys + block->key_begin * plan->key_steps,
        .steps = plan->key_steps,
        .scale = plan->query_scale,
        .rows = block->rows,
        .vectors = (block->keys + lanes - 1) / lanes,
        .vector_first = block->vector_first,
        .vector_last = block->vector_last,
        .seen = block->marked ? block->seen : NULL,
        .scores = scratch->scores,
    };
    if (place->packing == ATTN_PACK_IN_TASK && !plan->cached)
        ask_for_next(&call, block, run, place);
    plan->kernels->scores(&call);
}

static void multiply_in_place(const struct attn_block *block, const struct attn_run_state *run,
                              const struct attn_place *place, struct attn_scratch *scratch)
{
    const struct attn_plan *plan = run->plan;
    struct attn_scores_in_place_call call = {
        .queries = scratch->queries,
        .keys = attn_place_key(run, place, block->key_begin),
        .dtype = plan->problem.k.dtype,
        .stride = plan->problem.k.stride[2],
        .steps = plan->key_steps,
        .scale = plan->query_scale,
        .rows = block->rows,
        .keys_used = block->keys,
        .key_first = INT16_MAX,
        .scores = scratch->scores,
    };
    for (int group = 0; group < block->groups; group++) {
        if (block->key_first[group] >= block->key_last[group])
            continue;
        if (block->key_first[group] < call.key_first)
            call.key_first = block->key_first[group];
        if (block->key_last[group] > call.key_last)
            call.key_last = block->key_last[group];
    }
    plan->kernels->scores_in_place(&call);
}

bool attn_block_judge(struct attn_block *block, const struct attn_run_state *run,
                      const struct attn_place *place, const struct attn_shape *shape,
                      struct attn_scratch *scratch, int64_t key_block)
{
    const struct attn_plan *plan = run->plan;
    block->key_begin = key_block * plan->block_keys;
    block->keys = (int)attn_int64_min(plan->block_keys, place->keys - block->key_begin);
    block->marked = false;
    block->tile = judge(block, plan, shape);
    block->all_seen = block->tile == ATTN_TILE_FULL;
    block->tile = attn_tile_worked(plan, block->tile, block->keys);
    if (block->tile == ATTN_TILE_SKIP)
        return false;
    if (block->tile == ATTN_TILE_FULL) {
        whole_hulls(block, plan->kernels);
    } else {
        find_hulls(block, &shape->mask, plan->kernels);
        if (plan->shaped)
            mark_block(block, plan, shape, scratch);
    }
    return true;
}

void attn_block_finish(struct attn_block *block, const struct attn_run_state *run,
                       const struct attn_place *place, const struct attn_shape *shape,
                       struct attn_scratch *scratch, bool measure)
{
    if (run->plan->shaped)
        finish_shaped(block, run, place, shape, scratch, measure);
    else
        finish_scores(block, run, &shape->mask, scratch, measure && run->plan->extras.logits);
}

bool attn_block_scores(struct attn_block *block, const struct attn_run_state *run,
                       const struct attn_place *place, const struct attn_shape *shape,
                       struct attn_scratch *scratch, int64_t key_block, bool measure)
{
    if (!attn_block_judge(block, run, place, shape, scratch, key_block))
        return false;
    if (place->packing == ATTN_PACK_NOTHING)
        multiply_in_place(block, run, place, scratch);
    else
        multiply_packed(block, run, place, scratch);
    attn_block_finish(block, run, place, shape, scratch, measure);
    return true;
}
