/* `attn bench` from inside: its table of cases, its count of visible pairs, and above all that its
 * verification finds what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/measure.h"
#include "bench/verify.h"

#include <math.h>
#include <string.h>

/* A short case like those of the table. */
static const struct bench_case plain = {"plain",         4,    2, 70, 90, 24, MASK_NONE,
                                        STATISTICS_NONE, ALONE};
static const struct bench_case causal = {"causal",       4,           2, 600, 600, 24, MASK_CAUSAL,
                                         STATISTICS_ALL, BESIDE_PLAIN};
static const struct bench_case window = {
    "window", 2, 1, 700, 700, 16, MASK_WINDOW_512, STATISTICS_TWO, BESIDE_PLAIN};

struct made {
    struct bench_tensors tensors;
    struct bench_subject subject;
};

/* Ready, and run once into spoilt outputs. */
static void make(struct made *made, const struct bench_case *c)
{
    struct failure f;
    double seconds;
    assert_true(bench_tensors_make(&made->tensors, c, &f));
    assert_true(bench_subject_make(&made->subject, c, c->mask, c->statistics, &made->tensors,
                                   attn_default_executor(), &f));
    bench_subject_spoil(&made->subject);
    assert_true(bench_subject_run(&made->subject, &seconds, &f));
}

static void destroy(struct made *made)
{
    bench_subject_free(&made->subject);
    bench_tensors_free(&made->tensors);
}

static bool passes(const struct made *made)
{
    struct bench_verdict verdict;
    assert_true(bench_verify(&made->subject, &verdict, NULL));
    return verdict.passed;
}

static void right_results_pass(void **state)
{
    (void)state;
    const struct bench_case *const cases[] = {&plain, &causal, &window};
    for (int i = 0; i < 3; i++) {
        struct made made;
        make(&made, cases[i]);
        assert_true(passes(&made));
        destroy(&made);
    }
}

/* The result of a kernel that leaves one key out: the last, of the last row, which is looked at. */
static void leave_a_key_out(const struct made *made)
{
    const struct bench_subject *s = &made->subject;
    const struct bench_case *c = s->c;
    attn_problem problem = attn_problem_init(1, c->heads, c->kv_heads, 1, c->keys, c->head_size);
    problem.q.stride[1] = (int64_t)c->queries * c->head_size;
    problem.o.stride[1] = (int64_t)c->queries * c->head_size;
    attn_args args = attn_args_init(&problem);
    int64_t last_row = (int64_t)(c->queries - 1) * c->head_size;
    args.q = (const float *)s->args.q + last_row;
    args.k = s->args.k;
    args.v = s->args.v;
    args.o = s->o + last_row;
    args.keys = c->keys - 1;
    assert_int_equal(attn_forward(&problem, &args, NULL, NULL), ATTN_OK);
}

static void a_missing_key_is_found(void **state)
{
    (void)state;
    const struct bench_case long_case = {"long",          2,    2, 4, 4096, 64, MASK_NONE,
                                         STATISTICS_NONE, ALONE};
    const struct bench_case *const cases[] = {&plain, &long_case};
    for (int i = 0; i < 2; i++) {
        struct made made;
        make(&made, cases[i]);
        leave_a_key_out(&made);
        assert_false(passes(&made));
        destroy(&made);
    }
}

static void what_is_not_written_is_found(void **state)
{
    (void)state;
    struct made made;
    make(&made, &plain);
    made.subject.o[1 * plain.head_size + 3] = NAN;
    assert_false(passes(&made));
    destroy(&made);
}

static void each_wrong_statistic_is_found(void **state)
{
    (void)state;
    struct made made;
    make(&made, &causal);
    for (int i = 0; i < bench_statistics_of_rows_count; i++) {
        const struct bench_statistic *statistic = &bench_statistics_of_rows[i];
        void *array = bench_statistic_array(&made.subject, statistic);
        assert_non_null(array);
        /* The last value of the second row of the first head, which is looked at. */
        size_t at = (size_t)(2 * statistic->per_row - 1);
        uint32_t keep;
        memcpy(&keep, (char *)array + 4 * at, sizeof keep);
        if (statistic->integer)
            ((int32_t *)array)[at] += 100;
        else
            ((float *)array)[at] += 0.05f;
        assert_false(passes(&made));
        memcpy((char *)array + 4 * at, &keep, sizeof keep);
        assert_true(passes(&made));
    }
    destroy(&made);
}

static void pairs_are_counted_as_the_masks_say(void **state)
{
    (void)state;
    const struct bench_case *const cases[] = {&plain, &causal, &window};
    for (int i = 0; i < 3; i++) {
        const struct bench_case *c = cases[i];
        int64_t pairs = 0;
        for (int64_t q = 0; q < c->queries; q++)
            for (int64_t k = 0; k < c->keys; k++) {
                int64_t p = q + c->keys - c->queries;
                pairs += c->mask == MASK_NONE || (c->mask == MASK_CAUSAL && k <= p) ||
                         (c->mask == MASK_WINDOW_512 && k <= p && k >= p - 511);
            }
        assert_int_equal(bench_case_pairs(c), pairs);
    }
}

static void spread_is_of_the_sorted_values(void **state)
{
    (void)state;
    struct numbers list = {NULL, 0, 0};
    const double values[] = {5, 1, 4, 2};
    assert_true(numbers_spread(&list).median < 0.5);
    for (int i = 0; i < 4; i++)
        numbers_add(&list, values[i]);
    struct spread s = numbers_spread(&list);
    assert_true(s.min == 1 && s.median == 3 && s.max == 5);
    numbers_free(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_results_pass),
        cmocka_unit_test(a_missing_key_is_found),
        cmocka_unit_test(what_is_not_written_is_found),
        cmocka_unit_test(each_wrong_statistic_is_found),
        cmocka_unit_test(pairs_are_counted_as_the_masks_say),
        cmocka_unit_test(spread_is_of_the_sorted_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
