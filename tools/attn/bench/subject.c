/* Plan, workspace and statistics of a case; see subject.h. */
#include "subject.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    if (wants == STATISTICS_STEP)
        return ATTN_STAT_ENTROPY | ATTN_STAT_MAX_WEIGHT | ATTN_STAT_TOP_KEYS |
               ATTN_STAT_COLUMN_MASS;
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

/* How many weights a subject has in top_weights, and in column_mass. */
static size_t top_count(const struct bench_subject *s)
{
    return (size_t)s->c->batch * (size_t)s->c->heads * (size_t)s->c->queries * BENCH_TOP_KEYS;
}

static size_t column_count(const struct bench_subject *s)
{
    return (size_t)s->c->batch * (size_t)s->c->heads * (size_t)s->c->keys;
}

static bool make_step(struct bench_subject *s, struct failure *f)
{
    s->statistics.top_keys = bench_allocate(top_count(s) * sizeof(int32_t), f);
    s->statistics.top_weights = bench_allocate(top_count(s) * sizeof(float), f);
    s->statistics.column_mass = bench_allocate(column_count(s) * sizeof(float), f);
    s->statistics.column_add = true;
    if (!s->statistics.top_keys || !s->statistics.top_weights || !s->statistics.column_mass)
        return false;
    memset(s->statistics.column_mass, 0, column_count(s) * sizeof(float));
    return true;
}

static bool make_statistics(struct bench_subject *s, struct failure *f)
{
    uint32_t set = bench_statistics_set(s->wants);
    s->statistics = attn_statistics_init();
    for (int i = 0; i < bench_statistics_of_rows_count; i++) {
        const struct bench_statistic *statistic = &bench_statistics_of_rows[i];
        if (!(set & statistic->bit))
            continue;
        size_t rows = (size_t)s->c->batch * (size_t)s->c->heads * (size_t)s->c->queries;
        size_t values = rows * (size_t)statistic->per_row;
        void *array = bench_allocate(values * sizeof(float), f);
        if (!array)
            return false;
        memcpy(array_place(&s->statistics, statistic), &array, sizeof array);
    }
    if (set & ATTN_STAT_MASS_SEGMENTS) {
        s->segment_ids = bench_allocate((size_t)s->c->keys, f);
        if (!s->segment_ids)
            return false;
        for (int64_t j = 0; j < s->c->keys; j++)
            s->segment_ids[j] = (uint8_t)(j * BENCH_SEGMENTS / s->c->keys);
        s->statistics.segment_ids = s->segment_ids;
    }
    s->args.statistics = &s->statistics;
    return s->wants != STATISTICS_STEP || make_step(s, f);
}

/* The line of its explanation that begins with "path: ". */
static void read_kernel(const attn_plan *plan, char kernel[64])
{
    char text[4096];
    attn_plan_explain(plan, text, sizeof text);
    const char *from = strstr(text, "path: ");
    from = from ? from + strlen("path: ") : text;
    snprintf(kernel, 64, "%.*s", (int)strcspn(from, "\n"), from);
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
        attn_problem_init(c->batch, c->heads, c->kv_heads, c->queries, c->keys, c->head_size);
    problem.q.dtype = problem.k.dtype = problem.v.dtype = problem.o.dtype = c->dtype;
    s->pool = tensors->pool;
    problem.cache = s->pool ? &s->pool->layout : NULL;
    if (!bench_given_make(&s->given, c, mask, &problem, f))
        return false;
    attn_statistics_wanted wanted = attn_statistics_wanted_init(bench_statistics_set(wants));
    wanted.segments = wants == STATISTICS_ALL ? BENCH_SEGMENTS : 0;
    wanted.top_keys = wants == STATISTICS_STEP ? BENCH_TOP_KEYS : 0;
    if (wants != STATISTICS_NONE)
        problem.statistics = &wanted;

    attn_error error;
    if (attn_plan_create(&s->plan, &problem, &error) != ATTN_OK)
        return fail(f, "%s", error.message);
    read_kernel(s->plan, s->kernel);
    s->args = attn_args_init(&problem);
    bench_given_to_args(&s->given, &s->args);
    s->args.q = tensors->q;
    s->args.k = tensors->k;
    s->args.v = tensors->v;
    size_t rows = (size_t)c->batch * (size_t)c->heads * (size_t)c->queries;
    s->o = bench_allocate(rows * (size_t)c->head_size * bench_element_size(c->dtype), f);
    s->args.o = s->o;
    s->workspace_size = attn_plan_workspace(s->plan, executor->threads);
    s->workspace = bench_allocate(s->workspace_size, f);
    if (!s->o || !s->workspace)
        return false;
    return wants == STATISTICS_NONE || make_statistics(s, f);
}

void bench_subject_free(struct bench_subject *s)
{
    for (int i = 0; i < bench_statistics_of_rows_count; i++)
        free(bench_statistic_array(s, &bench_statistics_of_rows[i]));
    free(s->statistics.top_keys);
    free(s->statistics.top_weights);
    free(s->statistics.column_mass);
    attn_plan_destroy(s->plan);
    bench_given_free(&s->given);
    free(s->segment_ids);
    free(s->o);
    free(s->workspace);
    memset(s, 0, sizeof *s);
}

bool bench_subject_run(const struct bench_subject *s, double *seconds, struct failure *f)
{
    attn_error error;
    attn_args args = s->args;
    args.cache = s->pool ? bench_pool_next(s->pool) : NULL;
    double begin = bench_now();
    attn_status status =
        attn_run(s->plan, &args, s->workspace, s->workspace_size, s->executor, &error);
    *seconds = bench_now() - begin;
    return status == ATTN_OK || fail(f, "%s", error.message);
}

bool bench_subject_uses_dots(const struct bench_subject *s)
{
    static const char ending[] = "_bf16";
    size_t word = strcspn(s->kernel, ", "), length = sizeof ending - 1;
    return word >= length && strncmp(s->kernel + word - length, ending, length) == 0;
}

void bench_subject_spoil(const struct bench_subject *s)
{
    int64_t rows = (int64_t)s->c->batch * s->c->heads * s->c->queries;
    for (int64_t i = 0; i < rows * s->c->head_size; i++)
        bench_set_element(s->o, s->c->dtype, i, NAN);
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
    for (size_t i = 0; s->wants == STATISTICS_STEP && i < top_count(s); i++) {
        s->statistics.top_keys[i] = -2;
        s->statistics.top_weights[i] = NAN;
    }
    if (s->wants == STATISTICS_STEP) /* is added to */
        memset(s->statistics.column_mass, 0, column_count(s) * sizeof(float));
}
