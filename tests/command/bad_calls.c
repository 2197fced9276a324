/* Calls of the library that must be refused: makes each of them, and prints what it was, the status
 * and the sentence, tab-separated, a line each. The exit status is 1 if one of them was not refused
 * as it should be, gave no sentence, or changed an output. bad_inputs.py puts the lines into
 * docs/bad-inputs.md. With ATTN_CPU set to a path that does not exist, and the argument "cpu", it
 * makes the one call that this refuses (the choice is made once in a process). */
#include <attn/attn.h>
#include <attn/ceiling.h>
#include <attn/stats.h>
#include <stdio.h>

#include "bad_calls.h"

enum { HEADS = 4, KV_HEADS = 2, LENGTH = 8, SIZE = 16 };
static float q[HEADS * LENGTH * SIZE], k[KV_HEADS * LENGTH * SIZE], v[KV_HEADS * LENGTH * SIZE];
static float o[HEADS * LENGTH * SIZE + 1];
static _Alignas(64) char workspace[1 << 20];
static int faults;

void tell(const char *what, attn_status expected, attn_status got, const attn_error *error)
{
    bool good = got == expected && error->status == got && error->message[0];
    for (size_t i = 0; i < sizeof o / sizeof o[0]; i++)
        good = good && o[i] > 6 && o[i] < 8; /* as main() left them */
    faults += !good;
    printf("%s\t%s%s\t%s\n", what, attn_status_name(got), good ? "" : " (WRONG)", error->message);
}

static attn_problem good_problem(void)
{
    return attn_problem_init(1, HEADS, KV_HEADS, LENGTH, LENGTH, SIZE);
}

static attn_args good_args(const attn_problem *problem)
{
    attn_args args = attn_args_init(problem);
    args.q = q;
    args.k = k;
    args.v = v;
    args.o = o;
    return args;
}

/* ---- planning ---- */

static void plan(const char *what, attn_status expected, const attn_problem *problem)
{
    attn_plan *plan = NULL;
    attn_error error = {0};
    attn_status status = attn_plan_create(&plan, problem, &error);
    if (plan)
        faults++;
    attn_plan_destroy(plan);
    tell(what, expected, status, &error);
}

static void plans_of_shapes(void)
{
    attn_problem p = good_problem();
    plan("problem is NULL", ATTN_ERR_NULL, NULL);
    p.struct_size = 7;
    plan("problem.struct_size = 7", ATTN_ERR_STRUCT_SIZE, &p);
    p = good_problem();
    p.heads = 5;
    plan("5 heads on 2 kv heads", ATTN_ERR_SHAPE, &p);
    p = good_problem();
    p.kv_heads = 0;
    plan("4 heads on 0 kv heads", ATTN_ERR_SHAPE, &p);
    p = good_problem();
    p.queries = -1;
    plan("-1 queries", ATTN_ERR_SHAPE, &p);
    p = good_problem();
    p.keys = (int64_t)1 << 31;
    plan("2^31 keys", ATTN_ERR_SHAPE, &p);
    p = good_problem();
    p.head_size = 0;
    plan("head size 0", ATTN_ERR_SHAPE, &p);
    p = good_problem();
    p.batch = INT64_MAX;
    plan("2^63 - 1 sequences", ATTN_ERR_SHAPE, &p);
    p = good_problem();
    p.batch = 2;
    p.q.stride[0] = INT64_MAX;
    plan("sequences of q that lie 2^63 - 1 elements apart", ATTN_ERR_OVERFLOW, &p);
}

static void plans_of_values(void)
{
    attn_problem p = good_problem();
    p.k.stride[3] = 2;
    plan("last stride of k is 2", ATTN_ERR_STRIDE, &p);
    p = good_problem();
    p.o.stride[2] = 0;
    plan("rows of o on top of each other", ATTN_ERR_STRIDE, &p);
    p = good_problem();
    p.q.dtype = ATTN_BF16;
    plan("q in bf16", ATTN_ERR_DTYPE, &p);
    p = good_problem();
    p.scale = 1.0f / 0.0f;
    plan("scale is infinite", ATTN_ERR_VALUE, &p);
    p = good_problem();
    p.softcap = -1;
    plan("softcap is -1", ATTN_ERR_VALUE, &p);
    p = good_problem();
    p.window.left = -2;
    plan("window.left is -2", ATTN_ERR_VALUE, &p);
    p = good_problem();
    attn_statistics_wanted wanted = attn_statistics_wanted_init(ATTN_STAT_MASS_SEGMENTS);
    wanted.segments = 33;
    p.statistics = &wanted;
    plan("33 segments", ATTN_ERR_VALUE, &p);
}

