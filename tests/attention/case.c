/* Building and destroying a case. */
#include "attention/attention_case.h"

#include <stdlib.h>

#include "attn_ref.h"

struct case_options case_options_init(const attn_problem *problem)
{
    struct case_options options = {
        .batch = problem->batch, .queries = problem->queries, .keys = problem->keys};
    return options;
}

/* Lowest and highest element offset of a tensor of these extents; false if it is empty. */
static bool offsets(const attn_layout *layout, const int64_t extent[4], int64_t *low, int64_t *high)
{
    *low = *high = 0;
    for (int axis = 0; axis < 4; axis++) {
        if (extent[axis] == 0)
            return false;
        int64_t last = (extent[axis] - 1) * layout->stride[axis];
        *low += last < 0 ? last : 0;
        *high += last > 0 ? last : 0;
    }
    return true;
}

static void fill_with_nan(void *block, attn_dtype dtype, size_t count)
{
    for (size_t i = 0; i < count; i++)
        attn_ref_store(block, dtype, (int64_t)i, NAN);
}

static struct tensor make_input(const attn_layout *layout, int64_t b, int64_t h, int64_t n,
                                int64_t d)
{
    struct tensor tensor = {.dtype = layout->dtype, .extent = {b, h, n, d}};
    int64_t low, high;
    if (!offsets(layout, tensor.extent, &low, &high))
        return tensor;
    size_t count = (size_t)(high - low + 1);
    tensor.block = need(count, (size_t)attn_ref_dtype_size(layout->dtype));
    fill_with_nan(tensor.block, layout->dtype, count);
    tensor.origin = (char *)tensor.block - low * attn_ref_dtype_size(layout->dtype);
    return tensor;
}

/* k and v as views of q's block, behind q in each row. */
static void make_packed_inputs(struct attention_case *c, const attn_problem *p, int64_t b,
                               int64_t n)
{
    const int64_t width = p->q.stride[2], bytes = attn_ref_dtype_size(p->q.dtype);
    c->q.dtype = c->k.dtype = c->v.dtype = p->q.dtype;
    c->q.extent[0] = c->k.extent[0] = c->v.extent[0] = b;
    c->q.extent[1] = p->heads, c->k.extent[1] = c->v.extent[1] = p->kv_heads;
    c->q.extent[2] = c->k.extent[2] = c->v.extent[2] = n;
    c->q.extent[3] = c->k.extent[3] = p->head_size, c->v.extent[3] = p->head_size_v;
    if (b * n * width == 0)
        return;
    size_t count = (size_t)((b - 1) * p->q.stride[0] + n * width);
    c->q.block = need(count, (size_t)bytes);
    fill_with_nan(c->q.block, p->q.dtype, count);
    c->q.origin = c->q.block;
    c->k.origin = (char *)c->q.origin + p->heads * p->head_size * bytes;
    c->v.origin = (char *)c->k.origin + p->kv_heads * p->head_size * bytes;
}

static void make_output_tensor(struct attention_case *c, const attn_layout *layout, int64_t batch,
                               int64_t queries)
{
    int64_t extent[4] = {batch, c->problem.heads, queries, c->problem.head_size_v};
    int64_t low, high, width = attn_ref_dtype_size(layout->dtype);
    if (!offsets(layout, extent, &low, &high))
        return;
    struct guarded o = guarded_create_of("o", (size_t)(high - low + 1), (size_t)width);
    o.writable = need(o.count, sizeof *o.writable);
    for (int64_t b = 0; b < extent[0]; b++)
        for (int64_t h = 0; h < extent[1]; h++)
            for (int64_t n = 0; n < extent[2]; n++)
                for (int64_t d = 0; d < extent[3]; d++)
                    o.writable[b * layout->stride[0] + h * layout->stride[1] +
                               n * layout->stride[2] + d - low] = true;
    c->args.o = (char *)o.data - low * width;
    c->o = c->outputs_count;
    c->outputs[c->outputs_count++] = o;
}

static void *make_output(struct attention_case *c, const char *name, struct output_shape shape,
                         int64_t count, bool wanted, bool give_ignored)
{
    if (!wanted && !give_ignored)
        return NULL;
    struct guarded array = guarded_create(name, (size_t)(count * shape.each));
    array.ignored = !wanted;
    c->shape[c->outputs_count] = shape;
    c->outputs[c->outputs_count++] = array;
    return array.data;
}

