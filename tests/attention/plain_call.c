/* A call by plain loops: see plain_call.h. */
#include "attention/plain_call.h"

#include "attn_ref.h"

#include <stdlib.h>

/* Where a sequence lies and how long it is. */
struct sequence {
    int64_t batch, first_query, queries, first_key, keys, total_queries;
    bool ragged;
};

static int64_t entry(const struct call *c, const void *list, int64_t i)
{
    return c->problem.lengths == ATTN_LENGTHS_RAGGED_I32 ? ((const int32_t *)list)[i]
                                                         : ((const int64_t *)list)[i];
}

static struct sequence sequence_of(const struct call *c, int64_t b)
{
    const attn_args *a = &c->args;
    struct sequence s = {.batch = b, .queries = a->queries, .keys = a->keys};
    if (c->problem.lengths == ATTN_LENGTHS_PADDED)
        s.queries = a->query_lengths[b], s.keys = a->key_lengths[b];
    if (c->problem.lengths < ATTN_LENGTHS_RAGGED_I32)
        return s;
    s.ragged = true;
    s.first_query = entry(c, a->cu_seqlens_q, b);
    s.first_key = entry(c, a->cu_seqlens_k, b);
    s.queries = entry(c, a->cu_seqlens_q, b + 1) - s.first_query;
    s.keys = entry(c, a->cu_seqlens_k, b + 1) - s.first_key;
    s.total_queries = entry(c, a->cu_seqlens_q, a->batch);
    return s;
}

static double tensor_at(const void *tensor, const attn_layout *layout, const struct sequence *s,
                        int64_t head, int64_t row, int64_t channel)
{
    int64_t at = (s->ragged ? 0 : s->batch * layout->stride[0]) + head * layout->stride[1] +
                 row * layout->stride[2] + channel;
    return attn_ref_value(tensor, layout->dtype, at);
}

static int64_t offset_of(const struct call *c, const struct sequence *s)
{
    if (c->problem.alignment == ATTN_OFFSET)
        return c->args.query_offset[s->batch];
    return c->problem.alignment == ATTN_TOP_LEFT ? 0 : s->keys - s->queries;
}

static bool block_listed(const struct call *c, int64_t h, int64_t i, int64_t j)
{
    const attn_scores_args *a = c->args.scores;
    int64_t lists = (c->args.queries + c->scores.block_rows - 1) / c->scores.block_rows;
    int64_t list = h * lists + i / c->scores.block_rows;
    for (int64_t at = a->block_starts[list]; at < a->block_starts[list + 1]; at++)
        if (a->block_indices[at] == j / c->scores.block_keys)
            return true;
    return false;
}

static bool visible(const struct call *c, const struct sequence *s, int64_t h, int64_t i, int64_t j)
{
    const attn_problem *p = &c->problem;
    const attn_args *a = &c->args;
    const int64_t b = s->batch, at = i + offset_of(c, s);
    const attn_window w = p->head_windows ? a->head_windows[h] : p->window;
    bool in_window = (w.left < 0 || j >= at - w.left) && (w.right < 0 || j <= at + w.right);
    bool seen = (!p->causal || j <= at) && (j < w.prefix || in_window);
    if (p->prefix_lm)
        seen |= j < a->prefix_lm[b * a->prefix_lm_stride[0] + h * a->prefix_lm_stride[1]];
    for (int64_t e = 0; e < p->excluded_keys; e++)
        seen &= a->excluded_keys[(b * p->heads + h) * p->excluded_keys + e] != j;
    if (!p->scores)
        return seen;
    const attn_scores_args *sa = a->scores;
    if (c->scores.mask != ATTN_MASK_NONE) { /* else the strides may be anything */
        const uint8_t *row = (const uint8_t *)sa->mask + b * c->scores.mask_stride[0] +
                             h * c->scores.mask_stride[1] + i * c->scores.mask_stride[2];
        seen &= c->scores.mask == ATTN_MASK_BYTES ? row[j] != 0 : row[j / 8] >> j % 8 & 1;
    }
    if (c->scores.documents)
        seen &= sa->query_documents[(s->ragged ? s->first_query : b * a->queries) + i] ==
                sa->key_documents[(s->ragged ? s->first_key : b * a->keys) + j];
    return seen && (c->scores.block_rows == 0 || block_listed(c, h, i, j));
}

