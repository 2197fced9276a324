/* attn_merge and attn_merge_sink on parts made up by chance: against the specification, what NaN and
 * infinities do, equal bits, and what is refused. test_merge_split.c merges parts of real attention.
 *
 * Bounds. u = 2^-24, e = 2^-53. The library works in double as the specification does, so the two differ by
 * the order of operations: a weight by its exponent, which is below 746 where the weight is not 0, hence by
 * 746 * 4 e < 2^-41 relative; sums over at most 64 parts by 64 e more: 2^-40 of the sum of magnitudes. lse
 * itself errs by 2^-50 (|lse| + 1). The result is rounded to f32 once, u of its size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "attention/guarded.h"
#include "attention/orders.h"
#include "attention/random.h"
#include "attn_ref_merge.h"
#include "support/thread_executor.h"

#include <cmocka.h>

enum { ARRAYS = 5, MOST_PARTS = 64 }; /* o, lse, entropy, varentropy, max_weight */

static const double u = 0x1p-24;

struct merging {
    int64_t count, rows, size;
    attn_part parts[MOST_PARTS], result;
    struct guarded out[ARRAYS];
};

static float *floats(int64_t count)
{
    return need((size_t)count, sizeof(float));
}

static void fill(float *array, int64_t count, struct random *random, double spread, bool positive)
{
    for (int64_t i = 0; i < count; i++) {
        double x = spread * random_normal(random);
        array[i] = (float)(positive ? fabs(x) : x);
    }
}

/* One part; `spread` is that of its lse. Some rows saw no key, and hold what nobody may read. */
static attn_part random_part(const struct merging *m, struct random *random, double spread)
{
    attn_part part = {.o_stride = m->size + random_between(random, 0, 3)};
    part.o = floats(m->rows * part.o_stride);
    part.lse = floats(m->rows);
    part.entropy = floats(m->rows);
    part.varentropy = floats(m->rows);
    part.max_weight = floats(m->rows);
    fill(part.o, m->rows * part.o_stride, random, 1, false);
    fill(part.lse, m->rows, random, spread, false);
    fill(part.entropy, m->rows, random, 3, true);
    fill(part.varentropy, m->rows, random, 2, true);
    for (int64_t r = 0; r < m->rows; r++) {
        part.max_weight[r] = (float)random_unit(random);
        if (random_chance(random, 0.2)) {
            part.lse[r] = -INFINITY;
            part.entropy[r] = part.varentropy[r] = part.max_weight[r] = NAN;
            part.o[r * part.o_stride] = NAN;
        }
    }
    return part;
}

/* The result's arrays between guards; channels between the rows of o belong to nobody. */
static void make_result(struct merging *m, struct random *random)
{
    const char *names[ARRAYS] = {"o", "lse", "entropy", "varentropy", "max_weight"};
    int64_t stride = m->size + random_between(random, 0, 2);
    for (int i = 0; i < ARRAYS; i++)
        m->out[i] = guarded_create(names[i], (size_t)(m->rows * (i == 0 ? stride : 1)));
    m->out[0].writable = need((size_t)(m->rows * stride), sizeof(bool));
    for (int64_t i = 0; i < m->rows * stride; i++)
        m->out[0].writable[i] = i % stride < m->size;
    float *arrays[ARRAYS];
    for (int i = 0; i < ARRAYS; i++) {
        m->out[i].ignored = i != 1 && random_chance(random, 0.25);
        arrays[i] = m->out[i].ignored ? NULL : (float *)m->out[i].data;
    }
    m->result = (attn_part){arrays[0], stride, arrays[1], arrays[2], arrays[3], arrays[4]};
}

static struct merging random_merging(struct random *random, int64_t count)
{
    struct merging m = {.count = count, .rows = random_between(random, 1, 9)};
    m.size = random_chance(random, 0.2) ? random_between(random, 200, 600)
                                        : random_between(random, 1, 40);
    const double spreads[] = {1, 30, 1000, 1e36};
    double spread = spreads[random_between(random, 0, 3)];
    for (int64_t p = 0; p < count; p++)
        m.parts[p] = random_part(&m, random, spread);
    make_result(&m, random);
    return m;
}

