/* Positions rise from key to key, so keys that stand within borders lie together: a mass by positions is one
 * between two keys, which are searched for once for each row. */
#include "attention/stands.h"

void attn_stands_rows(const struct attn_plan *plan, const struct attn_mask *mask, int64_t row_begin,
                      int rows, const struct attn_scratch *scratch)
{
    const struct attn_row_extras *extras = &plan->extras;
    for (int row = 0; scratch->borders && row < rows; row++) {
        const int64_t position = row_begin + row + mask->offset;
        scratch->borders[row] = (struct attn_mass_borders){
            .previous = attn_mask_rank(mask, position - 1),
            .self = attn_mask_rank(mask, position),
            .next = attn_mask_rank(mask, position + 1),
            .after_next = attn_mask_rank(mask, position + 2),
            .first = attn_mask_rank(mask, extras->first_keys),
            .local_begin = attn_mask_rank(mask, position - extras->local_distance),
            .local_end = attn_mask_rank(mask, position + extras->local_distance + 1),
        };
    }
}

void attn_stands_keys(const struct attn_mask *mask, int64_t key_begin, int keys,
                      const struct attn_scratch *scratch)
{
    if (!scratch->stands)
        return;
    for (int j = 0; j < keys; j++)
        scratch->stands[j] = (int32_t)attn_mask_position(mask, key_begin + j);
    for (int j = keys; j < ATTN_BLOCK_KEYS; j++)
        scratch->stands[j] = 0; /* what fills up the last vector has weight 0 */
}
