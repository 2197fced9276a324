/* Mapping files, the sentence for each thing that is no file to map, and quoting what files say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"
#include "bytes.h"
#include "files/mapped_file.h"

#include <fcntl.h>
#include <sys/stat.h>

static struct bytes b;
static char path[64];

/* The lowest free descriptor: the same before and after, if none was left open. */
static int free_descriptor(void)
{
    int descriptor = open("/", O_RDONLY);
    assert_true(descriptor >= 0);
    close(descriptor);
    return descriptor;
}

static void refused(const char *name, const char *sentence)
{
    struct mapped_file file = {(const unsigned char *)"", 1};
    struct failure f = {""};
    char whole[256];
    int free_before = free_descriptor();
    assert_false(mapped_file_open(&file, name, &f));
    assert_int_equal(free_descriptor(), free_before);
    snprintf(whole, sizeof whole, "%s: %s", name, sentence);
    assert_string_equal(f.message, whole);
    assert_null(file.data);
    assert_int_equal(file.size, 0);
}

static void a_file_is_mapped_whole(void **state)
{
    (void)state;
    struct mapped_file file;
    struct failure f;
    b.size = 0;
    for (int i = 0; i < 5000; i++)
        put_u8(&b, (uint8_t)(i * 7));
    write_temporary(&b, path);
    int free_before = free_descriptor();
    assert_true(mapped_file_open(&file, path, &f));
    assert_int_equal(free_descriptor(), free_before);
    unlink(path);
    assert_int_equal(file.size, 5000);
    assert_memory_equal(file.data, b.data, 5000);
    mapped_file_close(&file);
    assert_null(file.data);
    mapped_file_close(&file);
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    refused("/no/such/file", "cannot be opened: No such file or directory");
    refused("", "cannot be opened: No such file or directory");
    refused("/", "is a directory, not a file");
    refused("/dev/null", "is not a regular file");
    b.size = 0;
    write_temporary(&b, path);
    refused(path, "is empty");
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    refused(path, "is not a regular file"); /* and does not wait for a writer */
    unlink(path);
}

/* Root may read anything, so root becomes nobody for a moment. */
static void what_may_not_be_read_is_refused(void **state)
{
    (void)state;
    enum { NOBODY = 65534 };
    bool root = geteuid() == 0;
    b.size = 0;
    put_u8(&b, 1);
    write_temporary(&b, path);
    chmod(path, 0);
    if (root && seteuid(NOBODY) != 0)
        skip();
    refused(path, "cannot be opened: Permission denied");
    if (root)
        assert_int_equal(seteuid(0), 0);
    unlink(path);
}

static void assert_quoted(const char *data, size_t bytes, const char *wanted)
{
    char out[TEXT_QUOTED];
    memset(out, 'x', sizeof out);
    assert_string_equal(text_quote((struct text){data, bytes}, out), wanted);
    assert_true(strlen(out) < TEXT_QUOTED);
}

static void quotes_are_printable_and_fit(void **state)
{
    (void)state;
    char longest[200], wanted[TEXT_QUOTED];
    assert_quoted(NULL, 0, "''");
    assert_quoted("a b~", 4, "'a b~'");
    assert_quoted("\x1b[2J\0\n", 6, "'\\x1b[2J\\x00\\x0a'");
    assert_quoted("it's\\", 5, "'it\\x27s\\x5c'");
    memset(longest, 'a', sizeof longest);
    for (size_t bytes = 0; bytes < sizeof longest; bytes++) {
        bool whole = bytes + 6 <= TEXT_QUOTED; /* quotes, "..." and NUL are kept free */
        int kept = whole ? (int)bytes : TEXT_QUOTED - 6;
        snprintf(wanted, sizeof wanted, "'%.*s%s'", kept, longest, whole ? "" : "...");
        assert_quoted(longest, bytes, wanted);
    }
    memset(longest, '\n', sizeof longest);
    for (size_t bytes = 0; bytes < sizeof longest; bytes++) {
        char out[TEXT_QUOTED];
        text_quote((struct text){longest, bytes}, out);
        assert_true(strlen(out) < TEXT_QUOTED && out[strlen(out) - 1] == '\'');
    }
}

static void texts_compare_as_bytes(void **state)
{
    (void)state;
    struct text a = {"ab", 2}, longer = {"abc", 3}, high = {"\xff", 1}, none = {NULL, 0};
    assert_true(text_compare(a, a) == 0 && text_compare(none, none) == 0);
    assert_true(text_compare(a, longer) < 0 && text_compare(longer, a) > 0);
    assert_true(text_compare(a, high) < 0 && text_compare(none, a) < 0);
    assert_true(text_is(a, "ab") && !text_is(a, "abc") && !text_is(longer, "ab"));
    assert_true(text_is(none, ""));
}

static void a_sentence_is_cut_and_never_overruns(void **state)
{
    (void)state;
    char name[600], wanted[1300];
    struct failure f;
    for (size_t bytes = 0; bytes < sizeof name; bytes++) {
        memset(name, 'n', bytes);
        name[bytes] = '\0';
        assert_false((fail)(&f, "is empty, %s", name));
        assert_false(failure_prefix(&f, "%s", name));
        snprintf(wanted, sizeof wanted, "%s: is empty, ", name);
        strncat(wanted, name, sizeof wanted - strlen(wanted) - 1);
        wanted[sizeof f.message - 1] = '\0';
        assert_string_equal(f.message, wanted);
    }
    assert_false((fail)(NULL, "nobody listens"));
    assert_false(failure_prefix(NULL, "nobody"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_mapped_whole),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(what_may_not_be_read_is_refused),
        cmocka_unit_test(quotes_are_printable_and_fit),
        cmocka_unit_test(texts_compare_as_bytes),
        cmocka_unit_test(a_sentence_is_cut_and_never_overruns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
