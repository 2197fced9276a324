/* The safetensors reader: what was written is what is read, every bad header has its sentence, and
 * every cut and every changed byte of a good file is survived. Inputs are copied to allocations of
 * exactly their size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bytes.h"
#include "files/safetensors.h"

static struct bytes b;

static void put_file(const char *header, size_t data_bytes)
{
    b.size = 0;
    put_string(&b, header); /* a length of 8 bytes, then the text: just what the format has */
    for (size_t i = 0; i < data_bytes; i++)
        put_u8(&b, (uint8_t)i);
}

static bool opens(size_t size, struct failure *f)
{
    struct safetensors *s;
    unsigned char *copy = malloc(size ? size : 1);
    volatile unsigned sum = 0;
    assert_non_null(copy);
    memcpy(copy, b.data, size);
    bool good = safetensors_open_memory(&s, copy, size, f);
    assert_true(good == (s != NULL));
    for (size_t i = 0; good && i < safetensors_tensor_count(s); i++) {
        const struct file_tensor *t = safetensors_tensor_at(s, i);
        for (size_t j = 0; j < t->bytes; j++)
            sum = sum + ((const unsigned char *)t->data)[j];
    }
    safetensors_close(s);
    free(copy);
    return good;
}

static void refused(const char *sentence)
{
    struct failure f = {""};
    if (opens(b.size, &f))
        fail_msg("opened, instead of: %s", sentence);
    assert_string_equal(f.message, sentence);
}

static const char good[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
    "\"h\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[24,26]},"
    "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,1,1,1],\"data_offsets\":[26,30]},"
    "\"ids\":{\"dtype\":\"I64\",\"shape\":[1,1],\"data_offsets\":[30,38]},"
    "\"f8\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[38,40]},"
    "\"none\":{\"dtype\":\"F32\",\"shape\":[4,0],\"data_offsets\":[24,24]}}   ";

static void tensors_are_what_was_written(void **state)
{
    (void)state;
    struct safetensors *s;
    struct failure f = {""};
    const struct file_tensor *t;
    put_file(good, 40);
    const unsigned char *data = b.data + b.size - 40;
    assert_true(safetensors_open_memory(&s, b.data, b.size, &f));
    assert_int_equal(safetensors_tensor_count(s), 6);
    assert_string_equal(safetensors_tensor_at(s, 0)->name, "b");
    assert_string_equal(safetensors_tensor_at(s, 5)->name, "w");
    assert_true(safetensors_get_tensor(s, "w", &t, &f));
    assert_true(t->type == TENSOR_F32 && t->ndim == 2 && t->dims[0] == 3 && t->dims[1] == 2);
    assert_true(t->values == 6 && t->rows == 2 && t->row_bytes == 12 && t->bytes == 24);
    assert_string_equal(t->type_name, "F32");
    assert_ptr_equal(t->data, data);
    assert_true(safetensors_get_tensor(s, "h", &t, &f));
    assert_true(t->ndim == 0 && t->values == 1 && t->rows == 1 && t->data == data + 24);
    assert_true(safetensors_get_tensor(s, "b", &t, &f));
    assert_true(t->dims[0] == 1 && t->dims[3] == 2 && t->rows == 2 && t->row_bytes == 2);
    assert_true(safetensors_get_tensor(s, "none", &t, &f));
    assert_true(t->values == 0 && t->rows == 0 && t->bytes == 0 && t->dims[1] == 4);
    assert_true(safetensors_has_tensor(s, "ids"));
    assert_false(safetensors_get_tensor(s, "ids", &t, &f));
    assert_string_equal(f.message, "tensor 'ids' is of type I64; F32, F16 and BF16 can be read");
    assert_false(safetensors_get_tensor(s, "f8", &t, &f));
    assert_string_equal(f.message, "tensor 'f8' is of type F8_E4M3; F32, F16 and BF16 can be read");
    assert_false(safetensors_has_tensor(s, "__metadata__"));
    assert_false(safetensors_get_tensor(s, "x", &t, &f));
    assert_string_equal(f.message, "tensor 'x' is missing from the model file");
    safetensors_close(s);
    safetensors_close(NULL);
}

static void bad_headers_are_refused(void **state)
{
    (void)state;
    static char deep[64];
    struct failure f = {""};
    put_file("", 0);
    b.size = 7;
    refused("is no safetensors file: it is shorter than 8 bytes");
    put_file("{}", 0);
    b.data[0] = 3;
    refused("is cut short or no safetensors file: its header of 3 bytes goes past its end");
    memset(b.data, 0xff, 8);
    refused(
        "is cut short or no safetensors file: its header of 18446744073709551615 bytes goes past "
        "its end");
    put_file("", 0);
    refused("has a header that is no valid JSON, at byte 0 of it");
    put_file("[]", 0);
    refused("has a header that is no JSON object");
    put_file("{\"w\":1,\"w\":1}", 0);
    refused("has a header that holds a name twice");
    put_file("{\"\\u0000\":1}", 0);
    assert_false(opens(b.size, &f)); /* where exactly is the parser's to say */
    assert_memory_equal(f.message, "has a header that is no valid JSON", 34);
    memset(deep, '[', 60);
    put_file(deep, 0);
    refused("has a header that nests more than 8 deep");
    put_file("{\"[[[[[[[[[[\":1}", 0); /* brackets in a name do not nest */
    refused("tensor '[[[[[[[[[[' is described by something that is no object");
    put_file("{\"\\\"[[[[[[[[[[\\\\\":1}", 0);
    refused("tensor '\"[[[[[[[[[[\\x5c' is described by something that is no object");
}

static void a_header_beyond_the_limit_is_refused(void **state)
{
    (void)state;
    uint64_t length = (32 << 20) + 1;
    unsigned char *large = calloc(8 + length, 1);
    struct safetensors *s;
    struct failure f;
    assert_non_null(large);
    memcpy(large, &length, sizeof length);
    assert_false(safetensors_open_memory(&s, large, 8 + length, &f));
    assert_string_equal(f.message, "has a header of 33554433 bytes; it may have up to 33554432");
    free(large);
}

static void bad_tensors_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header, *sentence;
    } cases[] = {
        {"{\"w\":{}}", "tensor 'w' has no \"dtype\" that is a string"},
        {"{\"w\":{\"dtype\":1}}", "tensor 'w' has no \"dtype\" that is a string"},
        {"{\"w\":{\"dtype\":\"F32\"}}", "tensor 'w' has no \"shape\" that is an array"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]}}",
         "tensor 'w' has more than 4 dimensions"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}",
         "tensor 'w' has a dimension that is no whole number from 0"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}",
         "tensor 'w' has a dimension that is no whole number from 0"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}",
         "tensor 'w' has dimensions whose product does not fit 63 bits"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905],\"data_offsets\":[0,4]}}",
         "tensor 'w' has a number of bytes that is not what its shape needs"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1]}}",
         "tensor 'w' has no \"data_offsets\" of two whole numbers"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}",
         "tensor 'w' has no \"data_offsets\" of two whole numbers"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,\"4\"]}}",
         "tensor 'w' has no \"data_offsets\" of two whole numbers"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}",
         "tensor 'w' has data_offsets that are reversed or past the end of the file"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}",
         "tensor 'w' has data_offsets that are reversed or past the end of the file"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[5,9]}}",
         "tensor 'w' has data_offsets that are reversed or past the end of the file"},
        {"{\"w\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,9]}}",
         "tensor 'w' has data_offsets that are reversed or past the end of the file"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}",
         "tensor 'w' has a number of bytes that is not what its shape needs"},
        {"{\"w\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         "tensor 'w' has a number of bytes that is not what its shape needs"},
        {"{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]},"
         "\"z\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[2,6]}}",
         "tensor 'z' shares bytes with another tensor"},
        {"{\"a\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,8]},"
         "\"z\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[2,4]}}",
         "tensor 'z' shares bytes with another tensor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_file(cases[i].header, 8);
        refused(cases[i].sentence);
    }
}

