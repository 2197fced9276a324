/* attn_summarize_head on heads whose every weight is known, attn_find_sinks, attn_label_range. */
#include <attn/summary.h>

#include "plain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void close_to(double got, double want, double tolerance, const char *what)
{
    if (isnan(want) ? !isnan(got) : !(fabs(got - want) <= tolerance * fmax(1.0, fabs(want))))
        fail_msg("%s is %.17g, expected %.17g", what, got, want);
}

/* ---- sinks ---- */

static void test_sinks_against_sorting(void **state)
{
    (void)state;
    enum { KEYS = 500 };
    float mass[KEYS];
    int32_t viewers[KEYS];
    uint64_t seed = 5;
    for (int trial = 0; trial < 50; trial++) {
        for (int j = 0; j < KEYS; j++) {
            viewers[j] = (int32_t)(plain_random(&seed) % 200);
            /* Few different values, so that there are ties. */
            mass[j] = (float)viewers[j] * (float)(plain_random(&seed) % 64) / 64;
        }
        mass[7] = NAN;
        mass[8] = INFINITY;
        attn_sink sinks[4];
        assert_int_equal(attn_find_sinks(sinks, mass, viewers, KEYS, 64, NULL), ATTN_OK);
        bool taken[KEYS] = {false};
        for (int i = 0; i < 4; i++) {
            int best = -1;
            for (int j = 0; j < KEYS; j++) {
                if (taken[j] || viewers[j] < 64 || !isfinite(mass[j]))
                    continue;
                if (best < 0 || (double)mass[j] / viewers[j] > (double)mass[best] / viewers[best])
                    best = j;
            }
            taken[best] = true;
            assert_int_equal(sinks[i].key, best);
            assert_int_equal(sinks[i].viewers, viewers[best]);
            close_to(sinks[i].mass, (double)mass[best] / viewers[best], 0, "mass of a sink");
        }
    }
}

static void test_few_sinks(void **state)
{
    (void)state;
    const float mass[] = {63, 32, 9};
    const int32_t viewers[] = {63, 64, 90};
    attn_sink sinks[4];
    assert_int_equal(attn_find_sinks(sinks, mass, viewers, 3, 64, NULL), ATTN_OK);
    assert_int_equal(sinks[0].key, 1);
    close_to(sinks[0].mass, 0.5, 0, "mass");
    assert_int_equal(sinks[1].key, 2);
    assert_int_equal(sinks[2].key, -1);
    assert_true(isnan(sinks[2].mass));
    assert_int_equal(sinks[3].viewers, 0);
    assert_int_equal(attn_find_sinks(sinks, NULL, NULL, 0, 64, NULL), ATTN_OK);
    assert_int_equal(sinks[0].key, -1);
    assert_int_equal(attn_find_sinks(NULL, mass, viewers, 3, 64, NULL), ATTN_ERR_NULL);
    assert_int_equal(attn_find_sinks(sinks, NULL, viewers, 3, 64, NULL), ATTN_ERR_NULL);
    assert_int_equal(attn_find_sinks(sinks, mass, NULL, 3, 64, NULL), ATTN_ERR_NULL);
    assert_int_equal(attn_find_sinks(sinks, mass, viewers, -1, 64, NULL), ATTN_ERR_SHAPE);
    assert_int_equal(attn_find_sinks(sinks, mass, viewers, 3, 0, NULL), ATTN_ERR_VALUE);
}

/* ---- label rows ---- */

