/* Equal bits for every dtype and every option of a call, one test for each promise: whatever the threads and
 * the order of tasks, in a later run, in one line, under larger maxima, and for each sequence whatever its
 * company: alone, among others of its length, in a padded or in a ragged batch. */
#include "attention/batch_case.h"
#include "attention/guarded.h"
#include "attention/orders.h"
#include "attention/path.h"
#include "support/thread_executor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* What the call says of all its sequences. */
struct results {
    uint32_t *words;
    size_t count;
};

static struct results results_of(const struct batch_run *run)
{
    struct results r = {NULL, 0};
    for (int pass = 0; pass < 2; pass++) {
        size_t count = 0;
        for (int64_t b = 0; b < run->problem.batch; b++)
            count += batch_results(run, run->first + b, r.words + (pass ? count : 0),
                                   pass ? r.count - count : 0);
        if (pass == 0) {
            r.count = count;
            r.words = need(count, sizeof *r.words);
        }
    }
    return r;
}

/* How many rows were run, and how many of them saw a key: equal bits of nothing would be worth nothing. */
static int64_t rows_run, rows_seeing;

static void run_or_fail(struct batch_run *run, const attn_executor *executor)
{
    attn_error error;
    batch_reset(run);
    if (batch_run(run, executor, &error) == ATTN_OK) {
        const int64_t rows = run->problem.batch * run->problem.heads * run->problem.queries;
        for (int64_t i = 0; run->way == BATCH_ALONE && i < rows; i++)
            rows_run++, rows_seeing += isfinite(run->args.lse[i]) != 0;
        return;
    }
    batch_describe(run->c, stderr);
    fail_msg("%s", error.message);
}

static void expect_words(const struct batch_run *run, const uint32_t *got, const uint32_t *expected,
                         size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++)
        if (got[i] != expected[i]) {
            batch_describe(run->c, stderr);
            fail_msg("other bits %s: word %zu of %zu is %08x, was %08x", what, i, count, got[i],
                     expected[i]);
        }
}

static void expect(const struct batch_run *run, const struct results *expected, const char *what)
{
    struct results got = results_of(run);
    assert_int_equal(got.count, expected->count);
    expect_words(run, got.words, expected->words, got.count, what);
    free(got.words);
}

static void check_threads(struct batch_run *run, const struct results *expected)
{
    for (int threads = 2; threads <= 5; threads += 3) {
        attn_executor *executor = thread_executor_create(threads, run->c->seed);
        assert_non_null(executor);
        run_or_fail(run, executor);
        expect(run, expected, "with threads");
        thread_executor_destroy(executor);
    }
    run_or_fail(run, attn_default_executor());
    expect(run, expected, "by the default executor");
}

static void check_orders(struct batch_run *run, const struct results *expected)
{
    for (enum order order = ORDER_REVERSED; order <= ORDER_RANDOM; order++) {
        struct ordered_executor ordered;
        ordered_executor_init(&ordered, order, 3, run->c->seed);
        run_or_fail(run, &ordered.executor);
        expect(run, expected, "in another order");
    }
}

static void check_later(struct batch_run *run, const struct results *expected)
{
    attn_plan *plan = NULL;
    assert_int_equal(attn_plan_create(&plan, &run->problem, NULL), ATTN_OK);
    size_t size = attn_plan_workspace(plan, 1);
    void *workspace = need(size, 1);
    for (int i = 0; i < 2; i++) { /* the second finds what the first left */
        batch_reset(run);
        assert_int_equal(attn_run(plan, &run->args, workspace, size, NULL, NULL), ATTN_OK);
        expect(run, expected, "in a later run");
    }
    free(workspace);
    attn_plan_destroy(plan);
}

static void check_one_line(struct batch_run *run, const struct results *expected)
{
    batch_reset(run);
    assert_int_equal(attn_forward(&run->problem, &run->args, NULL, NULL), ATTN_OK);
    expect(run, expected, "in one line");
}

static void check_larger(struct batch_run *run, const struct results *expected)
{
    const attn_problem kept = run->problem;
    batch_reset(run);
    run->problem.batch += 3;
    run->problem.keys += 1055;
    if (run->way == BATCH_RAGGED_I32 || run->way == BATCH_RAGGED_I64)
        run->problem.queries += 777, run->problem.total_keys += 99;
    attn_error error;
    if (batch_run(run, NULL, &error) != ATTN_OK)
        fail_msg("%s", error.message);
    run->problem = kept;
    expect(run, expected, "under larger maxima");
}

