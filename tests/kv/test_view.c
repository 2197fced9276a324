/* Page tables of the caller's own: one that is right in every way that layouts differ, and each fault of it
 * alone. Arrays are of exactly the size they may be read to, so that a sanitizer sees more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "attention/guarded.h"
#include "attention/random.h"
#include "kv/pages.h"

#include <cmocka.h>

enum { BATCH = 3, PAGES = 6, PAGE = 4, HEADS = 2, SIZE = 8 };

struct table {
    attn_kv_layout layout;
    attn_kv_view view;
    const attn_kv_layout *given_layout;
    const attn_kv_view *given_view;
    int64_t batch, keys, kv_heads, head_size, head_size_v;
    int32_t indptr[BATCH + 1], indices[5], last[BATCH], first[BATCH], positions[PAGES * PAGE];
    float scale[64];
    char pool[64];
};

/* Sequences of 7 keys in pages 5 1 (the first begins at 1), of none, and of 9 in 1 0 4; int8 keys, int4
 * values. */
static void make(struct table *t)
{
    static const int32_t indptr[] = {0, 2, 2, 5}, indices[] = {5, 1, 1, 0, 4};
    memset(t, 0, sizeof *t);
    t->layout = attn_kv_layout_init(ATTN_INT8, HEADS, PAGE, SIZE);
    t->layout.v_dtype = ATTN_INT4;
    t->layout.group = 4;
    t->layout.k_channel_scales = t->layout.positions = true;
    memcpy(t->indptr, indptr, sizeof indptr);
    memcpy(t->indices, indices, sizeof indices);
    t->last[0] = 4, t->last[2] = 1;
    t->first[0] = 1;
    static const int32_t order[] = {5, 1, 0, 4};
    for (int i = 0; i < 4; i++)
        for (int slot = 0; slot < PAGE; slot++)
            t->positions[order[i] * PAGE + slot] = 10 * i + 2 * slot;
    t->positions[5 * PAGE] = -7; /* gone */
    t->view = attn_kv_view_init();
    t->view.k = t->view.v = t->pool;
    t->view.k_scale = t->view.v_scale = t->view.k_channel_scale = t->scale;
    t->view.pages = PAGES;
    t->view.indptr = t->indptr;
    t->view.indices = t->indices;
    t->view.last_page_len = t->last;
    t->view.first_page_begin = t->first;
    t->view.positions = t->positions;
    t->given_layout = &t->layout;
    t->given_view = &t->view;
    t->batch = BATCH, t->keys = 9, t->kv_heads = HEADS, t->head_size = t->head_size_v = SIZE;
}

static attn_status ask(const struct table *t, attn_error *error)
{
    return attn_kv_view_check(t->given_layout, t->given_view, t->batch, t->keys, t->kv_heads,
                              t->head_size, t->head_size_v, error);
}

#define ODD(pointer) (const void *)((const char *)(pointer) + 1)

