/* What a number becomes in storage: floats bit for bit as IEEE 754 rounds them, quantised rows by their
 * definition, NaN, Inf and the smallest; and windows, sinks and lengths of a few cases by hand. */
#include <attn/rotary.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "attention/hostile.h"
#include "base/half.h"
#include "kv/pages.h"

#include <cmocka.h>

enum { WIDE = 64 };

/* A cache of one sequence and head, `size` channels, keys and values of one type. */
static attn_kv *create(attn_kv_layer *layer, int64_t tokens, int64_t step)
{
    attn_kv_config config = attn_kv_config_init(layer, 1, 1, tokens);
    config.step = step;
    attn_kv *kv;
    attn_error error;
    if (attn_kv_create(&kv, &config, NULL, 0, &error))
        fail_msg("%s", error.message);
    return kv;
}

static void append(attn_kv *kv, const float *x, int64_t tokens, int64_t size)
{
    attn_kv_rows rows = attn_kv_rows_init(1, 1, tokens, size, ATTN_F32);
    attn_error error;
    rows.k = rows.v = x;
    if (attn_kv_append(kv, 0, &rows, NULL, &error))
        fail_msg("%s", error.message);
}

static struct pages pages_of(attn_kv *kv, int64_t size)
{
    struct pages pages = {.head_size = size, .head_size_v = size};
    attn_kv_get_layout(kv, 0, &pages.layout, NULL);
    attn_kv_get_view(kv, 0, NULL, 1, &pages.view, NULL);
    return pages;
}

/* Every exponent, with fractions around every border of rounding, and numbers that break careless code. */
static void test_floats(void **state)
{
    (void)state;
    static const uint32_t fractions[] = {0,        1,        0xfff,    0x1000,   0x1001,   0x1fff,
                                         0x2000,   0x2fff,   0x3000,   0x3001,   0x7fff,   0x8000,
                                         0x8001,   0x17fff,  0x18000,  0x7fefff, 0x7ff000, 0x7fffff,
                                         0x400000, 0x2aaaaa, 0x555555, 0x000fff};
    enum { FRACTIONS = sizeof fractions / sizeof fractions[0], COUNT = 512 * FRACTIONS };
    static float x[(COUNT + WIDE) / WIDE * WIDE];
    for (uint32_t i = 0; i < COUNT; i++)
        x[i] = attn_float_of_bits((i / FRACTIONS) << 23 | fractions[i % FRACTIONS]);
    const int64_t rows = sizeof x / sizeof x[0] / WIDE;
    for (int type = ATTN_F32; type <= ATTN_F16; type++) {
        attn_kv_layer layer = attn_kv_layer_init((attn_dtype)type, 1, WIDE, 7);
        attn_kv *kv = create(&layer, rows, rows);
        append(kv, x, rows, WIDE);
        struct pages pages = pages_of(kv, WIDE);
        for (int64_t n = 0; n < rows; n++)
            for (int64_t c = 0; c < WIDE; c++) {
                const float given = x[n * WIDE + c];
                const double want = attn_ref_rounded((attn_dtype)type, (double)given);
                const double got = pages_key(&pages, 0, n, 0, c);
                if (given != given ? got == got : got != want || !signbit(got) != !signbit(given))
                    fail_msg("%a as type %d: %a, not %a", (double)given, type, got, want);
                assert_true(pages_value(&pages, 0, n, 0, c) == got || given != given);
                if (type == ATTN_F16) { /* the same bits as one number at a time, NaN too */
                    const struct pages_slot s = pages_slot_of(&pages, 0, n);
                    const uint16_t *row =
                        (const uint16_t *)pages.view.k + pages_row(pages.layout.k_stride, s, 0);
                    assert_int_equal(row[c], attn_f32_to_f16(given));
                }
            }
        attn_kv_destroy(kv);
    }
}

/* The scale is the largest magnitude over 127 (7), rounded once; a quantised number is nearest, with ties to
 * even: of magnitudes that are multiples of the scale and halves between. */
