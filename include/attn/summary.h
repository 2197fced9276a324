/* From the statistics of rows (attn/stats.h) to figures about a head, and to labels.
 *
 *     attn_head_rows rows = attn_head_rows_of(&statistics, set, heads, queries, keys, segments, b, h);
 *     attn_label_rules rules = attn_label_rules_init();
 *     attn_head_summary summary;
 *     attn_summarize_head(&summary, &rows, &rules, scratch, NULL);       // float scratch[queries]
 *     attn_label_scores scores = attn_label_scores_of(&summary, causal);
 *     scores.induction = ...;                                            // what a probe has measured
 *     uint32_t labels = attn_head_labels(&scores, &rules);               // ATTN_LABEL_* bits
 *
 * Which rows count. n is the number of keys that a row sees. Rows with n = 0 never count. "All" rows
 * are those with n >= 1; rows with n >= rules.voting_keys (16) *vote*: on the first rows of a causal
 * text every head looks at the first tokens, so those say nothing about it. Labels look at the rows
 * with 256 <= n < 512 where the text has them, because normalised entropy drifts with n; else at all
 * rows that vote.
 *
 * Conventions. A figure that was not measured, or of which there is no row, is NaN. Values that are NaN
 * or infinite are left out of every figure and counted. Sums are in double and in the order of the
 * rows: the same input gives the same bits. Nothing here allocates; outputs are the caller's structs.
 * Inputs may alias each other; outputs and scratch may alias nothing. */
#ifndef ATTN_SUMMARY_H
#define ATTN_SUMMARY_H

#include "attn/attn.h"
#include "attn/stats.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Labels: the rules ------------------------------------------------------------------------------ */

/* Cut-offs of the labels, and which rows they are told from. They are conventions, not facts: every score
 * is kept beside the label. Sources: 0.5 for offsets and 0.6 for separators, Clark et al. 2019, "What does
 * BERT look at?"; sinks, Gu et al. 2024, "When attention sink emerges in language models"; confidence as
 * the mean of the largest weight, Voita et al. 2019, "Analyzing multi-head self-attention"; the norm of a
 * head's output, Sandoval-Segura et al. 2025. */
typedef struct attn_label_rules {
    size_t struct_size; /* sizeof(attn_label_rules) */

    int32_t voting_keys;     /* a row votes if it sees at least this many keys; >= 1; default 16 */
    int32_t label_keys_low;  /* labels look at rows with low <= n < high ...; >= 1; default 256 */
    int32_t label_keys_high; /* ... > low; default 512 */
    int32_t label_rows;      /* ... if there are at least this many of them; >= 1; default 16 */
    int32_t sink_viewers;    /* a key can be a sink if this many rows see it; >= 1; default 64 */

    double inactive_below;          /* contribution_norm_ratio; default 0.1 */
    double sink_above;              /* sink; default 0.3 */
    double induction_above;         /* induction; default 0.4 */
    double duplicate_above;         /* duplicate; default 0.4 */
    double previous_above;          /* previous, and previous_probe too; default 0.5 */
    double self_above;              /* self; default 0.5 */
    double next_above;              /* next; default 0.5 */
    double special_above;           /* special; default 0.6 */
    double uniform_below;           /* 1 - entropy_normalized; default 0.05 */
    double broad_below;             /* 1 - entropy_normalized; default 0.2 */
    double peaked_below;            /* entropy_normalized; default 0.05 */
    double peaked_max_weight_above; /* max_weight; default 0.9 */
} attn_label_rules;

static inline attn_label_rules attn_label_rules_init(void)
{
    attn_label_rules rules;
    memset(&rules, 0, sizeof rules);
    rules.struct_size = sizeof rules;
    rules.voting_keys = 16;
    rules.label_keys_low = 256;
    rules.label_keys_high = 512;
    rules.label_rows = 16;
    rules.sink_viewers = 64;
    rules.inactive_below = 0.1;
    rules.sink_above = 0.3;
    rules.induction_above = rules.duplicate_above = 0.4;
    rules.previous_above = rules.self_above = rules.next_above = 0.5;
    rules.special_above = 0.6;
    rules.uniform_below = 0.05;
    rules.broad_below = 0.2;
    rules.peaked_below = 0.05;
    rules.peaked_max_weight_above = 0.9;
    return rules;
}

