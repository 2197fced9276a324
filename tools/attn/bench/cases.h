/* What `attn bench` measures: one row of data for each case.
 *
 * Names are stable: kept results of different versions are compared by them. A name says the
 * operation, the type, the head size, and "_n<N>" where the length is not the usual one (2048; 4096
 * for causal_ and window512_; its own number for short<N>_; 4096 keys for few<Q>_). */
#ifndef ATTN_TOOLS_BENCH_CASES_H
#define ATTN_TOOLS_BENCH_CASES_H

#include <stdbool.h>
#include <stdint.h>

enum bench_mask { MASK_NONE, MASK_CAUSAL, MASK_WINDOW_512 };
enum bench_statistics {
    STATISTICS_NONE,
    STATISTICS_TWO /* entropy, max_weight */,
    STATISTICS_ALL /* of a row */
};

/* What a case is run in turn with, so that the ratio does not depend on the clock of the moment. */
enum bench_partner {
    ALONE,
    BESIDE_FULL,  /* the same without its mask */
    BESIDE_PLAIN, /* the same without its statistics */
};

struct bench_case {
    const char *name;
    int heads, kv_heads;
    int queries, keys;
    int head_size;
    enum bench_mask mask;
    enum bench_statistics statistics;
    enum bench_partner partner;
};

extern const struct bench_case bench_cases[];
extern const int bench_case_count;

/* Whether `name` is meant by `pattern`: a shell pattern (* ? []) for the whole name, or, where it
 * has none of these characters, a part of it. NULL means every name. */
bool bench_case_matches(const char *name, const char *pattern);

/* (query, key) pairs of one head that the mask leaves visible. */
int64_t bench_case_pairs(const struct bench_case *c);

/* Floating point operations of one run: 4 * pairs * head size for each query head. */
double bench_case_flops(const struct bench_case *c);

/* "none", "causal", "window 511,0". */
const char *bench_mask_name(enum bench_mask mask);
/* "none", "entropy, max_weight", "all of a row". */
const char *bench_statistics_name(enum bench_statistics statistics);

#endif
