/* The library's own executors: OpenMP's threads, the compiler's runtime.
 *
 * Why OpenMP: the programs around us (oneDNN, most numerical code) bring its threads, which spin for a
 * while after a region; a second pool beside them fights for the same cores (measured: see
 * docs/dependencies.md). A launch is one parallel region of always the same size, in which the workers
 * take the next index from a counter: the order of the tasks is kept, and a region that gets fewer
 * threads than asked for still runs every task.
 *
 * Where a region cannot be had, the tasks run on the calling thread: inside another region (nested
 * teams would be more threads than cores), and in a forked child, where the parent's team does not exist
 * any more and libgomp would wait for it forever. "Forked" means: the process is not the one that first
 * used an executor. */
#include "exec/exec.h"

#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"

/* The process that owns the team; 0 before the first use. */
static atomic_int owner;

static bool is_forked_child(void)
{
    int self = (int)getpid();
    int expected = 0;
    return !atomic_compare_exchange_strong(&owner, &expected, self) && expected != self;
}

static int run_in_order(int64_t count, attn_task task, void *argument)
{
    for (int64_t index = 0; index < count; index++)
        task(argument, index, 0);
    return 0;
}

/* `context` is the executor itself. */
static int run_in_region(void *context, int64_t count, attn_task task, void *argument)
{
    const attn_executor *executor = context;
    if (executor->threads == 1 || count <= 1 || omp_in_parallel() || is_forked_child())
        return run_in_order(count, task, argument);

    /* Asking for fewer threads when there are fewer tasks would make libgomp end the others and start
     * them anew in the next region. */
    atomic_int_fast64_t next = 0;
#pragma omp parallel num_threads(executor->threads)
    {
        int worker = omp_get_thread_num();
        for (;;) {
            int64_t index = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed);
            if (index >= count)
                break;
            task(argument, index, worker);
        }
    }
    return 0;
}

static int clamp_threads(int threads)
{
    return threads < 1 ? 1 : threads > ATTN_THREADS_MAX ? ATTN_THREADS_MAX : threads;
}

/* OpenMP's own default: the cores of the affinity mask, or OMP_NUM_THREADS. It is kept, because teams of
 * one size are what the rest of the program asks for too. */
static int default_threads(void)
{
    return clamp_threads(omp_get_max_threads());
}

static void make(attn_executor *executor, int threads)
{
    executor->struct_size = sizeof *executor;
    executor->context = executor;
    executor->threads = threads;
    executor->parallel_for = run_in_region;
    is_forked_child(); /* whoever makes the first executor owns the team */
}

static attn_executor default_executor;
static atomic_int default_made; /* its threads; 0 before it is made */

static void make_default(void)
{
    make(&default_executor, default_threads());
    atomic_store(&default_made, default_executor.threads);
}

int attn_exec_default_threads(void)
{
    int made = atomic_load(&default_made);
    return made > 0 ? made : default_threads();
}

const attn_executor *attn_default_executor(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_default);
    return &default_executor;
}

attn_status attn_executor_create(attn_executor **executor, int threads, attn_error *error)
{
    if (!executor)
        return attn_fail(error, ATTN_ERR_NULL, "executor is NULL; it must point to a pointer");
    *executor = NULL;
    if (threads < 0 || threads > ATTN_THREADS_MAX)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "threads is %d; it may be 1 to %d, or 0 for all cores", threads,
                         ATTN_THREADS_MAX);
    attn_executor *created = malloc(sizeof *created);
    if (!created)
        return attn_fail(error, ATTN_ERR_MEMORY, "no memory for an executor of %zu bytes",
                         sizeof *created);
    make(created, threads == 0 ? default_threads() : threads);
    *executor = created;
    return attn_succeed(error);
}

void attn_executor_destroy(attn_executor *executor)
{
    free(executor);
}

int attn_exec_cores(void)
{
    return omp_get_num_procs();
}

const char *attn_exec_library(void)
{
#if defined(__clang__)
    return "OpenMP (libomp)";
#else
    return "OpenMP (libgomp)";
#endif
}
