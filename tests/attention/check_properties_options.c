/* What must hold between the options whatever computes them: two ways of saying the same thing agree.
 *
 * Lengths told in different ways give the same bits. Elsewhere two computed results are compared: with
 * weights that err by t relatively (check_properties.c: 2 ((d + 16) u A + (4 n + 64) u + 4e-7)), o differs by
 * t max |v|, 5 t for normal values; lse by t. Where bf16 is multiplied in pairs a weight is rounded by 2^-8
 * more, in each of the two results. */
#include "attention/attention_case.h"
#include "attention/path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "attn/merge.h"

enum { WORDS = 1 << 20 };
static uint32_t first_words[WORDS], second_words[WORDS];

static const double MAGNITUDE = 12; /* scale sum |q k| of normal rows of 40 is below */

static double tolerance(int64_t n, int64_t d, double magnitude)
{
    double u = 0x1p-24;
    return 2 * ((double)(d + 16) * u * magnitude + (4 * (double)n + 64) * u + 4e-7);
}

static void near(const char *what, int64_t at, double got, double expected, double bound)
{
    if (got != expected && !(fabs(got - expected) <= bound))
        fail_msg("%s[%lld] is %.9g, should be %.9g within %.3g", what, (long long)at, got, expected,
                 bound);
}

static void run(struct attention_case *c)
{
    attn_error error;
    if (case_run(c, NULL, &error) != ATTN_OK) {
        case_describe(c, stderr);
        fail_msg("%s", error.message);
    }
}

static void set_dtype(attn_problem *p, attn_dtype dtype)
{
    p->q.dtype = p->k.dtype = p->v.dtype = dtype; /* o is f32 */
}

/* A case of normal numbers; the same seed gives the same q, k and v. */
static struct attention_case *make(const attn_problem *p, const struct case_options *given,
                                   uint64_t seed)
{
    struct random random = {seed};
    struct case_options options = given ? *given : case_options_init(p);
    attn_statistics_wanted wanted =
        attn_statistics_wanted_init(ATTN_STAT_ENTROPY | ATTN_STAT_MAX_WEIGHT |
                                    ATTN_STAT_VISIBLE_KEYS | ATTN_STAT_COLUMN_VIEWERS);
    options.wanted = &wanted;
    struct attention_case *c = case_create(p, &options);
    case_fill_qkv(c, &random, 1);
    return c;
}

/* Two cases of one batch, rows at the same indices: o, lse, entropy, counts. */
static void agree(struct attention_case *a, struct attention_case *b, double more)
{
    run(a), run(b);
    const int64_t heads = a->problem.heads, nq = a->args.queries, nk = a->args.keys;
    double t = tolerance(nk, a->problem.head_size, MAGNITUDE + more);
    double rounding = case_multiplies_pairs(a) || case_multiplies_pairs(b) ? 0x1p-7 : 0;
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < nq; i++) {
            int64_t at = h * nq + i;
            near("lse", at, (double)a->args.lse[at], (double)b->args.lse[at], t);
            near("entropy", at, (double)a->statistics.entropy[at],
                 (double)b->statistics.entropy[at], 9 * t);
            assert_int_equal(a->statistics.visible_keys[at], b->statistics.visible_keys[at]);
            for (int64_t d = 0; d < a->problem.head_size_v; d++)
                near("o", at, case_output(a, 0, h, i, d), case_output(b, 0, h, i, d),
                     5 * (t + rounding));
        }
    for (int64_t j = 0; j < heads * nk; j++)
        assert_int_equal(a->statistics.column_viewers[j], b->statistics.column_viewers[j]);
    case_destroy(a);
    case_destroy(b);
}

/* ---- lengths ----------------------------------------------------------------------------------- */

/* `b` (sequence `batch_b`) has the bits of sequence `batch` of `a`. */
static bool same_bits(const struct attention_case *a, int64_t batch, const struct attention_case *b,
                      int64_t batch_b)
{
    size_t count = case_sequence_snapshot(a, batch, first_words, WORDS);
    assert_true(count <= WORDS);
    assert_true(case_sequence_snapshot(b, batch_b, second_words, WORDS) == count);
    return memcmp(first_words, second_words, count * sizeof *first_words) == 0;
}

