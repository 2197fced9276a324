/* Making a tokenizer, and the way of a text through it: check, split out the special tokens, leave
 * each stretch between them to the kind of tokenizer, add what texts begin and end with. */
#include "tokenizer.h"

#include "array.h"
#include "byte_alphabet.h"
#include "internal.h"
#include "utf8.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MOST_TOKENS = 1 << 24, LONGEST_TOKEN = 65535 };

struct vocabulary vocabulary_default(enum tokenizer_kind kind)
{
    return (struct vocabulary){.kind = kind,
                               .first = -1,
                               .last = -1,
                               .bos = -1,
                               .sep = -1,
                               .end = -1,
                               .unknown = -1,
                               .clean_text = true,
                               .isolate_cjk = true,
                               .strip_accents = true,
                               .lowercase = true,
                               .max_word = 100};
}

/* ---- checking a vocabulary ---- */

static bool check_id(int32_t id, const char *name, size_t count, struct failure *f)
{
    if (id >= -1 && (id < 0 || (size_t)id < count))
        return true;
    return fail(f, "the id of the vocabulary's %s token is %d, but ids go from 0 to %zu", name,
                (int)id, count - 1);
}

static bool check_vocabulary(const struct vocabulary *v, struct failure *f)
{
    if (v->count < 1 || v->count > MOST_TOKENS)
        return fail(f, "the vocabulary has %zu tokens, but it may have 1 to %d", v->count,
                    (int)MOST_TOKENS);
    if (v->kind == TOKENIZER_BYTE_BPE && v->merge_count > MOST_TOKENS)
        return fail(f, "the vocabulary has %zu merges, but it may have at most %d", v->merge_count,
                    (int)MOST_TOKENS);
    for (size_t i = 0; i < v->count; i++) {
        if (v->tokens[i].bytes > LONGEST_TOKEN)
            return fail(f, "token %zu of the vocabulary has %zu bytes, but may have at most %d", i,
                        v->tokens[i].bytes, (int)LONGEST_TOKEN);
        if (v->kind == TOKENIZER_SENTENCEPIECE && isnan(v->scores[i]))
            return fail(f, "the score of token %zu of the vocabulary is not a number", i);
        if (v->types != NULL && (v->types[i] < TOKEN_NORMAL || v->types[i] > TOKEN_BYTE))
            return fail(f, "the type of token %zu of the vocabulary is %d, but it may be 1 to 6", i,
                        (int)v->types[i]);
    }
    return check_id(v->first, "first", v->count, f) && check_id(v->last, "last", v->count, f) &&
           check_id(v->bos, "beginning", v->count, f) &&
           check_id(v->sep, "separator", v->count, f) && check_id(v->end, "end", v->count, f) &&
           check_id(v->unknown, "unknown", v->count, f);
}

/* ---- copying it ---- */

/* Bytes as they are shown: what is no UTF-8 as <0xXX>, which takes six bytes for one. */
static size_t write_bytes(struct text raw, char *out)
{
    size_t n = 0;
    for (size_t at = 0; at < raw.bytes;) {
        struct utf8_character c = utf8_read(raw.data + at, raw.bytes - at);
        for (size_t i = 0; i < c.bytes; i++)
            n += c.valid ? (out[n] = raw.data[at + i], (size_t)1)
                         : (size_t)sprintf(out + n, "<0x%02X>",
                                           (unsigned)(unsigned char)raw.data[at + i]);
        at += c.bytes;
    }
    return n;
}

/* The piece shown for a token: its mark turned into a space (or dropped), broken UTF-8 replaced.
 * Needs room for six bytes, and one behind, for each of the token's. */
static size_t write_piece(const struct tokenizer *t, size_t i, char *out)
{
    if (t->rules.kind == TOKENIZER_BYTE_BPE)
        return write_bytes(t->raw[i], out);
    struct text token = t->tokens[i];
    bool plain = t->types[i] != TOKEN_NORMAL && t->types[i] != TOKEN_USER_DEFINED;
    bool spaced = t->rules.kind == TOKENIZER_SENTENCEPIECE;
    bool hashes = t->rules.kind == TOKENIZER_WORDPIECE && !plain &&
                  t->rules.word_mark == WORD_MARK_HASHES && token.bytes > 2 &&
                  memcmp(token.data, "##", 2) == 0;
    bool block = t->rules.kind == TOKENIZER_WORDPIECE && !plain &&
                 t->rules.word_mark == WORD_MARK_BLOCK && token.bytes > WORD_BLOCK_BYTES &&
                 memcmp(token.data, WORD_BLOCK, WORD_BLOCK_BYTES) == 0;
    size_t n = 0;
    for (size_t at = hashes ? 2 : block ? WORD_BLOCK_BYTES : 0; at < token.bytes;) {
        struct utf8_character c = utf8_read(token.data + at, token.bytes - at);
        n += utf8_write(spaced && c.code == 0x2581 ? ' ' : c.code, out + n);
        at += c.bytes;
    }
    return n;
}

