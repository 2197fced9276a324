/* Building, filling and destroying a case. */
#include "attention/attention_case.h"

#include <stdlib.h>

struct case_options case_options_init(const attn_problem *problem)
{
    struct case_options options = {
        .batch = problem->batch, .queries = problem->queries, .keys = problem->keys};
    return options;
}

float *case_element(const struct tensor *tensor, const attn_layout *layout, int64_t batch,
                    int64_t head, int64_t index)
{
    return tensor->origin + batch * layout->stride[0] + head * layout->stride[1] +
           index * layout->stride[2];
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

static struct tensor make_input(const attn_layout *layout, int64_t b, int64_t h, int64_t n,
                                int64_t d)
{
    struct tensor tensor = {.extent = {b, h, n, d}};
    int64_t low, high;
    if (!offsets(layout, tensor.extent, &low, &high))
        return tensor;
    size_t count = (size_t)(high - low + 1);
    tensor.block = need(count, sizeof(float));
    for (size_t i = 0; i < count; i++)
        tensor.block[i] = NAN;
    tensor.origin = tensor.block - low;
    return tensor;
}

/* k and v as views of q's block, behind q in each row. */
static void make_packed_inputs(struct attention_case *c, const attn_problem *p)
{
    int64_t b = c->args.batch, n = c->args.keys, width = p->q.stride[2];
    c->q.extent[0] = c->k.extent[0] = c->v.extent[0] = b;
    c->q.extent[1] = p->heads, c->k.extent[1] = c->v.extent[1] = p->kv_heads;
    c->q.extent[2] = c->k.extent[2] = c->v.extent[2] = n;
    c->q.extent[3] = c->k.extent[3] = p->head_size, c->v.extent[3] = p->head_size_v;
    if (b * n * width == 0)
        return;
    size_t count = (size_t)((b - 1) * p->q.stride[0] + n * width);
    c->q.block = need(count, sizeof(float));
    for (size_t i = 0; i < count; i++)
        c->q.block[i] = NAN;
    c->q.origin = c->q.block;
    c->k.origin = c->q.origin + p->heads * p->head_size;
    c->v.origin = c->k.origin + p->kv_heads * p->head_size;
}

static void make_output_tensor(struct attention_case *c, const attn_layout *layout)
{
    int64_t extent[4] = {c->args.batch, c->problem.heads, c->args.queries, c->problem.head_size_v};
    int64_t low, high;
    if (!offsets(layout, extent, &low, &high))
        return;
    struct guarded o = guarded_create("o", (size_t)(high - low + 1));
    o.writable = need(o.count, sizeof *o.writable);
    for (int64_t b = 0; b < extent[0]; b++)
        for (int64_t h = 0; h < extent[1]; h++)
            for (int64_t n = 0; n < extent[2]; n++)
                for (int64_t d = 0; d < extent[3]; d++)
                    o.writable[b * layout->stride[0] + h * layout->stride[1] +
                               n * layout->stride[2] + d - low] = true;
    c->args.o = (float *)o.data - low;
    c->o = c->outputs_count;
    c->outputs[c->outputs_count++] = o;
}

static void *make_output(struct attention_case *c, const char *name, int64_t count, bool wanted,
                         bool give_ignored)
{
    if (!wanted && !give_ignored)
        return NULL;
    struct guarded array = guarded_create(name, (size_t)count);
    array.ignored = !wanted;
    c->outputs[c->outputs_count++] = array;
    return array.data;
}

static void make_statistics(struct attention_case *c, bool give_ignored)
{
    const attn_statistics_wanted *w = &c->wanted;
    attn_statistics *s = &c->statistics;
    int64_t rows = c->args.batch * c->problem.heads * c->args.queries;
    int64_t columns = c->args.batch * c->problem.heads * c->args.keys;
#define OUTPUT(field, bit, count)                                                                  \
    s->field = make_output(c, #field, count, w->set & (bit), give_ignored)
    OUTPUT(entropy, ATTN_STAT_ENTROPY, rows);
    OUTPUT(varentropy, ATTN_STAT_VARENTROPY, rows);
    OUTPUT(participation, ATTN_STAT_PARTICIPATION, rows);
    OUTPUT(max_weight, ATTN_STAT_MAX_WEIGHT, rows);
    OUTPUT(max_key, ATTN_STAT_MAX_KEY, rows);
    OUTPUT(max_logit, ATTN_STAT_MAX_LOGIT, rows);
    OUTPUT(max_abs_logit, ATTN_STAT_MAX_ABS_LOGIT, rows);
    OUTPUT(max_score, ATTN_STAT_MAX_SCORE, rows);
    OUTPUT(min_score, ATTN_STAT_MIN_SCORE, rows);
    OUTPUT(mass_self, ATTN_STAT_MASS_SELF, rows);
    OUTPUT(mass_previous, ATTN_STAT_MASS_PREVIOUS, rows);
    OUTPUT(mass_next, ATTN_STAT_MASS_NEXT, rows);
    OUTPUT(mass_first, ATTN_STAT_MASS_FIRST, rows);
    OUTPUT(mass_local, ATTN_STAT_MASS_LOCAL, rows);
    OUTPUT(mass_segments, ATTN_STAT_MASS_SEGMENTS, rows * w->segments);
    OUTPUT(distance_mean, ATTN_STAT_DISTANCE_MEAN, rows);
    OUTPUT(distance_sd, ATTN_STAT_DISTANCE_SD, rows);
    OUTPUT(visible_keys, ATTN_STAT_VISIBLE_KEYS, rows);
    OUTPUT(column_mass, ATTN_STAT_COLUMN_MASS, columns);
    OUTPUT(column_viewers, ATTN_STAT_COLUMN_VIEWERS, columns);
    OUTPUT(top_keys, ATTN_STAT_TOP_KEYS, rows * w->top_keys);
    OUTPUT(top_weights, ATTN_STAT_TOP_KEYS, rows * w->top_keys);
    OUTPUT(pair_weights, ATTN_STAT_PAIRS, CASE_MAX_PAIRS);
#undef OUTPUT
    if (s->pair_weights) /* the last one made; case_request_pair says which are written */
        c->outputs[c->outputs_count - 1].writable = need(CASE_MAX_PAIRS, sizeof(bool));
    if (w->set & ATTN_STAT_WEIGHTS)
        s->weights = c->requests;
    if (w->set & ATTN_STAT_PAIRS)
        s->pairs = c->pairs;
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
    int64_t b = options->batch, nq = options->queries, nk = options->keys;
    c->packed = options->packed;
    if (c->packed) {
        make_packed_inputs(c, p);
    } else {
        c->q = make_input(&p->q, b, p->heads, nq, p->head_size);
        c->k = make_input(&p->k, b, p->kv_heads, nk, p->head_size);
        c->v = make_input(&p->v, b, p->kv_heads, nk, p->head_size_v);
    }
    c->args.q = c->q.origin, c->args.k = c->k.origin, c->args.v = c->v.origin;
    if (!options->without_o)
        make_output_tensor(c, &p->o);
    c->args.lse = make_output(c, "lse", b * p->heads * nq, !options->without_lse, false);
    c->statistics = attn_statistics_init();
    if (options->wanted) {
        c->wanted = *options->wanted;
        p->statistics = &c->wanted;
        c->args.statistics = &c->statistics;
        make_statistics(c, options->give_ignored);
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
    free(c->query_offset);
    free(c->head_windows);
    free(c->prefix_lm);
    free(c->excluded_keys);
    free(c->segment_ids);
    free(c);
}

void case_fill_normal(const struct tensor *tensor, const attn_layout *layout, struct random *random,
                      double spread, double mean)
{
    for (int64_t b = 0; b < tensor->extent[0]; b++)
        for (int64_t h = 0; h < tensor->extent[1]; h++)
            for (int64_t n = 0; n < tensor->extent[2]; n++)
                for (int64_t d = 0; d < tensor->extent[3]; d++)
                    case_element(tensor, layout, b, h, n)[d] =
                        (float)(mean + spread * random_normal(random));
}

void case_fill_constant(const struct tensor *tensor, const attn_layout *layout, float value)
{
    for (int64_t b = 0; b < tensor->extent[0]; b++)
        for (int64_t h = 0; h < tensor->extent[1]; h++)
            for (int64_t n = 0; n < tensor->extent[2]; n++)
                for (int64_t d = 0; d < tensor->extent[3]; d++)
                    case_element(tensor, layout, b, h, n)[d] = value;
}

void case_request_weights(struct attention_case *c, int64_t batch, int64_t head, int64_t begin,
                          int64_t end)
{
    int64_t n = c->statistics.weights_count++;
    c->requests[n] = (attn_weights_request){batch, head, begin, end, NULL};
    c->requests[n].weights = make_output(c, "weights", (end - begin) * c->args.keys, true, false);
}

void case_request_pair(struct attention_case *c, attn_pair pair)
{
    int64_t n = c->statistics.pairs_count++;
    c->pairs[n] = pair;
    for (int i = 0; i < c->outputs_count; i++)
        if (c->outputs[i].data == (uint32_t *)c->statistics.pair_weights)
            c->outputs[i].writable[n] = true;
}

void case_reset(struct attention_case *c)
{
    for (int i = 0; i < c->outputs_count; i++)
        guarded_reset(&c->outputs[i]);
}

size_t case_snapshot(const struct attention_case *c, uint32_t *words, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < c->outputs_count; i++) {
        const struct guarded *array = &c->outputs[i];
        if (array->ignored || i == c->o)
            continue;
        for (size_t e = 0; e < array->count && used < size; e++)
            words[used++] = array->data[e];
    }
    const attn_layout *layout = &c->problem.o;
    for (int64_t b = 0; c->o >= 0 && b < c->args.batch; b++)
        for (int64_t h = 0; h < c->problem.heads; h++)
            for (int64_t n = 0; n < c->args.queries; n++) {
                const float *row = (const float *)c->args.o + b * layout->stride[0] +
                                   h * layout->stride[1] + n * layout->stride[2];
                size_t count = (size_t)c->problem.head_size_v;
                if (used + count <= size)
                    memcpy(words + used, row, count * sizeof *words);
                used += count;
            }
    return used;
}
