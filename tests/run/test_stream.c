/* Text as it is written: whole characters only, U+FFFD for what is none, stop texts across tokens, control
 * tokens left out or shown, spaces as the tokenizer means them. */
#include "../tokenizer/small.h"

#include "run/stream.h"

#define B "\xE2\x96\x81" /* the block, U+2581 */

static const struct entry entries[] = {
    {"<unk>", 0, TOKEN_UNKNOWN},
    {"<s>", 0, TOKEN_CONTROL},
    {"</s>", 0, TOKEN_CONTROL},
    {B "a", 0, 0},
    {"b", 0, 0},
    {"STO", 0, 0},
    {"P", 0, 0},
    {"x\xC3\xA9", 0, 0},
    {"<0xE6>", 0, TOKEN_BYTE},
    {"<0x97>", 0, TOKEN_BYTE},
    {"<0xA5>", 0, TOKEN_BYTE},
    {"<0xC3>", 0, TOKEN_BYTE},
    {"\n\n", 0, TOKEN_USER_DEFINED},
};
enum { UNK, BOS, EOS, A, LETTER_B, STO, P, XE, E6, H97, HA5, C3, LINES };

static struct tokenizer *tokenizer;

static int open_tokenizer(void **state)
{
    (void)state;
    struct vocabulary v = vocabulary_default(TOKENIZER_SENTENCEPIECE);
    v.unknown = 0, v.bos = v.first = 1, v.end = 2;
    tokenizer = make_small(v, entries, COUNT(entries));
    return 0;
}

static int close_tokenizer(void **state)
{
    (void)state;
    tokenizer_free(tokenizer);
    return 0;
}

/* The tokens, and what comes out after each, with '|' between, and at the end behind '.'. */
static void expect(const char *const *stops, bool show_control, const int32_t *tokens, int count,
                   const char *wanted)
{
    struct stream s;
    struct text out;
    struct failure f = {""};
    char got[512] = "", all[512] = "";
    stream_open(&s, tokenizer, stops, show_control, BOS);
    for (int i = 0; i < count && s.stopped == NULL; i++) {
        if (!stream_token(&s, tokens[i], &out, &f))
            fail_msg("%s", f.message);
        strcat(got, i > 0 ? "|" : "");
        strncat(got, out.data, out.bytes);
        strncat(all, out.data, out.bytes);
    }
    assert_true(stream_finish(&s, &out, &f));
    strcat(got, ".");
    strncat(got, out.data, out.bytes);
    strncat(all, out.data, out.bytes);
    assert_string_equal(got, wanted);
    assert_string_equal(s.text != NULL ? s.text : "", all);
    assert_int_equal(s.bytes, strlen(all));
    stream_free(&s);
}

#define EXPECT(stops, control, wanted, ...)                                                        \
    do {                                                                                           \
        const int32_t ids[] = {__VA_ARGS__};                                                       \
        expect(stops, control, ids, (int)COUNT(ids), wanted);                                      \
    } while (0)

static void words(void **state)
{
    (void)state;
    EXPECT(NULL, false, " a|b| a.", A, LETTER_B, A);
    EXPECT(NULL, false, "b|x\xC3\xA9|\n\n| a.", LETTER_B, XE, LINES, A);
}

static void characters_of_several_tokens(void **state)
{
    (void)state;
    EXPECT(NULL, false, "b|||\xE6\x97\xA5|b.", LETTER_B, E6, H97, HA5, LETTER_B);
}

static void broken_characters(void **state)
{
    (void)state;
    EXPECT(NULL, false,
           "||\xEF\xBF\xBD"
           "b.",
           E6, H97, LETTER_B);
    EXPECT(NULL, false, "|.\xEF\xBF\xBD", E6, H97);        /* cut at the end */
    EXPECT(NULL, false, "\xEF\xBF\xBD|b.", HA5, LETTER_B); /* no beginning of any */
    EXPECT(NULL, false, "|\xEF\xBF\xBD|\xEF\xBF\xBD.\xEF\xBF\xBD", C3, C3, C3);
    EXPECT(NULL, false, "|\xEF\xBF\xBD|\xC3\x97.", C3, C3, H97);
}

static void control_tokens(void **state)
{
    (void)state;
    EXPECT(NULL, false, "b|| a.", LETTER_B, EOS, A);
    EXPECT(NULL, true, "b|</s>| a.", LETTER_B, EOS, A);
}

static void stop_texts(void **state)
{
    (void)state;
    const char *const stop[] = {"STOP", NULL}, *const two[] = {"aP", "STOP", "", NULL};
    EXPECT(stop, false, "b||.", LETTER_B, STO, P, A);
    EXPECT(stop, false, "b||STOb.", LETTER_B, STO, LETTER_B);
    EXPECT(stop, false, "b||STO|.", LETTER_B, STO, STO, P);
    EXPECT(stop, false, "b|.STO", LETTER_B, STO);
    EXPECT(two, false, " |.", A, P);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(characters_of_several_tokens),
        cmocka_unit_test(broken_characters),
        cmocka_unit_test(control_tokens),
        cmocka_unit_test(stop_texts),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
