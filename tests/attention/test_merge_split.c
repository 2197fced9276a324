/* Split and merge equals whole: attention over parts of the keys, each by its own call on a slice of k and
 * v, merged, against the specification of the whole.
 *
 * Bounds. Let part p's own errors be b_o, b_lse, b_H, b_V, b_m (bounds.c, on the slice), W the largest b_lse
 * of the parts that see a key. Then, besides one rounding of the result (u = 2^-24):
 *     lse    errs by W: ln sum exp is no steeper than its steepest argument
 *     w_p    by expm1(2 W) of itself: from lse_p and from lse
 *     o      by sum w_p (b_o + expm1(2 W) (|o_p| + b_o))
 *     H      by sum w_p (b_H + 2 W) (1 + expm1(2 W)) + sum w_p expm1(2 W) |H_p + lse - lse_p|
 *     V      with d_p = mu_p - mu, which errs by f_p = b_H + b_lse + W + (error of H):
 *            sum w_p (1 + expm1(2 W)) (b_V + 2 |d_p| f_p + f_p^2) + expm1(2 W) (V_p + d_p^2)
 *     max    by the largest w_p (b_m + expm1(2 W) (m_p + b_m)).
 * With a sink: its lse errs by W at most, the keys' share by expm1(W) of itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "attention/attention_case.h"
#include "attention/bounds.h"
#include "attention/path.h"
#include "attn_ref_merge.h"

#include <cmocka.h>

enum { MOST_PARTS = 7 };

static const double u = 0x1p-24;

struct split {
    struct attention_case *whole;
    int64_t parts, begin[MOST_PARTS + 1];
    int64_t *offsets; /* [parts][batch]: where query 0 of each sequence stands in a part's keys */
    attn_part part[MOST_PARTS], merged;
    attn_problem problem; /* of a part: positions are told by ATTN_OFFSET */
    const float *sinks;   /* [heads]: merged.o and lse_with_sink have them in; or NULL */
    float *lse_with_sink; /* [rows] */
};

static int64_t rows_of(const struct split *s)
{
    return s->whole->args.batch * s->whole->problem.heads * s->whole->args.queries;
}

static attn_part part_create(int64_t rows, int64_t size)
{
    size_t count = (size_t)rows;
    attn_part part = {.o = need(count * (size_t)size, sizeof(float)),
                      .o_stride = size,
                      .lse = need(count, sizeof(float)),
                      .entropy = need(count, sizeof(float)),
                      .varentropy = need(count, sizeof(float)),
                      .max_weight = need(count, sizeof(float))};
    return part;
}

static void part_destroy(attn_part *part)
{
    free(part->o);
    free(part->lse);
    free(part->entropy);
    free(part->varentropy);
    free(part->max_weight);
}

/* Borders anywhere, parts of no key among them. */
static void cut(struct split *s, int64_t keys, struct random *random)
{
    s->parts = random_between(random, 2, MOST_PARTS);
    for (int64_t p = 0; p <= s->parts; p++)
        s->begin[p] = p == s->parts ? keys : random_between(random, 0, keys);
    s->begin[0] = 0;
    for (int64_t p = 1; p < s->parts; p++)
        for (int64_t i = p; i > 0 && s->begin[i] < s->begin[i - 1]; i--) {
            int64_t swap = s->begin[i];
            s->begin[i] = s->begin[i - 1];
            s->begin[i - 1] = swap;
        }
}

