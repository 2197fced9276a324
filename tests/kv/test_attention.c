/* Attention over a cache that has grown, let go, been shared, evicted and saved, against attention over all tokens
 * ever appended under the mask that says the same. f32 on both sides: what differs is the order of sums, a few
 * units of the weighted values' rounding: n * 2^-24 times values of size 1, taken as 1e-5. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <attn/kv.h>

#include "attention/guarded.h"
#include "attention/path.h"
#include "attention/random.h"

#include <cmocka.h>

enum { HEADS = 6, KV_HEADS = 2, SIZE = 16, LENGTH = 260, EVICTED = 20, MOST_STEP = 9 };

static float k[KV_HEADS * LENGTH * SIZE], v[KV_HEADS * LENGTH * SIZE];
static float q[HEADS * MOST_STEP * SIZE];

struct trial {
    struct random random;
    attn_kv *kv;
    attn_kv_layer layer;
    int64_t evicted[EVICTED], evictions;
};

static void fill(struct random *random, float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] = (float)random_normal(random);
}

static attn_problem problem_of(const struct trial *t, int64_t queries, int64_t keys)
{
    attn_problem p = attn_problem_init(1, HEADS, KV_HEADS, queries, keys, SIZE);
    p.causal = true;
    if (t->layer.window > 0)
        p.window = (attn_window){t->layer.window - 1, 0, t->layer.sinks};
    return p;
}

/* Over all tokens up to `keys`; those evicted are excluded from every head. */
static void over_all(const struct trial *t, int64_t queries, int64_t keys, float *o)
{
    attn_problem p = problem_of(t, queries, keys);
    static int64_t excluded[HEADS * EVICTED];
    attn_error error;
    p.k = p.v = attn_layout_bhsd(ATTN_F32, KV_HEADS, LENGTH, SIZE);
    p.excluded_keys = EVICTED;
    for (int i = 0; i < HEADS * EVICTED; i++)
        excluded[i] = i % EVICTED < t->evictions ? t->evicted[i % EVICTED] : -1;
    attn_args args = attn_args_init(&p);
    args.q = q, args.k = k, args.v = v, args.o = o, args.excluded_keys = excluded;
    if (attn_forward(&p, &args, NULL, &error))
        fail_msg("%s", error.message);
}

static void over_cache(const struct trial *t, int32_t sequence, int64_t queries, float *o)
{
    attn_problem p = problem_of(t, queries, attn_kv_keys(t->kv, 0, sequence));
    attn_kv_layout layout;
    attn_kv_view view;
    attn_error error;
    attn_kv_get_layout(t->kv, 0, &layout, NULL);
    attn_kv_get_view(t->kv, 0, &sequence, 1, &view, NULL);
    p.cache = &layout;
    attn_args args = attn_args_init(&p);
    args.q = q, args.o = o, args.cache = &view;
    if (attn_forward(&p, &args, NULL, &error))
        fail_msg("%s", error.message);
}

/* Tokens [begin, begin + n) of the same text, to one sequence. */
static void append(struct trial *t, int32_t sequence, int64_t begin, int64_t n)
{
    attn_kv_rows rows = attn_kv_rows_init(1, KV_HEADS, n, SIZE, ATTN_F32);
    attn_error error;
    rows.sequences = &sequence;
    rows.k_layout = rows.v_layout = attn_layout_bhsd(ATTN_F32, KV_HEADS, LENGTH, SIZE);
    rows.k = k + begin * SIZE;
    rows.v = v + begin * SIZE;
    if (attn_kv_append(t->kv, 0, &rows, NULL, &error))
        fail_msg("%s", error.message);
}

/* A row of the middle leaves the cache; where it stood is excluded. */
static void evict(struct trial *t, int32_t sequence)
{
    const int64_t keys = attn_kv_keys(t->kv, 0, sequence);
    if (t->evictions == EVICTED || keys < 4)
        return;
    const int64_t row = random_between(&t->random, 0, keys - 2);
    attn_kv_view view;
    attn_kv_get_view(t->kv, 0, &sequence, 1, &view, NULL);
    const int64_t page = t->layer.page_size;
    t->evicted[t->evictions++] = view.positions[view.indices[row / page] * page + row % page];
    assert_int_equal(attn_kv_evict(t->kv, 0, sequence, &row, 1, NULL), ATTN_OK);
}

