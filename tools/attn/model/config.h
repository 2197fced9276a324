/* What config.json of a folder states: whether it does, one value, and all that GGUF files say in other ways
 * or in tensors. */
#ifndef ATTN_TOOLS_MODEL_CONFIG_H
#define ATTN_TOOLS_MODEL_CONFIG_H

#include "source.h"

/* A key that is null states nothing. */
bool config_states(const json_t *config, const char *key);

/* Whether a setting that every model has may be left to its usual value: GPT-2's n_inner. */
bool config_may_omit(const char *key);

bool config_integer(const json_t *config, const char *key, int64_t low, int64_t high, int64_t *out,
                    struct failure *f);
bool config_number(const json_t *config, const char *key, double *out, struct failure *f);

/* The activation, the scaling of the rotary embedding, windows, biases, tied outputs, pooling; and that nothing
 * is asked for that would change the numbers and is not done here. */
bool config_settings(const struct source *source, const struct architecture *architecture,
                     struct settings *out, struct failure *f);

/* For each of settings.layers layers whether it has the window. */
bool config_local_layers(const json_t *config, const struct settings *settings, bool *local,
                         struct failure *f);

#endif
