/* The two products of a block: scores = queries keys^T, output += weights values. In both the panel is the
 * outer loop: it stays in the first-level cache while the groups of rows go by. */
#include "base/soon.h"
#include "kernels/forward/in_place_body.h"
#include "kernels/forward/tile_body.h"

/* `vector` is the tile's first in the block; with width 1 either half of a panel. */
INLINE void scores_tile(const struct attn_scores_call *call, int vector, int group, const int width,
                        const int rows)
{
    const float *keys =
        call->keys + vector / 2 * call->steps * COLUMNS + (width == 1 ? vector % 2 * LANES : 0);
    struct tile tile = tile_multiply(tile_zero(), call->queries + group * call->steps * ROWS, ROWS,
                                     1, keys, call->steps, width, rows);
    if (PAIR == 2)
        tile = tile_scale(tile, call->scale);
    float *to = call->scores + (int64_t)group * ROWS * ATTN_SCORE_STRIDE + vector * LANES;
    tile_store(tile, to, ATTN_SCORE_STRIDE, width, rows);
}

INLINE void scores_group(const struct attn_scores_call *call, int vector, int group,
                         const int width, int rows)
{
    if (rows > 2 * TILE_STEP)
        scores_tile(call, vector, group, width, ROWS);
    else if (rows > TILE_STEP)
        scores_tile(call, vector, group, width, 2 * TILE_STEP);
    else
        scores_tile(call, vector, group, width, TILE_STEP);
}

/* The next `rows` rows of what is wanted soon. */
INLINE void ask_for_rows(struct attn_soon *soon, int rows)
{
    for (; rows > 0 && soon->rows > 0; rows--, soon->rows--, soon->at += soon->stride)
        attn_read_soon((uintptr_t)soon->at, soon->row_bytes);
}

static void scores(const struct attn_scores_call *call)
{
    const int tiles = (call->vectors + 1) / 2 * ((call->rows + ROWS - 1) / ROWS);
    struct attn_soon soon[2] = {call->soon[0], call->soon[1]};
    const int rows_soon = tiles > 0 ? (soon[0].rows + tiles - 1) / tiles : 0; /* for each tile */
    for (int vector = 0; vector < call->vectors; vector += 2)
        for (int group = 0, rows = call->rows; rows > 0; group++, rows -= ROWS) {
            ask_for_rows(&soon[0], rows_soon);
            ask_for_rows(&soon[1], rows_soon);
            int first = call->vector_first[group], last = call->vector_last[group];
            if (call->seen && !(call->seen[group] >> vector / 2 & 1))
                continue;
            bool left = first <= vector && vector < last;
            bool right = first <= vector + 1 && vector + 1 < last;
            if (left && right)
                scores_group(call, vector, group, 2, rows);
            else if (left || right)
                scores_group(call, vector + right, group, 1, rows);
        }
}

/* The end of the run of keys from `key` on whose panels are all wanted, or all not. */
INLINE int run_end(uint64_t seen, int key, int last)
{
    if (seen == UINT64_MAX)
        return last;
    const uint64_t wanted = seen >> key / COLUMNS & 1;
    int panel = key / COLUMNS + 1;
    while (panel * COLUMNS < last && (seen >> panel & 1) == wanted)
        panel++;
    return panel * COLUMNS < last ? panel * COLUMNS : last;
}

INLINE void values_tile(const struct attn_values_call *call, int panel, int group, const int width,
                        const int rows)
{
    const uint64_t seen = call->seen ? call->seen[group] : UINT64_MAX;
    const float *scores = call->scores + (int64_t)group * ROWS * ATTN_SCORE_STRIDE;
    const float *values = call->values + panel * call->steps * COLUMNS;
    float *output = call->output + ((int64_t)panel * call->output_rows + group * ROWS) * COLUMNS;
    struct tile tile = tile_load(output, COLUMNS, width, rows);
    for (int key = call->key_first[group], last = call->key_last[group]; key < last;) {
        int end = run_end(seen, key, last);
        int first = key / PAIR, steps = (end + PAIR - 1) / PAIR - first;
        if (seen >> key / COLUMNS & 1)
            tile = tile_multiply(tile, scores + first, 1, ATTN_SCORE_STRIDE,
                                 values + first * COLUMNS, steps, width, rows);
        key = end;
    }
    tile_store(tile, output, COLUMNS, width, rows);
}

enum { PACKED = 0 }; /* no attn_dtype: the values of a call that lie packed, not in place */

/* Values packed or, of a dtype, in place. */
INLINE void values_group(const struct attn_values_call *call, int panel, int group, const int width,
                         const int rows, const int source)
{
    if (source == PACKED)
        values_tile(call, panel, group, width, rows);
    else
        values_in_place_tile(call, panel, group, width, rows, (attn_dtype)source);
}

INLINE void values_panel(const struct attn_values_call *call, int panel, const int width,
                         const int source)
{
    for (int group = 0, rows = call->rows; rows > 0; group++, rows -= ROWS) {
        if (call->key_first[group] >= call->key_last[group])
            continue;
        if (rows > 2 * TILE_STEP)
            values_group(call, panel, group, width, ROWS, source);
        else if (rows > TILE_STEP)
            values_group(call, panel, group, width, 2 * TILE_STEP, source);
        else
            values_group(call, panel, group, width, TILE_STEP, source);
    }
}

INLINE void values_from(const struct attn_values_call *call, const int source)
{
    int whole = call->panels - call->half_panel;
    for (int panel = 0; panel < whole; panel++)
        values_panel(call, panel, 2, source);
    if (call->half_panel)
        values_panel(call, whole, 1, source);
}

static void values(const struct attn_values_call *call)
{
    values_from(call, PACKED);
}

static void values_in_place(const struct attn_values_call *call)
{
#ifdef ATTN_BF16_PAIRS
    values_from(call, ATTN_BF16);
#else
    if (call->dtype == ATTN_F32)
        values_from(call, ATTN_F32);
    else if (call->dtype == ATTN_BF16)
        values_from(call, ATTN_BF16);
    else
        values_from(call, ATTN_F16);
#endif
}