/* Rows that see low <= n < high keys. */
typedef struct attn_key_range {
    int32_t low, high;
} attn_key_range;

/* The rows that labels of a head look at: {label_keys_low, label_keys_high} if at least rules->label_rows
 * of visible_keys[rows] lie in it, else {voting_keys, INT32_MAX}. Errors: NULL, STRUCT_SIZE, SHAPE
 * (rows < 0), VALUE (a rule outside its range). */
ATTN_API attn_status attn_label_range(attn_key_range *range, const int32_t *visible_keys,
                                      int64_t rows, const attn_label_rules *rules,
                                      attn_error *error);

/* ---- One series of rows ----------------------------------------------------------------------------- */

enum {
    ATTN_HISTOGRAM_BINS = 32,
    ATTN_POSITION_BINS = 256,
    ATTN_SUMMARY_SINKS = 4,
    ATTN_SUMMARY_SEGMENTS = 32,
};

/* What is summarised of each value x of a row that sees n keys. */
typedef enum attn_transform {
    ATTN_AS_IS = 0,
    ATTN_NORMALIZED = 1, /* x / ln n, of an entropy: 1 = uniform; rows with n < 2 are left out */
    ATTN_DEFICIT = 2,    /* ln n - x, of an entropy: its divergence from uniform, in nats */
    ATTN_EFFECTIVE = 3,  /* exp(x), of an entropy: the effective number of keys */
} attn_transform;

/* One value for each row of one head. */
typedef struct attn_series {
    size_t struct_size;          /* sizeof(attn_series) */
    int64_t rows;                /* >= 0 */
    const float *values;         /* [rows]; NULL only if rows is 0 */
    const int32_t *visible_keys; /* [rows]: n of each; NULL only if rows is 0 */
    const int32_t *present;      /* [rows]: rows where it is < 1 are left out; default NULL: none */
    attn_transform transform;    /* default ATTN_AS_IS */
    int32_t voting_keys;         /* >= 1; default 16 */
    attn_key_range label;        /* rows of mean_label; default {256, 512} */
    double histogram_low, histogram_high; /* finite; low = high (default 0, 0): the least and the
                                             largest value of the rows that vote */
} attn_series;

static inline attn_series attn_series_init(int64_t rows, const float *values,
                                           const int32_t *visible_keys)
{
    attn_series series;
    memset(&series, 0, sizeof series);
    series.struct_size = sizeof series;
    series.rows = rows;
    series.values = values;
    series.visible_keys = visible_keys;
    series.voting_keys = 16;
    series.label.low = 256;
    series.label.high = 512;
    return series;
}

/* What became of it. Units are those of the (transformed) value. */
typedef struct attn_summary {
    int64_t count_all;   /* finite values of rows with n >= 1 */
    int64_t count;       /* of these, rows that vote */
    int64_t count_label; /* of count_all, rows that labels look at */
    int64_t not_finite;  /* values of rows with n >= 1 left out because they are NaN or infinite */

    double mean_all, min_all, max_all; /* over all rows */
    double mean_label;                 /* over the rows that labels look at */
    double mean, sd, min, max;         /* over rows that vote; sd = sqrt(mean of (x - mean)^2) */
    /* Their 5th and 95th percentile, linear between neighbours (Hyndman and Fan 1996, type 7), of the
     * values rounded to f32. */
    double p05, p95;

    /* Values of rows that vote: bin b counts low + b w <= x < low + (b + 1) w, w = (high - low) / 32; the
     * last bin holds high too. What lies outside is counted in the first or last bin. If low = high all
     * values are in bin 0. */
    double histogram_low, histogram_high;
    int64_t histogram[ATTN_HISTOGRAM_BINS];

    /* Means over all rows by position: bin b holds the rows r with floor(r * bins / rows) = b. NaN where a
     * bin has no value; beyond `bins` too. */
    int32_t position_bins; /* min(256, rows) */
    float position_mean[ATTN_POSITION_BINS];
} attn_summary;

