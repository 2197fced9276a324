/* Which keys a row sees, and what that makes of a block of rows and keys.
 *
 * Causal masks, windows, window prefixes and prefix_lm together leave every row two runs of keys,
 *
 *     [0, prefix)  and  [first, last),      0 <= prefix <= first <= last <= Nk,
 *
 * and none of the three borders ever moves down from one row to the next (each is monotone in the query's
 * position). So a block of rows is judged by its first and its last row alone. Excluded keys are a
 * handful, taken out of the blocks they fall into. */
#ifndef ATTN_MASK_MASK_H
#define ATTN_MASK_MASK_H

#include "base/sizes.h"

/* Where the keys of a cache stand, if not each at its index: slot `first` + i of the pages `indices` holds key
 * i, and positions[page * page_size + slot in it] rises from key to key. */
struct attn_key_stands {
    const int32_t *positions; /* NULL: key i stands at i */
    const int32_t *indices;
    int64_t page_size, first;
};

/* The mask of one (sequence, query head) in one run. */
struct attn_mask {
    int64_t keys;          /* Nk */
    int64_t offset;        /* query i stands at position i + offset */
    int64_t left, right;   /* of the window; -1 = unlimited */
    int64_t window_prefix; /* keys exempt from the window */
    int64_t prefix_lm;     /* keys exempt from window and causal */
    bool causal;
    const int64_t *excluded; /* [excluded_count], -1 = none */
    int64_t excluded_count;
    struct attn_key_stands stands;
};

static inline int64_t attn_mask_position(const struct attn_mask *mask, int64_t key)
{
    const struct attn_key_stands *s = &mask->stands;
    if (!s->positions)
        return key;
    int64_t slot = s->first + key;
    return s->positions[s->indices[slot / s->page_size] * s->page_size + slot % s->page_size];
}

/* How many keys stand before `border`. */
static inline int64_t attn_mask_rank(const struct attn_mask *mask, int64_t border)
{
    int64_t low = 0, high = mask->keys; /* keys before low do, from high on none does */
    if (!mask->stands.positions)
        return attn_int64_max(0, attn_int64_min(border, high));
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (attn_mask_position(mask, middle) < border)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The keys a row sees, before the excluded ones are taken out. */
struct attn_row_keys {
    int64_t prefix, first, last;
};

static inline struct attn_row_keys attn_mask_row(const struct attn_mask *mask, int64_t query)
{
    int64_t position = query + mask->offset;
    int64_t causal_end = mask->causal ? attn_mask_rank(mask, position + 1) : mask->keys;
    struct attn_row_keys row = {0, 0, causal_end};
    if (mask->right >= 0)
        row.last = attn_int64_min(causal_end, attn_mask_rank(mask, position + mask->right + 1));
    if (mask->left >= 0)
        row.first = attn_mask_rank(mask, position - mask->left);
    row.last = attn_int64_max(row.first, row.last);

    int64_t exempt = attn_int64_min(attn_mask_rank(mask, mask->window_prefix), causal_end);
    row.prefix = attn_int64_max(exempt, attn_mask_rank(mask, mask->prefix_lm));
    if (row.prefix >= row.first) { /* one run */
        row.last = attn_int64_max(row.last, row.prefix);
        row.first = row.prefix;
    }
    return row;
}

static inline bool attn_row_sees(const struct attn_row_keys *row, int64_t key)
{
    return key < row->prefix || (row->first <= key && key < row->last);
}

/* Whether the row, by its runs, sees every key of [begin, end). */
static inline bool attn_row_sees_all(const struct attn_row_keys *row, int64_t begin, int64_t end)
{
    return end <= row->prefix || (row->first <= begin && end <= row->last) ||
           (row->prefix == row->first && end <= row->last);
}

/* The part of a row's keys inside [begin, end), counted from begin: two runs [0, prefix), [first, last)
 * in the same order as above, and their hull [hull_first, hull_last). Nothing visible: an empty hull. */
struct attn_row_part {
    int prefix, first, last;
    int hull_first, hull_last;
};

static inline struct attn_row_part attn_row_clip(const struct attn_row_keys *row, int64_t begin,
                                                 int64_t end)
{
    int64_t length = end - begin;
    int64_t prefix = attn_int64_max(0, attn_int64_min(row->prefix - begin, length));
    int64_t first = attn_int64_max(prefix, attn_int64_min(row->first - begin, length));
    int64_t last = attn_int64_max(first, attn_int64_min(row->last - begin, length));
    struct attn_row_part part = {(int)prefix, (int)first, (int)last, 0, 0};
    part.hull_first = prefix > 0 ? 0 : (int)first;
    part.hull_last = last > first ? (int)last : (int)prefix;
    if (part.hull_last <= part.hull_first)
        part.hull_first = part.hull_last = 0;
    return part;
}

enum attn_tile { ATTN_TILE_SKIP, ATTN_TILE_FULL, ATTN_TILE_PARTIAL };

/* What rows [row_begin, row_end) and keys [key_begin, key_end), neither empty, are to each other:
 * SKIP = no row sees any, FULL = every row sees all, PARTIAL = anything else. */
enum attn_tile attn_mask_tile(const struct attn_mask *mask, int64_t row_begin, int64_t row_end,
                              int64_t key_begin, int64_t key_end);

/* How many keys a row sees, the excluded ones taken out (each counted once however often it is named). */
int64_t attn_mask_visible(const struct attn_mask *mask, int64_t query);

bool attn_mask_excludes(const struct attn_mask *mask, int64_t key);

/* How many of `rows` rows see each key of [begin, end), into viewers[end - begin]. */
void attn_mask_viewers(const struct attn_mask *mask, int64_t rows, int64_t begin, int64_t end,
                       int32_t *viewers);

#endif
