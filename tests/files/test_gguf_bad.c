/* The GGUF reader on bad files: each is refused with its own sentence, before anything is allocated
 * from its numbers, and every cut and every flipped bit of a good file is survived. Inputs are
 * copied to allocations of exactly their size, so that AddressSanitizer sees any byte read past the
 * end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bytes.h"
#include "files/gguf.h"

static struct bytes b;

/* Open the first `size` bytes of b; true if that works. */
static bool opens(size_t size, struct failure *f)
{
    struct gguf *g;
    unsigned char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, b.data, size);
    bool good = gguf_open_memory(&g, copy, size, f);
    assert_true(good == (g != NULL));
    gguf_close(g);
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

/* The file ends before what it states; the sentence says at which byte and in what. */
static void refused_short(const char *where)
{
    char sentence[512];
    snprintf(sentence, sizeof sentence, "ends early, at byte %zu, %s", b.size, where);
    refused(sentence);
}

static void a_bad_header_is_refused(void **state)
{
    (void)state;
    b.size = 0;
    refused("is not a GGUF file: it does not begin with \"GGUF\"");
    put_gguf_header(&b, 3, 0, 0);
    b.data[3] = 'X';
    refused("is not a GGUF file: it does not begin with \"GGUF\"");
    put_gguf_header(&b, 1, 0, 0);
    refused("is GGUF version 1; versions 2 and 3 are read");
    put_gguf_header(&b, 4, 0, 0);
    refused("is GGUF version 4; versions 2 and 3 are read");
    put_gguf_header(&b, 0, 0, 0);
    refused("is GGUF version 0; versions 2 and 3 are read");
    put_gguf_header(&b, 0x03000000, 0, 0);
    refused("is a big-endian GGUF file; only little-endian ones are read");
    put_gguf_header(&b, 3, 0, 0);
    b.size = 7;
    refused_short("in the header of 24 bytes");
    b.size = 23;
    refused_short("in the header of 24 bytes");
}

static void counts_larger_than_the_file_are_refused(void **state)
{
    (void)state;
    put_gguf_header(&b, 3, 0, 1);
    refused_short("and cannot hold the 1 keys that it states");
    put_gguf_header(&b, 3, 0, UINT64_MAX);
    refused_short("and cannot hold the 18446744073709551615 keys that it states");
    put_gguf_header(&b, 3, UINT64_C(1) << 60, 0);
    refused_short("and cannot hold the 1152921504606846976 tensors that it states");
    put_gguf_header(&b, 3, 2, 1);
    put_zeros(&b, 14 + 2 * 25 - 1);
    refused_short("and cannot hold the 2 tensors that it states");
    for (uint32_t type = 0; type <= 12; type++) { /* arrays of every type */
        if (type == GGUF_ARRAY)
            continue;
        put_gguf_header(&b, 3, 0, 1);
        put_array(&b, "a", type, UINT64_C(1) << 61);
        refused_short("in the value of key 'a', an array of 2305843009213693952 elements");
    }
    put_gguf_header(&b, 3, 0, 1);
    put_array(&b, "a", GGUF_F64, 2), put_zeros(&b, 15);
    refused_short("in the value of key 'a', an array of 2 elements");
}

