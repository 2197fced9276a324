/* Statuses have names, and sentences are written, cut and cleared without overrunning. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/error.h"

static void every_status_has_its_name(void **state)
{
    (void)state;
    int count = 0;
#define ATTN_STATUS(name, description)                                                             \
    assert_int_equal(name, count++);                                                               \
    assert_string_equal(attn_status_name(name), #name);                                            \
    assert_string_equal(attn_status_description(name), description);
#include "base/status.def"
#undef ATTN_STATUS
    /* The last one of attn.h: one more there without a line in status.def fails here. */
    assert_int_equal(count, ATTN_ERR_FILE + 1);
    assert_string_equal(attn_status_name((attn_status)count), "unknown status");
    assert_string_equal(attn_status_name((attn_status)-1), "unknown status");
    assert_string_equal(attn_status_description((attn_status)count), "unknown status");
}

static void a_sentence_is_written_and_cleared(void **state)
{
    (void)state;
    attn_error error;
    memset(&error, 0x5a, sizeof error);
    assert_int_equal(attn_fail(&error, ATTN_ERR_SHAPE, "heads is %d", -3), ATTN_ERR_SHAPE);
    assert_int_equal(error.status, ATTN_ERR_SHAPE);
    assert_string_equal(error.message, "heads is -3");
    assert_int_equal(attn_succeed(&error), ATTN_OK);
    assert_int_equal(error.status, ATTN_OK);
    assert_string_equal(error.message, "");
    assert_int_equal(attn_fail(NULL, ATTN_ERR_NULL, "nobody reads this"), ATTN_ERR_NULL);
    assert_int_equal(attn_succeed(NULL), ATTN_OK);
}

/* A text of `before` letters and then characters of several bytes must fit, cut at a whole character. */
static void check_cut(int before, const char *character)
{
    char text[600] = "";
    size_t used = 0;
    for (; used < (size_t)before; used++)
        text[used] = 'a';
    size_t width = strlen(character);
    while (used + width < sizeof text) {
        memcpy(text + used, character, width);
        used += width;
    }
    struct {
        attn_error error;
        unsigned char guard[16];
    } box;
    memset(&box, 0x5a, sizeof box);
    attn_fail(&box.error, ATTN_ERR_VALUE, "%s", text);
    for (size_t i = 0; i < sizeof box.guard; i++)
        assert_int_equal(box.guard[i], 0x5a);
    size_t room = sizeof box.error.message - 1;
    size_t expected = room - (room - (size_t)before) % width;
    assert_int_equal(strlen(box.error.message), expected);
    assert_memory_equal(box.error.message, text, expected);
}

static void a_long_sentence_is_cut_at_a_character(void **state)
{
    (void)state;
    for (int before = 0; before < 8; before++) {
        check_cut(before, "b");
        check_cut(before, "\xc3\xa9");
        check_cut(before, "\xe2\x82\xac");
        check_cut(before, "\xf0\x9f\x98\x80");
    }
}

static void the_version_is_the_headers(void **state)
{
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", ATTN_VERSION_MAJOR, ATTN_VERSION_MINOR,
             ATTN_VERSION_PATCH);
    assert_string_equal(attn_version(), text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_its_name),
        cmocka_unit_test(a_sentence_is_written_and_cleared),
        cmocka_unit_test(a_long_sentence_is_cut_at_a_character),
        cmocka_unit_test(the_version_is_the_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
