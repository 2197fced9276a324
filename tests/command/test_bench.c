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

/* Short cases like those of the table. */
static const struct bench_case plain = {.name = "plain",
                                        .dtype = ATTN_F32,
                                        .batch = 1,
                                        .heads = 4,
                                        .kv_heads = 2,
                                        .queries = 70,
                                        .keys = 90,
                                        .head_size = 24};
static const struct bench_case causal = {.name = "causal",
                                         .dtype = ATTN_F32,
                                         .batch = 1,
                                         .heads = 4,
                                         .kv_heads = 2,
                                         .queries = 600,
                                         .keys = 600,
                                         .head_size = 24,
                                         .mask = MASK_CAUSAL,
                                         .statistics = STATISTICS_ALL,
                                         .partner = BESIDE_PLAIN};
static const struct bench_case window = {.name = "window",
                                         .dtype = ATTN_F32,
                                         .batch = 1,
                                         .heads = 2,
                                         .kv_heads = 1,
                                         .queries = 700,
                                         .keys = 700,
                                         .head_size = 16,
                                         .mask = MASK_WINDOW_512,
                                         .statistics = STATISTICS_TWO,
                                         .partner = BESIDE_PLAIN};
static const enum bench_mask masks[] = {
    MASK_NONE, MASK_CAUSAL, MASK_WINDOW_512, MASK_BYTES,  MASK_BITS,   MASK_BYTES_CAUSAL,
    MASK_BIAS, MASK_ALIBI,  MASK_DOCUMENTS,  MASK_BLOCKS, MASK_PADDED, MASK_RAGGED};
enum { MASKS = sizeof masks / sizeof masks[0] };

/* Every mask with every type. */
static struct bench_case masked(int mask, attn_dtype dtype)
{
    bool batched = masks[mask] == MASK_PADDED || masks[mask] == MASK_RAGGED;
    struct bench_case c = {.dtype = dtype,
                           .batch = batched ? 3 : 1,
                           .heads = 4,
                           .kv_heads = 2,
                           .queries = 601,
                           .keys = 601,
                           .head_size = 24,
                           .mask = masks[mask]};
    return c;
}

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

static void right_results_pass_under_every_mask(void **state)
{
    (void)state;
    for (int mask = 0; mask < MASKS; mask++)
        for (int dtype = ATTN_F32; dtype <= ATTN_F16; dtype++) {
            struct made made;
            struct bench_case c = masked(mask, (attn_dtype)dtype);
            make(&made, &c);
            assert_true(passes(&made));
            destroy(&made);
        }
}

