/* What the rotary calls refuse: each fault alone, the code and the argument it names, and not one byte of
 * the output written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "attention/orders.h"
#include "rotary/tensor.h"

#include <cmocka.h>

enum { BATCH = 2, HEADS = 3, LENGTH = 4, HEAD = 8, COUNT = BATCH * HEADS * LENGTH * HEAD };

struct call {
    attn_rotary rotary;
    const attn_rotary *given;
    int64_t batch, heads, length, head_size;
    attn_layout x_layout, to_layout;
    const attn_layout *x_given, *to_given;
    const void *x;
    void *to;
    const int64_t *positions;
    const attn_executor *executor;
};

static float x_array[COUNT], to_array[COUNT];
static float divisors[HEAD / 2];

static struct call sound(void)
{
    for (int m = 0; m < HEAD / 2; m++)
        divisors[m] = 1;
    struct call c = {.rotary = attn_rotary_init(HEAD),
                     .batch = BATCH,
                     .heads = HEADS,
                     .length = LENGTH,
                     .head_size = HEAD,
                     .x_layout = attn_layout_bhsd(ATTN_F32, HEADS, LENGTH, HEAD),
                     .to_layout = attn_layout_bhsd(ATTN_F32, HEADS, LENGTH, HEAD),
                     .x = x_array,
                     .to = to_array};
    c.rotary.original_length = 4096;
    return c;
}

static attn_status call(const struct call *c, attn_error *error)
{
    return attn_rotary_apply(c->given, c->batch, c->heads, c->length, c->head_size, c->x,
                             c->x_given, c->to, c->to_given, c->positions, c->executor, error);
}

/* The fields of a description, then the rest of the call; each names what it breaks. */
#define FAULTS(F)                                                                                  \
    F(c->rotary.struct_size = 8, STRUCT_SIZE, "rotary.struct_size is 8")                           \
    F(c->rotary.size = 0, SHAPE, "rotary.size is 0")                                               \
    F(c->rotary.size = -2, SHAPE, "rotary.size is -2")                                             \
    F(c->rotary.size = 7, SHAPE, "rotary.size is 7")                                               \
    F(c->rotary.size = INT64_MAX - 1, SHAPE, "rotary.size is")                                     \
    F(c->rotary.pairing = (attn_rotary_pairing)2, VALUE, "rotary.pairing is 2")                    \
    F(c->rotary.scaling = (attn_rotary_scaling)5, VALUE, "rotary.scaling is 5")                    \
    F(c->rotary.scaling = (attn_rotary_scaling)-1, VALUE, "rotary.scaling is -1")                  \
    F(c->rotary.base = 0.5, VALUE, "rotary.base is 0.5")                                           \
    F(c->rotary.base = NAN, VALUE, "rotary.base is nan")                                           \
    F(c->rotary.base = INFINITY, VALUE, "rotary.base is inf")                                      \
    F(c->rotary.attention_factor = -1, VALUE, "rotary.attention_factor is -1")                     \
    F(c->rotary.attention_factor = NAN, VALUE, "rotary.attention_factor is nan")                   \
    F((c->rotary.scaling = ATTN_ROTARY_LINEAR, c->rotary.factor = 0.9), VALUE, "rotary.factor is") \
    F((c->rotary.scaling = ATTN_ROTARY_LINEAR, c->rotary.factor = NAN), VALUE, "rotary.factor is") \
    F((c->rotary.scaling = ATTN_ROTARY_NTK, c->rotary.factor = 1e300), VALUE,                      \
      "rotary.base is 10000 and factor 1e+300")                                                    \
    F((c->rotary.scaling = ATTN_ROTARY_YARN, c->rotary.base = 1), VALUE, "rotary.base is 1")       \
    F((c->rotary.scaling = ATTN_ROTARY_YARN, c->rotary.original_length = 0), VALUE,                \
      "rotary.original_length is 0")                                                               \
    F((c->rotary.scaling = ATTN_ROTARY_YARN, c->rotary.beta_slow = 0), VALUE, "beta_slow 0")       \
    F((c->rotary.scaling = ATTN_ROTARY_YARN, c->rotary.beta_fast = 0.5), VALUE, "beta_fast is")    \
    F((c->rotary.scaling = ATTN_ROTARY_YARN, c->rotary.beta_fast = NAN), VALUE, "beta_fast is")    \
    F((c->rotary.scaling = ATTN_ROTARY_LLAMA3, c->rotary.original_length = -1), VALUE,             \
      "rotary.original_length is -1")                                                              \
    F((c->rotary.scaling = ATTN_ROTARY_LLAMA3, c->rotary.low_frequency_factor = 0), VALUE,         \
      "rotary.low_frequency_factor is 0")                                                          \
    F((c->rotary.scaling = ATTN_ROTARY_LLAMA3, c->rotary.high_frequency_factor = 1), VALUE,        \
      "high_frequency_factor 1")                                                                   \
    F((c->rotary.frequency_divisors = divisors, divisors[3] = 0), VALUE,                           \
      "rotary.frequency_divisors[3] is 0")                                                         \
    F((c->rotary.frequency_divisors = divisors, divisors[0] = NAN), VALUE,                         \
      "rotary.frequency_divisors[0] is nan")                                                       \
    F(c->rotary.frequency_divisors = (const float *)(const void *)((const char *)divisors + 2),    \
      ALIGNMENT, "rotary.frequency_divisors is")                                                   \
    F(c->given = NULL, NULL, "rotary is NULL")                                                     \
    F(c->batch = -1, SHAPE, "batch is -1")                                                         \
    F(c->heads = INT64_C(1) << 31, SHAPE, "heads is 2147483648")                                   \
    F(c->length = -5, SHAPE, "length is -5")                                                       \
    F(c->head_size = 6, SHAPE, "head_size is 6; it may be 8 (rotary.size)")                        \
    F(c->x_given = NULL, NULL, "x_layout is NULL")                                                 \
    F(c->to_given = NULL, NULL, "to_layout is NULL")                                               \
    F(c->x = NULL, NULL, "x is NULL")                                                              \
    F(c->to = NULL, NULL, "to is NULL")                                                            \
    F(c->x_layout.dtype = (attn_dtype)0, DTYPE, "x_layout.dtype is 0")                             \
    F(c->to_layout.dtype = (attn_dtype)4, DTYPE, "to_layout.dtype is 4")                           \
    F(c->x_layout.stride[3] = 2, STRIDE, "x_layout.stride[3] is 2")                                \
    F(c->to_layout.stride[3] = 0, STRIDE, "to_layout.stride[3] is 0")                              \
    F(c->to_layout.stride[1] = 0, STRIDE, "elements of the output would overlap")                  \
    F(c->to_layout.stride[2] = 7, STRIDE, "elements of the output would overlap")                  \
    F(c->x_layout.stride[0] = INT64_MIN, OVERFLOW, "x_layout has strides")                         \
    F(c->to_layout.stride[0] = INT64_MAX / 4, OVERFLOW, "to_layout has strides")                   \
    F(c->x = (const char *)x_array + 2, ALIGNMENT, "x is")                                         \
    F(c->to = (char *)to_array + 1, ALIGNMENT, "to is")                                            \
    F(c->positions = (const int64_t *)(const void *)((const char *)x_array + 4), ALIGNMENT,        \
      "positions is")                                                                              \
    F((c->x = to_array, c->x_layout.dtype = ATTN_BF16), DTYPE,                                     \
      "to is x, but to_layout.dtype is 1")                                                         \
    F((c->x = to_array, c->x_layout.stride[1] = 0), STRIDE, "to is x, but to_layout.stride[1]")    \
    F(c->executor = &no_threads, EXECUTOR, "executor.threads is 0")                                \
    F(c->executor = &wrong_size, STRUCT_SIZE, "executor.struct_size is 0")

