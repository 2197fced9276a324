/* Every kernel of a table measured alone, data in the nearest caches, as the forward pass uses it: blocks of
 * 192 rows and 512 keys. For people who change one; never part of a test run. Each figure is the best of
 * many short trials. */
#include "attention/kernel_check.h"

#include <time.h>

enum { ROWS = ATTN_BLOCK_ROWS, KEYS = ATTN_BLOCK_KEYS, HEAD_MOST = 256, TRIALS = 40 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Everything a kernel may be called with. */
struct bench {
    int64_t head_size;
    void *tensor; /* [KEYS][HEAD_MOST] of the dtype in use */
    attn_dtype dtype;
    float *queries, *keys, *values, *output, *scores, *fresh, *rescale;
    uint8_t *visible;
    struct attn_row *row;
    int16_t first[ATTN_BLOCK_GROUPS], vectors[ATTN_BLOCK_GROUPS], last[ATTN_BLOCK_GROUPS];
    float reference[ROWS], inverse[ROWS], sums[KEYS];
    struct attn_row_extras extras;
    void (*softmax)(struct attn_softmax_call *);
};

static void run_pack_queries(struct bench *b)
{
    for (int row = 0; row < ROWS; row += kernels->rows)
        kernels->pack_queries(b->tensor, b->dtype, b->head_size, kernels->rows, b->head_size, 0.1f,
                              b->queries);
}

static void run_pack_keys(struct bench *b)
{
    for (int key = 0; key < KEYS; key += kernels->columns)
        kernels->pack_keys(b->tensor, b->dtype, b->head_size, kernels->columns, b->head_size,
                           b->keys);
}

static void run_pack_values(struct bench *b)
{
    kernels->pack_values(b->tensor, b->dtype, b->head_size, KEYS, b->head_size, b->values);
}

static void run_scores(struct bench *b)
{
    struct attn_scores_call call = {.queries = b->queries,
                                    .keys = b->keys,
                                    .steps = attn_kernels_steps(kernels, b->head_size),
                                    .scale = 0.1f,
                                    .rows = ROWS,
                                    .vectors = KEYS / kernels->lanes,
                                    .vector_first = b->first,
                                    .vector_last = b->vectors,
                                    .scores = b->scores};
    kernels->scores(&call);
}

static void run_values(struct bench *b)
{
    struct attn_values_call call = {
        .scores = b->fresh,
        .values = b->values,
        .steps = attn_kernels_steps(kernels, KEYS),
        .rows = ROWS,
        .panels = (int)((b->head_size + kernels->columns - 1) / kernels->columns),
        .key_first = b->first,
        .key_last = b->last,
        .output = b->output,
        .output_rows = ROWS};
    kernels->values(&call);
}

/* Softmax works in place: scores are laid anew each time, which is measured too and taken off. */
static void lay_scores(struct bench *b)
{
    memcpy(b->scores, b->fresh, (size_t)ROWS * ATTN_SCORE_STRIDE * sizeof(float));
}

static void run_softmax(struct bench *b)
{
    int32_t top_keys[1];
    float top_scores[1];
    lay_scores(b);
    for (int r = 0; r < ROWS; r++)
        b->row[r] = (struct attn_row){.reference = -INFINITY, .maximum = -INFINITY};
    struct attn_softmax_call call = {.scores = b->scores,
                                     .rows = ROWS,
                                     .group_rows = kernels->rows,
                                     .key_first = b->first,
                                     .key_last = b->last,
                                     .row = b->row,
                                     .rescale = b->rescale,
                                     .extras = &b->extras,
                                     .top_keys = top_keys,
                                     .top_scores = top_scores};
    b->softmax(&call);
}

static void run_weights(struct bench *b)
{
    struct attn_weights_call call = {.scores = b->fresh,
                                     .rows = ROWS,
                                     .keys = KEYS,
                                     .reference = b->reference,
                                     .inverse = b->inverse,
                                     .column_sums = b->sums};
    kernels->weights(&call);
}

static void run_softcap(struct bench *b)
{
    for (int row = 0; row < ROWS; row++)
        kernels->softcap(b->scores + row * ATTN_SCORE_STRIDE, KEYS, 50.0f);
}

static void run_add_bias(struct bench *b)
{
    for (int row = 0; row < ROWS; row++)
        kernels->add_bias(b->scores + row * ATTN_SCORE_STRIDE, KEYS, b->tensor, b->dtype, 1.4f);
}

static void run_add_distance(struct bench *b)
{
    for (int row = 0; row < ROWS; row++)
        kernels->add_distance(b->scores + row * ATTN_SCORE_STRIDE, KEYS, row, -0.01f);
}

static void run_apply_mask(struct bench *b)
{
    for (int row = 0; row < ROWS; row++)
        kernels->apply_mask(b->scores + row * ATTN_SCORE_STRIDE, KEYS, b->visible);
}

static void run_hide_by_bytes(struct bench *b)
{
    for (int row = 0; row < ROWS; row++)
        kernels->masks.hide_by_bytes(b->visible, b->visible, KEYS);
}

static void run_look_at_bias(struct bench *b)
{
    for (int row = 0; row < ROWS; row++)
        b->sums[0] +=
            (float)kernels->masks.look_at_bias(b->fresh + row * ATTN_SCORE_STRIDE, ATTN_F32, KEYS)
                .all;
}

static void run_range(struct bench *b)
{
    float low = 0, high = 0;
    for (int row = 0; row < ROWS; row++)
        kernels->range(b->fresh + row * ATTN_SCORE_STRIDE, KEYS, &low, &high);
    b->sums[0] = low + high;
}

static void run_store_row(struct bench *b)
{
    for (int row = 0; row < ROWS; row++)
        kernels->store_row(b->output + row * kernels->columns, ROWS, b->head_size, 0.5f, b->tensor,
                           b->dtype);
}

static void run_rescale_row(struct bench *b)
{
    for (int row = 0; row < ROWS; row++)
        kernels->rescale_row(b->output + row * kernels->columns, ROWS,
                             (int)((b->head_size + kernels->columns - 1) / kernels->columns), 1.0f);
}

/* Seconds of one call: the shortest of the trials, each long enough for the clock. */
static double seconds(struct bench *b, void (*run)(struct bench *))
{
    double best = INFINITY;
    run(b);
    for (int trial = 0; trial < TRIALS; trial++) {
        int calls = 0;
        double begin = now(), took;
        do {
            run(b);
            calls++;
        } while ((took = now() - begin) < 0.5e-3);
        best = fmin(best, took / calls);
    }
    return best;
}

static const char *dtype_name(attn_dtype dtype)
{
    return dtype == ATTN_F32 ? "f32" : dtype == ATTN_BF16 ? "bf16" : "f16";
}

static void print_elements(const char *name, const char *dtype, int64_t head_size, double took,
                           double elements)
{
    printf("%-16s %-5s D %3lld  %10.0f ns  %7.3f ns/element\n", name, dtype, (long long)head_size,
           1e9 * took, 1e9 * took / elements);
}

static void bench_products(struct bench *b, double peak_gflops)
{
    const struct {
        const char *name;
        void (*run)(struct bench *);
    } products[] = {{"scores", run_scores}, {"values", run_values}};
    for (int i = 0; i < 2; i++) {
        double took = seconds(b, products[i].run);
        double gflops = 2e-9 * ROWS * KEYS * (double)b->head_size / took;
        printf("%-16s       D %3lld  %10.0f ns  %7.1f GFLOP/s", products[i].name,
               (long long)b->head_size, 1e9 * took, gflops);
        if (peak_gflops > 0)
            printf("  %3.0f%% of the peak", 100 * gflops / peak_gflops);
        printf("\n");
    }
}

static void bench_softmaxes(struct bench *b)
{
    const struct {
        const char *name;
        void (*kernel)(struct attn_softmax_call *);
    } softmaxes[] = {{"softmax", kernels->softmax},
                     {"softmax_entropy", kernels->softmax_entropy},
                     {"softmax_all", kernels->softmax_all}};
    const double laying = seconds(b, lay_scores);
    for (int i = 0; i < 3; i++) {
        b->softmax = softmaxes[i].kernel;
        print_elements(softmaxes[i].name, "", 0, seconds(b, run_softmax) - laying,
                       (double)ROWS * KEYS);
    }
}

static void bench_dtype(struct bench *b)
{
    const struct {
        const char *name;
        void (*run)(struct bench *);
        double rows;
    } packing[] = {{"pack_queries", run_pack_queries, ROWS},
                   {"pack_keys", run_pack_keys, KEYS},
                   {"pack_values", run_pack_values, KEYS},
                   {"store_row", run_store_row, ROWS}};
    for (int i = 0; i < 4; i++)
        print_elements(packing[i].name, dtype_name(b->dtype), b->head_size,
                       seconds(b, packing[i].run), packing[i].rows * (double)b->head_size);
    if (b->head_size == 64)
        print_elements("add_bias", dtype_name(b->dtype), 0, seconds(b, run_add_bias),
                       (double)ROWS * KEYS);
}

static void bench_shaping(struct bench *b)
{
    const struct {
        const char *name;
        void (*run)(struct bench *);
    } shaping[] = {{"weights", run_weights},
                   {"softcap", run_softcap},
                   {"add_distance", run_add_distance},
                   {"apply_mask", run_apply_mask},
                   {"hide_by_bytes", run_hide_by_bytes},
                   {"look_at_bias", run_look_at_bias},
                   {"range", run_range}};
    for (int i = 0; i < 7; i++)
        print_elements(shaping[i].name, "", 0, seconds(b, shaping[i].run), (double)ROWS * KEYS);
    print_elements("rescale_row", "", b->head_size, seconds(b, run_rescale_row),
                   (double)ROWS * (double)b->head_size);
}

static void *zeros(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        exit(1);
    return memory;
}

void bench_kernels(double peak_gflops)
{
    static const int64_t head_sizes[] = {64, 128, 256};
    static struct bench b;
    struct random random = {1};
    printf("kernels \"%s\"%s, %d rows x %d keys; peak %.1f GFLOP/s\n", kernels->name,
           kernels->pair == 2 ? ", pairs of bf16" : "", ROWS, KEYS, peak_gflops);
    b.tensor = zeros(KEYS * HEAD_MOST, sizeof(float));
    b.queries = zeros(ROWS * HEAD_MOST, sizeof(float));
    b.keys = zeros(KEYS * HEAD_MOST, sizeof(float));
    b.values = zeros(KEYS * HEAD_MOST, sizeof(float));
    b.output = zeros(ROWS * HEAD_MOST, sizeof(float));
    b.scores = zeros(ROWS * ATTN_SCORE_STRIDE, sizeof(float));
    b.fresh = zeros(ROWS * ATTN_SCORE_STRIDE, sizeof(float));
    b.rescale = zeros(ROWS, sizeof(float));
    b.visible = zeros(KEYS, 1);
    b.row = zeros(ROWS, sizeof *b.row);
    b.extras = (struct attn_row_extras){.max_key = true, .masses = true, .distances = true};
    for (int g = 0; g < ATTN_BLOCK_GROUPS; g++)
        b.vectors[g] = (int16_t)(KEYS / kernels->lanes), b.last[g] = KEYS;
    for (int i = 0; i < ROWS * ATTN_SCORE_STRIDE; i++)
        b.fresh[i] = (float)random_normal(&random);
    for (int h = 0; h < 3; h++) {
        b.head_size = head_sizes[h];
        for (int d = 0; d < kernel_dtypes_count; d++) {
            b.dtype = kernel_dtypes[d];
            for (int64_t i = 0; i < KEYS * HEAD_MOST; i++)
                attn_ref_store(b.tensor, b.dtype, i, 0.1 * random_normal(&random));
            run_pack_queries(&b), run_pack_keys(&b), run_pack_values(&b);
            if (h < 2)
                bench_dtype(&b);
        }
        bench_products(&b, peak_gflops);
    }
    bench_softmaxes(&b);
    bench_shaping(&b);
    free(b.tensor), free(b.queries), free(b.keys), free(b.values), free(b.output), free(b.scores);
    free(b.fresh), free(b.rescale), free(b.visible), free(b.row);
}