static void destroy(struct merging *m)
{
    for (int64_t p = 0; p < m->count; p++) {
        free(m->parts[p].o);
        free(m->parts[p].lse);
        free(m->parts[p].entropy);
        free(m->parts[p].varentropy);
        free(m->parts[p].max_weight);
    }
    for (int i = 0; i < ARRAYS; i++)
        guarded_destroy(&m->out[i]);
}

static void merge(const struct merging *m, const attn_executor *executor)
{
    attn_error error;
    if (attn_merge(&m->result, m->parts, m->count, m->rows, m->size, executor, &error))
        fail_msg("%s", error.message);
    assert_string_equal(error.message, "");
}

/* ---- against the specification ---- */

static void near(const float *array, int64_t at, double want, double slack, const char *name)
{
    if (!array)
        return;
    double bound = slack + u * (fabs(want) + slack) + 0x1p-149;
    double got = (double)array[at];
    if (want == -INFINITY ? got != want : !(fabs(got - want) <= bound))
        fail_msg("%s at %d is %.9g, expected %.9g within %.3g", name, (int)at, got, want, bound);
}

static void check_row(const struct merging *m, int64_t row)
{
    double weights[MOST_PARTS], o[600], sizes[600] = {0};
    attn_ref_merged want = attn_ref_merge_row(&m->result, m->parts, m->count, row, m->size,
                                              m->result.o ? o : NULL, weights);
    double lse_slack = 0x1p-50 * (fabs(want.lse) + 1), entropy = 0, varentropy = 0;
    for (int64_t p = 0; p < m->count; p++) {
        const attn_part *part = &m->parts[p];
        double lse = (double)part->lse[row];
        if (lse == -INFINITY)
            continue;
        double surprise = (double)part->entropy[row] + fabs(want.lse - lse);
        double off = (double)part->entropy[row] - want.entropy + want.lse - lse;
        entropy += weights[p] * surprise;
        varentropy += weights[p] * (0x1p-38 * ((double)part->varentropy[row] + off * off +
                                               fabs(off) * (surprise + want.entropy)) +
                                    16 * (fabs(off) + lse_slack) * lse_slack);
        for (int64_t d = 0; m->result.o && d < m->size; d++)
            sizes[d] += weights[p] * fabs((double)part->o[row * part->o_stride + d]);
    }
    near(m->result.lse, row, want.lse, lse_slack, "lse");
    near(m->result.entropy, row, want.entropy, 0x1p-40 * entropy + 2 * lse_slack, "entropy");
    near(m->result.varentropy, row, want.varentropy, varentropy, "varentropy");
    near(m->result.max_weight, row, want.max_weight, 0x1p-40 * want.max_weight, "max weight");
    for (int64_t d = 0; m->result.o && d < m->size; d++)
        near(m->result.o, row * m->result.o_stride + d, o[d], 0x1p-40 * sizes[d], "o");
}

static void check_guards(const struct merging *m)
{
    for (int i = 0; i < ARRAYS; i++) {
        size_t at;
        const char *fault = guarded_fault(&m->out[i], &at);
        if (fault)
            fail_msg("%s: %s at %d", m->out[i].name, fault, (int)at);
    }
}

static void test_specification(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        struct random random = {seed};
        struct merging m =
            random_merging(&random, seed % 20 == 0 ? random_between(&random, 8, MOST_PARTS)
                                                   : random_between(&random, 0, 7));
        merge(&m, NULL);
        check_guards(&m);
        for (int64_t row = 0; row < m.rows; row++)
            check_row(&m, row);
        destroy(&m);
    }
}

/* ---- values ---- */

/* Two parts of one row with every array, and the result of merging them. */
struct pair {
    float o[2][3], lse[2], entropy[2], varentropy[2], max_weight[2];
    float to[3], to_lse, to_entropy, to_varentropy, to_max_weight;
};

