/* The tokens that a text begins with. */
#ifndef ATTN_RUN_PROMPT_H
#define ATTN_RUN_PROMPT_H

#include "../tokenizer/tokenizer.h"
#include "segments.h"

struct model_description;

struct prompt_options {
    bool begin;                      /* with what the model's texts begin with in front */
    bool special;                    /* strings of control tokens become those tokens */
    const struct segments *segments; /* NULL = the prompt has no parts */
};

struct prompt {
    int32_t *token;   /* [count], malloc'd */
    uint8_t *segment; /* [count], malloc'd: which part the first byte of each is in */
    int64_t count;
};

/* The tokens of `text` (called `name` in sentences), without what the model's texts end with. Fails, with `prompt`
 * empty, when the text is not UTF-8, gives no token, or leaves no room for another one in the model's context. */
bool prompt_tokens(const struct tokenizer *tokenizer, const struct model_description *model,
                   const char *name, struct text text, const struct prompt_options *options,
                   struct prompt *prompt, struct failure *f);
void prompt_free(struct prompt *prompt);

#endif