static void test_label_range(void **state)
{
    (void)state;
    attn_label_rules rules = attn_label_rules_init();
    int32_t visible[600];
    for (int i = 0; i < 600; i++)
        visible[i] = i + 1;
    attn_key_range range;
    /* Rows 255 .. see 256 keys and more: 271 rows hold sixteen of them, 270 do not. */
    assert_int_equal(attn_label_range(&range, visible, 271, &rules, NULL), ATTN_OK);
    assert_int_equal(range.low, 256);
    assert_int_equal(range.high, 512);
    assert_int_equal(attn_label_range(&range, visible, 270, &rules, NULL), ATTN_OK);
    assert_int_equal(range.low, 16);
    assert_int_equal(range.high, INT32_MAX);
    /* A head that always sees 512 keys has no row below 512. */
    for (int i = 0; i < 600; i++)
        visible[i] = 512;
    assert_int_equal(attn_label_range(&range, visible, 600, &rules, NULL), ATTN_OK);
    assert_int_equal(range.low, 16);
    assert_int_equal(attn_label_range(&range, NULL, 0, &rules, NULL), ATTN_OK);
    assert_int_equal(range.low, 16);
    assert_int_equal(attn_label_range(NULL, NULL, 0, &rules, NULL), ATTN_ERR_NULL);
    assert_int_equal(attn_label_range(&range, NULL, 1, &rules, NULL), ATTN_ERR_NULL);
    assert_int_equal(attn_label_range(&range, visible, -1, &rules, NULL), ATTN_ERR_SHAPE);
    assert_int_equal(attn_label_range(&range, visible, 1, NULL, NULL), ATTN_ERR_NULL);
    rules.label_keys_high = 256;
    assert_int_equal(attn_label_range(&range, visible, 1, &rules, NULL), ATTN_ERR_VALUE);
    rules = attn_label_rules_init();
    rules.label_rows = 0;
    assert_int_equal(attn_label_range(&range, visible, 1, &rules, NULL), ATTN_ERR_VALUE);
    rules = attn_label_rules_init();
    rules.struct_size++;
    assert_int_equal(attn_label_range(&range, visible, 1, &rules, NULL), ATTN_ERR_STRUCT_SIZE);
}

/* ---- a whole head ---- */

enum { N = 700, SEGMENTS = 3 };

/* Arrays of two heads of a causal call; head 1 is the one that is filled. */
struct fixture {
    float entropy[2 * N], varentropy[2 * N], max_weight[2 * N], self[2 * N], previous[2 * N];
    float max_logit[2 * N], max_abs_logit[2 * N], max_score[2 * N], min_score[2 * N], next[2 * N];
    float participation[2 * N], first[2 * N], local[2 * N], distance_mean[2 * N];
    float distance_sd[2 * N], segments[2 * N * SEGMENTS], column_mass[2 * N];
    int32_t visible[2 * N], viewers[2 * N];
    float rest[N], contribution[N], scratch[N];
    int32_t visible_rest[N];
    attn_statistics statistics;
};

static const uint32_t all_rows =
    ATTN_STAT_ENTROPY | ATTN_STAT_VARENTROPY | ATTN_STAT_PARTICIPATION | ATTN_STAT_MAX_WEIGHT |
    ATTN_STAT_MAX_LOGIT | ATTN_STAT_MAX_ABS_LOGIT | ATTN_STAT_MAX_SCORE | ATTN_STAT_MIN_SCORE |
    ATTN_STAT_MASS_SELF | ATTN_STAT_MASS_PREVIOUS | ATTN_STAT_MASS_NEXT | ATTN_STAT_MASS_FIRST |
    ATTN_STAT_MASS_LOCAL | ATTN_STAT_MASS_SEGMENTS | ATTN_STAT_DISTANCE_MEAN |
    ATTN_STAT_DISTANCE_SD | ATTN_STAT_VISIBLE_KEYS | ATTN_STAT_COLUMN_MASS |
    ATTN_STAT_COLUMN_VIEWERS;

/* A causal head that gives half its weight to key 0 and half to the query's own position. */
static void fill(struct fixture *f)
{
    memset(f, 0xff, sizeof *f); /* NaN wherever nothing is written: head 0 must not be read */
    for (int i = 0; i < N; i++) {
        int r = N + i;
        bool one = i == 0;
        f->visible[r] = i + 1;
        f->entropy[r] = one ? 0 : (float)log(2);
        f->varentropy[r] = 0;
        f->participation[r] = one ? 1 : 2;
        f->max_weight[r] = f->self[r] = one ? 1 : 0.5f;
        f->max_logit[r] = (float)i;
        f->max_abs_logit[r] = (float)(2 * i);
        f->max_score[r] = (float)i / 2;
        f->min_score[r] = (float)-i;
        f->previous[r] = i == 1 ? 0.5f : 0;
        f->next[r] = 0;
        f->first[r] = i < 4 ? 1 : 0.5f;
        f->local[r] = i <= 16 ? 1 : 0.5f;
        f->distance_mean[r] = (float)i / 2;
        f->distance_sd[r] = (float)i / 2;
        f->segments[r * SEGMENTS] = one ? 1 : 0.5f; /* key 0 */
        f->segments[r * SEGMENTS + 1] = one ? 0 : 0.5f;
        f->segments[r * SEGMENTS + 2] = 0;
        f->column_mass[r] = i == 0 ? 1 + 0.5f * (N - 1) : 0.5f;
        f->viewers[r] = N - i;
        f->rest[i] = one ? NAN : 0; /* without key 0 only the own position is left */
        f->visible_rest[i] = i;
        f->contribution[i] = 3;
    }
    attn_statistics *s = &f->statistics;
    *s = attn_statistics_init();
    s->entropy = f->entropy, s->varentropy = f->varentropy, s->max_weight = f->max_weight;
    s->participation = f->participation, s->max_logit = f->max_logit;
    s->max_abs_logit = f->max_abs_logit, s->max_score = f->max_score, s->min_score = f->min_score;
    s->mass_self = f->self, s->mass_previous = f->previous, s->mass_next = f->next;
    s->mass_first = f->first, s->mass_local = f->local, s->mass_segments = f->segments;
    s->distance_mean = f->distance_mean, s->distance_sd = f->distance_sd;
    s->visible_keys = f->visible, s->column_mass = f->column_mass, s->column_viewers = f->viewers;
}

