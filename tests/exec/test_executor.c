/* Every executor runs each index once, with a worker of its own; nested, concurrent and forked use do
 * not hang; and what a caller's executor does wrong is found out. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "exec/exec.h"
#include "support/thread_executor.h"

enum { COUNT = 1000 };

/* What the tasks of one launch saw. */
struct record {
    atomic_int runs[COUNT];
    atomic_int busy[ATTN_THREADS_MAX]; /* tasks that run as this worker right now */
    atomic_int collisions;             /* two at once as the same worker */
    atomic_int strays;                 /* a worker outside the executor's range */
    int threads;
    int64_t order[COUNT];
    atomic_int turns;
};

static void record_task(void *argument, int64_t index, int worker)
{
    struct record *record = argument;
    if (worker < 0 || worker >= record->threads) {
        atomic_fetch_add(&record->strays, 1);
        return;
    }
    if (atomic_fetch_add(&record->busy[worker], 1) != 0)
        atomic_fetch_add(&record->collisions, 1);
    atomic_fetch_add(&record->runs[index], 1);
    record->order[atomic_fetch_add(&record->turns, 1)] = index;
    for (volatile int i = 0; i < 50; i++)
        continue;
    atomic_fetch_sub(&record->busy[worker], 1);
}

/* True if a launch of `count` tasks did all that it must. Makes no use of cmocka: it runs in forked
 * children and in other threads too. */
static bool launch_is_right(const attn_executor *executor, int64_t count)
{
    struct record *record = calloc(1, sizeof *record);
    if (!record)
        return false;
    record->threads = attn_executor_threads(executor);
    attn_error error;
    bool right = attn_launch(executor, count, record_task, record, &error) == ATTN_OK &&
                 error.message[0] == '\0' && atomic_load(&record->collisions) == 0 &&
                 atomic_load(&record->strays) == 0;
    for (int64_t i = 0; i < COUNT; i++)
        right = right && atomic_load(&record->runs[i]) == (i < count);
    free(record);
    return right;
}

static void check_counts(const attn_executor *executor)
{
    static const int64_t counts[] = {0, 1, 2, 3, 7, 64, COUNT};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        assert_true(launch_is_right(executor, counts[i]));
}

static attn_executor *make(int threads)
{
    attn_executor *executor;
    attn_error error;
    assert_int_equal(attn_executor_create(&executor, threads, &error), ATTN_OK);
    assert_int_equal(attn_executor_check(executor, &error), ATTN_OK);
    return executor;
}

static void each_index_runs_once(void **state)
{
    (void)state;
    check_counts(NULL);
    check_counts(attn_default_executor());
    static const int threads[] = {1, 2, 3, 7, 16};
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        attn_executor *own = make(threads[i]);
        assert_int_equal(own->threads, threads[i]);
        check_counts(own);
        attn_executor_destroy(own);
        for (uint64_t seed = 0; seed < 2; seed++) {
            attn_executor *plain = thread_executor_create(threads[i], seed);
            assert_non_null(plain);
            check_counts(plain);
            thread_executor_destroy(plain);
        }
    }
}

/* Waits for the other task, which a library's task never may: here it shows that both run at once. */
static void meeting_task(void *argument, int64_t index, int worker)
{
    (void)index, (void)worker;
    atomic_int *arrived = argument;
    atomic_fetch_add(arrived, 1);
    time_t end = time(NULL) + 30;
    while (atomic_load(arrived) < 2 && time(NULL) < end)
        sched_yield();
    if (atomic_load(arrived) < 2)
        atomic_store(arrived, -100);
}

static void two_workers_run_at_once(void **state)
{
    (void)state;
    attn_executor *own = make(2), *plain = thread_executor_create(2, 0);
    assert_non_null(plain);
    const attn_executor *executors[] = {own, plain};
    for (int e = 0; e < 2; e++) {
        atomic_int arrived = 0;
        assert_int_equal(attn_launch(executors[e], 2, meeting_task, &arrived, NULL), ATTN_OK);
        assert_int_equal(arrived, 2);
    }
    thread_executor_destroy(plain);
    attn_executor_destroy(own);
}

