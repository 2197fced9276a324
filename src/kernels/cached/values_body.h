/* Weights times values of a cache, into rows that lie one behind the other.
 *
 * A row's sum takes one value after the other, whatever the tile, so no bit depends on how rows and keys
 * are cut. Two rows take all channels at once (where they are no more than registers hold) and read values in the
 * order of memory, which the machine then fetches ahead by itself; keys are cut into steps that stay in the
 * first-level cache for the other rows. */
#include "kernels/cached/rows_body.h"

enum {
    STEP_BYTES = 16384,
    /* more rows than that would widen an element again and again: it is widened once, into the first-level cache */
    WIDEN_ROWS = LANES == 16 ? (int)ATTN_CACHED_ROWS : 2,
};

struct values_step {
    const float *weights; /* of the first row and key */
    const void *const *values;
    int count;
    float *output; /* of the first row */
    int64_t stride, size;
};

/* `rows` rows by `width` vectors of channels. */
INLINE void cached_tile(const struct values_step *step, int64_t channel, const int rows,
                        const int width, const attn_dtype dtype)
{
    vf c[8][8];
    const float *weights = step->weights;
    float *output = step->output + channel;
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int w = 0; w < width; w++)
            c[i][w] = vf_load(output + i * step->stride + w * LANES);
    const int64_t begin = channel * attn_dtype_size(dtype);
    for (int j = 0; j < step->count; j++) {
        const char *value = (const char *)step->values[j] + begin;
        /* GCC 12 would keep an address for each vector, in memory */
        __asm__("" : "+r"(value));
        if (rows == 1) { /* no register for what is used once */
            const vf weight = vf_set(weights[j]);
#pragma GCC unroll 8
            for (int w = 0; w < width; w++)
                c[0][w] = weight * cached_vector(value, w * LANES, dtype) + c[0][w];
            continue;
        }
        vf v[8];
#pragma GCC unroll 8
        for (int w = 0; w < width; w++)
            v[w] = cached_vector(value, w * LANES, dtype);
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
            vf_store(output + i * step->stride + w * LANES, c[i][w]);
}

/* All channels of `rows` rows, `most` vectors of them at a time. */
INLINE void cached_channels(const struct values_step *step, const int rows, const int most,
                            const attn_dtype dtype)
{
    int64_t channel = 0;
    for (; channel + most * LANES <= step->size; channel += most * LANES)
        cached_tile(step, channel, rows, most, dtype);
    if (most >= 8 && channel + 4 * LANES <= step->size) {
        cached_tile(step, channel, rows, 4, dtype);
        channel += 4 * LANES;
    }
    if (most >= 4 && channel + 2 * LANES <= step->size) {
        cached_tile(step, channel, rows, 2, dtype);
        channel += 2 * LANES;
    }
    if (channel < step->size)
        cached_tile(step, channel, rows, 1, dtype);
}

/* Two rows first, who read values in the order of memory; the others, who find them near, by fours. */
INLINE void cached_step(struct values_step step, int rows, const bool wide, const attn_dtype dtype)
{
    const bool many = LANES == 16; /* 32 registers, not 16 */
    for (bool first = !wide; rows > 0; first = false) {
        int done = 1;
        if (rows >= 4 && !first) {
            cached_channels(&step, 4, many ? 4 : 2, dtype);
            done = 4;
        } else if (rows >= 2) {
            cached_channels(&step, 2, many ? 8 : 4, dtype);
            done = 2;
        } else {
            cached_channels(&step, 1, 8, dtype);
        }
        rows -= done;
        step.weights += (int64_t)done * ATTN_SCORE_STRIDE;
        step.output += done * step.stride;
    }
}

INLINE void cached_values_as(const struct attn_cached_values_call *call, const bool wide,
                             const attn_dtype dtype)
{
    const struct attn_cached_rows *values = &call->values;
    const int64_t size = (values->size + LANES - 1) / LANES * LANES;
    const int64_t fit = STEP_BYTES / (size * attn_dtype_size(dtype)) / 4 * 4;
    const bool in_order = call->rows <= 2 && !wide;
    const int most = fit < 4 ? 4 : fit > ATTN_CACHED_WIDE ? ATTN_CACHED_WIDE : (int)fit;
    const bool broken = rows_break(values);
    const bool fours = LANES == 8 && dtype != ATTN_F32; /* at once: no element is widened twice */
    const int each = !in_order ? most : broken ? ATTN_CACHED_WIDE : values->count;
    for (int first = 0; first < values->count; first += each) {
        const int count = values->count - first < each ? values->count - first : each;
        const void *widened[ATTN_CACHED_WIDE];
        struct values_step step = {.weights = call->weights + first,
                                   .values = values->at + first,
                                   .count = count,
                                   .output = call->output,
                                   .stride = call->stride,
                                   .size = size};
        if (LANES != 16 && call->rows > 2 && !wide)
            touch_rows(values, first, count);
        else if (broken)
            fetch_breaks(values, first, count);
        if (wide) {
            widen_rows(values, first, count, size, call->wide);
            for (int j = 0; j < count; j++)
                widened[j] = call->wide + j * size;
            step.values = widened;
        }
        if (fours && call->rows == 4)
            cached_channels(&step, 4, 2, dtype);
        else
            cached_step(step, call->rows, wide, dtype);
    }
}

static void cached_values(const struct attn_cached_values_call *call)
{
    if (call->values.dtype == ATTN_F32 && rows_are_whole(&call->values))
        cached_values_as(call, false, ATTN_F32);
    else if ((call->rows > WIDEN_ROWS && (LANES != 8 || call->rows != 4)) ||
             !rows_are_whole(&call->values))
        cached_values_as(call, true, ATTN_F32);
    else if (call->values.dtype == ATTN_BF16)
        cached_values_as(call, false, ATTN_BF16);
    else if (call->values.dtype == ATTN_F16)
        cached_values_as(call, false, ATTN_F16);
    else
        cached_values_as(call, false, ATTN_INT8);
}
