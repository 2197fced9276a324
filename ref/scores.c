/* What attn/scores.h adds to a score, and what it hides, one pair at a time. */
#include "attn_ref.h"

#include <math.h>

/* b * stride[0] + h * stride[1] + i * stride[2] */
static int64_t row_of(const int64_t stride[3], int64_t batch, int64_t head, int64_t query)
{
    return batch * stride[0] + head * stride[1] + query * stride[2];
}

double attn_ref_bias(const attn_problem *problem, const attn_args *args, int64_t batch,
                     int64_t head, int64_t query, int64_t key)
{
    const attn_scores *s = problem->scores;
    if (!s || s->bias == 0)
        return 0;
    const char *row = (const char *)args->scores->bias +
                      row_of(s->bias_stride, batch, head, query) * attn_ref_dtype_size(s->bias);
    return attn_ref_value(row, s->bias, key);
}

double attn_ref_alibi(const attn_problem *problem, const attn_args *args, int64_t batch,
                      int64_t head, int64_t query, int64_t key)
{
    if (!problem->scores || !problem->scores->alibi)
        return 0;
    int64_t distance = attn_ref_position(problem, args, batch, query) -
                       attn_ref_key_stands(problem, args, batch, key);
    return -(double)args->scores->alibi_slopes[head] * fabs((double)distance);
}

double attn_ref_score(const attn_problem *problem, const attn_args *args, int64_t batch,
                      int64_t head, int64_t query, int64_t key, double logit)
{
    double score = attn_ref_softcap(problem, logit);
    const attn_scores *s = problem->scores;
    if (!s)
        return score;
    score += attn_ref_bias(problem, args, batch, head, query, key);
    score += attn_ref_alibi(problem, args, batch, head, query, key);
    if (s->function) {
        float one = (float)score; /* what the function takes */
        s->function(s->function_context, batch, head, query, 1, key, 1, &one, 1);
        score = (double)one;
    }
    return score;
}

static bool mask_allows(const attn_scores *s, const attn_scores_args *args, int64_t batch,
                        int64_t head, int64_t query, int64_t key)
{
    if (s->mask == ATTN_MASK_NONE)
        return true;
    const uint8_t *row = (const uint8_t *)args->mask + row_of(s->mask_stride, batch, head, query);
    return s->mask == ATTN_MASK_BYTES ? row[key] != 0 : (row[key / 8] >> key % 8 & 1) != 0;
}

/* Whether the list of the query's row block names the key's block. */
static bool blocks_allow(const attn_scores *s, const attn_args *args, int64_t head, int64_t query,
                         int64_t key)
{
    if (s->block_rows == 0)
        return true;
    int64_t row_blocks = (args->queries + s->block_rows - 1) / s->block_rows;
    int64_t list = head * row_blocks + query / s->block_rows;
    for (int64_t at = args->scores->block_starts[list]; at < args->scores->block_starts[list + 1];
         at++)
        if (args->scores->block_indices[at] == key / s->block_keys)
            return true;
    return false;
}

bool attn_ref_scores_allow(const attn_problem *problem, const attn_args *args, int64_t batch,
                           int64_t head, int64_t query, int64_t key)
{
    const attn_scores *s = problem->scores;
    if (!s)
        return true;
    if (s->documents &&
        args->scores->query_documents[attn_ref_query_place(problem, args, batch, query)] !=
            args->scores->key_documents[attn_ref_key_place(problem, args, batch, key)])
        return false;
    return mask_allows(s, args->scores, batch, head, query, key) &&
           blocks_allow(s, args, head, query, key) &&
           attn_ref_bias(problem, args, batch, head, query, key) != -INFINITY;
}
