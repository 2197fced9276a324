/* The GGUF reader on good files: what was written is what is read, wherever it lies; and every way
 * to ask for the wrong thing. Bad files are in test_gguf_bad.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bytes.h"
#include "files/gguf.h"

#include <float.h>
#include <math.h>

static struct bytes b;

static void put_f32(float value)
{
    put(&b, &value, sizeof value);
}

static void put_f64(double value)
{
    put(&b, &value, sizeof value);
}

static struct gguf *open_b(void)
{
    struct gguf *g = NULL;
    struct failure f = {""};
    if (!gguf_open_memory(&g, b.data, b.size, &f))
        fail_msg("%s", f.message);
    return g;
}

static void put_every_scalar(void)
{
    put_gguf_header(&b, 3, 0, 13);
    put_key(&b, "u8", GGUF_U8), put(&b, "\xfe", 1);
    put_key(&b, "i8", GGUF_I8), put(&b, "\xfe", 1);
    put_key(&b, "u16", GGUF_U16), put(&b, "\xfe\xff", 2);
    put_key(&b, "i16", GGUF_I16), put(&b, "\xfe\xff", 2);
    put_key(&b, "u32", GGUF_U32), put_u32(&b, 4000000000u);
    put_key(&b, "i32", GGUF_I32), put_u32(&b, 0xfffffffdu);
    put_key(&b, "f32", GGUF_F32), put_f32(1e-6f);
    put_key(&b, "bool", GGUF_BOOL), put_u8(&b, 1);
    put_key(&b, "string", GGUF_STRING), put_string(&b, "gemma3");
    put_key(&b, "u64", GGUF_U64), put_u64(&b, UINT64_MAX);
    put_key(&b, "i64", GGUF_I64), put_u64(&b, (uint64_t)INT64_MIN);
    put_key(&b, "f64", GGUF_F64), put_f64(-0.1);
    put_key(&b, "infinite", GGUF_F32), put_f32(INFINITY);
}

static void scalars_are_what_was_written(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int64_t value;
    } integers[] = {{"u8", 254},         {"i8", -2},  {"u16", 65534},    {"i16", -2},
                    {"u32", 4000000000}, {"i32", -3}, {"i64", INT64_MIN}};
    put_every_scalar();
    struct gguf *g = open_b();
    struct failure f;
    int64_t integer = 0;
    double number = 0;
    bool yes = false;
    struct text string;
    assert_int_equal(gguf_key_count(g), 13);
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
        assert_true(gguf_get_integer(g, integers[i].key, INT64_MIN, INT64_MAX, &integer, &f));
        assert_true(integer == integers[i].value);
        assert_true(gguf_get_number(g, integers[i].key, &number, &f));
        assert_true(number == (double)integers[i].value);
    }
    assert_true(gguf_get_number(g, "f32", &number, &f) && number == (double)1e-6f);
    assert_true(gguf_get_number(g, "f64", &number, &f) && number == -0.1);
    assert_true(gguf_get_number(g, "u64", &number, &f) && number == 18446744073709551615.0);
    assert_true(gguf_get_bool(g, "bool", &yes, &f) && yes);
    assert_true(gguf_get_string(g, "string", &string, &f) && text_is(string, "gemma3"));
    enum gguf_type type;
    assert_true(text_is(gguf_key_at(g, 8, &type), "string") && type == GGUF_STRING);
    assert_true(gguf_has(g, "i64", &type) && type == GGUF_I64);
    gguf_close(g);
}

static void wrong_questions_get_a_sentence(void **state)
{
    (void)state;
    put_every_scalar();
    struct gguf *g = open_b();
    struct failure f;
    int64_t integer = 7;
    double number;
    bool yes;
    struct text string;
    struct gguf_array a;
    assert_false(gguf_get_integer(g, "none", 0, 1, &integer, &f));
    assert_string_equal(f.message, "key 'none' is missing from the model file");
    assert_false(gguf_get_integer(g, "u8", 1, 100, &integer, &f));
    assert_string_equal(f.message, "key 'u8' is 254; it may be 1 to 100");
    assert_false(gguf_get_integer(g, "u64", 0, 5, &integer, &f));
    assert_string_equal(f.message, "key 'u64' is larger than 63 bits hold; it may be 0 to 5");
    assert_false(gguf_get_integer(g, "f32", 0, 1, &integer, &f));
    assert_string_equal(f.message, "key 'f32' is an f32; it must be an integer");
    assert_false(gguf_get_integer(g, "bool", 0, 1, &integer, &f));
    assert_int_equal(integer, 7);
    assert_false(gguf_get_number(g, "string", &number, &f));
    assert_string_equal(f.message, "key 'string' is a string; it must be a number");
    assert_false(gguf_get_number(g, "infinite", &number, &f));
    assert_string_equal(f.message, "key 'infinite' is inf; it must be finite");
    assert_false(gguf_get_bool(g, "u8", &yes, &f));
    assert_string_equal(f.message, "key 'u8' is a u8; it must be a bool");
    assert_false(gguf_get_string(g, "bool", &string, &f));
    assert_string_equal(f.message, "key 'bool' is a bool; it must be a string");
    assert_false(gguf_get_array(g, "string", GGUF_STRING, &a, &f));
    assert_string_equal(f.message, "key 'string' is a string; it must be an array");
    gguf_close(g);
}

static void absent_keys_take_the_other_value(void **state)
{
    (void)state;
    put_every_scalar();
    struct gguf *g = open_b();
    struct failure f;
    int64_t integer = 0;
    double number = 0;
    bool yes = false;
    assert_true(gguf_get_integer_or(g, "none", 1, 9, 512, &integer, &f) && integer == 512);
    assert_true(gguf_get_number_or(g, "none", 1e4, &number, &f) && number == 1e4);
    assert_true(gguf_get_bool_or(g, "none", true, &yes, &f) && yes);
    assert_true(gguf_get_integer_or(g, "u8", 0, 255, 1, &integer, &f) && integer == 254);
    assert_false(gguf_get_integer_or(g, "string", 0, 255, 1, &integer, &f));
    assert_false(gguf_get_number_or(g, "bool", 1, &number, &f));
    assert_false(gguf_get_bool_or(g, "u8", true, &yes, &f));
    gguf_close(g);
}

static void arrays_are_what_was_written(void **state)
{
    (void)state;
    put_gguf_header(&b, 2, 0, 5);
    put_array(&b, "words", GGUF_STRING, 3);
    put_string(&b, "<pad>"), put_string(&b, ""), put_string(&b, "\xe2\x96\x81the");
    put_array(&b, "scores", GGUF_F32, 2), put_f32(-1.5f), put_f32(FLT_MAX);
    put_array(&b, "types", GGUF_I32, 2), put_u32(&b, 6), put_u32(&b, 0xffffffffu);
    put_array(&b, "flags", GGUF_BOOL, 3), put(&b, "\1\0\1", 3);
    put_array(&b, "none", GGUF_STRING, 0);
    struct gguf *g = open_b();
    struct failure f;
    struct gguf_array a;
    struct text t;
    assert_int_equal(gguf_version(g), 2);
    assert_true(gguf_get_array(g, "words", GGUF_STRING, &a, &f));
    assert_int_equal(a.count, 3);
    assert_true(gguf_next_string(&a, &t) && text_is(t, "<pad>"));
    assert_true(gguf_next_string(&a, &t) && text_is(t, ""));
    assert_true(gguf_next_string(&a, &t) && text_is(t, "\xe2\x96\x81the"));
    assert_false(gguf_next_string(&a, &t));
    assert_true(gguf_get_array(g, "scores", GGUF_F32, &a, &f) && a.count == 2);
    assert_true(gguf_array_number(&a, 0) == -1.5 && gguf_array_number(&a, 1) == (double)FLT_MAX);
    assert_true(gguf_get_array(g, "types", GGUF_I64, &a, &f) && a.count == 2);
    assert_true(gguf_array_integer(&a, 0) == 6 && gguf_array_integer(&a, 1) == -1);
    assert_true(gguf_get_array(g, "types", GGUF_F64, &a, &f));
    assert_true(gguf_get_array(g, "flags", GGUF_BOOL, &a, &f) && gguf_array_number(&a, 2) == 1);
    assert_true(gguf_get_array(g, "none", GGUF_STRING, &a, &f) && !gguf_next_string(&a, &t));
    assert_false(gguf_get_array(g, "words", GGUF_F64, &a, &f));
    assert_string_equal(
        f.message, "key 'words' is an array of string values; it must be one of number values");
    assert_false(gguf_get_array(g, "scores", GGUF_I64, &a, &f));
    assert_false(gguf_get_array(g, "types", GGUF_STRING, &a, &f));
    assert_false(gguf_get_array(g, "types", GGUF_U32, &a, &f));
    gguf_close(g);
}

static void put_three_tensors(void)
{
    put_gguf_header(&b, 3, 4, 0);
    put_tensor(&b, "q.weight", 32, 2, TENSOR_Q8_0, 64);
    put_tensor(&b, "norm", 3, 1, TENSOR_F32, 32);
    put_tensor(&b, "odd", 256, 1, 10, 0); /* Q2_K */
    put_string(&b, "one"), put_u32(&b, 0), put_u32(&b, TENSOR_BF16), put_u64(&b, 160);
    put_padding(&b, 32);
    for (int i = 0; i < 162; i++)
        put_u8(&b, (uint8_t)i);
}