/* Each sequence of a batch laid in this way against itself alone. */
static void check_company(struct batch_run *run)
{
    run_or_fail(run, NULL);
    if (!batch_padding_is_empty(run)) {
        batch_describe(run->c, stderr);
        fail_msg("behind the end of a padded sequence something is said");
    }
    for (int64_t b = 0; b < run->c->problem.batch; b++) {
        struct batch_run *alone = batch_lay(run->c, BATCH_ALONE, b);
        run_or_fail(alone, NULL);
        struct results expected = results_of(alone);
        uint32_t *got = need(expected.count, sizeof *got);
        assert_int_equal(batch_results(run, b, got, expected.count), expected.count);
        expect_words(run, got, expected.words, expected.count, "in company");
        free(got), free(expected.words);
        batch_run_destroy(alone);
    }
}

/* A check of one batch in ways that change from seed to seed. */
static void in_some_way(uint64_t seed, enum batch_size size,
                        void (*check)(struct batch_run *run, const struct results *expected))
{
    struct batch_case *c = batch_case_random(seed, size);
    struct batch_run *run = batch_lay(c, BATCH_PADDED + (enum batch_way)(seed % 3), 0);
    run_or_fail(run, NULL);
    struct results expected = results_of(run);
    check(run, &expected);
    free(expected.words);
    batch_run_destroy(run);
    batch_case_destroy(c);
}

static void for_seeds(uint64_t first, void (*check)(struct batch_run *, const struct results *))
{
    static const int64_t counts[] = {40, 4, 10};
    for (enum batch_size size = BATCH_SMALL; size <= BATCH_STEP; size++)
        for (int64_t i = 0; i < path_cases(counts[size]); i++)
            in_some_way(first + 100000 * (uint64_t)size + (uint64_t)i, size, check);
}

static void any_threads(void **state)
{
    (void)state;
    for_seeds(51000000, check_threads);
}

static void any_order(void **state)
{
    (void)state;
    for_seeds(52000000, check_orders);
}

static void later_runs(void **state)
{
    (void)state;
    for_seeds(53000000, check_later);
}

static void one_line(void **state)
{
    (void)state;
    for_seeds(54000000, check_one_line);
}

static void larger_maxima(void **state)
{
    (void)state;
    for_seeds(55000000, check_larger);
}

static void in_company(enum batch_way way)
{
    static const int64_t counts[] = {150, 8, 30};
    for (enum batch_size size = BATCH_SMALL; size <= BATCH_STEP; size++)
        for (int64_t i = 0; i < path_cases(counts[size]); i++) {
            struct batch_case *c =
                batch_case_random(56000000 + 100000 * (uint64_t)size + (uint64_t)i, size);
            if (way != BATCH_EQUAL || batch_is_equal(c)) {
                struct batch_run *run = batch_lay(c, way, 0);
                check_company(run);
                batch_run_destroy(run);
            }
            batch_case_destroy(c);
        }
}

static void alone_or_padded(void **state)
{
    (void)state;
    in_company(BATCH_PADDED);
}

static void alone_or_ragged(void **state)
{
    (void)state;
    in_company(BATCH_RAGGED_I32);
    in_company(BATCH_RAGGED_I64);
}

static void alone_or_equal(void **state)
{
    (void)state;
    in_company(BATCH_EQUAL);
}

static void rows_see(void **state)
{
    (void)state;
    printf("%lld of %lld rows see a key\n", (long long)rows_seeing, (long long)rows_run);
    assert_true(2 * rows_seeing > rows_run);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_threads),     cmocka_unit_test(any_order),
        cmocka_unit_test(later_runs),      cmocka_unit_test(one_line),
        cmocka_unit_test(larger_maxima),   cmocka_unit_test(alone_or_padded),
        cmocka_unit_test(alone_or_ragged), cmocka_unit_test(alone_or_equal),
        cmocka_unit_test(rows_see),
    };
    return cmocka_run_group_tests_name("check_bits_options", tests, NULL, NULL);
}
