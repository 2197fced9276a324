/* Types of stored weights for few_rows_body.h, two functions each: one that reads the scales of a block, and one
 * that unpacks PIECE of its values into vectors of VECTOR_BYTES.
 *
 * Quantised values are made bytes first, signed and with their offset taken off, sixteen to a vector, and then
 * w = scale * q (- minimum), by one multiply-add. A scale has at most 19 bits (17 where there are minima) and q at most
 * 8 beside 11, or 6 beside 19, so that what dequantise_row gives comes out to the last bit. */
#ifndef ATTN_TOOLS_MODEL_FEW_ROWS_TYPES_H
#define ATTN_TOOLS_MODEL_FEW_ROWS_TYPES_H

#include "few_rows.h"

#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

enum {
    LANES = VECTOR_BYTES / 4,
    PIECE = 32,
    PARTS = PIECE / LANES,
    HALF_PARTS = PARTS / 2,
    MOST_SCALES = 16,
};

typedef float vf __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t vi __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t vu __attribute__((vector_size(VECTOR_BYTES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef uint8_t bytes __attribute__((vector_size(16)));
typedef uint16_t pairs __attribute__((vector_size(16)));

INLINE vf set(float x)
{
    return x - (vf){0};
}

INLINE vf load(const float *from)
{
    vf v;
    memcpy(&v, from, sizeof v);
    return v;
}

INLINE bytes load_bytes(const uint8_t *from)
{
    bytes v;
    memcpy(&v, from, sizeof v);
    return v;
}

/* What a block says about its values; each type uses its part. */
struct scales {
    float scale[MOST_SCALES], minimum[MOST_SCALES / 2];
};

typedef void read_scales(const uint8_t *block, struct scales *s);
/* Values [PIECE * piece, PIECE * piece + PIECE) of the block. */
typedef void unpack_piece(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS]);

/* ---- sixteen bytes to floats ---- */

/* floats_of_bytes gives this many times the value: a byte in the top of a word is as good as one that is moved down. */
#if VECTOR_BYTES == 64 && defined(__AVX512F__)
#define BYTE_UNIT 1.0f
#else
#define BYTE_UNIT 0x1p24f
#endif

INLINE void floats_of_bytes(bytes q, vf to[HALF_PARTS])
{
#if VECTOR_BYTES == 64 && defined(__AVX512F__)
    to[0] = (vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32((__m128i)q));
#elif VECTOR_BYTES == 32 &&                                                                        \
    defined(__AVX2__) /* a Zen 1 takes three times as long to widen as to shuffle */
    const __m256i both = _mm256_broadcastsi128_si256((__m128i)q);
    const __m256i first =
        _mm256_setr_epi8(-1, -1, -1, 0, -1, -1, -1, 1, -1, -1, -1, 2, -1, -1, -1, 3, -1, -1, -1, 4,
                         -1, -1, -1, 5, -1, -1, -1, 6, -1, -1, -1, 7);
    const __m256i second =
        _mm256_setr_epi8(-1, -1, -1, 8, -1, -1, -1, 9, -1, -1, -1, 10, -1, -1, -1, 11, -1, -1, -1,
                         12, -1, -1, -1, 13, -1, -1, -1, 14, -1, -1, -1, 15);
    to[0] = (vf)_mm256_cvtepi32_ps(_mm256_shuffle_epi8(both, first));
    to[1] = (vf)_mm256_cvtepi32_ps(_mm256_shuffle_epi8(both, second));
#else
    const bytes none = {0};
    const pairs low = (pairs)__builtin_shufflevector(none, q, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5,
                                                     21, 6, 22, 7, 23);
    const pairs high = (pairs)__builtin_shufflevector(none, q, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,
                                                      13, 29, 14, 30, 15, 31);
    const pairs zero = {0};
#define FLOATS(from, i)                                                                            \
    __builtin_convertvector((vi)__builtin_shufflevector(zero, from, i, (i) + 8, (i) + 1, (i) + 9,  \
                                                        (i) + 2, (i) + 10, (i) + 3, (i) + 11),     \
                            vf)
    to[0] = FLOATS(low, 0);
    to[1] = FLOATS(low, 4);
    to[2] = FLOATS(high, 0);
    to[3] = FLOATS(high, 4);
#undef FLOATS
#endif
}

INLINE void scaled(bytes q, float scale, vf w[HALF_PARTS])
{
    floats_of_bytes(q, w);
    for (int i = 0; i < HALF_PARTS; i++)
        w[i] *= set(scale * (1.0f / BYTE_UNIT));
}

INLINE void scaled_less(bytes q, float scale, float minimum, vf w[HALF_PARTS])
{
    floats_of_bytes(q, w);
    for (int i = 0; i < HALF_PARTS; i++)
        w[i] = w[i] * set(scale * (1.0f / BYTE_UNIT)) - set(minimum);
}

INLINE bytes low_nibbles(bytes b)
{
    return b & 15;
}

/* (A shift of bytes is what GCC 12 does one byte at a time without AVX-512.) */
INLINE bytes high_nibbles(bytes b)
{
    return (bytes)((pairs)b >> 4) & 15;
}

/* 16 where the byte is not 0. */
INLINE bytes fifth_where(bytes b)
{
    return (bytes)(b != 0) & 16;
}

/* Bits 0 .. 15 of the two bytes at `from`, each as bit 4 of a byte. */
INLINE bytes fifth_bits(const uint8_t *from)
{
    const bytes bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
#if defined(__AVX2__)
    uint16_t two;
    memcpy(&two, from, sizeof two);
    const bytes spread =
        (bytes)_mm_shuffle_epi8(_mm_cvtsi32_si128(two), _mm_set_epi64x(0x0101010101010101, 0));
#else
    const uint64_t each[2] = {from[0] * UINT64_C(0x0101010101010101),
                              from[1] * UINT64_C(0x0101010101010101)};
    bytes spread;
    memcpy(&spread, each, sizeof spread);
#endif
    return fifth_where(spread & bit);
}

/* ---- F32, BF16, F16: blocks of PIECE values without scales ---- */

INLINE void no_scales(const uint8_t *block, struct scales *s)
{
    (void)block, (void)s;
}

INLINE void unpack_f32(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    (void)s, (void)piece;
    for (int i = 0; i < PARTS; i++)
        memcpy(&w[i], block + VECTOR_BYTES * i, sizeof w[i]);
}

INLINE vu load_halves(const uint8_t *from)
{
    halves v;
    memcpy(&v, from, sizeof v);
    return __builtin_convertvector(v, vu);
}

INLINE void unpack_bf16(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    (void)s, (void)piece;
#if VECTOR_BYTES == 32 && defined(__AVX2__)
    const __m256i top = _mm256_setr_epi8(-1, -1, 0, 1, -1, -1, 2, 3, -1, -1, 4, 5, -1, -1, 6, 7, -1,
                                         -1, 8, 9, -1, -1, 10, 11, -1, -1, 12, 13, -1, -1, 14, 15);
    for (int i = 0; i < PARTS; i++)
        w[i] = (vf)_mm256_shuffle_epi8(
            _mm256_broadcastsi128_si256((__m128i)load_bytes(block + 16 * i)), top);
#else
    for (int i = 0; i < PARTS; i++)
        w[i] = (vf)(load_halves(block + 2 * LANES * i) << 16);
#endif
}

/* binary16 to f32 lane by lane, as dequantise.c has it. */
INLINE vf floats_of_halves(vu half)
{
    vu magnitude = (half & 0x7fffu) << 13;
    vu normal = magnitude + (112u << 23);
    vf tiny = (vf)(magnitude + (113u << 23)) - (vf)(magnitude * 0 + (113u << 23));
    vu is_tiny = (vu)(magnitude < (1u << 23)), is_special = (vu)(magnitude >= (31u << 23));
    vu value = (normal & ~(is_tiny | is_special)) | ((vu)tiny & is_tiny) |
               ((magnitude | 0x7f800000u) & is_special);
    return (vf)(value | (half & 0x8000u) << 16);
}

INLINE void unpack_f16(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    (void)s, (void)piece;
    for (int i = 0; i < PARTS; i++)
#if VECTOR_BYTES == 64 && defined(__AVX512F__)
        w[i] = (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)(block + 2 * LANES * i)));
#elif VECTOR_BYTES == 32 && defined(__F16C__)
        w[i] = (vf)_mm256_cvtph_ps((__m128i)load_bytes(block + 2 * LANES * i));
#else
        w[i] = floats_of_halves(load_halves(block + 2 * LANES * i));
#endif
}