static bool copy_vocabulary(struct tokenizer *t, const struct vocabulary *v)
{
    size_t n = v->count, bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += v->tokens[i].bytes; /* at most 2^24 * 2^16 */
    t->tokens = calloc(n, sizeof *t->tokens);
    t->pieces = calloc(n, sizeof *t->pieces);
    t->raw = calloc(n, sizeof *t->raw);
    t->types = malloc(n);
    t->classes = malloc(n);
    t->words = malloc(n * sizeof *t->words);
    t->scores = malloc(n * sizeof *t->scores);
    t->bytes = malloc(bytes * 8 + 1); /* as given, raw, shown */
    if (t->tokens == NULL || t->pieces == NULL || t->raw == NULL || t->types == NULL ||
        t->classes == NULL || t->words == NULL || t->scores == NULL || t->bytes == NULL)
        return false;
    char *place = t->bytes;
    for (size_t i = 0; i < n; i++) {
        t->types[i] = v->types == NULL ? TOKEN_NORMAL : v->types[i];
        t->scores[i] = v->kind == TOKENIZER_SENTENCEPIECE ? v->scores[i] : 0;
        t->tokens[i] = (struct text){place, v->tokens[i].bytes};
        if (v->tokens[i].bytes > 0)
            memcpy(place, v->tokens[i].data, v->tokens[i].bytes);
        place += v->tokens[i].bytes;
    }
    for (size_t i = 0; v->kind == TOKENIZER_BYTE_BPE && i < n; i++) {
        bool written = t->types[i] == TOKEN_NORMAL || t->types[i] == TOKEN_UNUSED;
        t->raw[i] = t->tokens[i];
        if (written)
            t->raw[i] = (struct text){place, byte_alphabet_read(t->tokens[i], place)};
        place += written ? t->raw[i].bytes : 0;
    }
    for (size_t i = 0; i < n; i++) {
        t->pieces[i] = (struct text){place, write_piece(t, i, place)};
        place += t->pieces[i].bytes;
    }
    return true;
}

/* The strings that are split out of a text. SentencePiece makes no difference between a space and
 * U+2581, so its strings are entered with spaces, as their pieces show them. */
static bool prepare_special(struct tokenizer *t)
{
    size_t bytes = 0;
    for (size_t i = 0; i < t->rules.count; i++)
        if (t->types[i] == TOKEN_CONTROL || t->types[i] == TOKEN_USER_DEFINED)
            bytes += t->tokens[i].bytes;
    if (!trie_create(&t->special, bytes))
        return false;
    for (size_t i = 0; i < t->rules.count; i++) {
        if (t->types[i] != TOKEN_CONTROL && t->types[i] != TOKEN_USER_DEFINED)
            continue;
        if (t->tokens[i].bytes == 0 || !utf8_valid(t->tokens[i], NULL))
            continue;
        struct text string = t->rules.kind == TOKENIZER_SENTENCEPIECE ? t->pieces[i] : t->tokens[i];
        trie_insert(&t->special, 0, string, (int32_t)i);
        t->special_starts[(unsigned char)string.data[0]] = true;
    }
    if (t->rules.kind == TOKENIZER_SENTENCEPIECE && t->special_starts[' '])
        t->special_starts[(unsigned char)WORD_BLOCK[0]] = true;
    return true;
}

static bool prepare(struct tokenizer *t, const struct vocabulary *v, struct failure *f)
{
    for (int i = 0; i < 256; i++)
        t->all_bytes[i] = (char)i;
    t->rules = *v;
    t->rules.tokens = NULL;
    t->rules.scores = NULL;
    t->rules.types = NULL;
    t->rules.merges = NULL;
    if (!copy_vocabulary(t, v) || !prepare_special(t) || !string_map_create(&t->map, v->count))
        return fail(f, "not enough memory for a vocabulary of %zu tokens", v->count);
    for (size_t i = 0; i < v->count; i++)
        string_map_put(&t->map, t->tokens[i], (int32_t)i);
    classify_tokens(t);
    return v->kind == TOKENIZER_SENTENCEPIECE ? sentencepiece_prepare(t, f)
           : v->kind == TOKENIZER_BYTE_BPE    ? byte_bpe_prepare(t, v, f)
                                              : wordpiece_prepare(t, f);
}

bool tokenizer_create(struct tokenizer **out, const struct vocabulary *vocabulary,
                      struct failure *f)
{
    *out = NULL;
    if (!check_vocabulary(vocabulary, f))
        return false;
    struct tokenizer *t = calloc(1, sizeof *t);
    if (t == NULL)
        return fail(f, "not enough memory for a tokenizer");
    if (!prepare(t, vocabulary, f)) {
        tokenizer_free(t);
        return false;
    }
    *out = t;
    return true;
}

