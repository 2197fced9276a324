/* Comparing a case with the specification. Rows that a NaN or +Inf reaches must show it; rows that leave
 * f32's range are promised nothing and skipped. */
#include "attention/compare.h"

#include "attention/bounds.h"

#include <stdarg.h>
#include <stdlib.h>

#include "attn_ref.h"

enum { PRINTED_FAULTS = 6 };

static void __attribute__((format(printf, 2, 3)))
fault(struct record *record, const char *format, ...)
{
    if (record->faults++ == 0 && record->present)
        case_describe(record->present, stderr);
    if (record->faults > PRINTED_FAULTS)
        return;
    va_list list;
    va_start(list, format);
    fputs("    ", stderr);
    vfprintf(stderr, format, list);
    fputs("\n", stderr);
    va_end(list);
}

static void note(struct record *record, const char *name, double multiple)
{
    int q = 0;
    while (q < record->quantities && strcmp(record->quantity[q].name, name) != 0)
        q++;
    if (q == record->quantities && q < RECORD_QUANTITIES)
        record->quantity[record->quantities++].name = name;
    if (q < RECORD_QUANTITIES && multiple > record->quantity[q].worst) {
        record->quantity[q].worst = multiple;
        record->quantity[q].seed = record->present ? record->present->seed : 0;
    }
}

bool record_check(struct record *record, const char *name, double got, double expected,
                  double bound, const char *where)
{
    if (got == expected) {
        note(record, name, 0);
        return true;
    }
    double error = fabs(got - expected);
    /* the final rounding to f32, and results below its normal range */
    double allowed = bound + 0x1p-23 * fabs(expected) + 0x1p-126;
    if (isfinite(got) && isfinite(expected))
        note(record, name, error / allowed);
    if (error <= allowed)
        return true;
    fault(record, "%s%s is %.9g, should be %.9g within %.3g", name, where, got, expected, allowed);
    return false;
}

static void check_exact(struct record *record, const char *name, int64_t got, int64_t expected,
                        const char *where)
{
    if (got != expected)
        fault(record, "%s%s is %lld, should be exactly %lld", name, where, (long long)got,
              (long long)expected);
}

/* ---- one row ---------------------------------------------------------------------------------- */

struct comparison {
    const struct attention_case *c;
    struct record *record;
    attn_ref_row row;
    struct row_bounds bounds;
    char where[80];
    int64_t index;             /* of the row in [B, Hq, Nq] */
    double *mass, *mass_bound; /* [Nk] of the present head */
    int32_t *viewers;
    bool *column_unknown; /* [Nk] a viewer is poisoned or skipped */
};

/* Half a unit in the last place of a dtype at x: what rounding a result to it may cost. */
static double half_ulp(attn_dtype dtype, double x)
{
    int exponent;
    frexp(x, &exponent);
    if (dtype == ATTN_BF16) /* 8 digits, down to 2^-133 */
        return fmax(ldexp(1, exponent - 9), 0x1p-134);
    if (dtype == ATTN_F16) /* 11 digits, down to 2^-24 */
        return fmax(ldexp(1, exponent - 12), 0x1p-25);
    return 0; /* f32: record_check's own */
}

/* Beyond this a result may round to infinity. */
static double largest_of(attn_dtype dtype)
{
    return dtype == ATTN_F16 ? 65520 : dtype == ATTN_BF16 ? 0x1.ffp127 : INFINITY;
}