/* In order where one thread runs them, NULL included. */
static void one_thread_keeps_the_order(void **state)
{
    (void)state;
    attn_executor *one = make(1);
    const attn_executor *executors[] = {NULL, one};
    for (int e = 0; e < 2; e++) {
        struct record *record = calloc(1, sizeof *record);
        assert_non_null(record);
        record->threads = 1;
        assert_int_equal(attn_launch(executors[e], COUNT, record_task, record, NULL), ATTN_OK);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(record->order[i], i);
        free(record);
    }
    attn_executor_destroy(one);
}

static void created_or_refused(void **state)
{
    (void)state;
    attn_error error;
    attn_executor *executor = (attn_executor *)&error;
    assert_int_equal(attn_executor_create(&executor, -1, &error), ATTN_ERR_VALUE);
    assert_null(executor);
    assert_string_equal(error.message, "threads is -1; it may be 1 to 1024, or 0 for all cores");
    assert_int_equal(attn_executor_create(&executor, 1025, NULL), ATTN_ERR_VALUE);
    assert_int_equal(attn_executor_create(NULL, 1, &error), ATTN_ERR_NULL);
    executor = make(0);
    assert_int_equal(executor->threads, attn_default_executor()->threads);
    attn_executor_destroy(executor);
    attn_executor_destroy(NULL);
    assert_ptr_equal(attn_default_executor(), attn_default_executor());
    assert_true(attn_exec_cores() >= 1);
    assert_memory_equal(attn_exec_library(), "OpenMP", 6);
}

struct nested {
    const attn_executor *inner;
    atomic_int right;
};

static void nested_task(void *argument, int64_t index, int worker)
{
    (void)index, (void)worker;
    struct nested *nested = argument;
    if (launch_is_right(nested->inner, 20))
        atomic_fetch_add(&nested->right, 1);
}

static void nested_launches_end(void **state)
{
    (void)state;
    attn_executor *own = make(3), *plain = thread_executor_create(3, 0);
    assert_non_null(plain);
    const attn_executor *executors[] = {NULL, attn_default_executor(), own, plain};
    for (int outer = 0; outer < 4; outer++)
        for (int inner = 0; inner < 4; inner++) {
            struct nested nested = {.inner = executors[inner]};
            assert_int_equal(attn_launch(executors[outer], 10, nested_task, &nested, NULL),
                             ATTN_OK);
            assert_int_equal(nested.right, 10);
        }
    thread_executor_destroy(plain);
    attn_executor_destroy(own);
}

static void *launch_many(void *argument)
{
    const attn_executor *executor = argument;
    for (int i = 0; i < 20; i++)
        if (!launch_is_right(executor, 50))
            return argument;
    return NULL;
}

static void several_threads_launch_at_once(void **state)
{
    (void)state;
    attn_executor *own = make(3);
    const attn_executor *executors[] = {attn_default_executor(), own};
    enum { HOSTS = 4 };
    pthread_t hosts[HOSTS];
    for (int i = 0; i < HOSTS; i++)
        assert_int_equal(
            pthread_create(&hosts[i], NULL, launch_many, (void *)(uintptr_t)executors[i % 2]), 0);
    for (int i = 0; i < HOSTS; i++) {
        void *wrong;
        assert_int_equal(pthread_join(hosts[i], &wrong), 0);
        assert_null(wrong);
    }
    attn_executor_destroy(own);
}

static void worker_zero_task(void *argument, int64_t index, int worker)
{
    atomic_int *others = argument;
    (void)index;
    if (worker != 0)
        atomic_fetch_add(others, 1);
}

/* In a forked child: the parent's executors and a new one all run, and on the calling thread alone. */
static bool runs_in_a_child(const attn_executor *own)
{
    attn_executor *fresh;
    if (attn_executor_create(&fresh, 3, NULL) != ATTN_OK)
        return false;
    const attn_executor *executors[] = {attn_default_executor(), own, fresh};
    for (int e = 0; e < 3; e++) {
        atomic_int others = 0;
        if (!launch_is_right(executors[e], COUNT) ||
            attn_launch(executors[e], COUNT, worker_zero_task, &others, NULL) != ATTN_OK ||
            others != 0)
            return false;
    }
    attn_executor_destroy(fresh);
    return true;
}

