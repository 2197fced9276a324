/* Random cases: shapes, layouts, masks, statistics and values, all from one seed. */
#include "attention/attention_case.h"

#include <stdlib.h>

static int64_t pick(struct random *random, const int64_t *list, int64_t count)
{
    return list[random_between(random, 0, count - 1)];
}

static int64_t random_head_size(struct random *random)
{
    static const int64_t usual[] = {32, 64, 80, 96, 128};
    if (random_chance(random, 0.4))
        return pick(random, usual, 5);
    if (random_chance(random, 0.06))
        return 256;
    return random_chance(random, 0.7) ? random_between(random, 1, 24)
                                      : random_between(random, 25, 140);
}

static attn_layout random_strides(struct random *random, attn_dtype dtype, int64_t b, int64_t h,
                                  int64_t n, int64_t d, bool broadcasts)
{
    if (random_chance(random, 0.3))
        return attn_layout_bhsd(dtype, h, n, d);
    if (random_chance(random, 0.3))
        return attn_layout_bshd(dtype, h, n, d);
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    const int *order = orders[random_between(random, 0, 5)];
    int64_t extent[3] = {b, h, n};
    attn_layout layout = {dtype, {0, 0, 0, 1}};
    int64_t step = d + random_between(random, 0, 1) * random_between(random, 0, 9);
    for (int a = 0; a < 3; a++) {
        int axis = order[a];
        bool backwards = random_chance(random, 0.15);
        layout.stride[axis] = backwards ? -step : step;
        step *= extent[axis] > 0 ? extent[axis] : 1;
        step += random_between(random, 0, 1) * random_between(random, 0, 9);
        if (broadcasts && random_chance(random, 0.12))
            layout.stride[axis] = 0;
    }
    return layout;
}

void case_random_layouts(attn_problem *p, struct random *random, bool broadcasts)
{
    const bool ragged = p->lengths >= ATTN_LENGTHS_RAGGED_I32;
    const int64_t b = ragged ? 1 : p->batch;
    const int64_t nq = ragged ? p->total_queries : p->queries;
    const int64_t nk = ragged ? p->total_keys : p->keys;
    p->q = random_strides(random, p->q.dtype, b, p->heads, nq, p->head_size, broadcasts);
    p->k = random_strides(random, p->k.dtype, b, p->kv_heads, nk, p->head_size, broadcasts);
    p->v = random_strides(random, p->v.dtype, b, p->kv_heads, nk, p->head_size_v, broadcasts);
    p->o = random_strides(random, p->o.dtype, b, p->heads, nq, p->head_size_v, false);
}

void case_pack(attn_problem *p)
{
    int64_t width = p->heads * p->head_size + p->kv_heads * (p->head_size + p->head_size_v);
    attn_layout qk = {p->q.dtype, {p->queries * width, p->head_size, width, 1}};
    p->q = p->k = p->v = qk;
    p->v.stride[1] = p->head_size_v;
}