void tokenizer_free(struct tokenizer *t)
{
    if (t == NULL)
        return;
    string_map_free(&t->map);
    string_map_free(&t->mergeable);
    pair_map_free(&t->merges);
    word_cutter_free(t->cutter);
    trie_free(&t->special);
    trie_free(&t->pieces_of_words);
    free(t->tokens);
    free(t->pieces);
    free(t->raw);
    free(t->types);
    free(t->classes);
    free(t->words);
    free(t->scores);
    free(t->bytes);
    free(t->ends);
    free(t);
}

/* ---- encoding ---- */

bool token_sink_add(struct token_sink *sink, int32_t id, size_t begin, size_t end)
{
    if (!array_reserve(&sink->tokens, &sink->capacity, sink->count + 1, sizeof *sink->tokens))
        return false;
    sink->tokens[sink->count++] = (struct token){id, begin, end};
    return true;
}

bool token_sink_refuse(struct token_sink *sink, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(sink->refusal.message, sizeof sink->refusal.message, format, list);
    va_end(list);
    return false;
}

/* The longest special string that text[at ..) begins with: its id and where it ends, or -1. */
static int32_t match_special(const struct tokenizer *t, struct text text, size_t at,
                             bool parse_special, size_t *end)
{
    bool fold = t->rules.kind == TOKENIZER_SENTENCEPIECE;
    int32_t best = -1;
    uint32_t node = 0;
    while (at < text.bytes) {
        bool block = fold && text.bytes - at >= WORD_BLOCK_BYTES &&
                     memcmp(text.data + at, WORD_BLOCK, WORD_BLOCK_BYTES) == 0;
        node = trie_step(&t->special, node, block ? ' ' : (unsigned char)text.data[at]);
        if (node == 0)
            break;
        at += block ? WORD_BLOCK_BYTES : 1;
        int32_t id = t->special.values[node];
        if (id >= 0 && (parse_special || t->types[id] == TOKEN_USER_DEFINED)) {
            best = id;
            *end = at;
        }
    }
    return best;
}

static bool encode_stretch(const struct tokenizer *t, struct text text, size_t begin, size_t end,
                           struct token_sink *sink)
{
    if (t->rules.kind == TOKENIZER_WORDPIECE)
        return wordpiece_encode(t, text.data, begin, end, sink);
    if (t->rules.kind == TOKENIZER_BYTE_BPE)
        return byte_bpe_encode(t, text.data, begin, end, sink);
    return sentencepiece_encode(t, text.data, begin, end, begin == 0, sink);
}

/* Stretches and special tokens by turns. A text that begins with a user-defined token still gets its
 * prefix space, one that begins with a control token does not. */
static bool encode_all(const struct tokenizer *t, struct text text, bool parse_special,
                       struct token_sink *sink)
{
    size_t begin = 0;
    for (size_t i = 0, end = 0; i < text.bytes;) {
        int32_t id = t->special_starts[(unsigned char)text.data[i]]
                         ? match_special(t, text, i, parse_special, &end)
                         : -1;
        if (id < 0) {
            i++;
            continue;
        }
        bool stretch = i > begin || (i == 0 && t->types[id] == TOKEN_USER_DEFINED);
        if ((stretch && !encode_stretch(t, text, begin, i, sink)) ||
            !token_sink_add(sink, id, i, end))
            return false;
        i = begin = end;
    }
    return begin == text.bytes || encode_stretch(t, text, begin, text.bytes, sink);
}

bool tokenizer_encode(const struct tokenizer *t, struct text text, struct encode_options options,
                      struct token_list *list, struct failure *f)
{
    *list = (struct token_list){0};
    if (text.bytes > TOKENIZER_MAX_TEXT)
        return fail(f, "the text has %zu bytes, but may have at most %d", text.bytes,
                    (int)TOKENIZER_MAX_TEXT);
    size_t offset;
    if (!options.lossy && !utf8_valid(text, &offset))
        return fail(f, "the text is not UTF-8: byte 0x%02X at offset %zu does not fit",
                    (unsigned)(unsigned char)text.data[offset], offset);
    struct token_sink sink = {0};
    int32_t first = options.add_special ? t->rules.first : -1;
    int32_t last = options.add_special ? t->rules.last : -1;
    if ((first >= 0 && !token_sink_add(&sink, first, 0, 0)) ||
        !encode_all(t, text, options.parse_special, &sink) ||
        (last >= 0 && !token_sink_add(&sink, last, text.bytes, text.bytes))) {
        free(sink.tokens);
        if (sink.refusal.message[0] != '\0')
            return fail(f, "%s", sink.refusal.message);
        return fail(f, "not enough memory for the tokens of a text of %zu bytes", text.bytes);
    }
    *list = (struct token_list){sink.tokens, sink.count};
    return true;
}

void token_list_free(struct token_list *list)
{
    free(list->tokens);
    *list = (struct token_list){0};
}
