/* SentencePiece BPE on a vocabulary small enough to work out by hand. */
#include "small.h"

#define B "\xE2\x96\x81" /* the block, U+2581 */

static const struct entry entries[] = {
    {"<unk>", 0, TOKEN_UNKNOWN},
    {"<s>", 0, TOKEN_CONTROL},
    {"</s>", 0, TOKEN_CONTROL},
    {"\n", -1000, TOKEN_USER_DEFINED},
    {"\n\n", -1000, TOKEN_USER_DEFINED},
    {"  ", -1000, TOKEN_USER_DEFINED},
    {"   ", -1000, TOKEN_USER_DEFINED},
    {"<b>", -1000, TOKEN_USER_DEFINED},
    {B "t", 0, 0},
    {"he", -1, 0},
    {B "the", -2, 0},
    {"aa", -3, 0},
    {"aaa", -4, 0},
    {"bc", -5, 0},
    {"ab", -6, 0},
    {"t", -20, 0},
    {"h", -21, 0},
    {"e", -22, 0},
    {"a", -23, 0},
    {"b", -24, 0},
    {"c", -25, 0},
    {B, -26, 0},
    {"e" B "t", -8, 0},
    {"hidden", 0, TOKEN_UNUSED},
    {"<0xC3>", 0, TOKEN_BYTE},
    {"<0xA9>", 0, TOKEN_BYTE},
    {"<0xEF>", 0, TOKEN_BYTE},
    {"<0xBF>", 0, TOKEN_BYTE},
    {"<0xBD>", 0, TOKEN_BYTE},
    {"<0x0A>", 0, TOKEN_BYTE},
};

static const char *names[COUNT(entries)];

static struct vocabulary rules(void)
{
    struct vocabulary v = vocabulary_default(TOKENIZER_SENTENCEPIECE);
    v.unknown = 0;
    v.bos = v.first = 1;
    v.end = 2;
    return v;
}

static struct tokenizer *small(struct vocabulary v)
{
    for (size_t i = 0; i < COUNT(entries); i++)
        names[i] = entries[i].token;
    return make_small(v, entries, COUNT(entries));
}

static void expect(const struct tokenizer *t, const char *text, const char *wanted)
{
    expect_bytes(t, text, strlen(text), (struct encode_options){0}, names, wanted);
}

static void merges(void **state)
{
    (void)state;
    struct tokenizer *t = small(rules());
    expect(t, "", "");
    expect(t, "a", "a");
    expect(t, " the", B "the");
    expect(t, "the", "t|he");
    /* "bc" beats "ab" by its score although it is further right. */
    expect(t, "abc", "a|bc");
    /* All four pairs of "aaaaa" are equal: the leftmost first, then the next, never the middle. */
    expect(t, "aaaaa", "aa|aaa");
    expect(t, "aaaa", "aa|aa");
    expect(t, "aaa", "aaa");
    /* A merge across a space, for which the vocabulary has a token, in two steps. */
    expect(t, "e ta", "e" B "t|a");
    expect(t, "he the", "he|" B "the");
    expect(t, "hidden", "h|<unk>|e|<unk>");
    tokenizer_free(t);
}

/* Where no higher score is in the way, a token with a space inside is formed. */
static void space_inside(void **state)
{
    (void)state;
    static const struct entry few[] = {
        {"<unk>", 0, TOKEN_UNKNOWN}, {"a", -9, 0},  {"b", -9, 0}, {B, -9, 0}, {"a" B, -1, 0},
        {"a" B "b", -2, 0},          {B "b", -3, 0}};
    static const char *few_names[] = {"<unk>", "a", "b", B, "a" B, "a" B "b", B "b"};
    struct vocabulary v = vocabulary_default(TOKENIZER_SENTENCEPIECE);
    v.unknown = 0;
    struct tokenizer *t = make_small(v, few, COUNT(few));
    expect_bytes(t, "a b b", 5, (struct encode_options){0}, few_names, "a" B "b|" B "b");
    tokenizer_free(t);
}