static void random_shape(attn_problem *p, struct random *random, enum case_size size)
{
    static const int64_t ratios[] = {1, 1, 2, 3, 4, 6, 8};
    memset(p, 0, sizeof *p);
    *p = attn_problem_init(1, 1, 1, 1, 1, 1);
    p->head_size = size == CASE_WIDE ? 576 : random_head_size(random);
    p->head_size_v = size == CASE_WIDE            ? 512
                     : random_chance(random, 0.7) ? p->head_size
                                                  : random_head_size(random);
    if (size == CASE_LARGE) {
        p->batch = random_between(random, 1, 2);
        p->kv_heads = 1;
        p->heads = random_between(random, 1, 2);
        p->queries = random_between(random, 100, 700);
        p->keys = random_chance(random, 0.4) ? p->queries : random_between(random, 100, 700);
        static const int64_t borders[] = {192, 384, 512,
                                          528, 576, 640}; /* whole blocks and panels */
        if (random_chance(random, 0.3))
            p->queries = pick(random, borders, 6);
        if (random_chance(random, 0.3))
            p->keys = pick(random, borders, 6);
        if (p->head_size > 128)
            p->head_size = 128;
        if (p->head_size_v > 128)
            p->head_size_v = 128;
        return;
    }
    p->batch = random_between(random, 1, 3);
    p->kv_heads = random_between(random, 1, 3);
    p->heads = p->kv_heads * pick(random, ratios, 7);
    p->queries = random_between(random, 1, random_chance(random, 0.7) ? 14 : 50);
    p->keys = random_between(random, 1, random_chance(random, 0.7) ? 40 : 90);
    if (random_chance(random, 0.35)) /* whole panels: blocks without a masked tail */
        p->keys = (p->keys + 31) / 32 * 32;
    if (random_chance(random, 0.2))
        p->queries = 1;
    if (random_chance(random, 0.3))
        p->keys = p->queries;
    if (random_chance(random, 0.03))
        *(int64_t *[]){&p->batch, &p->queries, &p->keys}[random_between(random, 0, 2)] = 0;
    if (random_chance(random, 0.01))
        p->heads = 0;
    /* Keep the plain loops affordable. */
    while (p->batch * p->heads * p->queries * p->keys * (p->head_size + p->head_size_v) > 3000000)
        if (p->batch > 1)
            p->batch--;
        else if (p->heads > p->kv_heads)
            p->heads = p->kv_heads;
        else if (p->kv_heads > 1)
            p->heads = p->kv_heads = 1;
        else
            p->queries = (p->queries + 1) / 2;
}

static attn_window random_window(struct random *random, int64_t n)
{
    attn_window window = {-1, -1, 0};
    if (random_chance(random, 0.7))
        window.left = random_between(random, 0, random_chance(random, 0.5) ? 5 : n);
    if (random_chance(random, 0.5))
        window.right = random_between(random, 0, random_chance(random, 0.5) ? 3 : n);
    if (random_chance(random, 0.3))
        window.prefix = random_between(random, 0, random_chance(random, 0.6) ? 6 : 2 * n);
    if (random_chance(random, 0.05))
        window.left = random_chance(random, 0.5) ? INT32_MAX : INT32_MAX / 2;
    if (random_chance(random, 0.05))
        window.right = random_chance(random, 0.5) ? INT32_MAX : INT32_MAX - 1;
    if (random_chance(random, 0.02))
        window.prefix = INT32_MAX;
    return window;
}

static void random_score_rules(attn_problem *p, struct random *random)
{
    if (random_chance(random, 0.4))
        p->scale = (float)((random_chance(random, 0.1) ? -1 : 1) *
                           (0.02 + 2 * random_unit(random)) / sqrt((double)p->head_size));
    if (random_chance(random, 0.35))
        p->softcap = (float)(0.5 + 50 * random_unit(random) * random_unit(random));
    p->causal = random_chance(random, 0.5);
    p->alignment = (attn_alignment)random_between(random, 0, 2);
    if (random_chance(random, 0.35))
        p->window = random_window(random, p->keys + 1);
    p->head_windows = random_chance(random, 0.15);
    p->prefix_lm = random_chance(random, 0.2);
    p->excluded_keys = random_chance(random, 0.2) ? random_between(random, 1, 5) : 0;
}

/* Strides of rows of `row`, in any order, some of them 0, some backwards. */
static void random_pair_strides(int64_t stride[3], const attn_problem *p, int64_t batch,
                                int64_t queries, int64_t row, struct random *random)
{
    const int64_t extent[3] = {batch, p->heads, queries};
    int64_t step = row + random_between(random, 0, 1) * random_between(random, 0, 9);
    int64_t first = random_between(random, 0, 2);
    for (int64_t turn = first; turn < first + 3; turn++) {
        int64_t axis = turn % 3;
        stride[axis] = random_chance(random, 0.1) ? -step : step;
        if (random_chance(random, axis == 2 ? 0.1 : 0.4))
            stride[axis] = 0;
        else
            step *= extent[axis] > 0 ? extent[axis] : 1;
    }
}

