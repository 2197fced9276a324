/* tokenizer.json: what is read, and what is refused by name. */
#include "small.h"

#define MODEL(vocab)                                                                               \
    "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":"     \
    "\"##\",\"max_input_chars_per_word\":100,\"vocab\":" vocab "}"
#define VOCAB "{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"a\":3,\"##b\":4,\"\\u00e9\":5,\"A\":6}"
#define ADDED(more)                                                                                \
    "\"added_tokens\":[{\"id\":1,\"content\":\"[CLS]\",\"special\":true,\"normalized\":false},"    \
    "{\"id\":2,\"content\":\"[SEP]\",\"special\":true,\"lstrip\":true}" more "]"
#define NORMALIZER(more) "\"normalizer\":{\"type\":\"BertNormalizer\"" more "}"
#define PRE "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}"
#define POST                                                                                       \
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"   \
    "\"[CLS]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\"}},{\"SpecialToken\":{\"id\":\"[SEP]\"}" \
    "}]}"
#define FILE_OF(model, added, normalizer, post)                                                    \
    "{" model "," added "," normalizer "," PRE "," post                                            \
    ",\"truncation\":{\"max_length\":2},\"padding\":{\"strategy\":{\"Fixed\":128}}}"

static const char *const names[] = {"[UNK]", "[CLS]", "[SEP]", "a", "##b", "\xC3\xA9", "A", "<x>"};

static struct tokenizer *load(const char *json)
{
    struct tokenizer *t;
    struct failure f = {""};
    if (!tokenizer_from_json(&t, (struct text){json, strlen(json)}, &f))
        fail_msg("%s", f.message);
    return t;
}

static void good(void **state)
{
    (void)state;
    struct encode_options both = {.add_special = true};
    struct tokenizer *t = load(FILE_OF(MODEL(VOCAB), ADDED(""), NORMALIZER(""), POST));
    assert_int_equal(tokenizer_size(t), 7);
    /* Truncation to 2 and padding to 128 are not the model's. */
    expect_bytes(t, "A ab\xC3\xA9 ab a", 11, both, names, "[CLS]|a|[UNK]|a|##b|a|[SEP]");
    tokenizer_free(t);

    t = load(FILE_OF(MODEL(VOCAB), ADDED(""), NORMALIZER(",\"lowercase\":false"), POST));
    expect_bytes(t, "A \xC3\xA9", 4, both, names, "[CLS]|A|\xC3\xA9|[SEP]");
    tokenizer_free(t);

    t = load(
        FILE_OF(MODEL(VOCAB), ADDED(",{\"id\":7,\"content\":\"<x>\"}"),
                NORMALIZER(",\"strip_accents\":false"),
                "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",2],\"cls\":["
                "\"[CLS]\",1]}"));
    expect_bytes(t, "a<x>\xC3\x89", 6, both, names, "[CLS]|a|<x>|\xC3\xA9|[SEP]");
    tokenizer_free(t);

    t = load(FILE_OF(MODEL(VOCAB), ADDED(""), NORMALIZER(""), "\"post_processor\":null"));
    expect_bytes(t, "a", 1, both, names, "a");
    tokenizer_free(t);
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *part;
    } list[] = {
        {"", "not JSON"},
        {"{", "not JSON: line 1"},
        {"[]", "model.type is missing"},
        {"{\"model\":{\"type\":\"Unigram\"}}", "model.type is 'Unigram'"},
        {"{\"model\":{\"type\":\"WordPiece\"}}", "model.vocab is not an object"},
        {"{" MODEL("{}") "}", "highest token id is -1"},
        {"{" MODEL("{\"a\":1}") "}", "highest token id is 1, but the file lists 1"},
        {"{" MODEL("{\"a\":0,\"b\":0}") "}", "two tokens have the id 0"},
        {"{" MODEL("{\"a\":0,\"b\":\"x\"}") "}", "the id of token 'b'"},
        {"{" MODEL("{\"a\":0,\"b\":-5}") "}", "the id of token 'b'"},
        {"{" MODEL("{\"a\":0}") ",\"added_tokens\":[{\"id\":0,\"content\":\"c\"}]}",
         "two tokens have the id 0"},
        {"{" MODEL("{\"a\":2}") ",\"added_tokens\":[{\"id\":0,\"content\":\"c\"},{\"id\":0,"
                                "\"content\":\"c\"}]}",
         "no token has the id 1"},
        {"{" MODEL("{\"a\":0}") ",\"added_tokens\":{}}", "added_tokens is not an array"},
        {"{" MODEL("{\"a\":0}") ",\"added_tokens\":[7]}", "no content"},
        {FILE_OF(MODEL(VOCAB), ADDED(",{\"id\":7,\"content\":\"x\",\"single_word\":true}"),
                 NORMALIZER(""), POST),
         "'x' has single_word set"},
        {FILE_OF(MODEL(VOCAB), ADDED(",{\"id\":7,\"content\":\"x\",\"special\":1}"), NORMALIZER(""),
                 POST),
         "special is neither"},
        {FILE_OF(MODEL(VOCAB), ADDED(""), "\"normalizer\":{\"type\":\"NFC\"}", POST),
         "normalizer.type is 'NFC'"},
        {FILE_OF(MODEL(VOCAB), ADDED(""), "\"normalizer\":null", POST),
         "normalizer.type is missing"},
        {FILE_OF(MODEL(VOCAB), ADDED(""), NORMALIZER(",\"clean_text\":\"no\""), POST),
         "clean_text is neither"},
        {FILE_OF(MODEL(VOCAB), ADDED(""), NORMALIZER(""), "\"post_processor\":{\"type\":\"X\"}"),
         "post_processor is neither"},
        {"{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"none\",\"vocab\":{\"a\":0}}"
         "," NORMALIZER("") "," PRE "}",
         "needs an unknown token"},
        {"{\"model\":{\"type\":\"WordPiece\",\"continuing_subword_prefix\":\"@@\"}}", "'##'"},
        {"{\"model\":{\"type\":\"WordPiece\",\"max_input_chars_per_word\":-1}}",
         "max_input_chars_per_word"},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        struct tokenizer *t;
        struct failure f = {""};
        assert_false(
            tokenizer_from_json(&t, (struct text){list[i].json, strlen(list[i].json)}, &f));
        assert_null(t);
        if (strstr(f.message, list[i].part) == NULL)
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, f.message, list[i].part);
    }
}

