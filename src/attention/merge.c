/* attn_merge and attn_merge_sink: partial results over parts of the keys made one.
 *
 * A row is small work with many parts and long work with few, so each row is done at once: the weights of
 * its parts first, then the statistics, then o by strips of channels that are summed in a local array. All
 * parts of a strip are read before it is written, and the row's own numbers are written last: that is why
 * the result may be one of the parts. Sums are in double, which makes them as good as exact: the result is
 * within a rounding of its parts' own errors, for any number of parts. */
#include <attn/merge.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/error.h"
#include "base/sizes.h"
#include "exec/exec.h"

enum {
    KEPT_WEIGHTS = 32,    /* parts whose weight is kept; those behind them are weighed again */
    STRIP = 256,          /* channels summed at a time */
    TASK_ELEMENTS = 16384 /* elements of all parts that are worth a task */
};

struct merge {
    attn_part result;
    const attn_part *parts;
    int64_t count, rows, head_size_v;
    int64_t task_rows;
};

struct weights {
    double maximum, sum, lse;
    double kept[KEPT_WEIGHTS];
};

/* Whether a part saw a key in this row; NaN counts as seen. */
static bool has_row(const attn_part *part, int64_t row)
{
    return part->lse[row] != -INFINITY;
}

static double share(const attn_part *part, int64_t row, const struct weights *w)
{
    return exp((double)part->lse[row] - w->maximum) / w->sum;
}

static double weight_of(const struct merge *m, int64_t p, int64_t row, const struct weights *w)
{
    return p < KEPT_WEIGHTS ? w->kept[p] : share(&m->parts[p], row, w);
}

/* false: no part saw a key. */
static bool weigh(struct weights *w, const struct merge *m, int64_t row)
{
    w->maximum = -INFINITY;
    w->sum = 0;
    for (int64_t p = 0; p < m->count; p++)
        if ((double)m->parts[p].lse[row] > w->maximum || isnan(m->parts[p].lse[row]))
            w->maximum = (double)m->parts[p].lse[row]; /* a NaN stays: nothing is greater */
    if (w->maximum == -INFINITY)
        return false;
    for (int64_t p = 0; p < m->count; p++)
        if (has_row(&m->parts[p], row))
            w->sum += exp((double)m->parts[p].lse[row] - w->maximum);
    w->lse = w->maximum + log(w->sum);
    for (int64_t p = 0; p < m->count && p < KEPT_WEIGHTS; p++)
        w->kept[p] = has_row(&m->parts[p], row) ? share(&m->parts[p], row, w) : 0;
    return true;
}

/* The larger, or NaN if either is. */
static double larger(double a, double b)
{
    return isnan(a) || a > b ? a : b;
}

static double merged_entropy(const struct merge *m, int64_t row, const struct weights *w)
{
    double sum = 0;
    for (int64_t p = 0; p < m->count; p++)
        if (has_row(&m->parts[p], row))
            sum += weight_of(m, p, row, w) *
                   ((double)m->parts[p].entropy[row] + (w->lse - (double)m->parts[p].lse[row]));
    return sum;
}

static double merged_varentropy(const struct merge *m, int64_t row, const struct weights *w,
                                double entropy)
{
    double sum = 0;
    for (int64_t p = 0; p < m->count; p++) {
        const attn_part *part = &m->parts[p];
        if (!has_row(part, row))
            continue;
        /* mu_p - mu, in an order that keeps its digits when both lse are large */
        double off = ((double)part->lse[row] - w->lse) - ((double)part->entropy[row] - entropy);
        sum += weight_of(m, p, row, w) * ((double)part->varentropy[row] + off * off);
    }
    return sum;
}

static double merged_max_weight(const struct merge *m, int64_t row, const struct weights *w)
{
    double most = 0;
    for (int64_t p = 0; p < m->count; p++)
        if (has_row(&m->parts[p], row))
            most = larger(weight_of(m, p, row, w) * (double)m->parts[p].max_weight[row], most);
    return most;
}

static void merge_outputs(const struct merge *m, int64_t row, const struct weights *w, bool any)
{
    float *to = m->result.o + row * m->result.o_stride;
    for (int64_t begin = 0; begin < m->head_size_v; begin += STRIP) {
        int64_t size = attn_int64_min(STRIP, m->head_size_v - begin);
        double sum[STRIP] = {0};
        for (int64_t p = 0; any && p < m->count; p++) {
            if (!has_row(&m->parts[p], row))
                continue;
            const float *from = m->parts[p].o + row * m->parts[p].o_stride + begin;
            double weight = weight_of(m, p, row, w);
            for (int64_t d = 0; d < size; d++)
                sum[d] += weight * (double)from[d];
        }
        for (int64_t d = 0; d < size; d++)
            to[begin + d] = (float)sum[d];
    }
}

