/* Byte-level BPE, equal to Hugging Face's `tokenizers` on 10,000 hard texts: with small vocabularies that
 * golden/make_bpe.py trained and wrote beside its hashes, and with the real ones of GPT-2, Llama 3 and
 * Qwen 2 where that script has written them. */
#include "small.h"

#include "files/gguf.h"
#include "files/mapped_file.h"

#include <unistd.h>
#include <utf8proc.h>

enum { BLOCK = 20, TEXTS = 10000, BLOCKS = TEXTS / BLOCK, COLUMNS = 11 };

static uint32_t golden[BLOCKS][COLUMNS];
static struct mapped_file lines;

static int load_golden(void **state)
{
    (void)state;
    FILE *file = fopen(ATTN_SOURCE_DIR "/tests/tokenizer/golden/bpe-ids.txt", "r");
    assert_non_null(file);
    for (unsigned i = 0, number; i < BLOCKS; i++) {
        assert_int_equal(fscanf(file, "%u", &number), 1);
        assert_int_equal(number, i);
        for (int c = 0; c < COLUMNS; c++)
            assert_int_equal(fscanf(file, "%8x", &golden[i][c]), 1);
    }
    fclose(file);
    struct failure f = {""};
    if (!mapped_file_open(&lines, GOLDEN_LINES, &f))
        fail_msg("%s", f.message);
    return 0;
}

static int unload_golden(void **state)
{
    (void)state;
    mapped_file_close(&lines);
    return 0;
}

static uint32_t hash_u32(uint32_t hash, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        hash = (hash ^ (value >> 8 * i & 0xFF)) * 0x01000193u;
    return hash;
}

static struct text next_text(size_t *at)
{
    uint32_t bytes;
    assert_true(lines.size - *at >= 4);
    memcpy(&bytes, lines.data + *at, 4);
    assert_true(lines.size - *at - 4 >= bytes);
    struct text text = {(const char *)lines.data + *at + 4, bytes};
    *at += 4 + (size_t)bytes;
    return text;
}

static void encode(const struct tokenizer *t, struct text text, struct encode_options options,
                   struct token_list *list)
{
    struct failure f = {""};
    if (!tokenizer_encode(t, text, options, list, &f))
        fail_msg("%s", f.message);
    size_t reached = 0;
    for (size_t i = 0; i < list->count; i++) {
        assert_true(list->tokens[i].begin == reached && list->tokens[i].end >= reached);
        reached = list->tokens[i].end;
    }
    assert_int_equal(reached, text.bytes);
}

/* All texts in one way against one column; every block that differs is named. */
static void compare(const struct tokenizer *t, bool parse, int column)
{
    struct encode_options options = {.add_special = true, .parse_special = parse};
    size_t at = 0, wrong = 0;
    for (size_t block = 0; block < BLOCKS; block++) {
        uint32_t hash = 0x811C9DC5u;
        for (size_t i = 0; i < BLOCK; i++) {
            struct token_list list;
            encode(t, next_text(&at), options, &list);
            hash = hash_u32(hash, (uint32_t)list.count);
            for (size_t j = 0; j < list.count; j++)
                hash = hash_u32(hash, (uint32_t)list.tokens[j].id);
            token_list_free(&list);
        }
        if (hash != golden[block][column]) {
            print_error("texts %zu to %zu differ\n", block * BLOCK, block * BLOCK + BLOCK - 1);
            wrong++;
        }
    }
    assert_int_equal(at, lines.size);
    assert_int_equal(wrong, 0);
}

/* Decoding gives back every text, composed where the vocabulary does that; and so do the bytes of its
 * tokens, one after the other. */
