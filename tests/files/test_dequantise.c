/* Unpacking against plain loops in double, written value by value from the description of each
 * type; against what gguf-py computes (golden/); and the float formats over every 16-bit pattern.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "files/tensor_type.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int every_type[] = {TENSOR_F32,  TENSOR_F16,  TENSOR_BF16, TENSOR_Q8_0,
                                 TENSOR_Q4_0, TENSOR_Q4_1, TENSOR_Q5_0, TENSOR_Q5_1,
                                 TENSOR_Q4_K, TENSOR_Q5_K, TENSOR_Q6_K};
enum { TYPES = sizeof every_type / sizeof every_type[0], LARGEST_BLOCK = 256, BLOCKS = 3 };

/* IEEE binary16 at p, from its definition. */
static double half(const unsigned char *p)
{
    int bits = p[0] | p[1] << 8, exponent = bits >> 10 & 31, fraction = bits & 1023;
    double sign = bits >> 15 ? -1.0 : 1.0;
    if (exponent == 31)
        return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0)
        return sign * ldexp(fraction, -24);
    return sign * ldexp(1024 + fraction, exponent - 25);
}

static double float_at(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

/* Scale and minimum j of the eight of Q4_K and Q5_K; s are their twelve bytes. */
static void k_scale(const unsigned char *s, int j, int *scale, int *minimum)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *minimum = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        *minimum = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    }
}

struct parts {
    double product; /* scale * integer */
    double added;
};

static struct parts k_value(const unsigned char *b, int i, bool five_bits)
{
    int sub = i / 32, l = i % 32, scale, minimum;
    const unsigned char *qh = b + 16, *qs = b + 16 + (five_bits ? 32 : 0);
    int byte = qs[32 * (sub / 2) + l];
    int q = sub % 2 ? byte >> 4 : byte & 15;
    if (five_bits)
        q += 16 * (qh[l] >> sub & 1);
    k_scale(b + 4, sub, &scale, &minimum);
    return (struct parts){half(b) * scale * q, -half(b + 2) * minimum};
}

static struct parts q6_k_value(const unsigned char *b, int i)
{
    int h = i / 128, quarter = i % 128 / 32, l = i % 32;
    const unsigned char *ql = b + 64 * h, *qh = b + 128 + 32 * h, *sc = b + 192 + 8 * h;
    int low = quarter == 0   ? ql[l] & 15
              : quarter == 1 ? ql[l + 32] & 15
              : quarter == 2 ? ql[l] >> 4
                             : ql[l + 32] >> 4;
    int q = (low | (qh[l] >> (2 * quarter) & 3) << 4) - 32;
    int scale = sc[l / 16 + 2 * quarter];
    return (struct parts){half(b + 208) * (scale < 128 ? scale : scale - 256) * q, 0};
}

/* Value i of the block of 32 at b. */
static struct parts small_value(int type, const unsigned char *b, int i)
{
    bool has_minimum = type == TENSOR_Q4_1 || type == TENSOR_Q5_1;
    bool has_high = type == TENSOR_Q5_0 || type == TENSOR_Q5_1;
    const unsigned char *qh = b + (has_minimum ? 4 : 2), *qs = qh + (has_high ? 4 : 0);
    int q = i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
    if (has_high)
        q |= (qh[i / 8] >> i % 8 & 1) << 4;
    if (!has_minimum)
        q -= has_high ? 16 : 8;
    return (struct parts){half(b) * q, has_minimum ? half(b + 2) : 0};
}

static struct parts value_at(int type, const unsigned char *b, int i)
{
    uint32_t bits;
    switch (type) {
    case TENSOR_F32:
        memcpy(&bits, b, sizeof bits);
        return (struct parts){float_at(bits), 0};
    case TENSOR_F16:
        return (struct parts){half(b), 0};
    case TENSOR_BF16:
        return (struct parts){float_at((uint32_t)(b[0] | b[1] << 8) << 16), 0};
    case TENSOR_Q8_0:
        return (struct parts){half(b) * (b[2 + i] < 128 ? b[2 + i] : b[2 + i] - 256), 0};
    case TENSOR_Q4_K:
        return k_value(b, i, false);
    case TENSOR_Q5_K:
        return k_value(b, i, true);
    case TENSOR_Q6_K:
        return q6_k_value(b, i);
    default:
        return small_value(type, b, i);
    }
}

/* Half a unit in the last place is 2^-24 of a value. The product is rounded twice (scale, then
 * integer), the minimum and the sum once each, of at most |product| + |added|: three and two of
 * them cover it, and the second order. Nothing underflows: the smallest scale is 2^-24. A type
 * without arithmetic is exact. */
static bool close_enough(float got, struct parts want, bool exact)
{
    double value = want.product + want.added;
    if (isnan(value))
        return isnan(got);
    if (exact || isinf(value))
        return (double)got == value;
    double bound = ldexp(3.001 * fabs(want.product) + 2.001 * fabs(want.added), -24);
    return fabs((double)got - value) <= bound;
}

static uint32_t random_state;

static unsigned char random_byte(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (unsigned char)(random_state >> 24);
}

/* What a scale may be at its worst: zero, subnormal, largest, infinite, NaN. */
static const uint16_t extremes[] = {0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400,
                                    0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0xfd01};
enum { EXTREMES = sizeof extremes / sizeof extremes[0] };

static void put_scales(int type, unsigned char *block, uint16_t scale)
{
    if (type == TENSOR_F32)
        return;
    memcpy(block + (type == TENSOR_Q6_K ? 208 : 0), &scale, sizeof scale);
    if (type == TENSOR_Q4_1 || type == TENSOR_Q5_1 || type == TENSOR_Q4_K || type == TENSOR_Q5_K) {
        uint16_t other = extremes[random_byte() % EXTREMES];
        memcpy(block + 2, &other, sizeof other);
    }
}