static void test_a_head_with_a_sink(void **state)
{
    (void)state;
    static struct fixture f;
    fill(&f);
    attn_head_rows rows = attn_head_rows_of(&f.statistics, all_rows, 2, N, N, SEGMENTS, 0, 1);
    rows.entropy_without_sinks = f.rest;
    rows.visible_without_sinks = f.visible_rest;
    rows.contribution_norm = f.contribution;
    attn_label_rules rules = attn_label_rules_init();
    static attn_head_summary s;
    attn_error error;
    assert_int_equal(attn_summarize_head(&s, &rows, &rules, f.scratch, &error), ATTN_OK);
    assert_string_equal(error.message, "");
    assert_int_equal(s.rows, N);
    assert_int_equal(s.rows_used, N - 15);
    assert_int_equal(s.rows_label, 256);
    assert_int_equal(s.label_keys.low, 256);
    assert_int_equal(s.largest_n, N);
    const attn_summary *m = s.metric;
    for (int i = 0; i < ATTN_METRICS; i++) {
        assert_true(s.measured[i]);
        assert_int_equal(m[i].not_finite, 0);
        assert_int_equal(m[i].count, N - 15);
    }
    /* By hand, from the weights. */
    double normalized = 0, deficit = 0;
    for (int n = 16; n <= N; n++) {
        normalized += (double)(float)log(2) / log(n) / (N - 15);
        deficit += (log(n) - (double)(float)log(2)) / (N - 15);
    }
    close_to(m[ATTN_METRIC_ENTROPY].mean, log(2), 1e-7, "entropy");
    close_to(m[ATTN_METRIC_ENTROPY].mean_all, log(2) * (N - 1) / N, 1e-7, "entropy of all rows");
    close_to(m[ATTN_METRIC_ENTROPY_NORMALIZED].mean, normalized, 1e-12, "normalised entropy");
    close_to(m[ATTN_METRIC_ENTROPY_DEFICIT].mean, deficit, 1e-12, "deficit");
    close_to(m[ATTN_METRIC_EFFECTIVE_KEYS].mean, 2, 1e-7, "effective keys");
    close_to(m[ATTN_METRIC_ENTROPY_WITHOUT_SINKS].mean, 0, 0, "entropy without sinks");
    assert_int_equal(m[ATTN_METRIC_ENTROPY_WITHOUT_SINKS].count_all, N - 1);
    close_to(m[ATTN_METRIC_VARENTROPY].mean, 0, 0, "varentropy");
    close_to(m[ATTN_METRIC_PARTICIPATION].mean, 2, 0, "participation");
    close_to(m[ATTN_METRIC_MAX_WEIGHT].mean, 0.5, 0, "max weight");
    close_to(m[ATTN_METRIC_MAX_WEIGHT].mean_all, (1 + 0.5 * (N - 1)) / N, 1e-12, "of all rows");
    close_to(m[ATTN_METRIC_MAX_LOGIT].max_all, N - 1, 0, "max logit");
    close_to(m[ATTN_METRIC_MAX_ABS_LOGIT].max_all, 2 * (N - 1), 0, "max |logit|");
    close_to(m[ATTN_METRIC_MAX_SCORE].max_all, (N - 1) / 2.0, 0, "max score");
    close_to(m[ATTN_METRIC_MIN_SCORE].min_all, -(N - 1), 0, "min score");
    close_to(m[ATTN_METRIC_MASS_SELF].mean, 0.5, 0, "self");
    close_to(m[ATTN_METRIC_MASS_PREVIOUS].mean, 0, 0, "previous");
    close_to(m[ATTN_METRIC_MASS_PREVIOUS].max_all, 0.5, 0, "previous on the second row");
    close_to(m[ATTN_METRIC_MASS_NEXT].mean, 0, 0, "next");
    close_to(m[ATTN_METRIC_MASS_FIRST].mean, 0.5, 0, "first");
    close_to(m[ATTN_METRIC_MASS_LOCAL].mean, (2 + 0.5 * (N - 17)) / (N - 15), 1e-12, "local");
    close_to(m[ATTN_METRIC_DISTANCE_MEAN].mean, (15 + N - 1) / 4.0, 1e-12, "distance");
    close_to(m[ATTN_METRIC_DISTANCE_SD].mean, (15 + N - 1) / 4.0, 1e-12, "its spread");
    close_to(m[ATTN_METRIC_CONTRIBUTION_NORM].mean, 3, 0, "contribution");
    close_to(m[ATTN_METRIC_ENTROPY].histogram_high, log(N), 1e-12, "the entropy histogram's end");
    close_to(m[ATTN_METRIC_EFFECTIVE_KEYS].histogram_high, N, 0, "the keys histogram's end");
    close_to(m[ATTN_METRIC_MAX_WEIGHT].histogram_high, 1, 0, "the weight histogram's end");
    assert_int_equal(s.segments, SEGMENTS);
    close_to(s.mass_segments[0], 0.5, 0, "segment 0");
    close_to(s.mass_segments[1], 0.5, 0, "segment 1");
    close_to(s.mass_segments[2], 0, 0, "segment 2");
    close_to(s.mass_segments_label[0], 0.5, 0, "segment 0 of label rows");
    assert_true(isnan(s.mass_segments[3]));
    assert_int_equal(s.sinks[0].key, 0);
    close_to(s.sinks[0].mass, (1 + 0.5 * (N - 1)) / N, 1e-12, "the sink");
    assert_int_equal(s.sinks[1].key, N - 64); /* 0.5 of its 64 viewers together */
    close_to(s.sinks[1].mass, 0.5 / 64, 1e-12, "the next one");
    attn_label_scores scores = attn_label_scores_of(&s, true);
    close_to(scores.sink, s.sinks[0].mass, 0, "sink score");
    close_to(scores.self, 0.5, 0, "self score");
    close_to(scores.previous, 0, 0, "previous score");
    close_to(scores.next, 0, 0, "next score");
    close_to(scores.max_weight, 0.5, 0, "max weight score");
    close_to(scores.entropy_normalized, m[ATTN_METRIC_ENTROPY_NORMALIZED].mean_label, 0, "entropy");
    assert_true(isnan(scores.induction) && isnan(scores.previous_probe));
    assert_int_equal(attn_head_labels(&scores, &rules), ATTN_LABEL_SINK);
}