/* NaN or Inf where the exact result has one, whatever the weight rounds to; else within the bound. */
static void check_output(struct comparison *x)
{
    const attn_ref_row *row = &x->row;
    const attn_dtype dtype = x->c->problem.o.dtype;
    if (!x->c->args.o)
        return;
    const char *name = dtype == ATTN_F32    ? x->bounds.pairs ? "o of pairs" : "o"
                       : dtype == ATTN_BF16 ? x->bounds.pairs ? "bf16 o of pairs" : "bf16 o"
                                            : "f16 o";
    for (int64_t d = 0; d < x->c->problem.head_size_v; d++) {
        double got = case_output(x->c, row->batch, row->head, row->query, d);
        double bound = x->bounds.o[d], most = fabs(row->o[d]) + bound;
        if (isinf(bound) && isfinite(row->o[d]))
            continue;
        if (isinf(got) && most >= largest_of(dtype) && got * row->o[d] > 0)
            continue;
        if (isfinite(row->o[d]))
            record_check(x->record, name, got, row->o[d], bound + half_ulp(dtype, most), x->where);
        else if (isnan(row->o[d]) ? !isnan(got) : isfinite(got))
            fault(x->record, "o%s is %g, must be like %g", x->where, got, row->o[d]);
    }
}

static void check_poisoned(struct comparison *x)
{
    x->record->poisoned_rows++;
    const attn_ref_row *row = &x->row;
    const float *const sums[] = {x->c->args.lse, x->c->args.lse_with_sink};
    for (int i = 0; i < 2; i++)
        if (sums[i] && isfinite(sums[i][x->index]))
            fault(x->record, "%s%s is %g where a visible score is NaN or Inf",
                  i ? "lse_with_sink" : "lse", x->where, (double)sums[i][x->index]);
    if (x->c->args.sum && isfinite(x->c->args.sum[x->index]) &&
        isfinite(x->c->args.reference[x->index]))
        fault(x->record, "reference and sum%s are %g and %g where a visible score is NaN or Inf",
              x->where, (double)x->c->args.reference[x->index], (double)x->c->args.sum[x->index]);
    for (int64_t d = 0; x->c->args.o && d < x->c->problem.head_size_v; d++) {
        double o = case_output(x->c, row->batch, row->head, row->query, d);
        if (isfinite(o))
            fault(x->record, "o%s is %g where a visible score is NaN or Inf", x->where, o);
    }
}

/* The reference is one of several that will do; the sum is told against it (and o, by check_output). */
static void check_reference(struct comparison *x)
{
    const double reference = (double)x->c->args.reference[x->index];
    const double sum = (double)x->c->args.sum[x->index];
    if (x->row.visible_keys == 0) {
        record_check(x->record, "reference", reference, -INFINITY, 0, x->where);
        record_check(x->record, "sum", sum, 0, 0, x->where);
        return;
    }
    if (!(x->row.max_score - reference <= x->bounds.reference))
        fault(x->record, "reference%s is %.9g, too far below a score of %.9g", x->where, reference,
              x->row.max_score);
    if (!(reference - x->row.max_score <= x->bounds.reference - 8 * log(2)))
        fault(x->record, "reference%s is %.9g, above every score: %.9g", x->where, reference,
              x->row.max_score);
    record_check(x->record, "sum", sum, x->row.sum, x->bounds.sum, x->where);
    if (!(sum >= 0.25)) /* the largest score has reached it */
        fault(x->record, "sum%s is %.9g, less than one weight", x->where, sum);
}

static void check_statistic(struct comparison *x, uint32_t bit, const char *name,
                            const float *array, double expected, double bound)
{
    if (x->c->problem.statistics && x->c->wanted.set & bit)
        record_check(x->record, name, (double)array[x->index], expected, bound, x->where);
}

/* The largest score may be one of several that round alike; an exact tie goes to the lowest key. */
static void check_max_key(struct comparison *x)
{
    int64_t got = x->c->statistics.max_key[x->index], best = x->row.max_key;
    if (got == best)
        return;
    bool candidate = got >= 0 && got < x->row.keys && x->row.visible[got];
    double room = candidate ? x->bounds.score[got] + x->bounds.score[best] : 0;
    if (!candidate || !(x->row.score[best] - x->row.score[got] <= room))
        fault(x->record, "max_key%s is %lld, should be %lld", x->where, (long long)got,
              (long long)best);
}

