/* What `attn bench` measures: families of cases as data, a case for each type and head size.
 *
 * Names are stable: kept results of different versions are compared by them. A name says the operation,
 * the type, heads and kv heads where they differ, the head size, and "_n<N>" where the length is not the
 * usual one (2048; 4096 for causal, window512, documents and blocks; its own number for short<N>; 4096 keys
 * for few<Q>). decode_<type>_<heads>_<kv heads>_n<N> is one query on a cache of N keys of head size 128;
 * "_page16" in pages of 16, "_b8" with eight sequences, "_shared" whose first 4096 keys are in the same pages (of
 * 16); with "stats" its entropy and largest weight, with "steps" its 8 largest keys too, and its weights added to
 * what earlier runs gave each key. */
#ifndef ATTN_TOOLS_BENCH_CASES_H
#define ATTN_TOOLS_BENCH_CASES_H

#include "masks.h"

#include <attn/attn.h>
#include <stdbool.h>
#include <stdint.h>

enum bench_statistics {
    STATISTICS_NONE,
    STATISTICS_TWO /* entropy, max_weight */,
    STATISTICS_ALL /* of a row */,
    STATISTICS_STEP /* entropy, max_weight, top keys, column mass added: of a step of decoding */
};

/* What a case is run in turn with, so that the ratio does not depend on the clock of the moment. */
enum bench_partner {
    ALONE,
    BESIDE_FULL,  /* the same without its mask */
    BESIDE_PLAIN, /* the same without its statistics */
};

struct bench_case {
    char name[48];
    attn_dtype dtype; /* of q, k, v and o */
    int batch, heads, kv_heads;
    int queries, keys;
    int head_size;
    enum bench_mask mask;
    enum bench_statistics statistics;
    enum bench_partner partner;
    bool takes_minutes; /* run once, and only when its whole name is asked for */
    attn_dtype cache;   /* decoding: what k and v are stored as, in pages; else 0 */
    int page_size;      /* tokens of a page: all keys, or fewer */
    int shared;         /* keys that all sequences have in the same pages: whole pages */
};

/* All of them, made at the first call. */
const struct bench_case *bench_cases(int *count);

/* Whether `name` is meant by `pattern`: a shell pattern (* ? []) for the whole name, or, where it
 * has none of these characters, a part of it. NULL means every name. */
bool bench_case_matches(const char *name, const char *pattern);

/* Whether a case is run for `pattern`. */
bool bench_case_is_meant(const struct bench_case *c, const char *pattern);

/* Floating point operations of one run: 4 * visible pairs * head size for each query head. */
double bench_case_flops(const struct bench_case *c);

/* "f32", "bf16", "f16", "int8". */
const char *bench_dtype_name(attn_dtype dtype);
/* "none", "entropy, max_weight", "all of a row", "of a step". */
const char *bench_statistics_name(enum bench_statistics statistics);

#endif
