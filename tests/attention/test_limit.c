/* A limit on the workspace: it is kept, the least that an error names does, the same bits come out whatever
 * gives way, and with the least the workspace does not grow with the keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "attention/guarded.h"
#include "attention/path.h"
#include "attention/random.h"
#include "attn/rotary.h"
#include "attn/scores.h"
#include "attn/stats.h"
#include "base/half.h"

#include <cmocka.h>

enum {
    BATCH = 2,
    KV_HEADS = 3,
    HEADS_MOST = 6,
    QUERIES = 400, /* several blocks of rows */
    KEYS =
        2100, /* more blocks of keys than threads: one packed head is more than a block for each */
    SIZE = 20,
    SIZE_V = 36,
    THREADS = 3,
};

struct outputs {
    float o[BATCH * HEADS_MOST * QUERIES * SIZE_V], lse[BATCH * HEADS_MOST * QUERIES];
    float column_mass[BATCH * HEADS_MOST * KEYS], segments[BATCH * HEADS_MOST * QUERIES * 3];
    float weights[40 * KEYS];
};

struct inputs {
    void *q, *k, *v;
    uint8_t segment_ids[BATCH * KEYS];
};

static void *normal(struct random *random, int64_t count, attn_dtype dtype)
{
    float *x = need((size_t)count, sizeof *x);
    uint16_t *half = need((size_t)count, sizeof *half);
    for (int64_t i = 0; i < count; i++) {
        x[i] = (float)random_normal(random);
        half[i] = attn_f32_to_bf16(x[i]);
    }
    free(dtype == ATTN_F32 ? (void *)half : x);
    return dtype == ATTN_F32 ? (void *)x : half;
}

static attn_plan *plan_of(const attn_problem *problem)
{
    attn_plan *plan;
    attn_error error;
    if (attn_plan_create(&plan, problem, &error))
        fail_msg("%s", error.message);
    return plan;
}

/* The least limit, as an error tells it. */
static size_t least_of(attn_problem problem)
{
    attn_plan *plan;
    attn_error error;
    size_t least;
    problem.workspace_limit = 1;
    assert_int_equal(attn_plan_create(&plan, &problem, &error), ATTN_ERR_VALUE);
    const char *told = strstr(error.message, "the least that would do for 3 threads is ");
    assert_non_null(told);
    assert_int_equal(sscanf(told, "the least that would do for 3 threads is %zu", &least), 1);
    problem.workspace_limit = least - 1;
    assert_int_equal(attn_plan_create(&plan, &problem, &error), ATTN_ERR_VALUE);
    return least;
}

/* Tasks as three workers in turn, without threads. */
static int in_turn(void *context, int64_t count, attn_task task, void *argument)
{
    (void)context;
    for (int64_t index = count - 1; index >= 0; index--)
        task(argument, index, (int)(index % THREADS));
    return 0;
}

static struct outputs *run(const attn_problem *problem, const struct inputs *in)
{
    const attn_executor executor = {sizeof executor, NULL, THREADS, in_turn};
    attn_plan *plan = plan_of(problem);
    struct outputs *out = need(1, sizeof *out);
    memset(out, 0, sizeof *out);
    attn_statistics statistics = attn_statistics_init();
    attn_weights_request request = {1, 2, 190, 230, out->weights};
    statistics.column_mass = out->column_mass;
    statistics.mass_segments = out->segments;
    statistics.segment_ids = in->segment_ids;
    statistics.weights = &request;
    statistics.weights_count = 1;
    attn_args args = attn_args_init(problem);
    args.q = in->q, args.k = in->k, args.v = in->v, args.o = out->o, args.lse = out->lse;
    args.statistics = problem->statistics ? &statistics : NULL;
    size_t size = attn_plan_workspace(plan, THREADS);
    if (problem->workspace_limit > 0)
        assert_true(size <= problem->workspace_limit);
    unsigned char *workspace = need(size, 1);
    memset(workspace, 0xff, size);
    attn_error error;
    if (attn_run(plan, &args, workspace, size, &executor, &error))
        fail_msg("%s", error.message);
    free(workspace);
    attn_plan_destroy(plan);
    return out;
}

static void expect_words(const attn_problem *problem, const char *words)
{
    char text[8192];
    attn_plan *plan = plan_of(problem);
    attn_plan_explain(plan, text, sizeof text);
    if (!strstr(text, words))
        fail_msg("no \"%s\" in:\n%s", words, text);
    attn_plan_destroy(plan);
}

