/* Running the tasks of one launch: on the calling thread, or by an executor that is checked first. */
#ifndef ATTN_EXEC_EXEC_H
#define ATTN_EXEC_EXEC_H

#include <attn/attn.h>

/* The most workers an executor may have. */
enum { ATTN_THREADS_MAX = 1024 };

/* Whether an executor may be used: NULL may; else struct_size, threads (1..ATTN_THREADS_MAX) and
 * parallel_for are checked. Errors: STRUCT_SIZE, EXECUTOR. */
attn_status attn_executor_check(const attn_executor *executor, attn_error *error);

/* The workers of a checked executor; 1 for NULL. */
static inline int attn_executor_threads(const attn_executor *executor)
{
    return executor ? executor->threads : 1;
}

/* Run task(argument, index, worker) for every index in [0, count), and return when all have run.
 * count <= 0 runs nothing. NULL runs them in order on the calling thread, as worker 0. The library's own
 * executors hand tasks out one by one in order of index: put the largest first.
 *
 * The executor is checked (attn_executor_check), and so is what it does: an index or worker outside its
 * range is not passed on to the task. That, a number of tasks run that is not `count`, and a failure it
 * reports, give ATTN_ERR_EXECUTOR. */
attn_status attn_launch(const attn_executor *executor, int64_t count, attn_task task,
                        void *argument, attn_error *error);

/* The workers that the default executor has, or would have if it were made now. */
int attn_exec_default_threads(void);

/* Cores this process may use; >= 1. */
int attn_exec_cores(void);

/* The thread library behind the library's own executors: "OpenMP (libgomp)". Static storage. */
const char *attn_exec_library(void);

#endif