static void bad_keys_are_refused(void **state)
{
    (void)state;
    put_gguf_header(&b, 3, 0, 1);
    put_u64(&b, UINT64_MAX), put_zeros(&b, 20);
    refused_short("in the name of key 0");
    put_gguf_header(&b, 3, 0, 1);
    put_key(&b, "", GGUF_U32), put_zeros(&b, 20);
    refused("the name of key 0 has 0 bytes; it may have 1 to 65535");
    put_gguf_header(&b, 3, 0, 1);
    put_key(&b, "k", GGUF_U64), put_u32(&b, 1);
    refused_short("in the value of key 'k'");
    put_gguf_header(&b, 3, 0, 1);
    put_string(&b, "kkkkkk"), put_zeros(&b, 3);
    refused_short("in the value of key 'kkkkkk'");
    put_gguf_header(&b, 3, 0, 1);
    put_key(&b, "k", 13), put_zeros(&b, 20);
    refused("the value of key 'k' has an unknown type");
    put_gguf_header(&b, 3, 0, 1);
    put_key(&b, "k", GGUF_STRING), put_u64(&b, 2), put_u8(&b, 'x');
    refused_short("in the value of key 'k'");
    put_gguf_header(&b, 3, 0, 1);
    put_key(&b, "k", GGUF_STRING), put_u64(&b, UINT64_MAX), put_zeros(&b, 9);
    refused_short("in the value of key 'k'");
    put_gguf_header(&b, 3, 0, 1);
    put_key(&b, "k", GGUF_BOOL), put_u8(&b, 2);
    refused("the value of key 'k' is a bool that is neither 0 nor 1");
    put_gguf_header(&b, 3, 0, 2);
    put_key(&b, "k\n\xff", GGUF_U8), put_u8(&b, 1);
    put_key(&b, "k\n\xff", GGUF_U32), put_u32(&b, 1);
    refused("key 'k\\x0a\\xff' is there twice");
}

static void bad_arrays_are_refused(void **state)
{
    (void)state;
    put_gguf_header(&b, 3, 0, 1);
    put_array(&b, "a", GGUF_ARRAY, 1);
    for (int depth = 0; depth < 1000; depth++)
        put_u32(&b, GGUF_ARRAY), put_u64(&b, 1);
    refused("the value of key 'a' is an array of arrays, which no model needs");
    put_gguf_header(&b, 3, 0, 1);
    put_array(&b, "a", 13, 0);
    refused("the value of key 'a' is an array of an unknown type");
    put_gguf_header(&b, 3, 0, 1);
    put_array(&b, "a", 0x80000008, 1), put_zeros(&b, 16);
    refused("the value of key 'a' is an array of an unknown type");
    put_gguf_header(&b, 3, 0, 1);
    put_key(&b, "a", GGUF_ARRAY), put_u32(&b, GGUF_U8);
    refused_short("in the value of key 'a'");
    put_gguf_header(&b, 3, 0, 1);
    put_array(&b, "a", GGUF_STRING, 2), put_string(&b, "x"), put_u64(&b, 1);
    refused_short("in the value of key 'a'");
    put_gguf_header(&b, 3, 0, 1);
    put_array(&b, "a", GGUF_BOOL, 3), put(&b, "\0\1\2", 3);
    refused("the value of key 'a' holds a bool that is neither 0 nor 1");
}

