/* attn_rotary_apply: against the specification in every layout and dtype, and the properties that make a
 * rotary embedding one.
 *
 * The bound of an element. u = 2^-24, e = 2^-53, (x, y) the pair, F the length factor, a the angle. The
 * frequency errs by 16 e (1 + 24 factor) relative (test_frequencies.c), the angle with it; products and
 * cosines of double add 16 e: a table entry errs by F (a 16 e (2 + 24 factor) + 16 e + u), the last for its
 * rounding. Two products and a sum of f32 add 2 u (|x| + |y|) F. A narrower result is rounded once more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "attention/orders.h"
#include "attn_ref_rotary.h"
#include "rotary/tensor.h"
#include "support/thread_executor.h"

#include <cmocka.h>

static const double u = 0x1p-24, e = 0x1p-53;

static double rounding(attn_dtype dtype, double size)
{
    if (dtype == ATTN_F32)
        return 0;
    return dtype == ATTN_BF16 ? size * 0x1p-8 + 0x1p-134 : size * 0x1p-11 + 0x1p-25;
}

/* Of both members of pair m, before the last rounding. */
static double pair_bound(const attn_rotary *r, const double *x, int64_t pair, int64_t position)
{
    int64_t at[2];
    attn_ref_rotary_pair(r, pair, at);
    double size = (fabs(x[at[0]]) + fabs(x[at[1]])) * attn_ref_rotary_length_factor(r);
    double angle = fabs((double)position * attn_ref_rotary_frequency(r, pair));
    return size * (3.01 * u + 16 * e + angle * 16 * e * (2 + 24 * r->factor)) + 4 * 0x1p-149;
}

struct call {
    attn_rotary rotary;
    struct tensor4 x, to; /* to.block == x.block: in place */
    int64_t *positions;   /* [batch * length] or NULL */
};

static attn_status run(struct call *c, const attn_executor *executor)
{
    attn_error error;
    attn_status status =
        attn_rotary_apply(&c->rotary, c->x.extent[0], c->x.extent[1], c->x.extent[2],
                          c->x.extent[3], tensor_pointer(&c->x), &c->x.layout,
                          tensor_pointer(&c->to), &c->to.layout, c->positions, executor, &error);
    if (status)
        fail_msg("%s", error.message);
    return status;
}

static int64_t position(const struct call *c, int64_t b, int64_t n)
{
    return c->positions ? c->positions[b * c->x.extent[2] + n] : n;
}

static void check_row(const struct call *c, const double *x, int64_t b, int64_t h, int64_t n)
{
    int64_t head_size = c->to.extent[3], half = c->rotary.size / 2, at = position(c, b, n);
    double *y = need((size_t)head_size, sizeof *y), *bound = need((size_t)head_size, sizeof *bound);
    attn_ref_rotary_row(&c->rotary, head_size, at, x, y);
    for (int64_t d = 0; d < head_size; d++)
        bound[d] = 0;
    for (int64_t m = 0; m < half; m++) {
        int64_t pair[2];
        attn_ref_rotary_pair(&c->rotary, m, pair);
        bound[pair[0]] = bound[pair[1]] = pair_bound(&c->rotary, x, m, at);
    }
    for (int64_t d = 0; d < head_size; d++) {
        double got = tensor_value(&c->to, tensor_at(&c->to, b, h, n, d));
        double most = bound[d] + rounding(c->to.layout.dtype, fabs(y[d]) + bound[d]);
        if (!(fabs(got - y[d]) <= most))
            fail_msg("(%d, %d, %d, %d) at position %lld: %.9g, expected %.9g within %.3g", (int)b,
                     (int)h, (int)n, (int)d, (long long)at, got, y[d], most);
    }
    free(y);
    free(bound);
}

/* The rows of x as they were, since a call in place loses them. */
static double *keep_rows(const struct tensor4 *x)
{
    size_t count = (size_t)(x->extent[0] * x->extent[1] * x->extent[2] * x->extent[3]), i = 0;
    double *rows = need(count, sizeof *rows);
    TENSOR_ROWS(x, b, h, n)
    for (int64_t d = 0; d < x->extent[3]; d++)
        rows[i++] = tensor_value(x, tensor_at(x, b, h, n, d));
    return rows;
}

