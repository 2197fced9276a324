/* A value that is not finite, seen by some rows of a block and unseen by others, reaches those that see it and
 * no other: whatever the type, whether an element is so or a scale. */
#include <attn/kv.h>

#include "attention/path.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { HQ = 6, HKV = 2, GROUP = HQ / HKV, QUERIES = 3, N = 40, D = 16, ROWS = HKV * N };

/* Heads 0 and 1 of a cache in one page; keys of f32, values of the type asked for. */
struct cache {
    attn_kv_layout layout;
    attn_kv_view view;
    int32_t indptr[2], indices[1], last[1];
    float k[ROWS * D];
    _Alignas(4) unsigned char v[ROWS * D * sizeof(float)];
    float scales[ROWS];
    float q[HQ * QUERIES * D], o[HQ * QUERIES * D], ordinary[HQ * QUERIES * D];
};

/* Small whole numbers, 0 among them, that every type holds. */
static int whole(int row, int d)
{
    return (row + 3 * d) % 7 - 3;
}

static void set_whole(struct cache *c, int row, int d, int x)
{
    const size_t at = (size_t)(row * D + d);
    const float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    switch (c->layout.v_dtype) {
    case ATTN_F32:
        memcpy(c->v + 4 * at, &f, sizeof f);
        break;
    case ATTN_BF16: /* exact: whole numbers below 4 have two bits */
        memcpy(c->v + 2 * at, &(uint16_t){(uint16_t)(bits >> 16)}, 2);
        break;
    case ATTN_F16: /* an exponent of 5 bits about 15, the first 10 of the fraction */
        bits = x == 0 ? 0 : (bits >> 16 & 0x8000) | ((bits >> 13 & 0x3ffff) - (112 << 10));
        memcpy(c->v + 2 * at, &(uint16_t){(uint16_t)bits}, 2);
        break;
    case ATTN_INT8:
        c->v[at] = (unsigned char)(int8_t)x;
        break;
    default: { /* INT4, one group of all D: channel d and d + D / 2 share a byte */
        unsigned char *byte = c->v + (size_t)row * D / 2 + (size_t)d % (D / 2);
        *byte = (unsigned char)(d < D / 2 ? (*byte & 240) | (x + 8) : (*byte & 15) | (x + 8) << 4);
    }
    }
}

static struct cache *make(attn_dtype dtype)
{
    struct cache *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->layout = attn_kv_layout_init(ATTN_F32, HKV, N, D);
    const attn_kv_layout values = attn_kv_layout_init(dtype, HKV, N, D);
    c->layout.v_dtype = dtype;
    c->layout.group = values.group;
    memcpy(c->layout.v_scale_stride, values.v_scale_stride, sizeof values.v_scale_stride);
    c->view = attn_kv_view_init();
    c->view.k = c->k, c->view.v = c->v;
    c->view.v_scale = dtype >= ATTN_INT8 ? c->scales : NULL;
    c->view.pages = 1;
    c->indptr[1] = 1, c->last[0] = N;
    c->view.indptr = c->indptr, c->view.indices = c->indices, c->view.last_page_len = c->last;
    for (int row = 0; row < ROWS; row++) {
        c->scales[row] = 0.5f + 0.01f * (float)row;
        for (int d = 0; d < D; d++) {
            c->k[row * D + d] = (float)whole(row, 2 * d + 1) / 4;
            set_whole(c, row, d, whole(row, d));
        }
    }
    for (int i = 0; i < HQ * QUERIES * D; i++)
        c->q[i] = (float)whole(i, 5) / 4;
    return c;
}

/* What shall not be finite: the scale of a row where there is one, else an element of it. */
static void spoil(struct cache *c, int row, int d, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const size_t at = (size_t)(row * D + d);
    if (c->layout.v_dtype >= ATTN_INT8)
        c->scales[row] = value;
    else if (c->layout.v_dtype == ATTN_F32)
        memcpy(c->v + 4 * at, &value, sizeof value);
    else { /* the sign, all ones in the exponent, and one more for a NaN */
        const uint32_t ones = c->layout.v_dtype == ATTN_F16 ? 0x7c00 : 0x7f80;
        const uint16_t half = (uint16_t)((bits >> 16 & 0x8000) | ones | (isnan(value) ? 0x40 : 0));
        memcpy(c->v + 2 * at, &half, 2);
    }
}

/* What element d of the row is then: the spoilt one, or what the scale makes of it. */
static float spoilt(const struct cache *c, int row, int d, int at, float value)
{
    if (c->layout.v_dtype >= ATTN_INT8)
        return value * (float)whole(row, d);
    return d == at ? value : (float)whole(row, d);
}

static void run(struct cache *c, bool window, float *o)
{
    attn_problem p = attn_problem_init(1, HQ, HKV, QUERIES, N, D);
    p.cache = &c->layout;
    p.causal = !window;
    if (window)
        p.window.left = N - QUERIES;
    attn_args args = attn_args_init(&p);
    args.cache = &c->view;
    args.q = c->q, args.o = o;
    attn_error error;
    if (attn_forward(&p, &args, NULL, &error) != ATTN_OK)
        fail_msg("%s", error.message);
}

/* By the causal mask the last key is seen by the last row alone, by the window the first by the first. */
static void check(attn_dtype dtype, bool window, float value)
{
    struct cache *c = make(dtype);
    const int key = window ? 0 : N - 1, seer = window ? 0 : QUERIES - 1, at = 5, head = 1;
    const int row = head * N + key;
    run(c, window, c->ordinary);
    spoil(c, row, at, value);
    run(c, window, c->o);
    for (int h = 0; h < HQ; h++)
        for (int i = 0; i < QUERIES; i++)
            for (int d = 0; d < D; d++) {
                const int n = (h * QUERIES + i) * D + d;
                const float x = spoilt(c, row, d, at, value);
                const float got = c->o[n], was = c->ordinary[n];
                assert_true(isfinite(was));
                const bool sees = h / GROUP == head && i == seer;
                /* its sum is then taken in another order: N additions of numbers below 4 */
                const float bound = sees ? N * 4 * 0x1p-24f : 0;
                if (!sees || isfinite(x) ? !(fabsf(got - was) <= bound)
                    : isnan(x)           ? !isnan(got)
                                         : got != x)
                    fail_msg("values of type %d, %s, one made %g: o[%d][%d][%d] is %g, was %g",
                             (int)dtype, window ? "window" : "causal", (double)value, h, i, d,
                             (double)got, (double)was);
            }
    free(c);
}

static void only_who_sees(void **state)
{
    (void)state;
    static const float values[] = {NAN, INFINITY, -INFINITY};
    for (int dtype = ATTN_F32; dtype <= ATTN_INT4; dtype++)
        for (int i = 0; i < 3; i++)
            for (int window = 0; window < 2; window++)
                check((attn_dtype)dtype, window, values[i]);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_who_sees)};
    return cmocka_run_group_tests_name("decode_apart", tests, NULL, NULL);
}
