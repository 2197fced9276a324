/* Each label on both sides of its cut-off, with scores that were not measured, and with rules of one's
 * own. */
#include <attn/summary.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A head about which nothing stands out. */
static attn_label_scores ordinary(void)
{
    attn_label_scores s = attn_label_scores_init();
    s.contribution_norm_ratio = 1;
    s.sink = s.induction = s.duplicate = s.previous = s.previous_probe = s.self = s.next = 0.01;
    s.special = 0.01;
    s.entropy_normalized = 0.5;
    s.max_weight = 0.3;
    return s;
}

#define SCORE(name) offsetof(attn_label_scores, name)

static void test_both_sides_of_each_cut_off(void **state)
{
    (void)state;
    const struct {
        size_t score;
        double inside, outside; /* the label holds, does not */
        uint32_t label;
    } rules[] = {
        {SCORE(contribution_norm_ratio), 0.0999, 0.1, ATTN_LABEL_INACTIVE},
        {SCORE(sink), 0.3001, 0.3, ATTN_LABEL_SINK},
        {SCORE(induction), 0.4001, 0.4, ATTN_LABEL_INDUCTION},
        {SCORE(duplicate), 0.4001, 0.4, ATTN_LABEL_DUPLICATE},
        {SCORE(self), 0.5001, 0.5, ATTN_LABEL_SELF},
        {SCORE(next), 0.5001, 0.5, ATTN_LABEL_NEXT},
        {SCORE(special), 0.6001, 0.6, ATTN_LABEL_SPECIAL},
        {SCORE(entropy_normalized), 0.9501, 0.9499, ATTN_LABEL_UNIFORM},
        {SCORE(entropy_normalized), 0.8001, 0.7999, ATTN_LABEL_BROAD},
        {SCORE(entropy_normalized), 0.9499, 0.9501, ATTN_LABEL_BROAD}, /* then it is uniform */
        {SCORE(entropy_normalized), 0.0499, 0.05, ATTN_LABEL_PEAKED},
        {SCORE(max_weight), 0.9001, 0.9, ATTN_LABEL_PEAKED},
    };
    attn_label_rules defaults = attn_label_rules_init();
    attn_label_scores scores = ordinary();
    assert_int_equal(attn_head_labels(&scores, &defaults), 0);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        scores = ordinary();
        double *score = (double *)((char *)&scores + rules[i].score);
        *score = rules[i].inside;
        assert_int_equal(attn_head_labels(&scores, &defaults), rules[i].label);
        *score = rules[i].outside;
        assert_false(attn_head_labels(&scores, &defaults) & rules[i].label);
        *score = NAN;
        assert_int_equal(attn_head_labels(&scores, NULL), 0);
    }
}

static void test_previous_needs_text_and_probe(void **state)
{
    (void)state;
    attn_label_scores scores = ordinary();
    scores.previous = 0.51;
    assert_int_equal(attn_head_labels(&scores, NULL), 0);
    scores.previous_probe = 0.51;
    assert_int_equal(attn_head_labels(&scores, NULL), ATTN_LABEL_PREVIOUS);
    scores.previous = 0.5;
    assert_int_equal(attn_head_labels(&scores, NULL), 0);
    scores.previous = 0.51;
    scores.previous_probe = NAN;
    assert_int_equal(attn_head_labels(&scores, NULL), 0);
}

static void test_induction_is_of_causal_models(void **state)
{
    (void)state;
    attn_label_scores scores = ordinary();
    scores.induction = 0.9;
    assert_int_equal(attn_head_labels(&scores, NULL), ATTN_LABEL_INDUCTION);
    scores.causal = false;
    assert_int_equal(attn_head_labels(&scores, NULL), 0);
}

static void test_several_at_once_and_none(void **state)
{
    (void)state;
    attn_label_scores scores = ordinary();
    scores.sink = 0.9;
    scores.max_weight = 0.95;
    scores.contribution_norm_ratio = 0.01;
    assert_int_equal(attn_head_labels(&scores, NULL),
                     ATTN_LABEL_SINK | ATTN_LABEL_PEAKED | ATTN_LABEL_INACTIVE);
    scores = attn_label_scores_init();
    assert_int_equal(attn_head_labels(&scores, NULL), 0);
    assert_int_equal(attn_head_labels(NULL, NULL), 0);
    scores.sink = 0.9;
    scores.struct_size = 1;
    assert_int_equal(attn_head_labels(&scores, NULL), 0);
}

static void test_cut_offs_can_be_set(void **state)
{
    (void)state;
    attn_label_rules rules = attn_label_rules_init();
    attn_label_scores scores = ordinary();
    rules.sink_above = 0.005;
    rules.broad_below = 0.6;
    rules.peaked_max_weight_above = 0.2;
    assert_int_equal(attn_head_labels(&scores, &rules),
                     ATTN_LABEL_SINK | ATTN_LABEL_BROAD | ATTN_LABEL_PEAKED);
    rules.struct_size = 0;
    assert_int_equal(attn_head_labels(&scores, &rules), 0);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(attn_label_name(ATTN_LABEL_INACTIVE), "inactive");
    assert_string_equal(attn_label_name(ATTN_LABEL_SINK), "sink");
    assert_string_equal(attn_label_name(ATTN_LABEL_INDUCTION), "induction");
    assert_string_equal(attn_label_name(ATTN_LABEL_DUPLICATE), "duplicate");
    assert_string_equal(attn_label_name(ATTN_LABEL_PREVIOUS), "previous");
    assert_string_equal(attn_label_name(ATTN_LABEL_SELF), "self");
    assert_string_equal(attn_label_name(ATTN_LABEL_NEXT), "next");
    assert_string_equal(attn_label_name(ATTN_LABEL_SPECIAL), "special");
    assert_string_equal(attn_label_name(ATTN_LABEL_UNIFORM), "uniform");
    assert_string_equal(attn_label_name(ATTN_LABEL_BROAD), "broad");
    assert_string_equal(attn_label_name(ATTN_LABEL_PEAKED), "peaked");
    assert_string_equal(attn_label_name(1u << ATTN_LABELS), "unknown label");
    assert_string_equal(attn_label_name(0), "unknown label");
    assert_string_equal(attn_label_name(3), "unknown label");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_sides_of_each_cut_off),
        cmocka_unit_test(test_previous_needs_text_and_probe),
        cmocka_unit_test(test_induction_is_of_causal_models),
        cmocka_unit_test(test_several_at_once_and_none),
        cmocka_unit_test(test_cut_offs_can_be_set),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
