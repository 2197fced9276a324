/* Rows that a NaN reaches tell the same over a cache as attn_run tells of the same numbers in tensors: which
 * masses, weights and outputs are NaN, and which are 0 because the key is hidden or its score is -inf. A weight
 * that underflows is NaN in such a row as any other that is seen. */
#include <attn/attn.h>
#include <attn/kv.h>
#include <attn/scores.h>
#include <attn/stats.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "attention/guarded.h"
#include "attention/path.h"
#include "attention/random.h"

enum { HEADS = 3, KEYS = 5000, QUERIES = 3, D = 16, SEGMENTS = 3 };

struct told {
    float o[HEADS * QUERIES * D], lse[HEADS * QUERIES], entropy[HEADS * QUERIES];
    float mass[HEADS * KEYS], segments[HEADS * QUERIES * SEGMENTS];
    float weights[HEADS][QUERIES * KEYS], pairs[3];
    int32_t viewers[HEADS * KEYS];
};

struct numbers {
    float q[HEADS * QUERIES * D], k[KEYS * D], v[KEYS * D];
    uint8_t ids[KEYS], mask[QUERIES * KEYS];
};

/* Scores are 4 k[0]: of most keys a few units, of every seventh so low that the weight is 0, of every
 * eleventh -inf. */
static struct numbers *numbers_create(uint64_t seed)
{
    struct random random = {seed};
    struct numbers *n = need(1, sizeof *n);
    for (int i = 0; i < HEADS * QUERIES; i++)
        n->q[i * D] = 16;
    for (int j = 0; j < KEYS; j++) {
        for (int d = 0; d < D; d++) {
            n->k[j * D + d] = (float)random_normal(&random);
            n->v[j * D + d] = (float)random_normal(&random);
        }
        if (j % 7 == 3)
            n->k[j * D] = -500;
        if (j % 11 == 5)
            n->k[j * D] = -INFINITY;
        n->ids[j] = (uint8_t)(j * SEGMENTS / (KEYS + 700)); /* the last has few */
    }
    for (int i = 0; i < QUERIES * KEYS; i++)
        n->mask[i] = random_chance(&random, 0.8);
    return n;
}

static struct told *run(attn_problem problem, attn_args args, const struct numbers *n)
{
    attn_error error;
    struct told *told = need(1, sizeof *told);
    attn_statistics_wanted wanted = attn_statistics_wanted_init(
        ATTN_STAT_ENTROPY | ATTN_STAT_COLUMN_MASS | ATTN_STAT_COLUMN_VIEWERS |
        ATTN_STAT_MASS_SEGMENTS | ATTN_STAT_WEIGHTS | ATTN_STAT_PAIRS);
    wanted.segments = SEGMENTS;
    problem.statistics = &wanted;
    attn_statistics s = attn_statistics_init();
    attn_weights_request requests[HEADS];
    for (int h = 0; h < HEADS; h++)
        requests[h] = (attn_weights_request){0, h, 0, args.queries, told->weights[h]};
    const attn_pair pairs[] = {{0, 0, 0, 3}, {0, 1, 0, 5}, {0, 2, 0, 300}};
    s.entropy = told->entropy, s.column_mass = told->mass, s.column_viewers = told->viewers;
    s.mass_segments = told->segments, s.segment_ids = n->ids;
    s.weights = requests, s.weights_count = HEADS;
    s.pairs = pairs, s.pairs_count = 3, s.pair_weights = told->pairs;
    args.statistics = &s, args.o = told->o, args.lse = told->lse;
    if (attn_forward(&problem, &args, NULL, &error) != ATTN_OK)
        fail_msg("%s", error.message);
    return told;
}