static bool one_of_many_lengths(uint64_t seed)
{
    static const attn_lengths ways[] = {ATTN_LENGTHS_PADDED, ATTN_LENGTHS_RAGGED_I32,
                                        ATTN_LENGTHS_RAGGED_I64};
    struct attention_case *c = case_random_all(seed, seed % 40 == 0 ? CASE_LARGE : CASE_SMALL);
    bool fine = true;
    /* bits of a case without values would be compared with those of one that has them */
    if (!c->args.v)
        c->args.v = c->v.origin;
    if (c->problem.lengths != ATTN_LENGTHS_EQUAL) {
        run(c);
        for (int w = 0; fine && w < 3; w++) {
            struct attention_case *other = case_with_lengths(c, ways[w]);
            run(other);
            for (int64_t b = 0; fine && b < c->args.batch; b++)
                fine = same_bits(c, b, other, b);
            case_destroy(other);
        }
        for (int64_t b = 0; fine && b < c->args.batch; b++) {
            struct attention_case *alone = case_alone(c, b);
            run(alone);
            fine = same_bits(c, b, alone, 0);
            case_destroy(alone);
        }
        if (!fine)
            case_describe(c, stderr);
    }
    case_destroy(c);
    return fine;
}

static void lengths_told_otherwise(void **state)
{
    (void)state;
    int failed = 0;
    for (int64_t i = 0; i < path_cases(400) && failed < 3; i++)
        failed += !one_of_many_lengths(31000000 + (uint64_t)i);
    assert_int_equal(failed, 0);
}

/* Documents packed into one sequence see what the sequences of a ragged batch see. */
static void documents_are_a_ragged_batch(void **state)
{
    (void)state;
    static const int64_t lengths[] = {37, 1, 200, 64, 0, 130};
    enum { COUNT = 6, TOTAL = 432 };
    for (int dtype = ATTN_F32; dtype <= ATTN_F16; dtype++)
        for (int causal = 0; causal < 2; causal++) {
            attn_problem p = attn_problem_init(1, 4, 2, TOTAL, TOTAL, 40);
            attn_scores scores = attn_scores_init();
            scores.documents = true;
            set_dtype(&p, (attn_dtype)dtype);
            p.causal = causal;
            attn_problem ragged = p;
            p.scores = &scores;
            struct attention_case *packed = make(&p, NULL, 41);
            packed->query_documents = need(TOTAL, sizeof(int32_t));
            packed->key_documents = need(TOTAL, sizeof(int32_t));
            for (int64_t s = 0, at = 0; s < COUNT; at += lengths[s], s++)
                for (int64_t i = 0; i < lengths[s]; i++)
                    packed->query_documents[at + i] = packed->key_documents[at + i] = (int32_t)s;
            packed->scores_args.query_documents = packed->query_documents;
            packed->scores_args.key_documents = packed->key_documents;

            ragged.lengths = ATTN_LENGTHS_RAGGED_I32;
            ragged.batch = COUNT;
            ragged.queries = ragged.keys = 200;
            ragged.total_queries = ragged.total_keys = TOTAL;
            struct case_options options = case_options_init(&ragged);
            options.query_lengths = options.key_lengths = lengths;
            struct attention_case *apart = make(&ragged, &options, 41);
            run(packed), run(apart);
            double t = tolerance(TOTAL, 40, MAGNITUDE);
            double rounding = case_multiplies_pairs(packed) ? 0x1p-7 : 0;
            for (int64_t h = 0; h < 4; h++)
                for (int64_t s = 0, at = 0; s < COUNT; at += lengths[s], s++)
                    for (int64_t i = 0; i < lengths[s]; i++) {
                        int64_t row = h * TOTAL + at + i;
                        near("lse", row, (double)packed->args.lse[row],
                             (double)apart->args.lse[row], t);
                        assert_int_equal(packed->statistics.visible_keys[row],
                                         apart->statistics.visible_keys[row]);
                        for (int64_t d = 0; d < 40; d++)
                            near("o", row, case_output(packed, 0, h, at + i, d),
                                 case_output(apart, s, h, i, d), 5 * (t + rounding));
                    }
            assert_memory_equal(packed->statistics.column_viewers, apart->statistics.column_viewers,
                                4 * TOTAL * sizeof(int32_t));
            case_destroy(packed);
            case_destroy(apart);
        }
}

