/* Elements of any dtype as f32, four at a time, and back. */
#ifndef ATTN_KERNELS_CONVERT_H
#define ATTN_KERNELS_CONVERT_H

#include <attn/attn.h>

#include "base/half.h"
#include "kernels/simd/simd.h"

#ifdef ATTN_NEON
#include <arm_neon.h>
#endif

typedef uint32_t u4 __attribute__((vector_size(16)));
typedef uint16_t h4 __attribute__((vector_size(8)));
typedef uint16_t h4_memory __attribute__((vector_size(8), aligned(2), may_alias));

INLINE const void *element_of(const void *from, int64_t i, const attn_dtype dtype)
{
    return (const char *)from + i * attn_dtype_size(dtype);
}

INLINE v4 v4_of_f16(h4 h)
{
#if defined(__F16C__)
    typedef long long two __attribute__((vector_size(16)));
    h4 zero = {0};
    return (v4)_mm_cvtph_ps((__m128i)(two)__builtin_shufflevector(h, zero, 0, 1, 2, 3, 4, 5, 6, 7));
#elif defined(ATTN_NEON)
    return (v4)vcvt_f32_f16((float16x4_t)h);
#else
    u4 wide = __builtin_convertvector(h, u4);
    u4 rest = (wide & 0x7fff) << 13;
    u4 finite = (u4)((v4)rest * 0x1p112f);
    u4 special = (u4)((wide & 0x7c00) == 0x7c00);
    return (v4)((special & (rest | 0x7f800000)) | (~special & finite) | (wide & 0x8000) << 16);
#endif
}

/* Elements i .. i + 3. */
INLINE v4 v4_load_as(const void *from, int64_t i, const attn_dtype dtype)
{
    const void *at = element_of(from, i, dtype);
    if (dtype == ATTN_F32)
        return v4_load(at);
#if defined(__SSE4_1__)
    if (dtype == ATTN_BF16)
        return (v4)_mm_slli_epi32(_mm_cvtepu16_epi32(_mm_loadl_epi64(at)), 16);
#endif
    h4 h = *(const h4_memory *)at;
    if (dtype == ATTN_F16)
        return v4_of_f16(h);
    return (v4)(__builtin_convertvector(h, u4) << 16);
}

typedef uint16_t half_vector __attribute__((vector_size(2 * LANES)));
typedef uint16_t half_vector_memory __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

/* LANES halves as bits. */
INLINE vu vu_load_half(const void *from)
{
#if ATTN_VECTOR_BYTES == 64 &&                                                                     \
    defined(__AVX512F__) /* GCC 12 widens by halves and puts them together */
    return (vu)_mm512_cvtepu16_epi32(_mm256_loadu_si256(from));
#elif ATTN_VECTOR_BYTES == 32 && defined(__AVX2__)
    return (vu)_mm256_cvtepu16_epi32(_mm_loadu_si128(from));
#else
    return __builtin_convertvector(*(const half_vector_memory *)from, vu);
#endif
}

/* LANES halves in the upper halves of lanes. */
INLINE vf vf_load_bf16(const void *from)
{
#if ATTN_VECTOR_BYTES == 32 &&                                                                     \
    defined(__AVX2__) /* one shuffle of two copies: widening takes two steps */
    const __m256i top = _mm256_setr_epi8(-1, -1, 0, 1, -1, -1, 2, 3, -1, -1, 4, 5, -1, -1, 6, 7, -1,
                                         -1, 8, 9, -1, -1, 10, 11, -1, -1, 12, 13, -1, -1, 14, 15);
    return (vf)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(from)), top);
#else
    return (vf)(vu_load_half(from) << 16);
#endif
}

/* Elements i .. i + LANES - 1. */
INLINE vf vf_load_as(const void *from, int64_t i, const attn_dtype dtype)
{
    const void *at = element_of(from, i, dtype);
    if (dtype == ATTN_F32)
        return vf_load(at);
    if (dtype == ATTN_BF16)
        return vf_load_bf16(at);
#if ATTN_VECTOR_BYTES == 64 && defined(__AVX512F__)
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256(at));
#elif ATTN_VECTOR_BYTES == 32 && defined(__F16C__)
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128(at));
#else
    vf x;
    for (int j = 0; j < LANES; j += 4) {
        v4 quad = v4_load_as(at, j, dtype);
        for (int k = 0; k < 4; k++)
            x[j + k] = quad[k];
    }
    return x;
#endif
}

INLINE float load_as(const void *from, int64_t i, const attn_dtype dtype)
{
    const void *at = element_of(from, i, dtype);
    if (dtype == ATTN_F32)
        return *(const float *)at;
    uint16_t h = *(const uint16_t *)at;
    return dtype == ATTN_F16 ? attn_f16_to_f32(h) : attn_bf16_to_f32(h);
}

INLINE void store_as(void *to, int64_t i, float x, const attn_dtype dtype)
{
    if (dtype == ATTN_F32)
        ((float *)to)[i] = x;
    else
        ((uint16_t *)to)[i] = dtype == ATTN_F16 ? attn_f32_to_f16(x) : attn_f32_to_bf16(x);
}

#endif