/* ---- blocks of 32: one scale, some with a minimum ---- */

INLINE float load_half(const uint8_t *from)
{
#if defined(__F16C__)
    uint16_t half;
    memcpy(&half, from, sizeof half);
    return _cvtsh_ss(half);
#else
    float value;
    dequantise_row(TENSOR_F16, from, &value, 1);
    return value;
#endif
}

INLINE void one_scale(const uint8_t *block, struct scales *s)
{
    s->scale[0] = load_half(block);
}

INLINE void one_scale_and_minimum(const uint8_t *block, struct scales *s)
{
    s->scale[0] = load_half(block);
    s->minimum[0] = -load_half(block + 2);
}

INLINE void unpack_q8_0(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    (void)piece;
    scaled(load_bytes(block + 2), s->scale[0], w);
    scaled(load_bytes(block + 18), s->scale[0], w + HALF_PARTS);
}

/* The low nibbles of 16 bytes are values 0 .. 15, the high ones 16 .. 31. */
INLINE void unpack_q4_0(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    (void)piece;
    const bytes b = load_bytes(block + 2);
    scaled(low_nibbles(b) - 8, s->scale[0], w);
    scaled(high_nibbles(b) - 8, s->scale[0], w + HALF_PARTS);
}

INLINE void unpack_q4_1(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    (void)piece;
    const bytes b = load_bytes(block + 4);
    scaled_less(low_nibbles(b), s->scale[0], s->minimum[0], w);
    scaled_less(high_nibbles(b), s->scale[0], s->minimum[0], w + HALF_PARTS);
}