static struct pair pair_of(float lse_a, float lse_b)
{
    struct pair x = {.o = {{1, 2, 3}, {5, 6, 7}},
                     .lse = {lse_a, lse_b},
                     .entropy = {1, 2},
                     .varentropy = {0.5f, 0.25f},
                     .max_weight = {0.5f, 0.75f}};
    return x;
}

static void merge_pair(struct pair *x)
{
    attn_part parts[2];
    for (int i = 0; i < 2; i++)
        parts[i] = (attn_part){x->o[i],          3, &x->lse[i], &x->entropy[i], &x->varentropy[i],
                               &x->max_weight[i]};
    attn_part result = {x->to, 3, &x->to_lse, &x->to_entropy, &x->to_varentropy, &x->to_max_weight};
    assert_int_equal(attn_merge(&result, parts, 2, 1, 3, NULL, NULL), ATTN_OK);
}

static void test_closed_forms(void **state)
{
    (void)state;
    /* two parts of equal mass: halves, and one ln 2 more entropy */
    struct pair x = pair_of(7, 7);
    merge_pair(&x);
    assert_true(x.to[0] == 3 && x.to[1] == 4 && x.to[2] == 5);
    assert_true(fabs((double)x.to_lse - (7 + log(2))) <= 8 * u);
    assert_true(fabs((double)x.to_entropy - (1.5 + log(2))) <= 4 * u);
    assert_true(fabs((double)x.to_varentropy - (0.375 + 0.25)) <= u);
    assert_true(x.to_max_weight == 0.375f);
    /* so far apart that one is all: its very bits, however large the difference */
    const float far[][2] = {{-500, 300}, {-1e4f, 1e4f}, {-3e38f, 3e38f}, {-INFINITY, -3e38f}};
    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
        x = pair_of(far[i][0], far[i][1]);
        merge_pair(&x);
        assert_true(x.to[0] == 5 && x.to[1] == 6 && x.to[2] == 7);
        assert_true(x.to_lse == far[i][1] && x.to_entropy == 2 && x.to_varentropy == 0.25f);
        assert_true(x.to_max_weight == 0.75f);
    }
    x = pair_of(-INFINITY, -INFINITY);
    x.o[0][0] = x.entropy[1] = NAN;
    merge_pair(&x);
    assert_true(x.to[0] == 0 && x.to[1] == 0 && x.to_lse == -INFINITY);
    assert_true(x.to_entropy == 0 && x.to_varentropy == 0 && x.to_max_weight == 0);
}

/* NaN in one number reaches what depends on it, whichever part has it and however little that weighs. */
static void test_nan(void **state)
{
    (void)state;
    for (int part = 0; part < 2; part++)
        for (int light = 0; light < 2; light++) {
            float lse = light ? -2000 : 1;
            struct pair clean = pair_of(part == 0 ? lse : 1, part == 1 ? lse : 1);
            struct pair x = clean;
            x.o[part][1] = NAN;
            merge_pair(&x);
            assert_true(!isnan(x.to[0]) && isnan(x.to[1]) && !isnan(x.to[2]) && !isnan(x.to_lse));
            x = clean;
            x.entropy[part] = NAN;
            merge_pair(&x);
            assert_true(isnan(x.to_entropy) && isnan(x.to_varentropy) && !isnan(x.to[0]));
            x = clean;
            x.varentropy[part] = NAN;
            merge_pair(&x);
            assert_true(isnan(x.to_varentropy) && !isnan(x.to_entropy));
            x = clean;
            x.max_weight[part] = NAN;
            merge_pair(&x);
            assert_true(isnan(x.to_max_weight) && !isnan(x.to_entropy));
            for (int infinite = 0; infinite < 2; infinite++) {
                x = clean;
                x.lse[part] = infinite ? INFINITY : NAN;
                merge_pair(&x);
                assert_true(isnan(x.to[0]) && isnan(x.to_lse) && isnan(x.to_entropy));
                assert_true(isnan(x.to_varentropy) && isnan(x.to_max_weight));
                x = clean;
                x.lse[part] = infinite ? INFINITY : NAN;
                x.lse[1 - part] = -INFINITY;
                merge_pair(&x);
                assert_true(isnan(x.to[0]) && isnan(x.to_lse) && isnan(x.to_max_weight));
            }
        }
}

