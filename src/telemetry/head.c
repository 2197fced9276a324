/* Everything about one head: each row array through attn_summarize by a table, the segments, the sinks. */
#include "telemetry/rules.h"

#include "base/error.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>

enum range { UNIT, LOG_KEYS, KEYS, OBSERVED };

/* Where each metric comes from: the field of attn_head_rows, what is done to it, its histogram. */
static const struct source {
    const char *name;
    size_t field;
    attn_transform transform;
    enum range range;
} sources[ATTN_METRICS] = {
#define FIELD(name) offsetof(attn_head_rows, name)
    [ATTN_METRIC_ENTROPY] = {"entropy", FIELD(entropy), ATTN_AS_IS, LOG_KEYS},
    [ATTN_METRIC_ENTROPY_NORMALIZED] = {"entropy_normalized", FIELD(entropy), ATTN_NORMALIZED,
                                        UNIT},
    [ATTN_METRIC_ENTROPY_DEFICIT] = {"entropy_deficit", FIELD(entropy), ATTN_DEFICIT, LOG_KEYS},
    [ATTN_METRIC_EFFECTIVE_KEYS] = {"effective_keys", FIELD(entropy), ATTN_EFFECTIVE, KEYS},
    [ATTN_METRIC_ENTROPY_WITHOUT_SINKS] = {"entropy_without_sinks", FIELD(entropy_without_sinks),
                                           ATTN_AS_IS, LOG_KEYS},
    [ATTN_METRIC_VARENTROPY] = {"varentropy", FIELD(varentropy), ATTN_AS_IS, OBSERVED},
    [ATTN_METRIC_PARTICIPATION] = {"participation", FIELD(participation), ATTN_AS_IS, KEYS},
    [ATTN_METRIC_MAX_WEIGHT] = {"max_weight", FIELD(max_weight), ATTN_AS_IS, UNIT},
    [ATTN_METRIC_MAX_LOGIT] = {"max_logit", FIELD(max_logit), ATTN_AS_IS, OBSERVED},
    [ATTN_METRIC_MAX_ABS_LOGIT] = {"max_abs_logit", FIELD(max_abs_logit), ATTN_AS_IS, OBSERVED},
    [ATTN_METRIC_MAX_SCORE] = {"max_score", FIELD(max_score), ATTN_AS_IS, OBSERVED},
    [ATTN_METRIC_MIN_SCORE] = {"min_score", FIELD(min_score), ATTN_AS_IS, OBSERVED},
    [ATTN_METRIC_MASS_SELF] = {"mass_self", FIELD(mass_self), ATTN_AS_IS, UNIT},
    [ATTN_METRIC_MASS_PREVIOUS] = {"mass_previous", FIELD(mass_previous), ATTN_AS_IS, UNIT},
    [ATTN_METRIC_MASS_NEXT] = {"mass_next", FIELD(mass_next), ATTN_AS_IS, UNIT},
    [ATTN_METRIC_MASS_FIRST] = {"mass_first", FIELD(mass_first), ATTN_AS_IS, UNIT},
    [ATTN_METRIC_MASS_LOCAL] = {"mass_local", FIELD(mass_local), ATTN_AS_IS, UNIT},
    [ATTN_METRIC_DISTANCE_MEAN] = {"distance_mean", FIELD(distance_mean), ATTN_AS_IS, OBSERVED},
    [ATTN_METRIC_DISTANCE_SD] = {"distance_sd", FIELD(distance_sd), ATTN_AS_IS, OBSERVED},
    [ATTN_METRIC_CONTRIBUTION_NORM] = {"contribution_norm", FIELD(contribution_norm), ATTN_AS_IS,
                                       OBSERVED},
#undef FIELD
};

const char *attn_metric_name(attn_metric metric)
{
    int i = (int)metric;
    return i >= 0 && i < ATTN_METRICS ? sources[i].name : "unknown metric";
}

static const float *field_of(const attn_head_rows *rows, size_t offset)
{
    const float *pointer;
    memcpy(&pointer, (const char *)rows + offset, sizeof pointer);
    return pointer;
}