static void a_forked_child_runs_serially(void **state)
{
    (void)state;
    attn_executor *own = make(3);
    for (int round = 0; round < 3; round++) {
        assert_true(launch_is_right(attn_default_executor(), COUNT));
        assert_true(launch_is_right(own, COUNT));
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            alarm(60); /* a hang ends the child, not the test's patience */
            _exit(runs_in_a_child(own) ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_true(launch_is_right(attn_default_executor(), COUNT));
        assert_true(launch_is_right(own, COUNT));
    }
    attn_executor_destroy(own);
}

/* ---- executors that do it wrong ------------------------------------------------------------------------ */

static int reports_failure(void *context, int64_t count, attn_task task, void *argument)
{
    (void)context, (void)count;
    task(argument, 0, 0);
    return 5;
}

static int leaves_out_the_last(void *context, int64_t count, attn_task task, void *argument)
{
    (void)context;
    for (int64_t i = 0; i + 1 < count; i++)
        task(argument, i, 0);
    return 0;
}

static int runs_the_last_twice(void *context, int64_t count, attn_task task, void *argument)
{
    (void)context;
    for (int64_t i = 0; i <= count; i++)
        task(argument, i < count ? i : count - 1, 0);
    return 0;
}

static int goes_past_the_end(void *context, int64_t count, attn_task task, void *argument)
{
    (void)context;
    for (int64_t i = 0; i <= count; i++)
        task(argument, i, 0);
    return 0;
}

static int uses_a_worker_too_many(void *context, int64_t count, attn_task task, void *argument)
{
    (void)context;
    for (int64_t i = 0; i < count; i++)
        task(argument, i, (int)(i % 3));
    return 0;
}

static void expect_failure(int (*parallel_for)(void *, int64_t, attn_task, void *),
                           const char *sentence)
{
    attn_executor executor = {sizeof executor, NULL, 2, parallel_for};
    struct record *record = calloc(1, sizeof *record);
    assert_non_null(record);
    record->threads = 2;
    attn_error error;
    assert_int_equal(attn_launch(&executor, 9, record_task, record, &error), ATTN_ERR_EXECUTOR);
    assert_string_equal(error.message, sentence);
    assert_int_equal(record->strays, 0);
    for (int i = 9; i < COUNT; i++)
        assert_int_equal(record->runs[i], 0);
    free(record);
}

static void wrong_executors_are_found_out(void **state)
{
    (void)state;
    expect_failure(reports_failure,
                   "executor.parallel_for returned 5; it must return 0 when all tasks ran");
    expect_failure(
        leaves_out_the_last,
        "executor.parallel_for ran 8 tasks of 9; it must run each once before it returns");
    expect_failure(
        runs_the_last_twice,
        "executor.parallel_for ran 10 tasks of 9; it must run each once before it returns");
    expect_failure(goes_past_the_end, "executor.parallel_for ran index 9 as worker 0; indices are "
                                      "0 to 8 and workers 0 to 1");
    expect_failure(uses_a_worker_too_many, "executor.parallel_for ran index 8 as worker 2; indices "
                                           "are 0 to 8 and workers 0 to 1");
}

static void expect_malformed(attn_executor executor, attn_status status, const char *sentence)
{
    attn_error error;
    assert_int_equal(attn_launch(&executor, 1, record_task, NULL, &error), status);
    assert_int_equal(error.status, status);
    assert_string_equal(error.message, sentence);
}

static void malformed_executors_are_refused(void **state)
{
    (void)state;
    attn_executor good = {sizeof good, NULL, 1, leaves_out_the_last};
    attn_executor bad = good;
    bad.struct_size = 3;
    expect_malformed(bad, ATTN_ERR_STRUCT_SIZE,
                     "executor.struct_size is 3; it must be sizeof(attn_executor), 32");
    bad = good;
    bad.threads = 0;
    expect_malformed(bad, ATTN_ERR_EXECUTOR, "executor.threads is 0; it may be 1 to 1024");
    bad.threads = 1025;
    expect_malformed(bad, ATTN_ERR_EXECUTOR, "executor.threads is 1025; it may be 1 to 1024");
    bad = good;
    bad.parallel_for = NULL;
    expect_malformed(bad, ATTN_ERR_EXECUTOR,
                     "executor.parallel_for is NULL; it must be a function that runs tasks");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_index_runs_once),
        cmocka_unit_test(two_workers_run_at_once),
        cmocka_unit_test(one_thread_keeps_the_order),
        cmocka_unit_test(created_or_refused),
        cmocka_unit_test(nested_launches_end),
        cmocka_unit_test(several_threads_launch_at_once),
        cmocka_unit_test(a_forked_child_runs_serially),
        cmocka_unit_test(wrong_executors_are_found_out),
        cmocka_unit_test(malformed_executors_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