static void test_same_bits(void **state)
{
    (void)state;
    /* where it is slow: plain, with statistics, turned with them, turned */
    const unsigned chosen = path_cases(100) < 100 ? 1u << 0 | 1u << 5 | 1u << 8 | 1u << 10 : ~0u;
    for (int which = 0; which < 12; which++) {
        if (!(chosen >> which & 1))
            continue;
        struct random random = {(uint64_t)which};
        const attn_dtype dtype = which % 3 == 2 ? ATTN_BF16 : ATTN_F32;
        const int64_t heads = which % 2 ? KV_HEADS : HEADS_MOST;
        attn_problem p = attn_problem_init(BATCH, heads, KV_HEADS, QUERIES, KEYS, SIZE);
        p.head_size_v = SIZE_V;
        p.q.dtype = p.k.dtype = dtype;
        p.v = attn_layout_bshd(dtype, KV_HEADS, KEYS, SIZE_V);
        p.o = attn_layout_bhsd(ATTN_F32, heads, QUERIES, SIZE_V);
        p.causal = which % 4 < 2;
        p.workspace_threads = THREADS;
        struct inputs in = {.q = normal(&random, BATCH * heads * QUERIES * SIZE, dtype),
                            .k = normal(&random, BATCH * KV_HEADS * KEYS * SIZE, dtype),
                            .v = normal(&random, BATCH * KV_HEADS * KEYS * SIZE_V, dtype)};
        /* a value that causal rows must not meet: what is told of a packed block must be told again */
        const int64_t poison = 2000 * KV_HEADS * SIZE_V + 3;
        if (dtype == ATTN_F32)
            ((float *)in.v)[poison] = NAN;
        else
            ((uint16_t *)in.v)[poison] = 0x7fc0;
        for (int j = 0; j < BATCH * KEYS; j++)
            in.segment_ids[j] = (uint8_t)(j % 3);
        attn_statistics_wanted wanted = attn_statistics_wanted_init(
            ATTN_STAT_COLUMN_MASS | ATTN_STAT_WEIGHTS | ATTN_STAT_MASS_SEGMENTS);
        wanted.segments = 3;
        attn_rotary rotary = attn_rotary_init(SIZE);
        if (which >= 4 && which < 9)
            p.statistics = &wanted;
        if (which >= 7)
            p.rotary = &rotary;
        struct outputs *free_run = run(&p, &in);
        attn_plan *plan = plan_of(&p);
        const size_t all = attn_plan_workspace(plan, THREADS), least = least_of(p);
        attn_plan_destroy(plan);
        assert_true(least < all);
        /* all of it; less by one kv head; the least, and one byte less than all */
        const size_t limits[] = {all, all - 1, least + (all - least) / 2, least};
        for (int i = 0; i < 4; i++) {
            p.workspace_limit = limits[i];
            struct outputs *limited = run(&p, &in);
            if (memcmp(free_run, limited, sizeof *limited) != 0)
                fail_msg("case %d, limit %d: not the same bits", which, i);
            free(limited);
        }
        expect_words(&p, "the limit leaves no room");
        p.workspace_limit = all - 1;
        expect_words(&p, "as many as the limit has room for");
        free(free_run);
        free(in.q);
        free(in.k);
        free(in.v);
    }
}

static void test_does_not_grow(void **state)
{
    (void)state;
    attn_problem p = attn_problem_init(1, 8, 8, 100000, 100000, 64);
    p.workspace_threads = THREADS;
    size_t least = least_of(p);
    attn_problem longer = attn_problem_init(4, 8, 8, 2000000, 2000000, 64);
    longer.workspace_threads = THREADS;
    assert_int_equal(least_of(longer), least);
    /* threads count */
    p.workspace_threads = 2 * THREADS;
    p.workspace_limit = least;
    attn_plan *plan;
    attn_error error;
    assert_int_equal(attn_plan_create(&plan, &p, &error), ATTN_ERR_VALUE);
    p.workspace_limit = 2 * least;
    assert_int_equal(attn_plan_create(&plan, &p, &error), ATTN_OK);
    assert_true(attn_plan_workspace(plan, 2 * THREADS) <= 2 * least);
    attn_plan_destroy(plan);
    p.workspace_threads = 1025;
    assert_int_equal(attn_plan_create(&plan, &p, &error), ATTN_ERR_VALUE);
    assert_non_null(strstr(error.message, "workspace_threads"));
    p.workspace_threads = -1;
    assert_int_equal(attn_plan_create(&plan, &p, &error), ATTN_ERR_VALUE);
    /* 0 is the default executor's */
    p.workspace_threads = 0;
    p.workspace_limit = 1;
    assert_int_equal(attn_plan_create(&plan, &p, &error), ATTN_ERR_VALUE);
    char word[64];
    snprintf(word, sizeof word, "for %d threads", attn_default_executor()->threads);
    assert_non_null(strstr(error.message, word));
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_does_not_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
