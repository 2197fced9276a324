/* A rotary embedding applied while packing: the same bits as attn_rotary_apply on q and k before, for f32.
 * bf16 and f16 tensors give the bits of the same tensors widened to f32 first; where bf16 is multiplied in
 * pairs (the plan says so), the bits of bf16 tensors turned before. Both pairings, part of the channels,
 * default and given positions, equal, padded and ragged lengths, and the second sweep with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "attention/guarded.h"
#include "attention/path.h"
#include "attention/random.h"
#include "attn/rotary.h"
#include "attn/stats.h"
#include "base/half.h"

#include <cmocka.h>

enum {
    BATCH = 3,
    HEADS = 4,
    KV_HEADS = 2,
    QUERIES = 210, /* two blocks of rows */
    KEYS = 330,
    SIZE = 24,
    SIZE_V = 8,
    ROWS = BATCH * HEADS * QUERIES,
    KV_ROWS = BATCH * KV_HEADS * KEYS,
};

struct outputs {
    float o[ROWS * SIZE_V], lse[ROWS], column_mass[BATCH * HEADS * KEYS], weights[50 * KEYS],
        pairs[2];
};

struct inputs {
    float q[ROWS * SIZE], k[KV_ROWS * SIZE], v[KV_ROWS * SIZE_V];
    uint16_t half_q[ROWS * SIZE], half_k[KV_ROWS * SIZE], half_v[KV_ROWS * SIZE_V];
    int64_t query_positions[BATCH * QUERIES], key_positions[BATCH * KEYS];
    int64_t offsets[BATCH], query_lengths[BATCH], key_lengths[BATCH];
    int32_t cu_q[BATCH + 1], cu_k[BATCH + 1];
};

static struct inputs *inputs_create(attn_dtype dtype)
{
    struct random random = {11};
    struct inputs *in = need(1, sizeof *in);
    float *const tensors[3] = {in->q, in->k, in->v};
    uint16_t *const halves[3] = {in->half_q, in->half_k, in->half_v};
    const int64_t counts[3] = {ROWS * SIZE, KV_ROWS * SIZE, KV_ROWS * SIZE_V};
    for (int t = 0; t < 3; t++)
        for (int64_t i = 0; i < counts[t]; i++) {
            float x = (float)random_normal(&random);
            halves[t][i] = dtype == ATTN_BF16 ? attn_f32_to_bf16(x) : attn_f32_to_f16(x);
            tensors[t][i] = dtype == ATTN_F32    ? x
                            : dtype == ATTN_BF16 ? attn_bf16_to_f32(halves[t][i])
                                                 : attn_f16_to_f32(halves[t][i]);
        }
    for (int i = 0; i < BATCH * QUERIES; i++)
        in->query_positions[i] = random_between(&random, -70, 5000);
    for (int j = 0; j < BATCH * KEYS; j++)
        in->key_positions[j] = random_between(&random, -70, 5000);
    for (int b = 0; b < BATCH; b++) {
        in->offsets[b] = 100 * b - 60;
        in->query_lengths[b] = QUERIES - 7 * b;
        in->key_lengths[b] = KEYS - 50 * b;
    }
    in->cu_q[0] = in->cu_k[0] = 0;
    for (int b = 0; b < BATCH; b++) {
        in->cu_q[b + 1] = in->cu_q[b] + (int32_t)in->query_lengths[b];
        in->cu_k[b + 1] = in->cu_k[b] + (int32_t)in->key_lengths[b];
    }
    return in;
}

/* What a case is. */
struct kind {
    attn_lengths lengths;
    attn_alignment alignment;
    attn_rotary_pairing pairing;
    int64_t size;
    bool causal, positions;
};

static attn_problem problem_of(const struct kind *kind, attn_dtype dtype)
{
    const bool ragged = kind->lengths == ATTN_LENGTHS_RAGGED_I32;
    attn_problem p = attn_problem_init(BATCH, HEADS, KV_HEADS, QUERIES, KEYS, SIZE);
    p.lengths = kind->lengths;
    p.total_queries = ragged ? BATCH * QUERIES : 0;
    p.total_keys = ragged ? BATCH * KEYS : 0;
    const int64_t rows = ragged ? p.total_queries : QUERIES, keys = ragged ? p.total_keys : KEYS;
    p.head_size_v = SIZE_V;
    p.q = attn_layout_bhsd(dtype, HEADS, rows, SIZE);
    p.k = attn_layout_bshd(dtype, KV_HEADS, keys, SIZE);
    p.v = attn_layout_bhsd(dtype, KV_HEADS, keys, SIZE_V);
    p.o = attn_layout_bhsd(ATTN_F32, HEADS, rows, SIZE_V);
    p.causal = kind->causal;
    p.alignment = kind->alignment;
    return p;
}

