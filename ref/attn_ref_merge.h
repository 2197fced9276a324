/* The specification of attn/merge.h for one row, in double. */
#ifndef ATTN_REF_MERGE_H
#define ATTN_REF_MERGE_H

#include "attn/merge.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct attn_ref_merged {
    double lse, entropy, varentropy, max_weight;
} attn_ref_merged;

/* The weight of each part in row `row`: exp(lse_p) / sum exp(lse), 0 where lse_p = -inf; and ln sum
 * exp(lse). Weights are all 0 where no part saw a key. */
double attn_ref_merge_weights(const attn_part *parts, int64_t count, int64_t row, double *weights);

/* Row `row` of the parts merged. o [head_size_v] may be NULL. What is asked for is told by `wanted`, whose
 * arrays are not touched: members it lacks are left 0 in the result. weights [count] is filled. */
attn_ref_merged attn_ref_merge_row(const attn_part *wanted, const attn_part *parts, int64_t count,
                                   int64_t row, int64_t head_size_v, double *o, double *weights);

/* The share exp(lse) / (exp(lse) + exp(sink)) of the keys, and ln of that denominator. */
double attn_ref_sink(double lse, double sink, double *lse_with_sink);

#ifdef __cplusplus
}
#endif

#endif
