/* Keys of a cache turned as they are read: in f32 the same bits as keys that were turned as they were stored, few
 * queries or many, whether a window has let go of some or not; what a plan says of it; what is refused. */
#include "attention/attention_case.h"
#include "attention/path.h"
#include "attn/kv.h"
#include "attn/rotary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { B = 2, HQ = 6, HKV = 2, D = 40, PAGE = 16, MOST = 40, TOKENS = 2400 };

static void must(attn_status status, const attn_error *error)
{
    if (status != ATTN_OK)
        fail_msg("%s", error->message);
}

/* A cache of TOKENS keys in two sequences, stored turned or as they come. */
static attn_kv *cache_of(const float *rows, const attn_rotary *rotary, int64_t window)
{
    attn_kv_layer layer = attn_kv_layer_init(ATTN_F32, HKV, D, PAGE);
    layer.window = window;
    layer.sinks = window > 0 ? 3 : 0;
    layer.rotary = rotary;
    attn_kv_config config = attn_kv_config_init(&layer, 1, B, TOKENS);
    attn_kv *kv;
    attn_error error;
    must(attn_kv_create(&kv, &config, NULL, 0, &error), &error);
    for (int64_t done = 0, step = 0; done < TOKENS; done += step) {
        step = TOKENS - done < 300 ? TOKENS - done : 300;
        attn_kv_rows r = attn_kv_rows_init(B, HKV, TOKENS, D, ATTN_F32);
        r.tokens = step;
        r.k = rows + done * D, r.v = rows + (B * HKV * TOKENS + done) * D;
        must(attn_kv_append(kv, 0, &r, NULL, &error), &error);
    }
    return kv;
}

static void attend(attn_kv *kv, const attn_rotary *rotary, int64_t queries, const float *q,
                   int64_t window, const int64_t *key_positions, float *o)
{
    attn_kv_layout layout;
    attn_kv_view view;
    attn_error error;
    must(attn_kv_get_layout(kv, 0, &layout, &error), &error);
    must(attn_kv_get_view(kv, 0, NULL, B, &view, &error), &error);
    attn_problem p = attn_problem_init(B, HQ, HKV, queries, TOKENS, D);
    p.cache = &layout;
    p.rotary = rotary;
    p.causal = true;
    if (window > 0)
        p.window = (attn_window){window - 1, -1, 3};
    attn_args args = attn_args_init(&p);
    args.cache = &view;
    args.q = q, args.o = o;
    args.key_positions = key_positions;
    must(attn_forward(&p, &args, NULL, &error), &error);
}

/* Query i of the last `queries` stands at TOKENS - queries + i, wherever the cache has put the keys. */
static void turn_queries(const attn_rotary *rotary, int64_t queries, const float *q, float *to)
{
    const attn_layout layout = attn_layout_bhsd(ATTN_F32, HQ, queries, D);
    int64_t positions[B * MOST];
    attn_error error;
    for (int64_t i = 0; i < B * queries; i++)
        positions[i] = TOKENS - queries + i % queries;
    must(attn_rotary_apply(rotary, B, HQ, queries, D, q, &layout, to, &layout, positions, NULL,
                           &error),
         &error);
}

static float *normal(size_t count, struct random *random)
{
    float *x = need(count, sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)random_normal(random);
    return x;
}

static void read_or_stored(void **state)
{
    (void)state;
    struct random random = {91};
    const size_t size = (size_t)B * HQ * MOST * D;
    float *rows = normal((size_t)2 * B * HKV * TOKENS * D, &random), *q = normal(size, &random);
    float *turned = need(size, sizeof *turned), *o = need(2 * size, sizeof *o);
    for (int which = 0; which < 8; which++) {
        const int64_t queries = which % 4 == 0   ? 1
                                : which % 4 == 1 ? 5
                                : which % 4 == 2 ? 32
                                                 : MOST;
        const int64_t window = which >= 4 ? 1500 : 0;
        attn_rotary rotary = attn_rotary_init(which % 2 ? D : D / 2);
        rotary.pairing = which % 3 ? ATTN_ROTARY_HALVES : ATTN_ROTARY_NEIGHBOURS;
        attn_kv *stored = cache_of(rows, &rotary, window),
                *as_they_come = cache_of(rows, NULL, window);
        memset(o, 0, 2 * size * sizeof *o);
        turn_queries(&rotary, queries, q, turned);
        attend(stored, NULL, queries, turned, window, NULL, o);
        attend(as_they_come, &rotary, queries, q, window, NULL, o + size);
        if (memcmp(o, o + size, size * sizeof *o) != 0)
            fail_msg("%lld queries, window %lld: not the same bits", (long long)queries,
                     (long long)window);
        /* the test can fail: positions one further apart give other numbers */
        int64_t *apart = need((size_t)B * TOKENS, sizeof *apart);
        for (int64_t i = 0; i < B * TOKENS; i++)
            apart[i] = 2 * (i % TOKENS);
        attend(as_they_come, &rotary, queries, q, window, apart, o + size);
        assert_memory_not_equal(o, o + size, size * sizeof *o);
        free(apart);
        attn_kv_destroy(stored);
        attn_kv_destroy(as_they_come);
    }
    free(rows);
    free(q);
    free(turned);
    free(o);
}

/* Turned by positions that the run gives, in each sequence others: the same bits as keys that were turned by
 * them before they were stored. */