static void merge_row(const struct merge *m, int64_t row)
{
    const attn_part *result = &m->result;
    struct weights w;
    bool any = weigh(&w, m, row);
    double entropy = 0, varentropy = 0, max_weight = 0;
    if (any && (result->entropy || result->varentropy))
        entropy = merged_entropy(m, row, &w);
    if (any && result->varentropy)
        varentropy = merged_varentropy(m, row, &w, entropy);
    if (any && result->max_weight)
        max_weight = merged_max_weight(m, row, &w);
    if (result->o)
        merge_outputs(m, row, &w, any);
    if (result->entropy)
        result->entropy[row] = (float)entropy;
    if (result->varentropy)
        result->varentropy[row] = (float)varentropy;
    if (result->max_weight)
        result->max_weight[row] = (float)max_weight;
    result->lse[row] = any ? (float)w.lse : -INFINITY;
}

static void merge_rows(void *argument, int64_t index, int worker)
{
    (void)worker;
    const struct merge *m = argument;
    int64_t begin = index * m->task_rows;
    int64_t end = begin + attn_int64_min(m->task_rows, m->rows - begin);
    for (int64_t row = begin; row < end; row++)
        merge_row(m, row);
}

/* ---- checking ---- */

static attn_status check_counts(int64_t count, int64_t rows, int64_t head_size_v, attn_error *error)
{
    if (count < 0)
        return attn_fail(error, ATTN_ERR_SHAPE, "count is %" PRId64 "; it may be 0 or more", count);
    if (rows < 0)
        return attn_fail(error, ATTN_ERR_SHAPE, "rows is %" PRId64 "; it may be 0 or more", rows);
    if (head_size_v < 1)
        return attn_fail(error, ATTN_ERR_SHAPE, "head_size_v is %" PRId64 "; it may be 1 or more",
                         head_size_v);
    if (rows > INT64_MAX / 16 || head_size_v > INT64_MAX / 16)
        return attn_fail(error, ATTN_ERR_OVERFLOW,
                         "rows is %" PRId64 " and head_size_v %" PRId64
                         "; arrays must not be longer than an address can tell",
                         rows, head_size_v);
    return ATTN_OK;
}

/* `where` is "result" or "parts[3]". */
static attn_status check_array(const char *where, const char *name, const void *array,
                               attn_error *error)
{
    if (!array)
        return attn_fail(error, ATTN_ERR_NULL, "%s%s is NULL; it must be given", where, name);
    if ((uintptr_t)array % sizeof(float))
        return attn_fail(error, ATTN_ERR_ALIGNMENT, "%s%s is %p; it must be aligned to %zu bytes",
                         where, name, array, sizeof(float));
    return ATTN_OK;
}

static attn_status check_stride(const char *where, int64_t stride, int64_t rows,
                                int64_t head_size_v, attn_error *error)
{
    int64_t reach = 0;
    if (rows > 1 &&
        (stride == INT64_MIN || !attn_int64_mul(&reach, stride < 0 ? -stride : stride, rows - 1) ||
         !attn_int64_add(&reach, reach, head_size_v) || reach > INT64_MAX / 16))
        return attn_fail(error, ATTN_ERR_OVERFLOW,
                         "%s.o_stride is %" PRId64 ", which over %" PRId64
                         " rows reaches past what an address can tell",
                         where, stride, rows);
    return ATTN_OK;
}

/* The arrays that the result wants, of one part or of the result itself. */
static attn_status check_part(const char *where, const attn_part *part, const attn_part *result,
                              int64_t rows, int64_t head_size_v, attn_error *error)
{
    const struct {
        const char *name;
        const float *array;
        bool wanted;
    } arrays[] = {
        {".lse", part->lse, true},
        {".o", part->o, result->o != NULL},
        {".entropy", part->entropy,
         part == result ? result->entropy != NULL : result->entropy || result->varentropy},
        {".varentropy", part->varentropy, result->varentropy != NULL},
        {".max_weight", part->max_weight, result->max_weight != NULL},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        attn_status status = ATTN_OK;
        if (arrays[i].wanted)
            status = check_array(where, arrays[i].name, arrays[i].array, error);
        if (status)
            return status;
    }
    return result->o ? check_stride(where, part->o_stride, rows, head_size_v, error) : ATTN_OK;
}

