/* The forward pass of one block of query rows: for each block of keys that any of its rows sees, scores ->
 * softmax with statistics -> values; then the rows are finished and stored. */
#include <math.h>

#include "attention/block.h"
#include "attention/rows.h"
#include "attention/stands.h"
#include "base/half.h"

/* The values of one block: where they are, and whether any is NaN or Inf (asked only where some row does not
 * see every key). */
struct block_values {
    const void *from; /* packed, or the first of them where it lies */
    bool in_place, poisoned;
};

static struct block_values find_values(const struct attn_block *block,
                                       const struct attn_run_state *run,
                                       const struct attn_place *place, struct attn_scratch *scratch)
{
    const struct attn_plan *plan = run->plan;
    const struct attn_kernels *kernels = plan->kernels;
    const attn_layout *layout = &plan->problem.v;
    struct block_values values = {0};
    switch (place->packing) {
    case ATTN_PACK_SHARED:
        values.from = place->packed_values +
                      block->key_begin / kernels->pair * plan->values.count * kernels->columns;
        values.poisoned = place->non_finite[block->key_begin / plan->block_keys];
        break;
    case ATTN_PACK_IN_TASK:
        values.poisoned =
            attn_pack_values(run, place, scratch, block->key_begin, block->keys, scratch->values);
        values.from = scratch->values;
        break;
    case ATTN_PACK_NOTHING:
        values.from = attn_place_value(run, place, block->key_begin);
        values.in_place = true;
        values.poisoned = block->tile != ATTN_TILE_FULL &&
                          kernels->non_finite(values.from, layout->dtype, layout->stride[2],
                                              block->keys, plan->problem.head_size_v);
        break;
    }
    return values;
}

/* Element `along` of the summed axis, `across` of the other, which is `width` long: f32, or bf16 pairs. */
static float element(const void *packed, const struct attn_plan *plan, int64_t along,
                     int64_t across, int64_t width)
{
    if (plan->kernels->pair == 1)
        return attn_element_value(packed, ATTN_F32, along * width + across);
    return attn_element_value(packed, ATTN_BF16, (along / 2 * width + across) * 2 + along % 2);
}

static float value_element(const struct block_values *values, const struct attn_block *block,
                           const struct attn_plan *plan, int64_t key, int64_t channel)
{
    const int columns = plan->kernels->columns;
    if (values->in_place)
        return attn_element_value(values->from, plan->problem.v.dtype,
                                  key * plan->problem.v.stride[2] + channel);
    int64_t panel_size = attn_kernels_steps(plan->kernels, block->keys) * columns;
    const float *panel = (const float *)values->from + channel / columns * panel_size;
    return element(panel, plan, key, channel % columns, columns);
}

/* Values of a block where some value is NaN or Inf and some row does not see every key: only pairs that
 * are visible may meet, for 0 * NaN is NaN. */
static void selecting_values(const struct attn_block *block, const struct attn_run_state *run,
                             const struct attn_mask *mask, const struct block_values *values,
                             struct attn_scratch *scratch)
{
    const struct attn_plan *plan = run->plan;
    const int columns = plan->kernels->columns;
    for (int row = 0; row < block->rows; row++) {
        int group = row / plan->kernels->rows;
        struct attn_row_keys keys = attn_mask_row(mask, block->row_begin + row);
        for (int j = block->key_first[group]; j < block->key_last[group]; j++) {
            int64_t key = block->key_begin + j;
            if (j >= block->keys)
                continue;
            if (block->marked ? !scratch->visible[(int64_t)row * ATTN_BLOCK_KEYS + j]
                              : !attn_row_sees(&keys, key) || attn_mask_excludes(mask, key))
                continue;
            float weight =
                element(scratch->scores + (int64_t)row * ATTN_SCORE_STRIDE, plan, j, 0, 1);
            for (int64_t channel = 0; channel < plan->problem.head_size_v; channel++) {
                int64_t panel = channel / columns, lane = channel % columns;
                scratch->output[(panel * ATTN_BLOCK_ROWS + row) * columns + lane] +=
                    weight * value_element(values, block, plan, j, channel);
            }
        }
    }
}

static struct attn_values_call values_call(const struct attn_block *block,
                                           const struct attn_run_state *run,
                                           const struct attn_scratch *scratch,
                                           struct attn_panels panels, float *output)
{
    return (struct attn_values_call){
        .scores = scratch->scores,
        .steps = attn_kernels_steps(run->plan->kernels, block->keys),
        .rows = block->rows,
        .panels = panels.count,
        .half_panel = panels.half,
        .key_first = block->value_first,
        .key_last = block->value_last,
        .output = output,
        .output_rows = ATTN_BLOCK_ROWS,
        .seen = block->marked ? block->seen : NULL,
    };
}