static double score(const struct call *c, const struct sequence *s, int64_t h, int64_t i, int64_t j)
{
    const attn_problem *p = &c->problem;
    const int64_t kv = h / (p->heads / p->kv_heads);
    double u = 0;
    for (int64_t t = 0; t < p->head_size; t++)
        u += tensor_at(c->args.q, &p->q, s, h, s->first_query + i, t) *
             tensor_at(c->args.k, &p->k, s, kv, s->first_key + j, t);
    u *= p->scale != 0.0f ? (double)p->scale : 1 / sqrt((double)p->head_size);
    double result = p->softcap > 0.0f ? (double)p->softcap * tanh(u / (double)p->softcap) : u;
    if (p->scores && c->scores.bias)
        result +=
            attn_ref_value(c->args.scores->bias, c->scores.bias,
                           s->batch * c->scores.bias_stride[0] + h * c->scores.bias_stride[1] +
                               i * c->scores.bias_stride[2] + j);
    if (p->scores && c->scores.alibi)
        result -= (double)c->args.scores->alibi_slopes[h] * fabs((double)(i + offset_of(c, s) - j));
    return result;
}

static bool close(const char *what, int64_t row, double got, double expected, double bound)
{
    if (got == expected || fabs(got - expected) <= bound)
        return true;
    fprintf(stderr, "  %s of row %lld is %.9g, should be %.9g within %.3g\n", what, (long long)row,
            got, expected, bound);
    return false;
}

/* Rounding of scores of this size and of sums of a few dozen terms; weights of bf16 tensors are rounded to
 * bf16 where they meet the values; the output is rounded to its dtype. */
static bool row_agrees(const struct call *c, const struct sequence *s, int64_t h, int64_t i)
{
    const attn_problem *p = &c->problem;
    const int64_t kv = h / (p->heads / p->kv_heads);
    int64_t row = (s->batch * p->heads + h) * c->args.queries + i;
    if (s->ragged)
        row = h * s->total_queries + s->first_query + i;
    double scores[64], largest = -INFINITY, size = 0, sum = 0;
    for (int64_t j = 0; j < s->keys; j++) {
        scores[j] = visible(c, s, h, i, j) ? score(c, s, h, i, j) : -INFINITY;
        largest = fmax(largest, scores[j]);
        size = scores[j] > -INFINITY ? fmax(size, fabs(scores[j])) : size;
    }
    for (int64_t j = 0; j < s->keys; j++)
        sum += largest > -INFINITY ? exp(scores[j] - largest) : 0;
    const double lse = sum > 0 ? largest + log(sum) : -INFINITY, rounding = 1e-5 * (1 + size);
    bool fine = close("lse", row, (double)c->args.lse[row], lse, rounding);
    double share = 1;
    if (p->sinks) {
        double sink = (double)c->args.sinks[h], high = fmax(lse, sink);
        double both = high > -INFINITY ? high + log(exp(lse - high) + exp(sink - high)) : high;
        share = lse > -INFINITY ? exp(lse - both) : 0;
        if (c->args.lse_with_sink)
            fine &= close("lse with the sink", row, (double)c->args.lse_with_sink[row], both,
                          rounding + 1e-5 * fabs(sink));
    }
    for (int64_t e = 0; e < p->head_size_v; e++) {
        double expected = 0, most = 0;
        for (int64_t j = 0; j < s->keys && sum > 0; j++) {
            double v = tensor_at(c->args.v, &p->v, s, kv, s->first_key + j, e);
            expected += scores[j] > -INFINITY ? share * exp(scores[j] - lse) * v : 0;
            most = fmax(most, fabs(v));
        }
        double bound = rounding * most + (p->q.dtype == ATTN_BF16 ? 0x1p-8 * most : 0);
        bound += p->o.dtype == ATTN_BF16  ? 0x1p-8 * fabs(expected)
                 : p->o.dtype == ATTN_F16 ? 0x1p-11 * fabs(expected) + 0x1p-24
                                          : 0;
        fine &= close("o", row, tensor_at(c->args.o, &p->o, s, h, s->first_query + i, e), expected,
                      bound);
    }
    return fine;
}

bool plain_call_agrees(const struct call *c)
{
    bool fine = true;
    for (int64_t b = 0; b < c->args.batch; b++) {
        const struct sequence s = sequence_of(c, b);
        for (int64_t h = 0; h < c->problem.heads; h++)
            for (int64_t i = 0; i < s.queries && fine; i++)
                fine = row_agrees(c, &s, h, i);
    }
    return fine;
}
