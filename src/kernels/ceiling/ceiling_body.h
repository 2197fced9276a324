/* The loops of ceiling.h on the vectors of one path. Define ATTN_VECTOR_BYTES and ATTN_CEILING_LOOPS (the
 * name of the table) before including.
 *
 * Multiply-adds: CHAINS accumulators, each waiting for itself alone. Two units with a latency of four
 * cycles need 8 of them (4 units on large AArch64 cores: 16; multiply and add apart on SSE: two units of
 * each at three cycles, 12); all of them and the two factors stay in registers. The factors and seeds come
 * from outside and pass through an empty asm, so that nothing can be computed beforehand.
 *
 * Dot products of bf16 pairs (with ATTN_BF16_PAIRS): the same chains, whose latency may be longer; 24 are
 * enough for six cycles on four units.
 *
 * Reading: exclusive or of whole vectors, so that no bit pattern is slow (a denormal float can be). */
#include "kernels/ceiling/ceiling.h"
#include "kernels/simd/simd.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#if ATTN_VECTOR_BYTES == 64 || defined(__aarch64__)
#define CHAINS 24 /* of 32 registers */
#else
#define CHAINS 14 /* of 16 */
#endif

enum { UNROLL = 4, VECTORS = 8, CHUNK = VECTORS * ATTN_VECTOR_BYTES };

typedef int32_t vi_memory __attribute__((vector_size(ATTN_VECTOR_BYTES), aligned(1), may_alias));

/* One multiply-add in every chain. The index is a constant once unrolled, so each chain is a register. */
INLINE void fma_step(vf *chain, vf factor, vf addend)
{
#pragma GCC unroll 24
    for (int i = 0; i < CHAINS; i++)
#if defined(__aarch64__)
        /* fmla adds to the register it overwrites: with the addend outside, each would bring a copy */
        chain[i] = (vf)vfmaq_f32((float32x4_t)chain[i], (float32x4_t)factor, (float32x4_t)addend);
#else
        chain[i] = chain[i] * factor + addend;
#endif
}

INLINE float sum_of(const vf chain[CHAINS])
{
    vf sum = chain[0];
    for (int i = 1; i < CHAINS; i++)
        sum += chain[i];
    return vf_sum(sum);
}

static float fma_loop(int64_t rounds, float seed)
{
    vf chain[CHAINS];
    vf factor = vf_set(0.5f), addend = vf_set(seed);
    for (int i = 0; i < CHAINS; i++)
        chain[i] = vf_set(seed + (float)i);
    __asm__ volatile("" : "+m"(factor), "+m"(addend), "+m"(chain));
    for (int64_t round = 0; round < rounds; round++) {
        fma_step(chain, factor, addend);
        fma_step(chain, factor, addend);
        fma_step(chain, factor, addend);
        fma_step(chain, factor, addend);
    }
    return sum_of(chain);
}

#ifdef ATTN_BF16_PAIRS
INLINE void dot_step(vf *chain, vi left, vi right)
{
#pragma GCC unroll 24
    for (int i = 0; i < CHAINS; i++)
        chain[i] = (vf)_mm512_dpbf16_ps((__m512)chain[i], (__m512bh)left, (__m512bh)right);
}

/* Every lane of every chain gains 1 * 0.25 twice a step. */
static float bf16_dot_loop(int64_t rounds, float seed)
{
    vf chain[CHAINS];
    vi left = (vi){0} + 0x3f803f80, right = (vi){0} + 0x3e803e80; /* 1, 1 and 0.25, 0.25 as bf16 */
    for (int i = 0; i < CHAINS; i++)
        chain[i] = vf_set(seed + (float)i);
    __asm__ volatile("" : "+m"(left), "+m"(right), "+m"(chain));
    for (int64_t round = 0; round < rounds; round++) {
        dot_step(chain, left, right);
        dot_step(chain, left, right);
        dot_step(chain, left, right);
        dot_step(chain, left, right);
    }
    return sum_of(chain);
}
#endif