static void test_quantised(void **state)
{
    (void)state;
    static const struct {
        attn_dtype dtype;
        int most;
    } types[] = {{ATTN_INT8, 127}, {ATTN_INT4, 7}};
    for (int i = 0; i < 2; i++)
        for (int exponent = -90; exponent <= 100; exponent += 19) {
            attn_kv_layer layer = attn_kv_layer_init(types[i].dtype, 1, WIDE, 4);
            layer.group = types[i].dtype == ATTN_INT4 ? WIDE : 0;
            attn_kv *kv = create(&layer, 8, 8);
            float x[WIDE];
            const double scale = ldexp(1, exponent);
            for (int c = 0; c < WIDE; c++) /* 0, 1/2, 1, 3/2 ... of the scale, both signs */
                x[c] = (float)((c % 2 ? -1 : 1) * (c % (2 * types[i].most)) / 2.0 * scale);
            x[WIDE - 1] = (float)(-types[i].most * scale);
            append(kv, x, 1, WIDE);
            struct pages pages = pages_of(kv, WIDE);
            assert_true((double)pages.view.k_scale[0] == scale);
            for (int c = 0; c < WIDE; c++) {
                const double want = nearbyint((double)x[c] / scale) * scale;
                assert_true(pages_key(&pages, 0, 0, 0, c) == want);
                assert_true(pages_value(&pages, 0, 0, 0, c) == want);
            }
            attn_kv_destroy(kv);
        }
}

/* NaN and Inf make all that share their scale NaN, and nothing else; rows of numbers below 2^-100 are 0. */
static void test_hostile(void **state)
{
    (void)state;
    struct random random = {11};
    for (int type = ATTN_INT8; type <= ATTN_INT4; type++)
        for (int trial = 0; trial < 200; trial++) {
            attn_kv_layer layer = attn_kv_layer_init((attn_dtype)type, 1, WIDE, 4);
            const int64_t group = type == ATTN_INT4 ? layer.group : WIDE;
            attn_kv *kv = create(&layer, 8, 8);
            float x[WIDE];
            for (int c = 0; c < WIDE; c++)
                x[c] = (float)random_normal(&random);
            const int64_t where = random_between(&random, 0, WIDE - 1);
            hostile_store(x, ATTN_F32, where, &random);
            append(kv, x, 1, WIDE);
            struct pages pages = pages_of(kv, WIDE);
            for (int c = 0; c < WIDE; c++) {
                const double got = pages_key(&pages, 0, 0, 0, c);
                if (c / group == where / group && !isfinite(x[where]))
                    assert_true(got != got);
                else
                    assert_true(isfinite(got));
            }
            attn_kv_destroy(kv);
        }
    attn_kv_layer layer = attn_kv_layer_init(ATTN_INT8, 1, WIDE, 4);
    attn_kv *kv = create(&layer, 8, 8);
    float x[3 * WIDE] = {0x1p-149f, -0x1.8p-101f};
    x[WIDE] = 0x1p-100f;
    x[2 * WIDE] = 0x1.fffffep127f;
    append(kv, x, 3, WIDE);
    struct pages pages = pages_of(kv, WIDE);
    for (int c = 0; c < WIDE; c++)
        assert_true(pages_key(&pages, 0, 0, 0, c) == 0);
    assert_true(fabs(pages_key(&pages, 0, 1, 0, 0) / 0x1p-100 - 1) < 1e-6);
    assert_true(fabs(pages_key(&pages, 0, 2, 0, 0) / 0x1.fffffep127 - 1) < 1e-6);
    attn_kv_destroy(kv);
}

/* A window in decoding holds itself and less than a page more, from a pool of no more than a step above; with
 * sinks their pages too. */
static void test_window(void **state)
{
    (void)state;
    enum { PAGE = 16, WINDOW = 100, LENGTH = 5000, STEP = 64 };
    static float x[STEP * 2];
    for (int64_t sinks = 0; sinks <= 20; sinks += 20) {
        attn_kv_layer layer = attn_kv_layer_init(ATTN_F32, 1, 2, PAGE);
        layer.window = WINDOW;
        layer.sinks = sinks;
        attn_kv *kv = create(&layer, INT32_MAX, STEP);
        attn_kv_usage usage = {.struct_size = sizeof usage};
        attn_kv_get_usage(kv, 0, &usage, NULL);
        const int64_t for_sinks = (sinks + PAGE - 1) / PAGE;
        assert_true(usage.pages <= for_sinks + (WINDOW + STEP) / PAGE + 2);
        for (int64_t n = 0; n < LENGTH;) {
            const int64_t step = n < 1000 ? STEP : 1;
            append(kv, x, step, 2);
            n += step;
            attn_kv_get_usage(kv, 0, &usage, NULL);
            const int64_t keys = attn_kv_keys(kv, 0, 0);
            assert_int_equal(attn_kv_length(kv, 0, 0), n);
            if (n > 1064) { /* steps of one */
                if (sinks == 0)
                    assert_int_equal(keys, WINDOW);
                else /* at both ends of what was let go of, less than a page */
                    assert_in_range(keys, sinks + WINDOW, sinks + WINDOW + 2 * (PAGE - 1));
                assert_in_range(usage.pages_used, 1, for_sinks + (WINDOW + PAGE - 1) / PAGE + 1);
            }
        }
        /* drafts appended at once may all be taken back, at any time */
        append(kv, x, 8, 2);
        assert_int_equal(attn_kv_truncate(kv, 0, LENGTH, NULL), ATTN_OK);
        attn_kv_destroy(kv);
    }
}

