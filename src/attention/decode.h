/* Decoding: few queries over a cache, chunk by chunk, and the chunks made one. */
#ifndef ATTN_ATTENTION_DECODE_H
#define ATTN_ATTENTION_DECODE_H

#include "attention/block.h"
#include "attention/cached.h"

/* Tiles of rows that a group of heads of so many queries is cut into: at most so many with fewer. */
int64_t attn_decode_tiles(const struct attn_plan *plan, int64_t queries);

/* How many kv heads of a sequence one task takes. Where a page has little of one kv head, what lies behind it is
 * another's: heads are read together, page after page, as far as that leaves tasks for `threads` workers. */
int64_t attn_decode_heads_together(const struct attn_run_state *run, int threads);

/* Keep row `row` of a scratch, which is query `query` of the place, as what chunk `chunk` knows. */
void attn_chunk_keep(const struct attn_run_state *run, const struct attn_place *place,
                     int64_t query, int64_t chunk, const struct attn_scratch *scratch, int row,
                     const float *output);

/* An output row, channels side by side, to row `row` of scratch->output. */
void attn_decode_output(const struct attn_plan *plan, struct attn_scratch *scratch, int row,
                        const float *output);

#endif
