/* Cutting a text into words before byte-level BPE merges inside each: one regular expression for each
 * family of models, run by PCRE2. */
#ifndef ATTN_TOOLS_TOKENIZER_WORD_CUT_H
#define ATTN_TOOLS_TOKENIZER_WORD_CUT_H

#include "../base/failure.h"
#include "vocabulary.h"

struct word_cutter; /* read-only once made: several threads may use one */

/* False, with *out NULL, when memory runs out. */
bool word_cutter_create(struct word_cutter **out, enum word_cut cut, struct failure *f);
void word_cutter_free(struct word_cutter *cutter);

/* The way of one text through it. */
struct word_cutting {
    const struct word_cutter *cutter;
    const char *text; /* valid UTF-8 */
    size_t bytes;
    size_t at;         /* where the next word begins */
    void *match;       /* scratch of PCRE2 */
    struct failure *f; /* gets the sentence of a failure */
    bool failed;
};

bool word_cutting_begin(struct word_cutting *c, const struct word_cutter *cutter, const char *text,
                        size_t bytes, struct failure *f);
void word_cutting_end(struct word_cutting *c);

/* The next word is text[*begin .. *end), never empty; words follow each other without gaps. False at the
 * end, or after a failure. */
bool word_cutting_next(struct word_cutting *c, size_t *begin, size_t *end);

/* "gpt-2", "llama-bpe", "qwen2", "smollm": the names that tokenizer.ggml.pre gives them. */
const char *word_cut_name(enum word_cut cut);

/* Which one has this name, or is this regular expression as tokenizer.json spells it; false for none. */
bool word_cut_find(struct text name, enum word_cut *out);
bool word_cut_find_expression(struct text expression, enum word_cut *out);

#endif