/* The same numbers in a cache of pages. */
static struct told *run_cached(attn_problem problem, attn_args args, const struct numbers *n)
{
    attn_kv *kv;
    attn_kv_layout layout;
    attn_kv_view view;
    const attn_kv_layer layer = attn_kv_layer_init(ATTN_F32, 1, D, 64);
    const attn_kv_config config = attn_kv_config_init(&layer, 1, 1, KEYS);
    assert_int_equal(attn_kv_create(&kv, &config, NULL, 0, NULL), ATTN_OK);
    attn_kv_rows rows = attn_kv_rows_init(1, 1, KEYS, D, ATTN_F32);
    rows.k = n->k, rows.v = n->v;
    assert_int_equal(attn_kv_append(kv, 0, &rows, NULL, NULL), ATTN_OK);
    assert_int_equal(attn_kv_get_layout(kv, 0, &layout, NULL), ATTN_OK);
    assert_int_equal(attn_kv_get_view(kv, 0, NULL, 1, &view, NULL), ATTN_OK);
    problem.cache = &layout;
    args.k = args.v = NULL;
    args.cache = &view;
    struct told *told = run(problem, args, n);
    attn_kv_destroy(kv);
    return told;
}

static void compare(const char *name, int which, const float *plain, const float *cached, int count)
{
    for (int i = 0; i < count; i++)
        if (isnan(plain[i]) != isnan(cached[i]) || (plain[i] == 0) != (cached[i] == 0))
            fail_msg("case %d: %s[%d] is %g over a cache, %g of tensors", which, name, i,
                     (double)cached[i], (double)plain[i]);
}

/* A NaN in the first block of keys, in a later one, in another chunk, as the only score that is no -inf of its
 * chunk, far below the largest score; under no mask, a window, a mask that is read. */
static void same_nan(void **state)
{
    (void)state;
    static const int places[] = {0, 300, KEYS - 2, KEYS - 700, KEYS - 1};
    for (int which = 0; which < 5 * 3 * 2; which++) {
        const int place = which % 5, masks = which / 5 % 3, queries = which < 15 ? 1 : QUERIES;
        struct numbers *n = numbers_create((uint64_t)which);
        n->k[places[place] * D] = NAN;
        if (place == 3)
            for (int j = KEYS - 2000; j < KEYS; j++)
                n->k[j * D] = j == places[place] ? NAN : -INFINITY;
        if (place == 4)
            for (int j = KEYS - 2000; j < KEYS - 1; j++)
                n->k[j * D] -= 2000;
        attn_problem problem = attn_problem_init(1, HEADS, 1, queries, KEYS, D);
        attn_scores scores = attn_scores_init();
        attn_scores_args masked = attn_scores_args_init();
        problem.causal = true;
        if (masks == 1)
            problem.window = (attn_window){4000, -1, 1};
        if (masks == 2) {
            scores.mask = ATTN_MASK_BYTES;
            scores.mask_stride[2] = KEYS;
            problem.scores = &scores;
        }
        n->mask[(queries - 1) * KEYS + places[place]] = 1;
        attn_args args = attn_args_init(&problem);
        masked.mask = n->mask;
        args.scores = masks == 2 ? &masked : NULL;
        args.q = n->q, args.k = n->k, args.v = n->v;
        struct told *plain = run(problem, args, n), *cached = run_cached(problem, args, n);
        compare("o", which, plain->o, cached->o, HEADS * queries * D);
        compare("lse", which, plain->lse, cached->lse, HEADS * queries);
        compare("entropy", which, plain->entropy, cached->entropy, HEADS * queries);
        compare("column_mass", which, plain->mass, cached->mass, HEADS * KEYS);
        compare("mass_segments", which, plain->segments, cached->segments,
                HEADS * queries * SEGMENTS);
        compare("pair_weights", which, plain->pairs, cached->pairs, 3);
        for (int h = 0; h < HEADS; h++)
            compare("weights", which, plain->weights[h], cached->weights[h], queries * KEYS);
        assert_memory_equal(plain->viewers, cached->viewers, sizeof plain->viewers);
        /* the last row sees the NaN, but where the window hides it */
        assert_true(isnan(plain->lse[queries - 1]) == !(masks == 1 && place == 1));
        free(plain);
        free(cached);
        free(n);
    }
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_nan)};
    return cmocka_run_group_tests_name("decode_nan", tests, NULL, NULL);
}
