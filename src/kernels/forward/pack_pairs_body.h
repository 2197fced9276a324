/* Packing bf16 as pairs along the summed axis: the same copies as pack_body.h, of bits. */
#include "kernels/forward/tile_body.h"
#include "kernels/simd/convert.h"

typedef uint32_t u4_memory __attribute__((vector_size(16), aligned(2), may_alias));

/* Channels (2t, 2t + 1) of a row as one element; the channel after the last is 0. */
INLINE uint32_t pair_of(const uint16_t *row, int64_t t, int64_t head_size)
{
    uint32_t high = 2 * t + 1 < head_size ? row[2 * t + 1] : 0;
    return row[2 * t] | high << 16;
}

/* to[t][width] = pair t of row j, for `used` rows; the other columns are 0. */
INLINE void transpose_pairs(const uint16_t *from, int64_t stride, int used, int64_t head_size,
                            float *to, const int width)
{
    uint32_t __attribute__((may_alias)) *bits = (void *)to;
    const int64_t steps = (head_size + 1) / 2;
    int j = 0;
    for (; j + 4 <= used; j += 4) {
        int64_t t = 0;
        for (; 2 * (t + 4) <= head_size; t += 4) {
            v4 rows[4];
            for (int i = 0; i < 4; i++)
                rows[i] = (v4)(u4) * (const u4_memory *)(from + (j + i) * stride + 2 * t);
            v4_transpose(rows);
            for (int i = 0; i < 4; i++)
                v4_store(to + (t + i) * width + j, rows[i]);
        }
        for (; t < steps; t++)
            for (int i = 0; i < 4; i++)
                bits[t * width + j + i] = pair_of(from + (j + i) * stride, t, head_size);
    }
    for (; j < width; j++)
        for (int64_t t = 0; t < steps; t++)
            bits[t * width + j] = j < used ? pair_of(from + j * stride, t, head_size) : 0;
}

static void pack_queries_pairs(const void *from, attn_dtype dtype, int64_t stride, int rows_used,
                               int64_t head_size, float scale, float *group)
{
    (void)dtype, (void)scale; /* bf16; the product is scaled, which rounds less */
    transpose_pairs(from, stride, rows_used, head_size, group, ROWS);
}

static void pack_keys_pairs(const void *from, attn_dtype dtype, int64_t stride, int keys_used,
                            int64_t head_size, float *panel)
{
    (void)dtype;
    transpose_pairs(from, stride, keys_used, head_size, panel, COLUMNS);
}

/* LANES channels of a row of values from `channel` on; 0 past the end, and for a row that is not there. */
INLINE vu channels_of(const uint16_t *row, int64_t channel, int64_t head_size)
{
    uint16_t padded[LANES] = {0};
    if (!row || channel >= head_size)
        return (vu){0};
    if (channel + LANES <= head_size)
        return vu_load_half(row + channel);
    for (int64_t i = channel; i < head_size; i++)
        padded[i - channel] = row[i];
    return vu_load_half(padded);
}

static bool pack_values_pairs(const void *from, attn_dtype dtype, int64_t stride, int64_t keys,
                              int64_t head_size, float *values)
{
    (void)dtype;
    vi poison = {0}; /* an exponent of ones is NaN or Inf */
    const vu exponent = (vu){0} + 0x7f80u;
    for (int64_t channel = 0; channel < head_size; channel += COLUMNS) {
        for (int64_t key = 0; key < keys; key += 2) {
            const uint16_t *even = (const uint16_t *)from + key * stride;
            const uint16_t *odd = key + 1 < keys ? even + stride : NULL;
            for (int half = 0; half < 2; half++) {
                vu low = channels_of(even, channel + half * LANES, head_size);
                vu high = channels_of(odd, channel + half * LANES, head_size);
                poison |= ((low & exponent) == exponent) | ((high & exponent) == exponent);
                vf_store(values + half * LANES, (vf)(low | high << 16));
            }
            values += COLUMNS;
        }
    }
    int32_t any = 0;
    for (int i = 0; i < LANES; i++)
        any |= poison[i];
    return any != 0;
}
