/* What the calls on caches refuse: each fault alone, the code and the words, and not one byte of the cache
 * changed (it lies in the test's memory, which is compared). */
#include <attn/rotary.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "attention/guarded.h"
#include "attention/orders.h"
#include "kv/pages.h"

#include <cmocka.h>

enum { LAYERS = 2, SEQUENCES = 3, TOKENS = 10, HEADS = 2, SIZE = 8, N = 3 };

static float channel_scales[HEADS * SIZE], numbers[SEQUENCES * HEADS * TOKENS * SIZE];
static attn_rotary rotary;

/* ---- descriptions ---- */

struct description {
    attn_kv_config config;
    attn_kv_layer layers[LAYERS];
};

static void describe(struct description *d)
{
    for (int i = 0; i < HEADS * SIZE; i++)
        channel_scales[i] = 1;
    rotary = attn_rotary_init(SIZE);
    d->layers[0] = attn_kv_layer_init(ATTN_INT8, HEADS, SIZE, 4);
    d->layers[0].k_channel_scales = channel_scales;
    d->layers[0].positions = true;
    d->layers[1] = attn_kv_layer_init(ATTN_F32, HEADS, SIZE, 2);
    d->layers[1].window = 4;
    d->config = attn_kv_config_init(d->layers, LAYERS, SEQUENCES, TOKENS);
}

#define DESCRIPTION_FAULTS(F)                                                                      \
    F(d->config.struct_size = 8, STRUCT_SIZE, "config.struct_size is 8")                           \
    F(d->config.layers = NULL, NULL, "config.layers is NULL")                                      \
    F(d->config.layer_count = 0, SHAPE, "config.layer_count is 0; it may be 1 to 65536")           \
    F(d->config.layer_count = -1, SHAPE, "config.layer_count is -1")                               \
    F(d->config.sequences = 0, SHAPE, "config.sequences is 0; it may be 1 to 1048576")             \
    F(d->config.sequences = INT64_MAX, SHAPE, "config.sequences is 9223372036854775807")           \
    F(d->config.tokens = 0, SHAPE, "config.tokens is 0")                                           \
    F(d->config.total_tokens = -1, SHAPE, "config.total_tokens is -1")                             \
    F(d->config.step = 0, SHAPE, "config.step is 0")                                               \
    F(l->struct_size = 0, STRUCT_SIZE, "config.layers[0].struct_size is 0")                        \
    F(l->kv_heads = 0, SHAPE, "config.layers[0].kv_heads is 0; it may be 1 to 2147483647")         \
    F(l->head_size = -4, SHAPE, "config.layers[0].head_size is -4")                                \
    F(l->head_size_v = 0, SHAPE, "config.layers[0].head_size_v is 0")                              \
    F(l->page_size = 0, SHAPE, "config.layers[0].page_size is 0")                                  \
    F(l->window = -1, SHAPE, "config.layers[0].window is -1")                                      \
    F(l->sinks = 2, SHAPE, "config.layers[0].sinks is 2; it may be 0 to 0")                        \
    F(l->pages = -1, SHAPE, "config.layers[0].pages is -1")                                        \
    F(l->k_dtype = (attn_dtype)6, DTYPE, "config.layers[0].k_dtype is 6")                          \
    F(l->v_dtype = (attn_dtype)0, DTYPE, "config.layers[0].v_dtype is 0")                          \
    F(l->group = 4, VALUE, "config.layers[0].group is 4; without ATTN_INT4 it must be 0")          \
    F((l->v_dtype = ATTN_INT4, l->group = 3), VALUE, "group is 3; it must be even and divide")     \
    F((l->v_dtype = ATTN_INT4, l->group = 6), VALUE, "group is 6; it must be even and divide")     \
    F(l->v_dtype = ATTN_INT4, VALUE, "group is 0; it must be even and divide")                     \
    F(l->k_dtype = ATTN_F16, VALUE, "config.layers[0].k_channel_scales is true")                   \
    F(channel_scales[5] = 0, VALUE, "config.layers[0].k_channel_scales[5] is 0")                   \
    F(channel_scales[15] = NAN, VALUE, "config.layers[0].k_channel_scales[15] is nan")             \
    F(l->k_channel_scales = (const float *)(const void *)((const char *)channel_scales + 2),       \
      ALIGNMENT, "config.layers[0].k_channel_scales is")                                           \
    F((l->rotary = &rotary, rotary.size = 7), SHAPE, "rotary.size is 7")                           \
    F((l->rotary = &rotary, rotary.size = 10), SHAPE, "config.layers[0].rotary.size is 10")        \
    F((l->rotary = &rotary, rotary.base = NAN), VALUE, "rotary.base is nan")                       \
    F((l->kv_heads = INT32_MAX, l->head_size = INT32_MAX, l->k_channel_scales = NULL), OVERFLOW,   \
      "a pool of such pages more than an address can tell")                                        \
    F((d->config.sequences = 1 << 20, d->config.tokens = INT32_MAX), OVERFLOW,                     \
      "make a table of more than 2147483647 entries")