static attn_problem random_problem(struct random *random)
{
    int64_t kv_heads = random_between(random, 1, 2);
    attn_problem p =
        attn_problem_init(random_between(random, 1, 2), kv_heads * random_between(random, 1, 3),
                          kv_heads, random_between(random, 1, 24), random_between(random, 1, 200),
                          random_between(random, 1, 40));
    p.head_size_v = random_between(random, 1, 40);
    p.v = attn_layout_bshd(ATTN_F32, p.kv_heads, p.keys, p.head_size_v);
    p.o = attn_layout_bhsd(ATTN_F32, p.heads, p.queries, p.head_size_v);
    p.causal = random_chance(random, 0.5);
    p.alignment = random_chance(random, 0.7) ? ATTN_BOTTOM_RIGHT : ATTN_TOP_LEFT;
    if (random_chance(random, 0.3))
        p.window = (attn_window){random_between(random, 0, 60), random_between(random, 0, 60), 0};
    if (random_chance(random, 0.2))
        p.softcap = 5;
    return p;
}

static struct split split_create(uint64_t seed)
{
    struct random random = {seed};
    attn_problem problem = random_problem(&random);
    struct case_options options = case_options_init(&problem);
    options.without_o = options.without_lse = true;
    struct split s = {.whole = case_create(&problem, &options)};
    struct attention_case *c = s.whole;
    double spread = random_chance(&random, 0.3) ? 4 : 1;
    case_fill_normal(&c->q, &problem.q, &random, spread, 0);
    case_fill_normal(&c->k, &problem.k, &random, spread, 0);
    case_fill_normal(&c->v, &problem.v, &random, 1, 0.5);
    cut(&s, problem.keys, &random);
    s.problem = problem;
    s.problem.alignment = ATTN_OFFSET;
    s.offsets = need((size_t)(s.parts * problem.batch), sizeof *s.offsets);
    int64_t offset = problem.alignment == ATTN_TOP_LEFT ? 0 : problem.keys - problem.queries;
    for (int64_t p = 0; p < s.parts; p++) {
        for (int64_t b = 0; b < problem.batch; b++)
            s.offsets[p * problem.batch + b] = offset - s.begin[p];
        s.part[p] = part_create(rows_of(&s), problem.head_size_v);
    }
    s.merged = part_create(rows_of(&s), problem.head_size_v);
    return s;
}

static void split_destroy(struct split *s)
{
    for (int64_t p = 0; p < s->parts; p++)
        part_destroy(&s->part[p]);
    part_destroy(&s->merged);
    free(s->offsets);
    case_destroy(s->whole);
}

/* The arguments of part p: slices of k and v by their pointers alone. */
static attn_args args_of(const struct split *s, int64_t p)
{
    const attn_problem *problem = &s->whole->problem;
    attn_args args = s->whole->args;
    args.keys = s->begin[p + 1] - s->begin[p];
    args.k = (const float *)args.k + s->begin[p] * problem->k.stride[2];
    args.v = (const float *)args.v + s->begin[p] * problem->v.stride[2];
    args.query_offset = s->offsets + p * problem->batch;
    args.o = s->part[p].o;
    args.lse = s->part[p].lse;
    return args;
}

static void run_parts(struct split *s)
{
    attn_statistics_wanted wanted = attn_statistics_wanted_init(
        ATTN_STAT_ENTROPY | ATTN_STAT_VARENTROPY | ATTN_STAT_MAX_WEIGHT);
    s->problem.statistics = &wanted;
    for (int64_t p = 0; p < s->parts; p++) {
        attn_args args = args_of(s, p);
        attn_statistics statistics = attn_statistics_init();
        statistics.entropy = s->part[p].entropy;
        statistics.varentropy = s->part[p].varentropy;
        statistics.max_weight = s->part[p].max_weight;
        args.statistics = &statistics;
        attn_error error;
        if (attn_forward(&s->problem, &args, NULL, &error))
            fail_msg("part %d: %s", (int)p, error.message);
    }
    s->problem.statistics = NULL;
}

/* ---- bounds ---- */

struct whole_bounds {
    double lse, entropy, varentropy, max_weight;
    double *o;
};

struct part_row {
    attn_ref_row row;
    struct row_bounds bounds;
    double weight;
};

