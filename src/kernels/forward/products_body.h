/* The two products of a block: scores = queries keys^T, output += weights values. In both the panel is the
 * outer loop: it stays in the first-level cache while the groups of rows go by. */
#include "kernels/forward/tile_body.h"

static void scores(const struct attn_scores_call *call)
{
    const int64_t panel_size = call->steps * COLUMNS;
    const int64_t group_size = call->steps * ROWS;
    for (int panel = 0; panel < call->panels; panel++) {
        const float *keys = call->keys + panel * panel_size;
        for (int group = 0; group < call->groups; group++) {
            if (panel < call->panel_first[group] || panel >= call->panel_last[group])
                continue;
            struct tile tile = tile_multiply(tile_zero(), call->queries + group * group_size, ROWS,
                                             1, keys, call->steps, 2);
            if (PAIR == 2)
                tile = tile_scale(tile, call->scale);
            float *to = call->scores + (int64_t)group * ROWS * ATTN_SCORE_STRIDE + panel * COLUMNS;
            tile_store(tile, to, ATTN_SCORE_STRIDE, 2);
        }
    }
}

INLINE void values_panel(const struct attn_values_call *call, int panel, const int width)
{
    const float *values = call->values + panel * call->steps * COLUMNS;
    float *output = call->output + panel * call->output_rows * COLUMNS;
    for (int group = 0; group < call->groups; group++) {
        int first = call->key_first[group], last = call->key_last[group];
        if (first >= last)
            continue;
        float *rows = output + (int64_t)group * ROWS * COLUMNS;
        const float *weights =
            call->scores + (int64_t)group * ROWS * ATTN_SCORE_STRIDE + first / PAIR;
        struct tile tile = tile_load(rows, COLUMNS, width);
        tile = tile_multiply(tile, weights, 1, ATTN_SCORE_STRIDE, values + first / PAIR * COLUMNS,
                             (last - first + PAIR - 1) / PAIR, width);
        tile_store(tile, rows, COLUMNS, width);
    }
}

static void values(const struct attn_values_call *call)
{
    int whole = call->panels - call->half_panel;
    for (int panel = 0; panel < whole; panel++)
        values_panel(call, panel, 2);
    if (call->half_panel)
        values_panel(call, whole, 1);
}