attn_head_rows attn_head_rows_of(const attn_statistics *s, uint32_t set, int64_t heads,
                                 int64_t queries, int64_t keys, int32_t segments, int64_t b,
                                 int64_t h)
{
    const int64_t head = b * heads + h, row = head * queries;
    attn_head_rows r = {.struct_size = sizeof r, .rows = queries, .keys = keys};
    const struct {
        uint32_t bit;
        const float **to;
        const float *from;
    } floats[] = {
        {ATTN_STAT_ENTROPY, &r.entropy, s->entropy},
        {ATTN_STAT_VARENTROPY, &r.varentropy, s->varentropy},
        {ATTN_STAT_PARTICIPATION, &r.participation, s->participation},
        {ATTN_STAT_MAX_WEIGHT, &r.max_weight, s->max_weight},
        {ATTN_STAT_MAX_LOGIT, &r.max_logit, s->max_logit},
        {ATTN_STAT_MAX_ABS_LOGIT, &r.max_abs_logit, s->max_abs_logit},
        {ATTN_STAT_MAX_SCORE, &r.max_score, s->max_score},
        {ATTN_STAT_MIN_SCORE, &r.min_score, s->min_score},
        {ATTN_STAT_MASS_SELF, &r.mass_self, s->mass_self},
        {ATTN_STAT_MASS_PREVIOUS, &r.mass_previous, s->mass_previous},
        {ATTN_STAT_MASS_NEXT, &r.mass_next, s->mass_next},
        {ATTN_STAT_MASS_FIRST, &r.mass_first, s->mass_first},
        {ATTN_STAT_MASS_LOCAL, &r.mass_local, s->mass_local},
        {ATTN_STAT_DISTANCE_MEAN, &r.distance_mean, s->distance_mean},
        {ATTN_STAT_DISTANCE_SD, &r.distance_sd, s->distance_sd},
    };
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++)
        if ((set & floats[i].bit) && floats[i].from)
            *floats[i].to = floats[i].from + row;
    if ((set & ATTN_STAT_VISIBLE_KEYS) && s->visible_keys)
        r.visible_keys = s->visible_keys + row;
    if ((set & ATTN_STAT_MASS_SEGMENTS) && s->mass_segments) {
        r.mass_segments = s->mass_segments + row * segments;
        r.segments = segments;
    }
    /* The summary takes both of these or neither. */
    if ((set & ATTN_STAT_COLUMN_MASS) && (set & ATTN_STAT_COLUMN_VIEWERS) && s->column_mass &&
        s->column_viewers) {
        r.column_mass = s->column_mass + head * keys;
        r.column_viewers = s->column_viewers + head * keys;
    }
    return r;
}

static attn_status check(const attn_head_rows *rows, const float *scratch, attn_error *error)
{
    if (!rows)
        return attn_fail(error, ATTN_ERR_NULL, "rows is NULL");
    if (rows->struct_size != sizeof *rows)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "rows.struct_size is %zu; this library knows %zu", rows->struct_size,
                         sizeof *rows);
    if (rows->rows < 0 || rows->rows >= (int64_t)1 << 55)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "rows.rows is %" PRId64 "; it may be 0 or more, and less than 2^55",
                         rows->rows);
    if (rows->keys < 0)
        return attn_fail(error, ATTN_ERR_SHAPE, "rows.keys is %" PRId64 "; it may be 0 or more",
                         rows->keys);
    if (rows->segments < 0 || rows->segments > ATTN_SUMMARY_SEGMENTS)
        return attn_fail(error, ATTN_ERR_VALUE, "rows.segments is %" PRId32 "; it may be 0 .. %d",
                         rows->segments, (int)ATTN_SUMMARY_SEGMENTS);
    const char *missing = NULL;
    if (rows->rows > 0 && !rows->visible_keys)
        missing = "rows.visible_keys";
    else if (rows->rows > 0 && !scratch)
        missing = "scratch";
    if (missing)
        return attn_fail(error, ATTN_ERR_NULL, "%s is NULL; it may be so without rows", missing);
    if (rows->keys > 0 && !rows->column_mass != !rows->column_viewers)
        return attn_fail(error, ATTN_ERR_NULL, "rows.column_%s is NULL and its companion is not",
                         rows->column_mass ? "viewers" : "mass");
    if (rows->rows > 0 && !rows->entropy_without_sinks != !rows->visible_without_sinks)
        return attn_fail(error, ATTN_ERR_NULL,
                         "rows.%s_without_sinks is NULL and its companion is not",
                         rows->entropy_without_sinks ? "visible" : "entropy");
    return attn_succeed(error);
}

