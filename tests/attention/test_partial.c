/* Unnormalised results: o = sum e^(s - reference) v with the row's reference and sum.
 *
 * One run gives both forms of the same internals, so they are held to each other by a few roundings
 * (u = 2^-24): o / sum against the normalised o, within 4 u of itself (o and sum each rounded once after a
 * factor that is rounded too, 1 / sum and its product on the other side: 5 u with first order kept);
 * reference + ln sum against lse within u (|lse| + 2).
 *
 * Parts of the keys added up by hand in double, o = sum_p e^(r_p - R) o_p / sum_p e^(r_p - R) sum_p, are
 * held to attn_merge of the normalised parts, which test_merge_split holds to the specification: its
 * weights come from rounded lse's, each by u |lse| off, so w_p by expm1(2 u L), L = max |lse|. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "attention/guarded.h"
#include "attention/path.h"
#include "attention/random.h"
#include "attn/merge.h"
#include "attn/scores.h"
#include "attn/stats.h"

#include <cmocka.h>

enum {
    HEADS = 4,
    QUERIES = 37,
    KEYS = 611,
    SIZE = 24,
    SIZE_V = 19,
    ROWS = HEADS * QUERIES,
    PARTS = 4
};

static const double u = 0x1p-24;

struct inputs {
    attn_problem problem;
    float *q, *k, *v;
    float sinks[HEADS];
};

struct result {
    float o[ROWS * SIZE_V], lse[ROWS], reference[ROWS], sum[ROWS];
};

static float *normal(struct random *random, int64_t count, double spread)
{
    float *x = need((size_t)count, sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(spread * random_normal(random));
    return x;
}

static struct inputs inputs_create(uint64_t seed, double spread)
{
    struct random random = {seed};
    struct inputs in = {.problem = attn_problem_init(1, HEADS, 2, QUERIES, KEYS, SIZE)};
    attn_problem *p = &in.problem;
    p->head_size_v = SIZE_V;
    p->v = attn_layout_bhsd(ATTN_F32, 2, KEYS, SIZE_V);
    p->o = attn_layout_bhsd(ATTN_F32, HEADS, QUERIES, SIZE_V);
    in.q = normal(&random, ROWS * SIZE, spread);
    in.k = normal(&random, 2 * KEYS * SIZE, spread);
    in.v = normal(&random, 2 * KEYS * SIZE_V, 1);
    for (int h = 0; h < HEADS; h++)
        in.sinks[h] = (float)h;
    return in;
}

static void inputs_destroy(struct inputs *in)
{
    free(in->q);
    free(in->k);
    free(in->v);
}

/* Keys [begin, end) of the inputs; positions are those of the whole. */
static struct result *run(const struct inputs *in, bool unnormalised, int64_t begin, int64_t end)
{
    struct result *r = need(1, sizeof *r);
    attn_problem problem = in->problem;
    problem.unnormalised = unnormalised;
    problem.alignment = ATTN_OFFSET;
    attn_args args = attn_args_init(&problem);
    int64_t offset = KEYS - QUERIES - begin;
    args.query_offset = &offset;
    args.keys = end - begin;
    args.q = in->q;
    args.k = in->k + begin * SIZE;
    args.v = in->v + begin * SIZE_V;
    args.o = r->o;
    args.lse = r->lse;
    args.sinks = problem.sinks ? in->sinks : NULL;
    args.reference = unnormalised ? r->reference : NULL;
    args.sum = unnormalised ? r->sum : NULL;
    attn_error error;
    if (attn_forward(&problem, &args, NULL, &error))
        fail_msg("%s", error.message);
    return r;
}

static void near(double got, double want, double bound, const char *what, int64_t at)
{
    if (!(fabs(got - want) <= bound))
        fail_msg("%s %d: %.9g, expected %.9g within %.3g", what, (int)at, got, want, bound);
}

