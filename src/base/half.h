/* Elements of any dtype: their size; bf16 and f16 as f32 and back, one number at a time: to nearest, ties to
 * even; subnormals, infinities and NaN as IEEE 754 has them. */
#ifndef ATTN_BASE_HALF_H
#define ATTN_BASE_HALF_H

#include <attn/attn.h>
#include <stdint.h>
#include <string.h>

/* In bytes; not for ATTN_INT4, two of which share one. */
static inline int64_t attn_dtype_size(attn_dtype dtype)
{
    return dtype == ATTN_F32 ? 4 : dtype == ATTN_INT8 ? 1 : 2;
}

static inline int64_t attn_dtype_bits(attn_dtype dtype)
{
    return dtype == ATTN_INT4 ? 4 : 8 * attn_dtype_size(dtype);
}

/* Of any number, for sentences. */
static inline const char *attn_dtype_name(int64_t type)
{
    static const char *const names[] = {
        [ATTN_F32] = "f32",   [ATTN_BF16] = "bf16", [ATTN_F16] = "f16",
        [ATTN_INT8] = "int8", [ATTN_INT4] = "int4",
    };
    return type >= ATTN_F32 && type <= ATTN_INT4 ? names[type] : "no type";
}

static inline float attn_float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t attn_bits_of_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float attn_bf16_to_f32(uint16_t h)
{
    return attn_float_of_bits((uint32_t)h << 16);
}

static inline uint16_t attn_f32_to_bf16(float x)
{
    uint32_t bits = attn_bits_of_float(x);
    if (x != x)
        return (uint16_t)(bits >> 16 | 0x40); /* quiet, and never rounded into an infinity */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float attn_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
    if ((h & 0x7c00) == 0x7c00) /* Inf, NaN */
        return attn_float_of_bits(sign | rest | 0x7f800000);
    /* the exponent is 112 short; multiplying mends subnormals on the way */
    return attn_float_of_bits(sign | attn_bits_of_float(attn_float_of_bits(rest) * 0x1p112f));
}

static inline uint16_t attn_f32_to_f16(float x)
{
    uint32_t bits = attn_bits_of_float(x), sign = bits >> 16 & 0x8000;
    float size = attn_float_of_bits(bits & 0x7fffffff);
    if (x != x)
        return (uint16_t)(sign | 0x7e00 | (bits >> 13 & 0x1ff));
    if (size >= 65520.0f)
        return (uint16_t)(sign | 0x7c00);
    if (size <
        0x1p-14f) /* subnormal: adding 0.5 leaves a count of 2^-24 in the low bits, rounded */
        return (uint16_t)(sign | ((attn_bits_of_float(size + 0.5f) - 0x3f000000) & 0xffff));
    bits &= 0x7fffffff;
    return (uint16_t)(sign | ((bits + 0xfff + (bits >> 13 & 1) - 0x38000000) >> 13));
}

/* Element i of an array of any dtype. */
static inline float attn_element_value(const void *from, attn_dtype dtype, int64_t i)
{
    if (dtype == ATTN_F32)
        return ((const float *)from)[i];
    uint16_t h;
    memcpy(&h, (const char *)from + 2 * i, sizeof h);
    return dtype == ATTN_F16 ? attn_f16_to_f32(h) : attn_bf16_to_f32(h);
}

#endif
