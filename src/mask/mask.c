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

/* The first row in [0, rows) whose `border` is > key: borders rise, so halving finds it. */
enum border { BORDER_PREFIX, BORDER_FIRST, BORDER_LAST };

static int64_t first_row_past(const struct attn_mask *mask, int64_t rows, int64_t key,
                              enum border border)
{
    int64_t low = 0, high = rows;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        struct attn_row_keys row = attn_mask_row(mask, middle);
        int64_t value = border == BORDER_PREFIX  ? row.prefix
                        : border == BORDER_FIRST ? row.first
                                                 : row.last;
        if (value > key)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

int64_t attn_mask_viewers(const struct attn_mask *mask, int64_t rows, int64_t key)
{
    if (attn_mask_excludes(mask, key))
        return 0;
    /* A key is seen from the row where `last` passes it until the one where `first` does, and from the
     * one where `prefix` does; the last two never leave a gap that counts twice. */
    int64_t enters = first_row_past(mask, rows, key, BORDER_LAST);
    int64_t leaves = first_row_past(mask, rows, key, BORDER_FIRST);
    int64_t prefix = first_row_past(mask, rows, key, BORDER_PREFIX);
    int64_t by_run = attn_int64_max(0, leaves - enters);
    int64_t by_prefix = rows - prefix;
    int64_t both = attn_int64_max(0, leaves - attn_int64_max(enters, prefix));
    return by_run + by_prefix - both;
}
