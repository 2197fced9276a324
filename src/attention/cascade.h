/* Chunks of a cache that several sequences of a run share: the same slots of the same pages, as after
 * attn_kv_fork. One task then decodes the chunk for all of them, block by block, so that keys and values
 * come from memory once, and are widened once. Each sequence keeps its own rows, masks and sums, and a
 * row's sums are made in the order that its own sequence's number of rows chooses, so no bit of a result
 * tells whether anything was shared. */
#ifndef ATTN_ATTENTION_CASCADE_H
#define ATTN_ATTENTION_CASCADE_H

#include "attention/run.h"

/* Find who shares what, into the workspace: only whole chunks, of sequences whose rows fit one tile; as many
 * sequences to a task as a tile has rows for, and no more than leaves tasks for `threads` workers. */
void attn_cascade_find(struct attn_run_state *run, int threads);

/* Where a sequence stands among those that share one of its chunks. Alone: {-1, 0}. */
struct attn_cascade_link attn_cascade_link_of(const struct attn_run_state *run, int64_t batch,
                                              int64_t chunk);

#endif
