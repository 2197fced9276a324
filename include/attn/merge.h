/* Merging partial results: the same queries against parts of the keys, computed apart, made one.
 *
 *     attn_part parts[2] = {{.o = o_a, .o_stride = Dv, .lse = lse_a},      // keys [0, n)
 *                           {.o = o_b, .o_stride = Dv, .lse = lse_b}};     // keys [n, Nk)
 *     attn_part whole = {.o = o, .o_stride = Dv, .lse = lse};
 *     attn_merge(&whole, parts, 2, rows, Dv, attn_default_executor(), NULL);
 *
 * With lse = ln(sum_p exp(lse_p)), weights w_p = exp(lse_p - lse), mu_p = lse_p - H_p and mu = lse - H, row
 * by row (the split-KV combine of Flash-Decoding, Dao et al. 2023; the laws of total expectation and
 * variance applied to -ln p):
 *
 *     o = sum w_p o_p        H = sum w_p (H_p + lse - lse_p)       max weight = max_p w_p max_p
 *     V = sum w_p (V_p + (mu_p - mu)^2)
 *
 * A part with lse = -inf saw no key and is passed over, whatever else it holds; if all are, or there is no
 * part, then o = 0, lse = -inf, H = V = max weight = 0. In a part that is not passed over, NaN in o, H, V
 * or the max weight reaches that result, and NaN or +inf in lse makes all of the row NaN. Sums are made in
 * double, in the order of the parts, and rounded once: the same order gives the same bits, with any
 * executor. */
#ifndef ATTN_MERGE_H
#define ATTN_MERGE_H

#include "attn/attn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One result over `rows` rows: rows of one head, or of many heads and sequences one behind the other.
 * Row r of o is o[r * o_stride] .. o[r * o_stride + head_size_v - 1]; the other arrays are [rows]. */
typedef struct attn_part {
    float *o;          /* normalised, as attn_run writes it without problem.unnormalised */
    int64_t o_stride;  /* elements; >= head_size_v in the result, anything in a part */
    float *lse;        /* natural log, without a sink; always given */
    float *entropy;    /* nats */
    float *varentropy; /* nats^2 */
    float *max_weight;
} attn_part;

/* Merge parts[count] into *result. o, entropy, varentropy and max_weight are each merged if the result has
 * the array, and must then be given in all parts (varentropy: entropy too, though the result may go
 * without); else they are not read. count, rows >= 0; head_size_v >= 1; arrays may be NULL when rows is 0.
 *
 * The result's arrays may be the same arrays of one part (o with the same stride, if rows > 1); else they
 * overlap nothing. Parts are only read, and may overlap each other. Allocates nothing. A NULL executor is
 * serial.
 *
 * Errors: NULL, SHAPE, STRIDE, ALIGNMENT, OVERFLOW, EXECUTOR. */
ATTN_API attn_status attn_merge(const attn_part *result, const attn_part *parts, int64_t count,
                                int64_t rows, int64_t head_size_v, const attn_executor *executor,
                                attn_error *error);

/* Add a learned sink (a logit without a key: gpt-oss) to finished rows of one head, once per row and after
 * merging. With p = 1 / (1 + exp(sink - lse)), the keys' share:
 *
 *     o <- p o        lse_with_sink = ln(exp(lse) + exp(sink))
 *
 * A row with lse = -inf gets o = 0 and lse_with_sink = sink. A sink of -inf changes nothing. result->o may
 * be NULL, and lse_with_sink [rows] may be NULL or result->lse; else it overlaps nothing. result->lse and
 * the statistics are of the keys and stay. NaN or +inf in lse makes the row NaN. Serial: call it for
 * several heads at once if you like.
 *
 * Errors: NULL, SHAPE, STRIDE, ALIGNMENT, OVERFLOW; VALUE for a sink that is NaN or +inf. */
ATTN_API attn_status attn_merge_sink(const attn_part *result, float sink, float *lse_with_sink,
                                     int64_t rows, int64_t head_size_v, attn_error *error);

#ifdef __cplusplus
}
#endif

#endif