static attn_scores random_scores(const attn_problem *p, const struct case_options *options,
                                 struct random *random)
{
    static const int64_t blocks[] = {1, 2, 3, 7, 16, 32, 48, 64, 100, 128, 1000};
    attn_scores s = attn_scores_init();
    if (random_chance(random, 0.4)) {
        s.mask = random_chance(random, 0.5) ? ATTN_MASK_BYTES : ATTN_MASK_BITS;
        random_pair_strides(s.mask_stride, p, options->batch, options->queries,
                            s.mask == ATTN_MASK_BITS ? (options->keys + 7) / 8 : options->keys,
                            random);
    }
    if (random_chance(random, 0.35)) {
        s.bias = random_chance(random, 0.5) ? ATTN_F32 : p->q.dtype;
        random_pair_strides(s.bias_stride, p, options->batch, options->queries, options->keys,
                            random);
    }
    s.alibi = random_chance(random, 0.3);
    s.documents = random_chance(random, 0.2);
    if (random_chance(random, 0.25))
        s.block_rows = pick(random, blocks, 11), s.block_keys = pick(random, blocks, 11);
    if (random_chance(random, 0.15))
        s.function = case_score_function;
    return s;
}

/* Strides anew, for the problem's own lengths. */
static void promised_strides(const attn_problem *p, attn_scores *s, struct random *random)
{
    if (s->mask)
        random_pair_strides(s->mask_stride, p, p->batch, p->queries,
                            s->mask == ATTN_MASK_BITS ? (p->keys + 7) / 8 : p->keys, random);
    if (s->bias)
        random_pair_strides(s->bias_stride, p, p->batch, p->queries, p->keys, random);
}

static attn_statistics_wanted random_wanted(struct random *random)
{
    uint32_t all = (1u << 23) - 1;
    uint32_t set = random_chance(random, 0.25)  ? all
                   : random_chance(random, 0.5) ? (uint32_t)random_bits(random) & all
                                                : 1u << random_between(random, 0, 22);
    if (random_chance(random, 0.3))
        set = ATTN_STAT_ENTROPY | ATTN_STAT_MAX_WEIGHT;
    attn_statistics_wanted wanted = attn_statistics_wanted_init(set);
    wanted.first_keys = (int32_t)random_between(random, 0, random_chance(random, 0.8) ? 9 : 600);
    wanted.local_distance =
        (int32_t)random_between(random, 0, random_chance(random, 0.8) ? 20 : 1024);
    wanted.segments = (int32_t)random_between(random, 1, 32);
    wanted.top_keys = (int32_t)random_between(random, 1, random_chance(random, 0.8) ? 8 : 64);
    return wanted;
}

static void random_masks(struct attention_case *c, struct random *random)
{
    const attn_problem *p = &c->problem;
    int64_t batch = c->args.batch, heads = p->heads, nq = c->args.queries, nk = c->args.keys;
    if (p->alignment == ATTN_OFFSET) {
        c->args.query_offset = c->query_offset = need((size_t)batch, sizeof *c->query_offset);
        for (int64_t b = 0; b < batch; b++) {
            c->query_offset[b] = random_between(random, -nq - 2, nk + 2);
            if (random_chance(random, 0.03))
                c->query_offset[b] = random_chance(random, 0.5) ? INT32_MAX : -INT32_MAX;
        }
    }
    if (p->head_windows) {
        c->args.head_windows = c->head_windows = need((size_t)heads, sizeof *c->head_windows);
        for (int64_t h = 0; h < heads; h++)
            c->head_windows[h] = random_window(random, nk + 1);
    }
    if (p->prefix_lm) {
        static const int strides[4][2] = {{1, 0}, {0, 0}, {0, 1}, {-1, 1}};
        const int *stride = strides[random_between(random, 0, 3)];
        c->args.prefix_lm_stride[0] = stride[0] < 0 ? heads : stride[0];
        c->args.prefix_lm_stride[1] = stride[1];
        size_t count = (size_t)(batch * heads + 1);
        c->args.prefix_lm = c->prefix_lm = need(count, sizeof *c->prefix_lm);
        for (size_t i = 0; i < count; i++)
            c->prefix_lm[i] = random_between(random, 0, random_chance(random, 0.9) ? nk : 3 * nk);
    }
    if (p->excluded_keys) {
        size_t count = (size_t)(batch * heads * p->excluded_keys);
        c->args.excluded_keys = c->excluded_keys = need(count, sizeof *c->excluded_keys);
        for (size_t i = 0; i < count; i++)
            c->excluded_keys[i] =
                random_chance(random, 0.2) ? nk - 1 : random_between(random, -1, nk - 1);
    }
}