static void test_a_head_of_which_little_was_measured(void **state)
{
    (void)state;
    static struct fixture f;
    fill(&f);
    attn_head_rows rows = attn_head_rows_of(
        &f.statistics, ATTN_STAT_VISIBLE_KEYS | ATTN_STAT_MAX_LOGIT, 2, N, N, 0, 0, 1);
    assert_null(rows.entropy);
    assert_null(rows.mass_segments);
    attn_label_rules rules = attn_label_rules_init();
    static attn_head_summary s;
    assert_int_equal(attn_summarize_head(&s, &rows, &rules, f.scratch, NULL), ATTN_OK);
    for (int i = 0; i < ATTN_METRICS; i++) {
        assert_int_equal(s.measured[i], i == ATTN_METRIC_MAX_LOGIT);
        assert_int_equal(isnan(s.metric[i].mean), i != ATTN_METRIC_MAX_LOGIT);
    }
    assert_int_equal(s.sinks[0].key, -1);
    assert_int_equal(s.segments, 0);
    attn_label_scores scores = attn_label_scores_of(&s, true);
    assert_int_equal(attn_head_labels(&scores, &rules), 0);
}

static void test_a_short_text_and_an_empty_one(void **state)
{
    (void)state;
    static struct fixture f;
    fill(&f);
    attn_label_rules rules = attn_label_rules_init();
    static attn_head_summary s;
    attn_head_rows rows = attn_head_rows_of(&f.statistics, all_rows, 2, N, N, SEGMENTS, 0, 1);
    rows.rows = rows.keys = 12;
    assert_int_equal(attn_summarize_head(&s, &rows, &rules, f.scratch, NULL), ATTN_OK);
    assert_int_equal(s.rows, 12);
    assert_int_equal(s.rows_used, 0);
    assert_int_equal(s.label_keys.low, 16);
    assert_true(isnan(s.metric[ATTN_METRIC_ENTROPY].mean));
    close_to(s.metric[ATTN_METRIC_ENTROPY].mean_all, log(2) * 11 / 12, 1e-7, "entropy of all");
    assert_true(isnan(s.mass_segments[0]));
    attn_head_rows nothing = {.struct_size = sizeof nothing};
    assert_int_equal(attn_summarize_head(&s, &nothing, &rules, NULL, NULL), ATTN_OK);
    assert_int_equal(s.rows, 0);
    assert_int_equal(s.largest_n, 0);
    assert_true(isnan(s.metric[ATTN_METRIC_ENTROPY].mean_all));
}

