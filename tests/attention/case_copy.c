/* Cases made from others: the same values in another layout, one sequence of a batch, lengths told
 * otherwise. */
#include "attention/attention_case.h"

#include <stdlib.h>

#include "attn_ref.h"

/* What is to become of a case: sequences [first, first + count) of it. */
struct copying {
    const struct attention_case *from;
    int64_t first, count;
    attn_lengths lengths;
    int64_t queries, keys; /* args.queries and keys of the copy */
};

static void copy_vectors(const struct copying *copying, struct attention_case *to,
                         enum case_tensor which, int64_t heads, int64_t size)
{
    const struct attention_case *from = copying->from;
    size_t bytes = (size_t)(size * attn_ref_dtype_size(from->problem.q.dtype));
    for (int64_t b = 0; b < copying->count; b++) {
        int64_t length = which == CASE_Q ? case_queries(to, b) : case_keys(to, b);
        for (int64_t h = 0; h < heads; h++)
            for (int64_t n = 0; n < length; n++)
                memcpy(case_vector(to, which, b, h, n),
                       case_vector(from, which, copying->first + b, h, n), bytes);
    }
}

/* `count` elements from `first` on; NULL of NULL. */
static void *copy_array(const void *array, int64_t first, int64_t count, int64_t size)
{
    if (!array)
        return NULL;
    void *copy = need((size_t)count, (size_t)size);
    memcpy(copy, (const char *)array + first * size, (size_t)(count * size));
    return copy;
}

/* The place of entry `n` of a sequence in an array over queries or keys; documents have their own. */
enum places { OF_QUERIES, OF_KEYS, OF_QUERY_DOCUMENTS, OF_KEY_DOCUMENTS };

static int64_t place_of(const struct attention_case *c, enum places places, int64_t b, int64_t n)
{
    switch (places) {
    case OF_QUERIES:
        return attn_ref_query_place(&c->problem, &c->args, b, n);
    case OF_KEYS:
        return attn_ref_key_place(&c->problem, &c->args, b, n);
    case OF_QUERY_DOCUMENTS:
        return attn_ref_query_document(&c->problem, &c->args, b, n);
    case OF_KEY_DOCUMENTS:
    default:
        return attn_ref_key_document(&c->problem, &c->args, b, n);
    }
}

/* An array over the queries (or keys) of each sequence, in the copy's own form. */
static void *copy_places(const struct copying *copying, const struct attention_case *to,
                         const void *array, enum places places, size_t size)
{
    const bool keys = places == OF_KEYS || places == OF_KEY_DOCUMENTS;
    bool ragged = to->problem.lengths >= ATTN_LENGTHS_RAGGED_I32;
    int64_t most = keys ? to->args.keys : to->args.queries, total = to->args.batch * most;
    if (!array)
        return NULL;
    for (int64_t b = total = ragged ? 0 : total; ragged && b < to->args.batch; b++)
        total += keys ? case_keys(to, b) : case_queries(to, b);
    char *copy = need((size_t)total, size);
    for (int64_t b = 0; b < to->args.batch; b++) {
        int64_t length = keys ? case_keys(to, b) : case_queries(to, b);
        for (int64_t n = 0; n < length; n++)
            memcpy(copy + (size_t)place_of(to, places, b, n) * size,
                   (const char *)array +
                       (size_t)place_of(copying->from, places, copying->first + b, n) * size,
                   size);
    }
    return copy;
}

struct listing {
    const struct attention_case *from;
};

static bool listed_before(void *context, int64_t head, int64_t row, int64_t key)
{
    const struct attention_case *from = ((const struct listing *)context)->from;
    int64_t rows = (from->extent[1] + from->scores.block_rows - 1) / from->scores.block_rows;
    const int64_t *starts = from->block_starts + head * rows + row;
    for (int64_t at = starts[0]; at < starts[1]; at++)
        if (from->block_indices[at] == key)
            return true;
    return false;
}

static const void *copy_pair_tensor(const struct pair_tensor *from, struct pair_tensor *to,
                                    int64_t shift)
{
    *to = *from;
    to->block = copy_array(from->block, 0, (int64_t)from->size, 1);
    to->origin = from->origin + (size_t)shift;
    return to->block ? to->block + to->origin : NULL;
}

