/* The masks of a case that are given as arrays: tensors of bytes, bits and biases, slopes, documents, lists
 * of blocks, lengths. */
#ifndef ATTN_TOOLS_BENCH_GIVEN_H
#define ATTN_TOOLS_BENCH_GIVEN_H

#include "../base/failure.h"
#include "cases.h"

#include <attn/scores.h>

struct bench_given {
    attn_scores scores;
    attn_scores_args arrays;
    bool has_scores, ragged;
    /* What `arrays` and the run's arguments point to; each NULL where the mask has none. */
    void *mask, *bias;
    float *slopes;
    int32_t *documents;
    int64_t *block_starts;
    int32_t *block_indices;
    int64_t *lengths;
    int32_t *cu_seqlens;
};

/* Make the arrays of `mask` for `c`, and say in `problem` what there is; `given` stays where it is until
 * the plan is made. bench_given_free also after a failure. */
bool bench_given_make(struct bench_given *given, const struct bench_case *c, enum bench_mask mask,
                      attn_problem *problem, struct failure *f);
void bench_given_free(struct bench_given *given);

/* Say in `args` where it is. */
void bench_given_to_args(const struct bench_given *given, attn_args *args);

#endif
