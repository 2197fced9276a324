/* The vocabulary of a GGUF file: small files written here, in memory. */
#include "small.h"

#include "files/gguf.h"
#include "tokenizer/word_cut.h"

#define B "\xE2\x96\x81"

/* A file of keys and no tensors. */
struct file {
    unsigned char data[4096];
    size_t bytes, keys;
};

static void put(struct file *file, const void *bytes, size_t count)
{
    memcpy(file->data + file->bytes, bytes, count);
    file->bytes += count;
}

static void put32(struct file *file, uint32_t value)
{
    put(file, &value, 4);
}

static void put64(struct file *file, uint64_t value)
{
    put(file, &value, 8);
}

static void put_string(struct file *file, const char *string)
{
    put64(file, strlen(string));
    put(file, string, strlen(string));
}

static void begin(struct file *file)
{
    *file = (struct file){.bytes = 0};
    put(file, "GGUF", 4);
    put32(file, 3);
    put64(file, 0);
    put64(file, 0); /* the number of keys, filled in by key() */
}

static void key(struct file *file, const char *name, uint32_t type)
{
    char full[64];
    snprintf(full, sizeof full, "tokenizer.ggml.%s", name);
    put_string(file, full);
    put32(file, type);
    file->keys++;
    uint64_t keys = file->keys;
    memcpy(file->data + 16, &keys, 8);
}

static void key_string(struct file *file, const char *name, const char *value)
{
    key(file, name, GGUF_STRING);
    put_string(file, value);
}

static void key_u32(struct file *file, const char *name, uint32_t value)
{
    key(file, name, GGUF_U32);
    put32(file, value);
}

static void key_bool(struct file *file, const char *name, bool value)
{
    key(file, name, GGUF_BOOL);
    put(file, &(unsigned char){value}, 1);
}

static void key_array(struct file *file, const char *name, uint32_t type, size_t count)
{
    key(file, name, GGUF_ARRAY);
    put32(file, type);
    put64(file, count);
}

static void key_tokens(struct file *file, const char *const *tokens, size_t count)
{
    key_array(file, "tokens", GGUF_STRING, count);
    for (size_t i = 0; i < count; i++)
        put_string(file, tokens[i]);
}

static void key_types(struct file *file, const int32_t *types, size_t count)
{
    key_array(file, "token_type", GGUF_I32, count);
    put(file, types, count * sizeof *types);
}

static void key_scores(struct file *file, const float *scores, size_t count)
{
    key_array(file, "scores", GGUF_F32, count);
    put(file, scores, count * sizeof *scores);
}

static bool load(const struct file *file, struct tokenizer **t, struct failure *f)
{
    struct gguf *g;
    if (!gguf_open_memory(&g, file->data, file->bytes, f))
        fail_msg("%s", f->message);
    bool good = tokenizer_from_gguf(t, g, f);
    gguf_close(g); /* the tokenizer must not need it */
    return good;
}

static const char *const llama[] = {"<unk>", "<s>", "</s>", "a", B "a", "ab", "b", B, "\n"};
static const int32_t llama_types[] = {2, 3, 3, 1, 1, 1, 1, 1, 4};
static const float llama_scores[] = {0, 0, 0, -9, -1, -2, -9, -9, 0};

static void llama_file(struct file *file)
{
    begin(file);
    key_string(file, "model", "llama");
    key_tokens(file, llama, COUNT(llama));
    key_scores(file, llama_scores, COUNT(llama));
    key_types(file, llama_types, COUNT(llama));
}

