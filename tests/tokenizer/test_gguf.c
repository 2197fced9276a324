/* The vocabulary of a GGUF file: small files written here, in memory. */
#include "small.h"

#include "files/gguf.h"

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
    key_string(&file, "model", "gpt2");
    expect_refused(&file, "tokenizer.ggml.model is 'gpt2'");

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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sentencepiece), cmocka_unit_test(wordpiece),
                                       cmocka_unit_test(refused)};
    return cmocka_run_group_tests_name("tokenizer_gguf", tests, NULL, NULL);
}