static void test_descriptions(void **state)
{
    (void)state;
#define NAME(change, code, text) {#change, ATTN_ERR_##code, text},
    static const struct {
        const char *change;
        attn_status status;
        const char *text;
    } faults[] = {DESCRIPTION_FAULTS(NAME)};
    for (int i = 0; i < (int)(sizeof faults / sizeof faults[0]); i++) {
        struct description space, *d = &space;
        describe(d);
        attn_kv_layer *l = &d->layers[0];
        int which = 0;
#define APPLY(change, code, text)                                                                  \
    if (which++ == i)                                                                              \
        (void)(change);
        DESCRIPTION_FAULTS(APPLY)
        size_t bytes = 77;
        attn_error error;
        attn_kv *kv = (attn_kv *)(void *)&bytes;
        attn_status status = attn_kv_size(&d->config, &bytes, &error);
        if (status != faults[i].status || !strstr(error.message, faults[i].text) || bytes != 77)
            fail_msg("%s: %s \"%s\"", faults[i].change, attn_status_name(status), error.message);
        status = attn_kv_create(&kv, &d->config, NULL, 0, &error);
        if (status != faults[i].status || !strstr(error.message, faults[i].text) || kv)
            fail_msg("%s: %s \"%s\"", faults[i].change, attn_status_name(status), error.message);
    }
    struct description d;
    size_t bytes;
    describe(&d);
    assert_int_equal(attn_kv_size(&d.config, &bytes, NULL), ATTN_OK);
    assert_int_equal(attn_kv_size(NULL, &bytes, NULL), ATTN_ERR_NULL);
    assert_int_equal(attn_kv_size(&d.config, NULL, NULL), ATTN_ERR_NULL);
    assert_int_equal(attn_kv_create(NULL, &d.config, NULL, 0, NULL), ATTN_ERR_NULL);
    attn_kv *kv;
    assert_int_equal(attn_kv_create(&kv, &d.config, numbers, 64, NULL), ATTN_ERR_WORKSPACE);
    assert_int_equal(attn_kv_create(&kv, &d.config, NULL, bytes, NULL), ATTN_ERR_WORKSPACE);
    attn_kv_destroy(NULL);
}

/* ---- calls on a cache ---- */

struct call {
    attn_kv *kv;
    attn_kv_rows rows;
    const attn_kv_rows *given;
    int32_t sequences[SEQUENCES];
    int64_t lengths[SEQUENCES], layer;
    const attn_executor *executor;
};

static struct ordered_executor failing;

