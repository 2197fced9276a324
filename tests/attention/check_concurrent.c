/* One plan, several threads at once, each with its own workspace and outputs: the plan is immutable and
 * every thread gets the bits of the serial run. ThreadSanitizer watches this one. */
#include "attention/attention_case.h"
#include "attention/batch_case.h"
#include "attention/path.h"
#include "support/thread_executor.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { THREADS = 4, ROUNDS = 3, MOST_WORDS = 1 << 20 };

struct worker {
    const attn_plan *plan;
    struct attention_case *c;
    const attn_executor *executor; /* NULL = serial */
    pthread_t thread;
    attn_status status;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    for (int round = 0; round < ROUNDS && worker->status == ATTN_OK; round++)
        worker->status = case_run_plan(worker->c, worker->plan, worker->executor, NULL);
    return NULL;
}

static void check_seed(uint64_t seed, enum case_size size)
{
    static uint32_t expected[MOST_WORDS], got[MOST_WORDS];
    struct worker workers[THREADS];
    struct attention_case *first = case_random(seed, size);
    assert_int_equal(case_run(first, NULL, NULL), ATTN_OK);
    size_t count = case_snapshot(first, expected, MOST_WORDS);
    attn_plan *plan = NULL;
    assert_int_equal(attn_plan_create(&plan, &first->problem, NULL), ATTN_OK);
    for (int t = 0; t < THREADS; t++) {
        workers[t] = (struct worker){.plan = plan, .c = case_random(seed, size)};
        if (t % 2 == 1)
            workers[t].executor = thread_executor_create(2, seed + (uint64_t)t);
        assert_int_equal(pthread_create(&workers[t].thread, NULL, work, &workers[t]), 0);
    }
    for (int t = 0; t < THREADS; t++) {
        pthread_join(workers[t].thread, NULL);
        assert_int_equal(workers[t].status, ATTN_OK);
        assert_int_equal(case_snapshot(workers[t].c, got, MOST_WORDS), count);
        if (memcmp(expected, got, (count < MOST_WORDS ? count : MOST_WORDS) * sizeof *got) != 0) {
            case_describe(first, stderr);
            fail_msg("thread %d got other bits", t);
        }
        thread_executor_destroy((attn_executor *)(uintptr_t)workers[t].executor);
        case_destroy(workers[t].c);
    }
    attn_plan_destroy(plan);
    case_destroy(first);
}

static void small_cases(void **state)
{
    (void)state;
    for (int64_t i = 0; i < path_cases(60); i++)
        check_seed(41000000 + (uint64_t)i, CASE_SMALL);
}

static void large_cases(void **state)
{
    (void)state;
    for (int64_t i = 0; i < path_cases(5); i++)
        check_seed(42000000 + (uint64_t)i, CASE_LARGE);
}

struct batch_worker {
    const attn_plan *plan;
    struct batch_run *run;
    const attn_executor *executor;
    pthread_t thread;
    attn_status status;
};

static void *work_on_batch(void *argument)
{
    struct batch_worker *worker = argument;
    for (int round = 0; round < ROUNDS && worker->status == ATTN_OK; round++)
        worker->status = batch_run_plan(worker->run, worker->plan, worker->executor, NULL);
    return NULL;
}

/* The same with every dtype and option: the threads share the plan and all that is read. */
static void check_batch(uint64_t seed, enum batch_size size)
{
    static uint32_t expected[MOST_WORDS], got[MOST_WORDS];
    struct batch_case *c = batch_case_random(seed, size);
    const enum batch_way way = BATCH_PADDED + (enum batch_way)(seed % 3);
    struct batch_run *first = batch_lay(c, way, 0);
    struct batch_worker workers[THREADS];
    assert_int_equal(batch_run(first, NULL, NULL), ATTN_OK);
    attn_plan *plan = NULL;
    assert_int_equal(attn_plan_create(&plan, &first->problem, NULL), ATTN_OK);
    for (int t = 0; t < THREADS; t++) {
        workers[t] = (struct batch_worker){.plan = plan, .run = batch_lay(c, way, 0)};
        if (t % 2 == 1)
            workers[t].executor = thread_executor_create(2, seed + (uint64_t)t);
        assert_int_equal(pthread_create(&workers[t].thread, NULL, work_on_batch, &workers[t]), 0);
    }
    for (int t = 0; t < THREADS; t++) {
        pthread_join(workers[t].thread, NULL);
        assert_int_equal(workers[t].status, ATTN_OK);
        for (int64_t b = 0; b < c->problem.batch; b++) {
            size_t count = batch_results(first, b, expected, MOST_WORDS);
            assert_true(count <= MOST_WORDS);
            batch_results(workers[t].run, b, got, MOST_WORDS);
            if (memcmp(expected, got, count * sizeof *got) != 0) {
                batch_describe(c, stderr);
                fail_msg("thread %d got other bits of sequence %lld", t, (long long)b);
            }
        }
        thread_executor_destroy((attn_executor *)(uintptr_t)workers[t].executor);
        batch_run_destroy(workers[t].run);
    }
    attn_plan_destroy(plan);
    batch_run_destroy(first);
    batch_case_destroy(c);
}

static void every_option(void **state)
{
    (void)state;
    static const int64_t counts[] = {60, 3, 12};
    for (enum batch_size size = BATCH_SMALL; size <= BATCH_STEP; size++)
        for (int64_t i = 0; i < path_cases(counts[size]); i++)
            check_batch(43000000 + 100000 * (uint64_t)size + (uint64_t)i, size);
}

/* Plans made, explained and destroyed by all threads at once. */
static void *make_plans(void *argument)
{
    (void)argument;
    attn_problem p = attn_problem_init(1, 2, 1, 10, 10, 16);
    for (int i = 0; i < 20; i++) {
        attn_plan *plan = NULL;
        attn_cpu cpu = {.struct_size = sizeof cpu};
        if (attn_cpu_describe(&cpu, NULL) != ATTN_OK ||
            attn_plan_create(&plan, &p, NULL) != ATTN_OK || attn_plan_explain(plan, NULL, 0) == 0)
            return argument;
        attn_plan_destroy(plan);
    }
    return NULL;
}

static void plans_at_once(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    int token;
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, make_plans, &token), 0);
    for (int t = 0; t < THREADS; t++) {
        void *failed;
        pthread_join(threads[t], &failed);
        assert_null(failed);
    }
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_at_once),
        cmocka_unit_test(small_cases),
        cmocka_unit_test(large_cases),
        cmocka_unit_test(every_option),
    };
    return cmocka_run_group_tests_name("check_concurrent", tests, NULL, NULL);
}
