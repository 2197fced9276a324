/* WordPiece by hand, in both spellings of the vocabulary: "##x" and U+2581 "x". */
#include "small.h"

#define B "\xE2\x96\x81"

static const struct entry hashes[] = {
    {"[UNK]", 0, TOKEN_CONTROL},
    {"[CLS]", 0, TOKEN_CONTROL},
    {"[SEP]", 0, TOKEN_CONTROL},
    {"[unused1]", 0, 0},
    {"un", 0, 0},
    {"##aff", 0, 0},
    {"##able", 0, 0},
    {"cafe", 0, 0},
    {"##a", 0, 0},
    {"a", 0, 0},
    {"b", 0, 0},
    {"!", 0, 0},
    {"[", 0, 0},
    {"]", 0, 0},
    {"cls", 0, 0},
    {"\xE4\xB8\xAD", 0, 0},
    {"##b", 0, 0},
    {"\xE1\x84\x80", 0, 0},
    {"##\xE1\x85\xA1", 0, 0},
    {"$", 0, 0},
    {"unaff", 0, 0},
};
static const struct entry blocks[] = {
    {"[UNK]", 0, TOKEN_CONTROL},
    {"[CLS]", 0, TOKEN_CONTROL},
    {"[SEP]", 0, TOKEN_CONTROL},
    {"[unused1]", 0, 0},
    {B "un", 0, 0},
    {"aff", 0, 0},
    {"able", 0, 0},
    {B "cafe", 0, 0},
    {"a", 0, 0},
    {B "a", 0, 0},
    {B "b", 0, 0},
    {B "!", 0, 0},
    {B "[", 0, 0},
    {B "]", 0, 0},
    {B "cls", 0, 0},
    {B "\xE4\xB8\xAD", 0, 0},
    {"b", 0, 0},
    {B "\xE1\x84\x80", 0, 0},
    {"\xE1\x85\xA1", 0, 0},
    {B "$", 0, 0},
    {B "unaff", 0, 0},
};

static const char *names[COUNT(hashes)];

static struct vocabulary rules(enum word_mark mark)
{
    struct vocabulary v = vocabulary_default(TOKENIZER_WORDPIECE);
    v.word_mark = mark;
    v.unknown = 0;
    v.first = v.bos = 1;
    v.last = v.sep = 2;
    return v;
}

static struct tokenizer *small(enum word_mark mark)
{
    for (size_t i = 0; i < COUNT(hashes); i++)
        names[i] = hashes[i].token;
    return make_small(rules(mark), mark == WORD_MARK_HASHES ? hashes : blocks, COUNT(hashes));
}

static void expect(const struct tokenizer *t, const char *text, const char *wanted)
{
    expect_bytes(t, text, strlen(text), (struct encode_options){0}, names, wanted);
}

static void words(enum word_mark mark)
{
    struct tokenizer *t = small(mark);
    expect(t, "", "");
    expect(t, " \t\n\xC2\xA0 ", "");
    expect(t, "UnAffable", "unaff|##able");
    /* Greedy: "unaff" is taken, and what is left does not match, although "un ##aff" would not help
     * either; a miss anywhere makes the whole word unknown. */
    expect(t, "unaffx", "[UNK]");
    expect(t, "unable a", "un|##able|a");
    expect(t, "able", "[UNK]");
    expect(t, "a!b$", "a|!|b|$");
    expect(t, "[CLS]", "[|cls|]");
    expect(t, "[unused1]", "[|[UNK]|]");
    /* Marks and blocks in the text are no marks of the vocabulary. */
    expect(t, B "a", "[UNK]");
    tokenizer_free(t);
}

static void characters(enum word_mark mark)
{
    struct tokenizer *t = small(mark);
    expect(t, "CAF\xC3\x89 cafe\xCC\x81", "cafe|cafe");
    expect(t,
           "a\xE4\xB8\xAD"
           "b",
           "a|\xE4\xB8\xAD|b");
    /* A Hangul syllable is decomposed; control characters join what they stood between. */
    expect(t, "\xEA\xB0\x80", "\xE1\x84\x80|##\xE1\x85\xA1");
    expect(t,
           "a\x01"
           "b\xE2\x80\x8D"
           "a",
           "a|##b|##a");
    expect_bytes(t, "a\0b", 3, (struct encode_options){0}, names, "a|##b");
    expect(t,
           "a\xE3\x80\x80"
           "b",
           "a|b");
    expect_bytes(t,
                 "a\xFF"
                 "b",
                 3, (struct encode_options){.lossy = true}, names, "a|##b");
    tokenizer_free(t);
}