#define FAULTS(F)                                                                                  \
    F(t->batch = -1, SHAPE, "batch is -1")                                                         \
    F(t->keys = -1, SHAPE, "keys is -1")                                                           \
    F(t->kv_heads = -1, SHAPE, "kv_heads is -1")                                                   \
    F(t->head_size = 0, SHAPE, "head_size is 0")                                                   \
    F(t->head_size_v = INT64_MAX, SHAPE, "head_size_v is 9223372036854775807")                     \
    F(t->given_layout = NULL, NULL, "layout is NULL")                                              \
    F(t->layout.struct_size = 4, STRUCT_SIZE, "layout.struct_size is 4")                           \
    F(t->layout.k_dtype = (attn_dtype)9, DTYPE, "layout.k_dtype is 9")                             \
    F(t->layout.v_dtype = (attn_dtype)-1, DTYPE, "layout.v_dtype is -1")                           \
    F(t->layout.page_size = 0, SHAPE, "layout.page_size is 0")                                     \
    F(t->layout.page_size = INT64_C(1) << 31, SHAPE, "layout.page_size is 2147483648")             \
    F(t->layout.group = 5, VALUE, "layout.group is 5")                                             \
    F(t->layout.group = 0, VALUE, "layout.group is 0")                                             \
    F(t->layout.k_stride[1] = -1, STRIDE, "layout.k_stride[1] is -1; it must be 0 or more")        \
    F(t->layout.v_stride[0] = 7, STRIDE, "layout.v_stride[0] is 7; it must be even")               \
    F(t->layout.k_scale_stride[2] = -1, STRIDE, "layout.k_scale_stride[2] is -1")                  \
    F(t->layout.v_scale_stride[0] = -9, STRIDE, "layout.v_scale_stride[0] is -9")                  \
    F((t->layout.k_dtype = ATTN_F16, t->view.k_scale = NULL), VALUE,                               \
      "layout.k_channel_scales is true, but k_dtype is 3")                                         \
    F(t->given_view = NULL, NULL, "view is NULL")                                                  \
    F(t->view.struct_size = 0, STRUCT_SIZE, "view.struct_size is 0")                               \
    F(t->view.pages = -1, SHAPE, "view.pages is -1")                                               \
    F(t->view.pages = INT64_C(1) << 31, SHAPE, "view.pages is 2147483648")                         \
    F(t->view.k = NULL, NULL, "view.k is NULL")                                                    \
    F(t->view.v = NULL, NULL, "view.v is NULL")                                                    \
    F(t->view.k_scale = NULL, NULL, "view.k_scale is NULL")                                        \
    F(t->view.v_scale = NULL, NULL, "view.v_scale is NULL")                                        \
    F(t->view.k_channel_scale = NULL, NULL, "view.k_channel_scale is NULL")                        \
    F(t->view.positions = NULL, NULL, "view.positions is NULL")                                    \
    F(t->view.indptr = NULL, NULL, "view.indptr is NULL")                                          \
    F(t->view.indices = NULL, NULL, "view.indices is NULL")                                        \
    F(t->view.last_page_len = NULL, NULL, "view.last_page_len is NULL")                            \
    F(t->layout.positions = false, VALUE, "view.positions is given, but the layout has none")      \
    F(t->layout.k_channel_scales = false, VALUE, "view.k_channel_scale is given")                  \
    F((t->layout.v_dtype = ATTN_F32, t->layout.group = 0), VALUE, "view.v_scale is given")         \
    F(t->view.k_scale = ODD(t->scale), ALIGNMENT, "view.k_scale is")                               \
    F(t->view.indptr = ODD(t->indptr), ALIGNMENT, "view.indptr is")                                \
    F(t->view.indices = ODD(t->indices), ALIGNMENT, "view.indices is")                             \
    F(t->view.last_page_len = ODD(t->last), ALIGNMENT, "view.last_page_len is")                    \
    F(t->view.first_page_begin = ODD(t->first), ALIGNMENT, "view.first_page_begin is")             \
    F(t->view.positions = ODD(t->positions), ALIGNMENT, "view.positions is")                       \
    F(t->layout.k_stride[0] = INT64_MAX / 4, OVERFLOW, "reach past what an address can tell")      \
    F(t->layout.k_scale_stride[0] = INT64_MAX / 8, OVERFLOW, "with k_scale_stride")                \
    F(t->layout.v_scale_stride[0] = INT64_MAX / 8, OVERFLOW, "with v_scale_stride")                \
    F(t->indptr[0] = 1, VALUE, "view.indptr[0] is 1; it must be 0")                                \
    F(t->indptr[0] = -1, VALUE, "view.indptr[0] is -1")                                            \
    F(t->indptr[2] = 1, VALUE, "view.indptr[2] is 1; it may not be below the one before, 2")       \
    F(t->indptr[1] = INT32_MIN, VALUE, "view.indptr[1] is -2147483648")                            \
    F(t->indices[0] = 6, VALUE, "view.indices[0] is 6; the pool's pages are 0 to 5")               \
    F(t->indices[4] = -1, VALUE, "view.indices[4] is -1")                                          \
    F(t->indices[4] = INT32_MAX, VALUE, "view.indices[4] is 2147483647")                           \
    F(t->view.pages = 5, VALUE, "view.indices[0] is 5; the pool's pages are 0 to 4")               \
    F(t->indices[4] = 1, VALUE, "view.indices has page 1 twice in sequence 2")                     \
    F(t->indices[1] = 5, VALUE, "view.indices has page 5 twice in sequence 0")                     \
    F(t->last[0] = 0, VALUE, "view.last_page_len[0] is 0; it may be 1 to page_size")               \
    F(t->last[0] = 5, VALUE, "view.last_page_len[0] is 5")                                         \
    F(t->last[2] = -1, VALUE, "view.last_page_len[2] is -1")                                       \
    F(t->last[1] = 1, VALUE, "view.last_page_len[1] is 1; it must be 0 for a sequence without")    \
    F(t->first[0] = -1, VALUE, "view.first_page_begin[0] is -1")                                   \
    F(t->first[0] = 4, VALUE, "view.first_page_begin[0] is 4; the first page has 4 tokens")        \
    F(t->first[1] = 1, VALUE, "view.first_page_begin[1] is 1; the first page has 0 tokens")        \
    F((t->indptr[1] = t->indptr[2] = 1, t->indptr[3] = 4, t->last[0] = 1), VALUE,                  \
      "view.first_page_begin[0] is 1; the first page has 1 tokens")                                \
    F(t->keys = 8, SHAPE, "view has sequence 2 of 9 keys; it may have 8 at most")                  \
    F(t->positions[1 * PAGE + 1] = 10, VALUE, "view.positions has 10 in slot 1 of page 1")         \
    F(t->positions[5 * PAGE + 1] = -1, VALUE, "view.positions has -1 in slot 1 of page 5")         \
    F(t->positions[4 * PAGE] = 26, VALUE, "it must be above the one before, 26")

