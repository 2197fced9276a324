/* Online softmax of a block of scores, row by row, with the statistics that ride along.
 *
 * For each row: find its maximum in the block; move the reference if the maximum has left it behind
 * (rescaling what was gathered: math.md, "Online softmax with statistics"); then one sweep that turns
 * scores into e = 2^(s - reference) and adds up e, e t, ... Masked scores are -inf and become exactly 0; t
 * is clamped, so that 0 * t is 0 and not NaN. The bodies are one function with constant switches. */
#include "kernels/forward/tile_body.h"

#include <math.h>

enum { CHAINS = 4 }; /* independent sums, to hide the latency of an add */

INLINE float row_maximum(const float *s, int count)
{
    vf m[CHAINS];
    for (int c = 0; c < CHAINS; c++)
        m[c] = vf_set(-INFINITY);
    int j = 0;
    for (; j + CHAINS * LANES <= count; j += CHAINS * LANES)
#pragma GCC unroll 4
        for (int c = 0; c < CHAINS; c++)
            m[c] = vf_max(vf_load(s + j + c * LANES), m[c]);
    for (int c = 0; j < count; j += LANES, c++)
        m[c] = vf_max(vf_load(s + j), m[c]);
    return vf_max_lane(vf_max(vf_max(m[0], m[1]), vf_max(m[2], m[3])));
}

struct row_sums {
    vf sum[CHAINS], moment[CHAINS], moment2[CHAINS], square[CHAINS];
};

INLINE void sweep_vector(float *s, vf reference, struct row_sums *sums, const int c,
                         const bool entropy, const bool all)
{
    vf t;
    vf e = vf_exp2_clamped(vf_load(s) - reference, &t);
    vf_store(s, e);
    sums->sum[c] += e;
    if (entropy)
        sums->moment[c] = e * t + sums->moment[c];
    if (all) {
        sums->moment2[c] = e * t * t + sums->moment2[c];
        sums->square[c] = e * e + sums->square[c];
    }
}

INLINE float fold(const vf chains[CHAINS])
{
    return vf_sum((chains[0] + chains[1]) + (chains[2] + chains[3]));
}

INLINE void sweep_row(float *s, int count, struct attn_row *row, const bool entropy, const bool all)
{
    struct row_sums sums;
    for (int c = 0; c < CHAINS; c++)
        sums.sum[c] = sums.moment[c] = sums.moment2[c] = sums.square[c] = (vf){0};
    vf reference = vf_set(row->reference);
    int j = 0;
    for (; j + CHAINS * LANES <= count; j += CHAINS * LANES)
#pragma GCC unroll 4
        for (int c = 0; c < CHAINS; c++)
            sweep_vector(s + j + c * LANES, reference, &sums, c, entropy, all);
    for (; j + 2 * LANES <= count; j += 2 * LANES) {
        sweep_vector(s + j, reference, &sums, 0, entropy, all);
        sweep_vector(s + j + LANES, reference, &sums, 1, entropy, all);
    }
    if (j < count)
        sweep_vector(s + j, reference, &sums, 2, entropy, all);
    row->sum += fold(sums.sum);
    if (entropy)
        row->moment += fold(sums.moment);
    if (all) {
        row->moment2 += fold(sums.moment2);
        row->square += fold(sums.square);
    }
}

/* Make `maximum` the reference; returns what the row's output is to be multiplied by. */
static float move_reference(struct attn_row *row, float maximum)
{
    float d = row->reference - maximum;
    row->reference = maximum;
    if (row->sum == 0.0f) /* nothing gathered yet; d may be -inf */
        return 1.0f;
    float a = exp2f(d);
    if (a == 0.0f && row->sum == row->sum) { /* all gathered is forgotten; d * d could be Inf */
        row->sum = row->moment = row->moment2 = row->square = 0.0f;
        row->mass_self = row->mass_previous = row->mass_next = 0.0f;
        row->mass_first = row->mass_local = 0.0f;
        row->distance_sum = 0.0f;
        row->distance_mean = row->distance_m2 = 0.0;
        return a;
    }
    row->moment2 = a * (row->moment2 + 2.0f * d * row->moment + d * d * row->sum);
    row->moment = a * (row->moment + d * row->sum);
    row->square *= a * a;
    row->sum *= a;
    row->mass_self *= a;
    row->mass_previous *= a;
    row->mass_next *= a;
    row->mass_first *= a;
    row->mass_local *= a;
    row->distance_sum *= a;
    row->distance_m2 *= (double)a;
    return a;
}

