/* Whether a case computed what it should: some rows of its output, and every statistic of them,
 * against plain loops in double. A kernel that is fast because it leaves something out is found. */
#ifndef ATTN_TOOLS_BENCH_VERIFY_H
#define ATTN_TOOLS_BENCH_VERIFY_H

#include "subject.h"

struct bench_verdict {
    double residual;  /* largest |o - exact| / (sum of p |v|) over the rows looked at; NaN counts */
    double tolerance; /* what rounding in f32 may come to, see verify.c */
    double statistics_residual; /* largest |x - exact| / max(1, |exact|) of the statistics */
    double statistics_tolerance;
    bool passed;
};

/* Looks at the outputs of the last run of `s`. */
bool bench_verify(const struct bench_subject *s, struct bench_verdict *verdict, struct failure *f);

#endif