INLINE vi load(const unsigned char *from)
{
    return *(const vi_memory *)from;
}

INLINE uint32_t fold(vi x)
{
    uint32_t result = 0;
    for (int i = 0; i < LANES; i++)
        result ^= (uint32_t)x[i];
    return result;
}

/* What is left after whole chunks. */
INLINE uint32_t read_rest(const unsigned char *memory, size_t bytes)
{
    uint32_t result = 0;
    for (size_t i = 0; i < bytes; i++)
        result ^= memory[i];
    return result;
}

/* memory[bytes] from its begin to its end, `ahead` bytes prefetched by hand (0 = none). */
INLINE uint32_t read_in_order(const unsigned char *memory, size_t bytes, size_t ahead)
{
    vi sum[VECTORS] = {{0}};
    size_t at = 0;
    for (; at + CHUNK <= bytes; at += CHUNK) {
        if (ahead > 0)
            for (size_t line = 0; line < CHUNK; line += 64)
                __builtin_prefetch((const void *)((uintptr_t)memory + at + ahead + line), 0, 3);
#pragma GCC unroll 8
        for (int i = 0; i < VECTORS; i++)
            sum[i] ^= load(memory + at + (size_t)i * ATTN_VECTOR_BYTES);
    }
    for (int i = 1; i < VECTORS; i++)
        sum[0] ^= sum[i];
    return fold(sum[0]) ^ read_rest(memory + at, bytes - at);
}

/* Four streams at once, a quarter of the memory each: more prefetchers at work. */
INLINE uint32_t read_in_quarters(const unsigned char *memory, size_t bytes)
{
    enum { STREAMS = 4, STEP = 2 * ATTN_VECTOR_BYTES };
    size_t quarter = bytes / STREAMS / STEP * STEP;
    vi sum[STREAMS][2] = {{{0}}};
    for (size_t at = 0; at < quarter; at += STEP)
#pragma GCC unroll 4
        for (int s = 0; s < STREAMS; s++) {
            const unsigned char *from = memory + (size_t)s * quarter + at;
            sum[s][0] ^= load(from);
            sum[s][1] ^= load(from + ATTN_VECTOR_BYTES);
        }
    for (int s = 0; s < STREAMS; s++)
        sum[0][0] ^= s == 0 ? sum[0][1] : sum[s][0] ^ sum[s][1];
    return fold(sum[0][0]) ^
           read_in_order(memory + STREAMS * quarter, bytes - STREAMS * quarter, 0);
}

/* The barrier makes every pass read again. */
#define ATTN_READ_PASSES(expression)                                                               \
    uint32_t result = 0;                                                                           \
    for (int64_t pass = 0; pass < passes; pass++) {                                                \
        result += (expression);                                                                    \
        __asm__ volatile("" ::: "memory");                                                         \
    }                                                                                              \
    return result

static uint32_t read_plain(const unsigned char *memory, size_t bytes, int64_t passes)
{
    ATTN_READ_PASSES(read_in_order(memory, bytes, 0));
}

static uint32_t read_prefetched(const unsigned char *memory, size_t bytes, int64_t passes)
{
    ATTN_READ_PASSES(read_in_order(memory, bytes, 1536));
}

static uint32_t read_streams(const unsigned char *memory, size_t bytes, int64_t passes)
{
    ATTN_READ_PASSES(read_in_quarters(memory, bytes));
}

extern const struct attn_ceiling_loops ATTN_CEILING_LOOPS;
const struct attn_ceiling_loops ATTN_CEILING_LOOPS = {
    .fma = fma_loop,
    .flops_per_round = 2.0 * UNROLL * CHAINS * LANES,
#ifdef ATTN_BF16_PAIRS
    .bf16_dot = bf16_dot_loop,
    .bf16_dot_flops_per_round = 4.0 * UNROLL * CHAINS * LANES,
#endif
    .read = {read_plain, read_prefetched, read_streams},
};