static void check_row_statistics(struct comparison *x)
{
    const attn_ref_row *r = &x->row;
    const struct row_bounds *b = &x->bounds;
    const attn_statistics *s = &x->c->statistics;
    check_statistic(x, ATTN_STAT_ENTROPY, "entropy", s->entropy, r->entropy, b->entropy);
    check_statistic(x, ATTN_STAT_VARENTROPY, "varentropy", s->varentropy, r->varentropy,
                    b->varentropy);
    check_statistic(x, ATTN_STAT_PARTICIPATION, "participation", s->participation, r->participation,
                    b->participation);
    check_statistic(x, ATTN_STAT_MAX_WEIGHT, "max_weight", s->max_weight, r->max_weight,
                    b->max_weight);
    check_statistic(x, ATTN_STAT_MAX_LOGIT, "max_logit", s->max_logit, r->max_logit, b->max_logit);
    check_statistic(x, ATTN_STAT_MAX_ABS_LOGIT, "max_abs_logit", s->max_abs_logit, r->max_abs_logit,
                    b->max_logit);
    check_statistic(x, ATTN_STAT_MAX_SCORE, "max_score", s->max_score, r->max_score, b->max_score);
    check_statistic(x, ATTN_STAT_MIN_SCORE, "min_score", s->min_score, r->min_score, b->max_score);
    check_statistic(x, ATTN_STAT_MASS_SELF, "mass_self", s->mass_self, r->mass_self, b->mass_self);
    check_statistic(x, ATTN_STAT_MASS_PREVIOUS, "mass_previous", s->mass_previous, r->mass_previous,
                    b->mass_previous);
    check_statistic(x, ATTN_STAT_MASS_NEXT, "mass_next", s->mass_next, r->mass_next, b->mass_next);
    check_statistic(x, ATTN_STAT_MASS_FIRST, "mass_first", s->mass_first, r->mass_first,
                    b->mass_first);
    check_statistic(x, ATTN_STAT_MASS_LOCAL, "mass_local", s->mass_local, r->mass_local,
                    b->mass_local);
    check_statistic(x, ATTN_STAT_DISTANCE_MEAN, "distance_mean", s->distance_mean, r->distance_mean,
                    b->distance_mean);
    /* an error e of the variance is at most sqrt(e), and at most e / sd, of its root */
    double sd = r->distance_sd, e = b->distance_variance;
    check_statistic(x, ATTN_STAT_DISTANCE_SD, "distance_sd", s->distance_sd, sd,
                    e < sd * sd ? sd - sqrt(sd * sd - e) : sqrt(sd * sd + e));
    if (x->c->wanted.set & ATTN_STAT_MAX_KEY)
        check_max_key(x);
    for (int32_t i = 0; x->c->wanted.set & ATTN_STAT_MASS_SEGMENTS && i < x->c->wanted.segments;
         i++)
        record_check(x->record, "mass_segments",
                     (double)s->mass_segments[x->index * x->c->wanted.segments + i],
                     r->mass_segments[i], b->mass_segments[i], x->where);
}

static void check_top_keys(struct comparison *x)
{
    int32_t k = x->c->wanted.top_keys;
    const int32_t *keys = x->c->statistics.top_keys + x->index * k;
    const float *weights = x->c->statistics.top_weights + x->index * k;
    int32_t expected[64];
    double expected_weights[64];
    attn_ref_row_top_keys(&x->row, k, expected, expected_weights);
    for (int32_t t = 0; t < k; t++) {
        int64_t got = keys[t], want = expected[t];
        if (want < 0) {
            check_exact(x->record, "top_keys", got, -1, x->where);
            record_check(x->record, "top_weights", (double)weights[t], 0, 0, x->where);
            continue;
        }
        if (got == -1 && x->row.score[want] == -INFINITY)
            continue; /* a visible score of -Inf may count as a key that is not seen */
        bool right = got >= 0 && got < x->row.keys && x->row.visible[got];
        for (int32_t earlier = 0; earlier < t; earlier++)
            right &= keys[earlier] != got;
        /* The t-th largest of perturbed scores lies within the largest perturbation. */
        if (!right || fabs(x->row.score[got] - x->row.score[want]) > 2 * x->bounds.max_score) {
            fault(x->record, "top_keys%s has %lld where %lld is due", x->where, (long long)got,
                  (long long)want);
            return;
        }
        record_check(x->record, "top_weights", (double)weights[t], x->row.weight[got],
                     x->bounds.weight[got], x->where);
    }
}

