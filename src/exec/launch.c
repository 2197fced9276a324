/* One launch of tasks.
 *
 * A caller's executor is a stranger's code, and what it hands to a task becomes an offset into the
 * workspace: so tasks go through a gate that passes only an index and a worker inside their ranges, and
 * counts. A count cannot tell an index that came twice from one left out; both at once go unnoticed. */
#include "exec/exec.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "base/error.h"

struct launch {
    attn_task task;
    void *argument;
    int64_t count;
    int threads;
    atomic_int_fast64_t finished;
    atomic_int_fast64_t stray_index; /* an index outside [0, count), or -1 when none was seen */
    atomic_int stray_worker;         /* a worker outside [0, threads), or 0 when none was seen */
    atomic_bool stray;
};

attn_status attn_executor_check(const attn_executor *executor, attn_error *error)
{
    if (!executor)
        return attn_succeed(error);
    if (executor->struct_size != sizeof(attn_executor))
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "executor.struct_size is %zu; it must be sizeof(attn_executor), %zu",
                         executor->struct_size, sizeof(attn_executor));
    if (executor->threads < 1 || executor->threads > ATTN_THREADS_MAX)
        return attn_fail(error, ATTN_ERR_EXECUTOR, "executor.threads is %d; it may be 1 to %d",
                         executor->threads, ATTN_THREADS_MAX);
    if (!executor->parallel_for)
        return attn_fail(error, ATTN_ERR_EXECUTOR,
                         "executor.parallel_for is NULL; it must be a function that runs tasks");
    return attn_succeed(error);
}

static void gate(void *argument, int64_t index, int worker)
{
    struct launch *launch = argument;
    if (index < 0 || index >= launch->count || worker < 0 || worker >= launch->threads) {
        atomic_store(&launch->stray_index, index);
        atomic_store(&launch->stray_worker, worker);
        atomic_store(&launch->stray, true);
        return;
    }
    launch->task(launch->argument, index, worker);
    /* Release: what the task wrote is there for whoever reads the count, whatever the executor does. */
    atomic_fetch_add_explicit(&launch->finished, 1, memory_order_release);
}

attn_status attn_launch(const attn_executor *executor, int64_t count, attn_task task,
                        void *argument, attn_error *error)
{
    attn_status status = attn_executor_check(executor, error);
    if (status != ATTN_OK || count <= 0)
        return status;
    if (!executor) {
        for (int64_t index = 0; index < count; index++)
            task(argument, index, 0);
        return ATTN_OK;
    }
    struct launch launch = {
        .task = task, .argument = argument, .count = count, .threads = executor->threads};
    int result = executor->parallel_for(executor->context, count, gate, &launch);
    int64_t finished = atomic_load_explicit(&launch.finished, memory_order_acquire);
    if (result != 0)
        return attn_fail(error, ATTN_ERR_EXECUTOR,
                         "executor.parallel_for returned %d; it must return 0 when all tasks ran",
                         result);
    if (atomic_load(&launch.stray))
        return attn_fail(error, ATTN_ERR_EXECUTOR,
                         "executor.parallel_for ran index %" PRId64
                         " as worker %d; indices are 0 to"
                         " %" PRId64 " and workers 0 to %d",
                         (int64_t)atomic_load(&launch.stray_index),
                         atomic_load(&launch.stray_worker), count - 1, executor->threads - 1);
    if (finished != count)
        return attn_fail(error, ATTN_ERR_EXECUTOR,
                         "executor.parallel_for ran %" PRId64 " tasks of %" PRId64
                         "; it must run each once before it returns",
                         finished, count);
    return ATTN_OK;
}
