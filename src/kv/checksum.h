/* A 64-bit checksum of a stream of 64-byte blocks.
 *
 * Eight lanes, each taking one word of a block. A step is a bijection of the lane for a given word and of the
 * word for a given lane, and so is putting lanes together: bits that change within one word always change
 * the sum, whatever else follows; other damage passes unseen once in 2^64. It tells damage, not malice. */
#ifndef ATTN_KV_CHECKSUM_H
#define ATTN_KV_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { ATTN_SUM_LANES = 8, ATTN_SUM_BLOCK = 8 * ATTN_SUM_LANES };

static inline uint64_t attn_mix(uint64_t lane, uint64_t word)
{
    lane = (lane ^ word) * UINT64_C(0x9e3779b97f4a7c15); /* 2^64 over the golden ratio: odd */
    return lane ^ lane >> 29;
}

struct attn_sum {
    uint64_t lane[ATTN_SUM_LANES];
};

static inline struct attn_sum attn_sum_begin(void)
{
    struct attn_sum sum;
    for (int i = 0; i < ATTN_SUM_LANES; i++)
        sum.lane[i] = UINT64_C(0x243f6a8885a308d3) + (uint64_t)i; /* pi */
    return sum;
}

/* `bytes` is a multiple of ATTN_SUM_BLOCK. */
static inline void attn_sum_add(struct attn_sum *sum, const void *data, size_t bytes)
{
    const unsigned char *from = data;
    for (; bytes >= ATTN_SUM_BLOCK; from += ATTN_SUM_BLOCK, bytes -= ATTN_SUM_BLOCK) {
        uint64_t words[ATTN_SUM_LANES];
        memcpy(words, from, sizeof words);
        for (int i = 0; i < ATTN_SUM_LANES; i++)
            sum->lane[i] = attn_mix(sum->lane[i], words[i]);
    }
}

static inline uint64_t attn_sum_end(const struct attn_sum *sum)
{
    uint64_t all = 0;
    for (int i = 0; i < ATTN_SUM_LANES; i++)
        all = attn_mix(all, sum->lane[i]);
    return all;
}

#endif
