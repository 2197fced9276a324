/* Products of few rows with stored weights: every type and every kernel this machine can run, against
 * dequantise_row and sums in double; and equal bits whatever rows come along.
 *
 * Tolerance: a lane adds up inputs / 8 products at most (two sums of 4 lanes are the narrowest), then the
 * lanes are folded: (inputs / 8 + 8) * 2^-24 of the sum of sizes. Beside it 2^-23 of the largest weight
 * for each x, for the one type whose weights may round otherwise (Q6_K without multiply-add). */
#include "model/few_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <attn/attn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint32_t state_of_random = 1;

static uint32_t random_bits(void)
{
    state_of_random = state_of_random * 1664525u + 1013904223u;
    return state_of_random >> 8;
}

static float random_value(void)
{
    return (float)((int)(random_bits() % 2001) - 1000) / 700.0f;
}

static const enum tensor_type types[] = {TENSOR_F32,  TENSOR_F16,  TENSOR_BF16, TENSOR_Q8_0,
                                         TENSOR_Q4_0, TENSOR_Q4_1, TENSOR_Q5_0, TENSOR_Q5_1,
                                         TENSOR_Q4_K, TENSOR_Q5_K, TENSOR_Q6_K};

enum { TYPES = sizeof types / sizeof types[0], MOST_INPUTS = 800, MOST_OUTPUTS = 11, GAP = 3 };

/* A finite binary16 of any size: subnormal scales are common in real files. */
static void put_half(unsigned char *at)
{
    uint32_t half = random_bits() % 0x3c00 | (random_bits() & 0x8000);
    at[0] = (unsigned char)half;
    at[1] = (unsigned char)(half >> 8);
}

/* Any bytes are weights, as long as the scales are finite. */
static void fill_weights(const struct tensor_type_info *info, unsigned char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (unsigned char)random_bits();
    for (unsigned char *block = at; block < at + bytes; block += info->block_bytes) {
        bool minimum = info->type == TENSOR_Q4_1 || info->type == TENSOR_Q5_1 ||
                       info->type == TENSOR_Q4_K || info->type == TENSOR_Q5_K;
        float value = random_value();
        if (info->type == TENSOR_F32)
            memcpy(block, &value, sizeof value);
        else if (info->type == TENSOR_BF16)
            memcpy(block, (char *)&value + 2, 2);
        else
            put_half(info->type == TENSOR_Q6_K ? block + 208 : block);
        if (minimum)
            put_half(block + 2);
    }
}

static double worst_share; /* of the tolerance */

static void check_output(const struct few_rows *p, int64_t r, int64_t j, const float *w)
{
    double sum = p->bias != NULL ? (double)p->bias[j] : 0, sizes = fabs(sum), x_sizes = 0;
    double largest = 0;
    for (int64_t i = 0; i < p->inputs; i++) {
        double x = (double)p->x[r * p->inputs + i];
        sum += x * (double)w[i];
        sizes += fabs(x * (double)w[i]);
        x_sizes += fabs(x);
        largest = fmax(largest, fabs((double)w[i]));
    }
    double allowed = ((double)(p->inputs / 8) + 8) * 0x1p-24 * sizes + 0x1p-23 * largest * x_sizes;
    double off = fabs((double)p->out[r * p->stride + j] - sum);
    if (!(off <= allowed))
        fail_msg("type %d, %lld inputs, row %lld of %lld, output %lld: %.9g instead of %.9g",
                 (int)p->type, (long long)p->inputs, (long long)r, (long long)p->rows, (long long)j,
                 (double)p->out[r * p->stride + j], sum);
    worst_share = fmax(worst_share, off / allowed);
}

/* One shape with all its numbers of rows. Weights begin at an odd address. */
static void check_shape(few_rows_kernel *kernel, const struct tensor_type_info *info,
                        int64_t inputs, int64_t outputs, bool with_bias)
{
    static float x[FEW_ROWS * MOST_INPUTS], bias[MOST_OUTPUTS], w[MOST_INPUTS];
    static float out[FEW_ROWS * (MOST_OUTPUTS + GAP)], alone[MOST_OUTPUTS];
    static float unpacked[UNPACKED_OUTPUTS * (MOST_INPUTS + 31)];
    static unsigned char room[MOST_INPUTS * 4 * MOST_OUTPUTS + 1];
    unsigned char *weights = room + 1;
    size_t row_bytes = (size_t)tensor_row_bytes(info->type, inputs);
    fill_weights(info, weights, row_bytes * (size_t)outputs);
    for (int64_t i = 0; i < FEW_ROWS * inputs; i++)
        x[i] = random_value();
    for (int64_t j = 0; j < outputs; j++)
        bias[j] = random_value();
    static const int64_t most[] = {50, FEW_ROWS - 1, FEW_ROWS};
    for (int n = 0; n < 16; n++) {
        const int64_t rows = n < 13 ? n + 1 : most[n - 13];
        struct few_rows p = {
            info->type, weights, row_bytes, inputs,        outputs, with_bias ? bias : NULL,
            x,          rows,    out,       outputs + GAP, unpacked};
        for (int64_t i = 0; i < FEW_ROWS * (outputs + GAP); i++)
            out[i] = -77;
        kernel(&p);
        for (int64_t j = 0; j < outputs; j++) {
            assert_true(dequantise_row(info->type, weights + (size_t)j * row_bytes, w, inputs));
            for (int64_t r = 0; r < rows; r++)
                check_output(&p, r, j, w);
        }
        for (int64_t i = 0; i < FEW_ROWS * (outputs + GAP); i++)
            if (i % (outputs + GAP) >= outputs || i / (outputs + GAP) >= rows)
                assert_true(out[i] == -77);
        for (int64_t r = 0; r < rows; r++) {
            struct few_rows one = p;
            one.x = x + r * inputs, one.rows = 1, one.out = alone;
            kernel(&one);
            assert_memory_equal(alone, out + r * p.stride, (size_t)outputs * sizeof *alone);
        }
    }
}

static void check_kernel(few_rows_kernel *kernel)
{
    static const int64_t any[] = {1, 31, 32, 33, 95, 800}, blocks[] = {1, 2, 3, 25};
    for (int t = 0; t < TYPES; t++) {
        const struct tensor_type_info *info = tensor_type_info(types[t]);
        int64_t block = info->block_values;
        for (int i = 0; block == 1 && i < 6; i++)
            check_shape(kernel, info, any[i], i == 3 ? MOST_OUTPUTS : 5, i % 2 == 0);
        for (int i = 0; block > 1 && i < 4; i++)
            if (blocks[i] * block <= MOST_INPUTS)
                check_shape(kernel, info, blocks[i] * block, i == 0 ? 1 : MOST_OUTPUTS, i % 2 == 0);
    }
    print_message("at most %.2f of what is allowed\n", worst_share);
}

static void baseline(void **state)
{
    (void)state;
    check_kernel(few_rows_portable);
}

#if defined(__x86_64__)
static bool machine_has(const char *path)
{
    attn_cpu cpu = {.struct_size = sizeof cpu};
    attn_cpu_describe(&cpu, NULL);
    return strstr(cpu.paths, path) != NULL;
}

static void avx2(void **state)
{
    (void)state;
    if (!machine_has("avx2"))
        skip();
    check_kernel(few_rows_avx2);
}

static void avx512(void **state)
{
    (void)state;
    if (!machine_has("avx512"))
        skip();
    check_kernel(few_rows_avx512);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(baseline),
#if defined(__x86_64__)
        cmocka_unit_test(avx2),
        cmocka_unit_test(avx512),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
