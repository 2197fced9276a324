/* q, k, v of a case: reproducible values of a bell-like distribution with mean 0 and variance 1, as
 * queries and keys after a norm have; rounded to the case's type.
 *
 * Layout [batch, heads, length, size]; for a ragged case [heads, total, size]. Element i (in this order) is
 * made from i and a seed alone, so that a program in another language can make the same numbers:
 * z = splitmix64's mix of seed + (i + 1) * 0x9e3779b97f4a7c15; the sum of z's four 16-bit parts, less
 * 131070, times sqrt(3) / 65536. Seeds: q 1, k 2, v 3. */
#ifndef ATTN_TOOLS_BENCH_TENSORS_H
#define ATTN_TOOLS_BENCH_TENSORS_H

#include "../base/failure.h"
#include "cases.h"
#include "pool.h"

#include <stddef.h>

struct bench_tensors {
    void *q, *k, *v;
    struct bench_pool *pool; /* in place of k and v, where the case decodes */
};

bool bench_tensors_make(struct bench_tensors *tensors, const struct bench_case *c,
                        struct failure *f);
void bench_tensors_free(struct bench_tensors *tensors);

/* Element i as a number; storing rounds to nearest, ties to even. */
double bench_element(const void *array, attn_dtype dtype, int64_t i);
void bench_set_element(void *array, attn_dtype dtype, int64_t i, float value);

/* The next value of a sequence of them. */
float bench_random_value(uint64_t *state);

/* 4 or 2 bytes. */
size_t bench_element_size(attn_dtype dtype);

/* Where row i of head h of `heads` of sequence b begins, in rows. `length` is the tensor's most: queries
 * or keys of the case. */
int64_t bench_row_index(const struct bench_case *c, int heads, int64_t length, int b, int h,
                        int64_t i);

/* 64-byte aligned; NULL and a sentence when there is none. */
void *bench_allocate(size_t bytes, struct failure *f);

#endif