static void widen(struct whole_bounds *b, const struct part_row *parts, int64_t count,
                  const attn_ref_row *whole, int64_t size)
{
    memset(b->o, 0, (size_t)size * sizeof(double));
    b->lse = b->entropy = b->varentropy = b->max_weight = 0;
    for (int64_t p = 0; p < count; p++)
        if (parts[p].weight > 0)
            b->lse = fmax(b->lse, parts[p].bounds.lse);
    double grow = expm1(2 * b->lse);
    for (int64_t p = 0; p < count; p++) {
        const struct part_row *x = &parts[p];
        double w = x->weight;
        if (w == 0)
            continue;
        for (int64_t d = 0; d < size; d++)
            b->o[d] += w * (x->bounds.o[d] + grow * (fabs(x->row.o[d]) + x->bounds.o[d]));
        b->entropy += w * ((x->bounds.entropy + 2 * b->lse) * (1 + grow) +
                           grow * fabs(x->row.entropy + whole->lse - x->row.lse));
        b->max_weight =
            fmax(b->max_weight,
                 w * (x->bounds.max_weight + grow * (x->row.max_weight + x->bounds.max_weight)));
    }
    for (int64_t p = 0; p < count; p++) {
        const struct part_row *x = &parts[p];
        if (x->weight == 0)
            continue;
        double d = (x->row.lse - x->row.entropy) - (whole->lse - whole->entropy);
        double f = x->bounds.entropy + x->bounds.lse + b->lse + b->entropy;
        b->varentropy +=
            x->weight * ((1 + grow) * (x->bounds.varentropy + 2 * fabs(d) * f + f * f) +
                         grow * (x->row.varentropy + d * d));
    }
}

static double worst;

static void near(double got, double want, double bound, const char *name, uint64_t seed)
{
    bound += u * (fabs(want) + bound) + 0x1p-149;
    if (want == -INFINITY ? got != want : !(fabs(got - want) <= bound))
        fail_msg("seed %d, %s: %.9g, expected %.9g within %.3g", (int)seed, name, got, want, bound);
    if (isfinite(want))
        worst = fmax(worst, fabs(got - want) / bound);
}

/* What a sink makes of the truth and of its bounds; the lse of the keys stays. */
static void add_sink(const struct split *s, attn_ref_row *whole, struct whole_bounds *b, int64_t at,
                     uint64_t seed)
{
    double lse, grow = expm1(b->lse);
    double share = attn_ref_sink(whole->lse, (double)s->sinks[whole->head], &lse);
    near((double)s->lse_with_sink[at], lse, b->lse, "lse with sink", seed);
    for (int64_t d = 0; d < s->problem.head_size_v; d++) {
        b->o[d] = share * (b->o[d] + grow * (fabs(whole->o[d]) + b->o[d]));
        whole->o[d] *= share;
    }
}

static void check_row(const struct split *s, struct part_row *parts, attn_ref_row *whole,
                      struct whole_bounds *b, int64_t at, uint64_t seed)
{
    const attn_problem *problem = &s->whole->problem;
    int64_t query = at % s->whole->args.queries;
    int64_t head = at / s->whole->args.queries % problem->heads;
    int64_t batch = at / s->whole->args.queries / problem->heads, size = problem->head_size_v;
    attn_ref_row_compute(whole, problem, &s->whole->args, batch, head, query);
    for (int64_t p = 0; p < s->parts; p++) {
        attn_args args = args_of(s, p);
        attn_ref_row_compute(&parts[p].row, &s->problem, &args, batch, head, query);
        row_bounds_compute(&parts[p].bounds, &parts[p].row, &s->problem, &args);
        parts[p].weight = parts[p].row.visible_keys > 0 ? exp(parts[p].row.lse - whole->lse) : 0;
    }
    widen(b, parts, s->parts, whole, size);
    near((double)s->merged.lse[at], whole->lse, b->lse, "lse", seed);
    near((double)s->merged.entropy[at], whole->entropy, b->entropy, "entropy", seed);
    near((double)s->merged.varentropy[at], whole->varentropy, b->varentropy, "varentropy", seed);
    near((double)s->merged.max_weight[at], whole->max_weight, b->max_weight, "max weight", seed);
    if (s->sinks)
        add_sink(s, whole, b, at, seed);
    for (int64_t d = 0; d < size; d++)
        near((double)s->merged.o[at * size + d], whole->o[d], b->o[d], "o", seed);
}

