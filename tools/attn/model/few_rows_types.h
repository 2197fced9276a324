/* Types of stored weights for few_rows_body.h, two functions each: one that reads the scales of a block, and one
 * that unpacks PIECE of its values into vectors of VECTOR_BYTES.
 *
 * A piece becomes w = scale * q - minimum by one multiply-add. For types without minima the offset of q takes
 * that place: scale * (q - 8) = scale * q - 8 * scale. A scale has at most 19 bits (17 where there are minima) and q
 * at most 8 beside 11 or 6 beside 19, so that what dequantise_row gives comes out; but where there is no fused
 * multiply-add, scale * q of Q6_K is rounded in its 25th bit. */
#ifndef ATTN_TOOLS_MODEL_FEW_ROWS_TYPES_H
#define ATTN_TOOLS_MODEL_FEW_ROWS_TYPES_H

#include "few_rows.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { LANES = VECTOR_BYTES / 4, PIECE = 32, PARTS = PIECE / LANES, MOST_SCALES = 16 };

typedef float vf __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t vi __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t vu __attribute__((vector_size(VECTOR_BYTES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef uint8_t bytes __attribute__((vector_size(LANES)));

#if defined(__F16C__) && defined(__clang__)
typedef __fp16 half_float;
#elif defined(__F16C__)
__extension__ typedef _Float16 half_float;
#endif

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

/* (Through unsigned bytes: GCC 12 takes vectors of signed ones apart.) */
INLINE vi widen(bytes b)
{
    return __builtin_convertvector(b, vi);
}

INLINE vf to_float(vi q)
{
    return __builtin_convertvector(q, vf);
}

/* 0, 1, 2, ... */
INLINE vu iota(void)
{
    vu v;
    for (int i = 0; i < LANES; i++)
        v[i] = (uint32_t)i;
    return v;
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

INLINE float load_half(const uint8_t *from)
{
#if defined(__F16C__)
    half_float half;
    memcpy(&half, from, sizeof half);
    return (float)half;
#else
    float value;
    dequantise_row(TENSOR_F16, from, &value, 1);
    return value;
#endif
}

/* What a block says about its values; each type uses its part. */
struct scales {
    float scale[MOST_SCALES], minimum[MOST_SCALES];
};

typedef void read_scales(const uint8_t *block, struct scales *s);
/* Values [PIECE * piece, PIECE * piece + PIECE) of the block. */
typedef void unpack_piece(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS]);

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
    for (int i = 0; i < PARTS; i++)
        w[i] = (vf)(load_halves(block + 2 * LANES * i) << 16);
}

INLINE void unpack_f16(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    (void)s, (void)piece;
    for (int i = 0; i < PARTS; i++)
        w[i] = floats_of_halves(load_halves(block + 2 * LANES * i));
}

/* ---- blocks of 32: one scale, and a minimum or an offset ---- */

INLINE void one_scale(const uint8_t *block, struct scales *s, float offset)
{
    s->scale[0] = load_half(block);
    s->minimum[0] = offset * s->scale[0];
}

INLINE void one_scale_and_minimum(const uint8_t *block, struct scales *s)
{
    s->scale[0] = load_half(block);
    s->minimum[0] = -load_half(block + 2);
}

INLINE void scales_q8_0(const uint8_t *block, struct scales *s)
{
    one_scale(block, s, 128);
}

INLINE void unpack_q8_0(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    (void)piece;
    for (int i = 0; i < PARTS; i++) /* the sign bit turned over: q + 128 */
        w[i] = to_float(widen(load_bytes(block + 2 + LANES * i) ^ 128)) * set(s->scale[0]) -
               set(s->minimum[0]);
}

/* Values `LANES * i` and on of 32 nibbles: the low ones of 16 bytes, then the high ones, 16 times their value.
 * (A shift of bytes is what GCC 12 does one byte at a time without AVX-512; the scale does it for nothing.) */
INLINE vi nibbles(const uint8_t *from, int i)
{
    bytes b = load_bytes(from + LANES * i % 16);
    return widen(b & (uint8_t)(LANES * i < 16 ? 15 : 240));
}

INLINE vf scaled_nibbles(vi q, const struct scales *s, int i)
{
    float scale = LANES * i < 16 ? s->scale[0] : s->scale[0] * 0.0625f;
    return to_float(q) * set(scale) - set(s->minimum[0]);
}

INLINE void unpack_nibbles(const uint8_t *from, const struct scales *s, vf w[PARTS])
{
    for (int i = 0; i < PARTS; i++)
        w[i] = scaled_nibbles(nibbles(from, i), s, i);
}

INLINE void scales_q4_0(const uint8_t *block, struct scales *s)
{
    one_scale(block, s, 8);
}

INLINE void unpack_q4_0(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    (void)piece;
    unpack_nibbles(block + 2, s, w);
}

INLINE void unpack_q4_1(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    (void)piece;
    unpack_nibbles(block + 4, s, w);
}

/* Bit j of the 32 at `from` is bit 4 of value j. */
INLINE void unpack_fives(const uint8_t *from, const struct scales *s, vf w[PARTS])
{
    uint32_t high;
    memcpy(&high, from, sizeof high);
    for (int i = 0; i < PARTS; i++) {
        int first = LANES * i, bit = first < 16 ? 4 : 8; /* where it belongs */
        uint32_t moved = first < bit ? high << (bit - first) : high >> (first - bit);
        vi fifth = (vi)((moved - (vu){0}) >> iota()) & (1 << bit);
        w[i] = scaled_nibbles(nibbles(from + 4, i) | fifth, s, i);
    }
}

INLINE void scales_q5_0(const uint8_t *block, struct scales *s)
{
    one_scale(block, s, 16);
}

INLINE void unpack_q5_0(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    (void)piece;
    unpack_fives(block + 2, s, w);
}

INLINE void unpack_q5_1(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    (void)piece;
    unpack_fives(block + 4, s, w);
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
INLINE void unpack_q4_k(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    const uint8_t *q = block + 16 + 32 * (piece / 2);
    float scale = piece % 2 == 0 ? s->scale[piece] : s->scale[piece] * 0.0625f;
    for (int i = 0; i < PARTS; i++) {
        bytes b = load_bytes(q + LANES * i) & (uint8_t)(piece % 2 == 0 ? 15 : 240);
        w[i] = to_float(widen(b)) * set(scale) - set(s->minimum[piece]);
    }
}

INLINE vi move_up(vi v, int bits)
{
    return bits < 0 ? v >> -bits : v << bits;
}

INLINE void unpack_q5_k(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    const uint8_t *q = block + 48 + 32 * (piece / 2);
    int bit = piece % 2 == 0 ? 4 : 8;
    float scale = piece % 2 == 0 ? s->scale[piece] : s->scale[piece] * 0.0625f;
    for (int i = 0; i < PARTS; i++) {
        bytes b = load_bytes(q + LANES * i) & (uint8_t)(piece % 2 == 0 ? 15 : 240);
        bytes high = load_bytes(block + 16 + LANES * i) & (uint8_t)(1 << piece);
        w[i] = to_float(widen(b) | move_up(widen(high), bit - piece)) * set(scale) -
               set(s->minimum[piece]);
    }
}

/* Sixteen scales of 16 values. */
INLINE void scales_q6_k(const uint8_t *block, struct scales *s)
{
    float d = load_half(block + 208);
    for (int j = 0; j < 16; j++) {
        s->scale[j] = d * (float)(int8_t)block[192 + j];
        s->minimum[j] = 32 * s->scale[j];
    }
}

/* Each half of the block is four quarters of 32 with the bytes of the low bits shared by the first and the third,
 * and those of the high bits by all four. */
INLINE void unpack_q6_k(const uint8_t *block, const struct scales *s, int piece, vf w[PARTS])
{
    int half = piece / 4, quarter = piece % 4;
    const uint8_t *low = block + 64 * half + 32 * (quarter % 2), *high = block + 128 + 32 * half;
    int bit = quarter < 2 ? 4 : 8;
    for (int i = 0; i < PARTS; i++) {
        bytes b = load_bytes(low + LANES * i) & (uint8_t)(quarter < 2 ? 15 : 240);
        bytes h = load_bytes(high + LANES * i) & (uint8_t)(3 << 2 * quarter);
        int j = 2 * piece + LANES * i / 16;
        float scale = quarter < 2 ? s->scale[j] : s->scale[j] * 0.0625f;
        w[i] = to_float(widen(b) | move_up(widen(h), bit - 2 * quarter)) * set(scale) -
               set(s->minimum[j]);
    }
}

#endif