static void by_given_positions(void **state)
{
    (void)state;
    struct random random = {92};
    const size_t size = (size_t)B * HQ * MOST * D, keys = (size_t)B * HKV * TOKENS * D;
    float *rows = normal(2 * keys, &random), *q = normal(size, &random);
    float *turned = need(2 * keys, sizeof *turned), *o = need(2 * size, sizeof *o);
    float *turned_q = need(size, sizeof *turned_q);
    int64_t *positions = need((size_t)B * TOKENS, sizeof *positions);
    for (int64_t i = 0; i < B * TOKENS; i++)
        positions[i] = random_between(&random, 0, 100000);
    const attn_layout layout = attn_layout_bhsd(ATTN_F32, HKV, TOKENS, D);
    for (int which = 0; which < 3; which++) {
        const int64_t queries = which == 0 ? 1 : which == 1 ? 5 : MOST;
        const attn_rotary rotary = attn_rotary_init(D);
        attn_error error;
        memcpy(turned, rows, 2 * keys * sizeof *rows);
        must(attn_rotary_apply(&rotary, B, HKV, TOKENS, D, rows, &layout, turned, &layout,
                               positions, NULL, &error),
             &error);
        attn_kv *stored = cache_of(turned, NULL, 0), *as_they_come = cache_of(rows, NULL, 0);
        memset(o, 0, 2 * size * sizeof *o);
        turn_queries(&rotary, queries, q, turned_q);
        attend(stored, NULL, queries, turned_q, 0, NULL, o);
        attend(as_they_come, &rotary, queries, q, 0, positions, o + size);
        if (memcmp(o, o + size, size * sizeof *o) != 0)
            fail_msg("%lld queries: not the same bits", (long long)queries);
        attn_kv_destroy(stored);
        attn_kv_destroy(as_they_come);
    }
    free(rows);
    free(q);
    free(turned);
    free(turned_q);
    free(positions);
    free(o);
}

static void words(void **state)
{
    (void)state;
    attn_kv_layout layout = attn_kv_layout_init(ATTN_INT8, HKV, PAGE, D);
    attn_problem p = attn_problem_init(B, HQ, HKV, 1, TOKENS, D);
    const attn_rotary rotary = attn_rotary_init(D);
    char text[8192];
    p.cache = &layout;
    for (int turned = 0; turned < 2; turned++) {
        attn_plan *plan;
        p.rotary = turned ? &rotary : NULL;
        assert_int_equal(attn_plan_create(&plan, &p, NULL), ATTN_OK);
        assert_true(attn_plan_explain(plan, text, sizeof text) < sizeof text);
        assert_int_equal(strstr(text, "turned in f32 on their way out of the cache") != NULL,
                         turned);
        assert_null(strstr(text, "while packing"));
        assert_non_null(strstr(text, "shared pages: a chunk"));
        attn_plan_destroy(plan);
    }
    p.batch = 1;
    attn_plan *plan;
    assert_int_equal(attn_plan_create(&plan, &p, NULL), ATTN_OK);
    attn_plan_explain(plan, text, sizeof text);
    assert_null(strstr(text, "shared pages")); /* nobody to share with */
    attn_plan_destroy(plan);
}

static void refusals(void **state)
{
    (void)state;
    attn_kv_layout layout = attn_kv_layout_init(ATTN_F32, 1, PAGE, D);
    attn_rotary rotary = attn_rotary_init(D + 2);
    attn_problem p = attn_problem_init(1, 1, 1, 1, PAGE, D);
    attn_plan *plan;
    attn_error error;
    p.cache = &layout;
    p.rotary = &rotary;
    assert_int_equal(attn_plan_create(&plan, &p, &error), ATTN_ERR_SHAPE);
    assert_string_equal(error.message,
                        "problem.rotary.size is 42; it may be at most head_size, 40");

    const int32_t indptr[] = {0, 1}, indices[] = {0}, last[] = {PAGE};
    float pool[PAGE * D] = {0}, q[D] = {0}, o[D] = {77};
    int64_t positions[PAGE + 1] = {0};
    attn_kv_view view = attn_kv_view_init();
    view.k = view.v = pool;
    view.pages = 1;
    view.indptr = indptr, view.indices = indices, view.last_page_len = last;
    attn_args args = attn_args_init(&p);
    args.cache = &view;
    args.q = q, args.o = o;
    args.key_positions = positions;
    p.rotary = NULL;
    assert_int_equal(attn_forward(&p, &args, NULL, &error), ATTN_ERR_VALUE);
    assert_string_equal(error.message, "args.key_positions is given, but the plan was made without "
                                       "problem.rotary; it must be NULL");
    rotary = attn_rotary_init(D);
    p.rotary = &rotary;
    args.key_positions = (const int64_t *)(const void *)((const char *)positions + 4);
    assert_int_equal(attn_forward(&p, &args, NULL, &error), ATTN_ERR_ALIGNMENT);
    assert_non_null(strstr(error.message, "args.key_positions"));
    assert_true(o[0] == 77);
    args.key_positions = positions;
    assert_int_equal(attn_forward(&p, &args, NULL, &error), ATTN_OK);
    assert_true(o[0] == 0);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_or_stored),
        cmocka_unit_test(by_given_positions),
        cmocka_unit_test(words),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests_name("decode_rotary", tests, NULL, NULL);
}
