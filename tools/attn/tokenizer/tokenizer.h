/* Text to token ids and back.
 *
 * A tokenizer is made from a `struct vocabulary` (vocabulary.h): plain arrays, so that nothing here
 * knows about file formats. Two small adapters fill that structure from a GGUF file and from a
 * Hugging Face tokenizer.json. Once made, a tokenizer owns copies of all it needs, is read-only, and
 * may be used from several threads.
 *
 *     struct tokenizer *t;
 *     struct token_list list;
 *     if (!tokenizer_from_gguf(&t, gguf, &f)) ...
 *     struct encode_options options = {.add_special = true};
 *     if (!tokenizer_encode(t, text, options, &list, &f)) ...
 *     for (size_t i = 0; i < list.count; i++)
 *         use(list.tokens[i].id, text.data + list.tokens[i].begin);
 *     token_list_free(&list);
 *     tokenizer_free(t);
 */
#ifndef ATTN_TOOLS_TOKENIZER_H
#define ATTN_TOOLS_TOKENIZER_H

#include "../base/failure.h"
#include "../base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer;
struct vocabulary;
struct gguf;

/* ---- making one; on failure *out is NULL ---- */

bool tokenizer_create(struct tokenizer **out, const struct vocabulary *vocabulary,
                      struct failure *f);

/* From the tokenizer.ggml.* keys of a GGUF file: model "llama" (SentencePiece BPE), "bert" (WordPiece) or
 * "gpt2" (byte-level BPE, of the cuts that word_cut.h names). The tokenizer does not need the file
 * afterwards. */
bool tokenizer_from_gguf(struct tokenizer **out, const struct gguf *gguf, struct failure *f);

/* From a Hugging Face tokenizer.json whose model is WordPiece, or a BPE of bytes with one of the cuts of
 * word_cut.h; the file does not say which token ends a text that such a model writes. Its truncation and padding are
 * ignored: what limits a text is the model's table of positions. */
bool tokenizer_from_json(struct tokenizer **out, struct text json, struct failure *f);

/* The same from a file beside a model that scores `vocabulary` tokens: with byte-level BPE, ids up to that which the
 * file does not name become tokens without text, which no text holds. */
bool tokenizer_from_json_file(struct tokenizer **out, const char *path, int64_t vocabulary,
                              struct failure *f);

/* NULL is left alone. */
void tokenizer_free(struct tokenizer *t);

/* ---- text to tokens ---- */

struct token {
    int32_t id;
    /* The bytes of the text this token stands for: [begin, end). Ranges never overlap and never go
     * back. Those of both kinds of BPE cover the text without gaps; a WordPiece tokenizer's leave
     * out what it drops (white space, control characters). Empty for a token that the text does not
     * hold (BOS, CLS, SEP, EOS) and for all but the first token of one character cut into several
     * where its bytes cannot be shared out. */
    size_t begin, end;
};

struct token_list {
    struct token *tokens; /* NULL when count is 0 */
    size_t count;
};

struct encode_options {
    bool add_special;   /* add what the model's texts begin and end with: BOS, or CLS and SEP */
    bool parse_special; /* the strings of control tokens become those tokens; default: plain text */
    bool lossy;         /* read each broken UTF-8 sequence as U+FFFD; default: refuse the text */
};

enum { TOKENIZER_MAX_TEXT = 1 << 30 }; /* bytes */

/* Any text of up to TOKENIZER_MAX_TEXT bytes, the empty one included; NUL is a character like any
 * other. Takes O(n log n) time. Fails, with `list` empty, when the text is too long, is not UTF-8
 * (the sentence holds the offset of the first bad byte), when it holds a byte that a byte-level vocabulary
 * has no token for, or memory runs out. */
bool tokenizer_encode(const struct tokenizer *t, struct text text, struct encode_options options,
                      struct token_list *list, struct failure *f);

void token_list_free(struct token_list *list);

/* ---- tokens to text ---- */

/* What to show for a token: valid UTF-8, its word-start mark as a space (none for WordPiece), bytes
 * that are no text as <0xXX>, a control token by its name. It is untrusted text and may hold control
 * characters: escape it for where it goes. Empty for an id out of range. Lives as long as `t`. */
struct text tokenizer_piece(const struct tokenizer *t, int32_t id);

/* The bytes that a token adds to a text, for text that comes token by token: they may be a part of a
 * character. Empty for control tokens and an id out of range. (A SentencePiece tokenizer with a prefix space
 * begins its text with it, and words of a WordPiece tokenizer have no spaces between them: tokenizer_decode
 * sees to both.) Lives as long as `t`. */
struct text tokenizer_bytes(const struct tokenizer *t, int32_t id);

/* The text of `count` ids, without control tokens; *out is malloc'd and NUL-terminated after
 * out_bytes bytes. Byte-level BPE: exactly what was encoded, but composed (NFC) where the model does that. SentencePiece: gives back exactly what was encoded, but U+2581 comes back as a
 * space. WordPiece: words with single spaces between them. Fails on an id out of range. */
bool tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t count, char **out,
                      size_t *out_bytes, struct failure *f);

/* ---- about the vocabulary ---- */

enum token_class {
    TOKEN_CLASS_FIRST,       /* BOS or CLS */
    TOKEN_CLASS_SEPARATOR,   /* SEP */
    TOKEN_CLASS_CONTROL,     /* any other control token */
    TOKEN_CLASS_PUNCTUATION, /* nothing but punctuation (Unicode P*, or ASCII $+<=>^`|~) and spaces */
    TOKEN_CLASS_NEWLINE,     /* white space with a line break in it */
    TOKEN_CLASS_ORDINARY,    /* everything else, the unknown token included */
    TOKEN_CLASS_COUNT
};

/* ORDINARY for an id out of range. */
enum token_class tokenizer_class(const struct tokenizer *t, int32_t id);

/* "bos_or_cls", "sep", "control", "punctuation", "newline", "ordinary". */
const char *token_class_name(enum token_class c);

/* Whether the id is a plain word or part of one: a normal token with a letter or a digit in it. What
 * random probes are drawn from. */
bool tokenizer_is_word(const struct tokenizer *t, int32_t id);

/* How many ids there are: 0 .. size - 1. */
int32_t tokenizer_size(const struct tokenizer *t);

/* "SentencePiece BPE", "WordPiece" or "byte-level BPE, words as gpt-2". */
const char *tokenizer_kind_name(const struct tokenizer *t);

/* What add_special puts first and last; -1 for none. */
int32_t tokenizer_first_id(const struct tokenizer *t);
int32_t tokenizer_last_id(const struct tokenizer *t);

/* The id that marks the end of a text when generating; -1 if the vocabulary names none. Whether an id is that,
 * or another that was set. */
int32_t tokenizer_end_id(const struct tokenizer *t);
bool tokenizer_ends_text(const struct tokenizer *t, int32_t id);

/* In place of the vocabulary's own, before the tokenizer is in use: `count` ids, the first of which becomes
 * tokenizer_end_id; 0 = none. False, with nothing changed, when memory runs out. */
bool tokenizer_set_ends(struct tokenizer *t, const int32_t *ids, size_t count);

/* The id whose stored string is exactly `token`, the highest if several; -1 for none. */
int32_t tokenizer_find(const struct tokenizer *t, struct text token);

#endif