/* ---- byte-level BPE ---- */

#define BPE_MODEL(more)                                                                            \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"\xC4\xA0\":2,\"ab\":3,\"\xC4\xA0"    \
    "a\":4,\"1\":5}," more "}"
#define BPE_MERGES "\"merges\":[\"\xC4\xA0 a\",[\"a\",\"b\"]]"
#define BPE_ADDED(more)                                                                            \
    "\"added_tokens\":[{\"id\":6,\"content\":\"<s>\",\"special\":true" more                        \
    "},{\"id\":7,\"content\":\"b b\"}]"
#define BYTE_LEVEL(regex)                                                                          \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":" regex "}"
#define BPE_PRE(pre) "\"pre_tokenizer\":" pre
#define PAIR(first, second) "{\"type\":\"Sequence\",\"pretokenizers\":[" first "," second "]}"
#define DIGITS "{\"type\":\"Digits\",\"individual_digits\":true}"
#define BPE_FILE(model, added, pre, more) "{" model "," added "," BPE_PRE(pre) more "}"
#define BPE_GOOD(pre, more)                                                                        \
    BPE_FILE(BPE_MODEL(BPE_MERGES ",\"unk_token\":null"), BPE_ADDED(""), pre, more)

static struct tokenizer *make_bpe(const char *json)
{
    struct tokenizer *t;
    struct failure f = {""};
    if (!tokenizer_from_json(&t, (struct text){json, strlen(json)}, &f))
        fail_msg("%s", f.message);
    return t;
}

static void byte_bpe(void **state)
{
    (void)state;
    static const char *const bpe_names[] = {"a", "b", "_", "ab", "_a", "1", "<s>", "b b"};
    struct encode_options whole = {.add_special = true, .parse_special = true};
    struct tokenizer *t = make_bpe(BPE_GOOD(BYTE_LEVEL("true"), ""));
    expect_bytes(t, "ab ab 11b b<s>", 14, whole, bpe_names, "ab|_a|b|_|1|1|b b|<s>");
    assert_string_equal(tokenizer_kind_name(t), "byte-level BPE, words as gpt-2");
    assert_int_equal(tokenizer_first_id(t), -1);
    tokenizer_free(t);

    t = make_bpe(BPE_GOOD(PAIR(DIGITS, BYTE_LEVEL("true")),
                          ",\"post_processor\":{\"type\":\"ByteLevel\",\"trim_offsets\":false}"));
    assert_string_equal(tokenizer_kind_name(t), "byte-level BPE, words as smollm");
    tokenizer_free(t);

    /* A token before each text, one behind it, and words taken whole. */
    t = make_bpe(BPE_FILE(
        BPE_MODEL(BPE_MERGES ",\"ignore_merges\":true"), BPE_ADDED(",\"normalized\":true"),
        BYTE_LEVEL("true"),
        ",\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},"
        "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},"
        "{\"Sequence\":{\"id\":\"A\"}},{\"SpecialToken\":{\"id\":\"b b\"}}]}]}"));
    expect_bytes(t, "ab", 2, whole, bpe_names, "<s>|ab|b b");
    assert_int_equal(tokenizer_end_id(t), 7);
    tokenizer_free(t);
}

