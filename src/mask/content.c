/* Reading masks; see content.h. */
#include "mask/content.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "base/soon.h"

static enum attn_tile tile_of(struct attn_verdict v)
{
    return v.all ? ATTN_TILE_FULL : v.any ? ATTN_TILE_PARTIAL : ATTN_TILE_SKIP;
}

/* Rows lie far apart, and no hardware foresees the next one: ask for what stands some rows below `row`, or, past
 * the last row, for nothing. */
static void ask_below(const void *row, int64_t stride, int64_t bytes)
{
    enum { ROWS_AHEAD = 8 };
    attn_read_soon((uintptr_t)row + (uintptr_t)(ROWS_AHEAD * stride), bytes);
}

static bool bit_of(const uint8_t *row, int64_t key)
{
    return row[key >> 3] >> (key & 7) & 1;
}

static struct attn_verdict look_at_bits(const uint8_t *row, int64_t key_begin, int64_t key_end)
{
    struct attn_verdict v = {false, true};
    int64_t key = key_begin;
    for (; key < key_end && key % 8 != 0; key++)
        v = (struct attn_verdict){v.any || bit_of(row, key), v.all && bit_of(row, key)};
    for (; key + 8 <= key_end; key += 8)
        v = (struct attn_verdict){v.any || row[key / 8] != 0, v.all && row[key / 8] == 0xff};
    for (; key < key_end; key++)
        v = (struct attn_verdict){v.any || bit_of(row, key), v.all && bit_of(row, key)};
    return v;
}

static enum attn_tile mask_tile(const struct attn_content *c, int64_t row_begin, int64_t row_end,
                                int64_t key_begin, int64_t key_end)
{
    struct attn_verdict tile = {false, true};
    for (int64_t row = row_begin; row < row_end && (tile.all || !tile.any); row++) {
        const uint8_t *mask = c->mask + row * c->mask_stride;
        struct attn_verdict v = c->kind == ATTN_MASK_BYTES
                                    ? c->loops->look_at_bytes(mask + key_begin, key_end - key_begin)
                                    : look_at_bits(mask, key_begin, key_end);
        tile.any |= v.any;
        tile.all &= v.all;
    }
    return tile_of(tile);
}

static enum attn_tile bias_tile(const struct attn_content *c, int64_t row_begin, int64_t row_end,
                                int64_t key_begin, int64_t key_end)
{
    const int64_t size = attn_dtype_size(c->bias_dtype);
    struct attn_verdict tile = {false, true};
    for (int64_t row = row_begin; row < row_end && (tile.all || !tile.any); row++) {
        const char *at = (const char *)c->bias + (row * c->bias_stride + key_begin) * size;
        ask_below(at, c->bias_stride * size, (key_end - key_begin) * size);
        struct attn_verdict v = c->loops->look_at_bias(at, c->bias_dtype, key_end - key_begin);
        tile.any |= v.any;
        tile.all &= v.all;
    }
    return tile_of(tile);
}

struct bounds {
    int32_t low, high;
};

static struct bounds bounds_of(const int32_t *ids, int64_t begin, int64_t end)
{
    struct bounds b = {ids[begin], ids[begin]};
    for (int64_t i = begin; i < end; i++) {
        b.low = ids[i] < b.low ? ids[i] : b.low;
        b.high = ids[i] > b.high ? ids[i] : b.high;
    }
    return b;
}

static enum attn_tile documents_tile(const struct attn_content *c, int64_t row_begin,
                                     int64_t row_end, int64_t key_begin, int64_t key_end)
{
    struct bounds rows = bounds_of(c->query_documents, row_begin, row_end);
    struct bounds keys = bounds_of(c->key_documents, key_begin, key_end);
    if (rows.high < keys.low || keys.high < rows.low)
        return ATTN_TILE_SKIP;
    bool one = rows.low == rows.high && keys.low == keys.high && rows.low == keys.low;
    return one ? ATTN_TILE_FULL : ATTN_TILE_PARTIAL;
}

