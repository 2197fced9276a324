/* attn_summarize against plain loops and sorting, and its edges.
 *
 * Tolerances: both sides add in at least double; Welford's mean errs by a few units of 2^-53 times the
 * count's logarithm, so 1e-12 relative leaves room for thousands of rows. Percentiles are of values
 * rounded to f32: 1e-6 relative. */
#include <attn/summary.h>

#include "plain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void close_to(double got, double want, double tolerance, const char *what)
{
    if (isnan(want) ? !isnan(got) : !(fabs(got - want) <= tolerance * fmax(1.0, fabs(want))))
        fail_msg("%s is %.17g, expected %.17g", what, got, want);
}

static double transform(attn_transform t, double x, int n)
{
    return t == ATTN_NORMALIZED  ? x / log(n)
           : t == ATTN_DEFICIT   ? log(n) - x
           : t == ATTN_EFFECTIVE ? exp(x)
                                 : x;
}

static void against_loops(int64_t rows, attn_transform t, uint64_t seed)
{
    float *values = malloc((size_t)rows * sizeof *values), *scratch = malloc((size_t)rows * 4);
    int32_t *visible = malloc((size_t)rows * sizeof *visible);
    double *all = malloc((size_t)rows * 8), *vote = malloc((size_t)rows * 8);
    double *label = malloc((size_t)rows * 8);
    double *at = malloc((size_t)rows * 8); /* value by row, NaN if it does not count */
    int64_t n_all = 0, n_vote = 0, n_label = 0;
    for (int64_t r = 0; r < rows; r++) {
        visible[r] = (int32_t)(plain_random(&seed) % 600);
        values[r] = (float)(4 * plain_uniform(&seed) - (t == ATTN_AS_IS ? 2 : 0));
        at[r] = NAN;
        int n = visible[r];
        if (n == 0 || (n == 1 && t == ATTN_NORMALIZED))
            continue;
        double x = at[r] = transform(t, (double)values[r], n);
        all[n_all++] = x;
        if (n >= 16)
            vote[n_vote++] = x;
        if (n >= 256 && n < 512)
            label[n_label++] = x;
    }
    attn_series series = attn_series_init(rows, values, visible);
    series.transform = t;
    attn_summary s;
    assert_int_equal(attn_summarize(&s, &series, scratch, NULL), ATTN_OK);
    assert_int_equal(s.count_all, n_all);
    assert_int_equal(s.count, n_vote);
    assert_int_equal(s.count_label, n_label);
    assert_int_equal(s.not_finite, 0);
    close_to(s.mean_all, plain_mean(all, n_all), 1e-12, "mean_all");
    close_to(s.mean_label, plain_mean(label, n_label), 1e-12, "mean_label");
    close_to(s.mean, plain_mean(vote, n_vote), 1e-12, "mean");
    close_to(s.sd, plain_sd(vote, n_vote), 1e-12, "sd");
    close_to(s.p05, plain_quantile(vote, n_vote, 0.05), 1e-6, "p05");
    close_to(s.p95, plain_quantile(vote, n_vote, 0.95), 1e-6, "p95");
    close_to(s.min, vote[0], 0, "min"); /* sorted by now */
    close_to(s.max, vote[n_vote - 1], 0, "max");
    int64_t counted = 0;
    double width = (s.histogram_high - s.histogram_low) / 32;
    for (int b = 0; b < 32; b++) {
        /* A value within rounding of a border may fall on either side. */
        double slack = 1e-6 * (fabs(s.histogram_high) + fabs(s.histogram_low));
        double low = s.histogram_low + b * width, high = low + width;
        int64_t least = 0, most = 0;
        for (int64_t i = 0; i < n_vote; i++) {
            least += vote[i] > low + slack && vote[i] < high - slack;
            most += vote[i] >= low - slack && vote[i] <= high + slack;
        }
        assert_in_range(s.histogram[b], least, most);
        counted += s.histogram[b];
    }
    assert_int_equal(counted, n_vote);
    int64_t bins = rows < 256 ? rows : 256;
    assert_int_equal(s.position_bins, bins);
    for (int64_t b = 0; b < 256; b++) {
        long double sum = 0;
        int64_t count = 0;
        for (int64_t r = 0; r < rows; r++)
            if (r * bins / rows == b && !isnan(at[r])) {
                sum += (long double)at[r];
                count++;
            }
        close_to((double)s.position_mean[b], count ? (double)(sum / count) : NAN, 1e-7, "position");
    }
    free(values), free(scratch), free(visible), free(all), free(vote), free(label), free(at);
}