static void save_and_load(struct trial *t, const attn_kv_config *config)
{
    char path[64];
    snprintf(path, sizeof path, "kv_attention_%ld.cache", (long)getpid());
    assert_int_equal(attn_kv_save(t->kv, path, NULL), ATTN_OK);
    attn_kv_destroy(t->kv);
    assert_int_equal(attn_kv_create(&t->kv, config, NULL, 0, NULL), ATTN_OK);
    assert_int_equal(attn_kv_load(t->kv, path, NULL), ATTN_OK);
    unlink(path);
}

static void run_trial(uint64_t seed)
{
    struct trial t = {.random = {seed}};
    float *a = need(HEADS * MOST_STEP * SIZE, sizeof *a),
          *b = need(HEADS * MOST_STEP * SIZE, sizeof *b);
    fill(&t.random, k, sizeof k / sizeof k[0]);
    fill(&t.random, v, sizeof v / sizeof v[0]);
    t.layer = attn_kv_layer_init(ATTN_F32, KV_HEADS, SIZE, random_between(&t.random, 1, 40));
    if (seed % 4 != 0)
        t.layer.window = random_between(&t.random, 1, 90);
    if (seed % 4 == 2)
        t.layer.sinks = random_between(&t.random, 1, 10);
    t.layer.positions = seed % 4 == 3;
    const bool evicts = t.layer.positions || t.layer.sinks > 0;
    attn_kv_config config = attn_kv_config_init(&t.layer, 1, 2, LENGTH);
    config.step = MOST_STEP;
    assert_int_equal(attn_kv_create(&t.kv, &config, NULL, 0, NULL), ATTN_OK);
    int32_t sequence = 0;
    bool shared = false; /* the other sequence began as this one, and has not gone on since */
    for (int64_t n = 0; n < LENGTH;) {
        int64_t step = random_between(&t.random, 1, MOST_STEP);
        step = step < LENGTH - n ? step : LENGTH - n;
        append(&t, sequence, n, step);
        if (shared) /* with another text, which must not be seen here */
            append(&t, 1 - sequence, 0, 1);
        shared = false;
        fill(&t.random, q, (size_t)(HEADS * step * SIZE));
        over_all(&t, step, n + step, a);
        over_cache(&t, sequence, step, b);
        for (int64_t i = 0; i < HEADS * step * SIZE; i++)
            if (!(fabsf(a[i] - b[i]) <= 1e-5f))
                fail_msg("seed %d, %d tokens: element %d is %g, not %g", (int)seed, (int)(n + step),
                         (int)i, (double)b[i], (double)a[i]);
        n += step;
        switch (random_between(&t.random, 0, 5)) {
        case 0: /* drafts are taken back, and come again */
            n -= random_between(&t.random, 0, step);
            assert_int_equal(attn_kv_truncate(t.kv, sequence, n, NULL), ATTN_OK);
            for (int64_t i = t.evictions - 1; i >= 0; i--) /* those that come again have not gone */
                if (t.evicted[i] >= n)
                    t.evicted[i] = t.evicted[--t.evictions];
            break;
        case 1: /* the other sequence goes on from here */
            assert_int_equal(attn_kv_clear(t.kv, 1 - sequence, NULL), ATTN_OK);
            assert_int_equal(attn_kv_fork(t.kv, sequence, 1 - sequence, NULL), ATTN_OK);
            sequence = 1 - sequence;
            shared = true;
            break;
        case 2:
            if (evicts)
                evict(&t, sequence);
            break;
        case 3:
            if (random_chance(&t.random, 0.1))
                save_and_load(&t, &config);
        }
    }
    attn_kv_destroy(t.kv);
    free(a);
    free(b);
}

static void test_steps(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= (uint64_t)path_cases(40); seed++)
        run_trial(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
