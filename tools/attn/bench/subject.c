/* Tensors, plan, workspace and statistics of a case; see subject.h. */
#include "subject.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#define ROW_FLOAT(BIT, member)                                                                     \
    {                                                                                              \
        BIT, #member, offsetof(attn_statistics, member), false, 1                                  \
    }
#define ROW_INTEGER(BIT, member)                                                                   \
    {                                                                                              \
        BIT, #member, offsetof(attn_statistics, member), true, 1                                   \
    }

const struct bench_statistic bench_statistics_of_rows[] = {
    ROW_FLOAT(ATTN_STAT_ENTROPY, entropy),
    ROW_FLOAT(ATTN_STAT_VARENTROPY, varentropy),
    ROW_FLOAT(ATTN_STAT_PARTICIPATION, participation),
    ROW_FLOAT(ATTN_STAT_MAX_WEIGHT, max_weight),
    ROW_INTEGER(ATTN_STAT_MAX_KEY, max_key),
    ROW_FLOAT(ATTN_STAT_MAX_LOGIT, max_logit),
    ROW_FLOAT(ATTN_STAT_MAX_ABS_LOGIT, max_abs_logit),
    ROW_FLOAT(ATTN_STAT_MAX_SCORE, max_score),
    ROW_FLOAT(ATTN_STAT_MIN_SCORE, min_score),
    ROW_FLOAT(ATTN_STAT_MASS_SELF, mass_self),
    ROW_FLOAT(ATTN_STAT_MASS_PREVIOUS, mass_previous),
    ROW_FLOAT(ATTN_STAT_MASS_NEXT, mass_next),
    ROW_FLOAT(ATTN_STAT_MASS_FIRST, mass_first),
    ROW_FLOAT(ATTN_STAT_MASS_LOCAL, mass_local),
    {ATTN_STAT_MASS_SEGMENTS, "mass_segments", offsetof(attn_statistics, mass_segments), false,
     BENCH_SEGMENTS},
    ROW_FLOAT(ATTN_STAT_DISTANCE_MEAN, distance_mean),
    ROW_FLOAT(ATTN_STAT_DISTANCE_SD, distance_sd),
    ROW_INTEGER(ATTN_STAT_VISIBLE_KEYS, visible_keys),
};
const int bench_statistics_of_rows_count =
    sizeof bench_statistics_of_rows / sizeof bench_statistics_of_rows[0];

uint32_t bench_statistics_set(enum bench_statistics wants)
{
    uint32_t all = 0;
    if (wants == STATISTICS_NONE)
        return 0;
    if (wants == STATISTICS_TWO)
        return ATTN_STAT_ENTROPY | ATTN_STAT_MAX_WEIGHT;
    for (int i = 0; i < bench_statistics_of_rows_count; i++)
        all |= bench_statistics_of_rows[i].bit;
    return all;
}

/* The arrays of attn_statistics are pointers to float or int32_t; both are read and set as bytes of
 * a pointer, so that one table serves them. */
static void **array_place(attn_statistics *statistics, const struct bench_statistic *statistic)
{
    return (void **)(void *)((char *)statistics + statistic->array);
}

void *bench_statistic_array(const struct bench_subject *s, const struct bench_statistic *statistic)
{
    void *array;
    memcpy(&array, (const char *)&s->statistics + statistic->array, sizeof array);
    return array;
}

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *allocate(size_t bytes, struct failure *f)
{
    enum { LINE = 64 };
    void *memory = aligned_alloc(LINE, (bytes + LINE - 1) / LINE * LINE + LINE);
    if (!memory)
        fail(f, "out of memory: %zu bytes were wanted", bytes);
    return memory;
}

/* ---- tensors ---- */

