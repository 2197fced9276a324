/* The tokens that a text begins with. */
#ifndef ATTN_RUN_PROMPT_H
#define ATTN_RUN_PROMPT_H

#include "../tokenizer/tokenizer.h"

struct model_description;

/* The tokens of `text` (called `name` in sentences) into *ids, malloc'd: with what the model's texts begin
 * with if it is to `begin` one, without what they end with. `special`: strings of control tokens become those tokens. Fails when the
 * text is not UTF-8, gives no token, or leaves no room for another one in the model's context. */
bool prompt_tokens(const struct tokenizer *tokenizer, const struct model_description *model,
                   const char *name, struct text text, bool begin, bool special, int32_t **ids,
                   int64_t *count, struct failure *f);

#endif
