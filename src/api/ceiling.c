/* The ceilings of this machine: loops timed on every worker at once.
 *
 * A trial is one launch with a task for each worker, timed as a whole: if some worker comes late or never,
 * the trial is slow and another one is the best. */
#include "attn/ceiling.h"

#include <math.h>
#include <time.h>

#include "base/error.h"
#include "base/sizes.h"
#include "exec/exec.h"
#include "kernels/ceiling/ceiling.h"

enum { RUNS_LEAST = 3 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What all workers do in one trial; results land where the compiler must believe they are read. */
struct trial {
    const struct attn_ceiling_loops *loops;
    int64_t repeats; /* rounds of multiply-adds, or passes over the memory */
    const unsigned char *memory;
    size_t bytes;
    size_t share; /* bytes of one worker */
    int read_loop;
};

static void fma_task(void *argument, int64_t index, int worker)
{
    const struct trial *trial = argument;
    (void)worker;
    float result = trial->loops->fma(trial->repeats, (float)(index + 1));
    __asm__ volatile("" : : "m"(result));
}

static void bf16_dot_task(void *argument, int64_t index, int worker)
{
    const struct trial *trial = argument;
    (void)worker;
    float result = trial->loops->bf16_dot(trial->repeats, (float)(index + 1));
    __asm__ volatile("" : : "m"(result));
}

static void read_task(void *argument, int64_t index, int worker)
{
    const struct trial *trial = argument;
    (void)worker;
    size_t begin;
    if (!attn_size_mul(&begin, (size_t)index, trial->share) || begin >= trial->bytes)
        return;
    size_t bytes = trial->bytes - begin < trial->share ? trial->bytes - begin : trial->share;
    uint32_t result =
        trial->loops->read[trial->read_loop](trial->memory + begin, bytes, trial->repeats);
    __asm__ volatile("" : : "m"(result));
}

static double time_once(struct trial *trial, attn_task task)
{
    double begin = now();
    task(trial, 0, 0);
    return now() - begin;
}

/* How often a task repeats to take about `seconds`, tried on this thread alone. On a busy machine a short
 * run may be interrupted and look long; hardly twice in a row. */
static void set_repeats(struct trial *trial, attn_task task, double seconds)
{
    trial->repeats = 1;
    while (trial->repeats < INT64_MAX / 4 &&
           fmin(time_once(trial, task), time_once(trial, task)) < seconds / 2)
        trial->repeats *= 2;
}

/* Launch for about `seconds`; *best is the shortest time of one repeat. */
static attn_status measure(double *best, struct trial *trial, attn_task task, double seconds,
                           const attn_executor *executor, attn_error *error)
{
    int threads = attn_executor_threads(executor);
    double end = now() + seconds, shortest = INFINITY;
    set_repeats(trial, task, seconds / 16);
    for (int run = 0; run < RUNS_LEAST || now() < end; run++) {
        double begin = now();
        attn_status status = attn_launch(executor, threads, task, trial, error);
        if (status != ATTN_OK)
            return status;
        shortest = fmin(shortest, (now() - begin) / (double)trial->repeats);
    }
    *best = shortest;
    return ATTN_OK;
}

static attn_status check(double seconds, const struct attn_ceiling_loops **loops,
                         const attn_executor *executor, attn_error *error)
{
    if (!(seconds >= 0.01 && seconds <= 10))
        return attn_fail(error, ATTN_ERR_VALUE, "seconds is %g; it may be 0.01 to 10", seconds);
    attn_status status = attn_executor_check(executor, error);
    if (status != ATTN_OK)
        return status;
    enum attn_path path;
    status = attn_path_choose(&path, error);
    if (status != ATTN_OK)
        return status;
    *loops = attn_ceiling_loops_of(path);
    if (!*loops)
        return attn_fail(error, ATTN_ERR_CPU, "this build has no loops for the path \"%s\"",
                         attn_path_name(path));
    return ATTN_OK;
}

/* GFLOP/s of a task whose rounds count `flops` each, on every worker. */
static attn_status measure_flops(double *gflops, struct trial *trial, attn_task task, double flops,
                                 double seconds, const attn_executor *executor, attn_error *error)
{
    double best;
    attn_status status = measure(&best, trial, task, seconds, executor, error);
    if (status != ATTN_OK)
        return status;
    *gflops = 1e-9 * flops * attn_executor_threads(executor) / best;
    return attn_succeed(error);
}

attn_status attn_ceiling_fma(double *gflops, double seconds, const attn_executor *executor,
                             attn_error *error)
{
    if (!gflops)
        return attn_fail(error, ATTN_ERR_NULL, "gflops is NULL; it must point to a double");
    struct trial trial = {.loops = NULL};
    attn_status status = check(seconds, &trial.loops, executor, error);
    if (status != ATTN_OK)
        return status;
    return measure_flops(gflops, &trial, fma_task, trial.loops->flops_per_round, seconds, executor,
                         error);
}

attn_status attn_ceiling_bf16_dot(double *gflops, double seconds, const attn_executor *executor,
                                  attn_error *error)
{
    if (!gflops)
        return attn_fail(error, ATTN_ERR_NULL, "gflops is NULL; it must point to a double");
    struct trial trial = {.loops = NULL};
    attn_status status = check(seconds, &trial.loops, executor, error);
    if (status != ATTN_OK)
        return status;
    if (!trial.loops->bf16_dot)
        return attn_fail(error, ATTN_ERR_CPU,
                         "the path that plans use here has no dot products of bf16");
    return measure_flops(gflops, &trial, bf16_dot_task, trial.loops->bf16_dot_flops_per_round,
                         seconds, executor, error);
}

attn_status attn_ceiling_read(double *gbytes, const void *memory, size_t bytes, double seconds,
                              const attn_executor *executor, attn_error *error)
{
    if (!gbytes)
        return attn_fail(error, ATTN_ERR_NULL, "gbytes is NULL; it must point to a double");
    if (!memory)
        return attn_fail(error, ATTN_ERR_NULL, "memory is NULL; it must be memory to read");
    if (bytes == 0)
        return attn_fail(error, ATTN_ERR_VALUE, "bytes is 0; it must be 1 or more");
    struct trial trial = {.memory = memory, .bytes = bytes};
    attn_status status = check(seconds, &trial.loops, executor, error);
    if (status != ATTN_OK)
        return status;
    /* Whole cache lines for everyone, the rest for the last. */
    size_t threads = (size_t)attn_executor_threads(executor);
    trial.share = bytes / threads + (bytes % threads != 0);
    if (!attn_size_round_up(&trial.share, trial.share, 64))
        trial.share = bytes;
    double best = INFINITY;
    for (trial.read_loop = 0; trial.read_loop < ATTN_READ_LOOPS; trial.read_loop++) {
        double one;
        status = measure(&one, &trial, read_task, seconds / ATTN_READ_LOOPS, executor, error);
        if (status != ATTN_OK)
            return status;
        best = fmin(best, one);
    }
    *gbytes = 1e-9 * (double)bytes / best;
    return attn_succeed(error);
}
