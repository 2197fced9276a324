/* Scores of a block: judge it, multiply, cap, mask. A full block skips all that a mask would need. */
#include "attention/block.h"

#include <math.h>

void attn_block_rows(struct attn_block *block, const struct attn_run_state *run,
                     const struct attn_place *place, struct attn_scratch *scratch,
                     int64_t row_begin, int rows)
{
    const struct attn_plan *plan = run->plan;
    const attn_layout *layout = &plan->problem.q;
    const int group_rows = plan->kernels->rows;
    const float *q = (const float *)run->args->q + place->batch * layout->stride[0] +
                     place->head * layout->stride[1] + row_begin * layout->stride[2];
    block->row_begin = row_begin;
    block->rows = rows;
    block->groups = (rows + group_rows - 1) / group_rows;
    for (int group = 0; group < block->groups; group++) {
        int first = group * group_rows;
        int used = rows - first < group_rows ? rows - first : group_rows;
        plan->kernels->pack_queries(q + first * layout->stride[2], layout->stride[2], used,
                                    plan->problem.head_size, plan->query_scale,
                                    scratch->queries + (int64_t)first * plan->problem.head_size);
    }
}

static struct attn_row_part row_part(const struct attn_block *block, const struct attn_mask *mask,
                                     int row)
{
    struct attn_row_keys keys = attn_mask_row(mask, block->row_begin + row);
    return attn_row_clip(&keys, block->key_begin, block->key_begin + block->keys);
}

/* What each group works on: whole panels that cover what its rows see. */
static void find_hulls(struct attn_block *block, const struct attn_mask *mask, int group_rows,
                       int columns)
{
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
        first = last > 0 ? first / columns : 0;
        last = (last + columns - 1) / columns;
        block->panel_first[group] = (int16_t)first;
        block->panel_last[group] = (int16_t)last;
        block->key_first[group] = (int16_t)(first * columns);
        block->key_last[group] = (int16_t)(last * columns);
    }
}

static void whole_hulls(struct attn_block *block, int columns)
{
    for (int group = 0; group < block->groups; group++) {
        block->panel_first[group] = block->key_first[group] = 0;
        block->panel_last[group] = (int16_t)(block->keys / columns);
        block->key_last[group] = (int16_t)block->keys;
    }
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

/* Logits, cap and mask, row by row; which of them is needed was decided by the caller. */
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

bool attn_block_scores(struct attn_block *block, const struct attn_run_state *run,
                       const struct attn_place *place, const struct attn_mask *mask,
                       struct attn_scratch *scratch, int64_t key_block, bool measure)
{
    const struct attn_plan *plan = run->plan;
    const int columns = plan->kernels->columns;
    const int64_t head_size = plan->problem.head_size;
    block->key_begin = key_block * plan->block_keys;
    block->keys = (int)attn_int64_min(plan->block_keys, run->args->keys - block->key_begin);
    block->tile = attn_mask_tile(mask, block->row_begin, block->row_begin + block->rows,
                                 block->key_begin, block->key_begin + block->keys);
    if (block->tile == ATTN_TILE_SKIP)
        return false;
    if (block->tile == ATTN_TILE_FULL && block->keys % columns == 0) {
        whole_hulls(block, columns);
    } else {
        block->tile = ATTN_TILE_PARTIAL; /* the last panel's empty columns are masked too */
        find_hulls(block, mask, plan->kernels->rows, columns);
    }

    struct attn_scores_call call = {
        .queries = scratch->queries,
        .keys = place->keys + block->key_begin * head_size,
        .head_size = head_size,
        .groups = block->groups,
        .panels = (block->keys + columns - 1) / columns,
        .panel_first = block->panel_first,
        .panel_last = block->panel_last,
        .scores = scratch->scores,
    };
    plan->kernels->scores(&call);
    finish_scores(block, run, mask, scratch, measure && plan->extras.logits);
    return true;
}