static void tensors_are_where_they_were_written(void **state)
{
    (void)state;
    put_three_tensors();
    struct gguf *g = open_b();
    struct failure f;
    const struct file_tensor *t;
    const unsigned char *data = b.data + b.size - 162;
    assert_int_equal(gguf_tensor_count(g), 4);
    assert_string_equal(gguf_tensor_at(g, 0)->name, "q.weight");
    assert_true(gguf_get_tensor(g, "q.weight", &t, &f));
    assert_ptr_equal(t, gguf_tensor_at(g, 0));
    assert_int_equal(t->type, TENSOR_Q8_0);
    assert_string_equal(t->type_name, "Q8_0");
    assert_true(t->ndim == 2 && t->dims[0] == 32 && t->dims[1] == 2 && t->dims[2] == 1);
    assert_true(t->values == 64 && t->rows == 2 && t->row_bytes == 34 && t->bytes == 68);
    assert_ptr_equal(t->data, data + 64);
    assert_true(gguf_get_tensor(g, "norm", &t, &f) && t->data == data + 32 && t->bytes == 12);
    assert_true(gguf_get_tensor(g, "one", &t, &f) && t->ndim == 0 && t->values == 1 &&
                t->rows == 1);
    assert_true(gguf_has_tensor(g, "odd"));
    assert_false(gguf_get_tensor(g, "odd", &t, &f));
    assert_string_equal(f.message, "tensor 'odd' is of type Q2_K, which cannot be read");
    assert_false(gguf_has_tensor(g, "nor"));
    assert_false(gguf_get_tensor(g, "norms", &t, &f));
    assert_string_equal(f.message, "tensor 'norms' is missing from the model file");
    gguf_close(g);
}

