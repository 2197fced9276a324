/* Which token comes next, given the scores of all.
 *
 * With temperature 0 the best one, the lowest id on ties. Else token i has the weight
 * e^(score_i / temperature), of those tokens alone that are left when
 *     1. only the top_k best stay (0 = all; lower ids first on ties),
 *     2. of these, best first, only as many as it takes for their share of the weight to reach top_p,
 * and one is drawn. The numbers that decide come from the seed alone, one for each token, so that the same
 * scores and the same seed give the same text. */
#ifndef ATTN_RUN_SAMPLER_H
#define ATTN_RUN_SAMPLER_H

#include "../base/failure.h"

#include <stdint.h>

struct sampler_options {
    double temperature; /* >= 0; default 0 */
    int64_t top_k;      /* >= 0; default 0: all */
    double top_p;       /* 0 < top_p <= 1; default 1: all */
    uint64_t seed;      /* default 0 */
};

struct sampler_options sampler_options_init(void);

struct sampler;

/* For scores of `count` tokens. NULL without memory. */
struct sampler *sampler_create(const struct sampler_options *options, int64_t count);
void sampler_free(struct sampler *sampler);

/* The token of logits [count]. Fails where one of them is NaN or +infinity, or all are -infinity. */
bool sampler_choose(struct sampler *sampler, const float *logits, int32_t *token,
                    struct failure *f);

#endif
