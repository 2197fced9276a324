/* Masks promised constant: the same bits as masks given at each run, at any length of run, for the second
 * sweep's requests in the middle of a block, and with heads and sequences that share a mask or do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "attention/guarded.h"
#include "attention/path.h"
#include "attention/random.h"
#include "attn/kv.h"
#include "attn/scores.h"
#include "attn/stats.h"

#include <cmocka.h>

enum {
    BATCH = 2,
    HEADS = 4,
    KV_HEADS = 2,
    QUERIES = 430, /* three blocks of rows */
    KEYS = 1100,   /* three blocks of keys or more */
    SIZE = 16,
    MAPS = BATCH * HEADS,
    ROWS = MAPS * QUERIES,
    LIST_ROWS = 50,
    LIST_KEYS = 90,
    LISTS = (QUERIES + LIST_ROWS - 1) / LIST_ROWS,
    LISTED = (KEYS + LIST_KEYS - 1) / LIST_KEYS,
};

struct masks {
    attn_scores scores;
    attn_scores_args args;
    uint8_t *bytes, *bits;
    float *bias;
    int32_t *query_documents, *key_documents, *indices;
    int64_t *starts;
};

/* In blobs: whole tiles of each kind occur, and ragged edges. */
static bool sees(int64_t map, int64_t i, int64_t j)
{
    return j < 200 + 90 * map || (j / 128 + i / 100 + map) % 3 == 0;
}

static struct masks masks_create(void)
{
    struct masks m = {.scores = attn_scores_init(), .args = attn_scores_args_init()};
    const size_t pairs = (size_t)MAPS * QUERIES * KEYS, row_bytes = (KEYS + 7) / 8;
    m.bytes = need(pairs, 1);
    m.bits = need((size_t)MAPS * QUERIES * row_bytes, 1);
    m.bias = need(pairs, sizeof(float));
    memset(m.bits, 0, (size_t)MAPS * QUERIES * row_bytes);
    for (int64_t row = 0; row < MAPS * QUERIES; row++)
        for (int64_t j = 0; j < KEYS; j++) {
            bool seen = sees(row / QUERIES, row % QUERIES, j);
            m.bytes[row * KEYS + j] = seen ? 7 : 0;
            m.bits[row * (int64_t)row_bytes + j / 8] |= (uint8_t)(seen << j % 8);
            m.bias[row * KEYS + j] = seen ? (float)(j % 5) : -INFINITY;
        }
    m.query_documents = need(BATCH * QUERIES, sizeof(int32_t));
    m.key_documents = need(BATCH * KEYS, sizeof(int32_t));
    for (int i = 0; i < BATCH * QUERIES; i++)
        m.query_documents[i] = i % QUERIES / 200;
    for (int j = 0; j < BATCH * KEYS; j++)
        m.key_documents[j] = j % KEYS / 450;
    m.starts = need(HEADS * LISTS + 1, sizeof(int64_t));
    m.indices = need((size_t)HEADS * LISTS * LISTED, sizeof(int32_t));
    int64_t at = 0;
    m.starts[0] = 0;
    for (int list = 0; list < HEADS * LISTS; list++) {
        for (int32_t block = 0; block < LISTED; block++)
            if ((block / 6 + list / 4) % 2 == 0)
                m.indices[at++] = block;
        m.starts[list + 1] = at;
    }
    return m;
}

static void masks_destroy(struct masks *m)
{
    free(m->bytes);
    free(m->bits);
    free(m->bias);
    free(m->query_documents);
    free(m->key_documents);
    free(m->starts);
    free(m->indices);
}

