/* Turning what is packed, and keys of a cache once they are f32. Angles and products are those of
 * attn_rotary_apply, in f32, so f32 tensors give the bits that turning them first would; bf16 and f16 are
 * spared one rounding, but where bf16 is multiplied in pairs, which is rounded to bf16 again and so gives the
 * same bits too. */
#include "attention/turned.h"

#include "base/half.h"
#include "plan/lengths.h"

/* The same for q and k but for where a row stands. */
static struct attn_rows_at turn_rows(const struct attn_run_state *run, const void *from,
                                     const attn_layout *layout, struct attn_scratch *scratch,
                                     const int64_t *positions, int64_t position, int count,
                                     int slot)
{
    const struct attn_plan *plan = run->plan;
    const int64_t size = plan->problem.head_size;
    float *rows = scratch->turned + slot * size;
    for (int i = 0; i < count; i++) {
        const char *row =
            (const char *)from + i * layout->stride[2] * attn_dtype_size(layout->dtype);
        attn_turn_row(plan->turn, &scratch->turn, rows + i * size, row, layout->dtype, size,
                      positions ? positions[i] : position + i);
    }
    if (plan->kernels->pair == 1)
        return (struct attn_rows_at){rows, ATTN_F32, size};
    uint16_t *half = scratch->turned_half + slot * size;
    attn_turn_narrow(half, ATTN_BF16, rows, count * size);
    return (struct attn_rows_at){half, ATTN_BF16, size};
}

/* The entry of a sequence's row 0 in an array of positions. */
static int64_t entry(const struct attn_run_state *run, const struct attn_place *place,
                     int64_t origin, int64_t length)
{
    return attn_is_ragged(run->plan->problem.lengths) ? origin : place->batch * length;
}

struct attn_rows_at attn_query_rows(const struct attn_run_state *run,
                                    const struct attn_place *place, struct attn_scratch *scratch,
                                    int64_t first, int count, int slot)
{
    const attn_layout *layout = &run->plan->problem.q;
    const attn_args *args = run->args;
    const void *from = attn_place_query(run, place, first);
    if (!run->plan->turn)
        return (struct attn_rows_at){from, layout->dtype, layout->stride[2]};
    const int64_t at = entry(run, place, place->query_origin, args->queries) + first;
    return turn_rows(run, from, layout, scratch,
                     args->query_positions ? args->query_positions + at : NULL,
                     first + attn_run_offset(run, place), count, slot);
}

struct attn_rows_at attn_key_rows(const struct attn_run_state *run, const struct attn_place *place,
                                  struct attn_scratch *scratch, int64_t first, int count, int slot)
{
    const attn_layout *layout = &run->plan->problem.k;
    const attn_args *args = run->args;
    const void *from = attn_place_key(run, place, first);
    if (!run->plan->turn)
        return (struct attn_rows_at){from, layout->dtype, layout->stride[2]};
    const int64_t at = entry(run, place, place->key_origin, args->keys) + first;
    return turn_rows(run, from, layout, scratch,
                     args->key_positions ? args->key_positions + at : NULL, first, count, slot);
}

void attn_turn_gathered(const struct attn_run_state *run, const struct attn_place *place,
                        struct attn_scratch *scratch, int64_t begin, int count, int64_t stride)
{
    const struct attn_plan *plan = run->plan;
    const struct attn_mask stands = {.stands = attn_run_stands(run, place)};
    const int64_t *positions = run->args->key_positions;
    if (positions)
        positions += place->batch * run->args->keys + begin;
    float *row = scratch->gathered;
    for (int j = 0; j < count; j++, row += stride)
        attn_turn_row(plan->turn, &scratch->turn, row, row, ATTN_F32, plan->problem.head_size,
                      positions ? positions[j] : attn_mask_position(&stands, begin + j));
}

struct attn_cached_rows attn_turned_cached_keys(const struct attn_run_state *run,
                                                const struct attn_place *place,
                                                struct attn_scratch *scratch, int64_t begin,
                                                int count)
{
    const int64_t stride = attn_cached_gather_keys(run, place, scratch, begin, count);
    attn_turn_gathered(run, place, scratch, begin, count, stride);
    for (int j = 0; j < count; j++)
        scratch->decode.keys[j] = scratch->gathered + j * stride;
    return (struct attn_cached_rows){
        .dtype = ATTN_F32,
        .at = scratch->decode.keys,
        .size = run->plan->problem.head_size,
        .step = stride * (int64_t)sizeof(float),
        .count = count,
    };
}
