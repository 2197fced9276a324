/* The plan: a problem that was checked, and every choice made about it. Immutable after creation.
 *
 * Borders of blocks depend on the path, the head sizes and the run's own Nq and Nk only, never on batch or
 * threads: that is what makes results the same bits in any company. */
#ifndef ATTN_PLAN_PLAN_H
#define ATTN_PLAN_PLAN_H

#include <attn/attn.h>
#include <attn/scores.h>
#include <attn/stats.h>

#include "base/sizes.h"
#include "kernels/table.h"
#include "plan/cache.h"
#include "plan/lengths.h"
#include "rotary/turn.h"

/* Channels laid in panels of two vectors; the last may need only one. */
struct attn_panels {
    int count;
    bool half;
};

/* How the keys and values of a (sequence, query head) come to the kernels. Packing pays by the number of
 * query rows that share it; the choice is told from the sequence's own number of queries. */
enum attn_packing {
    ATTN_PACK_SHARED, /* packed once for each kv head, for all blocks of rows and heads that read it */
    ATTN_PACK_IN_TASK, /* packed block by block by the one task that reads them */
    ATTN_PACK_NOTHING, /* read where they lie; of a cache, by decoding (attention/decode.c) */
};

struct attn_plan {
    attn_problem problem; /* its pointers are NULL: what they pointed to is in the members below */
    attn_statistics_wanted wanted;
    bool statistics_given, scores_given;
    attn_scores scores; /* all absent unless `shaped`; constant is NULL, and in the two below */
    bool constant_given;
    attn_scores_args constant;
    struct attn_tiles *tiles; /* blocks judged already (tiles.h), or NULL */
    bool shaped;              /* something of attn/scores.h applies */
    bool reads_masks;         /* some of it may hide pairs */
    const struct attn_kernels *kernels;
    bool cached;            /* keys and values are in a cache */
    attn_kv_layout cache;   /* all 0 unless `cached` */
    struct attn_turn *turn; /* the rotary embedding that packing applies, or NULL */

    float query_scale; /* scale * log2(e): queries are packed with it, scores are in base-2 units */
    float softcap_base2; /* softcap * log2(e) */
    int64_t key_steps;   /* of head_size: what keys and queries are packed in */
    int block_keys;      /* keys of a block: a multiple of columns */
    struct attn_panels values, segments;
    struct attn_row_extras extras;
    void (*softmax)(struct attn_softmax_call *call); /* one of the table's three */
    bool second_sweep;     /* finished rows are kept for weights, column mass and pairs */
    bool column_sweep;     /* column mass, or viewers under masks that are read */
    bool keeps_weights;    /* of a cache: decoded rows leave every weight (attention/kept.h) */
    int64_t decode_heads;  /* kv heads that are decoded in one launch */
    int in_place_rows;     /* up to so many queries read keys and values where they lie; 0 = none */
    bool flight_limited;   /* workspace_limit made the flight smaller */
    bool pack_in_tasks;    /* workspace_limit leaves no room for a packed kv head */
    int64_t flight;        /* how many (sequence, kv head) pairs are packed at once */
    int64_t packed_keys;   /* floats of one packed kv head, keys */
    int64_t packed_values; /* the same, values */
    int64_t cached_size;   /* of a query that is decoded: Dk in whole vectors */
    int64_t output_size;   /* of its output: Dv in whole panels */
    int chunk_blocks;      /* blocks of keys that one task decodes: a chunk */
};

static inline bool attn_plan_wants(const struct attn_plan *plan, uint32_t bits)
{
    return (plan->wanted.set & bits) != 0;
}

/* attn_key_span and attn_total_keys, whatever keys lie in: sequences of a cache lie in arrays of keys as
 * those of a padded batch do. */
static inline struct attn_span attn_plan_key_span(const struct attn_plan *plan,
                                                  const attn_args *args, int64_t batch)
{
    if (!plan->cached)
        return attn_key_span(plan->problem.lengths, args, batch);
    struct attn_span span = {0};
    if (batch < args->batch)
        span.length = attn_cache_keys(&plan->cache, args->cache, batch);
    return span;
}

static inline int64_t attn_plan_total_keys(const struct attn_plan *plan, const attn_args *args)
{
    return plan->cached ? args->batch * args->keys : attn_total_keys(plan->problem.lengths, args);
}

/* Queries of a sequence that are decoded, at most; tiles of rows take whole heads. */
static inline int64_t attn_decoded_queries(const struct attn_plan *plan, int64_t queries)
{
    return attn_int64_min(queries, plan->in_place_rows);
}

static inline int64_t attn_key_chunks(const struct attn_plan *plan, int64_t key_blocks)
{
    return attn_int64_max(1, attn_int64_div_up(key_blocks, plan->chunk_blocks));
}

static inline int64_t attn_chunk_keys(const struct attn_plan *plan)
{
    return (int64_t)plan->chunk_blocks * plan->block_keys;
}

/* Chunks that so many keys fill: those that sequences may share. */
static inline int64_t attn_whole_chunks(const struct attn_plan *plan, int64_t keys)
{
    return keys / attn_chunk_keys(plan);
}

/* How the queries of a run are split: `count` blocks of `rows`, the last one shorter. */
struct attn_row_blocks {
    int64_t count;
    int rows; /* a multiple of the path's rows */
};

static inline struct attn_row_blocks attn_row_blocks(int64_t queries, int group_rows)
{
    struct attn_row_blocks blocks = {attn_int64_div_up(queries, ATTN_BLOCK_ROWS), 0};
    if (blocks.count > 0) {
        int64_t rows = attn_int64_div_up(queries, blocks.count);
        blocks.rows = (int)(attn_int64_div_up(rows, group_rows) * group_rows);
        blocks.count = attn_int64_div_up(queries, blocks.rows);
    }
    return blocks;
}

static inline enum attn_packing attn_plan_packing(const struct attn_plan *plan, int64_t queries)
{
    if (queries <= plan->in_place_rows)
        return ATTN_PACK_NOTHING;
    bool alone = plan->problem.heads == plan->problem.kv_heads && queries <= ATTN_BLOCK_ROWS;
    return alone || plan->pack_in_tasks ? ATTN_PACK_IN_TASK : ATTN_PACK_SHARED;
}

/* Whether any run of the plan has a task that packs for itself, and needs room for a block. */
static inline bool attn_plan_packs_in_tasks(const struct attn_plan *plan)
{
    bool alone = plan->problem.heads == plan->problem.kv_heads;
    return plan->problem.queries > plan->in_place_rows && (alone || plan->pack_in_tasks);
}

/* Check a problem and copy it (and its statistics) into the plan. */
attn_status attn_problem_check(struct attn_plan *plan, const attn_problem *problem,
                               attn_error *error);

/* The same for what shapes scores, in a problem and in a run. */
attn_status attn_scores_check(const attn_problem *problem, const attn_scores *scores,
                              attn_error *error);
attn_status attn_scores_args_check(const struct attn_plan *plan, const attn_args *args,
                                   attn_error *error);
/* Arguments promised constant, against the plan's own lengths. */
attn_status attn_scores_constant_check(const struct attn_plan *plan, attn_error *error);

/* Check one window; `index` >= 0 is put behind the name. */
attn_status attn_window_check(const char *name, int64_t index, const attn_window *window,
                              attn_error *error);

/* Check the arguments of a run against the plan: everything that can be seen without reading tensors. */
attn_status attn_args_check(const struct attn_plan *plan, const attn_args *args, attn_error *error);

#endif
