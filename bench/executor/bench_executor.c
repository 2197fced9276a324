/* Which threads should run our tasks, beside a library that brings its own?
 *
 * A model alternates: matrix products by oneDNN, whose OpenMP threads spin for a while after each region,
 * then one launch of our tasks. This program times that alternation with the launch done by
 *
 *     openmp             attn_default_executor()
 *     pthreadpool        Debian's pthreadpool, its workers spinning before they sleep, as it comes
 *     pthreadpool-yield  the same with PTHREADPOOL_FLAG_YIELD_WORKERS: sleeping at once
 *
 * for tasks of 5 us to 5 ms and matrix products of 1, 32 and 512 rows. The three take turns within every
 * round, each is given by the median over the rounds, and what counts is the ratio to openmp: above 1,
 * openmp is the faster. `alone` leaves the matrix product out.
 *
 *     bench_executor [ROUNDS]     default 15 */
#include <math.h>
#include <pthreadpool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <attn/attn.h>
#include <oneapi/dnnl/dnnl.h>

enum { MATRIX_SIZE = 640, WAYS = 3, ROUNDS_MAX = 1001, PAIRS_PER_SAMPLE = 10 };

static const char *const way_names[WAYS] = {"openmp", "pthreadpool", "pthreadpool-yield"};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- our tasks: a given number of steps of arithmetic that cannot be left out ------------------------- */

struct work {
    int64_t steps;
    volatile double sink[1024];
};

/* Not inlined: a compiler that sees the same work twice would do it once. */
__attribute__((noinline)) static void work_task(void *argument, int64_t index, int worker)
{
    struct work *work = argument;
    double x = 1.0 + 1e-9 * (double)index + work->sink[worker & 1023];
    for (int64_t i = 0; i < work->steps; i++)
        x = x * 0.999999 + 1e-6;
    work->sink[worker & 1023] = x;
}

static double steps_per_second(void)
{
    struct work work = {.steps = 10000000};
    double best = INFINITY;
    for (int i = 0; i < 5; i++) {
        double begin = now();
        work_task(&work, 0, 0);
        best = fmin(best, now() - begin);
    }
    return (double)work.steps / best;
}

struct pthreadpool_call {
    attn_task task;
    void *argument;
};

static void pthreadpool_task(void *context, uint32_t microarchitecture, size_t index)
{
    (void)microarchitecture;
    struct pthreadpool_call *call = context;
    call->task(call->argument, (int64_t)index, 0);
}

static void launch(int way, pthreadpool_t pool, int64_t count, struct work *work)
{
    if (way == 0) {
        const attn_executor *executor = attn_default_executor();
        executor->parallel_for(executor->context, count, work_task, work);
        return;
    }
    struct pthreadpool_call call = {work_task, work};
    pthreadpool_parallelize_1d_with_uarch(pool, pthreadpool_task, &call, 0, 0, (size_t)count,
                                          way == 2 ? PTHREADPOOL_FLAG_YIELD_WORKERS : 0);
}

/* ---- oneDNN's matrix product ---------------------------------------------------------------------------- */

struct product {
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t arguments[3];
    dnnl_stream_t stream;
};

static void require(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench_executor: %s failed\n", what);
        exit(1);
    }
}

static dnnl_memory_t make_matrix(dnnl_engine_t engine, const dnnl_memory_desc_t *layout,
                                 int64_t count)
{
    float *data = aligned_alloc(64, ((size_t)count * sizeof *data + 63) / 64 * 64);
    require(data != NULL, "allocation");
    for (int64_t i = 0; i < count; i++)
        data[i] = 1e-3f * (float)(i % 97);
    dnnl_memory_t memory;
    require(dnnl_memory_create(&memory, layout, engine, data) == dnnl_success, "a oneDNN memory");
    return memory;
}

static struct product make_product(dnnl_engine_t engine, int64_t rows)
{
    dnnl_dims_t a_shape = {rows, MATRIX_SIZE}, b_shape = {MATRIX_SIZE, MATRIX_SIZE};
    dnnl_memory_desc_t a, b;
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_desc_t description;
    struct product product;
    require(
        dnnl_memory_desc_init_by_tag(&a, 2, a_shape, dnnl_f32, dnnl_ab) == dnnl_success &&
            dnnl_memory_desc_init_by_tag(&b, 2, b_shape, dnnl_f32, dnnl_ab) == dnnl_success &&
            dnnl_matmul_desc_init(&matmul, &a, &b, NULL, &a) == dnnl_success &&
            dnnl_primitive_desc_create(&description, &matmul, NULL, engine, NULL) == dnnl_success &&
            dnnl_primitive_create(&product.primitive, description) == dnnl_success &&
            dnnl_stream_create(&product.stream, engine, dnnl_stream_default_flags) == dnnl_success,
        "a oneDNN matrix product");
    dnnl_primitive_desc_destroy(description);
    product.arguments[0] =
        (dnnl_exec_arg_t){DNNL_ARG_SRC, make_matrix(engine, &a, rows * MATRIX_SIZE)};
    product.arguments[1] =
        (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, make_matrix(engine, &b, MATRIX_SIZE * MATRIX_SIZE)};
    product.arguments[2] =
        (dnnl_exec_arg_t){DNNL_ARG_DST, make_matrix(engine, &a, rows * MATRIX_SIZE)};
    return product;
}