static bool has_nan(const float *s, int count)
{
    bool found = false;
    for (int j = 0; j < count; j++)
        found |= s[j] != s[j];
    return found;
}

/* One row of a block whose maximum is known; false if it sees nothing there: its weights are then all 0. */
INLINE bool softmax_row(float *s, int count, float maximum, struct attn_row *row, float *rescale,
                        const bool entropy, const bool all)
{
    *rescale = 1.0f;
    if (maximum == -INFINITY && !has_nan(s, count)) {
        for (int j = 0; j < count; j += LANES)
            vf_store(s + j, (vf){0});
        return false;
    }
    row->maximum = maximum > row->maximum ? maximum : row->maximum;
    if (maximum > row->reference + ATTN_LAZY_RESCALE || row->reference == -INFINITY)
        *rescale = move_reference(row, maximum);
    sweep_row(s, count, row, entropy, all);
    return true;
}

/* Weights as the product with the values wants them: with pairs, rounded to bf16 and moved together, keys
 * (2i, 2i + 1) of the row to element i of its start. `row` is the whole row. */
INLINE void narrow_row(float *row, int first, int count)
{
#ifdef ATTN_BF16_PAIRS
    int j = first;
    for (; j + 2 * LANES <= first + count; j += 2 * LANES) {
        __m512 low = _mm512_loadu_ps(row + j), high = _mm512_loadu_ps(row + j + LANES);
        _mm512_storeu_si512(row + j / 2, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
    if (j < first + count)
        _mm256_storeu_si256((__m256i *)(row + j / 2),
                            (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(row + j)));
#else
    (void)row, (void)first, (void)count;
#endif
}

INLINE void softmax_rows(struct attn_softmax_call *call, const bool entropy)
{
    call->rescaled = false;
    for (int r = 0; r < call->rows; r++) {
        int group = r / ROWS;
        int first = call->key_first[group], count = call->key_last[group] - first;
        call->rescale[r] = 1.0f;
        if (count <= 0)
            continue;
        float *s = call->scores + (int64_t)r * ATTN_SCORE_STRIDE + first;
        softmax_row(s, count, row_maximum(s, count), &call->row[r], &call->rescale[r], entropy,
                    false);
        narrow_row(s - first, first, count);
        call->rescaled |= call->rescale[r] != 1.0f;
    }
}

static void softmax(struct attn_softmax_call *call)
{
    softmax_rows(call, false);
}

static void softmax_entropy(struct attn_softmax_call *call)
{
    softmax_rows(call, true);
}

static void weights(const struct attn_weights_call *call)
{
    for (int r = 0; r < call->rows; r++) {
        const float *s = call->scores + (int64_t)r * ATTN_SCORE_STRIDE;
        vf reference = vf_set(call->reference[r]), inverse = vf_set(call->inverse[r]);
        float *out = call->weights ? call->weights + r * call->weights_stride : NULL;
        for (int j = 0; j < call->keys; j += LANES) {
            vf x = vf_load(s + j);
            vf p = vf_exp2(x - reference) * inverse;
            p = vf_select(x == -INFINITY, (vf){0}, p); /* masked, even in a row that is NaN */
            if (call->column_sums)
                vf_store(call->column_sums + j, vf_load(call->column_sums + j) + p);
            if (!out)
                continue;
            if (j + LANES <= call->weights_keys)
                vf_store(out + j, p);
            else
                for (int i = 0; i < LANES && j + i < call->weights_keys; i++)
                    out[j + i] = p[i];
        }
    }
}