/* What was computed under one mask is wrong under any other. */
static void another_mask_is_found(void **state)
{
    (void)state;
    for (int mask = 1; mask < MASKS; mask++) {
        if (masks[mask] == MASK_PADDED || masks[mask] == MASK_RAGGED)
            continue; /* with lengths that are equal these are no masks */
        struct made made;
        struct bench_case c = masked(mask, ATTN_BF16);
        make(&made, &c);
        made.subject.mask = MASK_NONE;
        assert_false(passes(&made));
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
    problem.q.dtype = problem.k.dtype = problem.v.dtype = problem.o.dtype = c->dtype;
    attn_args args = attn_args_init(&problem);
    size_t last_row =
        (size_t)(c->queries - 1) * (size_t)c->head_size * bench_element_size(c->dtype);
    args.q = (const char *)s->args.q + last_row;
    args.k = s->args.k;
    args.v = s->args.v;
    args.o = (char *)s->o + last_row;
    args.keys = c->keys - 1;
    assert_int_equal(attn_forward(&problem, &args, NULL, NULL), ATTN_OK);
}

static void a_missing_key_is_found(void **state)
{
    (void)state;
    struct bench_case long_case = {.dtype = ATTN_F32,
                                   .batch = 1,
                                   .heads = 2,
                                   .kv_heads = 2,
                                   .queries = 4,
                                   .keys = 4096,
                                   .head_size = 64};
    for (int dtype = ATTN_F32; dtype <= ATTN_F16; dtype++)
        for (int i = 0; i < 2; i++) {
            struct bench_case c = i == 0 ? plain : long_case;
            struct made made;
            c.dtype = (attn_dtype)dtype;
            /* Of thousands of keys of bf16 the last may weigh less than rounding. */
            if (i == 1 && c.dtype == ATTN_BF16)
                c.keys = 1024;
            make(&made, &c);
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
    ((float *)made.subject.o)[1 * plain.head_size + 3] = NAN;
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
    for (int mask = 0; mask < MASKS; mask++) {
        struct bench_case c = masked(mask, ATTN_F32);
        int64_t pairs = 0;
        for (int b = 0; b < c.batch; b++) {
            int64_t n = bench_mask_length(c.mask, c.batch, c.queries, b);
            for (int64_t i = 0; i < n; i++)
                for (int64_t j = 0; j < n; j++)
                    pairs += bench_mask_sees(c.mask, n, n, i, j);
        }
        assert_int_equal(bench_mask_pairs(c.mask, c.batch, c.queries, c.keys), pairs);
        assert_true(bench_case_flops(&c) == 4.0 * 24 * 4 * (double)pairs);
    }
    assert_int_equal(bench_mask_pairs(MASK_CAUSAL, 1, 70, 90), 70 * 20 + 70 * 71 / 2);
    assert_int_equal(bench_mask_pairs(MASK_RAGGED, 4, 8, 8), 64 + 36 + 16 + 4);
}

/* Rounded to nearest: the next values above and below are no nearer. */
static void elements_are_rounded_to_the_nearest(void **state)
{
    (void)state;
    static const attn_dtype dtypes[] = {ATTN_BF16, ATTN_F16};
    for (int t = 0; t < 2; t++)
        for (int i = 0; i < 5000; i++) {
            uint16_t bits, near[3];
            float x = ldexpf(1 + (float)(i * 37 % 5003) / 5003, i % 28 - 20);
            x = i % 2 ? -x : x;
            if (dtypes[t] == ATTN_F16 && fabsf(x) >= 65504)
                continue;
            bench_set_element(&bits, dtypes[t], 0, x);
            near[0] = (uint16_t)(bits - 1), near[1] = bits, near[2] = (uint16_t)(bits + 1);
            double off = fabs(bench_element(near, dtypes[t], 1) - (double)x);
            assert_true(off <= fabs(bench_element(near, dtypes[t], 0) - (double)x));
            assert_true(off <= fabs(bench_element(near, dtypes[t], 2) - (double)x));
        }
    uint16_t bits;
    bench_set_element(&bits, ATTN_F16, 0, 1 + 0x1p-11f); /* a tie goes to even */
    assert_int_equal(bits, 0x3c00);
    bench_set_element(&bits, ATTN_F16, 0, NAN);
    assert_true(isnan(bench_element(&bits, ATTN_F16, 0)));
    bench_set_element(&bits, ATTN_BF16, 0, NAN);
    assert_true(isnan(bench_element(&bits, ATTN_BF16, 0)));
}

/* What takes minutes is run by its whole name alone; each name is there once. */
static void cases_are_chosen_by_name(void **state)
{
    (void)state;
    int count, long_ones = 0;
    const struct bench_case *cases = bench_cases(&count);
    assert_true(count > 100);
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < i; j++)
            assert_string_not_equal(cases[i].name, cases[j].name);
        assert_true(strlen(cases[i].name) + 1 < sizeof cases[i].name);
        assert_true(bench_case_is_meant(&cases[i], cases[i].name));
        assert_int_equal(bench_case_is_meant(&cases[i], NULL), !cases[i].takes_minutes);
        assert_int_equal(bench_case_is_meant(&cases[i], "*"), !cases[i].takes_minutes);
        long_ones += cases[i].takes_minutes;
    }
    assert_int_equal(long_ones, 2);
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
        cmocka_unit_test(right_results_pass_under_every_mask),
        cmocka_unit_test(another_mask_is_found),
        cmocka_unit_test(a_missing_key_is_found),
        cmocka_unit_test(what_is_not_written_is_found),
        cmocka_unit_test(each_wrong_statistic_is_found),
        cmocka_unit_test(pairs_are_counted_as_the_masks_say),
        cmocka_unit_test(elements_are_rounded_to_the_nearest),
        cmocka_unit_test(cases_are_chosen_by_name),
        cmocka_unit_test(spread_is_of_the_sorted_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
