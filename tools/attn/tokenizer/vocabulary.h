/* What a tokenizer is made from, whatever file it came from. Nothing here is kept: tokenizer_create
 * copies what it needs. */
#ifndef ATTN_TOOLS_VOCABULARY_H
#define ATTN_TOOLS_VOCABULARY_H

#include "../base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tokenizer_kind {
    TOKENIZER_SENTENCEPIECE, /* BPE by scores, spaces written U+2581, byte fallback */
    TOKENIZER_WORDPIECE,     /* words cut by greedy longest match */
};

/* Numbers as GGUF stores them. */
enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER_DEFINED = 4, /* split out of the text before anything else; spaces are real ones */
    TOKEN_UNUSED = 5,       /* never produced */
    TOKEN_BYTE = 6,         /* <0x00> .. <0xFF> */
};

/* How WordPiece tokens say whether they begin a word. */
enum word_mark {
    WORD_MARK_HASHES, /* "##x" continues, "x" begins: tokenizer.json, vocab.txt */
    WORD_MARK_BLOCK,  /* "x" continues, U+2581 "x" begins: GGUF */
};

struct vocabulary {
    enum tokenizer_kind kind;
    size_t count;               /* 1 .. 2^24 tokens */
    const struct text *tokens;  /* [count] at most 65535 bytes each */
    const float *scores;        /* [count] SentencePiece only: the higher merges first; no NaN */
    const unsigned char *types; /* [count] enum token_type; NULL: all normal */

    /* Ids, -1 for none. */
    int32_t first;   /* put before a text by add_special: BOS or CLS */
    int32_t last;    /* put after a text by add_special: EOS or SEP */
    int32_t bos;     /* begins a text or a sequence (or CLS), whether or not it is added */
    int32_t sep;     /* separates two texts */
    int32_t end;     /* ends a generated text */
    int32_t unknown; /* for what nothing else can spell; WordPiece needs it */

    /* SentencePiece. */
    bool add_space_prefix; /* a text gets a space in front */

    /* WordPiece. */
    enum word_mark word_mark;
    bool clean_text;    /* drop control characters, unify white space */
    bool isolate_cjk;   /* every ideograph is a word */
    bool strip_accents; /* NFD, then drop nonspacing marks */
    bool lowercase;
    size_t max_word; /* longer words, in characters, become the unknown token */
};

/* An empty vocabulary with no ids, no prefix space and BERT's uncased rules. */
struct vocabulary vocabulary_default(enum tokenizer_kind kind);

#endif