static void alignment_is_the_files_own(void **state)
{
    (void)state;
    for (uint32_t alignment = 1; alignment <= 4096; alignment *= 2) {
        put_gguf_header(&b, 3, 2, 1);
        put_key(&b, "general.alignment", GGUF_U32), put_u32(&b, alignment);
        put_tensor(&b, "a", 1, 1, TENSOR_F16, 0);
        put_tensor(&b, "b", 1, 1, TENSOR_F16, alignment < 2 ? 2 : alignment);
        put_padding(&b, alignment);
        size_t start = b.size;
        put_zeros(&b, (alignment < 2 ? 2 : alignment) + 2);
        struct gguf *g = open_b();
        assert_ptr_equal(gguf_tensor_at(g, 0)->data, b.data + start);
        assert_int_equal(gguf_tensor_at(g, 1)->bytes, 2);
        gguf_close(g);
    }
}

static void many_keys_and_tensors_are_found(void **state)
{
    (void)state;
    char name[32];
    put_gguf_header(&b, 3, 500, 500);
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "key.%d", i * 7919 % 500);
        put_key(&b, name, GGUF_I32), put_u32(&b, (uint32_t)(i * 7919 % 500));
    }
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "blk.%d", i * 7919 % 500);
        put_tensor(&b, name, 1, 1, TENSOR_F32, 32u * (uint64_t)(i * 7919 % 500));
    }
    put_padding(&b, 32);
    const unsigned char *data = b.data + b.size;
    put_zeros(&b, 32 * 500);
    struct gguf *g = open_b();
    struct failure f;
    for (int i = 0; i < 500; i++) {
        int64_t integer;
        const struct file_tensor *t;
        snprintf(name, sizeof name, "key.%d", i);
        assert_true(gguf_get_integer(g, name, 0, 500, &integer, &f) && integer == i);
        snprintf(name, sizeof name, "blk.%d", i);
        assert_true(gguf_get_tensor(g, name, &t, &f) && t->data == data + 32 * i);
    }
    gguf_close(g);
}

static void a_file_on_disk_is_the_same(void **state)
{
    (void)state;
    char path[64];
    struct failure f;
    struct gguf *g;
    const struct file_tensor *t;
    put_three_tensors();
    write_temporary(&b, path);
    assert_true(gguf_open(&g, path, &f));
    assert_int_equal(gguf_file_bytes(g), b.size);
    assert_true(gguf_get_tensor(g, "norm", &t, &f));
    assert_int_equal((uintptr_t)t->data % 32, 0);
    assert_memory_equal(t->data, b.data + b.size - 162 + 32, 12);
    const void *inside = t->data;
    assert_true(is_mapped(inside));
    gguf_close(g);
    assert_false(is_mapped(inside));
    b.size -= 1;
    unlink(path);
    write_temporary(&b, path);
    assert_false(gguf_open(&g, path, &f));
    assert_null(g);
    assert_memory_equal(f.message, path, strlen(path));
    char sentence[128];
    snprintf(sentence, sizeof sentence, ": ends early, at byte %zu, in the values of tensor 'one'",
             b.size);
    assert_string_equal(f.message + strlen(path), sentence);
    unlink(path);
    gguf_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_are_what_was_written),
        cmocka_unit_test(wrong_questions_get_a_sentence),
        cmocka_unit_test(absent_keys_take_the_other_value),
        cmocka_unit_test(arrays_are_what_was_written),
        cmocka_unit_test(tensors_are_where_they_were_written),
        cmocka_unit_test(alignment_is_the_files_own),
        cmocka_unit_test(many_keys_and_tensors_are_found),
        cmocka_unit_test(a_file_on_disk_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
