/* Where the keys and values of a cached sequence are, one address for each, and rows of them as f32. */
#ifndef ATTN_ATTENTION_CACHED_H
#define ATTN_ATTENTION_CACHED_H

#include "attention/run.h"

/* Keys [begin, begin + count) of a place, or its values: addresses into `at`; the scale of each token into
 * `factors` (int8) or the address of its scales into `scales` (int4). */
struct attn_cached_addresses {
    const void **at;
    const float **scales;
    float *factors;
};

void attn_cached_find_keys(const struct attn_run_state *run, const struct attn_place *place,
                           int64_t begin, int count, const struct attn_cached_addresses *to);
void attn_cached_find_values(const struct attn_run_state *run, const struct attn_place *place,
                             int64_t begin, int count, const struct attn_cached_addresses *to);

/* The kernels' description of what was found. */
struct attn_cached_rows attn_cached_keys(const struct attn_plan *plan,
                                         const struct attn_cached_addresses *at, int count);
struct attn_cached_rows attn_cached_values(const struct attn_plan *plan,
                                           const struct attn_cached_addresses *at, int count);

/* Keys or values as f32 into scratch->gathered, one behind the other; returns from row to row in elements.
 * At most block_keys of them. */
int64_t attn_cached_gather_keys(const struct attn_run_state *run, const struct attn_place *place,
                                struct attn_scratch *scratch, int64_t begin, int count);
int64_t attn_cached_gather_values(const struct attn_run_state *run, const struct attn_place *place,
                                  struct attn_scratch *scratch, int64_t begin, int count);

#endif