/* Case number `which`: masks of one kind or several, shared or not. */
static void choose(struct masks *m, int which)
{
    const int64_t bits_row = (KEYS + 7) / 8;
    m->scores = attn_scores_init();
    m->args = attn_scores_args_init();
    int64_t batch = which & 1 ? HEADS : 0, head = which & 2 ? 1 : 0; /* in maps; 0 = shared */
    switch (which / 4) {
    case 0:
        m->scores.mask = ATTN_MASK_BYTES;
        m->args.mask = m->bytes;
        break;
    case 1:
        m->scores.mask = ATTN_MASK_BITS;
        m->args.mask = m->bits;
        break;
    case 2:
        m->scores.bias = ATTN_F32;
        m->args.bias = m->bias;
        break;
    case 3:
        m->scores.documents = true;
        m->args.query_documents = m->query_documents;
        m->args.key_documents = m->key_documents;
        if (which & 1) {
            m->scores.mask = ATTN_MASK_BYTES;
            m->args.mask = m->bytes;
        }
        break;
    default:
        m->scores.block_rows = LIST_ROWS;
        m->scores.block_keys = LIST_KEYS;
        m->args.block_starts = m->starts;
        m->args.block_indices = m->indices;
        break;
    }
    int64_t row = m->scores.mask == ATTN_MASK_BITS ? bits_row : KEYS;
    int64_t stride[3] = {batch * QUERIES * row, head * QUERIES * row, row};
    memcpy(m->scores.mask_stride, stride, sizeof stride);
    memcpy(m->scores.bias_stride, stride, sizeof stride);
}

/* Where it is slow, one case of each kind of mask, of sequences or heads of their own. */
static bool chosen(int which)
{
    const unsigned few = 1u << 1 | 1u << 6 | 1u << 11 | 1u << 13 | 1u << 16;
    return path_cases(100) == 100 || (few >> which & 1) != 0;
}

struct outputs {
    float o[ROWS * SIZE], lse[ROWS], entropy[ROWS], column_mass[MAPS * KEYS];
    int32_t visible[ROWS];
    float weights[140 * KEYS];
};

static struct outputs *run(const attn_plan *plan, const attn_args *base)
{
    struct outputs *out = need(1, sizeof *out);
    memset(out, 0, sizeof *out);
    attn_args args = *base;
    attn_statistics statistics = attn_statistics_init();
    /* begins on the border of a block and ends inside it, and the other way round */
    attn_weights_request requests[2] = {{0, 1, 0, 60, out->weights},
                                        {base->batch - 1, 2, 110, 190, out->weights + 60 * KEYS}};
    args.o = out->o;
    args.lse = out->lse;
    statistics.entropy = out->entropy;
    statistics.visible_keys = out->visible;
    statistics.column_mass = out->column_mass;
    requests[0].row_end = base->queries < 60 ? base->queries : 60;
    statistics.weights = requests;
    statistics.weights_count = base->queries < 190 ? 1 : 2;
    args.statistics = &statistics;
    attn_error error;
    size_t size = attn_plan_workspace(plan, 1);
    void *workspace = need(size, 1);
    if (attn_run(plan, &args, workspace, size, NULL, &error))
        fail_msg("%s", error.message);
    free(workspace);
    return out;
}

static float *normal(struct random *random, int64_t count)
{
    float *x = need((size_t)count, sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)random_normal(random);
    return x;
}

static void test_same_bits(void **state)
{
    (void)state;
    struct random random = {1};
    struct masks m = masks_create();
    float *q = normal(&random, ROWS * SIZE), *k = normal(&random, BATCH * KV_HEADS * KEYS * SIZE);
    float *v = normal(&random, BATCH * KV_HEADS * KEYS * SIZE);
    v[5 * SIZE] = NAN; /* a poisoned block takes the selecting way */
    for (int which = 0; which < 18; which++) {
        if (!chosen(which))
            continue;
        choose(&m, which);
        attn_problem problem = attn_problem_init(BATCH, HEADS, KV_HEADS, QUERIES, KEYS, SIZE);
        attn_statistics_wanted wanted = attn_statistics_wanted_init(
            ATTN_STAT_ENTROPY | ATTN_STAT_VISIBLE_KEYS | ATTN_STAT_COLUMN_MASS | ATTN_STAT_WEIGHTS);
        problem.statistics = &wanted;
        problem.scores = &m.scores;
        problem.causal = which % 3 == 1;
        attn_plan *each, *once;
        attn_error error;
        assert_int_equal(attn_plan_create(&each, &problem, &error), ATTN_OK);
        attn_scores_args promised = m.args;
        m.scores.constant = &promised;
        if (attn_plan_create(&once, &problem, &error))
            fail_msg("%s", error.message);
        memset(&promised, 0, sizeof promised); /* was read when planning */
        for (int run_of = 0; run_of < 2; run_of++) {
            attn_args args = attn_args_init(&problem);
            args.q = q, args.k = k, args.v = v;
            args.scores = &m.args;
            /* A shorter run: of one sequence, since others begin elsewhere in a shorter layout; lists of
             * fewer rows are laid out anew for a run and not for the promise. */
            if (run_of == 1 && which / 4 < 4) {
                args.batch = 1;
                args.queries = 300;
                args.keys = 777;
            }
            struct outputs *a = run(each, &args);
            args.scores = NULL;
            struct outputs *b = run(once, &args);
            if (memcmp(a, b, sizeof *a) != 0)
                fail_msg("case %d, run %d: not the same bits", which, run_of);
            free(a);
            free(b);
        }
        attn_plan_destroy(each);
        attn_plan_destroy(once);
    }
    free(q);
    free(k);
    free(v);
    masks_destroy(&m);
}

