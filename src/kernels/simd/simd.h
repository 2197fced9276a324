/* One vocabulary of vectors, for every instruction set.
 *
 * A kernel body is written against `vf` (a vector of f32) and `vi` (as many i32) and compiled once for
 * each path with ATTN_VECTOR_BYTES = 16, 32 or 64 and that path's flags; GCC's and Clang's vector
 * extensions turn + - * < ? : into its instructions, and `a * b + c` into one multiply-add where there is
 * one. Everything here is static inline, so that no copy made for a wide path can be linked into a narrow
 * one. NaN and Inf mean something: nothing here may be compiled with -ffast-math. */
#ifndef ATTN_KERNELS_SIMD_H
#define ATTN_KERNELS_SIMD_H

#include <stdint.h>

#if defined(__SSE__)
#include <immintrin.h>
#endif

#ifndef ATTN_VECTOR_BYTES
#error "define ATTN_VECTOR_BYTES before including simd.h"
#endif

enum { LANES = ATTN_VECTOR_BYTES / 4 };

typedef float vf __attribute__((vector_size(ATTN_VECTOR_BYTES)));
typedef int32_t vi __attribute__((vector_size(ATTN_VECTOR_BYTES)));
typedef uint32_t vu
    __attribute__((vector_size(ATTN_VECTOR_BYTES))); /* for sums of bits that may wrap */