static void test_against_plain_loops(void **state)
{
    (void)state;
    const int64_t sizes[] = {100, 255, 256, 257, 1000, 4097};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int t = ATTN_AS_IS; t <= ATTN_EFFECTIVE; t++)
            against_loops(sizes[i], (attn_transform)t, 77 + i);
}

static void test_closed_forms(void **state)
{
    (void)state;
    enum { N = 1000 };
    static float entropy[N], scratch[N];
    static int32_t visible[N];
    for (int r = 0; r < N; r++) {
        visible[r] = r + 1;
        entropy[r] = (float)log(r + 1); /* uniform */
    }
    attn_series series = attn_series_init(N, entropy, visible);
    attn_summary s;
    series.transform = ATTN_NORMALIZED;
    assert_int_equal(attn_summarize(&s, &series, scratch, NULL), ATTN_OK);
    close_to(s.mean, 1, 1e-7, "normalised entropy of a uniform head");
    close_to(s.sd, 0, 1e-7, "its spread");
    assert_int_equal(s.count_all, N - 1); /* n = 1 has none */
    assert_int_equal(s.count, N - 15);
    assert_int_equal(s.count_label, 256);
    series.transform = ATTN_DEFICIT;
    assert_int_equal(attn_summarize(&s, &series, scratch, NULL), ATTN_OK);
    close_to(s.mean, 0, 1e-6, "deficit of a uniform head");
    assert_int_equal(s.count_all, N);
    series.transform = ATTN_EFFECTIVE;
    assert_int_equal(attn_summarize(&s, &series, scratch, NULL), ATTN_OK);
    close_to(s.mean, (16 + 1000) / 2.0, 1e-6, "effective keys of a uniform head");
    close_to(s.mean_all, (1 + 1000) / 2.0, 1e-6, "effective keys over all rows");
    close_to(s.mean_label, (256 + 511) / 2.0, 1e-6, "effective keys over label rows");
    close_to(s.max_all, 1000, 1e-6, "the most effective keys");
    close_to(s.min_all, 1, 1e-6, "the fewest effective keys");
    close_to(s.min, 16, 1e-6, "the fewest of rows that vote");
    /* 985 evenly spaced values from 16: the 5th percentile is 16 + 0.05 * 984. */
    close_to(s.p05, 16 + 0.05 * 984, 1e-6, "p05 of evenly spaced values");
    close_to(s.p95, 16 + 0.95 * 984, 1e-6, "p95 of evenly spaced values");
}

static void test_histogram_edges(void **state)
{
    (void)state;
    const float values[] = {-3, 0, 0.49f, 0.5f, 31.9f, 32, 99, 16};
    const int32_t visible[] = {16, 16, 16, 16, 16, 16, 16, 16};
    float scratch[8];
    attn_series series = attn_series_init(8, values, visible);
    series.histogram_high = 32;
    attn_summary s;
    assert_int_equal(attn_summarize(&s, &series, scratch, NULL), ATTN_OK);
    assert_int_equal(s.histogram[0], 4);  /* -3 clamped, 0, 0.49, 0.5 */
    assert_int_equal(s.histogram[16], 1); /* a border belongs to the bin above */
    assert_int_equal(s.histogram[31], 3); /* 31.9, 32 itself, 99 clamped */
    const float same[] = {2, 2, 2};
    series = attn_series_init(3, same, visible);
    assert_int_equal(attn_summarize(&s, &series, scratch, NULL), ATTN_OK);
    assert_int_equal(s.histogram[0], 3);
    close_to(s.histogram_low, 2, 0, "low");
    close_to(s.histogram_high, 2, 0, "high");
    close_to(s.p05, 2, 0, "p05");
    close_to(s.sd, 0, 0, "sd");
}