static void user_defined(void **state)
{
    (void)state;
    struct tokenizer *t = small(rules());
    expect(t, "a\n\n\nb", "a|\n\n|\n|b");
    expect(t, "a  b", "a|  |b");
    expect(t, "a     b", "a|   |  |b");
    expect(t, "a    the", "a|   |" B "the");
    expect(t, "a<b>b", "a|<b>|b");
    expect(t, "<b", "<unk>|b");
    /* A literal block is a space. */
    expect(t, "a" B B "b", "a|  |b");
    expect(t, "a " B "b", "a|  |b");
    expect(t, B "the", B "the");
    tokenizer_free(t);
}

static void bytes_and_unknown(void **state)
{
    (void)state;
    struct tokenizer *t = small(rules());
    expect(t,
           "a\xC3\xA9"
           "b",
           "a|<0xC3>|<0xA9>|b");
    /* No bytes for these two: one unknown token for both, and ranges that show it. */
    expect(t, "aXYb", "a|<unk>|b");
    expect(t, "XaX", "<unk>|a|<unk>");
    /* The name of a byte token is text like any other. */
    expect(t, "<0x0A>", "<unk>");
    struct token_list list;
    assert_true(tokenizer_encode(t, (struct text){"aXY\xC3\xA9", 5}, (struct encode_options){0},
                                 &list, NULL));
    assert_int_equal(list.count, 4);
    assert_int_equal(list.tokens[1].begin, 1);
    assert_int_equal(list.tokens[1].end, 3);
    assert_int_equal(list.tokens[2].begin, 3);
    assert_int_equal(list.tokens[2].end, 4);
    assert_int_equal(list.tokens[3].end, 5);
    token_list_free(&list);
    tokenizer_free(t);
}

static void special(void **state)
{
    (void)state;
    struct tokenizer *t = small(rules());
    expect(t, "<s>a", "<unk>|a");
    expect_bytes(t, "a<s>a</s>", 9, (struct encode_options){.parse_special = true}, names,
                 "a|<s>|a|</s>");
    expect_bytes(t, "a", 1, (struct encode_options){.add_special = true}, names, "<s>|a");
    expect_bytes(t, "", 0, (struct encode_options){.add_special = true}, names, "<s>");
    tokenizer_free(t);

    struct vocabulary v = rules();
    v.last = 2;
    t = small(v);
    expect_bytes(t, "a", 1, (struct encode_options){.add_special = true}, names, "<s>|a|</s>");
    tokenizer_free(t);
}

static void prefix_space(void **state)
{
    (void)state;
    struct vocabulary v = rules();
    v.add_space_prefix = true;
    struct tokenizer *t = small(v);
    expect(t, "", "");
    expect(t, "the", B "the");
    expect(t, "\nthe", B "|\n|t|he");
    expect_bytes(t, "<s>the", 6, (struct encode_options){.parse_special = true}, names, "<s>|t|he");
    char *text;
    size_t bytes;
    assert_true(tokenizer_decode(t, (const int32_t[]){1, 10}, 2, &text, &bytes, NULL));
    assert_string_equal(text, "the");
    free(text);
    tokenizer_free(t);
}

static void lossy(void **state)
{
    (void)state;
    struct tokenizer *t = small(rules());
    struct encode_options options = {.lossy = true};
    expect_bytes(t,
                 "a\xFF"
                 "b",
                 3, options, names, "a|<0xEF>|<0xBF>|<0xBD>|b");
    /* A broken sequence counts once; the space and the token behind it stay. */
    expect_bytes(t, "\xE2\x96 t<b>", 7, options, names, "<0xEF>|<0xBF>|<0xBD>|" B "t|<b>");
    tokenizer_free(t);
}