static attn_dtype any_dtype(struct random *random)
{
    return (attn_dtype)random_between(random, ATTN_F32, ATTN_F16);
}

static struct call random_call(struct random *random, bool in_place)
{
    int64_t batch = random_between(random, 1, 3), heads = random_between(random, 1, 4);
    int64_t length = random_chance(random, 0.2) ? random_between(random, 60, 140)
                                                : random_between(random, 1, 10);
    int64_t size = 2 * random_between(random, 1, random_chance(random, 0.1) ? 300 : 40);
    int64_t head = size + (random_chance(random, 0.5) ? random_between(random, 0, 30) : 0);
    struct call c = {.rotary = random_rotary(random, size)};
    c.x = tensor_create(
        random_layout(random, any_dtype(random), batch, heads, length, head, !in_place), batch,
        heads, length, head);
    c.to = in_place ? c.x
                    : tensor_create(random_layout(random, any_dtype(random), batch, heads, length,
                                                  head, false),
                                    batch, heads, length, head);
    tensor_fill(&c.x, random);
    if (random_chance(random, 0.6)) {
        int64_t far = INT64_C(1) << random_between(random, 1, 24);
        c.positions = need((size_t)(batch * length), sizeof *c.positions);
        for (int64_t i = 0; i < batch * length; i++)
            c.positions[i] = random_between(random, -far, far);
    }
    return c;
}

static void destroy(struct call *c)
{
    if (c->to.block != c->x.block)
        free(c->to.block);
    free(c->x.block);
    free(c->positions);
}

static void test_specification(void **state)
{
    (void)state;
    attn_executor *threads = thread_executor_create(3, 7);
    for (uint64_t seed = 0; seed < 1500; seed++) {
        struct random random = {seed};
        struct call c = random_call(&random, seed % 3 == 0);
        double *rows = keep_rows(&c.x), *row = rows;
        run(&c, seed % 16 == 0 ? threads : NULL);
        TENSOR_ROWS(&c.x, b, h, n)
        {
            check_row(&c, row, b, h, n);
            row += c.x.extent[3];
        }
        if (tensor_spilt(&c.to))
            fail_msg("seed %d: written between the elements of the output", (int)seed);
        free(rows);
        destroy(&c);
    }
    thread_executor_destroy(threads);
}

/* ---- properties ---- */

enum { D = 64 };

static void turn(const attn_rotary *r, const float *x, float *y, int64_t at)
{
    attn_layout layout = attn_layout_bhsd(ATTN_F32, 1, 1, D);
    assert_int_equal(attn_rotary_apply(r, 1, 1, 1, D, x, &layout, y, &layout, &at, NULL, NULL),
                     ATTN_OK);
}

static void normal(float *x, struct random *random)
{
    for (int d = 0; d < D; d++)
        x[d] = (float)random_normal(random);
}

/* The bound of every channel of a row of D that turns whole. */
static void bounds(const attn_rotary *r, const float *x, int64_t at, double *bound)
{
    double wide[D];
    for (int d = 0; d < D; d++)
        wide[d] = (double)x[d];
    for (int64_t m = 0; m < D / 2; m++) {
        int64_t pair[2];
        attn_ref_rotary_pair(r, m, pair);
        bound[pair[0]] = bound[pair[1]] = pair_bound(r, wide, m, at);
    }
}

struct dot {
    double value, bound;
};

static struct dot turned_dot(const attn_rotary *r, const float *q, int64_t q_at, const float *k,
                             int64_t k_at)
{
    float q_turned[D], k_turned[D];
    double q_bound[D], k_bound[D];
    turn(r, q, q_turned, q_at);
    turn(r, k, k_turned, k_at);
    bounds(r, q, q_at, q_bound);
    bounds(r, k, k_at, k_bound);
    struct dot dot = {0, 0};
    for (int d = 0; d < D; d++) {
        dot.value += (double)q_turned[d] * (double)k_turned[d];
        dot.bound += fabs((double)q_turned[d]) * k_bound[d] +
                     fabs((double)k_turned[d]) * q_bound[d] + q_bound[d] * k_bound[d];
    }
    return dot;
}

