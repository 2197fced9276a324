/* One series of rows reduced to a summary: one pass over the rows that gathers the values that vote into
 * the scratch, then passes over those for the percentiles and the histogram. */
#include <attn/summary.h>

#include "base/error.h"
#include "telemetry/percentile.h"

#include <inttypes.h>
#include <math.h>

/* Mean and spread by Welford's update (1962): no cancellation when the spread is small. */
struct moments {
    int64_t count;
    double mean, squares; /* squares = sum of (x - mean)^2 */
    double min, max;
};

static void moments_add(struct moments *m, double x)
{
    m->count++;
    double before = x - m->mean;
    m->mean += before / (double)m->count;
    m->squares += before * (x - m->mean);
    if (m->count == 1 || x < m->min)
        m->min = x;
    if (m->count == 1 || x > m->max)
        m->max = x;
}

static double known(const struct moments *m, double value)
{
    return m->count > 0 ? value : NAN;
}

/* The transformed value of a row that sees n >= 1 keys. */
static double transformed(attn_transform transform, double x, int32_t n)
{
    switch (transform) {
    case ATTN_NORMALIZED:
        return x / log((double)n);
    case ATTN_DEFICIT:
        return log((double)n) - x;
    case ATTN_EFFECTIVE:
        return exp(x);
    case ATTN_AS_IS:
    default:
        return x;
    }
}

static int64_t histogram_bin(const attn_summary *s, double x)
{
    double width = (s->histogram_high - s->histogram_low) / ATTN_HISTOGRAM_BINS;
    if (!(width > 0.0) || x <= s->histogram_low)
        return 0;
    double bin = floor((x - s->histogram_low) / width);
    return bin < ATTN_HISTOGRAM_BINS ? (int64_t)bin : ATTN_HISTOGRAM_BINS - 1;
}

static void fill_histogram(attn_summary *s, const attn_series *series, const float *voting)
{
    s->histogram_low = series->histogram_low;
    s->histogram_high = series->histogram_high;
    if (s->histogram_low == s->histogram_high && s->count > 0) {
        s->histogram_low = s->min;
        s->histogram_high = s->max;
    }
    for (int64_t i = 0; i < s->count; i++)
        s->histogram[histogram_bin(s, (double)voting[i])]++;
}

/* Sums of the position bin under way; rows come in order, so one is enough. */
struct position {
    int64_t bin, count;
    double sum;
};

static void position_close(attn_summary *s, struct position *p)
{
    if (p->count > 0)
        s->position_mean[p->bin] = (float)(p->sum / (double)p->count);
    p->count = 0;
    p->sum = 0.0;
}

static void position_add(attn_summary *s, struct position *p, int64_t row, int64_t rows, double x)
{
    int64_t bin = rows <= ATTN_POSITION_BINS ? row : row * ATTN_POSITION_BINS / rows;
    if (bin != p->bin)
        position_close(s, p);
    p->bin = bin;
    p->count++;
    p->sum += x;
}

static void reduce(attn_summary *s, const attn_series *series, float *scratch)
{
    struct moments all = {0}, voting = {0}, label = {0};
    struct position position = {0};
    for (int64_t r = 0; r < series->rows; r++) {
        int32_t n = series->visible_keys[r];
        if (n < 1 || (n < 2 && series->transform == ATTN_NORMALIZED))
            continue;
        if (series->present && series->present[r] < 1)
            continue;
        double x = transformed(series->transform, (double)series->values[r], n);
        if (!isfinite(x)) {
            s->not_finite++;
            continue;
        }
        moments_add(&all, x);
        position_add(s, &position, r, series->rows, x);
        if (n >= series->label.low && n < series->label.high)
            moments_add(&label, x);
        if (n >= series->voting_keys) {
            scratch[voting.count] = (float)x;
            moments_add(&voting, x);
        }
    }
    position_close(s, &position);
    s->count_all = all.count;
    s->count = voting.count;
    s->count_label = label.count;
    s->mean_all = known(&all, all.mean);
    s->min_all = known(&all, all.min);
    s->max_all = known(&all, all.max);
    s->mean_label = known(&label, label.mean);
    s->mean = known(&voting, voting.mean);
    s->sd = known(&voting, sqrt(voting.squares / (double)(voting.count ? voting.count : 1)));
    s->min = known(&voting, voting.min);
    s->max = known(&voting, voting.max);
    s->p05 = s->count > 0 ? attn_quantile(scratch, s->count, 0.05) : NAN;
    s->p95 = s->count > 0 ? attn_quantile(scratch, s->count, 0.95) : NAN;
    fill_histogram(s, series, scratch);
}

static attn_status check(const attn_series *series, const float *scratch, attn_error *error)
{
    if (!series)
        return attn_fail(error, ATTN_ERR_NULL, "series is NULL");
    if (series->struct_size != sizeof *series)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "series.struct_size is %zu; this library knows %zu", series->struct_size,
                         sizeof *series);
    if (series->rows < 0 || series->rows >= (int64_t)1 << 55)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "series.rows is %" PRId64 "; it may be 0 or more, and less than 2^55",
                         series->rows);
    const char *missing = !series->values         ? "series.values"
                          : !series->visible_keys ? "series.visible_keys"
                          : !scratch              ? "scratch"
                                                  : NULL;
    if (missing && series->rows > 0)
        return attn_fail(error, ATTN_ERR_NULL, "%s is NULL; it may be so without rows", missing);
    if ((int)series->transform < ATTN_AS_IS || (int)series->transform > ATTN_EFFECTIVE)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "series.transform is %d; it may be one of attn_transform",
                         (int)series->transform);
    if (series->voting_keys < 1)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "series.voting_keys is %" PRId32 "; it may be 1 or more",
                         series->voting_keys);
    if (!isfinite(series->histogram_low) || !isfinite(series->histogram_high) ||
        series->histogram_high < series->histogram_low)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "the histogram runs from %g to %g; it may run from any finite number to "
                         "the same or a larger one",
                         series->histogram_low, series->histogram_high);
    return attn_succeed(error);
}

attn_status attn_summarize(attn_summary *summary, const attn_series *series, float *scratch,
                           attn_error *error)
{
    if (!summary)
        return attn_fail(error, ATTN_ERR_NULL, "summary is NULL");
    attn_status status = check(series, scratch, error);
    if (status != ATTN_OK)
        return status;
    *summary = (attn_summary){0};
    summary->position_bins =
        (int32_t)(series->rows < ATTN_POSITION_BINS ? series->rows : ATTN_POSITION_BINS);
    for (int i = 0; i < ATTN_POSITION_BINS; i++)
        summary->position_mean[i] = NAN;
    reduce(summary, series, scratch);
    return attn_succeed(error);
}