void case_random_requests(struct attention_case *c, struct random *random)
{
    int64_t batch = c->args.batch, heads = c->problem.heads;
    int64_t nq = c->args.queries, nk = c->args.keys;
    if (c->wanted.set & ATTN_STAT_MASS_SEGMENTS) {
        const bool ragged = c->problem.lengths >= ATTN_LENGTHS_RAGGED_I32;
        size_t count = (size_t)(ragged ? c->k.extent[2] : batch * nk);
        c->statistics.segment_ids = c->segment_ids = need(count, 1);
        for (size_t i = 0; i < count; i++)
            c->segment_ids[i] = (uint8_t)random_between(random, 0, c->wanted.segments - 1);
    }
    if (batch * heads == 0)
        return;
    int64_t requests = random_between(random, 0, 3);
    for (int64_t w = 0; c->wanted.set & ATTN_STAT_WEIGHTS && w < requests; w++) {
        int64_t b = w % batch, rows = case_queries(c, b);
        int64_t begin = random_between(random, 0, rows), end = random_between(random, begin, rows);
        if (random_chance(random, 0.3))
            begin = 0, end = rows;
        case_request_weights(c, b, random_between(random, 0, heads - 1), begin, end);
    }
    int64_t pairs = nq * nk == 0 ? 0 : random_between(random, 0, CASE_MAX_PAIRS);
    for (int64_t n = 0; c->wanted.set & ATTN_STAT_PAIRS && n < pairs; n++) {
        int64_t b = random_between(random, 0, batch - 1);
        int64_t h = random_between(random, 0, heads - 1);
        int64_t rows = case_queries(c, b), keys = case_keys(c, b);
        if (rows * keys == 0)
            continue;
        int64_t i = random_between(random, 0, rows - 1);
        case_request_pair(c, (attn_pair){b, h, i, random_between(random, 0, keys - 1)});
    }
}

/* Keys that weigh more the later they come: the running maximum has to follow from block to block. */
static void rising_keys(struct attention_case *c)
{
    for (int axis = 0; axis < 3; axis++)
        if (c->problem.k.stride[axis] == 0)
            return; /* a broadcast element would rise again and again */
    for (int64_t b = 0; b < c->k.extent[0]; b++)
        for (int64_t h = 0; h < c->k.extent[1]; h++)
            for (int64_t j = 0; j < c->k.extent[2]; j++)
                for (int64_t d = 0; d < c->k.extent[3]; d++) {
                    double rise = 0.3 + 3.0 * (double)j / (double)c->k.extent[2];
                    double before = case_get(&c->k, &c->problem.k, b, h, j, d);
                    case_set(&c->k, &c->problem.k, b, h, j, d, rise * before);
                }
}

static void random_values(struct attention_case *c, struct random *random)
{
    static const double sharpness[] = {0, 0.1, 0.5, 1, 1, 3, 10};
    double sharp = sharpness[random_between(random, 0, 6)];
    const attn_problem *p = &c->problem;
    double mean = random_chance(random, 0.3) ? random_normal(random) : 0;
    c->values = sharp == 0 ? "all scores equal" : sharp < 3 ? "mild scores" : "sharp scores";
    case_fill_normal(&c->q, &p->q, random, sharp, 0);
    case_fill_normal(&c->k, &p->k, random, 1, mean);
    case_fill_normal(&c->v, &p->v, random, 1, random_chance(random, 0.3) ? 30 : 0);
    if (!c->packed && random_chance(random, 0.25))
        rising_keys(c);
}

/* bf16 and f16 as often as f32, o of the same dtype or f32. */
static void random_dtypes(attn_problem *p, struct random *random)
{
    attn_dtype dtype = (attn_dtype)random_between(random, ATTN_F32, ATTN_F16);
    p->q.dtype = p->k.dtype = p->v.dtype = p->o.dtype = dtype;
    if (random_chance(random, 0.4))
        p->o.dtype = ATTN_F32;
}

