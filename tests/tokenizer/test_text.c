/* What is no text, and what is no vocabulary: each refused with its sentence. */
#include "small.h"
#include "tokenizer/utf8.h"

#include <math.h>

static struct tokenizer *bytes_only(void)
{
    static char spelled[256][8];
    static struct entry entries[256];
    for (unsigned i = 0; i < 256; i++) {
        snprintf(spelled[i], sizeof spelled[i], "<0x%02X>", i);
        entries[i] = (struct entry){spelled[i], 0, TOKEN_BYTE};
    }
    return make_small(vocabulary_default(TOKENIZER_SENTENCEPIECE), entries, 256);
}

struct bad {
    const char *text;
    size_t offset;
    size_t lossy_bytes; /* three for every broken sequence, plus the good ones */
};

static void invalid_utf8(void **state)
{
    (void)state;
    static const struct bad list[] = {
        {"ab\x80", 2, 5},            /* stray continuation */
        {"\xC0\xAF", 0, 6},          /* overlong "/": two bytes that begin nothing */
        {"a\xE0\x80\xAF", 1, 10},    /* overlong in three */
        {"\xF0\x8F\xBF\xBF", 0, 12}, /* overlong in four */
        {"x\xED\xA0\x80", 1, 10},    /* surrogate */
        {"\xF4\x90\x80\x80", 0, 12}, /* above U+10FFFF */
        {"\xF5\x80\x80\x80", 0, 12}, /* no such lead byte */
        {"\xC3\xA9\xE2\x82", 2, 5},  /* cut short at the end: one sequence */
        {"\xE2\x82z", 0, 4},         /* cut short by a letter */
        {"\xF0\x9F\x98\xF0\x9F\x98\x80", 0, 7},
        {"\xFE\xFF", 0, 6},
    };
    struct tokenizer *t = bytes_only();
    for (size_t i = 0; i < COUNT(list); i++) {
        struct text text = {list[i].text, strlen(list[i].text)};
        struct token_list tokens;
        struct failure f = {""};
        char offset[32];
        assert_false(tokenizer_encode(t, text, (struct encode_options){0}, &tokens, &f));
        assert_null(tokens.tokens);
        snprintf(offset, sizeof offset, "offset %zu ", list[i].offset);
        assert_non_null(strstr(f.message, offset));
        assert_true(tokenizer_encode(t, text, (struct encode_options){.lossy = true}, &tokens, &f));
        assert_int_equal(tokens.count, list[i].lossy_bytes);
        assert_int_equal(tokens.tokens[tokens.count - 1].end, text.bytes);
        token_list_free(&tokens);
    }
    tokenizer_free(t);
}

/* Every code point is valid and survives; every surrogate is refused. */
static void every_code_point(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x110000; code++) {
        char bytes[4];
        size_t n = utf8_write(code, bytes);
        struct utf8_character c = utf8_read(bytes, n);
        bool surrogate = code >= 0xD800 && code < 0xE000;
        assert_true(c.valid != surrogate);
        assert_true(surrogate || (c.code == code && c.bytes == n));
    }
}

static void too_long(void **state)
{
    (void)state;
    struct tokenizer *t = bytes_only();
    struct token_list list;
    struct failure f = {""};
    struct text text = {"", (size_t)TOKENIZER_MAX_TEXT + 1}; /* refused before it is looked at */
    assert_false(tokenizer_encode(t, text, (struct encode_options){.lossy = true}, &list, &f));
    assert_non_null(strstr(f.message, "at most 1073741824"));
    tokenizer_free(t);
}

static void decode_out_of_range(void **state)
{
    (void)state;
    struct tokenizer *t = bytes_only();
    char *text;
    size_t bytes;
    struct failure f = {""};
    assert_false(tokenizer_decode(t, (const int32_t[]){65, 256}, 2, &text, &bytes, &f));
    assert_null(text);
    assert_non_null(strstr(f.message, "256"));
    assert_false(tokenizer_decode(t, (const int32_t[]){-1}, 1, &text, &bytes, NULL));
    assert_true(tokenizer_decode(t, NULL, 0, &text, &bytes, NULL));
    assert_int_equal(bytes, 0);
    free(text);
    tokenizer_free(t);
}

static void expect_refused(const struct vocabulary *v, const char *part)
{
    struct tokenizer *t;
    struct failure f = {""};
    assert_false(tokenizer_create(&t, v, &f));
    assert_null(t);
    if (strstr(f.message, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", f.message, part);
}

static void bad_vocabularies(void **state)
{
    (void)state;
    const struct text tokens[] = {{"a", 1}, {"b", 1}, {"c", 70000}};
    float scores[] = {0, 0, 0};
    unsigned char types[] = {1, 1, 1};
    struct vocabulary good = vocabulary_default(TOKENIZER_SENTENCEPIECE);
    good.count = 2;
    good.tokens = tokens;
    good.scores = scores;
    good.types = types;
    good.unknown = 0;

    struct vocabulary v = good;
    v.count = 0;
    expect_refused(&v, "0 tokens");
    v = good;
    v.count = 3;
    expect_refused(&v, "token 2 of the vocabulary has 70000 bytes");
    v = good;
    v.unknown = 2;
    expect_refused(&v, "unknown token is 2");
    v = good;
    v.first = -2;
    expect_refused(&v, "first token is -2");
    v = good;
    v.unknown = -1;
    expect_refused(&v, "neither an unknown token nor one for the byte 0x00");
    v = vocabulary_default(TOKENIZER_WORDPIECE);
    v.count = 2;
    v.tokens = tokens;
    expect_refused(&v, "[UNK]");
    types[1] = 7;
    expect_refused(&good, "type of token 1");
    types[1] = TOKEN_BYTE;
    expect_refused(&good, "a byte token looks like");
    types[1] = TOKEN_NORMAL;
    scores[1] = NAN;
    expect_refused(&good, "score of token 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(invalid_utf8), cmocka_unit_test(every_code_point),
        cmocka_unit_test(too_long), cmocka_unit_test(decode_out_of_range),
        cmocka_unit_test(bad_vocabularies)};
    return cmocka_run_group_tests_name("tokenizer_text", tests, NULL, NULL);
}
