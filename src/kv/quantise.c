/* How a row of f32 is stored: rounded to nearest, ties to even.
 *
 * Plain loops without branches or calls, which compilers turn into vectors of whatever the file is built for:
 * magnitudes are compared as integers (their order is that of the bits, NaN and Inf above all), and
 * adding and taking away 1.5 * 2^23 rounds a float below 2^22 to an integer. */
#include <string.h>

#include "base/half.h"
#include "kv/cache.h"

/* Bits of the largest magnitude; 0x7f800000 and above: there is NaN or Inf. */
static uint32_t largest_bits(const float *row, int64_t size)
{
    int32_t largest = 0;
    for (int64_t c = 0; c < size; c++) {
        const int32_t bits = (int32_t)(attn_bits_of_float(row[c]) & 0x7fffffff);
        largest = bits > largest ? bits : largest;
    }
    return (uint32_t)largest;
}

/* The scale with which `largest` becomes `most`, and its inverse: 0 for what is too small to be divided by, NaN
 * where there is NaN or Inf (the row is then all zeros, which times NaN is NaN). */
static float scale_of(uint32_t bits, float most, float *inverse)
{
    const float largest = attn_float_of_bits(bits);
    *inverse = 0.0f;
    if (bits >= 0x7f800000)
        return attn_float_of_bits(0x7fc00000);
    if (largest < 0x1p-100f)
        return 0.0f;
    *inverse = most / largest;
    return largest / most;
}

/* The integer nearest to x: |x| < 2^22. */
static inline int32_t nearest(float x)
{
    return (int32_t)attn_bits_of_float(x + 0x1.8p23f) - 0x4b400000;
}

static void store_int8(int8_t *restrict to, float *scale, const float *restrict row, int64_t size)
{
    float inverse;
    *scale = scale_of(largest_bits(row, size), 127.0f, &inverse);
    if (inverse == 0.0f) {
        memset(to, 0, (size_t)size);
        return;
    }
    for (int64_t c = 0; c < size; c++)
        to[c] = (int8_t)nearest(row[c] * inverse);
}

static void store_int4(uint8_t *restrict to, float *scale, const float *restrict row, int64_t group)
{
    const int64_t half = group / 2;
    float inverse;
    *scale = scale_of(largest_bits(row, group), 7.0f, &inverse);
    if (inverse == 0.0f) {
        memset(to, 0x88, (size_t)half);
        return;
    }
    for (int64_t c = 0; c < half; c++)
        to[c] = (uint8_t)((nearest(row[c] * inverse) + 8) | (nearest(row[c + half] * inverse) + 8)
                                                                << 4);
}

/* attn_f32_to_f16 without its branches: each case is made, one is taken. */
static inline uint16_t to_f16(float x)
{
    const uint32_t bits = attn_bits_of_float(x), size = bits & 0x7fffffff;
    const uint32_t small = attn_bits_of_float(attn_float_of_bits(size) + 0.5f) - 0x3f000000;
    const uint32_t normal = (size + 0xfff + (size >> 13 & 1) - 0x38000000) >> 13;
    uint32_t h = size < 0x38800000 ? small : normal;
    h = size >= 0x477ff000 ? 0x7c00 : h;
    h = size > 0x7f800000 ? (0x7e00 | (size >> 13 & 0x1ff)) : h;
    return (uint16_t)(h | (bits >> 16 & 0x8000));
}

void attn_kv_row_store(void *to, int64_t at, float *scale, attn_dtype dtype, int64_t group,
                       const float *row, int64_t size)
{
    if (dtype == ATTN_F32) {
        memcpy((float *)to + at, row, (size_t)size * sizeof *row);
    } else if (dtype == ATTN_BF16) {
        uint16_t *restrict half = (uint16_t *)to + at;
        for (int64_t c = 0; c < size; c++)
            half[c] = attn_f32_to_bf16(row[c]);
    } else if (dtype == ATTN_F16) {
        uint16_t *restrict half = (uint16_t *)to + at;
        for (int64_t c = 0; c < size; c++)
            half[c] = to_f16(row[c]);
    } else if (dtype == ATTN_INT8) {
        store_int8((int8_t *)to + at, scale, row, size);
    } else {
        for (int64_t g = 0; g < size / group; g++)
            store_int4((uint8_t *)to + at / 2 + g * (group / 2), scale + g, row + g * group, group);
    }
}
