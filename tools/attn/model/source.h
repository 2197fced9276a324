/* Where a model's settings and tensors come from: one GGUF file, or a directory with model.safetensors or
 * its shards (files/shards.h), config.json, tokenizer.json and, where there is one, generation_config.json;
 * for sentence models 1_Pooling/config.json. */
#ifndef ATTN_TOOLS_MODEL_SOURCE_H
#define ATTN_TOOLS_MODEL_SOURCE_H

#include "../base/failure.h"
#include "../files/file_tensor.h"
#include "architecture.h"

#include <jansson.h>

struct source {
    char *path;           /* as it was given */
    char *weights_path;   /* of the .gguf or .safetensors file, or of the index of shards */
    char *tokenizer_path; /* of tokenizer.json; NULL for GGUF */
    struct gguf *gguf;    /* one of these two is open */
    struct shards *shards;
    json_t *config;     /* of config.json; NULL for GGUF */
    json_t *generation; /* of generation_config.json; NULL if there is none */
    json_t *pooling;    /* of 1_Pooling/config.json; NULL if there is none */
    int64_t file_bytes;
};

/* Open what `path` names. On failure everything is closed again and the sentence begins with the
 * path. */
bool source_open(struct source *source, const char *path, struct failure *f);

/* A source of zeros is left alone. */
void source_close(struct source *source);

/* Which architecture the files say it is; fails when it is none of ours, or not in this kind of
 * file. */
bool source_architecture(const struct source *source, const struct architecture **out,
                         struct failure *f);

/* The settings that the files state, checked, over the architecture's defaults. Zeros that stand
 * for something (settings in architecture.h) are filled in. */
bool source_settings(const struct source *source, const struct architecture *architecture,
                     struct settings *out, struct failure *f);

/* For each of settings.layers layers whether it has the window. */
bool source_local_layers(const struct source *source, const struct architecture *architecture,
                         const struct settings *settings, bool *local, struct failure *f);

int64_t source_tensor_count(const struct source *source);
const struct file_tensor *source_tensor_at(const struct source *source, int64_t i);

/* The tensor of a part; "weight" or "bias" is its ending. *out is NULL without a failure when the
 * part is optional and absent, or the architecture has no such part. */
bool source_tensor(const struct source *source, const struct architecture *architecture,
                   const struct part_name *part, int64_t layer, const char *ending,
                   const struct file_tensor **out, struct failure *f);

/* Whether the architecture names every tensor: one that it does not know would change the numbers, so it is
 * refused and not passed over, but for those of safetensors that it says change nothing. */
bool source_check_names(const struct source *source, const struct architecture *architecture,
                        int64_t layers, struct failure *f);

/* The tokenizer, with the tokens that end a text. `vocabulary`: how many tokens the model scores; ids beyond
 * those of tokenizer.json (a padded vocabulary) become tokens without text. */
bool source_tokenizer(const struct source *source, int64_t vocabulary, struct tokenizer **out,
                      struct failure *f);

#endif