/* The first entry of the list of row block `r` that is not below `block`; lists rise. */
static int64_t find_block(const struct attn_content *c, int64_t r, int64_t block)
{
    int64_t low = c->block_starts[r], high = c->block_starts[r + 1];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (c->block_indices[middle] < block)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static enum attn_tile blocks_tile(const struct attn_content *c, int64_t row_begin, int64_t row_end,
                                  int64_t key_begin, int64_t key_end)
{
    struct attn_verdict tile = {false, true};
    int64_t first = key_begin / c->block_keys, last = (key_end - 1) / c->block_keys;
    for (int64_t r = row_begin / c->block_rows; r <= (row_end - 1) / c->block_rows; r++) {
        int64_t listed = find_block(c, r, last + 1) - find_block(c, r, first);
        tile.any |= listed > 0;
        tile.all &= listed == last - first + 1;
    }
    return tile_of(tile);
}

enum attn_tile attn_content_tile(const struct attn_content *content, int64_t row_begin,
                                 int64_t row_end, int64_t key_begin, int64_t key_end)
{
    enum attn_tile tile = ATTN_TILE_FULL, next[4];
    int count = 0;
    /* cheapest first: what is skipped early is not read */
    if (content->block_rows > 0)
        next[count++] = blocks_tile(content, row_begin, row_end, key_begin, key_end);
    if (content->query_documents)
        next[count++] = documents_tile(content, row_begin, row_end, key_begin, key_end);
    for (int i = 0; i < count; i++)
        if (next[i] == ATTN_TILE_SKIP)
            return ATTN_TILE_SKIP;
    if (content->mask)
        next[count++] = mask_tile(content, row_begin, row_end, key_begin, key_end);
    if (content->bias)
        next[count++] = bias_tile(content, row_begin, row_end, key_begin, key_end);
    for (int i = 0; i < count; i++) {
        if (next[i] == ATTN_TILE_SKIP)
            return ATTN_TILE_SKIP;
        if (next[i] == ATTN_TILE_PARTIAL)
            tile = ATTN_TILE_PARTIAL;
    }
    return tile;
}

static void blocks_row(const struct attn_content *c, int64_t row, int64_t key_begin, int keys,
                       uint8_t *visible)
{
    int64_t r = row / c->block_rows;
    int64_t at = find_block(c, r, key_begin / c->block_keys);
    for (int j = 0; j < keys;) {
        int64_t block = (key_begin + j) / c->block_keys;
        int64_t end = (block + 1) * c->block_keys - key_begin;
        bool listed = at < c->block_starts[r + 1] && c->block_indices[at] == block;
        at += listed;
        end = end < keys ? end : keys;
        if (!listed)
            memset(visible + j, 0, (size_t)(end - j));
        j = (int)end;
    }
}

/* A byte of a mask of bits at a time, where a whole one is left. */
static void bits_row(const uint8_t *mask, int64_t key_begin, int keys, uint8_t *visible)
{
    int j = 0;
    for (; j < keys && (key_begin + j) % 8 != 0; j++)
        visible[j] &= bit_of(mask, key_begin + j);
    for (; j + 8 <= keys; j += 8) {
        const uint32_t byte = mask[(key_begin + j) >> 3];
        for (int i = 0; i < 8; i++)
            visible[j + i] &= (uint8_t)(byte >> i & 1);
    }
    for (; j < keys; j++)
        visible[j] &= bit_of(mask, key_begin + j);
}

void attn_content_row(const struct attn_content *content, int64_t row, int64_t key_begin, int keys,
                      uint8_t *visible)
{
    if (content->block_rows > 0)
        blocks_row(content, row, key_begin, keys, visible);
    if (content->query_documents) {
        int32_t document = content->query_documents[row];
        for (int j = 0; j < keys; j++)
            visible[j] =
                (uint8_t)(visible[j] & (content->key_documents[key_begin + j] == document));
    }
    if (content->mask) {
        const uint8_t *mask = content->mask + row * content->mask_stride;
        if (content->kind == ATTN_MASK_BYTES) {
            ask_below(mask + key_begin, content->mask_stride, keys);
            content->loops->hide_by_bytes(visible, mask + key_begin, keys);
        } else {
            bits_row(mask, key_begin, keys, visible);
        }
    }
    if (content->bias) {
        int64_t at = row * content->bias_stride + key_begin;
        content->loops->hide_by_bias(
            visible, (const char *)content->bias + at * attn_dtype_size(content->bias_dtype),
            content->bias_dtype, keys);
    }
}