INLINE void unpack_q5_0(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    (void)piece;
    const bytes b = load_bytes(block + 6);
    scaled((low_nibbles(b) | fifth_bits(block + 2)) - 16, s->scale[0], w);
    scaled((high_nibbles(b) | fifth_bits(block + 4)) - 16, s->scale[0], w + HALF_PARTS);
}

INLINE void unpack_q5_1(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    (void)piece;
    const bytes b = load_bytes(block + 8);
    scaled_less(low_nibbles(b) | fifth_bits(block + 4), s->scale[0], s->minimum[0], w);
    scaled_less(high_nibbles(b) | fifth_bits(block + 6), s->scale[0], s->minimum[0],
                w + HALF_PARTS);
}

/* ---- blocks of 256 ---- */

/* Q4_K and Q5_K: eight sub-blocks, whose 6-bit scales and minima share 12 bytes. */
INLINE void scales_of_sub_blocks(const uint8_t *block, struct scales *s)
{
    float d = load_half(block), dmin = load_half(block + 2);
    const uint8_t *b = block + 4;
    for (int j = 0; j < 4; j++) {
        s->scale[j] = d * (float)(b[j] & 63);
        s->minimum[j] = dmin * (float)(b[j + 4] & 63);
        s->scale[j + 4] = d * (float)((b[j + 8] & 15) | (b[j] >> 6) << 4);
        s->minimum[j + 4] = dmin * (float)((b[j + 8] >> 4) | (b[j + 4] >> 6) << 4);
    }
}

/* The low nibbles of 32 bytes are the even piece, the high ones the odd piece. */
INLINE bytes nibbles_of(const uint8_t *from, int piece)
{
    const bytes b = load_bytes(from + 32 * (piece / 2));
    return piece % 2 == 0 ? low_nibbles(b) : high_nibbles(b);
}

INLINE void unpack_q4_k(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    for (int half = 0; half < 2; half++)
        scaled_less(nibbles_of(block + 16 + 16 * half, piece), s->scale[piece], s->minimum[piece],
                    w + half * HALF_PARTS);
}

INLINE void unpack_q5_k(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    for (int half = 0; half < 2; half++) {
        const bytes high = load_bytes(block + 16 + 16 * half) & (uint8_t)(1 << piece);
        scaled_less(nibbles_of(block + 48 + 16 * half, piece) | fifth_where(high), s->scale[piece],
                    s->minimum[piece], w + half * HALF_PARTS);
    }
}

/* Sixteen scales of 16 values. */
INLINE void scales_q6_k(const uint8_t *block, struct scales *s)
{
    float d = load_half(block + 208);
    for (int j = 0; j < 16; j++)
        s->scale[j] = d * (float)(int8_t)block[192 + j];
}

/* Each half of the block is four quarters of 32 with the bytes of the low bits shared by the first and the third,
 * and those of the high bits by all four. */
INLINE void unpack_q6_k(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    const int quarter = piece % 4, up = 4 - 2 * quarter;
    const uint8_t *low = block + 64 * (piece / 4) + 32 * (quarter % 2);
    const uint8_t *high = block + 128 + 32 * (piece / 4);
    for (int half = 0; half < 2; half++) {
        const bytes b = load_bytes(low + 16 * half);
        const pairs two = (pairs)(load_bytes(high + 16 * half) & (uint8_t)(3 << 2 * quarter));
        const bytes moved = (bytes)(up >= 0 ? two << (up & 7) : two >> (-up & 7));
        scaled(((quarter < 2 ? low_nibbles(b) : high_nibbles(b)) | moved) - 32,
               s->scale[2 * piece + half], w + half * HALF_PARTS);
    }
}

#endif
