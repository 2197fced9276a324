/* One run of a plan, as its tasks see it. */
#ifndef ATTN_ATTENTION_RUN_H
#define ATTN_ATTENTION_RUN_H

#include "mask/mask.h"
#include "plan/workspace.h"

struct attn_run_state {
    const struct attn_plan *plan;
    const attn_args *args;
    const attn_statistics *statistics; /* NULL if the plan wants none */
    const attn_scores_args *scores;    /* of the run or, constant, of the plan */
    struct attn_workspace workspace;
    /* of the longest sequence the run may hold: they number the tasks */
    struct attn_row_blocks row_blocks;
    int64_t key_blocks;
    /* the (sequence, kv head) pairs packed now, numbered sequence * Hkv + kv head */
    int64_t flight_first, flight_count;
    int64_t cascade_chunks; /* the first so many chunks of sequences may be shared (cascade.h) */
    int64_t decode_first, decode_count; /* the kv heads that are decoded now */
    int64_t decode_together;            /* so many of them by one task */
};

/* Where a (sequence, query head) is, and where its packed keys and values are. */
struct attn_place {
    int64_t batch, head, kv_head;
    int64_t queries, keys;         /* of the sequence */
    struct attn_row_blocks blocks; /* of its queries */
    int64_t key_blocks;
    enum attn_packing packing;
    int64_t query_origin,
        key_origin;             /* its first row in q and o, in k and v: ragged only, else 0 */
    int64_t rows_at, keys_at;   /* its first entry in arrays of rows, of keys */
    const float *packed_keys;   /* all panels; as packed_values where packing is shared */
    const float *packed_values; /* all blocks */
    const unsigned char *non_finite;
    const float *segments; /* packed one-hot of the sequence, all blocks; NULL if not wanted */
};

/* The place of query head number `group_head` of the pair `pair` in the flight. */
struct attn_place attn_run_place(const struct attn_run_state *run, int64_t pair,
                                 int64_t group_head);

/* The place of query head `head` of sequence `batch`, without what is packed. */
struct attn_place attn_run_sequence(const struct attn_run_state *run, int64_t batch, int64_t head);

/* The position of its query 0. */
int64_t attn_run_offset(const struct attn_run_state *run, const struct attn_place *place);

/* Where its keys stand, if not each at its index. */
struct attn_key_stands attn_run_stands(const struct attn_run_state *run,
                                       const struct attn_place *place);

/* The mask of a place. */
struct attn_mask attn_run_mask(const struct attn_run_state *run, const struct attn_place *place);

/* The first element of row `row` of the place in q, k, v or o. */
const void *attn_place_query(const struct attn_run_state *run, const struct attn_place *place,
                             int64_t row);
const void *attn_place_key(const struct attn_run_state *run, const struct attn_place *place,
                           int64_t key);
const void *attn_place_value(const struct attn_run_state *run, const struct attn_place *place,
                             int64_t key);
void *attn_place_output(const struct attn_run_state *run, const struct attn_place *place,
                        int64_t row);

/* The tasks, in the order of their launches. Arguments are a struct attn_run_state. */
void attn_task_pack(void *argument, int64_t index, int worker);     /* flight_count * key_blocks */
void attn_task_segments(void *argument, int64_t index, int worker); /* B * key_blocks */
void attn_task_forward(void *argument, int64_t index,
                       int worker); /* heads of flight * row blocks */
void attn_task_columns(void *argument, int64_t index, int worker); /* heads of flight * stripes */
void attn_task_viewers(void *argument, int64_t index, int worker); /* B * Hq */
void attn_task_weights(void *argument, int64_t index, int worker); /* weights_count */
void attn_task_pair(void *argument, int64_t index, int worker);    /* pairs_count */

/* Over a cache, with heads those decoded now: B * sets of kv heads that go together *
 * tiles of rows * chunks of keys; then B * heads.
 * attention/kept.h has what follows. */
void attn_task_decode(void *argument, int64_t index, int worker);
void attn_task_merge_chunks(void *argument, int64_t index, int worker);

/* One block of keys or values of a place, from `begin` on, into the kernels' order; values tell whether any
 * is NaN or Inf. */
void attn_pack_keys(const struct attn_run_state *run, const struct attn_place *place,
                    struct attn_scratch *scratch, int64_t begin, int64_t keys, float *packed);
bool attn_pack_values(const struct attn_run_state *run, const struct attn_place *place,
                      struct attn_scratch *scratch, int64_t begin, int64_t keys, float *packed);

/* Run a checked plan with checked arguments in a workspace that was carved. */
attn_status attn_run_forward(struct attn_run_state *run, const attn_executor *executor,
                             attn_error *error);

#endif
