/* One batch of sequences with every option a call may have, that can be laid out and run in several ways:
 * padded, ragged, or each sequence for itself. Whatever the way, a sequence must have the same bits.
 *
 *     struct batch_case *c = batch_case_random(seed, BATCH_SMALL);
 *     struct batch_run *padded = batch_lay(c, BATCH_PADDED, 0), *alone = batch_lay(c, BATCH_ALONE, 2);
 *     batch_run(padded, executor, &error);
 *     size_t count = batch_results(padded, 2, words, most);      // of sequence 2, in an order of its own
 */
#ifndef TESTS_ATTENTION_BATCH_CASE_H
#define TESTS_ATTENTION_BATCH_CASE_H

#include "attn/attn.h"
#include "attn/scores.h"
#include "attn/stats.h"

#include "attention/random.h"

#include <stdio.h>

enum { BATCH_MOST = 4, BATCH_SEGMENTS = 3, BATCH_TOP = 3, BATCH_MEMORY = 64 };

struct batch_case {
    uint64_t seed;
    int64_t query_lengths[BATCH_MOST], key_lengths[BATCH_MOST];
    attn_problem problem; /* options, and the longest lengths; layouts are made when it is laid */
    attn_scores scores;
    attn_statistics_wanted wanted;

    /* [batch][heads][longest][size] of the dtype; what lies behind a sequence's end is NaN */
    void *q, *k, *v;
    int64_t offsets[BATCH_MOST], prefixes[BATCH_MOST];
    float *sinks, *slopes;
    attn_window *windows;
    int64_t *excluded;
    void *mask, *bias;
    int32_t *query_documents, *key_documents; /* [batch][longest] */
    uint8_t *segments;                        /* [batch][longest keys] */
};

enum batch_size {
    BATCH_SMALL, /* tens of rows and keys */
    BATCH_LARGE, /* several blocks of both */
    BATCH_STEP,  /* one to four rows against many keys */
};

enum batch_way {
    BATCH_EQUAL, /* only if batch_is_equal */
    BATCH_PADDED,
    BATCH_RAGGED_I32,
    BATCH_RAGGED_I64,
    BATCH_ALONE,
};

struct batch_run {
    const struct batch_case *c;
    enum batch_way way;
    int64_t first, total_queries, total_keys; /* ALONE: first is the sequence */
    attn_problem problem;
    attn_args args;
    attn_scores_args scores;
    attn_statistics statistics;
    attn_weights_request requests[BATCH_MOST];
    attn_pair pairs[BATCH_MOST];
    void *memory[BATCH_MEMORY];
    int memory_count;
};

struct batch_case *batch_case_random(uint64_t seed, enum batch_size size);
void batch_case_destroy(struct batch_case *c);
bool batch_is_equal(const struct batch_case *c);
void batch_describe(const struct batch_case *c, FILE *file);

struct batch_run *batch_lay(const struct batch_case *c, enum batch_way way, int64_t sequence);
void batch_run_destroy(struct batch_run *run);

/* All outputs back to a pattern; plan and run, or a run of a plan with a workspace full of ones. */
void batch_reset(struct batch_run *run);
attn_status batch_run(struct batch_run *run, const attn_executor *executor, attn_error *error);
attn_status batch_run_plan(struct batch_run *run, const attn_plan *plan,
                           const attn_executor *executor, attn_error *error);

/* Everything the call says of a sequence, in an order that is the same for every way. At most `most` words
 * are written; their number is returned. */
size_t batch_results(const struct batch_run *run, int64_t sequence, uint32_t *words, size_t most);

/* Whether rows and keys behind the end of a padded sequence hold what is promised: 0, -inf, nothing. */
bool batch_padding_is_empty(const struct batch_run *run);

#endif
