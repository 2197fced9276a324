/* The entropy of what is left of each row when the largest sinks of its head are hidden.
 *
 * Where the sinks hold at most 0.9 of a row, it follows from what the row's own pass measured: with p_j
 * the weights of the sinks S and P their sum (math: the entropy of two parts),
 *
 *     H_rest = (H + sum_S p ln p) / (1 - P) + ln(1 - P).
 *
 * That loses digits as P -> 1, so all other rows get a run of their own with the sinks as excluded keys. */
#ifndef ATTN_INSPECT_WITHOUT_SINKS_H
#define ATTN_INSPECT_WITHOUT_SINKS_H

#include "../model/model.h"

#include <attn/stats.h>
#include <attn/summary.h>

struct without_sinks {
    int64_t heads, tokens;
    int64_t *sinks;   /* [heads, ATTN_SUMMARY_SINKS]: keys, -1 = none; the caller fills them */
    float *entropy;   /* [heads, tokens] */
    int32_t *visible; /* [heads, tokens]: keys left */
    unsigned char *chunk_needed; /* [heads, chunks]: some row's sinks hold too much */
};

bool without_sinks_create(struct without_sinks *w, int64_t heads, int64_t tokens,
                          struct failure *f);
void without_sinks_destroy(struct without_sinks *w);

/* Measure every head of a layer whose first sink is not -1. `entropy` and `visible` ([heads, tokens]) are
 * the row statistics of its run. */
bool without_sinks_measure(struct without_sinks *w, const struct model_attention *attention,
                           const float *entropy, const int32_t *visible, struct failure *f);

#endif
