/* Merging partial results, straight from the definitions in attn/merge.h. */
#include "attn_ref_merge.h"

#include <math.h>

double attn_ref_merge_weights(const attn_part *parts, int64_t count, int64_t row, double *weights)
{
    double largest = -INFINITY, sum = 0;
    for (int64_t p = 0; p < count; p++)
        largest = fmax(largest, (double)parts[p].lse[row]);
    for (int64_t p = 0; p < count; p++) {
        double lse = (double)parts[p].lse[row];
        weights[p] = lse == -INFINITY ? 0 : exp(lse - largest);
        sum += weights[p];
    }
    for (int64_t p = 0; p < count; p++)
        weights[p] = weights[p] == 0 ? 0 : weights[p] / sum;
    return sum == 0 ? -INFINITY : largest + log(sum);
}

/* -ln of a weight of part p is, on average over the part's own weights, this: its mean surprise once the
 * other parts are there. */
static double surprise(const attn_part *part, int64_t row, double lse)
{
    return (double)part->entropy[row] + lse - (double)part->lse[row];
}

attn_ref_merged attn_ref_merge_row(const attn_part *wanted, const attn_part *parts, int64_t count,
                                   int64_t row, int64_t head_size_v, double *o, double *weights)
{
    attn_ref_merged merged = {0, 0, 0, 0};
    merged.lse = attn_ref_merge_weights(parts, count, row, weights);
    for (int64_t d = 0; o && d < head_size_v; d++)
        o[d] = 0;
    for (int64_t p = 0; p < count; p++) {
        if (parts[p].lse[row] == -INFINITY)
            continue;
        for (int64_t d = 0; o && d < head_size_v; d++)
            o[d] += weights[p] * (double)parts[p].o[row * parts[p].o_stride + d];
        if (wanted->entropy || wanted->varentropy)
            merged.entropy += weights[p] * surprise(&parts[p], row, merged.lse);
        if (wanted->max_weight) {
            double weight = weights[p] * (double)parts[p].max_weight[row];
            if (isnan(weight) || weight > merged.max_weight)
                merged.max_weight = weight;
        }
    }
    /* the variance of -ln p: within the parts, and between their means */
    for (int64_t p = 0; wanted->varentropy && p < count; p++) {
        if (parts[p].lse[row] == -INFINITY)
            continue;
        double off = surprise(&parts[p], row, merged.lse) - merged.entropy;
        merged.varentropy += weights[p] * ((double)parts[p].varentropy[row] + off * off);
    }
    return merged;
}

double attn_ref_sink(double lse, double sink, double *lse_with_sink)
{
    double largest = fmax(lse, sink);
    if (largest == -INFINITY) {
        *lse_with_sink = -INFINITY;
        return 0;
    }
    double sum = exp(lse - largest) + exp(sink - largest);
    *lse_with_sink = largest + log(sum);
    return exp(lse - largest) / sum;
}
