/* The cache of a decoding case: the keys and values of tensors.h in pages, quantised where the case says so, in
 * as many copies as must pass by before one is read again, or a cache of the machine would answer for memory.
 *
 * int8 is x rounded to whole multiples of one scale, 3.5 / 127, which all values lie within. */
#ifndef ATTN_TOOLS_BENCH_POOL_H
#define ATTN_TOOLS_BENCH_POOL_H

#include "../base/failure.h"
#include "cases.h"

#include <attn/kv.h>
#include <stddef.h>

struct bench_pool {
    const struct bench_case *c;
    attn_kv_layout layout;
    attn_kv_view *views; /* [copies] */
    int copies, turn;    /* the copy that is run next */
    unsigned char *memory;
    size_t size;    /* of all copies */
    size_t bytes;   /* that one run reads: keys, values and scales */
    int32_t *table; /* indptr, last_page_len, indices */
};

/* NULL and a sentence if it cannot be made. */
struct bench_pool *bench_pool_make(const struct bench_case *c, struct failure *f);
void bench_pool_free(struct bench_pool *pool);

/* The view of another copy each time. */
const attn_kv_view *bench_pool_next(struct bench_pool *pool);

/* Element `i` of k (or v) as [batch, kv heads, keys, size] has them. */
double bench_pool_element(const struct bench_pool *pool, bool values, int64_t i);

#endif
