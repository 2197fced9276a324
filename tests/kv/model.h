/* What a cache must hold, as plain arrays: for each layer and sequence the tokens, each known by a number
 * from which its keys and values are made whenever they are needed. */
#ifndef TESTS_KV_MODEL_H
#define TESTS_KV_MODEL_H

#include <attn/kv.h>
#include <attn/rotary.h>

#include "attention/random.h"
#include "kv/pages.h"

enum { MODEL_LAYERS = 3, MODEL_SEQUENCES = 5, MODEL_TOKENS = 1024 };

struct model_token {
    int64_t id, position;
    attn_dtype dtype; /* as it was given */
};

struct model_line {
    struct model_token tokens[MODEL_TOKENS];
    int64_t count, length;
    int64_t gone;    /* a window may have let go of [sinks, gone) */
    bool evicted;    /* at some time */
    bool just_moved; /* nothing happened since an append */
};

struct model {
    attn_kv_layer layers[MODEL_LAYERS];
    attn_kv_config config;
    attn_rotary rotary[2];
    float channel_scales[MODEL_LAYERS][4 * 64];
    struct model_line lines[MODEL_LAYERS][MODEL_SEQUENCES];
    int64_t next_id;
    bool slack; /* pages may be reserved */
};

/* A description by chance. */
void model_init(struct model *m, struct random *random);

/* Element c of a token's key or value, as given (rounded to the token's dtype). */
double model_given(const struct model_token *token, int64_t layer, bool value, int64_t head,
                   int64_t c);

/* What is stored: a row of `size` elements after turning, and how far each may be off. */
void model_row(const struct model *m, int64_t layer, const struct model_token *token, bool value,
               int64_t head, double *row, double *bound);

/* The n tokens that come next to a sequence. */
void model_append(struct model *m, int64_t layer, int64_t sequence, int64_t n, int64_t first_id,
                  attn_dtype dtype);

/* NULL, or what differs between the cache and the model: static text. */
const char *model_fault(const struct model *m, attn_kv *kv);

#endif