/* Reduce a series. scratch[rows] is overwritten; NULL only if rows is 0. Errors: NULL, STRUCT_SIZE, SHAPE
 * (rows < 0 or >= 2^55), VALUE (an unknown transform, voting_keys < 1, histogram bounds not finite or
 * reversed). */
ATTN_API attn_status attn_summarize(attn_summary *summary, const attn_series *series,
                                    float *scratch, attn_error *error);

/* ---- Sinks -------------------------------------------------------------------------------------------- */

/* A key that many rows look at (Xiao et al. 2023; Gu et al. 2024). It is measured over the rows that can
 * see it: under a window of 512 no key can hold more than 512 / N of all rows. */
typedef struct attn_sink {
    int64_t key; /* -1 = none */
    double mass; /* column mass / viewers: the mean weight it gets from rows that see it; 0..1 */
    int32_t viewers; /* how many rows see it */
} attn_sink;

/* The four keys of largest mass among those with at least `least_viewers` viewers, largest first, the lower
 * key first on ties; key = -1, mass = NaN, viewers = 0 where there are fewer. Keys whose column mass is
 * not finite are passed over. column_mass[keys], column_viewers[keys]; NULL only if keys is 0. Errors: NULL,
 * SHAPE (keys < 0), VALUE (least_viewers < 1). */
ATTN_API attn_status attn_find_sinks(attn_sink sinks[ATTN_SUMMARY_SINKS], const float *column_mass,
                                     const int32_t *column_viewers, int64_t keys,
                                     int32_t least_viewers, attn_error *error);

/* ---- A head ------------------------------------------------------------------------------------------- */

/* The series of a head. Histogram ranges in brackets; "observed" = least to largest of rows that vote. */
typedef enum attn_metric {
    ATTN_METRIC_ENTROPY = 0,           /* nats [0, ln of the largest n] */
    ATTN_METRIC_ENTROPY_NORMALIZED,    /* H / ln n [0, 1] */
    ATTN_METRIC_ENTROPY_DEFICIT,       /* ln n - H, nats [0, ln of the largest n] */
    ATTN_METRIC_EFFECTIVE_KEYS,        /* exp H [1, the largest n] */
    ATTN_METRIC_ENTROPY_WITHOUT_SINKS, /* nats [0, ln of the largest n] */
    ATTN_METRIC_VARENTROPY,            /* nats^2 [observed] */
    ATTN_METRIC_PARTICIPATION,         /* keys [1, the largest n] */
    ATTN_METRIC_MAX_WEIGHT,            /* [0, 1] */
    ATTN_METRIC_MAX_LOGIT,             /* [observed] */
    ATTN_METRIC_MAX_ABS_LOGIT,         /* [observed] */
    ATTN_METRIC_MAX_SCORE,             /* [observed] */
    ATTN_METRIC_MIN_SCORE,             /* [observed] */
    ATTN_METRIC_MASS_SELF,             /* [0, 1] */
    ATTN_METRIC_MASS_PREVIOUS,         /* [0, 1] */
    ATTN_METRIC_MASS_NEXT,             /* [0, 1] */
    ATTN_METRIC_MASS_FIRST,            /* [0, 1] */
    ATTN_METRIC_MASS_LOCAL,            /* [0, 1] */
    ATTN_METRIC_DISTANCE_MEAN,         /* keys [observed] */
    ATTN_METRIC_DISTANCE_SD,           /* keys [observed] */
    ATTN_METRIC_CONTRIBUTION_NORM, /* norm of what the head adds to the residual stream [observed] */
    ATTN_METRICS,
} attn_metric;

