/* The small parts: SHA-256, escaping, the little languages of the options, classes of tokens. */
#include "inspect/classes.h"
#include "inspect/options.h"
#include "inspect/sha256.h"
#include "tokenizer/escape.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- SHA-256: the examples of FIPS 180-4, in memory and from a file ---- */

static void test_sha256(void **state)
{
    (void)state;
    char *million = malloc(1000001);
    assert_non_null(million);
    memset(million, 'a', 1000000);
    million[1000000] = '\0';
    const struct {
        const char *text, *digest;
    } known[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    char text[SHA256_TEXT];
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t size = strlen(known[i].text);
        sha256_of(known[i].text, size, text);
        assert_string_equal(text, known[i].digest);

        char path[] = "/tmp/attn-sha256-XXXXXX";
        int descriptor = mkstemp(path);
        assert_true(descriptor >= 0 && write(descriptor, known[i].text, size) == (ssize_t)size);
        close(descriptor);
        memset(text, 0, sizeof text);
        assert_true(sha256_file(path, text, NULL, NULL));
        assert_string_equal(text, known[i].digest);
        unlink(path);
    }
    free(million);
    char unused[SHA256_TEXT];
    struct failure f;
    assert_false(sha256_file("/nonexistent/file", unused, NULL, &f));
    assert_non_null(strstr(f.message, "/nonexistent/file"));
}

/* ---- escaping ---- */

static void escapes(const char *from, size_t bytes, int columns, const char *want, int wide)
{
    char out[ESCAPED_BYTES];
    int got = escape_text(out, (struct text){from, bytes}, columns);
    assert_string_equal(out, want);
    assert_int_equal(got, wide);
}

static void test_escaping(void **state)
{
    (void)state;
#define ESCAPES(from, want, wide) escapes(from, sizeof from - 1, 80, want, wide)
    ESCAPES("plain text", "plain text", 10);
    ESCAPES("", "", 0);
    ESCAPES("\x1b[2J\x07", "\\u{1b}[2J\\u{7}", 14);
    ESCAPES("a\nb\tc\r", "a\\nb\\tc\\r", 9);
    ESCAPES("say \"x\" \\", "say \"x\" \\\\", 10);
    ESCAPES("\0", "\\u{0}", 5);
    ESCAPES("\x7f\xc2\x9b", "\\u{7f}\\u{9b}", 12);                 /* DEL, and CSI of one byte */
    ESCAPES("\xe2\x80\xae right", "\\u{202e} right", 14);          /* bidi override */
    ESCAPES("\xe2\x81\xa6\xe2\x80\x8b", "\\u{2066}\\u{200b}", 16); /* isolate, zero width space */
    ESCAPES("\xef\xbb\xbf", "\\u{feff}", 8);
    ESCAPES("\xff\xc3", "\\xff\\xc3", 8);                       /* not UTF-8 */
    ESCAPES("\xc3\xa9\xe6\xbc\xa2", "\xc3\xa9\xe6\xbc\xa2", 3); /* an ideograph is two columns */
    ESCAPES("\xcc\x81", "\xe2\x97\x8c\xcc\x81", 1); /* a mark with nothing to stand on */
    ESCAPES("e\xcc\x81", "e\xcc\x81", 1);
    ESCAPES("e\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81",
            "e\xcc\x81\xcc\x81\xcc\x81\xcc\x81\\u{301}", 8);
#undef ESCAPES
    escapes("abcdef", 6, 6, "abcdef", 6);
    escapes("abcdefg", 7, 6, "abcde…", 6);
    escapes("abcd\n", 5, 5, "abcd…", 5); /* never half an escape */
    escapes("\xe6\xbc\xa2\xe6\xbc\xa2", 6, 3, "\xe6\xbc\xa2…", 3);
    char out[ESCAPED_BYTES];
    assert_int_equal(escape_quoted(out, (struct text){" the", 4}, 14), 6);
    assert_string_equal(out, "\" the\"");
    assert_int_equal(escape_quoted(out, (struct text){"abcdefgh", 8}, 6), 6);
    assert_string_equal(out, "\"abc…\"");
    assert_int_equal(escape_quoted(out, (struct text){"a\"b", 3}, 14), 6);
    assert_string_equal(out, "\"a\\\"b\"");
}

/* Whatever comes in, nothing that commands a terminal comes out, and the width is kept. */
static void test_escaping_random_bytes(void **state)
{
    (void)state;
    unsigned seed = 9;
    for (int trial = 0; trial < 20000; trial++) {
        char in[64], out[ESCAPED_BYTES];
        size_t bytes = (size_t)(trial % 64);
        for (size_t i = 0; i < bytes; i++) {
            seed = seed * 1664525u + 1013904223u;
            in[i] = (char)(seed >> 24);
        }
        int columns = 1 + trial % ESCAPED_COLUMNS;
        int wide = escape_text(out, (struct text){in, bytes}, columns);
        assert_true(wide <= columns);
        for (const char *p = out; *p; p++)
            assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
    }
}

/* ---- options ---- */

