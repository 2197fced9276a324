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
    TOKENIZER_BYTE_BPE,      /* BPE of bytes by a list of merges, word by word */
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

/* How a text is cut into words before byte-level BPE merges inside each; after the models that began it. */
enum word_cut {
    WORD_CUT_GPT2, /* letters, numbers or signs, with a space before them */
    WORD_CUT_LLAMA_BPE, /* Llama 3: any sign may lead a word, at most three digits, line breaks together */
    WORD_CUT_QWEN2,  /* the same, but every digit alone */
    WORD_CUT_SMOLLM, /* as GPT-2, but every digit alone */
    WORD_CUTS,
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

    /* Byte-level BPE: tokens that are normal are written in the byte alphabet (byte_alphabet.h), special
     * ones as they are in a text. A byte that has no token becomes the unknown token or fails. */
    const struct text
        *merges;        /* [merge_count]: "a b" makes the token ab; the earlier merges first */
    size_t merge_count; /* 0 .. 2^24 */
    enum word_cut cut;
    bool whole_words; /* a word that is a token becomes it, whatever the merges say */
    bool compose;     /* texts are composed first (NFC) */
};

/* An empty vocabulary with no ids, no prefix space and BERT's uncased rules. */
struct vocabulary vocabulary_default(enum tokenizer_kind kind);

#endif