/* ---- masks ------------------------------------------------------------------------------------- */

static bool in_window(int64_t i, int64_t j, const attn_problem *p)
{
    int64_t at = i + p->keys - p->queries;
    return (!p->causal || j <= at) &&
           (j < p->window.prefix || (p->window.left < 0 || at - j <= p->window.left));
}

/* A causal mask or a window, given as an array of bytes, of bits, as an f32 bias of -inf, as one of the dtype. */
static void masks_given_as_arrays(void **state)
{
    (void)state;
    for (int turn = 0; turn < 3 * 2 * 4; turn++) {
        attn_problem p = attn_problem_init(1, 2, 1, 250, 600, 40);
        attn_scores scores = attn_scores_init();
        set_dtype(&p, (attn_dtype)(ATTN_F32 + turn % 3));
        p.causal = true;
        if (turn / 3 % 2)
            p.window.left = 70, p.window.prefix = 3;
        struct attention_case *told = make(&p, NULL, 42);
        attn_problem read = p;
        read.causal = false, read.window = (attn_window){-1, -1, 0};
        read.scores = &scores;
        int way = turn / 6;
        scores.mask = way == 0 ? ATTN_MASK_BYTES : way == 1 ? ATTN_MASK_BITS : ATTN_MASK_NONE;
        scores.mask_stride[2] = way == 0 ? 600 : 75;
        scores.bias = way == 2 ? ATTN_F32 : way == 3 ? p.q.dtype : 0;
        scores.bias_stride[2] = 600;
        struct attention_case *given = make(&read, NULL, 42);
        case_make_mask(given);
        if (scores.bias)
            case_make_bias(given);
        for (int64_t i = 0; i < 250; i++)
            for (int64_t j = 0; j < 600; j++) {
                bool visible = in_window(i, j, &p);
                case_set_mask(given, 0, 0, i, j, visible);
                case_set_bias(given, 0, 0, i, j, visible ? 0 : -INFINITY);
            }
        agree(told, given, 0);
    }
}

static bool checkered(void *context, int64_t head, int64_t row, int64_t key)
{
    (void)context;
    return (row * 5 + key * 3 + head) % 7 < 3;
}

/* A block list is the mask with its blocks filled in. */
static void blocks_are_a_mask(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{1, 1}, {64, 64}, {128, 128}, {16, 48}, {100, 7}, {1, 512}};
    for (int turn = 0; turn < 6 * 3; turn++) {
        const int64_t *size = sizes[turn % 6];
        attn_problem p = attn_problem_init(1, 2, 1, 250, 600, 40);
        attn_scores list = attn_scores_init(), mask = attn_scores_init();
        set_dtype(&p, (attn_dtype)(ATTN_F32 + turn / 6));
        p.causal = turn % 2;
        list.block_rows = size[0], list.block_keys = size[1];
        p.scores = &list;
        struct attention_case *listed = make(&p, NULL, 43);
        case_make_blocks(listed, checkered, NULL);
        mask.mask = ATTN_MASK_BITS;
        mask.mask_stride[1] = 250 * 75, mask.mask_stride[2] = 75;
        p.scores = &mask;
        struct attention_case *masked = make(&p, NULL, 43);
        case_make_mask(masked);
        for (int64_t h = 0; h < 2; h++)
            for (int64_t i = 0; i < 250; i++)
                for (int64_t j = 0; j < 600; j++)
                    case_set_mask(masked, 0, h, i, j, checkered(NULL, h, i / size[0], j / size[1]));
        agree(listed, masked, 0);
    }
}

/* ---- what is added ------------------------------------------------------------------------------ */