static const attn_executor no_threads = {.struct_size = sizeof no_threads};
static const attn_executor wrong_size = {.threads = 1};

#define NAME_FAULT(change, code, text) {#change, ATTN_ERR_##code, text},
static const struct {
    const char *change;
    attn_status status;
    const char *text;
} faults[] = {FAULTS(NAME_FAULT)};

enum { FAULTS_COUNT = sizeof faults / sizeof faults[0] };

static void break_it(struct call *c, int fault)
{
    int index = 0;
#define MAKE_FAULT(change, code, text)                                                             \
    if (index++ == fault)                                                                          \
        (void)(change);
    FAULTS(MAKE_FAULT)
}

static void check(attn_status status, const attn_error *error, int fault)
{
    if (status != faults[fault].status || error->status != status ||
        !strstr(error->message, faults[fault].text))
        fail_msg("%s: %s, \"%s\"; expected %s and \"%s\"", faults[fault].change,
                 attn_status_name(status), error->message, attn_status_name(faults[fault].status),
                 faults[fault].text);
}

static void test_apply(void **state)
{
    (void)state;
    for (int fault = 0; fault < FAULTS_COUNT; fault++) {
        struct call c = sound();
        c.given = &c.rotary;
        c.x_given = &c.x_layout;
        c.to_given = &c.to_layout;
        break_it(&c, fault);
        attn_error error;
        memset(to_array, TENSOR_PATTERN, sizeof to_array);
        check(call(&c, &error), &error, fault);
        assert_int_equal(call(&c, NULL), faults[fault].status);
        for (size_t i = 0; i < sizeof to_array; i++)
            assert_int_equal(((unsigned char *)to_array)[i], TENSOR_PATTERN);
    }
}