/* Both forms of one run; a window leaves some rows without keys. */
static void test_both_forms(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        struct inputs in = inputs_create(seed, seed % 3 == 2 ? 4 : 1);
        in.problem.causal = seed % 2 == 0;
        if (seed % 4 == 1)
            in.problem.window = (attn_window){3, -1, 0};
        int64_t begin = seed % 4 == 0 ? KEYS - 20 : 0; /* then the first rows see nothing */
        struct result *plain = run(&in, false, begin, KEYS), *raw = run(&in, true, begin, KEYS);
        int empty = 0;
        for (int64_t row = 0; row < ROWS; row++) {
            double lse = (double)plain->lse[row], sum = (double)raw->sum[row];
            assert_true(plain->lse[row] == raw->lse[row]);
            if (plain->lse[row] == -INFINITY) {
                empty++;
                assert_true(raw->reference[row] == -INFINITY && raw->sum[row] == 0);
                for (int c = 0; c < SIZE_V; c++)
                    assert_true(raw->o[row * SIZE_V + c] == 0);
                continue;
            }
            near((double)raw->reference[row] + log(sum), lse, u * (fabs(lse) + 2), "lse", row);
            for (int c = 0; c < SIZE_V; c++) {
                double o = (double)plain->o[row * SIZE_V + c];
                near((double)raw->o[row * SIZE_V + c] / sum, o, 5 * u * fabs(o) + 0x1p-149, "o",
                     row);
            }
        }
        assert_int_equal(empty > 0, seed % 4 == 0);
        free(plain);
        free(raw);
        inputs_destroy(&in);
    }
}

/* What the header says of the reference: no score is more than 8 ln 2 above it, so no term of the sum is
 * more than 2^8; and some score reaches or passes it, or the row would not have met it: sum >= 1 (each to
 * the roundings of a score near 100: 1e-3 is plenty). */
static void test_reference(void **state)
{
    (void)state;
    struct inputs in = inputs_create(5, 4);
    attn_statistics_wanted wanted = attn_statistics_wanted_init(ATTN_STAT_MAX_SCORE);
    in.problem.statistics = &wanted;
    in.problem.unnormalised = true;
    attn_args args = attn_args_init(&in.problem);
    struct result *r = need(1, sizeof *r);
    float *most = need(ROWS, sizeof *most);
    attn_statistics statistics = attn_statistics_init();
    statistics.max_score = most;
    args.q = in.q, args.k = in.k, args.v = in.v, args.o = r->o;
    args.reference = r->reference;
    args.sum = r->sum;
    args.statistics = &statistics;
    assert_int_equal(attn_forward(&in.problem, &args, NULL, NULL), ATTN_OK);
    for (int64_t row = 0; row < ROWS; row++) {
        double above = (double)most[row] - (double)r->reference[row];
        assert_true(-1e-3 <= above && above <= 8 * log(2) + 1e-3);
        assert_true(r->sum[row] >= 0.999f);
    }
    free(most);
    free(r);
    inputs_destroy(&in);
}

static void add_by_hand(struct result *const parts[PARTS], double o[ROWS * SIZE_V])
{
    for (int64_t row = 0; row < ROWS; row++) {
        double most = -INFINITY, sum = 0;
        for (int p = 0; p < PARTS; p++)
            most = fmax(most, (double)parts[p]->reference[row]);
        for (int p = 0; p < PARTS && most > -INFINITY; p++) {
            double factor = exp((double)parts[p]->reference[row] - most);
            sum += factor * (double)parts[p]->sum[row];
            for (int c = 0; c < SIZE_V; c++)
                o[row * SIZE_V + c] += factor * (double)parts[p]->o[row * SIZE_V + c];
        }
        for (int c = 0; c < SIZE_V && sum > 0; c++)
            o[row * SIZE_V + c] /= sum;
    }
}