/* All scores equal but for ALiBi of slope a, r = e^-a: the weights are geometric. */
static void alibi_is_geometric(void **state)
{
    (void)state;
    static const double slopes[] = {0.125, 0.25, 0.5, 2};
    const int64_t n = 640;
    attn_problem p = attn_problem_init(1, 4, 1, n, n, 8);
    attn_scores scores = attn_scores_init();
    attn_statistics_wanted wanted = attn_statistics_wanted_init(
        ATTN_STAT_ENTROPY | ATTN_STAT_DISTANCE_MEAN | ATTN_STAT_DISTANCE_SD | ATTN_STAT_MASS_SELF);
    scores.alibi = true;
    p.scores = &scores;
    p.causal = true;
    struct case_options options = case_options_init(&p);
    options.wanted = &wanted;
    struct attention_case *c = case_create(&p, &options);
    case_fill_constant(&c->q, &p.q, 0);
    case_fill_constant(&c->k, &p.k, 1);
    case_fill_constant(&c->v, &p.v, 1);
    c->scores_args.alibi_slopes = c->alibi_slopes = need(4, sizeof(float));
    for (int h = 0; h < 4; h++)
        c->alibi_slopes[h] = (float)slopes[h];
    run(c);
    for (int64_t h = 0; h < 4; h++) {
        double a = slopes[h], r = exp(-a), mean = r / (1 - r), sd = sqrt(r) / (1 - r);
        double entropy = -log(1 - r) - r * log(r) / (1 - r), t = tolerance(n, 8, a * (double)n);
        for (int64_t i = n - 100; i < n; i++) { /* r^(n - 100) is far below the tolerance */
            int64_t at = h * n + i;
            near("lse", at, (double)c->args.lse[at], -log(1 - r), t);
            near("entropy", at, (double)c->statistics.entropy[at], entropy, t * (1 + 3 * entropy));
            near("distance_mean", at, (double)c->statistics.distance_mean[at], mean,
                 t * (mean + sd));
            near("distance_sd", at, (double)c->statistics.distance_sd[at], sd, 3 * t * (mean + sd));
            near("mass_self", at, (double)c->statistics.mass_self[at], 1 - r, t);
            near("o", at, case_output(c, 0, h, i, 3), 1, t);
        }
    }
    case_destroy(c);
}

/* ALiBi, a bias that holds the same numbers, and a function that makes them. */
static void add_slope(void *context, int64_t batch, int64_t head, int64_t query_begin, int64_t rows,
                      int64_t key_begin, int64_t keys, float *s, int64_t stride)
{
    const float *slopes = context;
    (void)batch;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < keys; k++)
            s[r * stride + k] -=
                slopes[head] * (float)llabs(query_begin + r - key_begin - k); /* top-left */
}

static void three_ways_of_alibi(void **state)
{
    (void)state;
    static float slopes[2] = {0.0625f, 0.5f};
    for (int way = 0; way < 2; way++) {
        attn_problem p = attn_problem_init(1, 2, 2, 230, 560, 40);
        attn_scores alibi = attn_scores_init(), other = attn_scores_init();
        p.alignment = ATTN_TOP_LEFT;
        p.window.right = 300;
        alibi.alibi = true;
        p.scores = &alibi;
        struct attention_case *a = make(&p, NULL, 44);
        a->scores_args.alibi_slopes = slopes;
        p.scores = &other;
        if (way == 0)
            other.bias = ATTN_F32, other.bias_stride[1] = 230 * 560, other.bias_stride[2] = 560;
        else
            other.function = add_slope, other.function_context = slopes;
        struct attention_case *b = make(&p, NULL, 44);
        if (way == 0)
            case_make_bias(b);
        for (int64_t h = 0; h < 2; h++)
            for (int64_t i = 0; i < 230; i++)
                for (int64_t j = 0; j < 560; j++)
                    case_set_bias(b, 0, h, i, j, -(double)slopes[h] * fabs((double)(i - j)));
        agree(a, b, 0.5 * 560);
    }
}

/* A bias that is constant along a row moves lse by that constant and nothing else. */
static void shifting_bias(void **state)
{
    (void)state;
    const int64_t nq = 210, nk = 530;
    attn_problem p = attn_problem_init(1, 2, 1, nq, nk, 40);
    attn_scores scores = attn_scores_init();
    struct attention_case *plain = make(&p, NULL, 45);
    scores.bias = ATTN_F32;
    scores.bias_stride[2] = nk;
    p.scores = &scores;
    struct attention_case *shifted = make(&p, NULL, 45);
    case_make_bias(shifted);
    for (int64_t i = 0; i < nq; i++)
        for (int64_t j = 0; j < nk; j++)
            case_set_bias(shifted, 0, 0, i, j, (double)(i - 100) * 3);
    run(plain), run(shifted);
    double t = tolerance(nk, 40, MAGNITUDE + 330);
    for (int64_t h = 0; h < 2; h++)
        for (int64_t i = 0; i < nq; i++) {
            int64_t at = h * nq + i;
            near("lse", at, (double)shifted->args.lse[at],
                 (double)plain->args.lse[at] + (double)(i - 100) * 3, t);
            near("entropy", at, (double)shifted->statistics.entropy[at],
                 (double)plain->statistics.entropy[at], 9 * t);
            for (int64_t d = 0; d < 40; d++)
                near("o", at, case_output(shifted, 0, h, i, d), case_output(plain, 0, h, i, d),
                     5 * t);
        }
    case_destroy(plain);
    case_destroy(shifted);
}