static void test_frequencies(void **state)
{
    (void)state;
    double frequencies[HEAD / 2], length_factor = 77;
    int seen = 0;
    for (int fault = 0; fault < FAULTS_COUNT; fault++) {
        if (strncmp(faults[fault].change, "c->batch", 8) == 0)
            break; /* from here on it is not the description */
        struct call c = sound();
        c.given = &c.rotary;
        break_it(&c, fault);
        attn_error error;
        frequencies[0] = 77;
        check(attn_rotary_frequencies(c.given, frequencies, &length_factor, &error), &error, fault);
        assert_true(frequencies[0] == 77 && length_factor == 77);
        seen++;
    }
    assert_int_equal(seen, 28);
    attn_rotary r = attn_rotary_init(HEAD);
    assert_int_equal(attn_rotary_frequencies(&r, NULL, NULL, NULL), ATTN_ERR_NULL);
    double *odd = (double *)(void *)((char *)frequencies + 4);
    assert_int_equal(attn_rotary_frequencies(&r, odd, NULL, NULL), ATTN_ERR_ALIGNMENT);
}

/* Nothing to do is no fault, whatever the pointers and strides; a single element has any stride. */
static void test_empty(void **state)
{
    (void)state;
    for (int axis = 0; axis < 3; axis++) {
        struct call c = sound();
        c.given = &c.rotary;
        c.x_given = &c.x_layout;
        c.to_given = &c.to_layout;
        *(axis == 0 ? &c.batch : axis == 1 ? &c.heads : &c.length) = 0;
        c.x = c.to = NULL;
        c.positions = (const int64_t *)(uintptr_t)8; /* not read */
        c.to_layout.stride[0] = INT64_MIN;
        c.executor = axis == 0 ? NULL : attn_default_executor();
        attn_error error;
        assert_int_equal(call(&c, &error), ATTN_OK);
        assert_string_equal(error.message, "");
    }
    struct call c = sound();
    c.given = &c.rotary;
    c.x_given = &c.x_layout;
    c.to_given = &c.to_layout;
    c.batch = 1;
    c.x_layout.stride[0] = c.to_layout.stride[0] = INT64_MIN;
    assert_int_equal(call(&c, NULL), ATTN_OK);
}

/* Unread fields of other scalings may hold anything. */
static void test_unread(void **state)
{
    (void)state;
    attn_rotary r = attn_rotary_init(HEAD);
    r.factor = r.beta_fast = r.beta_slow = r.low_frequency_factor = r.high_frequency_factor = NAN;
    r.original_length = -1;
    double frequencies[HEAD / 2];
    assert_int_equal(attn_rotary_frequencies(&r, frequencies, NULL, NULL), ATTN_OK);
    r.factor = 2;
    r.scaling = ATTN_ROTARY_NTK;
    assert_int_equal(attn_rotary_frequencies(&r, frequencies, NULL, NULL), ATTN_OK);
}

static void test_executor_fails(void **state)
{
    (void)state;
    for (int launch = 1; launch <= 2; launch++) {
        struct ordered_executor ordered;
        ordered_executor_init(&ordered, ORDER_REVERSED, 2, 1);
        ordered.fail_at_launch = launch;
        struct call c = sound();
        c.given = &c.rotary;
        c.x_given = &c.x_layout;
        c.to_given = &c.to_layout;
        c.executor = &ordered.executor;
        attn_error error;
        assert_int_equal(call(&c, &error), ATTN_ERR_EXECUTOR);
        assert_non_null(strstr(error.message, "parallel_for returned 1"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apply),          cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_empty),          cmocka_unit_test(test_unread),
        cmocka_unit_test(test_executor_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
