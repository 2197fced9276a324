/* What one run works in: packed copies that all tasks read, and a scratch for each worker. The same carving
 * says how much that is (attn_plan_workspace) and hands it out (attn_run). */
#ifndef ATTN_PLAN_WORKSPACE_H
#define ATTN_PLAN_WORKSPACE_H

#include "base/arena.h"
#include "plan/plan.h"

enum { ATTN_COLUMN_BLOCKS = 4 }; /* blocks of keys whose column mass is one task */

/* What decoding works in beside the rest: all rows that read a kv head against a block of its keys. */
struct attn_decode_scratch {
    float *rows; /* [ATTN_CACHED_ROWS][cached_size]: queries, scaled */
    float *
        queries; /* the same as the kernels take them, tiles of their own for each sequence or kv head */
    float *output; /* [ATTN_CACHED_ROWS][output_size] */
    float *wide;   /* [ATTN_CACHED_WIDE][the larger of both] */
    float *zeros;  /* a value of zeros */
    /* [block_keys]: where each key and value is */
    const void **keys, **values;
    const float **key_scales, **value_scales; /* int4: the scales of its groups */
    float *key_factors, *value_factors;       /* int8: its scale */
    unsigned char *
        heads; /* [ATTN_CACHED_ROWS] of ATTN_DECODE_HEAD_BYTES: what the driver keeps of each head */
};

enum { ATTN_DECODE_HEAD_BYTES = 2048 };

/* Sequences that share chunks of a cache: attention/cascade.h. */
enum { ATTN_CASCADE_MOST = 32 }; /* sequences of one task, or kv heads */

/* Where a sequence stands among those that one task decodes a chunk for. */
struct attn_cascade_link {
    int32_t next;   /* the next of them, -1 = none */
    int32_t number; /* how many stand before it; 0: the task is this sequence's */
};

/* While they are found: the last set of sequences that share a chunk. */
struct attn_cascade_set {
    int32_t chunk, last; /* its last member, or who is to be the first */
    int32_t members, rows;
};

/* Sets a hash may lead to: a power of two, more than there are sequences. */
static inline int64_t attn_cascade_room(int64_t batch)
{
    int64_t room = 4;
    while (room < 2 * batch)
        room *= 2;
    return room;
}

/* One worker's: a block of rows against one block of keys after the other. */
struct attn_scratch {
    float *keys, *values;  /* one block of them, where a task packs for itself */
    float *queries;        /* [groups][Dk][rows] */
    float *scores;         /* [ATTN_BLOCK_ROWS][ATTN_SCORE_STRIDE] */
    float *output;         /* [value panels][block rows][columns] */
    float *segment_output; /* [segment panels][block rows][columns] */
    struct attn_row *rows; /* [ATTN_BLOCK_ROWS] */
    int32_t *top_keys;     /* [ATTN_BLOCK_ROWS][top_keys] */
    float *top_scores;
    float *column_sums; /* [ATTN_BLOCK_KEYS], second sweep */
    double *column_totals;
    int32_t *column_viewers;
    float *turned;         /* [the larger of rows and columns][Dk], with a rotary embedding */
    uint16_t *turned_half; /* the same rounded to bf16, for pairs */
    struct attn_turn_worker turn;
    struct attn_mass_borders *borders; /* [ATTN_BLOCK_ROWS], masses where keys have positions */
    int32_t *stands; /* [ATTN_BLOCK_KEYS], distances where they have: where each key stands */
    struct attn_decode_scratch decode; /* caches only */
    float *gathered;  /* [block_keys][the larger head size]: rows of a cache, packed or turned */
    uint8_t *visible; /* [ATTN_BLOCK_ROWS][ATTN_BLOCK_KEYS], where masks may be read */
};

struct attn_workspace {
    float *keys;                /* [flight][key panels][Dk][columns] */
    float *values;              /* [flight][key blocks][value panels][keys][columns] */
    unsigned char *non_finite;  /* [flight][key blocks]: the block's values hold NaN or Inf */
    float *segments;            /* [B][key blocks][segment panels][keys][columns]: one-hot */
    float *reference, *inverse; /* [B, Hq, Nq] of finished rows, for the second sweep */
    /* what is known of a decoded row after each chunk: [B][Hq][decoded queries][chunks] */
    struct attn_row *chunk_rows;
    float *chunk_outputs; /* [output_size] each */
    int32_t *chunk_top_keys;
    float *chunk_top_scores;
    struct attn_cascade_link *cascade_links; /* [whole chunks][B] */
    struct attn_cascade_set *cascade_sets;   /* [attn_cascade_room(B)] */
    /* decoded weights and what they are told against: [decode_heads][B][heads of a group][decoded queries] of
     * [key blocks][block_keys] and [key blocks] */
    float *kept, *kept_reference;
    unsigned char *scratch; /* [threads][scratch_bytes] */
    size_t scratch_bytes;
};

/* Carve for `threads` workers; see base/arena.h for how failing and measuring work. */
void attn_workspace_carve(struct attn_workspace *workspace, struct attn_arena *arena,
                          const struct attn_plan *plan, int threads);

/* The scratch of one worker. */
struct attn_scratch attn_workspace_scratch(const struct attn_workspace *workspace,
                                           const struct attn_plan *plan, int worker);

/* Whether a run may have sequences that share a chunk, and rows of two that fit one tile. */
static inline bool attn_shares_chunks(const struct attn_plan *plan)
{
    const attn_problem *p = &plan->problem;
    return plan->cached && p->batch > 1 && p->kv_heads > 0 &&
           attn_whole_chunks(plan, p->keys) > 0 && 2 * (p->heads / p->kv_heads) <= ATTN_CACHED_ROWS;
}

static inline int64_t attn_key_blocks(const struct attn_plan *plan, int64_t keys)
{
    return attn_int64_div_up(keys, plan->block_keys);
}

#endif