/* "entropy" for ATTN_METRIC_ENTROPY, and so on; "unknown metric" for a number that is none. Static. */
ATTN_API const char *attn_metric_name(attn_metric metric);

/* The rows of one (sequence, query head); names as in attn_statistics. Every array but visible_keys may be
 * NULL: not measured. */
typedef struct attn_head_rows {
    size_t struct_size;          /* sizeof(attn_head_rows) */
    int64_t rows, keys;          /* >= 0 */
    const int32_t *visible_keys; /* [rows]; NULL only if rows is 0 */

    /* per row: [rows] */
    const float *entropy, *varentropy, *participation, *max_weight;
    const float *max_logit, *max_abs_logit, *max_score, *min_score;
    const float *mass_self, *mass_previous, *mass_next, *mass_first, *mass_local;
    const float *distance_mean, *distance_sd;
    const float *mass_segments; /* [rows, segments] */
    int32_t segments;           /* 0..32 */

    /* Entropy of the same rows with the sinks excluded (another run, with attn_args.excluded_keys = the
     * keys of attn_find_sinks) and how many keys they then see; both or neither. Rows that then see none
     * are left out. */
    const float *entropy_without_sinks;
    const int32_t *visible_without_sinks;

    /* || o_i W || of each row: o_i the head's output without its value bias, W its slice of the output
     * projection, before any norm that follows (that norm can be rescaled without changing the model). */
    const float *contribution_norm;

    /* per key: [keys]; both or neither */
    const float *column_mass;
    const int32_t *column_viewers;
} attn_head_rows;

/* The rows of sequence b, head h in the arrays that a run with `set` (ATTN_STAT_* bits) has written; arrays
 * whose bit is not set are NULL. `heads`, `queries`, `keys` are those of the run, `segments` that of the
 * plan. Nothing is checked. */
ATTN_API attn_head_rows attn_head_rows_of(const attn_statistics *statistics, uint32_t set,
                                          int64_t heads, int64_t queries, int64_t keys,
                                          int32_t segments, int64_t b, int64_t h);

/* Everything about a head, in O(1) memory (about 30 KB). */
typedef struct attn_head_summary {
    int64_t rows;                /* rows with n >= 1 */
    int64_t rows_used;           /* of these, rows that vote */
    int64_t rows_label;          /* rows with label_keys.low <= n < label_keys.high */
    attn_key_range label_keys;   /* as attn_label_range tells it */
    int32_t largest_n;           /* the largest n of a row; 0 without rows */
    bool measured[ATTN_METRICS]; /* false: the array was not given, metric[i] holds no values */
    attn_summary metric[ATTN_METRICS];

    int32_t segments;
    double mass_segments[ATTN_SUMMARY_SEGMENTS];       /* means over rows that vote */
    double mass_segments_label[ATTN_SUMMARY_SEGMENTS]; /* over the rows that labels look at */

    attn_sink
        sinks[ATTN_SUMMARY_SINKS]; /* key -1 where there are fewer, or columns were not given */
} attn_head_summary;

/* Reduce a head. scratch[rows] is overwritten; NULL only if rows is 0. Errors: NULL (also one of two arrays
 * that come together), STRUCT_SIZE, SHAPE, VALUE (a rule outside its range, segments outside 0..32). */
ATTN_API attn_status attn_summarize_head(attn_head_summary *summary, const attn_head_rows *rows,
                                         const attn_label_rules *rules, float *scratch,
                                         attn_error *error);

/* ---- Labels: scores in, bits out ---------------------------------------------------------------------- */