static void test_faults(void **state)
{
    (void)state;
#define NAME(change, code, text) {#change, ATTN_ERR_##code, text},
    static const struct {
        const char *change;
        attn_status status;
        const char *text;
    } faults[] = {FAULTS(NAME)};
    for (int i = 0; i < (int)(sizeof faults / sizeof faults[0]); i++) {
        struct table space, *t = &space;
        attn_error error;
        make(t);
        if (ask(t, &error))
            fail_msg("the sound table is refused: %s", error.message);
        int which = 0;
#define APPLY(change, code, text)                                                                  \
    if (which++ == i)                                                                              \
        (void)(change);
        FAULTS(APPLY)
        const attn_status status = ask(t, &error);
        if (status != faults[i].status || !strstr(error.message, faults[i].text))
            fail_msg("%s: %s \"%s\"", faults[i].change, attn_status_name(status), error.message);
    }
}

/* What may be absent, and what is not looked at. */
static void test_sound(void **state)
{
    (void)state;
    struct table t;
    make(&t);
    t.view.first_page_begin = NULL;
    t.keys = INT32_MAX;
    t.positions[5 * PAGE] = 1;
    assert_int_equal(ask(&t, NULL), ATTN_OK);
    t.positions[4 * PAGE + 1] = -5; /* behind the last key */
    assert_int_equal(ask(&t, NULL), ATTN_OK);
    t.layout.k_scale_stride[0] = t.layout.k_stride[2] = 0; /* broadcast */
    assert_int_equal(ask(&t, NULL), ATTN_OK);
    t.batch = 0; /* nothing at all */
    t.view.k = t.view.v = NULL;
    t.view.k_scale = t.view.v_scale = t.view.k_channel_scale = NULL;
    t.view.indices = t.view.last_page_len = t.view.positions = NULL;
    assert_int_equal(ask(&t, NULL), ATTN_OK);
    t.view.pages = 0;
    assert_int_equal(ask(&t, NULL), ATTN_OK);
}

/* A pool of more pages than are marked at once: the repeat is found wherever it lies, and no other. */
static void test_large_pool(void **state)
{
    (void)state;
    enum { LARGE = 200000, COUNT = 3000 };
    struct random random = {5};
    int32_t *order = need(LARGE, sizeof *order);
    for (int32_t i = 0; i < LARGE; i++)
        order[i] = i;
    for (int32_t i = LARGE - 1; i > 0; i--) {
        const int64_t j = random_between(&random, 0, i);
        const int32_t page = order[i];
        order[i] = order[j];
        order[j] = page;
    }
    static const int32_t last[2] = {1, 1};
    int32_t indptr[3] = {0, COUNT, 2 * COUNT};
    attn_kv_layout layout = attn_kv_layout_init(ATTN_F32, 1, 1, 1);
    attn_kv_view view = attn_kv_view_init();
    layout.k_stride[0] = layout.v_stride[0] = 0;
    view.k = view.v = (const void *)order;
    view.pages = LARGE;
    view.indptr = indptr;
    view.indices = order;
    view.last_page_len = last;
    assert_int_equal(attn_kv_view_check(&layout, &view, 2, COUNT, 1, 1, 1, NULL), ATTN_OK);
    for (int trial = 0; trial < 50; trial++) {
        const int64_t a = random_between(&random, 0, 2 * COUNT - 1);
        const int64_t b = random_between(&random, 0, 2 * COUNT - 1);
        const int32_t page = order[b];
        order[b] = order[a];
        attn_error error;
        const attn_status status = attn_kv_view_check(&layout, &view, 2, COUNT, 1, 1, 1, &error);
        const bool repeat = a != b && a / COUNT == b / COUNT;
        assert_int_equal(status, repeat ? ATTN_ERR_VALUE : ATTN_OK);
        order[b] = page;
    }
    free(order);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_large_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
