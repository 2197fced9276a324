/* Judging blocks, and counting; see mask.h for why two rows are enough. */
#include "mask/mask.h"

bool attn_mask_excludes(const struct attn_mask *mask, int64_t key)
{
    for (int64_t i = 0; i < mask->excluded_count; i++)
        if (mask->excluded[i] == key)
            return true;
    return false;
}

static bool any_excluded_in(const struct attn_mask *mask, int64_t begin, int64_t end)
{
    for (int64_t i = 0; i < mask->excluded_count; i++)
        if (begin <= mask->excluded[i] && mask->excluded[i] < end)
            return true;
    return false;
}

enum attn_tile attn_mask_tile(const struct attn_mask *mask, int64_t row_begin, int64_t row_end,
                              int64_t key_begin, int64_t key_end)
{
    struct attn_row_keys first = attn_mask_row(mask, row_begin);
    struct attn_row_keys last = attn_mask_row(mask, row_end - 1);

    /* Borders rise, so no row sees more of the prefix than the last one, and together the second runs
     * lie in [first.first, last.last). */
    bool prefix_meets = key_begin < last.prefix;
    bool run_meets = key_end > first.first && key_begin < last.last;
    if (!prefix_meets && !run_meets)
        return ATTN_TILE_SKIP;
    if (any_excluded_in(mask, key_begin, key_end))
        return ATTN_TILE_PARTIAL;

    bool in_prefix = key_end <= first.prefix;
    bool in_run = last.first <= key_begin && key_end <= first.last;
    bool joined = first.prefix == first.first && last.prefix == last.first && key_end <= first.last;
    return in_prefix || in_run || joined ? ATTN_TILE_FULL : ATTN_TILE_PARTIAL;
}

int64_t attn_mask_visible(const struct attn_mask *mask, int64_t query)
{
    struct attn_row_keys row = attn_mask_row(mask, query);
    int64_t count = row.prefix + (row.last - row.first);
    for (int64_t i = 0; i < mask->excluded_count; i++) {
        int64_t key = mask->excluded[i];
        if (key < 0 || !attn_row_sees(&row, key))
            continue;
        bool again = false;
        for (int64_t j = 0; j < i; j++)
            again |= mask->excluded[j] == key;
        count -= !again;
    }
    return count;
}

static void count_run(int32_t *steps, int64_t keys, int64_t begin, int64_t end)
{
    begin = attn_int64_max(0, begin);
    if (begin >= end || begin >= keys)
        return;
    steps[begin]++;
    if (end < keys)
        steps[end]--;
}

void attn_mask_viewers(const struct attn_mask *mask, int64_t rows, int64_t begin, int64_t end,
                       int32_t *viewers)
{
    /* Where the count rises and falls from one key to the next, then the running sum. */
    const int64_t keys = end - begin;
    for (int64_t key = 0; key < keys; key++)
        viewers[key] = 0;
    for (int64_t query = 0; query < rows; query++) {
        struct attn_row_keys row = attn_mask_row(mask, query);
        count_run(viewers, keys, -begin, row.prefix - begin);
        count_run(viewers, keys, row.first - begin, row.last - begin);
    }
    for (int64_t key = 1; key < keys; key++)
        viewers[key] += viewers[key - 1];
    /* a key of the batch's longest sequence may lie behind the end of this one */
    for (int64_t i = 0; i < mask->excluded_count; i++)
        if (mask->excluded[i] >= begin && mask->excluded[i] < end)
            viewers[mask->excluded[i] - begin] = 0;
}