/* What it is for: q.k knows the difference of positions and nothing else. */
static void test_relative(void **state)
{
    (void)state;
    struct random random = {11};
    double least = INFINITY;
    for (int trial = 0; trial < 300; trial++) {
        attn_rotary r = random_rotary(&random, D);
        float q[D], k[D];
        normal(q, &random);
        normal(k, &random);
        int64_t distance = random_between(&random, -500, 500);
        int64_t shift = random_between(&random, -100000, 100000);
        struct dot here = turned_dot(&r, q, distance, k, 0);
        struct dot there = turned_dot(&r, q, distance + shift, k, shift);
        struct dot other = turned_dot(&r, q, distance + 1, k, 0);
        if (!(fabs(here.value - there.value) <= here.bound + there.bound))
            fail_msg("trial %d: %.9g and %.9g, bound %.3g", trial, here.value, there.value,
                     here.bound + there.bound);
        least = fmin(least, fabs(here.value - other.value) / here.bound);
    }
    assert_true(least > 10); /* and the difference does matter */
}

/* Turning back by -position gives x times the factor twice. */
static void test_inverse(void **state)
{
    (void)state;
    struct random random = {12};
    for (int trial = 0; trial < 300; trial++) {
        attn_rotary r = random_rotary(&random, D);
        double factor = attn_ref_rotary_length_factor(&r), first[D], second[D];
        float x[D], y[D], back[D];
        normal(x, &random);
        int64_t at = random_between(&random, -100000, 100000);
        turn(&r, x, y, at);
        turn(&r, y, back, -at);
        bounds(&r, x, at, first);
        bounds(&r, y, -at, second);
        for (int64_t m = 0; m < D / 2; m++) {
            int64_t pair[2];
            attn_ref_rotary_pair(&r, m, pair);
            for (int i = 0; i < 2; i++) {
                int64_t d = pair[i];
                double passed = factor * (first[pair[0]] + first[pair[1]]) + second[d];
                assert_true(fabs((double)back[d] - factor * factor * (double)x[d]) <= passed);
            }
        }
    }
}

/* The pairings are one thing in two orders of channels. */
static void test_pairings(void **state)
{
    (void)state;
    struct random random = {13};
    for (int trial = 0; trial < 200; trial++) {
        attn_rotary r = random_rotary(&random, D);
        float x[D], y[D], x_other[D], y_other[D];
        double bound[D];
        normal(x, &random);
        int64_t at = random_between(&random, -5000, 5000);
        r.pairing = ATTN_ROTARY_HALVES;
        turn(&r, x, y, at);
        bounds(&r, x, at, bound);
        for (int m = 0; m < D / 2; m++) {
            x_other[2 * m] = x[m];
            x_other[2 * m + 1] = x[m + D / 2];
        }
        r.pairing = ATTN_ROTARY_NEIGHBOURS;
        turn(&r, x_other, y_other, at);
        for (int m = 0; m < D / 2; m++) {
            assert_true(fabs((double)y[m] - (double)y_other[2 * m]) <= 2 * bound[m]);
            assert_true(fabs((double)y[m + D / 2] - (double)y_other[2 * m + 1]) <= 2 * bound[m]);
        }
    }
}

/* ---- exact promises ---- */

static void test_exact(void **state)
{
    (void)state;
    struct random random = {14};
    float x[D], y[D];
    normal(x, &random);
    attn_rotary r = attn_rotary_init(D);
    turn(&r, x, y, 0);
    assert_memory_equal(x, y, sizeof x); /* position 0 turns nothing */
    float never[D / 2];
    for (int m = 0; m < D / 2; m++)
        never[m] = INFINITY;
    r.frequency_divisors = never;
    turn(&r, x, y, INT64_MAX);
    assert_memory_equal(x, y, sizeof x);
    /* the farthest positions are still angles */
    r.frequency_divisors = NULL;
    const int64_t far[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX, -1, -64, -65};
    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
        turn(&r, x, y, far[i]);
        for (int m = 0; m < D / 2; m++) {
            double before = hypot((double)x[m], (double)x[m + D / 2]);
            double after = hypot((double)y[m], (double)y[m + D / 2]);
            assert_true(fabs(after - before) <= before * 8 * u); /* lengths stay */
        }
    }
}