static void check_round_trip(const struct tokenizer *t, bool composed)
{
    for (size_t at = 0; at < lines.size;) {
        struct text text = next_text(&at), wanted = text;
        utf8proc_uint8_t *nfc = NULL;
        if (composed && text.bytes > 0) {
            utf8proc_ssize_t n =
                utf8proc_map((const utf8proc_uint8_t *)text.data, (utf8proc_ssize_t)text.bytes,
                             &nfc, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
            assert_true(n >= 0);
            wanted = (struct text){(const char *)nfc, (size_t)n};
        }
        struct token_list list;
        encode(t, text, (struct encode_options){0}, &list);
        int32_t *ids = malloc((list.count + 1) * sizeof *ids);
        size_t bytes = 0, back_bytes;
        for (size_t i = 0; i < list.count; i++) {
            ids[i] = list.tokens[i].id;
            struct text piece = tokenizer_bytes(t, ids[i]);
            assert_true(bytes + piece.bytes <= wanted.bytes);
            assert_memory_equal(piece.data, wanted.data + bytes, piece.bytes);
            bytes += piece.bytes;
        }
        char *back;
        assert_true(tokenizer_decode(t, ids, list.count, &back, &back_bytes, NULL));
        assert_int_equal(bytes, wanted.bytes);
        assert_int_equal(back_bytes, wanted.bytes);
        if (bytes > 0)
            assert_memory_equal(back, wanted.data, wanted.bytes);
        free(back);
        free(ids);
        free(nfc);
        token_list_free(&list);
    }
}

static struct tokenizer *open_vocabulary(const char *path)
{
    struct failure f = {""};
    struct gguf *g;
    struct tokenizer *t = NULL;
    if (!gguf_open(&g, path, &f) || !tokenizer_from_gguf(&t, g, &f))
        fail_msg("%s", f.message);
    gguf_close(g);
    return t;
}

static void small(const char *cut, int column)
{
    char path[512];
    snprintf(path, sizeof path, "%s/tests/tokenizer/golden/bpe-%s.gguf", ATTN_SOURCE_DIR, cut);
    struct tokenizer *t = open_vocabulary(path);
    assert_non_null(strstr(tokenizer_kind_name(t), cut));
    compare(t, false, column);
    compare(t, true, column + 1);
    check_round_trip(t, strcmp(cut, "qwen2") == 0);
    tokenizer_free(t);

    /* The same vocabulary from the tokenizer.json it was made of. */
    struct failure f = {""};
    snprintf(path, sizeof path, "%s/tests/tokenizer/golden/bpe-%s.json", ATTN_SOURCE_DIR, cut);
    if (!tokenizer_from_json_file(&t, path, 0, &f))
        fail_msg("%s", f.message);
    assert_non_null(strstr(tokenizer_kind_name(t), cut));
    compare(t, true, column + 1);
    tokenizer_free(t);
}

static void small_gpt2(void **state)
{
    (void)state;
    small("gpt-2", 0);
}

static void small_llama(void **state)
{
    (void)state;
    small("llama-bpe", 2);
}

static void small_qwen2(void **state)
{
    (void)state;
    small("qwen2", 4);
}

static void small_smollm(void **state)
{
    (void)state;
    small("smollm", 6);
}

/* Words, spaces and signs of 262,144 bytes take no longer for each byte than short ones (a loop that looked
 * at all neighbours for each merge would take many minutes), and come back. */
static void long_texts(void **state)
{
    (void)state;
    enum { BYTES = 1 << 18 };
    static const char *const units[] = {"a", " ", "ab", "\n ", "=", "7", "th", "\xC3\xA9"};
    static const char *const cuts[] = {"gpt-2", "llama-bpe", "qwen2", "smollm"};
    char *text = malloc(BYTES);
    for (int cut = 0; cut < 4; cut++) {
        char path[512];
        snprintf(path, sizeof path, "%s/tests/tokenizer/golden/bpe-%s.gguf", ATTN_SOURCE_DIR,
                 cuts[cut]);
        struct tokenizer *t = open_vocabulary(path);
        for (size_t u = 0; u < COUNT(units); u++) {
            size_t unit = strlen(units[u]), bytes = BYTES / unit * unit, back_bytes;
            for (size_t i = 0; i < bytes; i++)
                text[i] = units[u][i % unit];
            struct token_list list;
            encode(t, (struct text){text, bytes}, (struct encode_options){0}, &list);
            int32_t *ids = malloc((list.count + 1) * sizeof *ids);
            for (size_t i = 0; i < list.count; i++)
                ids[i] = list.tokens[i].id;
            char *back;
            assert_true(tokenizer_decode(t, ids, list.count, &back, &back_bytes, NULL));
            assert_int_equal(back_bytes, bytes);
            assert_memory_equal(back, text, bytes); /* NFC leaves these as they are */
            free(back);
            free(ids);
            token_list_free(&list);
        }
        tokenizer_free(t);
    }
    free(text);
}

/* Bytes that are no UTF-8 are refused, or read as U+FFFD. */
static void lossy(void **state)
{
    (void)state;
    const struct text text = {"a\xFF\xC3 b\xE2\x82", 8};
    struct tokenizer *t = open_vocabulary(ATTN_SOURCE_DIR "/tests/tokenizer/golden/bpe-qwen2.gguf");
    struct token_list list;
    struct failure f = {""};
    assert_false(tokenizer_encode(t, text, (struct encode_options){0}, &list, &f));
    assert_non_null(strstr(f.message, "byte 0xFF at offset 1"));
    encode(t, text, (struct encode_options){.lossy = true}, &list);
    int32_t ids[32];
    for (size_t i = 0; i < list.count; i++)
        ids[i] = list.tokens[i].id;
    char *back;
    size_t bytes;
    assert_true(tokenizer_decode(t, ids, list.count, &back, &bytes, NULL));
    assert_string_equal(back, "a\xEF\xBF\xBD\xEF\xBF\xBD b\xEF\xBF\xBD");
    free(back);
    token_list_free(&list);
    tokenizer_free(t);
}

static void real(const char *name, int size, int column)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s-vocabulary.gguf", ATTN_MODELS_DIR, name);
    if (access(path, R_OK) != 0) {
        print_message("skipped: %s is not there (tests/tokenizer/golden/make_bpe.py writes it)\n",
                      path);
        skip();
    }
    struct tokenizer *t = open_vocabulary(path);
    assert_int_equal(tokenizer_size(t), size);
    compare(t, true, column);
    check_round_trip(t, strcmp(name, "qwen2") == 0);
    tokenizer_free(t);
}

static void real_gpt2(void **state)
{
    (void)state;
    real("gpt2", 50257, 8);
}

static void real_llama3(void **state)
{
    (void)state;
    real("llama3", 128002, 9);
}

static void real_qwen2(void **state)
{
    (void)state;
    real("qwen2", 151646, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_gpt2),  cmocka_unit_test(small_llama),
        cmocka_unit_test(small_qwen2), cmocka_unit_test(small_smollm),
        cmocka_unit_test(long_texts),  cmocka_unit_test(lossy),
        cmocka_unit_test(real_gpt2),   cmocka_unit_test(real_llama3),
        cmocka_unit_test(real_qwen2),
    };
    return cmocka_run_group_tests_name("tokenizer_bpe_golden", tests, load_golden, unload_golden);
}