#define APPEND_FAULTS(F)                                                                           \
    F(c->kv = NULL, NULL, "kv is NULL")                                                            \
    F(c->layer = -1, SHAPE, "layer is -1; it may be 0 to 1")                                       \
    F(c->layer = 2, SHAPE, "layer is 2; it may be 0 to 1")                                         \
    F(c->given = NULL, NULL, "rows is NULL")                                                       \
    F(c->rows.struct_size = 1, STRUCT_SIZE, "rows.struct_size is 1")                               \
    F(c->rows.count = -1, SHAPE, "count is -1 sequences; it may be 0 to 3")                        \
    F(c->rows.count = 4, SHAPE, "count is 4 sequences; it may be 0 to 3")                          \
    F(c->sequences[1] = 3, SHAPE, "sequences[1] is 3; it may be 0 to 2")                           \
    F(c->sequences[0] = -1, SHAPE, "sequences[0] is -1")                                           \
    F(c->sequences[1] = c->sequences[0], VALUE, "sequences[1] is 2, which is there before")        \
    F(c->rows.sequences = (const int32_t *)(const void *)((const char *)c->sequences + 1),         \
      ALIGNMENT, "sequences is")                                                                   \
    F(c->rows.tokens = -1, SHAPE, "rows.tokens is -1")                                             \
    F(c->rows.tokens = INT64_C(1) << 31, SHAPE, "rows.tokens is 2147483648")                       \
    F(c->lengths[1] = N + 1, SHAPE, "rows.lengths[1] is 4; it may be 0 to 3")                      \
    F(c->lengths[0] = -1, SHAPE, "rows.lengths[0] is -1")                                          \
    F((c->rows.packed = true, c->rows.lengths = NULL), NULL, "rows.lengths is NULL")               \
    F(c->rows.packed = true, SHAPE, "rows.lengths are 5 together; rows.tokens is 3")               \
    F(c->rows.k_layout.dtype = ATTN_INT8, DTYPE, "rows.k_layout.dtype is 4")                       \
    F(c->rows.v_layout.dtype = (attn_dtype)0, DTYPE, "rows.v_layout.dtype is 0")                   \
    F(c->rows.k_layout.stride[3] = 2, STRIDE, "rows.k_layout.stride[3] is 2")                      \
    F(c->rows.v_layout.stride[0] = INT64_MAX, OVERFLOW, "rows.v_layout has strides")               \
    F(c->rows.k = NULL, NULL, "rows.k is NULL")                                                    \
    F(c->rows.v = NULL, NULL, "rows.v is NULL")                                                    \
    F(c->rows.v = (const char *)numbers + 2, ALIGNMENT, "rows.v is")                               \
    F((c->rows.tokens = 8, c->lengths[1] = 8), FULL,                                               \
      "layer 0 has 4 tokens of sequence 0, and no room for 8 more: it may have 10")                \
    F((c->layer = 1, c->rows.tokens = 10, c->lengths[0] = 10, c->lengths[1] = 10), FULL,           \
      "and no room for 10 more: it may have 4 and a step")                                         \
    F((c->lengths[0] = 3, c->lengths[1] = 3, c->sequences[0] = 1), FULL,                           \
      "layer 0 has 1 free pages of 4; these tokens need 2")                                        \
    F(c->executor = &wrong_size, STRUCT_SIZE, "executor.struct_size is 0")

static const attn_executor wrong_size = {.threads = 1};

static void append(attn_kv *kv, int32_t sequence, int64_t tokens)
{
    attn_kv_rows rows = attn_kv_rows_init(1, HEADS, tokens, SIZE, ATTN_F32);
    rows.sequences = &sequence;
    rows.k = rows.v = numbers;
    for (int layer = 0; layer < LAYERS; layer++)
        assert_int_equal(attn_kv_append(kv, layer, &rows, NULL, NULL), ATTN_OK);
}

/* Sequences 0 of 4 tokens, 1 empty, 2 of 6, its first page of layer 0 shared with none; 4 pages in layer 0. */
static attn_kv *create(void **memory, size_t *bytes)
{
    struct description d;
    attn_kv *kv;
    describe(&d);
    d.layers[0].pages = 4;
    d.config.step = 9;
    assert_int_equal(attn_kv_size(&d.config, bytes, NULL), ATTN_OK);
    *memory = need(1, *bytes);
    memset(*memory, 0x5a, *bytes);
    assert_int_equal(attn_kv_create(&kv, &d.config, *memory, *bytes, NULL), ATTN_OK);
    append(kv, 0, 4);
    append(kv, 2, 6);
    return kv;
}

static void unchanged(const void *memory, const void *before, size_t bytes, const char *what)
{
    if (memcmp(memory, before, bytes) != 0)
        fail_msg("%s: refused, but the cache has changed", what);
}