static void every_cut_is_refused(void **state)
{
    (void)state;
    struct failure f;
    put_file(good, 40);
    assert_true(opens(b.size, &f));
    for (size_t size = 0; size < b.size; size++) {
        f.message[0] = '\0';
        if (opens(size, &f))
            fail_msg("the first %zu of %zu bytes were accepted", size, b.size);
        assert_true(f.message[0] != '\0');
    }
}

static void every_changed_byte_is_survived(void **state)
{
    (void)state;
    static const unsigned char others[] = {0x01, 0x04, 0x80, 0xff};
    struct failure f;
    size_t refusals = 0;
    put_file(good, 40);
    for (size_t i = 0; i < 4 * b.size; i++) {
        b.data[i / 4] ^= others[i % 4];
        refusals += !opens(b.size, &f);
        b.data[i / 4] ^= others[i % 4];
    }
    assert_true(refusals > sizeof good); /* most bytes of the header matter */
}

static void a_file_on_disk_is_the_same(void **state)
{
    (void)state;
    char path[64];
    struct failure f;
    struct safetensors *s;
    const struct file_tensor *t;
    put_file(good, 40);
    write_temporary(&b, path);
    assert_true(safetensors_open(&s, path, &f));
    assert_true(safetensors_get_tensor(s, "w", &t, &f));
    assert_memory_equal(t->data, b.data + b.size - 40, 24);
    const void *inside = t->data;
    assert_true(is_mapped(inside));
    safetensors_close(s);
    assert_false(is_mapped(inside));
    unlink(path);
    b.data[8] = '[';
    write_temporary(&b, path);
    assert_false(safetensors_open(&s, path, &f));
    assert_null(s);
    assert_memory_equal(f.message, path, strlen(path));
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_are_what_was_written),
        cmocka_unit_test(bad_headers_are_refused),
        cmocka_unit_test(a_header_beyond_the_limit_is_refused),
        cmocka_unit_test(bad_tensors_are_refused),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(every_changed_byte_is_survived),
        cmocka_unit_test(a_file_on_disk_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
