/* What the readers of tokenizer.json share. */
#ifndef ATTN_TOOLS_TOKENIZER_FROM_JSON_H
#define ATTN_TOOLS_TOKENIZER_FROM_JSON_H

#include "../base/failure.h"
#include "vocabulary.h"

#include <jansson.h>

/* A vocabulary being read; its strings belong to the JSON. */
struct json_vocabulary {
    struct vocabulary v;
    size_t least; /* BPE: how many ids there are at least */
    struct text *tokens;
    unsigned char *types;
    struct text *merges;
    char *merge_bytes; /* of merges that the file gives in two halves */
};

/* Whether object.type is this. */
bool json_type_is(const json_t *object, const char *type);

/* A boolean that may be absent or null. */
bool json_read_bool(const json_t *object, const char *name, bool otherwise, bool *out,
                    struct failure *f);

/* model.vocab and added_tokens, into l->tokens and l->types. */
bool json_read_tokens(const json_t *root, struct json_vocabulary *l, struct failure *f);

/* The id of a token; -1 for none, and for NULL. */
int32_t json_find_token(const struct json_vocabulary *l, const char *name);

/* The name in {"SpecialToken": {"id": name}}, element i of a template; NULL if that is something else. */
const char *json_template_name(const json_t *single, size_t i);

/* All of a file whose model is BPE. */
bool json_read_byte_bpe(const json_t *root, struct json_vocabulary *l, struct failure *f);

#endif