static void test_parts(void **state)
{
    (void)state;
    static const int64_t borders[PARTS + 1] = {0, 150, 150, 590, KEYS}; /* one part of no key */
    for (uint64_t seed = 20; seed < 26; seed++) {
        struct inputs in = inputs_create(seed, seed % 2 ? 3 : 1);
        in.problem.causal = seed % 3 == 0;
        struct result *plain[PARTS], *raw[PARTS], *merged = need(1, sizeof *merged);
        attn_part part[PARTS];
        for (int p = 0; p < PARTS; p++) {
            plain[p] = run(&in, false, borders[p], borders[p + 1]);
            raw[p] = run(&in, true, borders[p], borders[p + 1]);
            part[p] = (attn_part){.o = plain[p]->o, .o_stride = SIZE_V, .lse = plain[p]->lse};
        }
        attn_part whole = {.o = merged->o, .o_stride = SIZE_V, .lse = merged->lse};
        assert_int_equal(attn_merge(&whole, part, PARTS, ROWS, SIZE_V, NULL, NULL), ATTN_OK);
        double *o = need(ROWS * SIZE_V, sizeof *o);
        memset(o, 0, ROWS * SIZE_V * sizeof *o);
        add_by_hand(raw, o);
        for (int64_t row = 0; row < ROWS; row++) {
            double largest = 0;
            for (int p = 0; p < PARTS; p++)
                if (isfinite(plain[p]->lse[row]))
                    largest = fmax(largest, fabs((double)plain[p]->lse[row]));
            for (int c = 0; c < SIZE_V; c++) {
                double size = 0; /* sum w_p |o_p| */
                for (int p = 0; p < PARTS; p++)
                    size += exp((double)plain[p]->lse[row] - (double)merged->lse[row]) *
                            fabs((double)plain[p]->o[row * SIZE_V + c]);
                near((double)merged->o[row * SIZE_V + c], o[row * SIZE_V + c],
                     (expm1(2 * u * largest) + 7 * u) * size, "o", row);
            }
        }
        for (int p = 0; p < PARTS; p++) {
            free(plain[p]);
            free(raw[p]);
        }
        free(merged);
        free(o);
        inputs_destroy(&in);
    }
}

/* A sink is told by lse_with_sink and leaves o, reference and sum alone. */
static void test_sinks(void **state)
{
    (void)state;
    struct inputs in = inputs_create(7, 1);
    struct result *without = run(&in, true, 0, KEYS);
    in.problem.sinks = true;
    struct result *with = run(&in, true, 0, KEYS);
    assert_memory_equal(without, with, sizeof *with);
    free(without);
    free(with);
    inputs_destroy(&in);
}

static void test_errors(void **state)
{
    (void)state;
    struct inputs in = inputs_create(1, 1);
    attn_error error;
    attn_plan *plan;
    attn_problem half = in.problem;
    half.unnormalised = true;
    half.q.dtype = half.k.dtype = half.v.dtype = half.o.dtype = ATTN_F16;
    assert_int_equal(attn_plan_create(&plan, &half, &error), ATTN_ERR_DTYPE);
    assert_non_null(strstr(error.message, "problem.o.dtype"));
    half.o.dtype = ATTN_F32;
    assert_int_equal(attn_plan_create(&plan, &half, &error), ATTN_OK);
    attn_plan_destroy(plan);

    struct result *r = need(1, sizeof *r);
    attn_problem problem = in.problem;
    attn_args args = attn_args_init(&problem);
    args.q = in.q, args.k = in.k, args.v = in.v, args.o = r->o;
    args.reference = r->reference;
    assert_int_equal(attn_forward(&problem, &args, NULL, &error), ATTN_ERR_VALUE);
    problem.unnormalised = true;
    assert_int_equal(attn_forward(&problem, &args, NULL, &error), ATTN_ERR_NULL);
    assert_non_null(strstr(error.message, "args.sum"));
    args.sum = r->sum;
    assert_int_equal(attn_forward(&problem, &args, NULL, &error), ATTN_OK);
    free(r);
    inputs_destroy(&in);
}

/* Scores so large that their rounding is more than f32's exponent can tell: sums and outputs stay within
 * [1, n 2^8] weights of the reference, and lse is still told by them. */
static void test_giant_scores(void **state)
{
    (void)state;
    for (int power = 2; power <= 18; power++) {
        struct inputs in = inputs_create((uint64_t)power, ldexp(1, 3 * power));
        struct result *raw = run(&in, true, 0, KEYS);
        for (int64_t row = 0; row < ROWS; row++) {
            double sum = (double)raw->sum[row], lse = (double)raw->lse[row];
            assert_true(sum > 0.5 && sum < 256.0 * KEYS);
            near((double)raw->reference[row] + log(sum), lse, u * (fabs(lse) + 2), "lse", row);
            for (int c = 0; c < SIZE_V; c++)
                assert_true(isfinite(raw->o[row * SIZE_V + c]));
        }
        free(raw);
        inputs_destroy(&in);
    }
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_giant_scores), cmocka_unit_test(test_both_forms),
        cmocka_unit_test(test_reference),    cmocka_unit_test(test_parts),
        cmocka_unit_test(test_sinks),        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
