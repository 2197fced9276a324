/* Tokens back to text, and what is known about each: its piece, its class, whether it is a word. */
#include "array.h"
#include "internal.h"
#include "tokenizer.h"
#include "unicode.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

/* ---- classes ---- */

struct contents {
    bool letters, others, breaks, marks; /* marks: punctuation; breaks: line breaks */
};

static void look_at(struct contents *c, uint32_t code)
{
    if (code == '\n' || code == '\r' || code == 0x85 || code == 0x2028 || code == 0x2029)
        c->breaks = true;
    else if (unicode_is_punctuation(code))
        c->marks = true;
    else if (unicode_is_letter_or_digit(code))
        c->letters = true;
    else if (!unicode_is_space(code))
        c->others = true;
}

static enum token_class class_of(const struct tokenizer *t, int32_t id, struct contents c)
{
    const struct vocabulary *rules = &t->rules;
    if (id == rules->bos || id == rules->first)
        return TOKEN_CLASS_FIRST;
    if (id == rules->sep)
        return TOKEN_CLASS_SEPARATOR;
    if (t->types[id] == TOKEN_CONTROL)
        return TOKEN_CLASS_CONTROL;
    if (t->types[id] == TOKEN_UNKNOWN || id == rules->unknown || c.letters || c.others)
        return TOKEN_CLASS_ORDINARY;
    return c.marks    ? TOKEN_CLASS_PUNCTUATION
           : c.breaks ? TOKEN_CLASS_NEWLINE
                      : TOKEN_CLASS_ORDINARY;
}

/* "[unused5]" and its kind: kept for others to define, never part of a text. */
static bool is_reserved(const struct tokenizer *t, size_t i)
{
    struct text s = t->tokens[i];
    return t->rules.kind == TOKENIZER_WORDPIECE && s.bytes >= 2 && s.data[0] == '[' &&
           s.data[s.bytes - 1] == ']';
}

void classify_tokens(struct tokenizer *t)
{
    for (size_t i = 0; i < t->rules.count; i++) {
        struct contents c = {0};
        int value = t->types[i] == TOKEN_BYTE ? byte_token_value(t->tokens[i]) : -1;
        struct text piece = t->rules.kind == TOKENIZER_BYTE_BPE ? t->raw[i] : t->pieces[i];
        for (size_t at = 0; value < 0 && at < piece.bytes;) {
            struct utf8_character u = utf8_read(piece.data + at, piece.bytes - at);
            c.others = c.others || !u.valid;
            look_at(&c, u.code);
            at += u.bytes;
        }
        if (value >= 0x80)
            c.others = true;
        else if (value >= 0)
            look_at(&c, (uint32_t)value);
        t->classes[i] = (unsigned char)class_of(t, (int32_t)i, c);
        t->words[i] = t->types[i] == TOKEN_NORMAL && c.letters && !is_reserved(t, i) &&
                      t->classes[i] == TOKEN_CLASS_ORDINARY && (int32_t)i != t->rules.unknown &&
                      utf8_valid(piece, NULL) && utf8_valid(t->tokens[i], NULL);
    }
}

static bool in_range(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->rules.count;
}

enum token_class tokenizer_class(const struct tokenizer *t, int32_t id)
{
    return in_range(t, id) ? (enum token_class)t->classes[id] : TOKEN_CLASS_ORDINARY;
}

const char *token_class_name(enum token_class c)
{
    static const char *const names[TOKEN_CLASS_COUNT] = {"bos_or_cls",  "sep",     "control",
                                                         "punctuation", "newline", "ordinary"};
    return c < TOKEN_CLASS_COUNT ? names[c] : "ordinary";
}

bool tokenizer_is_word(const struct tokenizer *t, int32_t id)
{
    return in_range(t, id) && t->words[id];
}

/* Tokens that add nothing to a decoded text. */
static bool is_silent(const struct tokenizer *t, int32_t id)
{
    return t->types[id] == TOKEN_CONTROL || id == t->rules.first || id == t->rules.sep;
}

/* ---- facts ---- */

struct text tokenizer_piece(const struct tokenizer *t, int32_t id)
{
    return in_range(t, id) ? t->pieces[id] : (struct text){"", 0};
}

struct text tokenizer_bytes(const struct tokenizer *t, int32_t id)
{
    if (!in_range(t, id) || is_silent(t, id))
        return (struct text){"", 0};
    if (t->rules.kind == TOKENIZER_BYTE_BPE)
        return t->raw[id];
    int byte = t->types[id] == TOKEN_BYTE ? byte_token_value(t->tokens[id]) : -1;
    return byte >= 0 ? (struct text){&t->all_bytes[byte], 1} : t->pieces[id];
}

int32_t tokenizer_size(const struct tokenizer *t)
{
    return (int32_t)t->rules.count;
}

