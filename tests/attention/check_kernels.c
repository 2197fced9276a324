/* Each kernel of the path's table against plain loops in double, tails and borders included. What the
 * forward pass never asks of them (odd counts of groups and panels, empty runs) is asked here. */
#include "attention/guarded.h"
#include "attention/path.h"
#include "attention/random.h"

#include "kernels/table.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct attn_kernels *kernels;

static const double u = 0x1p-24;

static float *numbers(struct random *random, size_t count, double spread)
{
    float *values = need(count, sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(spread * random_normal(random));
    return values;
}

static void near(const char *what, int64_t at, double got, double expected, double bound)
{
    if (got != expected && !(fabs(got - expected) <= bound))
        fail_msg("%s[%lld] is %.9g, should be %.9g within %.3g", what, (long long)at, got, expected,
                 bound);
}

static const float untouched = -77.25f;

static void fill(float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = untouched;
}

/* Packing: element t of row j at [t][j], times scale; the rest 0. */
static void packing(void **state)
{
    (void)state;
    struct random random = {1};
    for (int64_t d = 1; d <= 70; d += 1 + d / 9)
        for (int used = 1; used <= kernels->columns; used++) {
            int64_t stride = d + used % 3;
            int rows = kernels->rows, columns = kernels->columns;
            float *from = numbers(&random, (size_t)(stride * columns), 1);
            float *group = need((size_t)(d * rows), sizeof(float));
            float *panel = need((size_t)(d * columns), sizeof(float));
            fill(group, (size_t)(d * rows));
            fill(panel, (size_t)(d * columns));
            int used_rows = used < rows ? used : rows;
            kernels->pack_queries(from, ATTN_F32, stride, used_rows, d, 0.37f, group);
            kernels->pack_keys(from, ATTN_F32, stride, used, d, panel);
            for (int64_t t = 0; t < d; t++) {
                for (int j = 0; j < rows; j++)
                    assert_true(group[t * rows + j] ==
                                (j < used_rows ? from[j * stride + t] * 0.37f : 0.0f));
                for (int j = 0; j < columns; j++)
                    assert_true(panel[t * columns + j] == (j < used ? from[j * stride + t] : 0.0f));
            }
            free(from), free(group), free(panel);
        }
}

static void packing_values(void **state)
{
    (void)state;
    struct random random = {2};
    for (int64_t d = 1; d <= 70; d += 1 + d / 9)
        for (int64_t keys = 1; keys <= 9; keys += 4) {
            int64_t stride = d + 2, panels = (d + kernels->columns - 1) / kernels->columns;
            float *from = numbers(&random, (size_t)(stride * keys), 1);
            float *to = need((size_t)(panels * keys * kernels->columns), sizeof(float));
            assert_false(kernels->pack_values(from, ATTN_F32, stride, keys, d, to));
            for (int64_t e = 0; e < panels * kernels->columns; e++)
                for (int64_t j = 0; j < keys; j++)
                    assert_true(to[(e / kernels->columns * keys + j) * kernels->columns +
                                   e % kernels->columns] == (e < d ? from[j * stride + e] : 0.0f));
            static const float poisons[] = {NAN, -NAN, INFINITY, -INFINITY};
            for (int p = 0; p < 4; p++) {
                int64_t at = random_between(&random, 0, keys - 1) * stride +
                             random_between(&random, 0, d - 1);
                float kept = from[at];
                from[at] = poisons[p];
                assert_true(kernels->pack_values(from, ATTN_F32, stride, keys, d, to));
                from[at] = kept;
            }
            from[0] = FLT_MAX, from[stride * keys - 3] = -FLT_MAX;
            assert_false(kernels->pack_values(from, ATTN_F32, stride, keys, d, to));
            free(from), free(to);
        }
}

enum { GROUPS = 3, PANELS = 5 };

/* Scores of three groups against runs of five panels; nothing outside the runs is written. */
static void scores(void **state)
{
    (void)state;
    struct random random = {3};
    const int rows = kernels->rows, columns = kernels->columns;
    for (int64_t d = 1; d <= 150; d += 1 + d / 3) {
        float *queries = numbers(&random, (size_t)(GROUPS * d * rows), 1);
        float *keys = numbers(&random, (size_t)(PANELS * d * columns), 1);
        size_t count = (size_t)(GROUPS * rows * ATTN_SCORE_STRIDE);
        float *to = need(count, sizeof(float));
        fill(to, count);
        const int16_t first[GROUPS] = {0, 1, 3}, last[GROUPS] = {PANELS, 4, 3};
        struct attn_scores_call call = {.queries = queries,
                                        .keys = keys,
                                        .steps = d,
                                        .groups = GROUPS,
                                        .panels = PANELS,
                                        .panel_first = first,
                                        .panel_last = last,
                                        .scores = to};
        kernels->scores(&call);
        for (int r = 0; r < GROUPS * rows; r++)
            for (int j = 0; j < ATTN_SCORE_STRIDE; j++) {
                int g = r / rows, panel = j / columns;
                double sum = 0, size = 0;
                if (panel < first[g] || panel >= last[g]) {
                    assert_true(to[r * ATTN_SCORE_STRIDE + j] == untouched);
                    continue;
                }
                for (int64_t t = 0; t < d; t++) {
                    double product = (double)queries[(g * d + t) * rows + r % rows] *
                                     (double)keys[(panel * d + t) * columns + j % columns];
                    sum += product, size += fabs(product);
                }
                near("score", j, (double)to[r * ATTN_SCORE_STRIDE + j], sum, (double)d * u * size);
            }
        free(queries), free(keys), free(to);
    }
}

/* output += weights values, by group over runs of keys; half panels, rescaling, storing. */
static void values(void **state)
{
    (void)state;
    struct random random = {4};
    const int rows = kernels->rows, columns = kernels->columns;
    for (int64_t d = 1; d <= 100; d += 1 + d / 4) {
        const int64_t keys = 37, panels = (d + columns - 1) / columns;
        int64_t used = d - (panels - 1) * columns;
        float *from = numbers(&random, (size_t)(keys * d), 1);
        float *packed = need((size_t)(panels * keys * columns), sizeof(float));
        kernels->pack_values(from, ATTN_F32, d, keys, d, packed);
        float *weights = numbers(&random, (size_t)(GROUPS * rows * ATTN_SCORE_STRIDE), 1);
        int64_t output_rows = GROUPS * rows;
        float *output = numbers(&random, (size_t)(panels * output_rows * columns), 1);
        float *before = need((size_t)(panels * output_rows * columns), sizeof(float));
        memcpy(before, output, (size_t)(panels * output_rows * columns) * sizeof(float));
        const int16_t first[GROUPS] = {0, 5, 9}, last[GROUPS] = {(int16_t)keys, 6, 9};
        struct attn_values_call call = {.scores = weights,
                                        .values = packed,
                                        .steps = keys,
                                        .groups = GROUPS,
                                        .panels = (int)panels,
                                        .half_panel = used <= columns / 2,
                                        .key_first = first,
                                        .key_last = last,
                                        .output = output,
                                        .output_rows = output_rows};
        kernels->values(&call);
        float *row = need((size_t)d + 1, sizeof(float));
        for (int r = 0; r < GROUPS * rows; r++) {
            float *place = output + r * columns;
            row[d] = untouched;
            kernels->rescale_row(place, output_rows, (int)panels, 0.5f);
            kernels->store_row(place, output_rows, d, 4.0f, row, ATTN_F32);
            for (int64_t e = 0; e < d; e++) {
                double start =
                    (double)before[(e / columns * output_rows + r) * columns + e % columns];
                double sum = start, size = fabs(start);
                for (int64_t j = first[r / rows]; j < last[r / rows]; j++) {
                    double product =
                        (double)weights[r * ATTN_SCORE_STRIDE + j] * (double)from[j * d + e];
                    sum += product, size += fabs(product);
                }
                near("output", e, (double)row[e], 2 * sum, 2 * (double)(keys + 2) * u * size);
            }
            assert_true(row[d] == untouched);
        }
        free(from), free(packed), free(weights), free(output), free(before), free(row);
    }
}

/* 2^(s - reference): the difference rounds once, exp2 errs by 2e-7 relatively and flushes below 2^-126. */
static double exp2_bound(double s, double reference)
{
    return s == -INFINITY
               ? 0
               : exp2(s - reference) * (2.5e-7 + u * (fabs(s) + fabs(reference))) + 0x1p-125;
}

/* Three blocks of scores through one of the softmax kernels; the rows must end as one pass would. */
static void check_softmax(void (*kernel)(struct attn_softmax_call *), bool entropy, bool all)
{
    enum { BLOCKS = 3 };
    struct random random = {5};
    const int rows = 2 * kernels->rows - 1, count = 4 * kernels->columns;
    size_t size = (size_t)(2 * kernels->rows * ATTN_SCORE_STRIDE);
    float *block = need(size, sizeof(float)), *kept = need(BLOCKS * size, sizeof(float));
    float *rescale = need((size_t)rows, sizeof(float)), *factor = need((size_t)rows, sizeof(float));
    struct attn_row *row = need((size_t)rows, sizeof *row);
    struct attn_row_extras extras = {0};
    for (int r = 0; r < rows; r++)
        row[r] = (struct attn_row){
            .reference = -INFINITY, .maximum = -INFINITY, .max_key = -1, .min_logit = INFINITY};
    for (int b = 0; b < BLOCKS; b++) {
        int16_t first[2] = {0, (int16_t)kernels->columns},
                last[2] = {(int16_t)count, (int16_t)count};
        if (b == 1)
            last[1] = first[1]; /* an empty run */
        /* rises just past the lazy threshold, so that what was gathered before still counts */
        const double step = b == 1 ? 2 : 6;
        for (size_t i = 0; i < size; i++)
            block[i] = random_chance(&random, 0.2)
                           ? -INFINITY
                           : (float)(2 * random_normal(&random) + step * (double)b);
        for (int j = 0; j < count; j++) /* row 1 sees nothing before the last block */
            if (b < 2)
                block[ATTN_SCORE_STRIDE + j] = -INFINITY;
        memcpy(kept + (size_t)b * size, block, size * sizeof(float));
        struct attn_softmax_call call = {.scores = block,
                                         .rows = rows,
                                         .group_rows = kernels->rows,
                                         .key_first = first,
                                         .key_last = last,
                                         .row = row,
                                         .rescale = rescale,
                                         .extras = &extras};
        kernel(&call);
        bool rescaled = false;
        for (int r = 0; r < rows; r++) {
            rescaled |= rescale[r] != 1.0f;
            for (int j = 0; j < count; j++) {
                bool inside = j >= first[r / kernels->rows] && j < last[r / kernels->rows];
                double s = (double)kept[(size_t)b * size + (size_t)(r * ATTN_SCORE_STRIDE + j)];
                double got = (double)block[r * ATTN_SCORE_STRIDE + j];
                if (!inside) {
                    assert_true(got == s);
                    kept[(size_t)b * size + (size_t)(r * ATTN_SCORE_STRIDE + j)] = -INFINITY;
                } else {
                    double e = s == -INFINITY ? 0 : exp2(s - (double)row[r].reference);
                    near("weight", j, got, e, exp2_bound(s, (double)row[r].reference));
                }
            }
        }
        assert_int_equal(call.rescaled, rescaled);
    }
    for (int r = 0; r < rows; r++) {
        double max = -INFINITY, sum = 0, moment = 0, moment2 = 0, square = 0;
        for (int b = 0; b < BLOCKS; b++)
            for (int j = 0; j < count; j++) {
                double s = (double)kept[(size_t)b * size + (size_t)(r * ATTN_SCORE_STRIDE + j)];
                double t = s - (double)row[r].reference;
                if (s == -INFINITY)
                    continue;
                max = fmax(max, s);
                sum += exp2(t), moment += exp2(t) * t, moment2 += exp2(t) * t * t;
                square += exp2(2 * t);
            }
        double bound = (3.0 * count * BLOCKS + 64) * u + 4e-7;
        near("maximum", r, (double)row[r].maximum, max, 0);
        assert_true(row[r].maximum <= row[r].reference + ATTN_LAZY_RESCALE);
        near("sum", r, (double)row[r].sum, sum, bound * sum);
        if (entropy)
            near("moment", r, (double)row[r].moment, moment, bound * (fabs(moment) + 8 * sum));
        if (all) {
            near("moment2", r, (double)row[r].moment2, moment2, bound * (moment2 + 64 * sum));
            near("square", r, (double)row[r].square, square, 2 * bound * square);
        }
    }
    free(block), free(kept), free(rescale), free(factor), free(row);
}

static void softmax(void **state)
{
    (void)state;
    check_softmax(kernels->softmax, false, false);
    check_softmax(kernels->softmax_entropy, true, false);
    check_softmax(kernels->softmax_all, true, true);
}

static void weights(void **state)
{
    (void)state;
    struct random random = {6};
    const int rows = 7, keys = 3 * kernels->columns;
    float *scores_in = numbers(&random, (size_t)(rows * ATTN_SCORE_STRIDE), 5);
    float *reference = numbers(&random, (size_t)rows, 3);
    float *inverse = need((size_t)rows, sizeof(float));
    float *sums = need((size_t)keys, sizeof(float));
    for (int r = 0; r < rows; r++)
        inverse[r] = (float)(0.1 + random_unit(&random));
    for (int j = 0; j < rows * ATTN_SCORE_STRIDE; j += 5)
        scores_in[j] = -INFINITY;
    for (int wanted = keys - kernels->columns; wanted <= keys; wanted++) {
        const int stride = keys + 3;
        float *out = need((size_t)(rows * stride), sizeof(float));
        fill(out, (size_t)(rows * stride));
        memset(sums, 0, (size_t)keys * sizeof(float));
        struct attn_weights_call call = {.scores = scores_in,
                                         .rows = rows,
                                         .keys = keys,
                                         .reference = reference,
                                         .inverse = inverse,
                                         .column_sums = sums,
                                         .weights = out,
                                         .weights_stride = stride,
                                         .weights_keys = wanted};
        kernels->weights(&call);
        for (int j = 0; j < stride; j++) {
            double column = 0;
            for (int r = 0; r < rows && j < keys; r++) {
                double s = (double)scores_in[r * ATTN_SCORE_STRIDE + j];
                double p = exp2(s - (double)reference[r]) * (double)inverse[r];
                column += p;
                if (j < wanted)
                    near("weight", j, (double)out[r * stride + j], p,
                         2 * exp2_bound(s, (double)reference[r]) * (double)inverse[r]);
            }
            for (int r = 0; r < rows && j >= wanted; r++)
                assert_true(out[r * stride + j] == untouched);
            if (j < keys)
                near("column", j, (double)sums[j], column, column * 4e-6 + 0x1p-120);
        }
        free(out);
    }
    free(scores_in), free(reference), free(inverse), free(sums);
}

static void softcap_and_range(void **state)
{
    (void)state;
    struct random random = {7};
    static const double spreads[] = {0.01, 1, 30, 1000, 1e20};
    for (int k = 0; k < 5; k++)
        for (int count = kernels->lanes; count <= 6 * kernels->lanes; count += kernels->lanes) {
            float *x = numbers(&random, (size_t)count + 1, spreads[k]);
            float *copy = need((size_t)count + 1, sizeof(float));
            x[0] = INFINITY, x[1] = -INFINITY, x[2] = 0, x[count] = untouched;
            memcpy(copy, x, ((size_t)count + 1) * sizeof(float));
            double cap = 12.5;
            kernels->softcap(x, count, 12.5f);
            for (int j = 0; j < count; j++)
                near("softcap", j, (double)x[j], cap * tanh((double)copy[j] / cap),
                     8 * u * fmin(cap, fabs((double)copy[j])));
            assert_true(x[count] == untouched);
            copy[kernels->lanes / 2] = NAN; /* passed over */
            for (int n = 0; n <= count; n++) {
                float low = 0.5f, high = 0.25f, lowest = 0.5f, highest = 0.25f;
                kernels->range(copy, n, &low, &high);
                for (int j = 0; j < n; j++) {
                    lowest = copy[j] < lowest ? copy[j] : lowest;
                    highest = copy[j] > highest ? copy[j] : highest;
                }
                assert_true(low == lowest && high == highest);
            }
            free(x), free(copy);
        }
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    enum attn_path path;
    if (attn_path_choose(&path, NULL) != ATTN_OK || !(kernels = attn_kernels_of(path, ATTN_F32))) {
        fprintf(stderr, "the path has no kernels\n");
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packing),
        cmocka_unit_test(packing_values),
        cmocka_unit_test(scores),
        cmocka_unit_test(values),
        cmocka_unit_test(softmax),
        cmocka_unit_test(weights),
        cmocka_unit_test(softcap_and_range),
    };
    return cmocka_run_group_tests_name("check_kernels", tests, NULL, NULL);
}
