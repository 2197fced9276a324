/* What two choices of a plan cost or save: the promise that masks are constant, and a limit on the
 * workspace. Each pair runs in turn, in f32 with all cores, and the median of each is printed. */
#include <attn/attn.h>
#include <attn/scores.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 9 };

static void *need(size_t bytes)
{
    void *memory = malloc(bytes > 0 ? bytes : 1);
    if (!memory) {
        fprintf(stderr, "out of memory: %zu bytes were wanted\n", bytes);
        exit(1);
    }
    return memory;
}

static void check(attn_status status, const attn_error *error)
{
    if (status == ATTN_OK)
        return;
    fprintf(stderr, "%s\n", error->message);
    exit(1);
}

/* Values between -1 and 1, the same at every start. */
static float *values(int64_t count)
{
    float *array = need((size_t)count * sizeof *array);
    uint32_t state = 1;
    for (int64_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u; /* Knuth's "quick and dirty" generator */
        array[i] = (float)(state >> 8) / (float)(1 << 23) - 1;
    }
    return array;
}

struct way {
    attn_plan *plan;
    attn_args args;
    void *workspace;
    size_t bytes;
    double ms[ROUNDS];
};

static struct way make_way(const attn_problem *problem, const attn_args *args)
{
    struct way way = {.args = *args};
    attn_error error;
    check(attn_plan_create(&way.plan, problem, &error), &error);
    way.bytes = attn_plan_workspace(way.plan, attn_default_executor()->threads);
    way.workspace = need(way.bytes);
    return way;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One run that nobody counts, then rounds of both. */
static void compare(const char *what, struct way *one, struct way *other)
{
    struct way *ways[] = {one, other};
    for (int round = -1; round < ROUNDS; round++)
        for (int i = 0; i < 2; i++) {
            struct way *way = ways[i];
            attn_error error;
            double begin = now();
            check(attn_run(way->plan, &way->args, way->workspace, way->bytes,
                           attn_default_executor(), &error),
                  &error);
            if (round >= 0)
                way->ms[round] = now() - begin;
        }
    for (int i = 0; i < 2; i++)
        qsort(ways[i]->ms, ROUNDS, sizeof(double), by_size);
    printf("%-52s %10.1f ms %8.1f MiB   %10.1f ms %8.1f MiB   %.3f\n", what, one->ms[ROUNDS / 2],
           (double)one->bytes / (1 << 20), other->ms[ROUNDS / 2], (double)other->bytes / (1 << 20),
           other->ms[ROUNDS / 2] / one->ms[ROUNDS / 2]);
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        attn_plan_destroy(ways[i]->plan);
        free(ways[i]->workspace);
    }
}

static attn_args make_args(const attn_problem *p)
{
    attn_args args = attn_args_init(p);
    args.q = values(p->heads * p->queries * p->head_size);
    args.k = values(p->kv_heads * p->keys * p->head_size);
    args.v = values(p->kv_heads * p->keys * p->head_size);
    args.o = need((size_t)(p->heads * p->queries * p->head_size) * sizeof(float));
    return args;
}

static void free_args(const attn_args *args)
{
    union {
        const void *read;
        void *write;
    } tensors[] = {{args->q}, {args->k}, {args->v}, {args->o}};
    for (int i = 0; i < 4; i++)
        free(tensors[i].write);
}

/* A mask of bytes or bits that all heads share: of ones, or its lower triangle. */
static void compare_constant(const char *what, attn_mask_kind kind, bool triangle)
{
    enum { N = 2048 };
    const int64_t stride = kind == ATTN_MASK_BITS ? N / 8 : N;
    attn_problem problem = attn_problem_init(1, 8, 8, N, N, 64);
    attn_scores scores = attn_scores_init();
    attn_scores_args arrays = attn_scores_args_init();
    uint8_t *mask = need((size_t)(N * stride));
    memset(mask, 0, (size_t)(N * stride));
    for (int64_t i = 0; i < N; i++)
        for (int64_t j = 0; j < (triangle ? i + 1 : N); j++)
            mask[i * stride + (kind == ATTN_MASK_BITS ? j / 8 : j)] |=
                (uint8_t)(kind == ATTN_MASK_BITS ? 1 << j % 8 : 1);
    scores.mask = kind;
    scores.mask_stride[2] = stride;
    arrays.mask = mask;
    problem.scores = &scores;
    attn_args args = make_args(&problem);
    args.scores = &arrays;
    struct way judged = make_way(&problem, &args);
    scores.constant = &arrays;
    args.scores = NULL;
    struct way constant = make_way(&problem, &args);
    compare(what, &judged, &constant);
    free_args(&args);
    free(mask);
}

/* Without a limit, and with the least: found by halving what plans refuse. */
static void compare_limit(const char *what, int64_t heads, int64_t kv_heads, int64_t queries,
                          int64_t keys, int64_t head_size)
{
    attn_problem problem = attn_problem_init(1, heads, kv_heads, queries, keys, head_size);
    attn_args args = make_args(&problem);
    struct way without = make_way(&problem, &args);
    size_t refused = 0, served = without.bytes;
    while (served - refused > 1) {
        attn_plan *plan;
        problem.workspace_limit = refused + (served - refused) / 2;
        if (attn_plan_create(&plan, &problem, NULL) == ATTN_OK)
            served = problem.workspace_limit;
        else
            refused = problem.workspace_limit;
        attn_plan_destroy(plan);
    }
    problem.workspace_limit = served;
    struct way least = make_way(&problem, &args);
    compare(what, &without, &least);
    free_args(&args);
}

int main(void)
{
    attn_cpu cpu = {.struct_size = sizeof cpu};
    attn_error error;
    check(attn_cpu_describe(&cpu, &error), &error);
    printf("%s, kernels %s, %d threads\n", cpu.name, cpu.path, attn_default_executor()->threads);
    printf("\nmask judged at each run, and promised constant (ratio: constant over judged)\n");
    compare_constant("bytes, ones, 8 heads, 2048 on 2048, d = 64", ATTN_MASK_BYTES, false);
    compare_constant("bits, ones, the same", ATTN_MASK_BITS, false);
    compare_constant("bytes, lower triangle, the same", ATTN_MASK_BYTES, true);
    printf("\nno limit on the workspace, and the least (ratio: least over none)\n");
    compare_limit("2 heads, 2048 on 131072, d = 64", 2, 2, 2048, 131072, 64);
    compare_limit("8 heads on 1 kv head, 512 on 131072, d = 128", 8, 1, 512, 131072, 128);
    compare_limit("8 heads, 2048 on 2048, d = 64", 8, 8, 2048, 2048, 64);
    compare_limit("8 heads on 2 kv heads, 2048 on 2048, d = 64", 8, 2, 2048, 2048, 64);
    return 0;
}
