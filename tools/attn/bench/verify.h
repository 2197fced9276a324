/* Whether a case computed what it should: some rows of its output, and every statistic of them,
 * against plain loops in double on the same rounded tensors. A kernel that is fast because it leaves
 * something out is found. */
#ifndef ATTN_TOOLS_BENCH_VERIFY_H
#define ATTN_TOOLS_BENCH_VERIFY_H

#include "subject.h"

/* One value of the output, the same place in every run: what comparisons with others look at. */
struct bench_sample {
    int batch, head;
    int64_t query, channel;
    double value, exact;
};
enum { BENCH_SAMPLES = 16 };

struct bench_verdict {
    /* Of all rows looked at (NaN counts), the one nearest to, or farthest past, what it may have. f32:
     * largest |o - exact| / (sum of p |v|) of a row; bf16 and f16: root mean square of o - exact over
     * that of sum of p |v|. */
    double residual;
    double tolerance; /* what rounding may come to there, see verify.c */
    struct bench_sample samples[BENCH_SAMPLES];
    int sample_count;
    double statistics_residual; /* largest |x - exact| / max(1, |exact|) of the statistics */
    double statistics_tolerance;
    bool passed;
};

/* Looks at the outputs of the last run of `s`. */
bool bench_verify(const struct bench_subject *s, struct bench_verdict *verdict, struct failure *f);

#endif