const char *tokenizer_kind_name(const struct tokenizer *t)
{
    static const char *const bpe[WORD_CUTS] = {
        [WORD_CUT_GPT2] = "byte-level BPE, words as gpt-2",
        [WORD_CUT_LLAMA_BPE] = "byte-level BPE, words as llama-bpe",
        [WORD_CUT_QWEN2] = "byte-level BPE, words as qwen2",
        [WORD_CUT_SMOLLM] = "byte-level BPE, words as smollm"};
    if (t->rules.kind == TOKENIZER_BYTE_BPE)
        return bpe[t->rules.cut];
    return t->rules.kind == TOKENIZER_SENTENCEPIECE ? "SentencePiece BPE" : "WordPiece";
}

int32_t tokenizer_first_id(const struct tokenizer *t)
{
    return t->rules.first;
}

int32_t tokenizer_last_id(const struct tokenizer *t)
{
    return t->rules.last;
}

int32_t tokenizer_end_id(const struct tokenizer *t)
{
    return t->rules.end;
}

bool tokenizer_ends_text(const struct tokenizer *t, int32_t id)
{
    for (size_t i = 0; i < t->end_count; i++)
        if (id == t->ends[i])
            return true;
    return id >= 0 && id == t->rules.end;
}

bool tokenizer_set_ends(struct tokenizer *t, const int32_t *ids, size_t count)
{
    int32_t *ends = malloc((count + 1) * sizeof *ends);
    if (ends == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        ends[i] = ids[i];
    free(t->ends);
    t->ends = ends;
    t->end_count = count;
    t->rules.end = count > 0 ? ids[0] : -1;
    return true;
}

int32_t tokenizer_find(const struct tokenizer *t, struct text token)
{
    return string_map_get(&t->map, token.data == NULL ? "" : token.data, token.bytes);
}

/* ---- decoding ---- */

struct buffer {
    char *data;
    size_t count, capacity;
};

static bool append(struct buffer *b, const char *bytes, size_t count)
{
    if (!array_reserve(&b->data, &b->capacity, b->count + count + 1, 1))
        return false;
    memcpy(b->data + b->count, bytes, count);
    b->count += count;
    b->data[b->count] = '\0';
    return true;
}

/* A WordPiece token that continues a word is the one whose piece is not marked as a beginning. */
static bool begins_word(const struct tokenizer *t, int32_t id)
{
    struct text token = t->tokens[id];
    if (t->rules.word_mark == WORD_MARK_HASHES)
        return token.bytes < 2 || memcmp(token.data, "##", 2) != 0;
    return id == t->rules.unknown || (token.bytes >= WORD_BLOCK_BYTES &&
                                      memcmp(token.data, WORD_BLOCK, WORD_BLOCK_BYTES) == 0);
}

static bool append_token(const struct tokenizer *t, int32_t id, struct buffer *b)
{
    if (t->rules.kind == TOKENIZER_WORDPIECE && b->count > 0 && begins_word(t, id) &&
        !append(b, " ", 1))
        return false;
    struct text bytes = tokenizer_bytes(t, id);
    return append(b, bytes.data, bytes.bytes);
}

/* A vocabulary without a token for U+2581 spells it in bytes; it is still a space. Then the prefix
 * space goes. */
static void restore_spaces(const struct tokenizer *t, struct buffer *b)
{
    size_t n = 0, at = 0;
    while (at < b->count) {
        bool block = b->count - at >= WORD_BLOCK_BYTES &&
                     memcmp(b->data + at, WORD_BLOCK, WORD_BLOCK_BYTES) == 0;
        b->data[n++] = block ? ' ' : b->data[at];
        at += block ? WORD_BLOCK_BYTES : 1;
    }
    if (t->rules.add_space_prefix && n > 0 && b->data[0] == ' ')
        memmove(b->data, b->data + 1, --n);
    b->count = n;
    b->data[n] = '\0';
}

bool tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t count, char **out,
                      size_t *out_bytes, struct failure *f)
{
    struct buffer b = {0};
    *out = NULL;
    *out_bytes = 0;
    bool good = append(&b, "", 0);
    for (size_t i = 0; good && i < count; i++) {
        if (!in_range(t, ids[i])) {
            free(b.data);
            return fail(f, "token id %d is out of range: ids go from 0 to %d", (int)ids[i],
                        (int)tokenizer_size(t) - 1);
        }
        good = is_silent(t, ids[i]) || append_token(t, ids[i], &b);
    }
    if (!good) {
        free(b.data);
        return fail(f, "not enough memory for the text of %zu tokens", count);
    }
    if (t->rules.kind == TOKENIZER_SENTENCEPIECE)
        restore_spaces(t, &b);
    *out = b.data;
    *out_bytes = b.count;
    return true;
}