/* ---- running ---- */

static void run(const char *what, attn_status expected, const attn_args *args, void *memory,
                size_t size, const attn_executor *executor)
{
    attn_problem problem = good_problem();
    attn_plan *plan = NULL;
    attn_error error = {0};
    attn_status status = attn_plan_create(&plan, &problem, &error);
    if (status == ATTN_OK)
        status = attn_run(plan, args, memory, size, executor, &error);
    attn_plan_destroy(plan);
    tell(what, expected, status, &error);
}

static void runs_of_pointers(void)
{
    attn_problem problem = good_problem();
    attn_args args = good_args(&problem);
    size_t size = sizeof workspace;
    run("args is NULL", ATTN_ERR_NULL, NULL, workspace, size, NULL);
    args.struct_size = 7;
    run("args.struct_size = 7", ATTN_ERR_STRUCT_SIZE, &args, workspace, size, NULL);
    args = good_args(&problem);
    args.q = NULL;
    run("q is NULL", ATTN_ERR_NULL, &args, workspace, size, NULL);
    args = good_args(&problem);
    args.k = (const char *)k + 1;
    run("k is one byte off", ATTN_ERR_ALIGNMENT, &args, workspace, size, NULL);
    args = good_args(&problem);
    args.o = (char *)o + 2;
    run("o is two bytes off", ATTN_ERR_ALIGNMENT, &args, workspace, size, NULL);
    args = good_args(&problem);
    args.keys = LENGTH + 1;
    run("9 keys where 8 were planned", ATTN_ERR_SHAPE, &args, workspace, size, NULL);
    args = good_args(&problem);
    args.queries = -1;
    run("a run of -1 queries", ATTN_ERR_SHAPE, &args, workspace, size, NULL);
}

static int refuse(void *context, int64_t count, attn_task task, void *argument)
{
    (void)context, (void)count, (void)task, (void)argument;
    return 1;
}

static void runs_of_room(void)
{
    attn_problem problem = good_problem();
    attn_args args = good_args(&problem);
    size_t size = sizeof workspace;
    run("workspace is NULL", ATTN_ERR_WORKSPACE, &args, NULL, size, NULL);
    run("workspace of one byte", ATTN_ERR_WORKSPACE, &args, workspace, 1, NULL);
    attn_executor executor = {sizeof executor, NULL, 0, refuse};
    run("executor of 0 threads", ATTN_ERR_EXECUTOR, &args, workspace, size, &executor);
    executor.threads = 1;
    run("executor that fails", ATTN_ERR_EXECUTOR, &args, workspace, size, &executor);
}

/* ---- the rest ---- */

static void others(void)
{
    attn_error error = {0};
    attn_executor *executor = NULL;
    attn_status status = attn_executor_create(&executor, 1025, &error);
    tell("executor of 1025 threads", ATTN_ERR_VALUE, status, &error);
    attn_executor_destroy(executor);

    attn_cpu cpu = {.struct_size = 7};
    error = (attn_error){0};
    status = attn_cpu_describe(&cpu, &error);
    tell("cpu.struct_size = 7", ATTN_ERR_STRUCT_SIZE, status, &error);

    double ceiling = 0;
    error = (attn_error){0};
    status = attn_ceiling_fma(&ceiling, -1, NULL, &error);
    tell("a ceiling measured for -1 seconds", ATTN_ERR_VALUE, status, &error);
}

int main(int argc, char **argv)
{
    (void)argv;
    for (size_t i = 0; i < sizeof o / sizeof o[0]; i++)
        o[i] = 7;
    if (argc > 1) {
        attn_problem problem = good_problem();
        plan("ATTN_CPU names no path", ATTN_ERR_CPU, &problem);
        return faults != 0;
    }
    plans_of_shapes();
    plans_of_values();
    runs_of_pointers();
    runs_of_room();
    others();
    calls_of_caches();
    return faults != 0;
}