/* One run; the plan's words into `words`. */
static struct outputs *run(attn_problem problem, const struct kind *kind, struct inputs *in,
                           const attn_rotary *rotary, const void *q, const void *k, const void *v,
                           char words[4096])
{
    struct outputs *out = need(1, sizeof *out);
    memset(out, 0, sizeof *out);
    attn_statistics_wanted wanted =
        attn_statistics_wanted_init(ATTN_STAT_COLUMN_MASS | ATTN_STAT_WEIGHTS | ATTN_STAT_PAIRS);
    problem.statistics = &wanted;
    problem.rotary = rotary;
    attn_statistics statistics = attn_statistics_init();
    attn_weights_request request = {1, 2, 100, 150, out->weights};
    attn_pair pairs[2] = {{1, 3, 180, 5}, {0, 0, 200, 190}};
    statistics.column_mass = out->column_mass;
    statistics.weights = &request;
    statistics.weights_count = 1;
    statistics.pairs = pairs;
    statistics.pairs_count = 2;
    statistics.pair_weights = out->pairs;
    attn_args args = attn_args_init(&problem);
    args.q = q, args.k = k, args.v = v, args.o = out->o, args.lse = out->lse;
    args.statistics = &statistics;
    args.query_offset = kind->alignment == ATTN_OFFSET ? in->offsets : NULL;
    if (kind->lengths == ATTN_LENGTHS_PADDED) {
        args.query_lengths = in->query_lengths;
        args.key_lengths = in->key_lengths;
    } else if (kind->lengths == ATTN_LENGTHS_RAGGED_I32) {
        args.cu_seqlens_q = in->cu_q;
        args.cu_seqlens_k = in->cu_k;
    }
    if (rotary && kind->positions) {
        args.query_positions = in->query_positions;
        args.key_positions = in->key_positions;
    }
    attn_plan *plan;
    attn_error error;
    if (attn_plan_create(&plan, &problem, &error))
        fail_msg("%s", error.message);
    attn_plan_explain(plan, words, 4096);
    size_t size = attn_plan_workspace(plan, 1);
    void *workspace = need(size, 1);
    memset(workspace, 0xff, size);
    if (attn_run(plan, &args, workspace, size, NULL, &error))
        fail_msg("%s", error.message);
    free(workspace);
    attn_plan_destroy(plan);
    return out;
}

/* Where each row of q (keys: of k) stands, by the header's words: [B, N], or [total] of a ragged batch. */
static int64_t *positions_of(const struct kind *kind, const struct inputs *in, bool keys)
{
    const int64_t length = keys ? KEYS : QUERIES;
    int64_t *at = need((size_t)(BATCH * length), sizeof *at);
    memset(at, 0, (size_t)(BATCH * length) * sizeof *at);
    const int32_t *cu = keys ? in->cu_k : in->cu_q;
    for (int64_t b = 0; b < BATCH; b++) {
        const bool equal = kind->lengths == ATTN_LENGTHS_EQUAL;
        const int64_t rows = equal ? QUERIES : in->query_lengths[b];
        const int64_t columns = equal ? KEYS : in->key_lengths[b];
        int64_t offset = kind->alignment == ATTN_BOTTOM_RIGHT ? columns - rows
                         : kind->alignment == ATTN_OFFSET     ? in->offsets[b]
                                                              : 0;
        int64_t first = kind->lengths == ATTN_LENGTHS_RAGGED_I32 ? cu[b] : b * length;
        for (int64_t i = 0; i < (keys ? columns : rows); i++)
            at[first + i] = kind->positions
                                ? (keys ? in->key_positions : in->query_positions)[first + i]
                            : keys ? i
                                   : i + offset;
    }
    return at;
}

static void *turned(const struct kind *kind, const struct inputs *in, const attn_rotary *rotary,
                    const attn_layout *layout, const void *x, bool keys)
{
    const bool ragged = kind->lengths == ATTN_LENGTHS_RAGGED_I32;
    const int64_t length = keys ? KEYS : QUERIES, heads = keys ? KV_HEADS : HEADS;
    const size_t bytes = (size_t)(BATCH * heads * length * SIZE) * sizeof(float);
    void *to = need(bytes, 1);
    memset(to, 0, bytes);
    int64_t *positions = positions_of(kind, in, keys);
    attn_error error;
    if (attn_rotary_apply(rotary, ragged ? 1 : BATCH, heads, ragged ? BATCH * length : length, SIZE,
                          x, layout, to, layout, positions, NULL, &error))
        fail_msg("%s", error.message);
    free(positions);
    return to;
}

