/* Who sees whom in the cases of `attn bench`.
 *
 * Every mask is a rule of two indices, simple enough to be written again in another language: the
 * comparisons with other libraries do so (bench/peers/forward/problem.py). Row i and key j count from the
 * begin of their sequence of n keys; p = i + n - (number of queries) is the row's position. */
#ifndef ATTN_TOOLS_BENCH_MASKS_H
#define ATTN_TOOLS_BENCH_MASKS_H

#include <stdbool.h>
#include <stdint.h>

enum bench_mask {
    MASK_NONE,
    MASK_CAUSAL,       /* j <= p */
    MASK_WINDOW_512,   /* p - 511 <= j <= p */
    MASK_BYTES,        /* a tensor of bytes: 15 of 16 pairs, chosen by a hash of i and j */
    MASK_BITS,         /* the same, packed */
    MASK_BYTES_CAUSAL, /* j <= p, but given as a tensor of bytes */
    MASK_BIAS,         /* all; a bias of each head, row and key is added */
    MASK_ALIBI,        /* all; minus slope * |p - j| */
    MASK_DOCUMENTS,    /* j <= p of the same of eight documents, each longer than the one before */
    MASK_BLOCKS,       /* lists of 128 x 128 blocks: about a quarter of them */
    MASK_PADDED,       /* all of their own sequence, whose lengths are n, n (B - 1) / B, ... */
    MASK_RAGGED,       /* the same sequences packed */
};
enum { MASK_BLOCK = 128, MASK_DOCUMENT_COUNT = 8 };

/* "none", "causal", "window 511,0", ... */
const char *bench_mask_name(enum bench_mask mask);

/* The keys [*first, *last] outside of which row i sees nothing. */
void bench_mask_range(enum bench_mask mask, int64_t queries, int64_t keys, int64_t i,
                      int64_t *first, int64_t *last);

/* Whether row i sees key j. */
bool bench_mask_sees(enum bench_mask mask, int64_t queries, int64_t keys, int64_t i, int64_t j);

/* What is added to the score; 0 but for MASK_BIAS and MASK_ALIBI. */
double bench_mask_bias(enum bench_mask mask, int heads, int head, int64_t queries, int64_t keys,
                       int64_t i, int64_t j);
float bench_mask_slope(int heads, int head);

/* The document of token t of n, 0 .. MASK_DOCUMENT_COUNT - 1. */
int32_t bench_mask_document(int64_t n, int64_t t);

/* Whether a block of rows sees a block of keys. */
bool bench_mask_block(int64_t row_block, int64_t key_block);

/* The length of sequence b of `batch`, of at most n tokens. */
int64_t bench_mask_length(enum bench_mask mask, int batch, int64_t n, int b);

/* Pairs of one head that are visible, over all sequences. */
int64_t bench_mask_pairs(enum bench_mask mask, int batch, int64_t queries, int64_t keys);

#endif
