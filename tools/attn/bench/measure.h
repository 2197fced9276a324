/* Measuring a case against the ceiling of the same moments.
 *
 * The ceiling is of the instruction that does the products: f32 multiply-adds, or dot products of bf16. A
 * case that decodes has two, multiply-adds and reading its cache, and is measured by the one it must take
 * longer for (the roofline).
 *
 * Clocks drift and machines are shared, so a case is measured in rounds: runs of the case and,
 * alternately, of what stands beside it, with a short look at the ceiling before and after each. The
 * ceiling of a case is the best of its looks (one that other work disturbed is no ceiling); the
 * share is the median of the rounds' rates over it; a ratio is the median over neighbouring pairs
 * of runs. */
#ifndef ATTN_TOOLS_BENCH_MEASURE_H
#define ATTN_TOOLS_BENCH_MEASURE_H

#include "numbers.h"
#include "verify.h"

#include <signal.h>

struct bench_setup {
    const attn_executor *executor;
    double seconds; /* for each case, about; at least BENCH_ROUNDS rounds are made */
    const volatile sig_atomic_t *stop; /* once not 0, measuring fails with "interrupted" */
};
enum { BENCH_ROUNDS = 5 };

enum bench_ceiling { CEILING_FMA, CEILING_BF16_DOT, CEILING_READ, CEILING_COUNT };

/* Every look at each ceiling, GFLOP/s. */
struct bench_ceilings {
    struct numbers looks[CEILING_COUNT]; /* reading: GB/s */
};

struct bench_result {
    const struct bench_case *c;
    char kernel[64];  /* as the plan explains it */
    int runs;         /* timed runs of the case */
    struct spread ms; /* of one run */
    double flops;     /* of one run */
    double bytes;     /* that one run reads of a cache; else 0 */
    double rate;      /* GFLOP/s, or GB/s where reading is the ceiling, at the median */
    enum bench_ceiling ceiling_kind;
    struct spread ceiling;    /* of the rounds, GFLOP/s */
    struct spread share;      /* of the rounds, 1 = the ceiling */
    struct spread partner_ms; /* of what stands beside it; 0 when nothing does */
    struct spread ratio;      /* time of the case over that of its partner */
    bool quiet;               /* false: other work disturbed the looks; the share says little */
    size_t extra_bytes;       /* the workspace */
    struct bench_verdict verdict;
};

/* Measure one case. What it measured of the ceiling is added to `ceilings` too. */
bool bench_measure(const struct bench_case *c, const struct bench_setup *setup,
                   struct bench_ceilings *ceilings, struct bench_result *result, struct failure *f);

/* A look at each ceiling that this machine has, for machines' sake: cases look again. */
bool bench_look_at_ceilings(const struct bench_setup *setup, struct bench_ceilings *ceilings,
                            struct failure *f);

/* Bandwidth of reading a footprint larger than any cache, GB/s, with its size in *bytes. */
bool bench_measure_reading(const struct bench_setup *setup, double *gbytes, size_t *bytes,
                           struct failure *f);

#endif
