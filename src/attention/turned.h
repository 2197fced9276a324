/* Rows of q and k as they are multiplied: where the caller put them or, with a rotary embedding, turned by
 * their positions into the worker's scratch. */
#ifndef ATTN_ATTENTION_TURNED_H
#define ATTN_ATTENTION_TURNED_H

#include "attention/cached.h"

/* Rows of head_size elements, `stride` elements apart. */
struct attn_rows_at {
    const void *at;
    attn_dtype dtype;
    int64_t stride;
};

/* `count` rows of q, or of k, from `first` on; at most as many as a register tile is high or wide, in scratch
 * until the next call for the same slot: 0, or, for a second single row beside one of slot 0, 1. */
struct attn_rows_at attn_query_rows(const struct attn_run_state *run,
                                    const struct attn_place *place, struct attn_scratch *scratch,
                                    int64_t first, int count, int slot);
struct attn_rows_at attn_key_rows(const struct attn_run_state *run, const struct attn_place *place,
                                  struct attn_scratch *scratch, int64_t first, int count, int slot);

/* Turn keys [begin, begin + count) of a cache, which were gathered `stride` elements apart: by the run's
 * positions or, without, by where they stand. */
void attn_turn_gathered(const struct attn_run_state *run, const struct attn_place *place,
                        struct attn_scratch *scratch, int64_t begin, int count, int64_t stride);

/* Such keys gathered and turned, as decoding takes them. */
struct attn_cached_rows attn_turned_cached_keys(const struct attn_run_state *run,
                                                const struct attn_place *place,
                                                struct attn_scratch *scratch, int64_t begin,
                                                int count);

#endif