static void add_values(const struct attn_block *block, const struct attn_run_state *run,
                       const struct attn_place *place, const struct attn_mask *mask,
                       struct attn_scratch *scratch)
{
    const struct attn_plan *plan = run->plan;
    if (run->args->o) {
        struct block_values values = find_values(block, run, place, scratch);
        struct attn_values_call call =
            values_call(block, run, scratch, plan->values, scratch->output);
        if (values.poisoned && block->tile != ATTN_TILE_FULL) {
            selecting_values(block, run, mask, &values, scratch);
        } else if (values.in_place) {
            call.in_place = values.from;
            call.dtype = plan->problem.v.dtype;
            call.stride = plan->problem.v.stride[2];
            plan->kernels->values_in_place(&call);
        } else {
            call.values = values.from;
            plan->kernels->values(&call);
        }
    }
    if (place->segments) {
        struct attn_values_call call =
            values_call(block, run, scratch, plan->segments, scratch->segment_output);
        call.values =
            place->segments + block->key_begin * plan->segments.count * plan->kernels->columns;
        plan->kernels->values(&call);
    }
}

static void rescale_outputs(const struct attn_run_state *run, int rows, const float *rescale,
                            struct attn_scratch *scratch)
{
    const struct attn_plan *plan = run->plan;
    const int columns = plan->kernels->columns;
    for (int row = 0; row < rows; row++) {
        if (rescale[row] == 1.0f)
            continue;
        if (run->args->o)
            plan->kernels->rescale_row(scratch->output + (int64_t)row * columns, ATTN_BLOCK_ROWS,
                                       plan->values.count, rescale[row]);
        if (plan->segments.count > 0)
            plan->kernels->rescale_row(scratch->segment_output + (int64_t)row * columns,
                                       ATTN_BLOCK_ROWS, plan->segments.count, rescale[row]);
    }
}

static void softmax_block(const struct attn_block *block, const struct attn_run_state *run,
                          const struct attn_mask *mask, struct attn_scratch *scratch)
{
    const struct attn_plan *plan = run->plan;
    float rescale[ATTN_BLOCK_ROWS];
    attn_stands_keys(mask, block->key_begin, block->keys, scratch);
    struct attn_softmax_call call = {
        .scores = scratch->scores,
        .rows = block->rows,
        .group_rows = plan->kernels->rows,
        .key_first = block->key_first,
        .key_last = block->key_last,
        .row = scratch->rows,
        .rescale = rescale,
        .extras = &plan->extras,
        .key_begin = block->key_begin,
        .position = block->row_begin + mask->offset,
        .borders = scratch->borders,
        .stands = scratch->stands,
        .top_keys = scratch->top_keys,
        .top_scores = scratch->top_scores,
    };
    plan->softmax(&call);
    if (call.rescaled)
        rescale_outputs(run, block->rows, rescale, scratch);
}

/* Rows of a padded batch behind the end of their sequence: they see nothing. */
static void finish_padding(const struct attn_run_state *run, const struct attn_place *place,
                           struct attn_scratch *scratch)
{
    if (run->plan->problem.lengths != ATTN_LENGTHS_PADDED)
        return;
    const struct attn_mask nothing = {0};
    for (int64_t row = place->queries; row < run->args->queries; row += ATTN_BLOCK_ROWS) {
        int rows = (int)attn_int64_min(ATTN_BLOCK_ROWS, run->args->queries - row);
        attn_rows_begin(run, scratch, rows);
        attn_rows_finish(run, place, &nothing, scratch, row, rows);
    }
}

void attn_task_forward(void *argument, int64_t index, int worker)
{
    struct attn_run_state *run = argument;
    const struct attn_plan *plan = run->plan;
    const int64_t group_heads = plan->problem.heads / plan->problem.kv_heads;
    const int64_t head = index / run->row_blocks.count;
    struct attn_scratch scratch = attn_workspace_scratch(&run->workspace, plan, worker);
    struct attn_place place = attn_run_place(run, head / group_heads, head % group_heads);
    /* under a causal border later rows see more: the longest tasks of a head first */
    const int64_t row_block = run->row_blocks.count - 1 - index % run->row_blocks.count;
    if (row_block == 0)
        finish_padding(run, &place, &scratch);
    if (row_block >= place.blocks.count || (plan->cached && place.packing == ATTN_PACK_NOTHING))
        return;
    const int64_t row_begin = row_block * place.blocks.rows;
    const int rows = (int)attn_int64_min(place.blocks.rows, place.queries - row_begin);

    struct attn_shape shape = attn_run_shape(run, &place);
    struct attn_block block;
    attn_rows_begin(run, &scratch, rows);
    attn_stands_rows(plan, &shape.mask, row_begin, rows, &scratch);
    if (place.keys > 0)
        attn_block_rows(&block, run, &place, &scratch, row_begin, rows);
    for (int64_t key_block = 0; key_block < place.key_blocks; key_block++) {
        if (!attn_block_scores(&block, run, &place, &shape, &scratch, key_block, true))
            continue;
        softmax_block(&block, run, &shape.mask, &scratch);
        add_values(&block, run, &place, &shape.mask, &scratch);
    }
    attn_rows_finish(run, &place, &shape.mask, &scratch, row_begin, rows);
}
