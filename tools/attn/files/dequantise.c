/* Unpacking rows of stored numbers into floats; the formulas are those of the GGUF types.
 *
 * This is on the way of every product with a quantised weight, so each type has its own loop over
 * blocks, with inner loops of 16 or 32 steps that a compiler turns into vectors: bytes in, floats
 * out, no branch. Bytes are read by memcpy or one by one, so alignment does not matter. The file is
 * compiled without contraction to fused multiply-adds, so that a weight has the same bits on every
 * machine. */
#include "tensor_type.h"

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "model files are little-endian and are read where they lie"
#endif

typedef const unsigned char *restrict bytes_in;
typedef float *restrict floats_out;

static inline float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The three kinds of a binary16 number, chosen without a branch: a normal one needs its exponent
 * moved from bias 15 to bias 127; a subnormal m * 2^-24 is 2^-14 (1 + m/1024) - 2^-14, exact, and
 * needs no subnormal float on the way; infinity and NaN keep their payload. */
static inline float float_of_half(uint32_t half)
{
    uint32_t magnitude = (half & 0x7fffu) << 13;
    uint32_t normal = magnitude + (112u << 23);
    uint32_t subnormal =
        bits_of_float(float_of_bits(magnitude + (113u << 23)) - float_of_bits(113u << 23));
    uint32_t special = magnitude | 0x7f800000u;
    uint32_t is_subnormal = 0u - (uint32_t)(magnitude < (1u << 23));
    uint32_t is_special = 0u - (uint32_t)(magnitude >= (31u << 23));
    uint32_t bits = (normal & ~(is_subnormal | is_special)) | (subnormal & is_subnormal) |
                    (special & is_special);
    return float_of_bits(bits | (half & 0x8000u) << 16);
}

static inline uint32_t load_u16(bytes_in p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline float load_half(bytes_in p)
{
    return float_of_half(load_u16(p));
}

static void row_f16(bytes_in b, floats_out y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, b + 2 * i, sizeof half);
        y[i] = float_of_half(half);
    }
}

static void row_bf16(bytes_in b, floats_out y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t high;
        memcpy(&high, b + 2 * i, sizeof high);
        y[i] = float_of_bits((uint32_t)high << 16);
    }
}

static void row_q8_0(bytes_in b, floats_out y, int64_t blocks)
{
    for (int64_t i = 0; i < blocks; i++, b += 34, y += 32) {
        float d = load_half(b);
        for (int j = 0; j < 32; j++)
            y[j] = d * (float)(int8_t)b[2 + j];
    }
}

static void row_q4_0(bytes_in b, floats_out y, int64_t blocks)
{
    for (int64_t i = 0; i < blocks; i++, b += 18, y += 32) {
        float d = load_half(b);
        for (int j = 0; j < 16; j++) {
            y[j] = d * (float)((b[2 + j] & 15) - 8);
            y[j + 16] = d * (float)((b[2 + j] >> 4) - 8);
        }
    }
}

static void row_q4_1(bytes_in b, floats_out y, int64_t blocks)
{
    for (int64_t i = 0; i < blocks; i++, b += 20, y += 32) {
        float d = load_half(b), m = load_half(b + 2);
        for (int j = 0; j < 16; j++) {
            y[j] = d * (float)(b[4 + j] & 15) + m;
            y[j + 16] = d * (float)(b[4 + j] >> 4) + m;
        }
    }
}

