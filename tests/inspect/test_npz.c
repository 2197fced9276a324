/* The .npz writer, byte by byte: walked from the end as a reader does (APPNOTE 6.3, sections 4.3.14 to
 * 4.3.16, 4.3.12, 4.3.7), with a checksum of the test's own. */
#include "inspect/npz.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static uint32_t plain_crc(const unsigned char *data, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static uint64_t number(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

static unsigned char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *data = malloc(*size + 1);
    assert_int_equal(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}

/* Check an entry of the directory and its local header; returns where its data is. */
static const unsigned char *check_entry(const unsigned char *file, const unsigned char **directory,
                                        const char *name, size_t *size)
{
    const unsigned char *d = *directory;
    assert_int_equal(number(d, 4), 0x02014b50);
    assert_int_equal(number(d + 8, 2) & 8, 8); /* the checksum follows the data */
    assert_int_equal(number(d + 10, 2), 0);    /* stored */
    size_t length = number(d + 28, 2), extra = number(d + 30, 2);
    assert_int_equal(length, strlen(name));
    assert_memory_equal(d + 46, name, length);
    const unsigned char *zip64 = d + 46 + length;
    assert_int_equal(number(zip64, 2), 1);
    assert_int_equal(number(zip64 + 2, 2), 24);
    *size = number(zip64 + 4, 8);
    assert_int_equal(number(zip64 + 12, 8), *size);
    const unsigned char *local = file + number(zip64 + 20, 8);
    assert_int_equal(number(local, 4), 0x04034b50);
    assert_int_equal(number(local + 26, 2), length);
    assert_memory_equal(local + 30, name, length);
    assert_int_equal(number(local + 30 + length + 4, 8), *size);
    const unsigned char *data = local + 30 + length + number(local + 28, 2);
    assert_int_equal(number(d + 16, 4), plain_crc(data, *size));
    assert_int_equal(number(data + *size, 4), 0x08074b50);
    assert_int_equal(number(data + *size + 4, 4), plain_crc(data, *size));
    assert_int_equal(number(data + *size + 8, 8), *size);
    *directory = d + 46 + length + extra + number(d + 32, 2);
    return data;
}

static void check_array(const unsigned char *data, size_t size, const char *description,
                        const void *values, size_t bytes)
{
    assert_memory_equal(data, "\x93NUMPY\x01\x00", 8);
    size_t header = number(data + 8, 2);
    assert_int_equal((10 + header) % 64, 0);
    assert_int_equal(data[10 + header - 1], '\n');
    assert_memory_equal(data + 10, description, strlen(description));
    assert_int_equal(size, 10 + header + bytes);
    assert_memory_equal(data + 10 + header, values, bytes);
}

static void test_bytes(void **state)
{
    (void)state;
    char folder[] = "/tmp/attn-npz-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/w.npz", folder);
    float weights[3][5];
    for (int i = 0; i < 15; i++)
        weights[i / 5][i % 5] = (float)i / 16;
    const int64_t rows[2] = {7, 10}, head[2] = {5, 1};
    const int32_t tokens[5] = {2, 10, 11, 12, 13};
    struct npz z;
    struct failure f = {""};
    assert_true(npz_open(&z, path, 3, 5, &f));
    assert_true(npz_add_rows(&z, weights[0], 2, 5, &f));
    assert_true(npz_add_rows(&z, weights[2], 1, 5, &f));
    assert_int_equal(access(path, F_OK), -1); /* no half file under its name */
    assert_true(npz_commit(&z, rows, head, tokens, 5, &f));

    size_t size, bytes;
    unsigned char *file = read_file(path, &size);
    const unsigned char *end = file + size - 22;
    assert_int_equal(number(end, 4), 0x06054b50);
    assert_int_equal(number(end + 10, 2), 4);
    assert_int_equal(number(end - 20, 4), 0x07064b50);
    const unsigned char *end64 = file + number(end - 12, 8);
    assert_int_equal(number(end64, 4), 0x06064b50);
    assert_int_equal(number(end64 + 32, 8), 4);
    const unsigned char *directory = file + number(end64 + 48, 8);
    assert_ptr_equal(directory + number(end64 + 40, 8), end64);
    const unsigned char *data = check_entry(file, &directory, "weights.npy", &bytes);
    check_array(data, bytes, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5), }", weights,
                sizeof weights);
    data = check_entry(file, &directory, "rows.npy", &bytes);
    check_array(data, bytes, "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }", rows,
                sizeof rows);
    data = check_entry(file, &directory, "head.npy", &bytes);
    check_array(data, bytes, "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }", head,
                sizeof head);
    data = check_entry(file, &directory, "tokens.npy", &bytes);
    check_array(data, bytes, "{'descr': '<i4', 'fortran_order': False, 'shape': (5,), }", tokens,
                sizeof tokens);
    assert_ptr_equal(directory, end64);
    free(file);
    remove(path);
    assert_int_equal(rmdir(folder), 0); /* and nothing else was left */
}

static void test_giving_up(void **state)
{
    (void)state;
    char folder[] = "/tmp/attn-npz-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/w.npz", folder);
    const float weights[4] = {0};
    struct npz z;
    struct failure f = {""};
    assert_true(npz_open(&z, path, 2, 4, &f));
    assert_true(npz_add_rows(&z, weights, 1, 4, &f));
    npz_discard(&z);
    npz_discard(&z); /* closed already: left alone */
    assert_int_equal(rmdir(folder), 0);
}

static void test_failures(void **state)
{
    (void)state;
    struct npz z;
    struct failure f = {""};
    assert_false(npz_open(&z, "/nonexistent/folder/w.npz", 1, 1, &f));
    assert_non_null(strstr(f.message, "/nonexistent/folder/w.npz"));
    assert_false(npz_open(&z, "/tmp/never.npz", INT64_MAX / 4, 1000, &f));
    assert_non_null(strstr(f.message, "do not fit"));
    /* A full disk: told while rows are added, or when committing. */
    static const float block[1 << 16];
    assert_true(npz_open(&z, "/dev/full", 16, 1 << 16, &f));
    bool ok = true;
    for (int i = 0; ok && i < 16; i++)
        ok = npz_add_rows(&z, block, 1, 1 << 16, &f);
    const int64_t two[2] = {0, 0};
    ok = ok && npz_commit(&z, two, two, (int32_t[]){0}, 1, &f);
    assert_false(ok);
    assert_string_equal(f.message, "/dev/full: cannot be written: No space left on device");
    npz_discard(&z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_giving_up),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
