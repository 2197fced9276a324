/* The ids of real models, equal to Hugging Face's on 10,000 hard texts.
 *
 * golden/make_lines.py writes the texts, golden/make_golden.py wrote the hashes of Hugging Face's ids;
 * the one exception to equality is explained there. What a model must be there for is skipped, and
 * says so, when scripts/get-model has not fetched it. */
#include "small.h"

#include "files/gguf.h"
#include "files/mapped_file.h"

#include <unistd.h>

enum { BLOCK = 8, TEXTS = 10000, BLOCKS = TEXTS / BLOCK };
enum { COLUMNS = 4 }; /* Gemma, Gemma parsed, MiniLM, MiniLM parsed */

static uint32_t golden[BLOCKS][COLUMNS];
static struct mapped_file lines;

static int load_golden(void **state)
{
    (void)state;
    FILE *file = fopen(ATTN_SOURCE_DIR "/tests/tokenizer/golden/ids.txt", "r");
    assert_non_null(file);
    for (unsigned i = 0, number; i < BLOCKS; i++) {
        uint32_t *row = golden[i];
        assert_int_equal(
            fscanf(file, "%u %8x %8x %8x %8x", &number, &row[0], &row[1], &row[2], &row[3]),
            1 + COLUMNS);
        assert_int_equal(number, i);
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

static uint32_t hash_list(uint32_t hash, const struct token_list *list)
{
    hash = hash_u32(hash, (uint32_t)list->count);
    for (size_t i = 0; i < list->count; i++)
        hash = hash_u32(hash, (uint32_t)list->tokens[i].id);
    return hash;
}

/* Ranges never go back; a SentencePiece tokenizer's cover the text. */
static void check_ranges(const struct token_list *list, size_t bytes, bool cover)
{
    size_t reached = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct token token = list->tokens[i];
        assert_true(cover ? token.begin == reached : token.begin >= reached);
        assert_true(token.end >= token.begin);
        reached = token.end;
    }
    assert_true(cover ? reached == bytes : reached <= bytes);
}

/* All texts in one way against one column; every block that differs is named. */
static void compare(const struct tokenizer *t, bool parse, int column, bool cover)
{
    struct encode_options options = {.add_special = true, .parse_special = parse};
    size_t at = 0, wrong = 0;
    for (size_t block = 0; block < BLOCKS; block++) {
        uint32_t hash = 0x811C9DC5u;
        for (size_t i = 0; i < BLOCK; i++) {
            uint32_t bytes;
            assert_true(lines.size - at >= 4);
            memcpy(&bytes, lines.data + at, 4);
            assert_true(lines.size - at - 4 >= bytes);
            struct text text = {(const char *)lines.data + at + 4, bytes};
            at += 4 + (size_t)bytes;
            struct token_list list;
            struct failure f = {""};
            if (!tokenizer_encode(t, text, options, &list, &f))
                fail_msg("text %zu: %s", block * BLOCK + i, f.message);
            check_ranges(&list, bytes, cover);
            hash = hash_list(hash, &list);
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

static bool is_there(const char *path)
{
    if (access(path, R_OK) == 0)
        return true;
    print_message("skipped: %s is not there (scripts/get-model fetches it)\n", path);
    return false;
}

/* Decoding gives back every text (with spaces for the blocks in it). */
static void check_round_trip(const struct tokenizer *t)
{
    for (size_t at = 0; at < lines.size;) {
        uint32_t bytes;
        memcpy(&bytes, lines.data + at, 4);
        struct text text = {(const char *)lines.data + at + 4, bytes};
        at += 4 + (size_t)bytes;
        struct token_list list;
        assert_true(tokenizer_encode(t, text, (struct encode_options){0}, &list, NULL));
        int32_t *ids = malloc((list.count + 1) * sizeof *ids);
        for (size_t i = 0; i < list.count; i++)
            ids[i] = list.tokens[i].id;
        char *back;
        size_t back_bytes, from = 0;
        assert_true(tokenizer_decode(t, ids, list.count, &back, &back_bytes, NULL));
        for (size_t i = 0; i < back_bytes; i++) {
            bool block = text.bytes - from >= 3 && memcmp(text.data + from, "\xE2\x96\x81", 3) == 0;
            assert_int_equal(back[i], block ? ' ' : text.data[from]);
            from += block ? 3 : 1;
        }
        assert_int_equal(from, text.bytes);
        free(back);
        free(ids);
        token_list_free(&list);
    }
}

static void gemma(void **state)
{
    (void)state;
    const char *path = ATTN_MODELS_DIR "/gemma3-270m.gguf";
    if (!is_there(path))
        skip();
    struct failure f = {""};
    struct gguf *g;
    struct tokenizer *t = NULL;
    if (!gguf_open(&g, path, &f) || !tokenizer_from_gguf(&t, g, &f))
        fail_msg("%s", f.message);
    gguf_close(g);
    assert_int_equal(tokenizer_size(t), 262144);
    compare(t, false, 0, true);
    compare(t, true, 1, true);
    check_round_trip(t);
    tokenizer_free(t);
}

static void minilm(void **state)
{
    (void)state;
    const char *path = ATTN_MODELS_DIR "/minilm/tokenizer.json";
    if (!is_there(path))
        skip();
    struct failure f = {""};
    struct tokenizer *t;
    if (!tokenizer_from_json_file(&t, path, 0, &f))
        fail_msg("%s", f.message);
    assert_int_equal(tokenizer_size(t), 30522);
    compare(t, false, 2, false);
    compare(t, true, 3, false);
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gemma), cmocka_unit_test(minilm)};
    return cmocka_run_group_tests_name("tokenizer_golden", tests, load_golden, unload_golden);
}