/* The fifth bits of 32 values: bit j of `qh` becomes 16 or 0 in high[j]. */
static inline void spread_fifth_bits(bytes_in qh, uint8_t high[restrict 32])
{
    static const uint8_t bit[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    for (int k = 0; k < 4; k++)
        for (int j = 0; j < 8; j++)
            high[8 * k + j] = (uint8_t)((qh[k] & bit[j]) == bit[j] ? 16 : 0);
}

static void row_q5_0(bytes_in b, floats_out y, int64_t blocks)
{
    for (int64_t i = 0; i < blocks; i++, b += 22, y += 32) {
        float d = load_half(b);
        uint8_t high[32];
        spread_fifth_bits(b + 2, high);
        for (int j = 0; j < 16; j++) {
            y[j] = d * (float)(((b[6 + j] & 15) | high[j]) - 16);
            y[j + 16] = d * (float)(((b[6 + j] >> 4) | high[j + 16]) - 16);
        }
    }
}

static void row_q5_1(bytes_in b, floats_out y, int64_t blocks)
{
    for (int64_t i = 0; i < blocks; i++, b += 24, y += 32) {
        float d = load_half(b), m = load_half(b + 2);
        uint8_t high[32];
        spread_fifth_bits(b + 4, high);
        for (int j = 0; j < 16; j++) {
            y[j] = d * (float)((b[8 + j] & 15) | high[j]) + m;
            y[j + 16] = d * (float)((b[8 + j] >> 4) | high[j + 16]) + m;
        }
    }
}

/* Q4_K and Q5_K: eight sub-blocks, whose 6-bit scales and minima share 12 bytes. */
static inline void sub_block_scales(bytes_in b, float scale[restrict 8], float minimum[restrict 8])
{
    float d = load_half(b), dmin = load_half(b + 2);
    bytes_in s = b + 4;
    for (int j = 0; j < 4; j++) {
        scale[j] = d * (float)(s[j] & 63);
        minimum[j] = dmin * (float)(s[j + 4] & 63);
        scale[j + 4] = d * (float)((s[j + 8] & 15) | (s[j] >> 6) << 4);
        minimum[j + 4] = dmin * (float)((s[j + 8] >> 4) | (s[j + 4] >> 6) << 4);
    }
}

static void row_q4_k(bytes_in b, floats_out y, int64_t blocks)
{
    for (int64_t i = 0; i < blocks; i++, b += 144, y += 256) {
        float scale[8], minimum[8];
        sub_block_scales(b, scale, minimum);
        for (int c = 0; c < 4; c++) {
            bytes_in q = b + 16 + 32 * c;
            floats_out low = y + 64 * c;
            float d0 = scale[2 * c], m0 = minimum[2 * c];
            float d1 = scale[2 * c + 1], m1 = minimum[2 * c + 1];
            for (int l = 0; l < 32; l++) {
                low[l] = d0 * (float)(q[l] & 15) - m0;
                low[l + 32] = d1 * (float)(q[l] >> 4) - m1;
            }
        }
    }
}

static void row_q5_k(bytes_in b, floats_out y, int64_t blocks)
{
    for (int64_t i = 0; i < blocks; i++, b += 176, y += 256) {
        float scale[8], minimum[8];
        sub_block_scales(b, scale, minimum);
        bytes_in qh = b + 16;
        for (int c = 0; c < 4; c++) {
            bytes_in q = b + 48 + 32 * c;
            floats_out low = y + 64 * c;
            float d0 = scale[2 * c], m0 = minimum[2 * c];
            float d1 = scale[2 * c + 1], m1 = minimum[2 * c + 1];
            for (int l = 0; l < 32; l++) {
                low[l] = d0 * (float)((q[l] & 15) | (qh[l] >> (2 * c) & 1) << 4) - m0;
                low[l + 32] = d1 * (float)(q[l] >> 4 | (qh[l] >> (2 * c + 1) & 1) << 4) - m1;
            }
        }
    }
}

static void row_q6_k(bytes_in b, floats_out y, int64_t blocks)
{
    for (int64_t i = 0; i < blocks; i++, b += 210, y += 256) {
        float d = load_half(b + 208);
        for (int h = 0; h < 8; h++) { /* halves of 128, each in pieces of 16 of its four quarters */
            int l0 = 16 * (h & 1), quarter = h >> 1 & 1, half = h >> 2;
            bytes_in ql = b + 64 * half + 32 * quarter + l0;
            bytes_in qh = b + 128 + 32 * half + l0;
            const int8_t *sc = (const int8_t *)b + 192 + 8 * half + l0 / 16 + 2 * quarter;
            floats_out low = y + 128 * half + 32 * quarter + l0;
            float d0 = d * (float)sc[0], d1 = d * (float)sc[4];
            for (int l = 0; l < 16; l++) {
                low[l] = d0 * (float)(((ql[l] & 15) | (qh[l] >> (2 * quarter) & 3) << 4) - 32);
                low[l + 64] =
                    d1 * (float)((ql[l] >> 4 | (qh[l] >> (2 * quarter + 4) & 3) << 4) - 32);
            }
        }
    }
}

bool dequantise_row(enum tensor_type type, const void *blocks, float *out, int64_t values)
{
    const struct tensor_type_info *info = tensor_type_info(type);
    if (!info || values < 0 || values % info->block_values != 0)
        return false;
    int64_t n = values / info->block_values;
    switch (type) {
    case TENSOR_F32:
        if (n)
            memcpy(out, blocks, (size_t)n * sizeof(float));
        return true;
    case TENSOR_F16:
        row_f16(blocks, out, n);
        return true;
    case TENSOR_BF16:
        row_bf16(blocks, out, n);
        return true;
    case TENSOR_Q8_0:
        row_q8_0(blocks, out, n);
        return true;
    case TENSOR_Q4_0:
        row_q4_0(blocks, out, n);
        return true;
    case TENSOR_Q4_1:
        row_q4_1(blocks, out, n);
        return true;
    case TENSOR_Q5_0:
        row_q5_0(blocks, out, n);
        return true;
    case TENSOR_Q5_1:
        row_q5_1(blocks, out, n);
        return true;
    case TENSOR_Q4_K:
        row_q4_k(blocks, out, n);
        return true;
    case TENSOR_Q5_K:
        row_q5_k(blocks, out, n);
        return true;
    case TENSOR_Q6_K:
        row_q6_k(blocks, out, n);
        return true;
    case TENSOR_UNSUPPORTED:
        break;
    }
    return false;
}