static void bad_tensors_are_refused(void **state)
{
    (void)state;
    put_gguf_header(&b, 3, 1, 0);
    put_u64(&b, 1000), put_zeros(&b, 30);
    refused_short("in the name of tensor 0");
    put_gguf_header(&b, 3, 1, 0);
    put_tensor(&b, "", 1, 1, TENSOR_F32, 0);
    refused("the name of tensor 0 is empty or holds a NUL byte");
    put_gguf_header(&b, 3, 1, 0);
    put_u64(&b, 3), put(&b, "a\0b", 3), put_zeros(&b, 30);
    refused("the name of tensor 0 is empty or holds a NUL byte");
    put_gguf_header(&b, 3, 1, 0);
    put_string(&b, "t"), put_u32(&b, 5), put_zeros(&b, 60);
    refused("tensor 't' has more than 4 dimensions");
    put_gguf_header(&b, 3, 1, 0);
    put_string(&b, "t"), put_u32(&b, UINT32_MAX), put_zeros(&b, 60);
    refused("tensor 't' has more than 4 dimensions");
    put_gguf_header(&b, 3, 1, 0);
    put_tensor(&b, "t", 4, 0, TENSOR_F32, 0);
    refused("tensor 't' has a dimension of 0");
    put_gguf_header(&b, 3, 1, 0);
    put_tensor(&b, "t", UINT64_MAX, 1, TENSOR_F32, 0);
    refused("tensor 't' has dimensions whose product does not fit 63 bits");
    put_gguf_header(&b, 3, 1, 0);
    put_tensor(&b, "t", UINT64_C(1) << 32, UINT64_C(1) << 31, TENSOR_F32, 0);
    refused("tensor 't' has dimensions whose product does not fit 63 bits");
    put_gguf_header(&b, 3, 1, 0);
    put_tensor(&b, "t", UINT64_C(1) << 31, UINT64_C(1) << 31, TENSOR_F32, 0);
    refused("tensor 't' has more bytes than can be counted");
    put_gguf_header(&b, 3, 1, 0);
    put_tensor(&b, "t", 640, 4, TENSOR_Q4_K, 0);
    refused("tensor 't' has rows that are no whole number of its type's blocks");
    put_gguf_header(&b, 3, 1, 0);
    put_tensor(&b, "t", 33, 32, TENSOR_Q8_0, 0);
    refused("tensor 't' has rows that are no whole number of its type's blocks");
    put_gguf_header(&b, 3, 2, 0);
    put_tensor(&b, "t", 1, 1, TENSOR_F32, 0), put_tensor(&b, "t", 1, 1, TENSOR_F32, 32);
    put_zeros(&b, 128);
    refused("tensor 't' is there twice");
}

/* Two tensors, 64 bytes of data. */
static void two_tensors(uint32_t type, uint64_t first, uint64_t second)
{
    put_gguf_header(&b, 3, 2, 0);
    put_tensor(&b, "a", 4, 2, type, first);
    put_tensor(&b, "b", 4, 2, TENSOR_F32, second);
    put_padding(&b, 32);
    put_zeros(&b, 64);
}

static void bad_places_are_refused(void **state)
{
    (void)state;
    struct failure f;
    two_tensors(TENSOR_F32, 0, 32);
    assert_true(opens(b.size, &f));
    assert_false(opens(b.size - 1, &f));
    assert_non_null(strstr(f.message, "in the values of tensor 'b'"));
    two_tensors(TENSOR_F32, 0, 16);
    refused("tensor 'b' has an offset that is no multiple of general.alignment");
    two_tensors(TENSOR_F32, 64, 0);
    refused_short("before the values of tensor 'a'");
    two_tensors(TENSOR_F32, 0, UINT64_MAX - 31);
    refused_short("before the values of tensor 'b'");
    two_tensors(TENSOR_F32, 32, 32);
    refused("tensors 'a' and 'b' overlap");
    two_tensors(99, 0, 0); /* of an unknown type: at least a byte is its own */
    refused("tensors 'a' and 'b' overlap");
    two_tensors(99, 0, 32);
    assert_true(opens(b.size, &f));
    two_tensors(99, 64, 0);
    refused_short("before the values of tensor 'a'");
    put_gguf_header(&b, 3, 2, 1); /* one lies inside the other, and is listed first */
    put_key(&b, "general.alignment", GGUF_U32), put_u32(&b, 4);
    put_tensor(&b, "inner", 1, 1, TENSOR_F32, 4), put_tensor(&b, "outer", 4, 1, TENSOR_F32, 0);
    put_padding(&b, 4), put_zeros(&b, 16);
    refused("tensors 'outer' and 'inner' overlap");
    put_gguf_header(&b, 3, 1, 0); /* the padding itself is past the end */
    put_tensor(&b, "t", 1, 1, TENSOR_F32, 0);
    assert_false(opens(b.size, &f));
    assert_non_null(strstr(f.message, "before the values of tensor 't'"));
}