/* Channels that do not turn keep their bits, in each dtype: a conversion would quieten these NaNs. */
static void test_rest_is_copied(void **state)
{
    (void)state;
    for (int dtype = ATTN_F32; dtype <= ATTN_F16; dtype++) {
        attn_layout layout = attn_layout_bhsd((attn_dtype)dtype, 1, 1, 24);
        struct tensor4 x = tensor_create(layout, 1, 1, 1, 24),
                       y = tensor_create(layout, 1, 1, 1, 24);
        struct random random = {15};
        tensor_fill(&x, &random);
        const uint16_t signalling = dtype == ATTN_F16 ? 0x7c01 : 0x7f81;
        for (size_t i = 16 * x.size; i < 24 * x.size; i += 2)
            memcpy(x.block + i, &signalling, sizeof signalling);
        struct call c = {attn_rotary_init(16), x, y, NULL};
        run(&c, NULL);
        assert_memory_equal(x.block + 16 * x.size, y.block + 16 * x.size, 8 * x.size);
        free(x.block);
        free(y.block);
    }
}

/* The same bits by any executor, in place or not, from a table or not, alone or in a batch. */
static void test_bits(void **state)
{
    (void)state;
    struct random random = {16};
    for (int trial = 0; trial < 40; trial++) {
        int64_t batch = 2, heads = 3, length = 150, head = 40;
        attn_dtype dtype = any_dtype(&random);
        attn_layout layout = attn_layout_bshd(dtype, heads, length, head);
        struct call c = {.rotary = random_rotary(&random, 32),
                         .x = tensor_create(layout, batch, heads, length, head),
                         .to = tensor_create(layout, batch, heads, length, head)};
        size_t bytes = c.x.elements * c.x.size;
        tensor_fill(&c.x, &random);
        run(&c, NULL);
        unsigned char *expected = need(bytes, 1);
        memcpy(expected, c.to.block, bytes);

        struct ordered_executor ordered;
        ordered_executor_init(&ordered, ORDER_RANDOM, 5, (uint64_t)trial);
        attn_executor *threads = thread_executor_create(4, (uint64_t)trial + 1);
        const attn_executor *executors[] = {&ordered.executor, threads, attn_default_executor()};
        int64_t *table = need((size_t)(batch * length), sizeof *table);
        for (int64_t i = 0; i < batch * length; i++)
            table[i] = i % length;
        for (int i = 0; i < 6; i++) {
            memset(c.to.block, 0, bytes);
            c.positions = i < 3 ? NULL : table;
            run(&c, executors[i % 3]);
            assert_memory_equal(c.to.block, expected, bytes);
        }
        for (int i = 0; i < 20; i++) { /* one row alone, as a decode step has it */
            int64_t b = random_between(&random, 0, batch - 1), n = random_between(&random, 0, 149);
            int64_t h = random_between(&random, 0, heads - 1), at = tensor_at(&c.x, b, h, n, 0);
            unsigned char alone[40 * 4];
            assert_int_equal(attn_rotary_apply(&c.rotary, 1, 1, 1, head,
                                               c.x.block + (size_t)at * c.x.size, &layout, alone,
                                               &layout, &n, NULL, NULL),
                             ATTN_OK);
            assert_memory_equal(alone, expected + (size_t)at * c.x.size, (size_t)head * c.x.size);
        }
        free(c.to.block);
        c.to = c.x;
        run(&c, threads);
        assert_memory_equal(c.x.block, expected, bytes);
        thread_executor_destroy(threads);
        free(expected);
        destroy(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specification),  cmocka_unit_test(test_relative),
        cmocka_unit_test(test_inverse),        cmocka_unit_test(test_pairings),
        cmocka_unit_test(test_exact),          cmocka_unit_test(test_bits),
        cmocka_unit_test(test_rest_is_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