/* Lengths up to `most`, often that or 0. */
static void random_lengths(int64_t *lengths, int64_t count, int64_t most, struct random *random)
{
    for (int64_t b = 0; b < count; b++)
        lengths[b] = random_chance(random, 0.15)   ? 0
                     : random_chance(random, 0.25) ? most
                                                   : random_between(random, 0, most);
}

static struct attention_case *make_random(uint64_t seed, enum case_size size, bool everything)
{
    struct random random = {seed * UINT64_C(0x2545f4914f6cdd1d) + (uint64_t)size};
    struct random more = {seed * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)size + 7};
    attn_problem problem;
    attn_scores scores;
    struct random last = {seed * UINT64_C(0xd6e8feb86659fd93) + (uint64_t)size + 3};
    attn_rotary rotary;
    random_shape(&problem, &random, size);
    random_score_rules(&problem, &random);
    if (everything) {
        random_dtypes(&problem, &more);
        if (random_chance(&more, 0.45))
            problem.lengths =
                (attn_lengths)random_between(&more, ATTN_LENGTHS_PADDED, ATTN_LENGTHS_RAGGED_I64);
        problem.sinks = random_chance(&more, 0.25);
        if (random_chance(&more, 0.6))
            problem.scores = &scores;
        problem.unnormalised = random_chance(&last, 0.15);
        if (problem.unnormalised)
            problem.o.dtype = ATTN_F32;
        if (random_chance(&last, 0.2) && problem.head_size >= 2) {
            rotary = case_random_rotary(problem.head_size, &last);
            problem.rotary = &rotary;
        }
    }
    struct case_options options = case_options_init(&problem);
    options.packed = problem.queries == problem.keys && problem.lengths == ATTN_LENGTHS_EQUAL &&
                     random_chance(&random, 0.3);
    if (random_chance(&random, 0.4)) { /* lengths below the maxima */
        options.batch = random_between(&random, 0, problem.batch);
        options.queries = random_between(&random, problem.queries / 2, problem.queries);
        options.keys = options.packed ? options.queries
                                      : random_between(&random, problem.keys / 2, problem.keys);
    }
    int64_t query_lengths[8], key_lengths[8]; /* batches are smaller */
    random_lengths(query_lengths, options.batch, options.queries, &more);
    random_lengths(key_lengths, options.batch, options.keys, &more);
    options.query_lengths = query_lengths, options.key_lengths = key_lengths;
    for (int64_t b = 0; problem.lengths >= ATTN_LENGTHS_RAGGED_I32 && b < options.batch; b++) {
        problem.total_queries += query_lengths[b];
        problem.total_keys += key_lengths[b];
    }
    if (problem.lengths >= ATTN_LENGTHS_RAGGED_I32 && random_chance(&more, 0.3))
        problem.total_queries += 5, problem.total_keys += 9;
    case_random_layouts(&problem, &random, true);
    if (options.packed)
        case_pack(&problem);
    if (problem.scores) {
        scores = random_scores(&problem, &options, &more);
        options.constant = random_chance(&last, 0.3);
        if (options.constant)
            promised_strides(&problem, &scores, &last);
    }
    attn_statistics_wanted wanted = random_wanted(&random);
    options.wanted = random_chance(&random, 0.7) ? &wanted : NULL;
    options.without_o = random_chance(&random, 0.2);
    options.without_lse = random_chance(&random, 0.3);
    options.with_lse_with_sink = problem.sinks && random_chance(&more, 0.7);
    options.give_ignored = random_chance(&random, 0.1);
    struct attention_case *c = case_create(&problem, &options);
    c->seed = seed;
    c->one_line = random_chance(&random, 0.2);
    random_masks(c, &random);
    case_random_requests(c, &random);
    random_values(c, &random);
    if (everything)
        case_random_scores(c, &more);
    if (problem.rotary)
        case_random_positions(c, &last);
    if (!c->args.o && random_chance(&random, 0.5))
        c->args.v = NULL;
    if (everything && random_chance(&last, 0.2))
        case_random_limit(c, &last);
    return c;
}

struct attention_case *case_random(uint64_t seed, enum case_size size)
{
    return make_random(seed, size, false);
}

struct attention_case *case_random_all(uint64_t seed, enum case_size size)
{
    return make_random(seed, size, true);
}