/* The same in memory: aligned to an element only, and allowed to alias plain floats. */
typedef float vf_memory __attribute__((vector_size(ATTN_VECTOR_BYTES), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE vf vf_load(const float *from)
{
    return *(const vf_memory *)from;
}

INLINE void vf_store(float *to, vf x)
{
    *(vf_memory *)to = x;
}

INLINE vf vf_set(float x)
{
    return x - (vf){0};
}

/* 0, 1, 2, ... */
INLINE vf vf_iota(void)
{
    vf x;
    for (int i = 0; i < LANES; i++)
        x[i] = (float)i;
    return x;
}

/* Lane by lane: `mask` has all bits of a lane set or none, as comparisons give. */
INLINE vf vf_select(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

/* The larger; `b` where either is NaN. The order matters: it decides whether NaN is kept or dropped. */
INLINE vf vf_max(vf a, vf b)
{
#if ATTN_VECTOR_BYTES == 64 && defined(__AVX512F__)
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif ATTN_VECTOR_BYTES == 32 && defined(__AVX__)
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#elif ATTN_VECTOR_BYTES == 16 && defined(__SSE__)
    return (vf)_mm_max_ps((__m128)a, (__m128)b);
#else
    return vf_select(a > b, a, b);
#endif
}

INLINE vf vf_min(vf a, vf b)
{
#if ATTN_VECTOR_BYTES == 64 && defined(__AVX512F__)
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif ATTN_VECTOR_BYTES == 32 && defined(__AVX__)
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#elif ATTN_VECTOR_BYTES == 16 && defined(__SSE__)
    return (vf)_mm_min_ps((__m128)a, (__m128)b);
#else
    return vf_select(a < b, a, b);
#endif
}

INLINE vf vf_abs(vf x)
{
    return (vf)((vi)x & 0x7fffffff);
}

/* Four floats, whatever the path: the unit of transposing. */
typedef float v4 __attribute__((vector_size(16)));
typedef int32_t v4_bits __attribute__((vector_size(16)));
typedef float v4_memory __attribute__((vector_size(16), aligned(4), may_alias));

INLINE v4 v4_load(const float *from)
{
    return *(const v4_memory *)from;
}

INLINE void v4_store(float *to, v4 x)
{
    *(v4_memory *)to = x;
}

/* Reductions in a fixed order: halves are folded onto each other. */
#if ATTN_VECTOR_BYTES == 64
typedef float vf_half __attribute__((vector_size(32)));
typedef int32_t vf_half_bits __attribute__((vector_size(32)));
#endif

INLINE float vf_sum(vf x)
{
#if ATTN_VECTOR_BYTES == 64
    vf_half y = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +
                __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
#else
    vf y = x;
#endif
#if ATTN_VECTOR_BYTES >= 32
    v4 z = __builtin_shufflevector(y, y, 0, 1, 2, 3) + __builtin_shufflevector(y, y, 4, 5, 6, 7);
#else
    v4 z = y;
#endif
    z += __builtin_shufflevector(z, z, 2, 3, 2, 3);
    z += __builtin_shufflevector(z, z, 1, 1, 1, 1);
    return z[0];
}

INLINE v4 v4_max(v4 a, v4 b)
{
#if defined(__SSE__)
    return (v4)_mm_max_ps((__m128)a, (__m128)b);
#else
    v4_bits larger = a > b;
    return (v4)((larger & (v4_bits)a) | (~larger & (v4_bits)b));
#endif
}

INLINE float vf_max_lane(vf x)
{
#if ATTN_VECTOR_BYTES == 64
    vf_half low = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7);
    vf_half high = __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
#if defined(__AVX__)
    vf_half y = (vf_half)_mm256_max_ps((__m256)low, (__m256)high);
#else
    vf_half_bits larger = low > high;
    vf_half y = (vf_half)((larger & (vf_half_bits)low) | (~larger & (vf_half_bits)high));
#endif
#else
    vf y = x;
#endif
#if ATTN_VECTOR_BYTES >= 32
    v4 z = v4_max(__builtin_shufflevector(y, y, 0, 1, 2, 3),
                  __builtin_shufflevector(y, y, 4, 5, 6, 7));
#else
    v4 z = y;
#endif
    z = v4_max(z, __builtin_shufflevector(z, z, 2, 3, 2, 3));
    z = v4_max(z, __builtin_shufflevector(z, z, 1, 1, 1, 1));
    return z[0];
}

INLINE float vf_min_lane(vf x)
{
    return -vf_max_lane(-x);
}

/* 2^x for x <= 120 or so, relative error < 2e-7, exactly 1 at 0 and exactly 0 for x <= -127 (results below
 * the normal range flush towards 0); NaN stays NaN whatever its payload.
 *
 * x = n + r with n the nearest integer: adding 1.5 * 2^23 rounds to it and leaves n in the low bits. 2^r by
 * the polynomial of degree 5 that is best in relative error on [-1/2, 1/2] with value 1 at 0 (fitted by
 * iteratively reweighted least squares). 2^n is made in the exponent field; n = -127 gives the bits of 0.
 * `*clamped` is max(x, -127), which stays finite where a masked score of -inf makes x infinite. */
INLINE vf vf_exp2_clamped(vf x, vf *clamped)
{
    const vf round = vf_set(12582912.0f);
    x = vf_max(vf_set(-127.0f), x); /* in this order: NaN is kept */
    *clamped = x;
    vf shifted = x + round;
    vf r = x - (shifted - round);
    vf p = r * 0.001326472731307149f + 0.009671512991189957f;
    p = p * r + 0.05550733581185341f;
    p = p * r + 0.24022242426872253f;
    p = p * r + 0.6931470036506653f;
    p = p * r + 1.0f;
    vu power = ((vu)shifted << 23) + 0x3f800000u;
    return p * (vf)power;
}

INLINE vf vf_exp2(vf x)
{
    vf clamped;
    return vf_exp2_clamped(x, &clamped);
}

/* tanh(x), error a few units in the last place. Near 0 an odd polynomial, elsewhere
 * 1 - 2 / (e^2|x| + 1), which has no cancellation from 0.6 on. NaN stays NaN. */
INLINE vf vf_tanh(vf x)
{
    vf size = vf_abs(x);
    vf square = x * x;
    vf p = square * -0.005852168425917625f + 0.020753629505634308f;
    p = p * square + -0.05376870557665825f;
    p = p * square + 0.13331688940525055f;
    p = p * square + -0.3333328366279602f;
    p = p * square + 1.0f;
    vf near = p * x;

    /* e^(2 * 20) is far past where tanh rounds to 1 */
    vf bounded = vf_select(size > 20.0f, vf_set(20.0f), size);
    vf power = vf_exp2(bounded * 2.885390081777927f);
    vf far = 1.0f - 2.0f / (power + 1.0f);
    vf sign = (vf)((vi)x & (int32_t)0x80000000);
    far = (vf)((vi)far | (vi)sign);
    return vf_select(size < 0.6f, near, far);
}

/* rows[i][j] <-> rows[j][i] */
INLINE void v4_transpose(v4 rows[4])
{
    v4 low01 = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
    v4 high01 = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
    v4 low23 = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
    v4 high23 = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
    rows[0] = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
    rows[1] = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
    rows[2] = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
    rows[3] = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

#endif