static void test_append(void **state)
{
    (void)state;
    static const struct {
        const char *change;
        attn_status status;
        const char *text;
    } faults[] = {APPEND_FAULTS(NAME)};
    void *memory;
    size_t bytes;
    attn_kv *kv = create(&memory, &bytes);
    void *before = need(1, bytes);
    memcpy(before, memory, bytes);
    for (int i = -1; i < (int)(sizeof faults / sizeof faults[0]); i++) {
        struct call space = {.kv = kv,
                             .rows = attn_kv_rows_init(2, HEADS, N, SIZE, ATTN_F32),
                             .sequences = {2, 0},
                             .lengths = {2, 3}},
                    *c = &space;
        c->given = &c->rows;
        c->rows.sequences = c->sequences;
        c->rows.lengths = c->lengths;
        c->rows.k = c->rows.v = numbers;
        int which = 0;
        APPEND_FAULTS(APPLY)
        if (i < 0)
            continue;
        attn_error error;
        const attn_status status = attn_kv_append(c->kv, c->layer, c->given, c->executor, &error);
        if (status != faults[i].status || !strstr(error.message, faults[i].text))
            fail_msg("%s: %s \"%s\"", faults[i].change, attn_status_name(status), error.message);
        unchanged(memory, before, bytes, faults[i].change);
    }
    free(before);
    free(memory);
}