static void check_weights(struct comparison *x, bool known)
{
    const attn_statistics *s = &x->c->statistics;
    const attn_ref_row *r = &x->row;
    for (int64_t w = 0; x->c->wanted.set & ATTN_STAT_WEIGHTS && w < s->weights_count; w++) {
        const attn_weights_request *q = &s->weights[w];
        if (q->batch != r->batch || q->head != r->head || r->query < q->row_begin ||
            r->query >= q->row_end)
            continue;
        const float *weights = q->weights + (r->query - q->row_begin) * x->c->args.keys;
        for (int64_t j = 0; j < x->c->args.keys; j++)
            if (j >= r->keys || !r->visible[j]) /* a zero, behind the sequence too */
                record_check(x->record, "weights", (double)weights[j], 0, 0, x->where);
            else if (known)
                record_check(x->record, "weights", (double)weights[j], r->weight[j],
                             x->bounds.weight[j], x->where);
    }
    for (int64_t n = 0; x->c->wanted.set & ATTN_STAT_PAIRS && n < s->pairs_count; n++) {
        const attn_pair *pair = &s->pairs[n];
        if (pair->batch == r->batch && pair->head == r->head && pair->query == r->query &&
            (known || !r->visible[pair->key]))
            record_check(x->record, "pair_weights", (double)s->pair_weights[n],
                         r->weight[pair->key], x->bounds.weight[pair->key], x->where);
    }
}

static void check_row(struct comparison *x)
{
    const struct attention_case *c = x->c;
    bool statistics = c->problem.statistics;
    if (c->problem.unnormalised && isfinite(c->args.reference[x->index]))
        attn_ref_row_refer(&x->row, &c->problem, &c->args, (double)c->args.reference[x->index]);
    row_bounds_compute(&x->bounds, &x->row, &c->problem, &c->args);
    if (c->problem.unnormalised && x->bounds.max_score >= 1) /* only their size is known */
        attn_ref_row_refer(&x->row, &c->problem, &c->args, x->row.max_score);
    bool known = !x->bounds.overflowing && !x->bounds.poisoned && !x->bounds.blind;
    x->record->rows++;
    for (int64_t j = 0; j < x->row.keys; j++) {
        x->viewers[j] += x->row.visible[j];
        x->column_unknown[j] |= x->row.visible[j] && !known;
        x->mass[j] += known ? x->row.weight[j] : 0;
        x->mass_bound[j] += known ? x->bounds.weight[j] : 0;
    }
    if (statistics && c->wanted.set & ATTN_STAT_VISIBLE_KEYS)
        check_exact(x->record, "visible_keys", c->statistics.visible_keys[x->index],
                    x->row.visible_keys, x->where);
    if (statistics)
        check_weights(x, known);
    if (x->bounds.poisoned) {
        check_poisoned(x);
        return;
    }
    if (!known) {
        x->record->skipped_rows++;
        return;
    }
    check_output(x);
    if (c->args.lse)
        record_check(x->record, "lse", (double)c->args.lse[x->index], x->row.lse, x->bounds.lse,
                     x->where);
    if (c->args.lse_with_sink)
        record_check(x->record, "lse_with_sink", (double)c->args.lse_with_sink[x->index],
                     x->row.lse_with_sink, x->bounds.lse_with_sink, x->where);
    if (c->problem.unnormalised)
        check_reference(x);
    if (statistics)
        check_row_statistics(x);
    if (statistics && c->wanted.set & ATTN_STAT_TOP_KEYS)
        check_top_keys(x);
}