/* Lists promised for the plan's queries serve a shorter run: row i of either is in the same list. */
static void test_shorter_lists(void **state)
{
    (void)state;
    struct random random = {2};
    struct masks m = masks_create();
    choose(&m, 16);
    m.scores.constant = &m.args;
    float *q = normal(&random, ROWS * SIZE), *k = normal(&random, KV_HEADS * KEYS * SIZE);
    float *o[2];
    attn_problem problem = attn_problem_init(1, HEADS, KV_HEADS, QUERIES, KEYS, SIZE);
    problem.scores = &m.scores;
    for (int i = 0; i < 2; i++) {
        attn_args args = attn_args_init(&problem);
        args.queries = i == 0 ? QUERIES : 333;
        o[i] = need(ROWS * SIZE, sizeof(float));
        args.q = q, args.k = args.v = k, args.o = o[i];
        assert_int_equal(attn_forward(&problem, &args, NULL, NULL), ATTN_OK);
    }
    /* other blocks of rows, so equal but for roundings: each side's sums err by (2 n + 16) u |v|, |v| < 5;
     * a list that was missed shows in the first digit */
    const float bound = 2 * (2 * KEYS + 16) * 0x1p-24f * 5;
    for (int64_t head = 0; head < HEADS; head++)
        for (int64_t i = 0; i < 333 * SIZE; i++)
            assert_true(fabsf(o[0][head * QUERIES * SIZE + i] - o[1][head * QUERIES * SIZE + i]) <
                        bound);
    for (int i = 0; i < 2; i++)
        free(o[i]);
    free(q);
    free(k);
    masks_destroy(&m);
}

/* Keys and values in pages: those of sequence 1 are fewer than the plan allows. */
static attn_kv *cache_create(const float *x, attn_kv_layout *layout, attn_kv_view *view)
{
    static const int64_t lengths[BATCH] = {KEYS, 1050};
    attn_kv *kv;
    const attn_kv_layer layer = attn_kv_layer_init(ATTN_F32, KV_HEADS, SIZE, 32);
    const attn_kv_config config = attn_kv_config_init(&layer, 1, BATCH, KEYS);
    assert_int_equal(attn_kv_create(&kv, &config, NULL, 0, NULL), ATTN_OK);
    attn_kv_rows rows = attn_kv_rows_init(BATCH, KV_HEADS, KEYS, SIZE, ATTN_F32);
    rows.lengths = lengths, rows.k = rows.v = x;
    assert_int_equal(attn_kv_append(kv, 0, &rows, NULL, NULL), ATTN_OK);
    assert_int_equal(attn_kv_get_layout(kv, 0, layout, NULL), ATTN_OK);
    assert_int_equal(attn_kv_get_view(kv, 0, NULL, BATCH, view, NULL), ATTN_OK);
    return kv;
}