static void refused(attn_head_rows rows, const attn_label_rules *rules, float *scratch,
                    attn_status status, const char *word)
{
    static attn_head_summary s;
    memset(&s, 0x5a, sizeof s);
    attn_error error;
    assert_int_equal(attn_summarize_head(&s, &rows, rules, scratch, &error), status);
    if (!strstr(error.message, word))
        fail_msg("'%s' does not say '%s'", error.message, word);
    for (size_t i = 0; i < sizeof s; i++)
        assert_int_equal(((unsigned char *)&s)[i], 0x5a);
}

static void test_errors(void **state)
{
    (void)state;
    static struct fixture f;
    fill(&f);
    attn_label_rules rules = attn_label_rules_init();
    const attn_head_rows good = attn_head_rows_of(&f.statistics, all_rows, 2, N, N, SEGMENTS, 0, 1);
    assert_int_equal(attn_summarize_head(NULL, &good, &rules, f.scratch, NULL), ATTN_ERR_NULL);
    attn_head_rows bad = good;
    refused(good, NULL, f.scratch, ATTN_ERR_NULL, "rules");
    refused(good, &rules, NULL, ATTN_ERR_NULL, "scratch");
    bad.struct_size = 0;
    refused(bad, &rules, f.scratch, ATTN_ERR_STRUCT_SIZE, "rows.struct_size");
    bad = good, bad.rows = -1;
    refused(bad, &rules, f.scratch, ATTN_ERR_SHAPE, "rows.rows");
    bad = good, bad.keys = -1;
    refused(bad, &rules, f.scratch, ATTN_ERR_SHAPE, "rows.keys");
    bad = good, bad.segments = 33;
    refused(bad, &rules, f.scratch, ATTN_ERR_VALUE, "segments");
    bad = good, bad.visible_keys = NULL;
    refused(bad, &rules, f.scratch, ATTN_ERR_NULL, "visible_keys");
    bad = good, bad.column_viewers = NULL;
    refused(bad, &rules, f.scratch, ATTN_ERR_NULL, "column_viewers");
    bad = good, bad.column_mass = NULL;
    refused(bad, &rules, f.scratch, ATTN_ERR_NULL, "column_mass");
    bad = good, bad.entropy_without_sinks = f.rest;
    refused(bad, &rules, f.scratch, ATTN_ERR_NULL, "visible_without_sinks");
    rules.voting_keys = 0;
    refused(good, &rules, f.scratch, ATTN_ERR_VALUE, "voting_keys");
    rules = attn_label_rules_init(), rules.sink_viewers = 0;
    refused(good, &rules, f.scratch, ATTN_ERR_VALUE, "sink_viewers");
}

static void test_metric_names(void **state)
{
    (void)state;
    assert_string_equal(attn_metric_name(ATTN_METRIC_ENTROPY), "entropy");
    assert_string_equal(attn_metric_name(ATTN_METRIC_CONTRIBUTION_NORM), "contribution_norm");
    assert_string_equal(attn_metric_name(ATTN_METRICS), "unknown metric");
    assert_string_equal(attn_metric_name((attn_metric)-1), "unknown metric");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sinks_against_sorting),
        cmocka_unit_test(test_few_sinks),
        cmocka_unit_test(test_label_range),
        cmocka_unit_test(test_a_head_with_a_sink),
        cmocka_unit_test(test_a_head_of_which_little_was_measured),
        cmocka_unit_test(test_a_short_text_and_an_empty_one),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_metric_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
