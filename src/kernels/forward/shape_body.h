/* What shapes a row of scores besides the product: cap, bias, ALiBi, masks as bytes, and a look at its
 * extremes. All in place, base-2 units. */
#include "kernels/forward/distance_body.h"
#include "kernels/forward/tile_body.h"
#include "kernels/simd/convert.h"

#include <math.h>

static void softcap(float *scores, int count, float cap)
{
    for (int j = 0; j < count; j += LANES)
        vf_store(scores + j, vf_tanh(vf_load(scores + j) / cap) * cap);
}

/* -inf may rise as well: its pair is marked as hidden, and gets its -inf back. NaN stays, in this order. */
INLINE void add_bias_as(float *scores, int count, const void *bias, float unit,
                        const attn_dtype dtype)
{
    const vf most = vf_set(ATTN_SCORE_MOST), least = vf_set(-ATTN_SCORE_MOST);
    int j = 0;
    for (; j + LANES <= count; j += LANES) {
        const vf b = vf_min(most, vf_max(least, vf_load_as(bias, j, dtype)));
        vf_store(scores + j, vf_load(scores + j) + b * unit);
    }
    for (; j < count; j++)
        scores[j] += attn_score_within(load_as(bias, j, dtype)) * unit;
}

static void add_bias(float *scores, int count, const void *bias, attn_dtype dtype, float unit)
{
    if (dtype == ATTN_F32)
        add_bias_as(scores, count, bias, unit, ATTN_F32);
    else if (dtype == ATTN_BF16)
        add_bias_as(scores, count, bias, unit, ATTN_BF16);
    else
        add_bias_as(scores, count, bias, unit, ATTN_F16);
}

INLINE void add_distance_as(float *scores, int count, int64_t start, float slope, const bool within)
{
    const vf most = vf_set(ATTN_SCORE_MOST_BASE2), least = vf_set(-ATTN_SCORE_MOST_BASE2);
    const int64_t beyond = distance_beyond(start, count);
    const float rest = fabsf((float)beyond);
    vf distance = vf_set((float)(start - beyond)) - vf_iota();
    for (int j = 0; j < count; j += LANES) {
        vf added = (vf_abs(distance) + rest) * slope;
        if (within)
            added = vf_min(most, vf_max(least, added));
        vf_store(scores + j, vf_load(scores + j) + added);
        distance -= (float)LANES;
    }
}

static void add_distance(float *scores, int count, int64_t start, float slope)
{
    const double farthest = fabs((double)start) + (double)count;
    if (farthest * fabs((double)slope) < (double)ATTN_SCORE_MOST_BASE2 / 2)
        add_distance_as(scores, count, start, slope, false);
    else
        add_distance_as(scores, count, start, slope, true);
}

static void apply_mask(float *scores, int count, const uint8_t *visible)
{
    for (int j = 0; j < count; j++)
        scores[j] = visible[j] ? scores[j] : -INFINITY;
}

static void range(const float *scores, int count, float *low, float *high)
{
    vf lowest = vf_set(*low), highest = vf_set(*high);
    int j = 0;
    for (; j + LANES <= count; j += LANES) {
        vf x = vf_load(scores + j);
        lowest = vf_min(x, lowest);
        highest = vf_max(x, highest);
    }
    *low = vf_min_lane(lowest);
    *high = vf_max_lane(highest);
    for (; j < count; j++) {
        *low = scores[j] < *low ? scores[j] : *low;
        *high = scores[j] > *high ? scores[j] : *high;
    }
}
