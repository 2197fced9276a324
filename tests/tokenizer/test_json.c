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
        {"{\"model\":{\"type\":\"BPE\"}}", "model.type is 'BPE'"},
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
    assert_false(tokenizer_from_json_file(&t, "/nowhere/tokenizer.json", &f));
    assert_non_null(strstr(f.message, "/nowhere/tokenizer.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(good), cmocka_unit_test(refused),
                                       cmocka_unit_test(deep_and_missing)};
    return cmocka_run_group_tests_name("tokenizer_json", tests, NULL, NULL);
}
