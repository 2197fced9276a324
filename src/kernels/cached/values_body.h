/* Weights times values of a cache, into rows that lie one behind the other.
 *
 * A row's sum takes one value after the other, whatever the tile, so no bit depends on how rows and keys
 * are cut. Few rows take many channels at once, so that a value is read in one piece; more rows, fewer
 * channels: the keys are then cut into steps that stay in the first-level cache while the tiles go by. */
#include "kernels/cached/rows_body.h"

enum { STEP_BYTES = 16384 };

/* `rows` rows by `width` vectors of channels, over keys [0, count). */
INLINE void cached_tile(const float *weights, const void *const *values, int count, int64_t channel,
                        float *output, int64_t stride, const int rows, const int width,
                        const attn_dtype dtype)
{
    vf c[8][8];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int w = 0; w < width; w++)
            c[i][w] = vf_load(output + i * stride + channel + w * LANES);
    for (int j = 0; j < count; j++) {
        vf v[8];
#pragma GCC unroll 8
        for (int w = 0; w < width; w++)
            v[w] = cached_vector(values[j], channel + w * LANES, dtype);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            vf weight = vf_set(weights[(int64_t)i * ATTN_SCORE_STRIDE + j]);
#pragma GCC unroll 8
            for (int w = 0; w < width; w++)
                c[i][w] = weight * v[w] + c[i][w];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int w = 0; w < width; w++)
            vf_store(output + i * stride + channel + w * LANES, c[i][w]);
}

/* All channels of `rows` rows, `most` vectors of them at a time. */
INLINE void cached_channels(const float *weights, const void *const *values, int count,
                            int64_t size, float *output, int64_t stride, const int rows,
                            const int most, const attn_dtype dtype)
{
    int64_t channel = 0;
    for (; channel + most * LANES <= size; channel += most * LANES)
        cached_tile(weights, values, count, channel, output, stride, rows, most, dtype);
    if (most >= 8 && channel + 4 * LANES <= size) {
        cached_tile(weights, values, count, channel, output, stride, rows, 4, dtype);
        channel += 4 * LANES;
    }
    if (most >= 4 && channel + 2 * LANES <= size) {
        cached_tile(weights, values, count, channel, output, stride, rows, 2, dtype);
        channel += 2 * LANES;
    }
    if (channel < size)
        cached_tile(weights, values, count, channel, output, stride, rows, 1, dtype);
}

/* Rows in tiles of 8, 4, 2 and 1; three vectors of weights and values more than there are accumulators. */
INLINE void cached_rows(const struct attn_cached_values_call *call, const void *const *values,
                        int first, int count, int64_t size, const attn_dtype dtype)
{
    const bool many = LANES == 16; /* 32 registers, not 16 */
    int row = 0;
    while (row < call->rows) {
        const float *weights = call->weights + (int64_t)row * ATTN_SCORE_STRIDE + first;
        float *output = call->output + row * call->stride;
        const int left = call->rows - row;
        if (left >= 8 && many) {
            cached_channels(weights, values, count, size, output, call->stride, 8, 2, dtype);
            row += 8;
        } else if (left >= 4) {
            cached_channels(weights, values, count, size, output, call->stride, 4, many ? 4 : 2,
                            dtype);
            row += 4;
        } else if (left >= 2) {
            cached_channels(weights, values, count, size, output, call->stride, 2, many ? 8 : 4,
                            dtype);
            row += 2;
        } else {
            cached_channels(weights, values, count, size, output, call->stride, 1, 8, dtype);
            row += 1;
        }
    }
}

INLINE void cached_values_as(const struct attn_cached_values_call *call, const bool wide,
                             const attn_dtype dtype)
{
    const struct attn_cached_rows *values = &call->values;
    const int64_t size = (values->size + LANES - 1) / LANES * LANES;
    const int64_t fit = STEP_BYTES / (size * attn_dtype_size(dtype)) / 4 * 4;
    const int most = wide ? ATTN_CACHED_WIDE : fit < 4 ? 4 : fit > 512 ? 512 : (int)fit;
    const int step = call->rows <= 2 && !wide ? values->count : most;
    for (int first = 0; first < values->count; first += step) {
        const int count = values->count - first < step ? values->count - first : step;
        const void *widened[ATTN_CACHED_WIDE];
        const void *const *at = values->at + first;
        if (wide) {
            widen_rows(values, first, count, size, call->wide);
            for (int j = 0; j < count; j++)
                widened[j] = call->wide + j * size;
            at = widened;
        }
        cached_rows(call, at, first, count, size, dtype);
    }
}

static void cached_values(const struct attn_cached_values_call *call)
{
    if (!rows_are_whole(&call->values))
        cached_values_as(call, true, ATTN_F32);
    else if (call->values.dtype == ATTN_F32)
        cached_values_as(call, false, ATTN_F32);
    else if (call->values.dtype == ATTN_BF16)
        cached_values_as(call, false, ATTN_BF16);
    else if (call->values.dtype == ATTN_F16)
        cached_values_as(call, false, ATTN_F16);
    else
        cached_values_as(call, false, ATTN_INT8);
}