/* Over a cache too, of few queries and of many, as many as the plan's and fewer. */
static void test_same_bits_cached(void **state)
{
    (void)state;
    struct random random = {4};
    struct masks m = masks_create();
    float *x = normal(&random, BATCH * KV_HEADS * KEYS * SIZE);
    x[5 * SIZE] = NAN;
    attn_kv_layout layout;
    attn_kv_view view;
    attn_kv *kv = cache_create(x, &layout, &view);
    for (int which = 0; which < 18 * 2; which++) {
        if (!chosen(which / 2))
            continue;
        const int64_t queries = which % 2 ? 7 : QUERIES;
        choose(&m, which / 2);
        attn_problem problem = attn_problem_init(BATCH, HEADS, KV_HEADS, queries, KEYS, SIZE);
        attn_statistics_wanted wanted = attn_statistics_wanted_init(
            ATTN_STAT_ENTROPY | ATTN_STAT_VISIBLE_KEYS | ATTN_STAT_COLUMN_MASS | ATTN_STAT_WEIGHTS);
        problem.statistics = &wanted;
        problem.scores = &m.scores;
        problem.cache = &layout;
        attn_plan *each, *once;
        attn_error error;
        assert_int_equal(attn_plan_create(&each, &problem, &error), ATTN_OK);
        /* lists are laid out for the queries of the plan */
        attn_scores_args promised = m.args;
        m.scores.constant = &promised;
        if (attn_plan_create(&once, &problem, &error))
            fail_msg("%s", error.message);
        for (int run_of = 0; run_of < 2; run_of++) {
            attn_args args = attn_args_init(&problem);
            if (run_of == 1 &&
                which / 8 < 3) /* lists and documents are laid out for a run's queries */
                args.queries -= 2;
            args.q = x, args.cache = &view;
            args.scores = &m.args;
            struct outputs *a = run(each, &args);
            args.scores = NULL;
            struct outputs *b = run(once, &args);
            if (memcmp(a, b, sizeof *a) != 0)
                fail_msg("case %d, run %d: not the same bits", which, run_of);
            free(a);
            free(b);
        }
        char text[8192];
        attn_plan_explain(once, text, sizeof text);
        assert_non_null(strstr(text, "masks promised constant were read when planning"));
        attn_plan_destroy(each);
        attn_plan_destroy(once);
    }
    attn_kv_destroy(kv);
    free(x);
    masks_destroy(&m);
}

/* The table serves whole blocks of a sequence that is shorter than the plan allows. */
static void test_table_is_used_cached(void **state)
{
    (void)state;
    enum { FEW = 7 };
    struct random random = {5};
    float *x = normal(&random, BATCH * KV_HEADS * KEYS * SIZE), *o[2];
    uint8_t *mask = need((size_t)FEW * KEYS, 1);
    for (int64_t i = 0; i < FEW * KEYS; i++)
        mask[i] = i % KEYS < 512;
    attn_scores scores = attn_scores_init();
    attn_scores_args promised = attn_scores_args_init();
    promised.mask = mask;
    scores.mask = ATTN_MASK_BYTES;
    scores.mask_stride[2] = KEYS;
    scores.constant = &promised;
    attn_kv_layout layout;
    attn_kv_view view;
    attn_kv *kv = cache_create(x, &layout, &view);
    attn_problem problem = attn_problem_init(BATCH, HEADS, KV_HEADS, FEW, KEYS, SIZE);
    problem.scores = &scores;
    problem.cache = &layout;
    attn_plan *plan;
    assert_int_equal(attn_plan_create(&plan, &problem, NULL), ATTN_OK);
    size_t size = attn_plan_workspace(plan, 1), bytes = ROWS * SIZE * sizeof(float);
    void *workspace = need(size, 1);
    for (int i = 0; i < 2; i++) {
        attn_args args = attn_args_init(&problem);
        o[i] = need(bytes, 1);
        memset(o[i], 0, bytes);
        args.q = x, args.cache = &view, args.o = o[i];
        assert_int_equal(attn_run(plan, &args, workspace, size, NULL, NULL), ATTN_OK);
        for (int64_t row = 0; row < FEW; row++)
            mask[row * KEYS + 600] = 1;
    }
    assert_memory_equal(o[0], o[1], bytes);
    attn_plan_destroy(plan);
    attn_kv_destroy(kv);
    for (int i = 0; i < 2; i++)
        free(o[i]);
    free(x);
    free(mask);
    free(workspace);
}

/* That a run goes by the table: keys [512, KEYS) are hidden when planning, so the blocks of the
 * last ones are skipped (no block of keys is longer than 512), even when the mask is broken later. */