static void byte_bpe_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *part;
    } list[] = {
        {"{\"model\":{\"type\":\"BPE\"}}", "model.vocab is not an object"},
        {"{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true}}", "model.byte_fallback is set"},
        {"{\"model\":{\"type\":\"BPE\",\"dropout\":0.1}}", "model.dropout is set"},
        {"{\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\"}}",
         "model.end_of_word_suffix is set"},
        {"{\"model\":{\"type\":\"BPE\"},\"normalizer\":{\"type\":\"NFKC\"}}",
         "normalizer is neither null nor NFC"},
        {"{" BPE_MODEL("\"merges\":{}") "}", "model.merges is not an array"},
        {"{" BPE_MODEL("\"merges\":[[\"a\"]]") "}", "element 0 of model.merges"},
        {"{" BPE_MODEL("\"merges\":[\"a b\",[\"a\",1]]") "}", "element 1 of model.merges"},
        {BPE_FILE(BPE_MODEL("\"merges\":[\"b a\"]"), BPE_ADDED(""), BYTE_LEVEL("true"), ""),
         "merge 0 is 'b a', but the vocabulary has no token for its result"},
        {BPE_FILE(BPE_MODEL(BPE_MERGES), BPE_ADDED(",\"lstrip\":true"), BYTE_LEVEL("true"), ""),
         "'<s>' has lstrip set"},
        {BPE_FILE(BPE_MODEL(BPE_MERGES) ",\"normalizer\":{\"type\":\"NFC\"}",
                  BPE_ADDED(",\"normalized\":true"), BYTE_LEVEL("true"), ""),
         "'<s>' has normalized set"},
        {BPE_GOOD("null", ""), "pre_tokenizer is none"},
        {BPE_GOOD(BYTE_LEVEL("false"), ""), "pre_tokenizer is none"},
        {BPE_GOOD("{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", ""),
         "pre_tokenizer is none"},
        {BPE_GOOD(PAIR(DIGITS, DIGITS), ""), "pre_tokenizer is none"},
        {BPE_GOOD(PAIR("{\"type\":\"Split\",\"pattern\":{\"Regex\":\".\"},\"behavior\":"
                       "\"Isolated\",\"invert\":false}",
                       BYTE_LEVEL("false")),
                  ""),
         "pre_tokenizer is none"},
        {BPE_GOOD(BYTE_LEVEL("true"), ",\"post_processor\":{\"type\":\"RobertaProcessing\"}"),
         "post_processor does something else"},
        {BPE_GOOD(
             BYTE_LEVEL("true"),
             ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
             "{\"id\":\"<x>\"}},{\"Sequence\":{\"id\":\"A\"}}]}"),
         "post_processor does something else"},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        struct tokenizer *t;
        struct failure f = {""};
        assert_false(
            tokenizer_from_json(&t, (struct text){list[i].json, strlen(list[i].json)}, &f));
        assert_null(t);
        if (strstr(f.message, list[i].part) == NULL)
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, f.message, list[i].part);
    }
}

static void deep_and_missing(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    char *json = malloc(DEEP);
    memset(json, '[', DEEP);
    struct tokenizer *t;
    struct failure f = {""};
    assert_false(tokenizer_from_json(&t, (struct text){json, DEEP}, &f));
    assert_non_null(strstr(f.message, "not JSON"));
    free(json);
    f = (struct failure){""};
    assert_false(tokenizer_from_json_file(&t, "/nowhere/tokenizer.json", 0, &f));
    assert_non_null(strstr(f.message, "/nowhere/tokenizer.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good), cmocka_unit_test(refused), cmocka_unit_test(deep_and_missing),
        cmocka_unit_test(byte_bpe), cmocka_unit_test(byte_bpe_refused)};
    return cmocka_run_group_tests_name("tokenizer_json", tests, NULL, NULL);
}
