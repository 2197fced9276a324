/* Weights that decoded rows leave behind, for what is told of all keys once a row is finished: column mass,
 * masses of segments, exact weights. */
#ifndef ATTN_ATTENTION_KEPT_H
#define ATTN_ATTENTION_KEPT_H

#include "attention/block.h"

/* Before the softmax: which scores of the block, finished and in scratch->scores, are -inf. */
void attn_kept_scores(const struct attn_run_state *run, const struct attn_place *place,
                      const struct attn_block *block, const struct attn_scratch *scratch);

/* Behind it: keep the weights of the block, 2^(score - rows[query].reference), of all its queries: `weights` is row 0 of
 * [block->rows][ATTN_SCORE_STRIDE]. NULL: no row sees any of these keys. */
void attn_kept_block(const struct attn_run_state *run, const struct attn_place *place,
                     const struct attn_block *block, const struct attn_scratch *scratch,
                     const float *weights);

/* Tasks, once rows are finished; of sequences that were decoded alone. */
void attn_task_kept_columns(void *argument, int64_t index,
                            int worker); /* B * heads decoded at once * chunks of keys */
void attn_task_kept_segments(void *argument, int64_t index,
                             int worker); /* B * heads decoded at once */
void attn_task_kept_weights(void *argument, int64_t index, int worker); /* weights_count */
void attn_task_kept_pair(void *argument, int64_t index, int worker);    /* pairs_count */

#endif