/* ---- equal bits ---- */

static size_t snapshot(const struct merging *m, const attn_part *of, float *to)
{
    size_t count = 0;
    const float *arrays[] = {of->lse, of->entropy, of->varentropy, of->max_weight};
    for (int64_t r = 0; r < m->rows; r++) {
        for (int64_t d = 0; d < m->size; d++)
            to[count++] = of->o[r * of->o_stride + d];
        for (int i = 0; i < 4; i++)
            to[count++] = arrays[i][r];
    }
    return count * sizeof(float);
}

/* Any executor; and the result in the place of any one part. */
static void test_bits(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct random random = {seed};
        struct merging m = {.count = seed % 4 == 0 ? 40 : 5, .rows = 700, .size = 33};
        for (int64_t p = 0; p < m.count; p++)
            m.parts[p] = random_part(&m, &random, 5);
        make_result(&m, &random);
        for (int i = 0; i < ARRAYS; i++)
            m.out[i].ignored = false;
        m.result =
            (attn_part){(float *)m.out[0].data, m.result.o_stride,      (float *)m.out[1].data,
                        (float *)m.out[2].data, (float *)m.out[3].data, (float *)m.out[4].data};
        size_t floats_count = (size_t)(m.rows * (m.size + 4));
        float *expected = need(floats_count, sizeof(float)),
              *got = need(floats_count, sizeof(float));
        merge(&m, NULL);
        size_t bytes = snapshot(&m, &m.result, expected);
        assert_int_equal(bytes, floats_count * sizeof(float));

        struct ordered_executor ordered;
        ordered_executor_init(&ordered, ORDER_RANDOM, 6, seed);
        attn_executor *threads = thread_executor_create(4, seed);
        const attn_executor *executors[] = {&ordered.executor, threads, attn_default_executor()};
        for (int i = 0; i < 3; i++) {
            for (int a = 0; a < ARRAYS; a++)
                guarded_reset(&m.out[a]);
            merge(&m, executors[i]);
            snapshot(&m, &m.result, got);
            assert_memory_equal(got, expected, bytes);
            check_guards(&m);
        }
        assert_true(ordered.tasks > 1);
        m.result = m.parts[seed % (uint64_t)m.count];
        merge(&m, threads);
        snapshot(&m, &m.result, got);
        assert_memory_equal(got, expected, bytes);
        thread_executor_destroy(threads);
        free(expected);
        free(got);
        destroy(&m);
    }
}

/* ---- what is refused ---- */

struct call {
    attn_part result, parts[2];
    const attn_part *result_given, *parts_given;
    int64_t count, rows, size;
    const attn_executor *executor;
};

static const attn_executor no_function = {.struct_size = sizeof no_function, .threads = 1};

#define FAULTS(F)                                                                                  \
    F(c->result_given = NULL, NULL, "result is NULL")                                              \
    F(c->parts_given = NULL, NULL, "parts is NULL")                                                \
    F(c->count = -1, SHAPE, "count is -1")                                                         \
    F(c->rows = -1, SHAPE, "rows is -1")                                                           \
    F(c->size = 0, SHAPE, "head_size_v is 0")                                                      \
    F(c->size = INT64_MAX, OVERFLOW, "head_size_v 9223372036854775807")                            \
    F(c->rows = INT64_MAX, OVERFLOW, "rows is 9223372036854775807")                                \
    F(c->result.lse = NULL, NULL, "result.lse is NULL")                                            \
    F(c->parts[1].lse = NULL, NULL, "parts[1].lse is NULL")                                        \
    F(c->parts[0].o = NULL, NULL, "parts[0].o is NULL")                                            \
    F(c->parts[1].entropy = NULL, NULL, "parts[1].entropy is NULL")                                \
    F((c->result.entropy = c->parts[0].entropy = NULL), NULL, "parts[0].entropy is NULL")          \
    F(c->parts[1].varentropy = NULL, NULL, "parts[1].varentropy is NULL")                          \
    F(c->parts[0].max_weight = NULL, NULL, "parts[0].max_weight is NULL")                          \
    F(c->result.o = odd(c->result.o), ALIGNMENT, "result.o is")                                    \
    F(c->result.max_weight = odd(c->result.lse), ALIGNMENT, "result.max_weight is")                \
    F(c->parts[1].lse = odd(c->result.lse), ALIGNMENT, "parts[1].lse is")                          \
    F(c->result.o_stride = 2, STRIDE, "result.o_stride is 2")                                      \
    F(c->result.o_stride = -3, STRIDE, "result.o_stride is -3")                                    \
    F((c->parts[1].o = c->result.o, c->parts[1].o_stride = 4), STRIDE, "parts[1].o is result.o")   \
    F(c->result.o_stride = INT64_MAX / 2, OVERFLOW, "result.o_stride is")                          \
    F(c->parts[0].o_stride = INT64_MIN, OVERFLOW, "parts[0].o_stride is")                          \
    F(c->executor = &no_function, EXECUTOR, "executor.parallel_for is NULL")

