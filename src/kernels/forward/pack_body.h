/* Copies in the order in which the products read them, widened to f32. Each body is one
 * function with the dtype as a constant. */
#include "kernels/forward/tile_body.h"
#include "kernels/simd/convert.h"

/* Four rows from `from` become columns 0..3 of to[t][width], times scale. */
INLINE void transpose_four(const void *from, int64_t stride, int64_t head_size, float scale,
                           float *to, const int width, const attn_dtype dtype)
{
    int64_t t = 0;
    for (; t + 4 <= head_size; t += 4) {
        v4 rows[4];
        for (int j = 0; j < 4; j++)
            rows[j] = v4_load_as(from, j * stride + t, dtype) * scale;
        v4_transpose(rows);
        for (int i = 0; i < 4; i++)
            v4_store(to + (t + i) * width, rows[i]);
    }
    for (; t < head_size; t++)
        for (int j = 0; j < 4; j++)
            to[t * width + j] = load_as(from, j * stride + t, dtype) * scale;
}

/* to[t][width] = scale * row j's element t, for `used` rows; the other columns are 0. */
INLINE void transpose_as(const void *from, int64_t stride, int used, int64_t head_size, float scale,
                         float *to, const int width, const attn_dtype dtype)
{
    int j = 0;
    for (; j + 4 <= used; j += 4)
        transpose_four(element_of(from, j * stride, dtype), stride, head_size, scale, to + j, width,
                       dtype);
    for (; j < used; j++)
        for (int64_t t = 0; t < head_size; t++)
            to[t * width + j] = load_as(from, j * stride + t, dtype) * scale;
    for (; j < width; j++)
        for (int64_t t = 0; t < head_size; t++)
            to[t * width + j] = 0.0f;
}

INLINE void transpose(const void *from, attn_dtype dtype, int64_t stride, int used,
                      int64_t head_size, float scale, float *to, const int width)
{
    if (dtype == ATTN_F32)
        transpose_as(from, stride, used, head_size, scale, to, width, ATTN_F32);
    else if (dtype == ATTN_BF16)
        transpose_as(from, stride, used, head_size, scale, to, width, ATTN_BF16);
    else
        transpose_as(from, stride, used, head_size, scale, to, width, ATTN_F16);
}

static void pack_queries(const void *from, attn_dtype dtype, int64_t stride, int rows_used,
                         int64_t head_size, float scale, float *group)
{
    transpose(from, dtype, stride, rows_used, head_size, scale, group, ROWS);
}

static void pack_keys(const void *from, attn_dtype dtype, int64_t stride, int keys_used,
                      int64_t head_size, float *panel)
{
    transpose(from, dtype, stride, keys_used, head_size, 1.0f, panel, COLUMNS);
}

/* A piece of a row of values, `used` <= COLUMNS channels, the rest 0. */
INLINE void load_channels(float row[COLUMNS], const void *from, int64_t at, int64_t used,
                          const attn_dtype dtype)
{
    int64_t i = 0;
    for (; i + 4 <= used; i += 4)
        v4_store(row + i, v4_load_as(from, at + i, dtype));
    for (; i < used; i++)
        row[i] = load_as(from, at + i, dtype);
    for (; i < COLUMNS; i++)
        row[i] = 0.0f;
}

INLINE bool pack_values_as(const void *from, int64_t stride, int64_t keys, int64_t head_size,
                           float *values, const attn_dtype dtype)
{
    vf poison = {0}; /* x * 0 is 0 unless x is NaN or Inf */
    for (int64_t channel = 0; channel < head_size; channel += COLUMNS) {
        int64_t used = head_size - channel < COLUMNS ? head_size - channel : COLUMNS;
        for (int64_t key = 0; key < keys; key++) {
            const int64_t at = key * stride + channel;
            vf low, high;
            if (used == COLUMNS) {
                low = vf_load_as(from, at, dtype);
                high = vf_load_as(from, at + LANES, dtype);
            } else {
                float row[COLUMNS];
                load_channels(row, from, at, used, dtype);
                low = vf_load(row);
                high = vf_load(row + LANES);
            }
            poison = low * 0.0f + poison;
            poison = high * 0.0f + poison;
            vf_store(values, low);
            vf_store(values + LANES, high);
            values += COLUMNS;
        }
    }
    return vf_sum(poison) != 0.0f;
}

static bool pack_values(const void *from, attn_dtype dtype, int64_t stride, int64_t keys,
                        int64_t head_size, float *values)
{
    if (dtype == ATTN_F32)
        return pack_values_as(from, stride, keys, head_size, values, ATTN_F32);
    if (dtype == ATTN_BF16)
        return pack_values_as(from, stride, keys, head_size, values, ATTN_BF16);
    return pack_values_as(from, stride, keys, head_size, values, ATTN_F16);
}