static struct kind kind_of(int which)
{
    static const attn_lengths lengths[] = {ATTN_LENGTHS_EQUAL, ATTN_LENGTHS_PADDED,
                                           ATTN_LENGTHS_RAGGED_I32};
    static const attn_alignment alignments[] = {ATTN_BOTTOM_RIGHT, ATTN_TOP_LEFT, ATTN_OFFSET};
    struct kind kind = {
        .lengths = lengths[which % 3],
        .alignment = alignments[which / 3 % 3],
        .pairing = which % 2 ? ATTN_ROTARY_NEIGHBOURS : ATTN_ROTARY_HALVES,
        .size = which % 4 < 2 ? SIZE : 10,
        .causal = which % 5 < 2,
        .positions = which / 9 == 1,
    };
    return kind;
}

static void compare(attn_dtype dtype)
{
    struct inputs *in = inputs_create(dtype);
    for (int which = 0; which < 18; which++) {
        const struct kind kind = kind_of(which);
        attn_rotary rotary = attn_rotary_init(kind.size);
        rotary.pairing = kind.pairing;
        rotary.attention_factor = which % 3 == 1 ? 1.25 : 0;
        char words[4096], unused[4096];
        attn_problem problem = problem_of(&kind, dtype);
        const bool wide = dtype == ATTN_F32;
        struct outputs *fused =
            run(problem, &kind, in, &rotary, wide ? (void *)in->q : in->half_q,
                wide ? (void *)in->k : in->half_k, wide ? (void *)in->v : in->half_v, words);
        assert_non_null(strstr(words, "turned in f32 while packing"));
        const bool pairs = strstr(words, "multiplied in pairs") != NULL;
        attn_problem apart = problem_of(&kind, pairs ? dtype : ATTN_F32);
        void *q = turned(&kind, in, &rotary, &apart.q, pairs ? (void *)in->half_q : in->q, false);
        void *k = turned(&kind, in, &rotary, &apart.k, pairs ? (void *)in->half_k : in->k, true);
        struct outputs *before =
            run(apart, &kind, in, NULL, q, k, pairs ? (void *)in->half_v : in->v, unused);
        if (memcmp(fused, before, sizeof *fused) != 0)
            fail_msg("case %d, dtype %d: not the same bits", which, (int)dtype);
        assert_true(fused->pairs[0] > 0);
        free(fused);
        free(before);
        free(q);
        free(k);
    }
    free(in);
}

static void test_f32(void **state)
{
    (void)state;
    compare(ATTN_F32);
}

static void test_bf16(void **state)
{
    (void)state;
    compare(ATTN_BF16);
}

static void test_f16(void **state)
{
    (void)state;
    compare(ATTN_F16);
}

static void test_errors(void **state)
{
    (void)state;
    attn_error error;
    attn_plan *plan;
    attn_problem p = attn_problem_init(1, 1, 1, 4, 4, 8);
    attn_rotary rotary = attn_rotary_init(10);
    p.rotary = &rotary;
    assert_int_equal(attn_plan_create(&plan, &p, &error), ATTN_ERR_SHAPE);
    assert_non_null(strstr(error.message, "head_size"));
    rotary = attn_rotary_init(7);
    assert_int_equal(attn_plan_create(&plan, &p, &error), ATTN_ERR_SHAPE);
    rotary = attn_rotary_init(8);
    rotary.base = NAN;
    assert_int_equal(attn_plan_create(&plan, &p, &error), ATTN_ERR_VALUE);
    /* found only when frequencies are made */
    rotary = attn_rotary_init(8);
    rotary.scaling = ATTN_ROTARY_NTK;
    rotary.base = rotary.factor = 1e300;
    assert_int_equal(attn_plan_create(&plan, &p, &error), ATTN_ERR_VALUE);
    assert_null(plan);

    rotary = attn_rotary_init(8);
    assert_int_equal(attn_plan_create(&plan, &p, &error), ATTN_OK);
    memset(&rotary, 0, sizeof rotary); /* was read */
    size_t size = attn_plan_workspace(plan, 1);
    void *workspace = need(size, 1);
    float x[32] = {0}, o[32];
    int64_t positions[5] = {0};
    attn_args args = attn_args_init(&p);
    args.q = args.k = args.v = x, args.o = o;
    assert_int_equal(attn_run(plan, &args, workspace, size, NULL, &error), ATTN_OK);
    args.key_positions = (const int64_t *)(const void *)((const char *)positions + 4);
    assert_int_equal(attn_run(plan, &args, workspace, size, NULL, &error), ATTN_ERR_ALIGNMENT);
    args.key_positions = positions;
    assert_int_equal(attn_run(plan, &args, workspace, size, NULL, &error), ATTN_OK);
    p.rotary = NULL;
    assert_int_equal(attn_forward(&p, &args, NULL, &error), ATTN_ERR_VALUE);
    assert_non_null(strstr(error.message, "problem.rotary"));
    free(workspace);
    attn_plan_destroy(plan);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f32),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