#define NAME_FAULT(change, code, text) {#change, ATTN_ERR_##code, text},
static const struct {
    const char *change;
    attn_status status;
    const char *text;
} faults[] = {FAULTS(NAME_FAULT)};

static float *odd(float *array)
{
    return (float *)(void *)((char *)array + 1);
}

static void break_it(struct call *c, size_t fault)
{
    size_t index = 0;
#define MAKE_FAULT(change, code, text)                                                             \
    if (index++ == fault)                                                                          \
        (void)(change);
    FAULTS(MAKE_FAULT)
}

static void test_errors(void **state)
{
    (void)state;
    static float to[7][4], from[2][7][4];
    for (size_t f = 0; f < sizeof faults / sizeof faults[0]; f++) {
        struct call c = {.count = 2, .rows = 2, .size = 3};
        c.result = (attn_part){to[0], 3, to[3], to[4], to[5], to[6]};
        for (int p = 0; p < 2; p++)
            c.parts[p] = (attn_part){from[p][0], 3, from[p][3], from[p][4], from[p][5], from[p][6]};
        c.result_given = &c.result;
        c.parts_given = c.parts;
        break_it(&c, f);
        memset(to, 0x5a, sizeof to);
        attn_error error;
        attn_status status =
            attn_merge(c.result_given, c.parts_given, c.count, c.rows, c.size, c.executor, &error);
        if (status != faults[f].status || error.status != status ||
            !strstr(error.message, faults[f].text))
            fail_msg("%s: %s, \"%s\"; expected %s and \"%s\"", faults[f].change,
                     attn_status_name(status), error.message, attn_status_name(faults[f].status),
                     faults[f].text);
        for (size_t i = 0; i < sizeof to; i++)
            assert_int_equal(((unsigned char *)to)[i], 0x5a);
    }
    /* nothing to do, and nothing to read */
    attn_part none = {0};
    assert_int_equal(attn_merge(&none, NULL, 0, 0, 1, NULL, NULL), ATTN_OK);
    assert_int_equal(attn_merge(&none, &none, 1, 0, 1, NULL, NULL), ATTN_OK);
    struct ordered_executor failing;
    ordered_executor_init(&failing, ORDER_FORWARD, 1, 1);
    failing.fail_at_launch = 1;
    attn_part lse_alone = {.lse = to[0]};
    assert_int_equal(attn_merge(&lse_alone, NULL, 0, 1, 1, &failing.executor, NULL),
                     ATTN_ERR_EXECUTOR);
}

/* ---- the sink ---- */