static void copy_scores(const struct copying *copying, struct attention_case *to)
{
    const struct attention_case *from = copying->from;
    const int64_t first = copying->first;
    attn_scores_args *args = &to->scores_args;
    if (!from->problem.scores)
        return;
    int64_t width = attn_ref_dtype_size(from->scores.bias);
    args->mask = copy_pair_tensor(&from->mask, &to->mask, first * from->scores.mask_stride[0]);
    args->bias =
        copy_pair_tensor(&from->bias, &to->bias, first * from->scores.bias_stride[0] * width);
    args->alibi_slopes = to->alibi_slopes =
        copy_array(from->alibi_slopes, 0, from->problem.heads, sizeof(float));
    args->query_documents = to->query_documents =
        copy_places(copying, to, from->query_documents, OF_QUERY_DOCUMENTS, sizeof(int32_t));
    args->key_documents = to->key_documents =
        copy_places(copying, to, from->key_documents, OF_KEY_DOCUMENTS, sizeof(int32_t));
    struct listing listing = {from};
    if (from->block_starts)
        case_make_blocks(to, listed_before, &listing);
    to->function = from->function;
    to->function.first += first;
    to->function.poisons = from->function.poisons ? to : NULL;
    to->scores.function_context = &to->function;
}

static void copy_masks(const struct copying *copying, struct attention_case *to)
{
    const struct attention_case *from = copying->from;
    const int64_t first = copying->first, count = copying->count, heads = to->problem.heads;
    const int64_t excluded = heads * to->problem.excluded_keys;
    to->args.query_offset = to->query_offset = copy_array(from->query_offset, first, count, 8);
    to->args.head_windows = to->head_windows =
        copy_array(from->head_windows, 0, heads, sizeof(attn_window));
    memcpy(to->args.prefix_lm_stride, from->args.prefix_lm_stride,
           sizeof to->args.prefix_lm_stride);
    int64_t prefix_at = first * from->args.prefix_lm_stride[0];
    to->args.prefix_lm = to->prefix_lm =
        copy_array(from->prefix_lm, prefix_at, from->args.batch * heads + 1 - prefix_at, 8);
    to->args.excluded_keys = to->excluded_keys =
        copy_array(from->excluded_keys, first * excluded, count * excluded, 8);
    for (int64_t e = 0; to->excluded_keys && e < count * excluded; e++)
        if (to->excluded_keys[e] >= to->args.keys)
            to->excluded_keys[e] = -1;
    to->args.sinks = to->sinks = copy_array(from->sinks, 0, heads, sizeof(float));
    to->statistics.segment_ids = to->segment_ids =
        copy_places(copying, to, from->segment_ids, OF_KEYS, 1);
    to->args.query_positions = to->query_positions =
        copy_places(copying, to, from->query_positions, OF_QUERIES, sizeof(int64_t));
    to->args.key_positions = to->key_positions =
        copy_places(copying, to, from->key_positions, OF_KEYS, sizeof(int64_t));
}

