/* Linear layers against sums in double: several matrices at once, matrices larger than the room for
 * unpacked weights, every number of rows around the borders of pieces.
 *
 * Tolerance: a sum of k products of size at most 1 in f32, in any order, is off by less than
 * k * 6e-8 * k in the worst case and about sqrt(k) * 6e-8 in practice; 1e-5 * sqrt(k) bounds it. */
#include "model/linear.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

static float value_at(int64_t i)
{
    return (float)((i * 7919 + i / 13) % 251 - 125) / 128.0f; /* exact in bf16's 8 bits */
}

/* outputs x inputs values in BF16 or F32; `shift` makes matrices differ. */
static struct file_tensor make_tensor(int64_t inputs, int64_t outputs, enum tensor_type type,
                                      int64_t shift)
{
    struct file_tensor t = {.name = "w", .type = type, .ndim = 2, .dims = {inputs, outputs, 1, 1}};
    t.values = inputs * outputs;
    t.rows = outputs;
    t.row_bytes = (size_t)tensor_row_bytes(type, inputs);
    t.bytes = t.row_bytes * (size_t)outputs;
    float *floats = malloc((size_t)t.values * sizeof *floats);
    uint16_t *halves = (uint16_t *)floats;
    for (int64_t i = 0; i < t.values; i++) {
        union {
            float value;
            uint32_t bits;
        } u = {.value = value_at(i + shift)};
        if (type == TENSOR_F32)
            floats[i] = u.value;
        else
            halves[i] = (uint16_t)(u.bits >> 16);
    }
    t.data = floats;
    return t;
}

static float *make_rows(int64_t rows, int64_t inputs)
{
    float *x = malloc((size_t)(rows * inputs) * sizeof *x);
    for (int64_t i = 0; i < rows * inputs; i++)
        x[i] = value_at(3 * i + 1);
    return x;
}

static void check(const float *x, int64_t rows, const struct matrix *m, int64_t shift,
                  int64_t first, int64_t outputs, const float *out, int64_t stride)
{
    for (int64_t r = 0; r < rows; r++)
        /* all of a small matrix, a sample of a large one */
        for (int64_t j = 0; j<outputs; j += outputs> 2000 ? 97 : 1) {
            double sum = m->bias != NULL ? (double)m->bias[first + j] : 0;
            for (int64_t i = 0; i < m->inputs; i++)
                sum += (double)x[r * m->inputs + i] *
                       (double)value_at((first + j) * m->inputs + i + shift);
            if (!(fabs((double)out[r * stride + j] - sum) < 1e-5 * sqrt((double)m->inputs)))
                fail_msg("row %lld, output %lld of %lld inputs: %.9g instead of %.9g", (long long)r,
                         (long long)j, (long long)m->inputs, (double)out[r * stride + j], sum);
        }
}

/* Three matrices of different widths and types on the same rows, two with a bias. */
static void several_products(void **state)
{
    (void)state;
    enum { INPUTS = 70 };
    const int64_t outputs[3] = {513, 3, 1030};
    const enum tensor_type types[3] = {TENSOR_BF16, TENSOR_F32, TENSOR_BF16};
    float bias[1030];
    for (int i = 0; i < 1030; i++)
        bias[i] = (float)(i % 17) - 8;
    struct file_tensor tensors[3];
    struct matrix matrices[3];
    for (int i = 0; i < 3; i++) {
        tensors[i] = make_tensor(INPUTS, outputs[i], types[i], 100 * i);
        matrices[i] = (struct matrix){&tensors[i], INPUTS, outputs[i], i > 0 ? bias : NULL};
    }
    struct linear *linear = linear_create(attn_default_executor());
    const int64_t counts[] = {1, 2, 511, 512, 513, 1100};
    for (int c = 0; c < 6; c++) {
        int64_t rows = counts[c];
        float *x = make_rows(rows, INPUTS), *out[3];
        struct product products[3];
        for (int i = 0; i < 3; i++) {
            out[i] = malloc((size_t)(rows * (outputs[i] + 2)) * sizeof(float));
            products[i] = (struct product){&matrices[i], out[i], outputs[i] + 2};
        }
        struct failure f = {""};
        assert_true(linear_run(linear, x, rows, INPUTS, products, 3, &f));
        for (int i = 0; i < 3; i++) {
            check(x, rows, &matrices[i], 100 * i, 0, outputs[i], out[i], outputs[i] + 2);
            free(out[i]);
        }
        free(x);
    }
    linear_free(linear);
    for (int i = 0; i < 3; i++)
        free((void *)tensors[i].data);
}

/* 9000 x 1000 values need three panels; the second matrix begins in what the first leaves. */
static void larger_than_a_panel(void **state)
{
    (void)state;
    struct file_tensor large = make_tensor(1000, 9000, TENSOR_BF16, 0);
    struct file_tensor small = make_tensor(1000, 300, TENSOR_BF16, 50);
    float *bias = make_rows(1, 9000);
    const struct matrix a = {&large, 1000, 9000, bias}, b = {&small, 1000, 300, NULL};
    float *x = make_rows(3, 1000);
    float *out = malloc(3 * 9000 * sizeof *out), *more = malloc(3 * 300 * sizeof *more);
    const struct product products[2] = {{&a, out, 9000}, {&b, more, 300}};
    struct linear *linear = linear_create(NULL);
    struct failure f = {""};
    assert_true(linear_run(linear, x, 3, 1000, products, 2, &f));
    check(x, 3, &a, 0, 0, 9000, out, 9000);
    check(x, 3, &b, 50, 0, 300, more, 300);
    assert_true(linear_run_part(linear, x, 3, &a, 8111, 200, more, 300, &f));
    const struct matrix plain = {&large, 1000, 9000, NULL};
    check(x, 3, &plain, 0, 8111, 200, more, 300);
    linear_free(linear);
    free(x), free(out), free(more), free(bias);
    free((void *)large.data), free((void *)small.data);
}

static int failing(void *context, int64_t count, attn_task task, void *argument)
{
    (void)context, (void)count, (void)task, (void)argument;
    return 3;
}

static void executor_that_fails(void **state)
{
    (void)state;
    attn_executor executor = {sizeof executor, NULL, 2, failing};
    struct file_tensor tensor = make_tensor(8, 4, TENSOR_F32, 0);
    const struct matrix matrix = {&tensor, 8, 4, NULL};
    float x[8] = {0}, out[4];
    const struct product product = {&matrix, out, 4};
    struct linear *linear = linear_create(&executor);
    struct failure f = {""};
    assert_false(linear_run(linear, x, 1, 8, &product, 1, &f));
    assert_string_equal(f.message, "the executor failed with status 3");
    linear_free(linear);
    free((void *)tensor.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_products),
        cmocka_unit_test(larger_than_a_panel),
        cmocka_unit_test(executor_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