/* Summing Nq weights that are >= 0: Nq u relative on top of their own errors. */
static void check_columns(struct comparison *x, int64_t b, int64_t h)
{
    const struct attention_case *c = x->c;
    const bool ragged = c->problem.lengths >= ATTN_LENGTHS_RAGGED_I32;
    for (int64_t j = 0; j < (ragged && !c->problem.cache ? case_keys(c, b) : c->args.keys); j++) {
        int64_t at = attn_ref_key_index(&c->problem, &c->args, b, h, j);
        snprintf(x->where, sizeof x->where, "[%lld][%lld][key %lld]", (long long)b, (long long)h,
                 (long long)j);
        if (c->wanted.set & ATTN_STAT_COLUMN_VIEWERS)
            check_exact(x->record, "column_viewers", c->statistics.column_viewers[at],
                        x->viewers[j], x->where);
        if (c->wanted.set & ATTN_STAT_COLUMN_MASS && !x->column_unknown[j])
            record_check(
                x->record, "column_mass", (double)c->statistics.column_mass[at], x->mass[j],
                x->mass_bound[j] + (double)c->args.queries * 0x1p-24 * x->mass[j], x->where);
    }
}

static void check_head(struct comparison *x, int64_t b, int64_t h)
{
    const struct attention_case *c = x->c;
    size_t keys = (size_t)c->args.keys;
    memset(x->mass, 0, keys * sizeof *x->mass);
    memset(x->mass_bound, 0, keys * sizeof *x->mass_bound);
    memset(x->viewers, 0, keys * sizeof *x->viewers);
    memset(x->column_unknown, 0, keys * sizeof *x->column_unknown);
    const bool ragged = c->problem.lengths >= ATTN_LENGTHS_RAGGED_I32;
    for (int64_t i = 0; i < (ragged ? case_queries(c, b) : c->args.queries); i++) {
        attn_ref_row_compute(&x->row, &c->problem, &c->args, b, h, i);
        x->index = attn_ref_row_index(&c->problem, &c->args, b, h, i);
        snprintf(x->where, sizeof x->where, "[%lld][%lld][%lld]", (long long)b, (long long)h,
                 (long long)i);
        check_row(x);
    }
    if (c->problem.statistics)
        check_columns(x, b, h);
}

int case_compare(const struct attention_case *c, struct record *record)
{
    struct comparison x = {.c = c, .record = record};
    size_t keys = (size_t)c->args.keys;
    record->present = c;
    record->faults = 0;
    if (attn_ref_row_create(&x.row, &c->problem, &c->args) != ATTN_OK)
        abort();
    row_bounds_create(&x.bounds, &c->problem, &c->args);
    x.bounds.pairs = case_multiplies_pairs(c);
    x.bounds.function_factor = fabs(c->function.factor);
    x.bounds.function_offset = c->function.offset;
    x.mass = need(keys, sizeof *x.mass);
    x.mass_bound = need(keys, sizeof *x.mass_bound);
    x.viewers = need(keys, sizeof *x.viewers);
    x.column_unknown = need(keys, sizeof *x.column_unknown);
    for (int64_t b = 0; b < c->args.batch; b++)
        for (int64_t h = 0; h < c->problem.heads; h++)
            check_head(&x, b, h);
    for (int i = 0; i < c->outputs_count; i++) {
        size_t at;
        const char *text = guarded_fault(&c->outputs[i], &at);
        if (text)
            fault(record, "%s: %s, at element %zu", c->outputs[i].name, text, at);
    }
    free(x.mass);
    free(x.mass_bound);
    free(x.viewers);
    free(x.column_unknown);
    row_bounds_destroy(&x.bounds);
    attn_ref_row_destroy(&x.row);
    record->present = NULL;
    return record->faults;
}

void record_print(const struct record *record)
{
    printf("%lld rows compared (%lld with NaN or Inf, %lld beyond f32's range); worst errors as "
           "multiples of their bounds:\n",
           (long long)record->rows, (long long)record->poisoned_rows,
           (long long)record->skipped_rows);
    for (int q = 0; q < record->quantities; q++)
        printf("  %-14s %.3f (seed %llu)\n", record->quantity[q].name, record->quantity[q].worst,
               (unsigned long long)record->quantity[q].seed);
}
