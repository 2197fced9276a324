/* The file of a cache, version 1: little-endian, in blocks of 64 bytes, so that every array in it is aligned
 * and may be read where it lies by whoever maps it.
 *
 *     header
 *     for each layer:  record, lines [sequences], page numbers [entries], and for its `pages` pages, cut to
 *                      `slots` slots: positions [pages, slots], scales of keys and of values, keys, values
 *                      [pages, kv_heads, slots, row]; each array filled up to 64 bytes with zeros
 *     checksum (checksum.h) of all before, 8 bytes
 *
 * Pages in use are numbered anew from 0, and shared ones are there once. Slots that no line uses are zeros. */
#ifndef ATTN_KV_FILE_H
#define ATTN_KV_FILE_H

#include "kv/cache.h"
#include "kv/checksum.h"

enum { ATTN_KV_FILE_VERSION = 1, ATTN_KV_FILE_BUFFER = 1 << 16 };

static const char attn_kv_magic[8] = {'A', 'T', 'T', 'N', 'K', 'V', '\r', '\n'};

struct attn_kv_file_header {
    char magic[8];
    uint32_t version, header_bytes;
    uint64_t file_bytes, model, layer_count, sequences;
    uint64_t zero[10];
};

/* What must be equal in the cache, first; then what is in the file. Offsets are from its beginning. */
struct attn_kv_file_layer {
    int64_t kv_heads, head_size, head_size_v, page_size, group, window, sinks;
    int64_t k_dtype, v_dtype, positions;
    uint64_t channel_digest, rotary_digest;
    int64_t pages, slots, entries;
    int64_t positions_at, array_at[ATTN_KV_ARRAYS];
    uint64_t zero[12];
};

struct attn_kv_file_line {
    int64_t count, slots, begin, first, length, gone;
    int64_t zero[2];
};

_Static_assert(sizeof(struct attn_kv_file_header) == 128, "two blocks");
_Static_assert(sizeof(struct attn_kv_file_layer) == 256, "four blocks");
_Static_assert(sizeof(struct attn_kv_file_line) == 64, "one block");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are written as memory is");

/* The order of arrays in a file: scales before what they scale. */
static const int attn_kv_file_order[ATTN_KV_ARRAYS] = {2, 3, 0, 1};

/* The part of a record that tells whether a layer is the same. */
struct attn_kv_file_layer attn_kv_file_layer_of(const struct attn_kv_store *store);

/* Offsets from `at` (the end of the record) on; returns where the layer ends. All numbers are checked. */
int64_t attn_kv_file_place(struct attn_kv_file_layer *layer, const struct attn_kv_store *store,
                           int64_t at, int64_t sequences);

#endif
