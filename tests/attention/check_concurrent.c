/* One plan, several threads at once, each with its own workspace and outputs: the plan is immutable and
 * every thread gets the bits of the serial run. ThreadSanitizer watches this one. */
#include "attention/attention_case.h"
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
    };
    return cmocka_run_group_tests_name("check_concurrent", tests, NULL, NULL);
}