enum {
    ATTN_LABEL_INACTIVE = 1 << 0,  /* it adds little: contribution_norm_ratio < 0.1 */
    ATTN_LABEL_SINK = 1 << 1,      /* some key holds > 0.3 of the rows that see it */
    ATTN_LABEL_INDUCTION = 1 << 2, /* > 0.4 on the key after the earlier occurrence; causal only */
    ATTN_LABEL_DUPLICATE = 1 << 3, /* > 0.4 on the earlier occurrence itself */
    ATTN_LABEL_PREVIOUS = 1 << 4,  /* > 0.5 on the key before, on the text and on the probe */
    ATTN_LABEL_SELF = 1 << 5,      /* > 0.5 on the query's own position */
    ATTN_LABEL_NEXT = 1 << 6,      /* > 0.5 on the key behind */
    ATTN_LABEL_SPECIAL = 1 << 7,   /* > 0.6 on special tokens other than a sink */
    ATTN_LABEL_UNIFORM = 1 << 8,   /* deficit < 0.05 ln n */
    ATTN_LABEL_BROAD = 1 << 9,     /* deficit < 0.2 ln n, and not uniform */
    ATTN_LABEL_PEAKED = 1 << 10,   /* entropy < 0.05 ln n, or mean max weight > 0.9. Not a fault */
    ATTN_LABELS = 11,              /* how many labels there are */
};

/* What the labels are told from; NaN = not measured, and a rule on a score that was not measured does not
 * hold. For `previous` both scores count: who has no probe may copy one into the other. */
typedef struct attn_label_scores {
    size_t struct_size;             /* sizeof(attn_label_scores) */
    bool causal;                    /* induction is told of causal models only; default true */
    double contribution_norm_ratio; /* norm of the contribution / mean of its layer's heads */
    double sink;                    /* largest mass of a key with enough viewers */
    double induction;          /* repeated random probe: mean weight on the key after the earlier
                                       occurrence of the query's token (Olsson et al. 2022). It shows prefix
                                       matching; a real induction head also copies, which is not seen here */
    double duplicate;          /* same probe: mean weight on the earlier occurrence itself */
    double previous;           /* mean mass on the key before the query's position, on the text */
    double previous_probe;     /* the same on the probe, which has no content */
    double self, next;         /* mean mass on the query's position, and behind it, on the text */
    double special;            /* mean mass on special tokens other than a sink */
    double entropy_normalized; /* mean H / ln n */
    double max_weight;         /* mean max weight */
} attn_label_scores;

/* Every score NaN, causal. */
static inline attn_label_scores attn_label_scores_init(void)
{
    attn_label_scores scores;
    memset(&scores, 0, sizeof scores);
    scores.struct_size = sizeof scores;
    scores.causal = true;
    scores.contribution_norm_ratio = scores.sink = scores.induction = scores.duplicate =
        scores.previous = scores.previous_probe = scores.self = scores.next = scores.special =
            scores.entropy_normalized = scores.max_weight = (double)__builtin_nanf("");
    return scores;
}

/* The scores that a summary holds, over the rows that labels look at: sink, previous, self, next,
 * entropy_normalized, max_weight. The others are NaN. */
static inline attn_label_scores attn_label_scores_of(const attn_head_summary *summary, bool causal)
{
    attn_label_scores scores = attn_label_scores_init();
    scores.causal = causal;
    scores.sink = summary->sinks[0].mass;
    scores.previous = summary->metric[ATTN_METRIC_MASS_PREVIOUS].mean_label;
    scores.self = summary->metric[ATTN_METRIC_MASS_SELF].mean_label;
    scores.next = summary->metric[ATTN_METRIC_MASS_NEXT].mean_label;
    scores.entropy_normalized = summary->metric[ATTN_METRIC_ENTROPY_NORMALIZED].mean_label;
    scores.max_weight = summary->metric[ATTN_METRIC_MAX_WEIGHT].mean_label;
    return scores;
}

/* The labels that hold, as ATTN_LABEL_* bits: none, one or several. All comparisons are strict. NULL for
 * `rules` takes the defaults; NULL for `scores`, or a struct_size that is unknown, gives 0. */
ATTN_API uint32_t attn_head_labels(const attn_label_scores *scores, const attn_label_rules *rules);

/* "sink" for ATTN_LABEL_SINK; "unknown label" for anything but exactly one known bit. Static storage. */
ATTN_API const char *attn_label_name(uint32_t label);

#ifdef __cplusplus
}
#endif

#endif