/* Rows of BLOCKS blocks, at every alignment. The row ends where its allocation ends. */
static void check_row(int type, bool extreme, unsigned shift)
{
    const struct tensor_type_info *info = tensor_type_info(type);
    int values = BLOCKS * info->block_values;
    size_t bytes = (size_t)(BLOCKS * info->block_bytes);
    unsigned char *start = malloc(shift + bytes), *row = start + shift;
    float *out = malloc((size_t)values * sizeof *out);
    assert_true(start && out);
    for (size_t i = 0; i < bytes; i++)
        row[i] = random_byte();
    for (int k = 0; k < BLOCKS; k++)
        if (extreme)
            put_scales(type, row + k * info->block_bytes, extremes[random_byte() % EXTREMES]);
    assert_true(dequantise_row(info->type, row, out, values));
    for (int i = 0; i < values; i++) {
        int n = info->block_values;
        struct parts want = value_at(type, row + i / n * info->block_bytes, i % n);
        if (!close_enough(out[i], want, n == 1))
            fail_msg("%s value %d is %.9g, not %.17g", info->name, i, (double)out[i],
                     want.product + want.added);
    }
    free(start);
    free(out);
}

static void random_rows_equal_the_definition(void **state)
{
    (void)state;
    for (int t = 0; t < TYPES; t++)
        for (unsigned i = 0; i < 2000; i++)
            check_row(every_type[t], i % 2 == 1, i % 8);
}

static void every_16_bit_number_is_exact(void **state)
{
    (void)state;
    static uint16_t in[65536];
    static float out[65536];
    for (int i = 0; i < 65536; i++)
        in[i] = (uint16_t)i;
    for (int t = 1; t < 3; t++) {
        assert_true(dequantise_row((enum tensor_type)every_type[t], in, out, 65536));
        for (int i = 0; i < 65536; i++) {
            double want = value_at(every_type[t], (unsigned char *)&in[i], 0).product;
            assert_true(isnan(want) ? isnan(out[i]) : (double)out[i] == want);
            assert_true(isnan(want) || !signbit(out[i]) == (i < 32768));
        }
    }
}

static void bad_rows_are_refused(void **state)
{
    (void)state;
    unsigned char in[256] = {0};
    float out[LARGEST_BLOCK] = {7};
    assert_false(dequantise_row(TENSOR_UNSUPPORTED, in, out, 0));
    assert_false(dequantise_row((enum tensor_type)10, in, out, 256));
    assert_false(dequantise_row(TENSOR_Q8_0, in, out, 31));
    assert_false(dequantise_row(TENSOR_Q8_0, in, out, -32));
    assert_false(dequantise_row(TENSOR_Q6_K, in, out, 32));
    assert_true(dequantise_row(TENSOR_Q6_K, in, out, 0));
    assert_true(dequantise_row(TENSOR_F32, NULL, NULL, 0));
    assert_true(out[0] == 7.0f);
}

static void types_know_their_sizes(void **state)
{
    (void)state;
    assert_int_equal(tensor_row_bytes(TENSOR_Q4_K, 512), 288);
    assert_int_equal(tensor_row_bytes(TENSOR_F32, 3), 12);
    assert_int_equal(tensor_row_bytes(TENSOR_Q4_K, 0), 0);
    assert_int_equal(tensor_row_bytes(TENSOR_Q4_K, 640), -1);
    assert_int_equal(tensor_row_bytes(TENSOR_Q4_K, -256), -1);
    assert_int_equal(tensor_row_bytes(TENSOR_UNSUPPORTED, 32), -1);
    assert_int_equal(tensor_row_bytes(TENSOR_F32, INT64_MAX), -1);
    assert_string_equal(tensor_type_name(12), "Q4_K");
    assert_string_equal(tensor_type_name(10), "Q2_K");
    assert_null(tensor_type_name(99));
    assert_null(tensor_type_name(-1));
    assert_null(tensor_type_name(INT64_MAX));
    assert_null(tensor_type_info(10));
}

/* golden/quantised.bin: for each type an i32 id, an i32 number of values, the blocks, the floats
 * that gguf-py made of them. Its arithmetic is ours in the same order, so the bits are the same. */
static void golden_rows_have_the_same_bits(void **state)
{
    (void)state;
    FILE *file = fopen(ATTN_SOURCE_DIR "/tests/files/golden/quantised.bin", "rb");
    assert_non_null(file);
    int32_t head[2];
    int seen = 0;
    while (fread(head, sizeof head, 1, file) == 1) {
        unsigned char blocks[2048];
        float want[1024], got[1024];
        int64_t bytes = tensor_row_bytes((enum tensor_type)head[0], head[1]);
        assert_in_range(bytes, 1, sizeof blocks);
        assert_in_range(head[1], 1, 1024);
        assert_int_equal(fread(blocks, 1, (size_t)bytes, file), bytes);
        assert_int_equal(fread(want, sizeof *want, (size_t)head[1], file), head[1]);
        assert_true(dequantise_row((enum tensor_type)head[0], blocks, got, head[1]));
        assert_memory_equal(got, want, (size_t)head[1] * sizeof *want);
        seen++;
    }
    fclose(file);
    assert_int_equal(seen, TYPES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_rows_equal_the_definition),
        cmocka_unit_test(every_16_bit_number_is_exact),
        cmocka_unit_test(bad_rows_are_refused),
        cmocka_unit_test(types_know_their_sizes),
        cmocka_unit_test(golden_rows_have_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
