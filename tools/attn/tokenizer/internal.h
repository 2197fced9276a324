/* What the files of the tokenizer share. The kinds differ only in how they cut a stretch of text that
 * holds no special tokens. */
#ifndef ATTN_TOOLS_TOKENIZER_INTERNAL_H
#define ATTN_TOOLS_TOKENIZER_INTERNAL_H

#include "pair_map.h"
#include "string_map.h"
#include "tokenizer.h"
#include "trie.h"
#include "vocabulary.h"
#include "word_cut.h"

/* U+2581, the mark of a word's start. */
#define WORD_BLOCK "\xE2\x96\x81"
enum { WORD_BLOCK_BYTES = 3 };

struct tokenizer {
    struct vocabulary rules; /* ids and switches; its arrays are NULL */
    int32_t *ends;           /* [end_count], rules.end first, if several were set; else NULL */
    size_t end_count;
    struct text *tokens; /* [count] as given, inside `bytes` */
    struct text *pieces; /* [count] as shown, inside `bytes` */
    struct text *raw;    /* [count] byte-level BPE: the bytes of a text; inside `bytes` */
    char *bytes;
    float *scores;          /* [count] SentencePiece */
    unsigned char *types;   /* [count] */
    char all_bytes[256];    /* 0 .. 255, for tokens of one byte to point at */
    unsigned char *classes; /* [count] enum token_class */
    bool *words;            /* [count] */
    struct string_map map;  /* every token as given -> id */
    struct trie special;    /* control and user-defined strings; root 0 */
    bool special_starts[256];

    /* SentencePiece, and what byte-level BPE shares with it. */
    struct string_map mergeable; /* what merging may form -> id: spelled with U+2581, or bytes */
    size_t longest_mergeable;    /* bytes */
    bool joins_block[256];       /* last bytes of what precedes U+2581 inside a mergeable token */
    int32_t byte_ids[256];       /* -1 for none */

    /* Byte-level BPE. */
    struct pair_map merges;
    struct word_cutter *cutter;

    /* WordPiece. */
    struct trie pieces_of_words; /* root 0: beginnings of words, root 1: continuations */
};

/* Tokens being collected. */
struct token_sink {
    struct token *tokens;
    size_t count, capacity;
    struct failure refusal; /* why the text cannot be encoded; "" when memory ran out */
};

/* Write the refusal and return false. */
bool token_sink_refuse(struct token_sink *sink, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* False when memory runs out. */
bool token_sink_add(struct token_sink *sink, int32_t id, size_t begin, size_t end);

/* Cut text[begin .. end), which holds no special tokens and, unless it is being read lossily, is
 * valid UTF-8. `leading`: it is the front of the text. False when memory runs out or the sink has a
 * refusal. */
bool sentencepiece_encode(const struct tokenizer *t, const char *text, size_t begin, size_t end,
                          bool leading, struct token_sink *sink);
bool wordpiece_encode(const struct tokenizer *t, const char *text, size_t begin, size_t end,
                      struct token_sink *sink);
bool byte_bpe_encode(const struct tokenizer *t, const char *text, size_t begin, size_t end,
                     struct token_sink *sink);

/* The tables of each kind, once tokens, types and scores are in place. */
bool sentencepiece_prepare(struct tokenizer *t, struct failure *f);
bool wordpiece_prepare(struct tokenizer *t, struct failure *f);
bool byte_bpe_prepare(struct tokenizer *t, const struct vocabulary *v, struct failure *f);

/* The byte that a token of the form <0xXX> stands for; -1 if it has another form. */
int byte_token_value(struct text token);

/* Class and word flag of every token, from its type and its piece. */
void classify_tokens(struct tokenizer *t);

#endif