static void run_product(const struct product *product)
{
    require(dnnl_primitive_execute(product->primitive, product->stream, 3, product->arguments) ==
                    dnnl_success &&
                dnnl_stream_wait(product->stream) == dnnl_success,
            "a oneDNN matrix product");
}

/* ---- the alternation ------------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Long enough for every pool's idle threads to stop spinning: they are not to disturb the next sample. */
static void settle(void)
{
    struct timespec time = {0, 30000000};
    nanosleep(&time, NULL);
}

/* Seconds of one product and one launch, the mean over a sample of several, after one that does not
 * count. */
static double sample(int way, pthreadpool_t pool, const struct product *product, int64_t count,
                     struct work *work)
{
    settle();
    double begin = 0;
    for (int i = 0; i <= PAIRS_PER_SAMPLE; i++) {
        if (i == 1)
            begin = now();
        if (product)
            run_product(product);
        launch(way, pool, count, work);
    }
    return (now() - begin) / PAIRS_PER_SAMPLE;
}

static void compare_ways(const char *name, pthreadpool_t pool, const struct product *product,
                         double task_seconds, int64_t count, double speed, int rounds)
{
    static double times[WAYS][ROUNDS_MAX];
    struct work work = {.steps = (int64_t)(task_seconds * speed)};
    for (int round = 0; round < rounds; round++)
        for (int turn = 0; turn < WAYS; turn++) {
            int way = (turn + round) % WAYS;
            times[way][round] = sample(way, pool, product, count, &work);
        }
    double median[WAYS];
    for (int way = 0; way < WAYS; way++) {
        qsort(times[way], (size_t)rounds, sizeof times[way][0], compare);
        median[way] = times[way][rounds / 2];
    }
    printf("%-8s %8.0f %6lld", name, 1e6 * task_seconds, (long long)count);
    for (int way = 0; way < WAYS; way++)
        printf(" %12.1f", 1e6 * median[way]);
    printf(" %10.2f %10.2f\n", median[1] / median[0], median[2] / median[0]);
    fflush(stdout);
}

int main(int count, char **arguments)
{
    int rounds = count > 1 ? atoi(arguments[1]) : 15;
    if (rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "bench_executor: ROUNDS may be 1 to %d\n", ROUNDS_MAX);
        return 2;
    }
    pthreadpool_t pool = pthreadpool_create((size_t)attn_default_executor()->threads);
    dnnl_engine_t engine;
    require(pool != NULL, "pthreadpool_create");
    require(dnnl_engine_create(&engine, dnnl_cpu, 0) == dnnl_success, "a oneDNN engine");
    double speed = steps_per_second();

    static const int64_t rows[] = {0, 1, 32, 512};
    static const struct {
        double seconds;
        int64_t count;
    } tasks[] = {{5e-6, 4}, {5e-6, 16}, {50e-6, 8}, {500e-6, 8}, {5e-3, 3}};

    printf("threads %d, product: rows x %d x %d, microseconds of one product and one launch\n",
           attn_default_executor()->threads, MATRIX_SIZE, MATRIX_SIZE);
    printf("%-8s %8s %6s %12s %12s %12s %10s %10s\n", "rows", "task us", "tasks", way_names[0],
           way_names[1], "pool-yield", "pool/omp", "yield/omp");
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        char name[24] = "alone";
        struct product product;
        if (rows[r] > 0) {
            snprintf(name, sizeof name, "%lld", (long long)rows[r]);
            product = make_product(engine, rows[r]);
        }
        for (size_t t = 0; t < sizeof tasks / sizeof tasks[0]; t++)
            compare_ways(name, pool, rows[r] > 0 ? &product : NULL, tasks[t].seconds,
                         tasks[t].count, speed, rounds);
    }
    pthreadpool_destroy(pool);
    return 0;
}
