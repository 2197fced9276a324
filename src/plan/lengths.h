/* How long each sequence of a run is, and where it lies; one answer for the three ways of saying it. */
#ifndef ATTN_PLAN_LENGTHS_H
#define ATTN_PLAN_LENGTHS_H

#include <attn/attn.h>

struct attn_span {
    int64_t first, length; /* first: in the packed tensor of a ragged batch, else 0 */
};

static inline bool attn_is_ragged(attn_lengths lengths)
{
    return lengths == ATTN_LENGTHS_RAGGED_I32 || lengths == ATTN_LENGTHS_RAGGED_I64;
}

/* Entry i of cu_seqlens. */
static inline int64_t attn_cu_seqlens(attn_lengths lengths, const void *cu, int64_t i)
{
    return lengths == ATTN_LENGTHS_RAGGED_I32 ? ((const int32_t *)cu)[i] : ((const int64_t *)cu)[i];
}

/* Sequence `batch`; ragged, for `batch` = B: first is the total. */
static inline struct attn_span attn_span_of(attn_lengths lengths, int64_t equal,
                                            const int64_t *padded, const void *cu, int64_t batch,
                                            int64_t count)
{
    struct attn_span span = {0, equal};
    if (lengths == ATTN_LENGTHS_PADDED) {
        span.length = padded[batch];
    } else if (attn_is_ragged(lengths)) {
        span.first = attn_cu_seqlens(lengths, cu, batch);
        span.length = batch < count ? attn_cu_seqlens(lengths, cu, batch + 1) - span.first : 0;
    }
    return span;
}

static inline struct attn_span attn_query_span(attn_lengths lengths, const attn_args *args,
                                               int64_t batch)
{
    return attn_span_of(lengths, args->queries, args->query_lengths, args->cu_seqlens_q, batch,
                        args->batch);
}

static inline struct attn_span attn_key_span(attn_lengths lengths, const attn_args *args,
                                             int64_t batch)
{
    return attn_span_of(lengths, args->keys, args->key_lengths, args->cu_seqlens_k, batch,
                        args->batch);
}

/* Rows of q and of k over all sequences, padding included: what the arrays of a run are counted by. */
static inline int64_t attn_total_queries(attn_lengths lengths, const attn_args *args)
{
    return attn_is_ragged(lengths) ? attn_cu_seqlens(lengths, args->cu_seqlens_q, args->batch)
                                   : args->batch * args->queries;
}

static inline int64_t attn_total_keys(attn_lengths lengths, const attn_args *args)
{
    return attn_is_ragged(lengths) ? attn_cu_seqlens(lengths, args->cu_seqlens_k, args->batch)
                                   : args->batch * args->keys;
}

#endif
