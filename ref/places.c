/* Where things are: the sequences of a batch in its three forms, rows of arrays, vectors of tensors. */
#include "attn_ref.h"

static bool is_ragged(const attn_problem *problem)
{
    return problem->lengths == ATTN_LENGTHS_RAGGED_I32 ||
           problem->lengths == ATTN_LENGTHS_RAGGED_I64;
}

/* cu[i] */
static int64_t border(const attn_problem *problem, const void *cu, int64_t i)
{
    return problem->lengths == ATTN_LENGTHS_RAGGED_I32 ? (int64_t)((const int32_t *)cu)[i]
                                                       : ((const int64_t *)cu)[i];
}

static attn_ref_span span(const attn_problem *problem, int64_t equal, const int64_t *padded,
                          const void *cu, int64_t batch)
{
    if (is_ragged(problem)) {
        int64_t first = border(problem, cu, batch);
        return (attn_ref_span){first, border(problem, cu, batch + 1) - first};
    }
    return (attn_ref_span){0, problem->lengths == ATTN_LENGTHS_PADDED ? padded[batch] : equal};
}

attn_ref_span attn_ref_queries(const attn_problem *problem, const attn_args *args, int64_t batch)
{
    return span(problem, args->queries, args->query_lengths, args->cu_seqlens_q, batch);
}

attn_ref_span attn_ref_keys(const attn_problem *problem, const attn_args *args, int64_t batch)
{
    if (problem->cache)
        return (attn_ref_span){0, attn_ref_cached_keys(problem, args, batch)};
    return span(problem, args->keys, args->key_lengths, args->cu_seqlens_k, batch);
}

int64_t attn_ref_query_place(const attn_problem *problem, const attn_args *args, int64_t batch,
                             int64_t query)
{
    return is_ragged(problem) ? attn_ref_queries(problem, args, batch).first + query
                              : batch * args->queries + query;
}

int64_t attn_ref_key_place(const attn_problem *problem, const attn_args *args, int64_t batch,
                           int64_t key)
{
    return is_ragged(problem) && !problem->cache ? attn_ref_keys(problem, args, batch).first + key
                                                 : batch * args->keys + key;
}

/* [B, Hq, Nq], or [Hq, total queries] */
int64_t attn_ref_row_index(const attn_problem *problem, const attn_args *args, int64_t batch,
                           int64_t head, int64_t query)
{
    if (is_ragged(problem))
        return head * border(problem, args->cu_seqlens_q, args->batch) +
               attn_ref_query_place(problem, args, batch, query);
    return (batch * problem->heads + head) * args->queries + query;
}

/* [B, Hq, Nk], or [Hq, total keys] */
int64_t attn_ref_key_index(const attn_problem *problem, const attn_args *args, int64_t batch,
                           int64_t head, int64_t key)
{
    if (is_ragged(problem) && !problem->cache)
        return head * border(problem, args->cu_seqlens_k, args->batch) +
               attn_ref_key_place(problem, args, batch, key);
    return (batch * problem->heads + head) * args->keys + key;
}

/* Bytes from the tensor's pointer to element (b, h, n, 0); a ragged tensor has one batch. */
static int64_t offset(const attn_problem *problem, const attn_layout *layout, int64_t batch,
                      int64_t head, int64_t first, int64_t index)
{
    int64_t elements = (is_ragged(problem) ? 0 : batch * layout->stride[0]) +
                       head * layout->stride[1] + (first + index) * layout->stride[2];
    return elements * attn_ref_dtype_size(layout->dtype);
}

const void *attn_ref_query_vector(const attn_problem *problem, const attn_args *args, int64_t batch,
                                  int64_t head, int64_t query)
{
    int64_t first = attn_ref_queries(problem, args, batch).first;
    return (const char *)args->q + offset(problem, &problem->q, batch, head, first, query);
}

const void *attn_ref_key_vector(const attn_problem *problem, const attn_args *args, int64_t batch,
                                int64_t kv_head, int64_t key)
{
    int64_t first = attn_ref_keys(problem, args, batch).first;
    return (const char *)args->k + offset(problem, &problem->k, batch, kv_head, first, key);
}

const void *attn_ref_value_vector(const attn_problem *problem, const attn_args *args, int64_t batch,
                                  int64_t kv_head, int64_t key)
{
    int64_t first = attn_ref_keys(problem, args, batch).first;
    return (const char *)args->v + offset(problem, &problem->v, batch, kv_head, first, key);
}

void *attn_ref_output_vector(const attn_problem *problem, const attn_args *args, int64_t batch,
                             int64_t head, int64_t query)
{
    int64_t first = attn_ref_queries(problem, args, batch).first;
    return (char *)args->o + offset(problem, &problem->o, batch, head, first, query);
}