/* Back among the sinks, a window begins anew: what comes then has not been let go of. */
static void test_back_to_sinks(void **state)
{
    (void)state;
    static float x[2];
    attn_kv_layer layer = attn_kv_layer_init(ATTN_F32, 1, 2, 4);
    layer.window = 50;
    layer.sinks = 20;
    attn_kv *kv = create(&layer, 1000, 1);
    for (int n = 0; n < 300; n++)
        append(kv, x, 1, 2);
    assert_int_equal(attn_kv_truncate(kv, 0, 10, NULL), ATTN_OK);
    for (int n = 0; n < 60; n++)
        append(kv, x, 1, 2);
    assert_int_equal(attn_kv_length(kv, 0, 0), 70);
    assert_int_equal(attn_kv_keys(kv, 0, 0), 70);
    attn_kv_destroy(kv);
}

/* A window of nearly all that a sequence may have, begun in the middle of a page. */
static void test_wide_window(void **state)
{
    (void)state;
    static float x[2];
    attn_kv_layer layer = attn_kv_layer_init(ATTN_F32, 1, 2, 16);
    layer.window = 31;
    attn_kv *kv = create(&layer, 32, 1);
    for (int n = 0; n < 200; n++)
        append(kv, x, 1, 2);
    assert_int_equal(attn_kv_keys(kv, 0, 0), 31);
    attn_kv_destroy(kv);
}

/* Keys of two layers that turn differently, a token at a time in turn: to the last bit what attn_rotary_apply
 * makes of all at once, far enough for angles of more than one block. */
static void test_rotary(void **state)
{
    (void)state;
    enum { LENGTH = 200, SIZE = 8 };
    static float x[LENGTH * SIZE], turned[2][LENGTH * SIZE];
    attn_rotary rotary[2] = {attn_rotary_init(SIZE), attn_rotary_init(6)};
    attn_kv_layer layers[2] = {attn_kv_layer_init(ATTN_F32, 1, SIZE, 16),
                               attn_kv_layer_init(ATTN_F32, 1, SIZE, 16)};
    const attn_layout layout = attn_layout_bhsd(ATTN_F32, 1, LENGTH, SIZE);
    struct random random = {3};
    rotary[1].base = 100;
    rotary[1].pairing = ATTN_ROTARY_NEIGHBOURS;
    for (int i = 0; i < LENGTH * SIZE; i++)
        x[i] = (float)random_normal(&random);
    for (int i = 0; i < 2; i++) {
        layers[i].rotary = &rotary[i];
        assert_int_equal(attn_rotary_apply(&rotary[i], 1, 1, LENGTH, SIZE, x, &layout, turned[i],
                                           &layout, NULL, NULL, NULL),
                         ATTN_OK);
    }
    attn_kv_config config = attn_kv_config_init(layers, 2, 1, LENGTH);
    attn_kv *kv;
    assert_int_equal(attn_kv_create(&kv, &config, NULL, 0, NULL), ATTN_OK);
    attn_kv_rows rows = attn_kv_rows_init(1, 1, 1, SIZE, ATTN_F32);
    for (int n = 0; n < LENGTH; n++)
        for (int i = 0; i < 2; i++) {
            rows.k = rows.v = x + n * SIZE;
            assert_int_equal(attn_kv_append(kv, i, &rows, NULL, NULL), ATTN_OK);
        }
    for (int i = 0; i < 2; i++) {
        struct pages pages = {.head_size = SIZE, .head_size_v = SIZE};
        attn_kv_get_layout(kv, i, &pages.layout, NULL);
        attn_kv_get_view(kv, i, NULL, 1, &pages.view, NULL);
        for (int n = 0; n < LENGTH; n++)
            for (int c = 0; c < SIZE; c++)
                assert_true(pages_key(&pages, 0, n, 0, c) == (double)turned[i][n * SIZE + c]);
    }
    attn_kv_destroy(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats),      cmocka_unit_test(test_quantised),
        cmocka_unit_test(test_hostile),     cmocka_unit_test(test_rotary),
        cmocka_unit_test(test_window),      cmocka_unit_test(test_back_to_sinks),
        cmocka_unit_test(test_wide_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