static void test_other_calls(void **state)
{
    (void)state;
    void *memory;
    size_t bytes;
    attn_kv *kv = create(&memory, &bytes);
    assert_int_equal(attn_kv_fork(kv, 0, 1, NULL), ATTN_OK);
    append(kv, 2, 4); /* the window of layer 1 moves on */
    void *before = need(1, bytes);
    memcpy(before, memory, bytes);
    const int64_t two[2] = {1, 8}, many[1] = {9}, minus[1] = {-1};
    const int64_t rows[3] = {0, 2, 2}, low[1] = {-1}, high[1] = {4};
    const int32_t twice[2] = {1, 1};
    attn_kv_layout layout;
    attn_kv_view view;
    attn_kv_usage usage = {0};
    attn_error error;
    int count = 0;
#define REFUSED(call, code, text)                                                                  \
    do {                                                                                           \
        const attn_status status = (call);                                                         \
        if (status != ATTN_ERR_##code || !strstr(error.message, text))                             \
            fail_msg("%s: %s \"%s\"", #call, attn_status_name(status), error.message);             \
        unchanged(memory, before, bytes, #call);                                                   \
        count++;                                                                                   \
    } while (0)
    REFUSED(attn_kv_reserve(NULL, NULL, 1, two, &error), NULL, "kv is NULL");
    REFUSED(attn_kv_reserve(kv, NULL, 1, NULL, &error), NULL, "tokens is NULL");
    REFUSED(attn_kv_reserve(kv, NULL, 4, two, &error), SHAPE, "count is 4 sequences");
    REFUSED(attn_kv_reserve(kv, twice, 2, two, &error), VALUE, "sequences[1] is 1");
    REFUSED(attn_kv_reserve(kv, NULL, 1, minus, &error), SHAPE, "tokens[0] is -1");
    REFUSED(attn_kv_reserve(kv, NULL, 1, many, &error), FULL, "no room for 9 more");
    REFUSED(attn_kv_reserve(kv, NULL, 2, two, &error), FULL, "no room for 8 more");
    REFUSED(attn_kv_truncate(NULL, 0, 1, &error), NULL, "kv is NULL");
    REFUSED(attn_kv_truncate(kv, 3, 1, &error), SHAPE, "sequence is 3; it may be 0 to 2");
    REFUSED(attn_kv_truncate(kv, 0, -1, &error), SHAPE, "length is -1");
    REFUSED(
        attn_kv_truncate(kv, 2, 5, &error), VALUE,
        "length is 5, but the window of layer 1 has let go of tokens up to 3; it may be 0, or 6");
    REFUSED(attn_kv_fork(NULL, 0, 1, &error), NULL, "kv is NULL");
    REFUSED(attn_kv_fork(kv, -1, 1, &error), SHAPE, "from is -1");
    REFUSED(attn_kv_fork(kv, 0, 3, &error), SHAPE, "to is 3");
    REFUSED(attn_kv_fork(kv, 0, 2, &error), VALUE, "to is sequence 2, which has 10 tokens");
    REFUSED(attn_kv_clear(NULL, 0, &error), NULL, "kv is NULL");
    REFUSED(attn_kv_clear(kv, 3, &error), SHAPE, "sequence is 3");
    REFUSED(attn_kv_evict(NULL, 0, 0, rows, 1, &error), NULL, "kv is NULL");
    REFUSED(attn_kv_evict(kv, 0, 3, rows, 1, &error), SHAPE, "sequence is 3");
    REFUSED(attn_kv_evict(kv, 1, 0, rows, 1, &error), VALUE, "layer 1 does not keep positions");
    REFUSED(attn_kv_evict(kv, 0, 0, rows, 3, &error), VALUE, "rows[2] is 2; rows must rise");
    REFUSED(attn_kv_evict(kv, 0, 0, low, 1, &error), VALUE, "rows[0] is -1");
    REFUSED(attn_kv_evict(kv, 0, 0, high, 1, &error), VALUE, "rows[0] is 4");
    REFUSED(attn_kv_evict(kv, 0, 0, rows, 5, &error), SHAPE, "count is 5; it may be 0 to 4");
    REFUSED(attn_kv_evict(kv, 0, 0, NULL, 1, &error), NULL, "rows is NULL");
    REFUSED(attn_kv_evict(kv, 0, 0, rows, 2, &error), FULL, "0 free pages; 1 shared ones");
    REFUSED(attn_kv_get_layout(kv, 2, &layout, &error), SHAPE, "layer is 2");
    REFUSED(attn_kv_get_layout(kv, 0, NULL, &error), NULL, "layout is NULL");
    REFUSED(attn_kv_get_view(kv, -1, NULL, 1, &view, &error), SHAPE, "layer is -1");
    REFUSED(attn_kv_get_view(kv, 0, NULL, 1, NULL, &error), NULL, "view is NULL");
    REFUSED(attn_kv_get_view(kv, 0, NULL, 4, &view, &error), SHAPE, "count is 4");
    REFUSED(attn_kv_get_usage(kv, 2, &usage, &error), SHAPE, "layer is 2");
    REFUSED(attn_kv_get_usage(kv, 0, NULL, &error), NULL, "usage is NULL");
    REFUSED(attn_kv_get_usage(kv, 0, &usage, &error), STRUCT_SIZE, "usage.struct_size is 0");
    assert_int_equal(count, 34);
    assert_int_equal(attn_kv_length(kv, 2, 0), -1);
    assert_int_equal(attn_kv_keys(kv, 0, -1), -1);
    free(before);
    free(memory);
}

/* An executor that fails: nothing was appended, and the next append is as if it had not been. */
static void test_failing_executor(void **state)
{
    (void)state;
    enum { MANY = 600, WIDE = 64 };
    attn_kv_layer layer = attn_kv_layer_init(ATTN_F32, 1, WIDE, 16);
    attn_kv_config config = attn_kv_config_init(&layer, 1, 1, MANY);
    attn_kv *kv;
    assert_int_equal(attn_kv_create(&kv, &config, NULL, 0, NULL), ATTN_OK);
    float *many = need(MANY * WIDE, sizeof *many);
    for (int i = 0; i < MANY * WIDE; i++)
        many[i] = (float)i;
    attn_kv_rows rows = attn_kv_rows_init(1, 1, MANY, WIDE, ATTN_F32);
    rows.k = rows.v = many;
    ordered_executor_init(&failing, ORDER_FORWARD, 2, 1);
    failing.fail_at_launch = 1;
    attn_error error;
    assert_int_equal(attn_kv_append(kv, 0, &rows, &failing.executor, &error), ATTN_ERR_EXECUTOR);
    assert_int_equal(attn_kv_length(kv, 0, 0), 0);
    assert_int_equal(attn_kv_keys(kv, 0, 0), 0);
    assert_int_equal(attn_kv_append(kv, 0, &rows, &failing.executor, &error), ATTN_OK);
    assert_int_equal(failing.launches, 2); /* it was asked both times: there was work for two */
    attn_kv_view view;
    assert_int_equal(attn_kv_get_view(kv, 0, NULL, 1, &view, NULL), ATTN_OK);
    struct pages pages = {.view = view, .head_size = WIDE, .head_size_v = WIDE};
    attn_kv_get_layout(kv, 0, &pages.layout, NULL);
    for (int n = 0; n < MANY; n++)
        for (int c = 0; c < WIDE; c++)
            assert_true(pages_key(&pages, 0, n, 0, c) == (double)(n * WIDE + c));
    free(many);
    attn_kv_destroy(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptions),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_other_calls),
        cmocka_unit_test(test_failing_executor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