static void test_table_is_used(void **state)
{
    (void)state;
    struct random random = {3};
    float *x = normal(&random, ROWS * SIZE), *o[2];
    uint8_t *mask = need((size_t)QUERIES * KEYS, 1);
    for (int64_t i = 0; i < QUERIES * KEYS; i++)
        mask[i] = i % KEYS < 512;
    attn_scores scores = attn_scores_init();
    attn_scores_args promised = attn_scores_args_init();
    promised.mask = mask;
    scores.mask = ATTN_MASK_BYTES;
    scores.mask_stride[2] = KEYS;
    scores.constant = &promised;
    attn_problem problem = attn_problem_init(1, HEADS, KV_HEADS, QUERIES, KEYS, SIZE);
    problem.scores = &scores;
    attn_plan *plan;
    assert_int_equal(attn_plan_create(&plan, &problem, NULL), ATTN_OK);
    size_t size = attn_plan_workspace(plan, 1), bytes = ROWS * SIZE * sizeof(float);
    void *workspace = need(size, 1);
    for (int i = 0; i < 2; i++) {
        attn_args args = attn_args_init(&problem);
        o[i] = need(bytes, 1);
        memset(o[i], 0, bytes);
        args.q = args.k = args.v = x, args.o = o[i];
        assert_int_equal(attn_run(plan, &args, workspace, size, NULL, NULL), ATTN_OK);
        for (int64_t row = 0; row < QUERIES; row++)
            mask[row * KEYS + 1030] = 1;
    }
    assert_memory_equal(o[0], o[1], bytes);
    attn_plan_destroy(plan);
    for (int i = 0; i < 2; i++)
        free(o[i]);
    free(x);
    free(mask);
    free(workspace);
}

static void expect(const attn_problem *problem, attn_status status, const char *word)
{
    attn_plan *plan;
    attn_error error;
    assert_int_equal(attn_plan_create(&plan, problem, &error), status);
    assert_null(plan);
    if (!strstr(error.message, word))
        fail_msg("\"%s\" does not say %s", error.message, word);
}

static void test_errors(void **state)
{
    (void)state;
    struct masks m = masks_create();
    choose(&m, 0);
    attn_problem problem = attn_problem_init(BATCH, HEADS, KV_HEADS, QUERIES, KEYS, SIZE);
    problem.scores = &m.scores;
    attn_scores_args promised = attn_scores_args_init();
    m.scores.constant = &promised;
    expect(&problem, ATTN_ERR_NULL, "problem.scores.constant.mask");
    promised.mask = m.bytes;
    promised.struct_size = 1;
    expect(&problem, ATTN_ERR_STRUCT_SIZE, "problem.scores.constant.struct_size");
    promised.struct_size = sizeof promised;
    promised.query_documents = m.query_documents;
    expect(&problem, ATTN_ERR_VALUE, "problem.scores.constant.query_documents");
    promised.query_documents = NULL;
    /* a ragged mask of no keys is empty, whatever the tensors have room for */
    attn_problem none = problem;
    promised.query_documents = NULL;
    promised.mask = NULL;
    none.lengths = ATTN_LENGTHS_RAGGED_I32;
    none.keys = 0, none.total_keys = 9, none.total_queries = QUERIES;
    attn_plan *plan;
    attn_error error;
    assert_int_equal(attn_plan_create(&plan, &none, &error), ATTN_OK);
    attn_plan_destroy(plan);
    /* but keys of a cache are no total that the problem tells */
    const attn_kv_layout layout = attn_kv_layout_init(ATTN_F32, KV_HEADS, 16, SIZE);
    attn_problem cached = problem;
    cached.lengths = ATTN_LENGTHS_RAGGED_I32;
    cached.total_queries = QUERIES;
    cached.cache = &layout;
    expect(&cached, ATTN_ERR_NULL, "problem.scores.constant.mask");
    promised.mask = m.bytes;
    assert_int_equal(attn_plan_create(&plan, &problem, &error), ATTN_OK);
    attn_args args = attn_args_init(&problem);
    args.batch = args.queries = args.keys = 0;
    size_t size = attn_plan_workspace(plan, 1);
    void *workspace = need(size, 1);
    assert_int_equal(attn_run(plan, &args, workspace, size, NULL, &error), ATTN_OK);
    args.scores = &promised;
    assert_int_equal(attn_run(plan, &args, workspace, size, NULL, &error), ATTN_ERR_VALUE);
    assert_non_null(strstr(error.message, "problem.scores.constant"));
    free(workspace);
    attn_plan_destroy(plan);
    masks_destroy(&m);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_shorter_lists),
        cmocka_unit_test(test_table_is_used),
        cmocka_unit_test(test_same_bits_cached),
        cmocka_unit_test(test_table_is_used_cached),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
