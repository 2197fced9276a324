/* The loops over masks and biases that are read. They go over as many elements as there are pairs, so every
 * path has its own (kernels/table.h), and content.c is told which to use. */
#ifndef ATTN_BASE_MASK_LOOPS_H
#define ATTN_BASE_MASK_LOOPS_H

#include <attn/attn.h>

/* Seen of some pairs: whether any is visible, and whether all are. */
struct attn_verdict {
    bool any, all;
};

/* A byte of 0 hides its pair, a bias of -inf does. */
struct attn_mask_loops {
    struct attn_verdict (*look_at_bytes)(const uint8_t *mask, int64_t count);
    struct attn_verdict (*look_at_bias)(const void *bias, attn_dtype dtype, int64_t count);
    /* visible[j], 0 or 1, <- 0 where the pair is hidden */
    void (*hide_by_bytes)(uint8_t *visible, const uint8_t *mask, int64_t count);
    void (*hide_by_bias)(uint8_t *visible, const void *bias, attn_dtype dtype, int64_t count);
    /* any[j] |= visible[j] */
    void (*gather)(uint8_t *any, const uint8_t *visible, int64_t count);
};

#endif