static void special(enum word_mark mark)
{
    struct tokenizer *t = small(mark);
    expect_bytes(t, "a", 1, (struct encode_options){.add_special = true}, names, "[CLS]|a|[SEP]");
    expect_bytes(t, "a[SEP]b [sep]", 13, (struct encode_options){.parse_special = true}, names,
                 "a|[SEP]|b|[|[UNK]|]");
    assert_int_equal(tokenizer_class(t, 1), TOKEN_CLASS_FIRST);
    assert_int_equal(tokenizer_class(t, 2), TOKEN_CLASS_SEPARATOR);
    assert_int_equal(tokenizer_class(t, 0), TOKEN_CLASS_CONTROL);
    assert_int_equal(tokenizer_class(t, 11), TOKEN_CLASS_PUNCTUATION);
    assert_int_equal(tokenizer_class(t, 19), TOKEN_CLASS_PUNCTUATION);
    assert_int_equal(tokenizer_class(t, 5), TOKEN_CLASS_ORDINARY);
    assert_true(tokenizer_is_word(t, 5) && tokenizer_is_word(t, 15));
    assert_false(tokenizer_is_word(t, 3) || tokenizer_is_word(t, 11) || tokenizer_is_word(t, 0));
    assert_true(text_is(tokenizer_piece(t, 5), "aff"));
    assert_true(text_is(tokenizer_piece(t, 7), "cafe"));
    char *text;
    size_t bytes;
    assert_true(tokenizer_decode(t, (const int32_t[]){1, 4, 6, 7, 11, 2}, 6, &text, &bytes, NULL));
    assert_string_equal(text, "unable cafe !");
    free(text);
    tokenizer_free(t);
}

/* Two marks that are kept stand in canonical order whichever way they were written: U+1D165 (class
 * 216) before U+302E (class 224). Accents between them do not matter. */
static void marks_in_order(void **state)
{
    (void)state;
    static const struct entry few[] = {{"[UNK]", 0, TOKEN_CONTROL},
                                       {"a", 0, 0},
                                       {"##\xF0\x9D\x85\xA5", 0, 0},
                                       {"##\xE3\x80\xAE", 0, 0}};
    static const char *const few_names[] = {"[UNK]", "a", "stem", "tone"};
    struct vocabulary v = vocabulary_default(TOKENIZER_WORDPIECE);
    v.unknown = 0;
    struct tokenizer *t = make_small(v, few, COUNT(few));
    expect_bytes(t, "a\xE3\x80\xAE\xF0\x9D\x85\xA5", 8, (struct encode_options){0}, few_names,
                 "a|stem|tone");
    expect_bytes(t, "a\xF0\x9D\x85\xA5\xE3\x80\xAE", 8, (struct encode_options){0}, few_names,
                 "a|stem|tone");
    expect_bytes(t, "a\xE3\x80\xAE\xCC\x81\xF0\x9D\x85\xA5", 10, (struct encode_options){0},
                 few_names, "a|stem|tone");
    tokenizer_free(t);
}

static void both_words(void **state)
{
    (void)state;
    words(WORD_MARK_HASHES);
    words(WORD_MARK_BLOCK);
}

static void both_characters(void **state)
{
    (void)state;
    characters(WORD_MARK_HASHES);
    characters(WORD_MARK_BLOCK);
}

static void both_special(void **state)
{
    (void)state;
    special(WORD_MARK_HASHES);
    special(WORD_MARK_BLOCK);
}

/* 100 characters are a word, 101 are unknown; counted behind decomposition. */
static void long_words(void **state)
{
    (void)state;
    struct tokenizer *t = small(WORD_MARK_HASHES);
    char text[512];
    struct token_list list;
    for (size_t n = 99; n <= 102; n++) {
        memset(text, 'a', n);
        assert_true(
            tokenizer_encode(t, (struct text){text, n}, (struct encode_options){0}, &list, NULL));
        assert_int_equal(list.count, n <= 100 ? n : 1);
        assert_int_equal(list.tokens[0].id, n <= 100 ? 9 : 0);
        assert_int_equal(list.tokens[0].end, n <= 100 ? 1 : n);
        token_list_free(&list);
    }
    /* 50 syllables are 100 jamo, of which only the first word's are in the vocabulary. */
    for (size_t i = 0; i < 51; i++)
        memcpy(text + 3 * i, "\xEA\xB0\x80", 3);
    assert_true(
        tokenizer_encode(t, (struct text){text, 153}, (struct encode_options){0}, &list, NULL));
    assert_int_equal(list.count, 1);
    token_list_free(&list);
    tokenizer_free(t);
}

/* The range of a token holds the marks stripped off it, and not the space around it. */
static void ranges(void **state)
{
    (void)state;
    struct tokenizer *t = small(WORD_MARK_HASHES);
    struct token_list list;
    const char *text = "  cafe\xCC\x81  \xEA\xB0\x80!";
    static const size_t wanted[][2] = {{2, 8}, {10, 13}, {13, 13}, {13, 14}};
    assert_true(tokenizer_encode(t, (struct text){text, strlen(text)}, (struct encode_options){0},
                                 &list, NULL));
    assert_int_equal(list.count, COUNT(wanted));
    for (size_t i = 0; i < list.count; i++) {
        assert_int_equal(list.tokens[i].begin, wanted[i][0]);
        assert_int_equal(list.tokens[i].end, wanted[i][1]);
    }
    token_list_free(&list);
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_words),   cmocka_unit_test(both_characters),
        cmocka_unit_test(both_special), cmocka_unit_test(long_words),
        cmocka_unit_test(ranges),       cmocka_unit_test(marks_in_order)};
    return cmocka_run_group_tests_name("tokenizer_wordpiece", tests, NULL, NULL);
}