static void check(const struct split *s, uint64_t seed)
{
    struct part_row parts[MOST_PARTS];
    attn_ref_row whole;
    struct whole_bounds b = {.o = need((size_t)s->problem.head_size_v, sizeof(double))};
    assert_int_equal(attn_ref_row_create(&whole, &s->whole->problem, &s->whole->args), ATTN_OK);
    for (int64_t p = 0; p < s->parts; p++) {
        attn_args args = args_of(s, p);
        assert_int_equal(attn_ref_row_create(&parts[p].row, &s->problem, &args), ATTN_OK);
        row_bounds_create(&parts[p].bounds, &s->problem, &args);
    }
    for (int64_t at = 0; at < rows_of(s); at++)
        check_row(s, parts, &whole, &b, at, seed);
    for (int64_t p = 0; p < s->parts; p++) {
        attn_ref_row_destroy(&parts[p].row);
        row_bounds_destroy(&parts[p].bounds);
    }
    attn_ref_row_destroy(&whole);
    free(b.o);
}

/* ---- tests ---- */

static void merge(struct split *s, int64_t count)
{
    attn_error error;
    if (attn_merge(&s->merged, s->part, count, rows_of(s), s->problem.head_size_v, NULL, &error))
        fail_msg("%s", error.message);
}

static void reverse_parts(struct split *s)
{
    for (int64_t p = 0; p < s->parts / 2; p++) {
        attn_part swap = s->part[p];
        s->part[p] = s->part[s->parts - 1 - p];
        s->part[s->parts - 1 - p] = swap;
    }
}

/* In order, in the opposite order, and one by one into a running result, as a ring of ranks would. */
static void test_split(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < (uint64_t)path_cases(250); seed++) {
        struct split s = split_create(seed);
        run_parts(&s);
        merge(&s, s.parts);
        check(&s, seed);
        reverse_parts(&s);
        merge(&s, s.parts);
        reverse_parts(&s);
        check(&s, seed);
        merge(&s, 0);
        for (int64_t p = 0; p < s.parts; p++) {
            attn_part both[2] = {s.merged, s.part[p]};
            assert_int_equal(
                attn_merge(&s.merged, both, 2, rows_of(&s), s.problem.head_size_v, NULL, NULL),
                ATTN_OK);
        }
        /* each step rounds once more: 7 u of what the bounds, which are many u, leave room for */
        check(&s, seed);
        split_destroy(&s);
    }
    printf("worst error %.2f of its bound\n", worst);
}

/* Parts that lie [B, N, H, D], merged head by head through strides; the same bits. */
static void test_strided(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < (uint64_t)path_cases(40); seed++) {
        struct split s = split_create(seed);
        int64_t size = s.problem.head_size_v, heads = s.problem.heads, n = s.whole->args.queries;
        run_parts(&s);
        merge(&s, s.parts);
        attn_part expected = s.merged;
        s.merged = part_create(rows_of(&s), size);
        s.problem.o = attn_layout_bshd(ATTN_F32, heads, n, size);
        run_parts(&s);
        for (int64_t head = 0; head < s.whole->args.batch * heads; head++) {
            int64_t o_at = (head / heads * n * heads + head % heads) * size;
            attn_part parts[MOST_PARTS],
                result = {
                    s.merged.o + o_at, heads * size, s.merged.lse + head * n, NULL, NULL, NULL};
            for (int64_t p = 0; p < s.parts; p++)
                parts[p] = (attn_part){
                    s.part[p].o + o_at, heads * size, s.part[p].lse + head * n, NULL, NULL, NULL};
            assert_int_equal(attn_merge(&result, parts, s.parts, n, size, NULL, NULL), ATTN_OK);
            for (int64_t r = 0; r < n; r++) {
                assert_memory_equal(result.o + r * heads * size, expected.o + (head * n + r) * size,
                                    (size_t)size * sizeof(float));
                assert_true(result.lse[r] == expected.lse[head * n + r]);
            }
        }
        part_destroy(&expected);
        split_destroy(&s);
    }
}