static void bad_alignments_are_refused(void **state)
{
    (void)state;
    put_gguf_header(&b, 3, 0, 1);
    put_key(&b, "general.alignment", GGUF_U32), put_u32(&b, 0);
    refused("key 'general.alignment' is 0; it may be 1 to 1073741824");
    put_gguf_header(&b, 3, 0, 1);
    put_key(&b, "general.alignment", GGUF_U32), put_u32(&b, 24);
    refused("key 'general.alignment' is 24; it must be a power of two");
    put_gguf_header(&b, 3, 0, 1);
    put_key(&b, "general.alignment", GGUF_U32), put_u32(&b, 0x80000000u);
    refused("key 'general.alignment' is 2147483648; it may be 1 to 1073741824");
    put_gguf_header(&b, 3, 0, 1);
    put_key(&b, "general.alignment", GGUF_STRING), put_string(&b, "32");
    refused("key 'general.alignment' is a string; it must be an integer");
}

/* A little of everything, without slack at the end. */
static void a_whole_file(void)
{
    put_gguf_header(&b, 3, 3, 5);
    put_key(&b, "general.architecture", GGUF_STRING), put_string(&b, "gemma3");
    put_key(&b, "general.alignment", GGUF_U32), put_u32(&b, 8);
    put_key(&b, "flag", GGUF_BOOL), put_u8(&b, 1);
    put_array(&b, "tokens", GGUF_STRING, 3);
    put_string(&b, "<pad>"), put_string(&b, ""), put_string(&b, "a");
    put_array(&b, "scores", GGUF_F32, 3), put_zeros(&b, 12);
    put_tensor(&b, "embedding", 32, 2, TENSOR_Q8_0, 0);
    put_tensor(&b, "norm", 4, 1, TENSOR_F32, 72);
    put_tensor(&b, "other", 8, 1, 10, 88);
    put_padding(&b, 8);
    put_zeros(&b, 89);
}

static void every_cut_is_refused(void **state)
{
    (void)state;
    struct failure f;
    a_whole_file();
    assert_true(opens(b.size, &f));
    for (size_t size = 0; size < b.size; size++) {
        f.message[0] = '\0';
        if (opens(size, &f))
            fail_msg("the first %zu of %zu bytes were accepted", size, b.size);
        assert_true(f.message[0] != '\0');
    }
}

/* A flipped bit may leave a good file; it must never lead outside. Everything handed out is read.
 */
static void every_flipped_bit_is_survived(void **state)
{
    (void)state;
    struct failure f;
    size_t refusals = 0;
    a_whole_file();
    for (size_t bit = 0; bit < 8 * b.size; bit++) {
        struct gguf *g;
        volatile unsigned sum = 0;
        b.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
        unsigned char *copy = malloc(b.size);
        assert_non_null(copy);
        memcpy(copy, b.data, b.size);
        refusals += !gguf_open_memory(&g, copy, b.size, &f);
        for (size_t i = 0; g && i < gguf_tensor_count(g); i++) {
            const struct file_tensor *t = gguf_tensor_at(g, i);
            for (size_t j = 0; j < t->bytes; j++)
                sum = sum + ((const unsigned char *)t->data)[j];
        }
        struct gguf_array a;
        if (g && gguf_get_array(g, "tokens", GGUF_STRING, &a, &f))
            for (struct text t; gguf_next_string(&a, &t);)
                for (size_t j = 0; j < t.bytes; j++)
                    sum = sum + (unsigned char)t.data[j];
        gguf_close(g);
        free(copy);
        b.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    /* The 192 bits of the header alone: 32 of magic, 31 of version (3 and 2 are both read). */
    assert_true(refusals > 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_header_is_refused),
        cmocka_unit_test(counts_larger_than_the_file_are_refused),
        cmocka_unit_test(bad_keys_are_refused),
        cmocka_unit_test(bad_arrays_are_refused),
        cmocka_unit_test(bad_tensors_are_refused),
        cmocka_unit_test(bad_places_are_refused),
        cmocka_unit_test(bad_alignments_are_refused),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(every_flipped_bit_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