static void make_statistics(struct attention_case *c, int64_t rows, int64_t columns,
                            bool give_ignored)
{
    const attn_statistics_wanted *w = &c->wanted;
    attn_statistics *s = &c->statistics;
    const struct output_shape row = {ALONG_ROWS, 1}, key = {ALONG_KEYS, 1};
    const struct output_shape segments = {ALONG_ROWS, w->segments}, top = {ALONG_ROWS, w->top_keys};
    const struct output_shape pair = {ALONG_NEITHER, 1};
#define OUTPUT(field, bit, shape, count)                                                           \
    s->field = make_output(c, #field, shape, count, w->set & (bit), give_ignored)
    OUTPUT(entropy, ATTN_STAT_ENTROPY, row, rows);
    OUTPUT(varentropy, ATTN_STAT_VARENTROPY, row, rows);
    OUTPUT(participation, ATTN_STAT_PARTICIPATION, row, rows);
    OUTPUT(max_weight, ATTN_STAT_MAX_WEIGHT, row, rows);
    OUTPUT(max_key, ATTN_STAT_MAX_KEY, row, rows);
    OUTPUT(max_logit, ATTN_STAT_MAX_LOGIT, row, rows);
    OUTPUT(max_abs_logit, ATTN_STAT_MAX_ABS_LOGIT, row, rows);
    OUTPUT(max_score, ATTN_STAT_MAX_SCORE, row, rows);
    OUTPUT(min_score, ATTN_STAT_MIN_SCORE, row, rows);
    OUTPUT(mass_self, ATTN_STAT_MASS_SELF, row, rows);
    OUTPUT(mass_previous, ATTN_STAT_MASS_PREVIOUS, row, rows);
    OUTPUT(mass_next, ATTN_STAT_MASS_NEXT, row, rows);
    OUTPUT(mass_first, ATTN_STAT_MASS_FIRST, row, rows);
    OUTPUT(mass_local, ATTN_STAT_MASS_LOCAL, row, rows);
    OUTPUT(mass_segments, ATTN_STAT_MASS_SEGMENTS, segments, rows);
    OUTPUT(distance_mean, ATTN_STAT_DISTANCE_MEAN, row, rows);
    OUTPUT(distance_sd, ATTN_STAT_DISTANCE_SD, row, rows);
    OUTPUT(visible_keys, ATTN_STAT_VISIBLE_KEYS, row, rows);
    OUTPUT(column_mass, ATTN_STAT_COLUMN_MASS, key, columns);
    OUTPUT(column_viewers, ATTN_STAT_COLUMN_VIEWERS, key, columns);
    OUTPUT(top_keys, ATTN_STAT_TOP_KEYS, top, rows);
    OUTPUT(top_weights, ATTN_STAT_TOP_KEYS, top, rows);
    OUTPUT(pair_weights, ATTN_STAT_PAIRS, pair, CASE_MAX_PAIRS);
#undef OUTPUT
    if (s->pair_weights) /* the last one made; case_request_pair says which are written */
        c->outputs[c->outputs_count - 1].writable = need(CASE_MAX_PAIRS, sizeof(bool));
    if (w->set & ATTN_STAT_WEIGHTS)
        s->weights = c->requests;
    if (w->set & ATTN_STAT_PAIRS)
        s->pairs = c->pairs;
}

static void *copy_of(const int64_t *values, int64_t count)
{
    int64_t *copy = need((size_t)count, sizeof *copy);
    memcpy(copy, values, (size_t)count * sizeof *copy);
    return copy;
}

/* [0, a, a + b, ...] as the lengths ask for; returns the total. */
static void *running_sums(attn_lengths lengths, const int64_t *values, int64_t count,
                          int64_t *total)
{
    bool wide = lengths == ATTN_LENGTHS_RAGGED_I64;
    void *sums = need((size_t)count + 1, wide ? 8 : 4);
    *total = 0;
    for (int64_t b = 0; b < count; b++) {
        *total += values[b];
        if (wide)
            ((int64_t *)sums)[b + 1] = *total;
        else
            ((int32_t *)sums)[b + 1] = (int32_t)*total;
    }
    return sums;
}

static void make_lengths(struct attention_case *c, const struct case_options *options,
                         int64_t *queries, int64_t *keys)
{
    int64_t count = options->batch;
    *queries = options->queries, *keys = options->keys;
    if (c->problem.lengths == ATTN_LENGTHS_PADDED) {
        c->args.query_lengths = c->query_lengths = copy_of(options->query_lengths, count);
        c->args.key_lengths = c->key_lengths = copy_of(options->key_lengths, count);
    } else if (c->problem.lengths != ATTN_LENGTHS_EQUAL) {
        c->args.cu_seqlens_q = c->cu_seqlens_q =
            running_sums(c->problem.lengths, options->query_lengths, count, queries);
        c->args.cu_seqlens_k = c->cu_seqlens_k =
            running_sums(c->problem.lengths, options->key_lengths, count, keys);
    }
}

struct attention_case *case_create(const attn_problem *problem, const struct case_options *options)
{
    struct attention_case *c = need(1, sizeof *c);
    attn_problem *p = &c->problem;
    *p = *problem;
    p->statistics = NULL;
    c->args = attn_args_init(p);
    c->args.batch = options->batch;
    c->args.queries = options->queries;
    c->args.keys = options->keys;
    c->o = -1;
    c->values = "set by the test";
    c->scores_args = attn_scores_args_init();
    if (p->scores) {
        c->scores = *p->scores;
        p->scores = &c->scores;
        c->args.scores = options->constant ? NULL : &c->scores_args;
        c->scores.constant = options->constant ? &c->scores_args : NULL;
    }
    const int64_t extent[3] = {options->constant ? p->batch : options->batch,
                               options->constant ? p->queries : options->queries,
                               options->constant ? p->keys : options->keys};
    memcpy(c->extent, extent, sizeof c->extent);
    if (p->rotary) {
        c->rotary = *p->rotary;
        p->rotary = &c->rotary;
        size_t pairs = (size_t)c->rotary.size / 2;
        if (c->rotary.frequency_divisors) {
            c->frequency_divisors = need(pairs, sizeof *c->frequency_divisors);
            memcpy(c->frequency_divisors, c->rotary.frequency_divisors,
                   pairs * sizeof *c->frequency_divisors);
            c->rotary.frequency_divisors = c->frequency_divisors;
        }
    }
    const bool ragged = p->lengths >= ATTN_LENGTHS_RAGGED_I32;
    const int64_t b = ragged ? 1 : options->batch;
    int64_t nq, nk;
    make_lengths(c, options, &nq, &nk);
    c->packed = options->packed;
    if (c->packed) {
        make_packed_inputs(c, p, b, nk);
    } else {
        c->q = make_input(&p->q, b, p->heads, nq, p->head_size);
        c->k = make_input(&p->k, b, p->kv_heads, nk, p->head_size);
        c->v = make_input(&p->v, b, p->kv_heads, nk, p->head_size_v);
    }
    c->args.q = c->q.origin, c->args.k = c->k.origin, c->args.v = c->v.origin;
    if (!options->without_o)
        make_output_tensor(c, &p->o, b, nq);
    const struct output_shape row = {ALONG_ROWS, 1};
    const int64_t rows = b * p->heads * nq, columns = b * p->heads * nk;
    c->args.lse = make_output(c, "lse", row, rows, !options->without_lse, false);
    c->args.lse_with_sink =
        make_output(c, "lse_with_sink", row, rows, options->with_lse_with_sink, false);
    c->args.reference = make_output(c, "reference", row, rows, p->unnormalised, false);
    c->args.sum = make_output(c, "sum", row, rows, p->unnormalised, false);
    c->statistics = attn_statistics_init();
    if (options->wanted) {
        c->wanted = *options->wanted;
        p->statistics = &c->wanted;
        c->args.statistics = &c->statistics;
        make_statistics(c, rows, columns, options->give_ignored);
    }
    return c;
}

void case_destroy(struct attention_case *c)
{
    for (int i = 0; i < c->outputs_count; i++)
        guarded_destroy(&c->outputs[i]);
    free(c->q.block);
    if (!c->packed) {
        free(c->k.block);
        free(c->v.block);
    }
    void *const arrays[] = {
        c->query_offset,  c->head_windows,    c->prefix_lm,     c->excluded_keys,
        c->segment_ids,   c->query_lengths,   c->key_lengths,   c->cu_seqlens_q,
        c->cu_seqlens_k,  c->sinks,           c->mask.block,    c->bias.block,
        c->alibi_slopes,  c->block_starts,    c->block_indices, c->query_documents,
        c->key_documents, c->query_positions, c->key_positions, c->frequency_divisors,
    };
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        free(arrays[i]);
    free(c);
}

void case_request_weights(struct attention_case *c, int64_t batch, int64_t head, int64_t begin,
                          int64_t end)
{
    int64_t n = c->statistics.weights_count++;
    c->requests[n] = (attn_weights_request){batch, head, begin, end, NULL};
    c->requests[n].weights = make_output(c, "weights", (struct output_shape){ALONG_NEITHER, 1},
                                         (end - begin) * c->args.keys, true, false);
}

void case_request_pair(struct attention_case *c, attn_pair pair)
{
    int64_t n = c->statistics.pairs_count++;
    c->pairs[n] = pair;
    for (int i = 0; i < c->outputs_count; i++)
        if (c->outputs[i].data == (uint32_t *)c->statistics.pair_weights)
            c->outputs[i].writable[n] = true;
}