static void test_not_finite_values(void **state)
{
    (void)state;
    const float values[] = {NAN, 1, INFINITY, 3, -INFINITY, NAN};
    const int32_t visible[] = {20, 20, 20, 20, 20, 0};
    float scratch[6];
    attn_series series = attn_series_init(6, values, visible);
    attn_summary s;
    assert_int_equal(attn_summarize(&s, &series, scratch, NULL), ATTN_OK);
    assert_int_equal(s.not_finite, 3); /* the row without keys does not count at all */
    assert_int_equal(s.count, 2);
    close_to(s.mean, 2, 0, "mean");
    close_to(s.sd, 1, 0, "sd");
    assert_true(isnan(s.position_mean[0]));
    close_to((double)s.position_mean[3], 3, 0, "position 3");
    const float all_nan[] = {NAN, NAN};
    series = attn_series_init(2, all_nan, visible);
    assert_int_equal(attn_summarize(&s, &series, scratch, NULL), ATTN_OK);
    assert_int_equal(s.count_all, 0);
    assert_true(isnan(s.mean) && isnan(s.mean_all) && isnan(s.mean_label) && isnan(s.p05));
    assert_true(isnan(s.min) && isnan(s.max) && isnan(s.sd) && isnan(s.max_all));
}

static void test_rows_that_do_not_vote(void **state)
{
    (void)state;
    const float values[] = {1, 2, 3};
    const int32_t visible[] = {1, 15, 0};
    float scratch[3];
    attn_series series = attn_series_init(3, values, visible);
    attn_summary s;
    assert_int_equal(attn_summarize(&s, &series, scratch, NULL), ATTN_OK);
    assert_int_equal(s.count, 0);
    assert_true(isnan(s.mean) && isnan(s.p95));
    close_to(s.mean_all, 1.5, 0, "mean_all");
    series.voting_keys = 15;
    const int32_t present[] = {0, 1, 1};
    series.present = present;
    assert_int_equal(attn_summarize(&s, &series, scratch, NULL), ATTN_OK);
    assert_int_equal(s.count, 1);
    close_to(s.mean, 2, 0, "mean");
    close_to(s.mean_all, 2, 0, "mean_all without the row that is not present");
    assert_int_equal(s.not_finite, 0);
}

static void test_empty(void **state)
{
    (void)state;
    attn_series series = attn_series_init(0, NULL, NULL);
    attn_summary s;
    assert_int_equal(attn_summarize(&s, &series, NULL, NULL), ATTN_OK);
    assert_int_equal(s.count_all, 0);
    assert_int_equal(s.position_bins, 0);
    assert_true(isnan(s.mean) && isnan(s.position_mean[0]));
}

static void refused(const attn_series *series, float *scratch, attn_status status, const char *word)
{
    attn_summary s, before;
    memset(&s, 0x5a, sizeof s);
    before = s;
    attn_error error;
    assert_int_equal(attn_summarize(&s, series, scratch, &error), status);
    assert_int_equal(error.status, status);
    if (!strstr(error.message, word))
        fail_msg("'%s' does not say '%s'", error.message, word);
    assert_memory_equal(&s, &before, sizeof s);
}

static void test_errors(void **state)
{
    (void)state;
    const float values[] = {1};
    const int32_t visible[] = {16};
    float scratch[1];
    const attn_series good = attn_series_init(1, values, visible);
    attn_series bad = good;
    assert_int_equal(attn_summarize(NULL, &good, scratch, NULL), ATTN_ERR_NULL);
    refused(NULL, scratch, ATTN_ERR_NULL, "series");
    refused(&good, NULL, ATTN_ERR_NULL, "scratch");
    bad.struct_size = 8;
    refused(&bad, scratch, ATTN_ERR_STRUCT_SIZE, "struct_size");
    bad = good, bad.rows = -1;
    refused(&bad, scratch, ATTN_ERR_SHAPE, "rows");
    bad = good, bad.rows = INT64_MAX;
    refused(&bad, scratch, ATTN_ERR_SHAPE, "rows");
    bad = good, bad.values = NULL;
    refused(&bad, scratch, ATTN_ERR_NULL, "values");
    bad = good, bad.visible_keys = NULL;
    refused(&bad, scratch, ATTN_ERR_NULL, "visible_keys");
    bad = good, bad.transform = (attn_transform)7;
    refused(&bad, scratch, ATTN_ERR_VALUE, "transform");
    bad = good, bad.voting_keys = 0;
    refused(&bad, scratch, ATTN_ERR_VALUE, "voting_keys");
    bad = good, bad.histogram_low = 1;
    refused(&bad, scratch, ATTN_ERR_VALUE, "histogram");
    bad = good, bad.histogram_high = INFINITY;
    refused(&bad, scratch, ATTN_ERR_VALUE, "histogram");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_plain_loops),
        cmocka_unit_test(test_closed_forms),
        cmocka_unit_test(test_histogram_edges),
        cmocka_unit_test(test_not_finite_values),
        cmocka_unit_test(test_rows_that_do_not_vote),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