static void count_rows(attn_head_summary *s, const attn_head_rows *rows, int32_t voting_keys)
{
    for (int64_t r = 0; r < rows->rows; r++) {
        int32_t n = rows->visible_keys[r];
        s->rows += n >= 1;
        s->rows_used += n >= voting_keys;
        s->rows_label += n >= s->label_keys.low && n < s->label_keys.high;
        if (n > s->largest_n)
            s->largest_n = n;
    }
}

static attn_status summarize_metric(attn_head_summary *s, const attn_head_rows *rows, int metric,
                                    int32_t voting_keys, float *scratch, attn_error *error)
{
    const struct source *source = &sources[metric];
    const float *values = field_of(rows, source->field);
    attn_series series = attn_series_init(values ? rows->rows : 0, values, rows->visible_keys);
    series.transform = source->transform;
    series.voting_keys = voting_keys;
    series.label = s->label_keys;
    double n = s->largest_n > 1 ? (double)s->largest_n : 1.0;
    series.histogram_low = source->range == KEYS ? 1.0 : 0.0;
    series.histogram_high = source->range == UNIT       ? 1.0
                            : source->range == LOG_KEYS ? log(n)
                            : source->range == KEYS     ? n
                                                        : 0.0;
    if (metric == ATTN_METRIC_ENTROPY_WITHOUT_SINKS)
        series.present = rows->visible_without_sinks;
    s->measured[metric] = values != NULL;
    return attn_summarize(&s->metric[metric], &series, scratch, error);
}

/* Means of one segment's mass; values lie `segments` apart, so attn_summarize cannot read them. */
static void summarize_segment(attn_head_summary *s, const attn_head_rows *rows, int32_t segment,
                              int32_t voting_keys)
{
    double sum = 0.0, sum_label = 0.0;
    int64_t count = 0, count_label = 0;
    for (int64_t r = 0; r < rows->rows; r++) {
        int32_t n = rows->visible_keys[r];
        double x = (double)rows->mass_segments[r * rows->segments + segment];
        if (n < 1 || !isfinite(x))
            continue;
        if (n >= voting_keys) {
            sum += x;
            count++;
        }
        if (n >= s->label_keys.low && n < s->label_keys.high) {
            sum_label += x;
            count_label++;
        }
    }
    s->mass_segments[segment] = count ? sum / (double)count : NAN;
    s->mass_segments_label[segment] = count_label ? sum_label / (double)count_label : NAN;
}

attn_status attn_summarize_head(attn_head_summary *summary, const attn_head_rows *rows,
                                const attn_label_rules *rules, float *scratch, attn_error *error)
{
    if (!summary)
        return attn_fail(error, ATTN_ERR_NULL, "summary is NULL");
    attn_status status = check(rows, scratch, error);
    if (status != ATTN_OK)
        return status;
    status = attn_label_rules_check(rules, error);
    if (status != ATTN_OK)
        return status;
    attn_head_summary *s = summary;
    *s = (attn_head_summary){0};
    status = attn_label_range(&s->label_keys, rows->visible_keys, rows->rows, rules, error);
    if (status != ATTN_OK)
        return status;
    count_rows(s, rows, rules->voting_keys);
    for (int i = 0; i < ATTN_METRICS; i++) {
        status = summarize_metric(s, rows, i, rules->voting_keys, scratch, error);
        if (status != ATTN_OK)
            return status;
    }
    s->segments = rows->mass_segments ? rows->segments : 0;
    for (int32_t i = 0; i < ATTN_SUMMARY_SEGMENTS; i++) {
        if (i < s->segments)
            summarize_segment(s, rows, i, rules->voting_keys);
        else
            s->mass_segments[i] = s->mass_segments_label[i] = NAN;
    }
    return attn_find_sinks(s->sinks, rows->column_mass, rows->column_viewers,
                           rows->column_mass ? rows->keys : 0, rules->sink_viewers, error);
}