/* Laid out as `layouts` says, some statistics left out. */
static struct attention_case *copy_case(const struct copying *copying, const attn_problem *layouts,
                                        uint32_t without)
{
    const struct attention_case *from = copying->from;
    attn_problem problem = from->problem;
    problem.lengths = copying->lengths;
    problem.workspace_limit = 0;
    problem.q = layouts->q, problem.k = layouts->k;
    problem.v = layouts->v, problem.o = layouts->o;
    attn_statistics_wanted wanted = from->wanted;
    wanted.set &= ~without;
    int64_t *query_lengths = need((size_t)copying->count, sizeof *query_lengths);
    int64_t *key_lengths = need((size_t)copying->count, sizeof *key_lengths);
    problem.total_queries = problem.total_keys = 0;
    for (int64_t b = 0; b < copying->count; b++) {
        query_lengths[b] = case_queries(from, copying->first + b);
        key_lengths[b] = case_keys(from, copying->first + b);
        if (problem.lengths >= ATTN_LENGTHS_RAGGED_I32) {
            problem.total_queries += query_lengths[b];
            problem.total_keys += key_lengths[b];
        }
    }
    struct case_options options = {.batch = copying->count,
                                   .queries = copying->queries,
                                   .keys = copying->keys,
                                   .query_lengths = query_lengths,
                                   .key_lengths = key_lengths,
                                   .wanted = from->problem.statistics ? &wanted : NULL,
                                   .without_o = !from->args.o,
                                   .without_lse = !from->args.lse,
                                   .with_lse_with_sink = from->args.lse_with_sink};
    struct attention_case *to = case_create(&problem, &options);
    free(query_lengths);
    free(key_lengths);
    to->seed = from->seed, to->values = from->values;
    copy_vectors(copying, to, CASE_Q, problem.heads, problem.head_size);
    copy_vectors(copying, to, CASE_K, problem.heads ? problem.kv_heads : 0, problem.head_size);
    copy_vectors(copying, to, CASE_V, problem.heads ? problem.kv_heads : 0, problem.head_size_v);
    copy_masks(copying, to);
    copy_scores(copying, to);
    return to;
}

struct attention_case *case_in_layouts(const struct attention_case *c, const attn_problem *layouts)
{
    struct copying copying = {.from = c,
                              .count = c->args.batch,
                              .lengths = c->problem.lengths,
                              .queries = c->args.queries,
                              .keys = c->args.keys};
    struct attention_case *n = copy_case(&copying, layouts, 0);
    for (int64_t w = 0; w < c->statistics.weights_count; w++)
        case_request_weights(n, c->requests[w].batch, c->requests[w].head, c->requests[w].row_begin,
                             c->requests[w].row_end);
    for (int64_t i = 0; i < c->statistics.pairs_count; i++)
        case_request_pair(n, c->pairs[i]);
    return n;
}

static const uint32_t requests = ATTN_STAT_WEIGHTS | ATTN_STAT_PAIRS;

struct attention_case *case_of_sequence(const struct attention_case *c, int64_t batch)
{
    struct copying copying = {.from = c,
                              .first = batch,
                              .count = 1,
                              .lengths = c->problem.lengths,
                              .queries = c->args.queries,
                              .keys = c->args.keys};
    return copy_case(&copying, &c->problem, requests);
}

/* Contiguous tensors of `queries` and `keys` rows (the plan's most), of the case's dtypes. */
static attn_problem contiguous(const struct attention_case *c, int64_t queries, int64_t keys)
{
    attn_problem p = c->problem;
    p.q = attn_layout_bhsd(p.q.dtype, p.heads, queries, p.head_size);
    p.k = attn_layout_bhsd(p.k.dtype, p.kv_heads, keys, p.head_size);
    p.v = attn_layout_bshd(p.v.dtype, p.kv_heads, keys, p.head_size_v);
    p.o = attn_layout_bshd(p.o.dtype, p.heads, queries, p.head_size_v);
    return p;
}

struct attention_case *case_with_lengths(const struct attention_case *c, attn_lengths lengths)
{
    int64_t queries = c->problem.queries, keys = c->problem.keys;
    if (lengths >= ATTN_LENGTHS_RAGGED_I32)
        for (int64_t b = queries = keys = 0; b < c->args.batch; b++)
            queries += case_queries(c, b), keys += case_keys(c, b);
    attn_problem layouts = contiguous(c, queries, keys);
    struct copying copying = {.from = c,
                              .count = c->args.batch,
                              .lengths = lengths,
                              .queries = c->args.queries,
                              .keys = c->args.keys};
    return copy_case(&copying, &layouts, requests);
}

struct attention_case *case_alone(const struct attention_case *c, int64_t batch)
{
    struct copying copying = {.from = c,
                              .first = batch,
                              .count = 1,
                              .lengths = ATTN_LENGTHS_EQUAL,
                              .queries = case_queries(c, batch),
                              .keys = case_keys(c, batch)};
    attn_problem layouts = contiguous(c, c->problem.queries, c->problem.keys);
    return copy_case(&copying, &layouts, requests);
}