static void sentencepiece(void **state)
{
    (void)state;
    struct file file;
    struct tokenizer *t;
    struct failure f = {""};
    llama_file(&file); /* every id and switch left out */
    assert_true(load(&file, &t, &f));
    expect_bytes(t, "ab\nab", 5, (struct encode_options){.add_special = true}, llama,
                 "<s>|" B "a|b|\n|ab");
    assert_int_equal(tokenizer_end_id(t), 2);
    tokenizer_free(t);

    key_bool(&file, "add_space_prefix", false);
    key_bool(&file, "add_eos_token", true);
    key_u32(&file, "bos_token_id", 2);
    key_u32(&file, "eos_token_id", 1);
    assert_true(load(&file, &t, &f));
    expect_bytes(t, "ab x", 4, (struct encode_options){.add_special = true}, llama,
                 "</s>|ab|" B "|<unk>|<s>");
    tokenizer_free(t);

    key_bool(&file, "add_bos_token", false);
    assert_true(load(&file, &t, &f));
    assert_int_equal(tokenizer_first_id(t), -1);
    assert_int_equal(tokenizer_last_id(t), 1);
    tokenizer_free(t);
}

static void wordpiece(void **state)
{
    (void)state;
    static const char *const tokens[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", B "a", "b", B "!"};
    static const int32_t types[] = {3, 3, 3, 3, 1, 1, 1};
    struct file file;
    struct tokenizer *t;
    struct failure f = {""};
    begin(&file);
    key_string(&file, "model", "bert");
    key_tokens(&file, tokens, COUNT(tokens));
    assert_true(load(&file, &t, &f)); /* the names tell the ids */
    expect_bytes(t, "Ab!x", 4, (struct encode_options){.add_special = true}, tokens,
                 "[CLS]|" B "a|b|" B "!|[UNK]|[SEP]");
    tokenizer_free(t);

    key_types(&file, types, COUNT(types));
    key_u32(&file, "cls_token_id", 3);
    key_u32(&file, "seperator_token_id", 2);
    key_u32(&file, "unknown_token_id", 0);
    assert_true(load(&file, &t, &f));
    expect_bytes(t, "a x[PAD]", 8,
                 (struct encode_options){.add_special = true, .parse_special = true}, tokens,
                 "[SEP]|" B "a|[PAD]|[PAD]|[CLS]");
    assert_int_equal(tokenizer_class(t, 3), TOKEN_CLASS_FIRST);
    tokenizer_free(t);
}

/* A space is U+0120 here. */
#define S "\xC4\xA0"
static const char *const bpe[] = {"<bos>", "a", "b", S, S "a", "ab", "<x y>", "\xC3\xA9", "ba"};
static const int32_t bpe_types[] = {3, 1, 1, 1, 1, 1, 4, 1, 1};
static const char *const bpe_merges[] = {S " a", "a b"};

static void key_merges(struct file *file, const char *const *merges, size_t count)
{
    key_array(file, "merges", GGUF_STRING, count);
    for (size_t i = 0; i < count; i++)
        put_string(file, merges[i]);
}

static void bpe_file(struct file *file, const char *pre)
{
    begin(file);
    key_string(file, "model", "gpt2");
    key_tokens(file, bpe, COUNT(bpe));
    key_types(file, bpe_types, COUNT(bpe_types));
    key_merges(file, bpe_merges, COUNT(bpe_merges));
    if (pre != NULL)
        key_string(file, "pre", pre);
}

static void byte_bpe(void **state)
{
    (void)state;
    struct file file;
    struct tokenizer *t;
    struct failure f = {""};
    bpe_file(&file, "gpt-2");
    key_u32(&file, "bos_token_id", 0);
    key_u32(&file, "eos_token_id", 6);
    assert_true(load(&file, &t, &f));
    /* The rank decides: " a" before "ab". A BOS is not added unasked. */
    expect_bytes(t, "ab ab<x y>", 10, (struct encode_options){.add_special = true}, bpe,
                 "ab|" S "a|b|<x y>");
    assert_int_equal(tokenizer_first_id(t), -1);
    assert_int_equal(tokenizer_end_id(t), 6);
    assert_string_equal(tokenizer_kind_name(t), "byte-level BPE, words as gpt-2");
    assert_int_equal(tokenizer_piece(t, 4).bytes, 2);
    assert_memory_equal(tokenizer_piece(t, 4).data, " a", 2);
    /* 0xE9 alone is no text: it is shown by its number, and given as it is. */
    assert_int_equal(tokenizer_piece(t, 7).bytes, 6);
    assert_memory_equal(tokenizer_piece(t, 7).data, "<0xE9>", 6);
    assert_int_equal(tokenizer_bytes(t, 7).bytes, 1);
    assert_int_equal((unsigned char)tokenizer_bytes(t, 7).data[0], 0xE9);
    assert_int_equal(tokenizer_bytes(t, 0).bytes, 0);
    assert_false(tokenizer_is_word(t, 7));
    assert_true(tokenizer_is_word(t, 5));
    /* No token for a byte, and none for what is unknown. */
    struct token_list list;
    assert_false(
        tokenizer_encode(t, (struct text){"abc", 3}, (struct encode_options){0}, &list, &f));
    assert_string_equal(f.message,
                        "the vocabulary has no token for the byte 0x63, at offset 2 of the text");
    assert_null(list.tokens);
    tokenizer_free(t);

    key_u32(&file, "unknown_token_id", 6);
    key_bool(&file, "add_bos_token", true);
    assert_true(load(&file, &t, &f));
    expect_bytes(t, "abcba", 5, (struct encode_options){.add_special = true}, bpe,
                 "<bos>|ab|<x y>|b|a");
    tokenizer_free(t);

    /* Llama 3 takes whole words, whatever the merges, and begins with BOS. */
    bpe_file(&file, "llama-bpe");
    key_u32(&file, "bos_token_id", 0);
    assert_true(load(&file, &t, &f));
    expect_bytes(t, "ba ba", 5, (struct encode_options){.add_special = true}, bpe,
                 "<bos>|ba|" S "|b|a");
    tokenizer_free(t);

    /* A file of GPT-2 itself need not say how it cuts. */
    bpe_file(&file, NULL);
    put_string(&file, "general.architecture");
    put32(&file, GGUF_STRING);
    put_string(&file, "gpt2");
    memcpy(file.data + 16, &(uint64_t){++file.keys}, 8);
    assert_true(load(&file, &t, &f));
    tokenizer_free(t);
}

static void expect_refused(const struct file *file, const char *part)
{
    struct tokenizer *t;
    struct failure f = {""};
    assert_false(load(file, &t, &f));
    assert_null(t);
    if (strstr(f.message, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", f.message, part);
}

static void refused(void **state)
{
    (void)state;
    struct file file;
    begin(&file);
    expect_refused(&file, "tokenizer.ggml.model");
    key_string(&file, "model", "t5");
    expect_refused(&file, "tokenizer.ggml.model is 't5'");

    begin(&file);
    key_string(&file, "model", "llama");
    expect_refused(&file, "tokenizer.ggml.tokens");
    key_tokens(&file, llama, COUNT(llama));
    expect_refused(&file, "tokenizer.ggml.scores");
    key_scores(&file, llama_scores, 3);
    expect_refused(&file, "tokenizer.ggml.scores has 3 elements, but there are 9 tokens");

    begin(&file);
    key_string(&file, "model", "llama");
    key_tokens(&file, llama, 0);
    key_scores(&file, llama_scores, 0);
    expect_refused(&file, "0 tokens");

    llama_file(&file);
    key_u32(&file, "bos_token_id", 9);
    expect_refused(&file, "tokenizer.ggml.bos_token_id");

    static const int32_t types[] = {2, 3, 3, 1, 1, 1, 1, 1, 257};
    begin(&file);
    key_string(&file, "model", "llama");
    key_tokens(&file, llama, COUNT(llama));
    key_scores(&file, llama_scores, COUNT(llama));
    key_types(&file, types, COUNT(types));
    expect_refused(&file, "token 8 is 257");

    begin(&file);
    key_string(&file, "model", "bert");
    key_tokens(&file, llama, COUNT(llama));
    expect_refused(&file, "[UNK]");
}

static void byte_bpe_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {{"a b", "ab a"}, {"a", NULL},  {"ab", NULL},
                                         {" a", NULL},    {"a ", NULL}, {"c b", NULL},
                                         {"b c", NULL},   {"b b", NULL}};
    static const char *const sentences[] = {
        "merge 1 is 'ab a', but the vocabulary has no token for its result",
        "merge 0 is 'a', but a merge is two tokens with a space between them",
        "merge 0 is 'ab', but a merge",
        "merge 0 is ' a', but a merge",
        "merge 0 is 'a ', but a merge",
        "merge 0 is 'c b', but the vocabulary has no token for its first part",
        "merge 0 is 'b c', but the vocabulary has no token for its second part",
        "merge 0 is 'b b', but the vocabulary has no token for its result"};
    struct file file;
    for (size_t i = 0; i < COUNT(bad); i++) {
        begin(&file);
        key_string(&file, "model", "gpt2");
        key_string(&file, "pre", "smollm");
        key_tokens(&file, bpe, COUNT(bpe));
        key_merges(&file, bad[i], bad[i][1] == NULL ? 1 : 2);
        expect_refused(&file, sentences[i]);
    }
    begin(&file);
    key_string(&file, "model", "gpt2");
    key_tokens(&file, bpe, COUNT(bpe));
    expect_refused(&file, "tokenizer.ggml.merges");
    bpe_file(&file, "deepseek-llm");
    expect_refused(&file, "tokenizer.ggml.pre is 'deepseek-llm'; it may be 'gpt-2', 'llama-bpe'");
    bpe_file(&file, "default");
    expect_refused(&file, "tokenizer.ggml.pre does not say how texts are cut into words");
    bpe_file(&file, NULL);
    expect_refused(&file, "tokenizer.ggml.pre does not say how texts are cut into words");
    bpe_file(&file, "qwen2");
    key_u32(&file, "eos_token_id", 9);
    expect_refused(&file, "tokenizer.ggml.eos_token_id");
}

/* What is a word to each family, with '|' between them. */
static void words(void **state)
{
    (void)state;
    static const struct {
        enum word_cut cut;
        const char *text, *words;
    } list[] = {
        {WORD_CUT_GPT2, "It'Sx isn't  12a34 ;; \n x", "It|'|Sx| isn|'t| | 12|a|34| ;;| \n| x"},
        {WORD_CUT_LLAMA_BPE, "It'Sx isn't  12345 ;;\n\n x",
         "It|'S|x| isn|'t| | |123|45| ;;\n\n| x"},
        {WORD_CUT_QWEN2, "It'Sx isn't  12 (a\n \n x", "It|'S|x| isn|'t| | |1|2| (|a|\n \n| x"},
        {WORD_CUT_SMOLLM, "It'Sx isn't  12a ;;  \n", "It|'|Sx| isn|'t|  |1|2|a| ;;|  \n"},
    };
    for (size_t i = 0; i < COUNT(list); i++) {
        struct word_cutter *cutter;
        struct word_cutting cutting;
        size_t begin, end;
        char got[128] = "";
        assert_true(word_cutter_create(&cutter, list[i].cut, NULL));
        assert_true(word_cutting_begin(&cutting, cutter, list[i].text, strlen(list[i].text), NULL));
        while (word_cutting_next(&cutting, &begin, &end)) {
            if (begin > 0)
                strcat(got, "|");
            strncat(got, list[i].text + begin, end - begin);
        }
        assert_string_equal(got, list[i].words);
        word_cutting_end(&cutting);
        word_cutter_free(cutter);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentencepiece),    cmocka_unit_test(wordpiece),
        cmocka_unit_test(refused),          cmocka_unit_test(byte_bpe),
        cmocka_unit_test(byte_bpe_refused), cmocka_unit_test(words)};
    return cmocka_run_group_tests_name("tokenizer_gguf", tests, NULL, NULL);
}