/* splitmix64 (Steele, Lea & Flood 2014): a counter through a mixing function. */
static uint64_t mix(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The sum of four uniform values, scaled to variance 1: near enough to a normal distribution. */
static void fill(float *values, int64_t count, uint64_t seed)
{
    uint64_t state = seed;
    for (int64_t i = 0; i < count; i++) {
        uint64_t bits = mix(&state);
        int64_t sum = (int64_t)((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) +
                                (bits >> 48));
        values[i] = (float)(sum - 2 * 65535) * (1.7320508f / 65536.0f);
    }
}

static bool tensor_make(float **tensor, int64_t heads, int64_t length, int64_t size, uint64_t seed,
                        struct failure *f)
{
    *tensor = allocate((size_t)(heads * length * size) * sizeof(float), f);
    if (*tensor)
        fill(*tensor, heads * length * size, seed);
    return *tensor != NULL;
}

bool bench_tensors_make(struct bench_tensors *tensors, const struct bench_case *c,
                        struct failure *f)
{
    *tensors = (struct bench_tensors){NULL, NULL, NULL};
    return tensor_make(&tensors->q, c->heads, c->queries, c->head_size, 1, f) &&
           tensor_make(&tensors->k, c->kv_heads, c->keys, c->head_size, 2, f) &&
           tensor_make(&tensors->v, c->kv_heads, c->keys, c->head_size, 3, f);
}

void bench_tensors_free(struct bench_tensors *tensors)
{
    free(tensors->q);
    free(tensors->k);
    free(tensors->v);
}

/* ---- the subject ---- */

static bool make_statistics(struct bench_subject *s, struct failure *f)
{
    uint32_t set = bench_statistics_set(s->wants);
    s->statistics = attn_statistics_init();
    for (int i = 0; i < bench_statistics_of_rows_count; i++) {
        const struct bench_statistic *statistic = &bench_statistics_of_rows[i];
        if (!(set & statistic->bit))
            continue;
        size_t values = (size_t)s->c->heads * (size_t)s->c->queries * (size_t)statistic->per_row;
        void *array = allocate(values * sizeof(float), f);
        if (!array)
            return false;
        memcpy(array_place(&s->statistics, statistic), &array, sizeof array);
    }
    if (set & ATTN_STAT_MASS_SEGMENTS) {
        s->segment_ids = allocate((size_t)s->c->keys, f);
        if (!s->segment_ids)
            return false;
        for (int64_t j = 0; j < s->c->keys; j++)
            s->segment_ids[j] = (uint8_t)(j * BENCH_SEGMENTS / s->c->keys);
        s->statistics.segment_ids = s->segment_ids;
    }
    s->args.statistics = &s->statistics;
    return true;
}

bool bench_subject_make(struct bench_subject *s, const struct bench_case *c, enum bench_mask mask,
                        enum bench_statistics wants, const struct bench_tensors *tensors,
                        const attn_executor *executor, struct failure *f)
{
    memset(s, 0, sizeof *s);
    s->c = c;
    s->mask = mask;
    s->wants = wants;
    s->executor = executor;

    attn_problem problem =
        attn_problem_init(1, c->heads, c->kv_heads, c->queries, c->keys, c->head_size);
    problem.causal = mask == MASK_CAUSAL;
    if (mask == MASK_WINDOW_512)
        problem.window = (attn_window){511, 0, 0};
    attn_statistics_wanted wanted = attn_statistics_wanted_init(bench_statistics_set(wants));
    wanted.segments = wants == STATISTICS_ALL ? BENCH_SEGMENTS : 0;
    if (wants != STATISTICS_NONE)
        problem.statistics = &wanted;

    attn_error error;
    if (attn_plan_create(&s->plan, &problem, &error) != ATTN_OK)
        return fail(f, "%s", error.message);
    s->args = attn_args_init(&problem);
    s->args.q = tensors->q;
    s->args.k = tensors->k;
    s->args.v = tensors->v;
    s->o =
        allocate((size_t)c->heads * (size_t)c->queries * (size_t)c->head_size * sizeof(float), f);
    s->args.o = s->o;
    s->workspace_size = attn_plan_workspace(s->plan, executor->threads);
    s->workspace = allocate(s->workspace_size, f);
    if (!s->o || !s->workspace)
        return false;
    return wants == STATISTICS_NONE || make_statistics(s, f);
}

void bench_subject_free(struct bench_subject *s)
{
    for (int i = 0; i < bench_statistics_of_rows_count; i++)
        free(bench_statistic_array(s, &bench_statistics_of_rows[i]));
    attn_plan_destroy(s->plan);
    free(s->segment_ids);
    free(s->o);
    free(s->workspace);
    memset(s, 0, sizeof *s);
}

bool bench_subject_run(const struct bench_subject *s, double *seconds, struct failure *f)
{
    attn_error error;
    double begin = bench_now();
    attn_status status =
        attn_run(s->plan, &s->args, s->workspace, s->workspace_size, s->executor, &error);
    *seconds = bench_now() - begin;
    return status == ATTN_OK || fail(f, "%s", error.message);
}

void bench_subject_spoil(const struct bench_subject *s)
{
    int64_t rows = (int64_t)s->c->heads * s->c->queries;
    for (int64_t i = 0; i < rows * s->c->head_size; i++)
        s->o[i] = NAN;
    for (int i = 0; i < bench_statistics_of_rows_count; i++) {
        const struct bench_statistic *statistic = &bench_statistics_of_rows[i];
        void *array = bench_statistic_array(s, statistic);
        for (int64_t r = 0; array && r < rows * statistic->per_row; r++) {
            if (statistic->integer)
                ((int32_t *)array)[r] = -2;
            else
                ((float *)array)[r] = NAN;
        }
    }
}