/* Every text made of these pieces: the ranges cover it without gaps, and decoding gives it back. */
static void cover_and_round_trip(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a",        "the", " ",   "   ", "\n",
                                         "\xC3\xA9", "b",   "<b>", "e t", "c"};
    struct tokenizer *t = small(rules());
    uint32_t random = 1;
    for (int round = 0; round < 3000; round++) {
        char text[256] = "";
        for (uint32_t n = round % 12; n > 0; n--) {
            random = random * 1664525 + 1013904223;
            strcat(text, pieces[(random >> 16) % COUNT(pieces)]);
        }
        struct token_list list;
        int32_t ids[256];
        size_t reached = 0, bytes, length = strlen(text);
        assert_true(tokenizer_encode(t, (struct text){text, length}, (struct encode_options){0},
                                     &list, NULL));
        for (size_t i = 0; i < list.count; i++) {
            ids[i] = list.tokens[i].id;
            assert_int_equal(list.tokens[i].begin, reached);
            reached = list.tokens[i].end;
        }
        assert_int_equal(reached, length);
        char *back;
        assert_true(tokenizer_decode(t, ids, list.count, &back, &bytes, NULL));
        assert_int_equal(bytes, length);
        assert_memory_equal(back, text, length);
        free(back);
        token_list_free(&list);
    }
    tokenizer_free(t);
}

static void classes(void **state)
{
    (void)state;
    struct tokenizer *t = small(rules());
    static const enum token_class wanted[] = {TOKEN_CLASS_ORDINARY, TOKEN_CLASS_FIRST,
                                              TOKEN_CLASS_CONTROL,  TOKEN_CLASS_NEWLINE,
                                              TOKEN_CLASS_NEWLINE,  TOKEN_CLASS_ORDINARY};
    for (int32_t i = 0; i < (int32_t)COUNT(wanted); i++)
        assert_int_equal(tokenizer_class(t, i), wanted[i]);
    assert_int_equal(tokenizer_class(t, 29), TOKEN_CLASS_NEWLINE); /* <0x0A> */
    assert_int_equal(tokenizer_class(t, 24), TOKEN_CLASS_ORDINARY);
    assert_int_equal(tokenizer_class(t, -1), TOKEN_CLASS_ORDINARY);
    assert_int_equal(tokenizer_class(t, 1000), TOKEN_CLASS_ORDINARY);
    assert_true(tokenizer_is_word(t, 10) && tokenizer_is_word(t, 9));
    assert_false(tokenizer_is_word(t, 1) || tokenizer_is_word(t, 3) || tokenizer_is_word(t, 21));
    assert_false(tokenizer_is_word(t, 23) || tokenizer_is_word(t, 24) || tokenizer_is_word(t, -1));
    struct text piece = tokenizer_piece(t, 10);
    assert_true(text_is(piece, " the"));
    assert_true(text_is(tokenizer_piece(t, 24), "<0xC3>"));
    assert_int_equal(tokenizer_piece(t, 1000).bytes, 0);
    assert_int_equal(tokenizer_find(t, (struct text){"he", 2}), 9);
    assert_int_equal(tokenizer_find(t, (struct text){"nope", 4}), -1);
    tokenizer_free(t);
}

/* 200,000 characters without a space: a quadratic way would take minutes. */
static void one_long_word(void **state)
{
    (void)state;
    enum { N = 200000 };
    struct tokenizer *t = small(rules());
    char *text = malloc(N);
    memset(text, 'a', N);
    struct token_list list;
    assert_true(
        tokenizer_encode(t, (struct text){text, N}, (struct encode_options){0}, &list, NULL));
    assert_int_equal(list.count, N / 2);
    token_list_free(&list);
    free(text);
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges),       cmocka_unit_test(space_inside),
        cmocka_unit_test(user_defined), cmocka_unit_test(bytes_and_unknown),
        cmocka_unit_test(special),      cmocka_unit_test(prefix_space),
        cmocka_unit_test(lossy),        cmocka_unit_test(cover_and_round_trip),
        cmocka_unit_test(classes),      cmocka_unit_test(one_long_word),
    };
    return cmocka_run_group_tests_name("tokenizer_sentencepiece", tests, NULL, NULL);
}
