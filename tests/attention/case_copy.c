/* Cases made from others: the same values in another layout, one sequence of a batch. */
#include "attention/attention_case.h"

static void copy_values(const struct tensor *from, const attn_layout *from_layout, int64_t batch,
                        const struct tensor *to, const attn_layout *to_layout)
{
    for (int64_t b = 0; b < to->extent[0]; b++)
        for (int64_t h = 0; h < to->extent[1]; h++)
            for (int64_t n = 0; n < to->extent[2]; n++)
                memcpy(case_element(to, to_layout, b, h, n),
                       case_element(from, from_layout, batch + b, h, n),
                       (size_t)to->extent[3] * sizeof(float));
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

/* Sequences [batch, batch + count) of `c`, laid out as `layouts` says, some statistics left out. */
static struct attention_case *copy_case(const struct attention_case *c, const attn_problem *layouts,
                                        int64_t batch, int64_t count, uint32_t without)
{
    attn_problem problem = c->problem;
    problem.q = layouts->q, problem.k = layouts->k;
    problem.v = layouts->v, problem.o = layouts->o;
    attn_statistics_wanted wanted = c->wanted;
    wanted.set &= ~without;
    struct case_options options = {.batch = count,
                                   .queries = c->args.queries,
                                   .keys = c->args.keys,
                                   .wanted = c->problem.statistics ? &wanted : NULL,
                                   .without_o = !c->args.o,
                                   .without_lse = !c->args.lse};
    struct attention_case *n = case_create(&problem, &options);
    n->seed = c->seed, n->values = c->values;
    copy_values(&c->q, &c->problem.q, batch, &n->q, &problem.q);
    copy_values(&c->k, &c->problem.k, batch, &n->k, &problem.k);
    copy_values(&c->v, &c->problem.v, batch, &n->v, &problem.v);

    int64_t heads = problem.heads, excluded = heads * problem.excluded_keys;
    n->args.query_offset = n->query_offset = copy_array(c->query_offset, batch, count, 8);
    n->args.head_windows = n->head_windows =
        copy_array(c->head_windows, 0, heads, sizeof(attn_window));
    memcpy(n->args.prefix_lm_stride, c->args.prefix_lm_stride, sizeof n->args.prefix_lm_stride);
    int64_t prefix_at = batch * c->args.prefix_lm_stride[0];
    n->args.prefix_lm = n->prefix_lm =
        copy_array(c->prefix_lm, prefix_at, c->args.batch * heads + 1 - prefix_at, 8);
    n->args.excluded_keys = n->excluded_keys =
        copy_array(c->excluded_keys, batch * excluded, count * excluded, 8);
    n->statistics.segment_ids = n->segment_ids =
        copy_array(c->segment_ids, batch * c->args.keys, count * c->args.keys, 1);
    return n;
}

struct attention_case *case_in_layouts(const struct attention_case *c, const attn_problem *layouts)
{
    struct attention_case *n = copy_case(c, layouts, 0, c->args.batch, 0);
    for (int64_t w = 0; w < c->statistics.weights_count; w++)
        case_request_weights(n, c->requests[w].batch, c->requests[w].head, c->requests[w].row_begin,
                             c->requests[w].row_end);
    for (int64_t i = 0; i < c->statistics.pairs_count; i++)
        case_request_pair(n, c->pairs[i]);
    return n;
}

struct attention_case *case_of_sequence(const struct attention_case *c, int64_t batch)
{
    return copy_case(c, &c->problem, batch, 1, ATTN_STAT_WEIGHTS | ATTN_STAT_PAIRS);
}