static void test_sink(void **state)
{
    (void)state;
    struct random random = {5};
    for (int trial = 0; trial < 3000; trial++) {
        float o[3][7], before[3][7], lse[3], with[3];
        double spread = random_chance(&random, 0.5) ? 3 : 300;
        for (int r = 0; r < 3; r++) {
            lse[r] =
                random_chance(&random, 0.1) ? -INFINITY : (float)(spread * random_normal(&random));
            for (int d = 0; d < 7; d++)
                o[r][d] = before[r][d] = (float)random_normal(&random);
        }
        float sink =
            random_chance(&random, 0.1) ? -INFINITY : (float)(spread * random_normal(&random));
        attn_part result = {.o = o[0], .o_stride = 7, .lse = lse};
        bool in_place = random_chance(&random, 0.3), lse_alone = random_chance(&random, 0.2);
        float keys[3];
        memcpy(keys, lse, sizeof lse);
        if (lse_alone)
            result.o = NULL;
        assert_int_equal(attn_merge_sink(&result, sink, in_place ? lse : with, 3, 5, NULL),
                         ATTN_OK);
        for (int r = 0; r < 3; r++) {
            double want_lse, p = attn_ref_sink((double)keys[r], (double)sink, &want_lse);
            near(in_place ? lse : with, r, want_lse, 0x1p-50 * (fabs(want_lse) + 1), "lse");
            for (int d = 0; d < 7; d++) {
                double want = d < 5 && !lse_alone ? p * (double)before[r][d] : (double)before[r][d];
                near(o[r], d, want, 0x1p-40 * fabs(want), "o");
            }
            if (!in_place)
                assert_true(lse[r] == keys[r]);
        }
    }
}

static void test_sink_values(void **state)
{
    (void)state;
    float o[2] = {1, 2}, lse = 3, with = 0;
    attn_part result = {.o = o, .o_stride = 2, .lse = &lse};
    attn_error error;
    assert_int_equal(attn_merge_sink(&result, -INFINITY, &with, 1, 2, &error), ATTN_OK);
    assert_true(o[0] == 1 && o[1] == 2 && with == 3); /* no sink at all */
    assert_int_equal(attn_merge_sink(&result, 3, NULL, 1, 2, &error), ATTN_OK);
    assert_true(o[0] == 0.5f && o[1] == 1);
    lse = -INFINITY;
    o[1] = NAN;
    assert_int_equal(attn_merge_sink(&result, 2, &with, 1, 2, &error), ATTN_OK);
    assert_true(o[0] == 0 && o[1] == 0 && with == 2);
    lse = NAN;
    o[0] = 1;
    assert_int_equal(attn_merge_sink(&result, 2, &with, 1, 2, &error), ATTN_OK);
    assert_true(isnan(o[0]) && isnan(with));
    lse = INFINITY;
    o[0] = 1;
    assert_int_equal(attn_merge_sink(&result, 2, &with, 1, 2, &error), ATTN_OK);
    assert_true(isnan(o[0]) && isnan(with));

    lse = o[0] = 1;
    const float bad[] = {NAN, INFINITY};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(attn_merge_sink(&result, bad[i], &with, 1, 2, &error), ATTN_ERR_VALUE);
        assert_non_null(strstr(error.message, "sink is"));
    }
    assert_int_equal(attn_merge_sink(NULL, 1, &with, 1, 2, &error), ATTN_ERR_NULL);
    assert_int_equal(attn_merge_sink(&result, 1, odd(&with), 1, 2, &error), ATTN_ERR_ALIGNMENT);
    assert_non_null(strstr(error.message, "lse_with_sink is"));
    assert_int_equal(attn_merge_sink(&result, 1, &with, -1, 2, &error), ATTN_ERR_SHAPE);
    assert_int_equal(attn_merge_sink(&result, 1, &with, 1, 0, &error), ATTN_ERR_SHAPE);
    result.o_stride = 1;
    assert_int_equal(attn_merge_sink(&result, 1, &with, 2, 2, &error), ATTN_ERR_STRIDE);
    result.lse = NULL;
    assert_int_equal(attn_merge_sink(&result, 1, &with, 1, 2, &error), ATTN_ERR_NULL);
    assert_int_equal(attn_merge_sink(&result, 1, NULL, 0, 2, &error), ATTN_OK);
    assert_true(o[0] == 1); /* none of these touched it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specification), cmocka_unit_test(test_closed_forms),
        cmocka_unit_test(test_nan),           cmocka_unit_test(test_bits),
        cmocka_unit_test(test_errors),        cmocka_unit_test(test_sink),
        cmocka_unit_test(test_sink_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
