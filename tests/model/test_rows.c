/* Operations on rows against their definitions in double.
 *
 * Tolerances: an exponential is within 2 ulp (2.4e-7); what is built from it adds a few roundings of
 * 6e-8. Sums of n terms in 16 lanes: n/16 roundings each at most, in practice far less. */
#include "model/rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

static void relative(double ours, double exact, double tolerance, double at)
{
    if (!(fabs(ours - exact) <= tolerance * fabs(exact) + 1e-37))
        fail_msg("%.9g instead of %.9g at %g", ours, exact, at);
}

static void exponentials(void **state)
{
    (void)state;
    for (double x = -87; x <= 0; x += 0.00371) {
        float value = (float)x;
        relative(sum_of_exponentials(&value, 0, 1), exp((double)value), 3e-7, x);
    }
    const float values[5] = {-100, -INFINITY, 0, 0, 0};
    assert_true(sum_of_exponentials(values, 0, 2) < 1e-37);
    assert_true(sum_of_exponentials(values, 0, 5) == 3);
    float many[1000];
    double sum = 0;
    for (int i = 0; i < 1000; i++) {
        many[i] = (float)i / 100;
        sum += exp((double)many[i] - 10);
    }
    relative(sum_of_exponentials(many, 10, 1000), sum, 1e-6, 0);
}

/* The activations keep their relative accuracy where they are tiny: the error is measured against
 * the exact value but, in the far left tail where 1 + tanh has cancelled even in theory, against
 * |x| e^-80. */
static void activations(void **state)
{
    (void)state;
    const double root = sqrt(2 / acos(-1.0));
    for (double at = -12; at <= 12; at += 0.00173) {
        double x = (double)(float)at;
        float tanh_form = (float)x, erf_form = (float)x, silu = (float)x;
        const float up = 3;
        activate_row(ACTIVATION_GELU_TANH, &tanh_form, NULL, 1);
        activate_row(ACTIVATION_GELU_ERF, &erf_form, NULL, 1);
        activate_row(ACTIVATION_SILU, &silu, &up, 1);
        double u = root * (x + 0.044715 * x * x * x);
        double exact = x / (1 + exp(-2 * u));
        /* u reaches -38 here; its own rounding is amplified by that much. */
        relative((double)tanh_form, exact, 3e-7 * (1 + fabs(u)), x);
        relative((double)silu, 3 * x / (1 + exp(-x)), 1e-6, x);
        assert_true(fabs((double)erf_form - x * 0.5 * erfc(-x / sqrt(2))) <= 1.5e-7 * fabs(x));
    }
    float far[2] = {-1e4f, 1e4f}, nan = NAN;
    activate_row(ACTIVATION_GELU_TANH, far, NULL, 2);
    assert_true(fabsf(far[0]) < 1e-30f && far[1] == 1e4f);
    activate_row(ACTIVATION_GELU_TANH, &nan, NULL, 1);
    assert_true(isnan(nan));
}

static void norms(void **state)
{
    (void)state;
    enum { SIZE = 37 };
    float x[SIZE], weight[SIZE], bias[SIZE], out[SIZE];
    double mean = 0, square = 0, variance = 0;
    for (int i = 0; i < SIZE; i++) {
        x[i] = (float)(3 + sin(i * 1.7) * 2);
        weight[i] = (float)(1 + i * 0.01);
        bias[i] = (float)i - 10;
        mean += (double)x[i] / SIZE;
        square += (double)x[i] * (double)x[i] / SIZE;
    }
    for (int i = 0; i < SIZE; i++)
        variance += ((double)x[i] - mean) * ((double)x[i] - mean) / SIZE;
    const struct norm norm = {weight, NULL}, biased = {weight, bias};
    norm_row(NORM_RMS, &norm, 0.01, x, out, SIZE);
    for (int i = 0; i < SIZE; i++)
        relative((double)out[i], (double)x[i] / sqrt(square + 0.01) * (double)weight[i], 5e-7, i);
    norm_row(NORM_LAYER, &biased, 0.01, x, out, SIZE);
    for (int i = 0; i < SIZE; i++) {
        double scaled = ((double)x[i] - mean) / sqrt(variance + 0.01) * (double)weight[i];
        assert_true(fabs((double)out[i] - (scaled + (double)bias[i])) < 3e-6);
    }
    norm_row(NORM_LAYER, &biased, 0.01, x, x, SIZE);
    assert_memory_equal(x, out, sizeof out);
}

static void rotation(void **state)
{
    (void)state;
    enum { SIZE = 6, HEAD = 8, POSITION = 1234 };
    double frequency[SIZE / 2];
    float cosine[SIZE / 2], sine[SIZE / 2];
    rotary_frequencies(10000, 4, SIZE, frequency);
    rotary_angles(frequency, SIZE / 2, POSITION, cosine, sine);
    for (int kind = ROTARY_HALVES; kind <= ROTARY_PAIRS; kind++) {
        float x[2 * HEAD], before[2 * HEAD];
        for (int i = 0; i < 2 * HEAD; i++)
            x[i] = before[i] = (float)i + 1;
        rotate_row((enum rotary_kind)kind, x, 2, HEAD, SIZE, cosine, sine);
        for (int h = 0; h < 2; h++) {
            for (int i = 0; i < SIZE / 2; i++) {
                int a = h * HEAD + (kind == ROTARY_HALVES ? i : 2 * i);
                int b = h * HEAD + (kind == ROTARY_HALVES ? i + SIZE / 2 : 2 * i + 1);
                double angle = POSITION / 4.0 * pow(10000, -2.0 * i / SIZE);
                double u = (double)before[a], v = (double)before[b];
                assert_true(fabs((double)x[a] - (u * cos(angle) - v * sin(angle))) < 5e-6);
                assert_true(fabs((double)x[b] - (u * sin(angle) + v * cos(angle))) < 5e-6);
            }
            for (int i = SIZE; i < HEAD; i++) /* the rest of the head stays */
                assert_true(x[h * HEAD + i] == before[h * HEAD + i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponentials),
        cmocka_unit_test(activations),
        cmocka_unit_test(norms),
        cmocka_unit_test(rotation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