static void test_layers(void **state)
{
    (void)state;
    struct failure f;
    int64_t *layers, count;
    assert_true(parse_layers(NULL, 3, &layers, &count, &f));
    assert_int_equal(count, 3);
    assert_int_equal(layers[2], 2);
    free(layers);
    assert_true(parse_layers("5,0-2,1", 6, &layers, &count, &f));
    assert_int_equal(count, 4);
    const int64_t want[] = {0, 1, 2, 5};
    assert_memory_equal(layers, want, sizeof want);
    free(layers);
    static const char *const bad[] = {"",
                                      ",",
                                      "1,",
                                      "a",
                                      "1-",
                                      "-1",
                                      "2-1",
                                      "1 ,2",
                                      "1;2",
                                      "0x1",
                                      "1--2",
                                      "+1",
                                      " 1",
                                      "1,,2",
                                      "6",
                                      "0-6",
                                      "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(parse_layers(bad[i], 6, &layers, &count, &f));
        assert_null(layers);
        assert_non_null(strstr(f.message, "--layers"));
    }
}

static void test_head(void **state)
{
    (void)state;
    struct failure f;
    int64_t layer, head;
    assert_true(parse_head("5.11", 6, 12, &layer, &head, &f));
    assert_int_equal(layer, 5);
    assert_int_equal(head, 11);
    static const char *const bad[] = {"",    "5",   "5.",   ".1",   "5.1 ",
                                      "5,1", "6.0", "5.12", "-1.0", "a.b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(parse_head(bad[i], 6, 12, &layer, &head, &f));
        assert_non_null(strstr(f.message, "--head"));
    }
}

static void test_rows(void **state)
{
    (void)state;
    struct failure f;
    int64_t begin, end;
    const struct {
        const char *text;
        int64_t begin, end;
    } good[] = {{NULL, 0, 50}, {"3:7", 3, 7}, {"3:", 3, 50},
                {":7", 0, 7},  {":", 0, 50},  {"0:50", 0, 50}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(parse_rows(good[i].text, 50, &begin, &end, &f));
        assert_int_equal(begin, good[i].begin);
        assert_int_equal(end, good[i].end);
    }
    static const char *const bad[] = {"",    "3",   "3:3",   "7:3",  "0:51",
                                      "50:", "a:b", "1:2:3", "-1:2", "1 :2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(parse_rows(bad[i], 50, &begin, &end, &f));
        assert_non_null(strstr(f.message, "--rows"));
    }
}

/* ---- classes ---- */

static void test_classes(void **state)
{
    (void)state;
    enum { COUNT = 40 };
    struct inspected_token tokens[COUNT];
    memset(tokens, 0, sizeof tokens);
    for (int i = 0; i < COUNT; i++)
        tokens[i].class = TOKEN_CLASS_CONTROL; /* more than there are segments of their own */
    tokens[0].class = TOKEN_CLASS_FIRST;
    tokens[1].class = TOKEN_CLASS_ORDINARY;
    tokens[2].class = TOKEN_CLASS_PUNCTUATION;
    tokens[3].class = TOKEN_CLASS_NEWLINE;
    tokens[4].class = TOKEN_CLASS_SEPARATOR;
    struct classes classes;
    struct failure f;
    assert_true(classes_create(&classes, tokens, COUNT, &f));
    assert_int_equal(classes.specials, CLASSES_SPECIALS);
    assert_int_equal(classes.segments, ATTN_SUMMARY_SEGMENTS);
    assert_int_equal(classes.segment_ids[0], TOKEN_CLASS_COUNT);
    assert_int_equal(classes.segment_ids[1], TOKEN_CLASS_ORDINARY);
    assert_int_equal(classes.segment_ids[4], TOKEN_CLASS_COUNT + 1);
    assert_int_equal(classes.segment_ids[COUNT - 1], TOKEN_CLASS_CONTROL);

    static attn_head_summary summary;
    memset(&summary, 0, sizeof summary);
    for (int i = 0; i < ATTN_SUMMARY_SINKS; i++)
        summary.sinks[i] = (attn_sink){-1, NAN, 0};
    summary.mass_segments[TOKEN_CLASS_ORDINARY] = 0.25;
    summary.mass_segments[TOKEN_CLASS_CONTROL] = 0.125;
    summary.mass_segments[TOKEN_CLASS_COUNT] = 0.5;        /* the first token */
    summary.mass_segments[TOKEN_CLASS_COUNT + 2] = 0.0625; /* token 5, control */
    memcpy(summary.mass_segments_label, summary.mass_segments, sizeof summary.mass_segments);
    double masses[TOKEN_CLASS_COUNT];
    classes_masses(&classes, &summary, masses);
    assert_true(masses[TOKEN_CLASS_FIRST] == 0.5);
    assert_true(masses[TOKEN_CLASS_ORDINARY] == 0.25);
    assert_true(masses[TOKEN_CLASS_CONTROL] == 0.1875);
    assert_true(masses[TOKEN_CLASS_SEPARATOR] == 0.0);
    assert_true(classes_special(&classes, &summary, 0.3) == 0.6875);
    summary.sinks[0] = (attn_sink){0, 0.31, 64};
    assert_true(classes_special(&classes, &summary, 0.3) == 0.1875);
    summary.sinks[0].mass = 0.3; /* not above the cut-off: no sink */
    assert_true(classes_special(&classes, &summary, 0.3) == 0.6875);
    summary.sinks[1] = (attn_sink){1, 0.9, 64}; /* a sink, but not a special token */
    assert_true(classes_special(&classes, &summary, 0.3) == 0.6875);
    classes_destroy(&classes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_escaping_random_bytes),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
