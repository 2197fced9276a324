/* The rows that one task of decoding has, sequence by sequence or kv head by kv head. */
#ifndef ATTN_ATTENTION_DECODE_TILES_H
#define ATTN_ATTENTION_DECODE_TILES_H

#include "attention/block.h"
#include "attention/cached.h"

/* What the driver keeps of each head of the tile. */
struct attn_decode_head {
    struct attn_place place;
    struct attn_shape shape;
    struct attn_block block;
    bool seen; /* some row sees some key of the block */
};

/* The rows of a sequence that go through a chunk together: some heads of one kv head, all their
 * queries. */
struct attn_decode_tile {
    const struct attn_run_state *run;
    struct attn_scratch scratch; /* the worker's, from the tile's first row on */
    struct attn_decode_head *heads;
    int64_t batch;
    int head_count, queries, rows;
    bool seen, all_seen; /* some row sees some key of the block; every row every key */
    struct attn_cached_addresses keys, values;
    int64_t key_bytes,
        value_bytes; /* from the first tile's keys and values, where kv heads go together */
};

/* All tiles that a task has: of one sequence, or of those that share the chunk. Neighbours of as many rows are
 * multiplied together, in sums as each would have them alone. */
struct attn_decode_tiles {
    struct attn_scratch scratch; /* the worker's */
    struct attn_decode_tile tile[ATTN_CASCADE_MOST];
    int count;
    bool together;                /* of several kv heads: see decode_together */
    int rows, heads, filled_rows; /* of all tiles so far; filled: as kernels lay out queries */
};

/* Keys of the block for all tiles, by addresses of the first tile's kv head: where they lie or, turned, copies. */
struct attn_cached_rows attn_decode_find_keys(struct attn_decode_tiles *tiles, int64_t begin,
                                              int keys);

/* Values that were found and are not finite meet the rows of the tile that see them; zeros take their place. */
void attn_decode_set_apart(struct attn_decode_tile *tile, int keys);

/* Values that were found, to the rows of `count` tiles from `tile` on. */
void attn_decode_add_values(const struct attn_decode_tile *tile, int count, int keys);

/* Scores or weights of `rows` rows from the tile's first on, times int8's scales of their keys. */
void attn_decode_scale(const struct attn_decode_tile *tile, int rows, const float *factors,
                       int keys);

/* Tiles of several kv heads (decode_together.c): a block of keys, then of values, of all of them. */
void attn_decode_multiply_together(struct attn_decode_tiles *tiles, int64_t begin, int keys);
void attn_decode_add_together(struct attn_decode_tiles *tiles, int64_t begin, int keys);

#endif
