/* What attn/scores.h adds to a score, and what it hides, one pair at a time. */
#include "attn_ref.h"

#include <math.h>

/* b * stride[0] + h * stride[1] + i * stride[2] */
static int64_t row_of(const int64_t stride[3], int64_t batch, int64_t head, int64_t query)
{
    return batch * stride[0] + head * stride[1] + query * stride[2];
}

const attn_scores_args *attn_ref_scores_args(const attn_problem *problem, const attn_args *args)
{
    return problem->scores->constant ? problem->scores->constant : args->scores;
}

/* Beyond 1.375 * 2^127 a bias, what ALiBi adds, or what the function makes, counts as that; -inf hides. */
static double counted(double x)
{
    const double most = 0x1.6p127;
    return x == -INFINITY ? x : x < -most ? -most : x > most ? most : x;
}

double attn_ref_bias(const attn_problem *problem, const attn_args *args, int64_t batch,
                     int64_t head, int64_t query, int64_t key)
{
    const attn_scores *s = problem->scores;
    if (!s || s->bias == 0)
        return 0;
    const char *row = (const char *)attn_ref_scores_args(problem, args)->bias +
                      row_of(s->bias_stride, batch, head, query) * attn_ref_dtype_size(s->bias);
    return counted(attn_ref_value(row, s->bias, key));
}

double attn_ref_alibi(const attn_problem *problem, const attn_args *args, int64_t batch,
                      int64_t head, int64_t query, int64_t key)
{
    if (!problem->scores || !problem->scores->alibi)
        return 0;
    int64_t distance = attn_ref_position(problem, args, batch, query) -
                       attn_ref_key_stands(problem, args, batch, key);
    return counted(-(double)attn_ref_scores_args(problem, args)->alibi_slopes[head] *
                   fabs((double)distance));
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
        score = isinf(one) ? (double)one : counted((double)one);
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

/* Whether the list of the query's row block names the key's block. A promise is laid out for the problem's
 * own queries. */
static bool blocks_allow(const attn_problem *problem, const attn_args *args, int64_t head,
                         int64_t query, int64_t key)
{
    const attn_scores *s = problem->scores;
    const attn_scores_args *given = attn_ref_scores_args(problem, args);
    if (s->block_rows == 0)
        return true;
    int64_t queries = s->constant ? problem->queries : args->queries;
    int64_t row_blocks = (queries + s->block_rows - 1) / s->block_rows;
    int64_t list = head * row_blocks + query / s->block_rows;
    for (int64_t at = given->block_starts[list]; at < given->block_starts[list + 1]; at++)
        if (given->block_indices[at] == key / s->block_keys)
            return true;
    return false;
}

/* Ragged: packed, promised or not; else a promise is laid out for the problem's own lengths. Keys of a cache
 * are never packed. */
static bool promised_whole(const attn_problem *problem)
{
    return problem->scores->constant && problem->lengths < ATTN_LENGTHS_RAGGED_I32;
}

int64_t attn_ref_query_document(const attn_problem *problem, const attn_args *args, int64_t batch,
                                int64_t query)
{
    return promised_whole(problem) ? batch * problem->queries + query
                                   : attn_ref_query_place(problem, args, batch, query);
}

int64_t attn_ref_key_document(const attn_problem *problem, const attn_args *args, int64_t batch,
                              int64_t key)
{
    return promised_whole(problem) || (problem->scores->constant && problem->cache)
               ? batch * problem->keys + key
               : attn_ref_key_place(problem, args, batch, key);
}

static bool documents_allow(const attn_problem *problem, const attn_args *args, int64_t batch,
                            int64_t query, int64_t key)
{
    const attn_scores_args *given = attn_ref_scores_args(problem, args);
    return !problem->scores->documents ||
           given->query_documents[attn_ref_query_document(problem, args, batch, query)] ==
               given->key_documents[attn_ref_key_document(problem, args, batch, key)];
}

bool attn_ref_scores_allow(const attn_problem *problem, const attn_args *args, int64_t batch,
                           int64_t head, int64_t query, int64_t key)
{
    const attn_scores *s = problem->scores;
    if (!s)
        return true;
    return documents_allow(problem, args, batch, query, key) &&
           mask_allows(s, attn_ref_scores_args(problem, args), batch, head, query, key) &&
           blocks_allow(problem, args, head, query, key) &&
           attn_ref_bias(problem, args, batch, head, query, key) != -INFINITY;
}