/* A sink added once, after merging, head by head. */
static void test_sink(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < (uint64_t)path_cases(100); seed++) {
        struct split s = split_create(seed);
        struct random random = {seed};
        int64_t n = s.whole->args.queries, size = s.problem.head_size_v, heads = s.problem.heads;
        float *sinks = need((size_t)heads, sizeof(float));
        s.lse_with_sink = need((size_t)rows_of(&s), sizeof(float));
        for (int64_t h = 0; h < heads; h++)
            sinks[h] = (float)(3 * random_normal(&random));
        run_parts(&s);
        merge(&s, s.parts);
        for (int64_t head = 0; head < s.whole->args.batch * heads; head++) {
            attn_part rows = {.o = s.merged.o + head * n * size,
                              .o_stride = size,
                              .lse = s.merged.lse + head * n};
            assert_int_equal(attn_merge_sink(&rows, sinks[head % heads], s.lse_with_sink + head * n,
                                             n, size, NULL),
                             ATTN_OK);
        }
        s.sinks = sinks;
        check(&s, seed);
        free(sinks);
        free(s.lse_with_sink);
        split_destroy(&s);
    }
}

/* attn_run with sinks is one part and its sink: the merge of no more than that, to a few roundings of what
 * the call without sinks gives. */
static void test_sink_of_the_run(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < (uint64_t)path_cases(60); seed++) {
        struct split s = split_create(seed);
        struct random random = {seed};
        int64_t n = s.whole->args.queries, size = s.problem.head_size_v, rows = rows_of(&s);
        attn_part plain = part_create(rows, size), with = part_create(rows, size);
        float *sinks = need((size_t)s.problem.heads, sizeof(float));
        for (int64_t h = 0; h < s.problem.heads; h++)
            sinks[h] = (float)(3 * random_normal(&random));
        attn_problem problem = s.whole->problem;
        attn_args args = s.whole->args;
        args.o = plain.o;
        args.lse = plain.lse;
        assert_int_equal(attn_forward(&problem, &args, NULL, NULL), ATTN_OK);
        problem.sinks = true;
        args.sinks = sinks;
        args.o = with.o;
        args.lse = with.lse;
        args.lse_with_sink = with.entropy;
        assert_int_equal(attn_forward(&problem, &args, NULL, NULL), ATTN_OK);
        for (int64_t r = 0; r < rows; r++) {
            /* lse is rounded to f32 on one side and not on the other: u |lse| in the exponent */
            double lse, share = attn_ref_sink((double)plain.lse[r],
                                              (double)sinks[r / n % s.problem.heads], &lse);
            double grow = isfinite(plain.lse[r]) ? expm1(2 * u * fabs((double)plain.lse[r])) : 0;
            assert_true(with.lse[r] == plain.lse[r]);
            near((double)with.entropy[r], lse, grow, "lse with sink", seed);
            for (int64_t d = 0; d < size; d++) {
                double o = share * (double)plain.o[r * size + d];
                near((double)with.o[r * size + d], o, fabs(o) * (grow + 6 * u), "o", seed);
            }
        }
        part_destroy(&plain);
        part_destroy(&with);
        free(sinks);
        split_destroy(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_strided),
        cmocka_unit_test(test_sink),
        cmocka_unit_test(test_sink_of_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
