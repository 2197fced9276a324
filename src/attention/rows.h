/* The rows of a block before the first key and after the last. */
#ifndef ATTN_ATTENTION_ROWS_H
#define ATTN_ATTENTION_ROWS_H

#include "attention/run.h"

/* Nothing seen yet: clear the outputs and the rows' state. */
void attn_rows_begin(const struct attn_run_state *run, struct attn_scratch *scratch, int rows);

/* Normalise, and write everything the run asked for: o, lse, statistics, and what the second sweep
 * needs. */
void attn_rows_finish(const struct attn_run_state *run, const struct attn_place *place,
                      const struct attn_mask *mask, struct attn_scratch *scratch, int64_t row_begin,
                      int rows);

#endif