/* ---- parts ------------------------------------------------------------------------------------- */

/* The keys in two parts under a mask that is read, merged, and the sink added behind: the whole with its
 * sink in one call. */
static void parts_and_sinks(void **state)
{
    (void)state;
    static float sinks[2] = {1.5f, 8};
    static const int64_t borders[] = {0, 1, 256, 511, 600};
    const int64_t nq = 30, nk = 600;
    for (int at = 0; at < 5; at++) {
        attn_problem p = attn_problem_init(1, 2, 1, nq, nk, 40);
        attn_scores scores = attn_scores_init();
        scores.mask = ATTN_MASK_BYTES;
        scores.mask_stride[2] = nk;
        p.scores = &scores;
        p.sinks = true;
        struct case_options options = case_options_init(&p);
        options.with_lse_with_sink = true;
        struct attention_case *whole = make(&p, &options, 46), *half[2];
        p.sinks = false;
        for (int part = 0; part < 3; part++) {
            struct attention_case *c = part < 2 ? (half[part] = make(&p, NULL, 46)) : whole;
            case_make_mask(c);
            for (int64_t i = 0; i < nq; i++)
                for (int64_t j = 0; j < nk; j++)
                    case_set_mask(c, 0, 0, i, j,
                                  (i * 7 + j * 3) % 5 < 2 &&
                                      (part == 2 || (j < borders[at]) == (part == 0)));
            c->args.sinks = part == 2 ? sinks : NULL;
            run(c);
        }
        double t = tolerance(nk, 40, MAGNITUDE);
        for (int64_t h = 0; h < 2; h++) {
            float o[30 * 40], lse[30], entropy[30], with_sink[30];
            attn_part parts[2], result = {.o = o, .o_stride = 40, .lse = lse, .entropy = entropy};
            for (int part = 0; part < 2; part++)
                parts[part] = (attn_part){.o = (float *)half[part]->args.o + h * nq * 40,
                                          .o_stride = 40,
                                          .lse = half[part]->args.lse + h * nq,
                                          .entropy = half[part]->statistics.entropy + h * nq};
            assert_int_equal(attn_merge(&result, parts, 2, nq, 40, NULL, NULL), ATTN_OK);
            assert_int_equal(attn_merge_sink(&result, sinks[h], with_sink, nq, 40, NULL), ATTN_OK);
            for (int64_t i = 0; i < nq; i++) {
                int64_t row = h * nq + i;
                near("lse", row, (double)whole->args.lse[row], (double)lse[i], t);
                near("lse_with_sink", row, (double)whole->args.lse_with_sink[row],
                     (double)with_sink[i], t);
                near("entropy", row, (double)whole->statistics.entropy[row], (double)entropy[i],
                     9 * t);
                for (int64_t d = 0; d < 40; d++)
                    near("o", row, case_output(whole, 0, h, i, d), (double)o[i * 40 + d], 5 * t);
            }
        }
        case_destroy(half[0]);
        case_destroy(half[1]);
        case_destroy(whole);
    }
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_told_otherwise), cmocka_unit_test(documents_are_a_ragged_batch),
        cmocka_unit_test(masks_given_as_arrays),  cmocka_unit_test(blocks_are_a_mask),
        cmocka_unit_test(alibi_is_geometric),     cmocka_unit_test(three_ways_of_alibi),
        cmocka_unit_test(shifting_bias),          cmocka_unit_test(parts_and_sinks),
    };
    return cmocka_run_group_tests_name("check_properties_options", tests, NULL, NULL);
}