static attn_status check_result(const attn_part *result, int64_t rows, int64_t head_size_v,
                                attn_error *error)
{
    attn_status status = check_part("result", result, result, rows, head_size_v, error);
    if (!status && result->o && rows > 1 && result->o_stride < head_size_v)
        return attn_fail(error, ATTN_ERR_STRIDE,
                         "result.o_stride is %" PRId64 "; it may be head_size_v, %" PRId64
                         ", or more",
                         result->o_stride, head_size_v);
    return status;
}

static attn_status check_parts(const struct merge *m, attn_error *error)
{
    for (int64_t p = 0; p < m->count; p++) {
        const attn_part *part = &m->parts[p];
        char where[48];
        snprintf(where, sizeof where, "parts[%" PRId64 "]", p);
        attn_status status = check_part(where, part, &m->result, m->rows, m->head_size_v, error);
        if (status)
            return status;
        if (m->result.o && part->o == m->result.o && m->rows > 1 &&
            part->o_stride != m->result.o_stride)
            return attn_fail(error, ATTN_ERR_STRIDE,
                             "%s.o is result.o, but its o_stride is %" PRId64
                             "; it must be that of the result, %" PRId64,
                             where, part->o_stride, m->result.o_stride);
    }
    return ATTN_OK;
}

attn_status attn_merge(const attn_part *result, const attn_part *parts, int64_t count, int64_t rows,
                       int64_t head_size_v, const attn_executor *executor, attn_error *error)
{
    if (!result)
        return attn_fail(error, ATTN_ERR_NULL, "result is NULL; it must be given");
    attn_status status = attn_executor_check(executor, error);
    if (!status)
        status = check_counts(count, rows, head_size_v, error);
    if (status)
        return status;
    if (!parts && count > 0)
        return attn_fail(error, ATTN_ERR_NULL,
                         "parts is NULL; it must hold count = %" PRId64 " parts", count);
    if (rows == 0)
        return attn_succeed(error);
    struct merge merge = {*result, parts, count, rows, head_size_v, 1};
    status = check_result(result, rows, head_size_v, error);
    if (!status)
        status = check_parts(&merge, error);
    if (status)
        return status;
    int64_t channels = attn_int64_min(result->o ? head_size_v : 1, TASK_ELEMENTS) + 16;
    int64_t row_elements = channels * (attn_int64_min(count, TASK_ELEMENTS) + 1);
    merge.task_rows = attn_int64_max(1, TASK_ELEMENTS / row_elements);
    status =
        attn_launch(executor, attn_int64_div_up(rows, merge.task_rows), merge_rows, &merge, error);
    return status ? status : attn_succeed(error);
}

/* ---- the sink ---- */

static void scale_row(float *o, int64_t head_size_v, double factor)
{
    for (int64_t d = 0; d < head_size_v; d++)
        o[d] = (float)(factor * (double)o[d]);
}

attn_status attn_merge_sink(const attn_part *result, float sink, float *lse_with_sink, int64_t rows,
                            int64_t head_size_v, attn_error *error)
{
    if (!result)
        return attn_fail(error, ATTN_ERR_NULL, "result is NULL; it must be given");
    attn_status status = check_counts(0, rows, head_size_v, error);
    if (status)
        return status;
    if (isnan(sink) || sink == INFINITY)
        return attn_fail(error, ATTN_ERR_VALUE, "sink is %g; it may be finite or -inf",
                         (double)sink);
    if (rows == 0)
        return attn_succeed(error);
    attn_part used = {.o = result->o, .o_stride = result->o_stride, .lse = result->lse};
    status = check_result(&used, rows, head_size_v, error);
    if (!status && lse_with_sink)
        status = check_array("", "lse_with_sink", lse_with_sink, error);
    if (status)
        return status;
    for (int64_t row = 0; row < rows; row++) {
        double keys = (double)used.lse[row], extra = (double)sink;
        double high = larger(keys, extra);
        /* the larger of the two exponents is 0, so neither overflows */
        double keys_share = high == -INFINITY ? 0 : exp(keys - high);
        double both = high == -INFINITY ? 1 : keys_share + exp(extra - high);
        if (used.o && keys == -INFINITY)
            memset(used.o + row * used.o_stride, 0, (size_t)head_size_v * sizeof(float));
        else if (used.o)
            scale_row(used.o + row * used.o_stride, head_size_v, keys_share / both);
        if (lse_with_sink)
            lse_with_sink[row] = (float)(high + log(both));
    }
    return attn_succeed(error);
}
