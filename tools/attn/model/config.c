/* Reading config.json; see config.h. Values that are absent are the defaults of the model's class in
 * transformers. What that class reads and this program does not do is refused, never ignored. */
#include "config.h"

#include <string.h>

bool config_states(const json_t *config, const char *key)
{
    const json_t *value = json_object_get(config, key);
    return value != NULL && !json_is_null(value);
}

bool config_may_omit(const char *key)
{
    return strcmp(key, "n_inner") == 0;
}

bool config_integer(const json_t *config, const char *key, int64_t low, int64_t high, int64_t *out,
                    struct failure *f)
{
    const json_t *value = json_object_get(config, key);
    if (!json_is_integer(value) || json_integer_value(value) < low ||
        json_integer_value(value) > high)
        return fail(f, "config.json: %s must be an integer from %lld to %lld", key, (long long)low,
                    (long long)high);
    *out = json_integer_value(value);
    return true;
}

bool config_number(const json_t *config, const char *key, double *out, struct failure *f)
{
    const json_t *value = json_object_get(config, key);
    if (!json_is_number(value))
        return fail(f, "config.json: %s must be a number", key);
    *out = json_number_value(value);
    return true;
}

/* *out stays as it is where the key is absent. */
static bool config_bool(const json_t *config, const char *key, bool *out, struct failure *f)
{
    const json_t *value = json_object_get(config, key);
    if (!config_states(config, key))
        return true;
    if (!json_is_boolean(value))
        return fail(f, "config.json: %s must be true or false", key);
    *out = json_is_true(value);
    return true;
}

/* ---- what must be as it is here ---- */

static bool check_activation(const json_t *config, const struct architecture *a, struct failure *f)
{
    static const struct {
        const char *name;
        enum activation activation;
    } names[] = {{"gelu", ACTIVATION_GELU_ERF},
                 {"gelu_new", ACTIVATION_GELU_TANH},
                 {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH},
                 {"silu", ACTIVATION_SILU},
                 {"swish", ACTIVATION_SILU}};
    const char *key = a->config_words == CONFIG_GPT2 ? "activation_function" : "hidden_act";
    const char *value = json_string_value(json_object_get(config, key));
    if (json_object_get(config, key) == NULL)
        return true;
    for (size_t i = 0; value != NULL && i < sizeof names / sizeof *names; i++)
        if (strcmp(value, names[i].name) == 0 && names[i].activation == a->activation)
            return true;
    return fail(f, "config.json: %s must be \"%s\" for %s", key, a->activation_name, a->name);
}

static bool check_only_values(const json_t *config, const struct architecture *a, struct failure *f)
{
    static const struct {
        const char *key;
        bool only;
    } switches[] = {{"scale_attn_weights", true},
                    {"scale_attn_by_inverse_layer_idx", false},
                    {"add_cross_attention", false}};
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        bool value = switches[i].only;
        if (!config_bool(config, switches[i].key, &value, f))
            return false;
        if (value != switches[i].only)
            return fail(f, "config.json: %s is %s; it may be %s", switches[i].key,
                        value ? "true" : "false", value ? "false" : "true");
    }
    const json_t *positions = json_object_get(config, "position_embedding_type");
    if (positions != NULL &&
        (!json_is_string(positions) || strcmp(json_string_value(positions), "absolute") != 0))
        return fail(f, "config.json: position_embedding_type must be \"absolute\" for %s", a->name);
    double rotated = 1;
    if (config_states(config, "partial_rotary_factor") &&
        !config_number(config, "partial_rotary_factor", &rotated, f))
        return false;
    if (rotated != 1)
        return fail(f, "config.json: partial_rotary_factor is %g; it may be 1", rotated);
    return !config_states(config, "quantization_config") ||
           fail(f, "config.json: there is a quantization_config; weights may be F32, F16 or BF16");
}

/* ---- the rotary embedding ---- */

/* One number of the scaling, which must be there. */
static bool scaling_number(const json_t *scaling, const char *key, double low, double high,
                           double *out, struct failure *f)
{
    const json_t *value = json_object_get(scaling, key);
    double number = json_is_number(value) ? json_number_value(value) : -1;
    if (!(number >= low && number <= high))
        return fail(f, "config.json: %s of the rotary scaling must be a number from %g to %g", key,
                    low, high);
    *out = number;
    return true;
}

/* A member that is not known might mean anything. */
static bool check_members(const json_t *scaling, struct failure *f)
{
    static const char *const known[] = {"rope_type",
                                        "type",
                                        "rope_theta",
                                        "factor",
                                        "low_freq_factor",
                                        "high_freq_factor",
                                        "original_max_position_embeddings"};
    enum { KNOWN = sizeof known / sizeof *known };
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)scaling, key, value)
    {
        size_t i = 0;
        char quoted[TEXT_QUOTED];
        while (i < KNOWN && strcmp(key, known[i]) != 0)
            i++;
        bool whole = strcmp(key, "partial_rotary_factor") == 0 && json_number_value(value) == 1;
        if (i == KNOWN && !whole && !json_is_null(value))
            return fail(f, "config.json: the rotary scaling has %s, which is not known",
                        text_quote((struct text){key, strlen(key)}, quoted));
    }
    return true;
}

static bool read_bands(const json_t *scaling, struct rotary_bands *bands, struct failure *f)
{
    if (!scaling_number(scaling, "factor", 1, 1e6, &bands->factor, f) ||
        !scaling_number(scaling, "low_freq_factor", 1e-6, 1e6, &bands->low, f) ||
        !scaling_number(scaling, "high_freq_factor", 1e-6, 1e6, &bands->high, f) ||
        !scaling_number(scaling, "original_max_position_embeddings", 1, INT32_MAX, &bands->original,
                        f))
        return false;
    return bands->high > bands->low ||
           fail(f, "config.json: high_freq_factor is %g; it may be more than low_freq_factor, %g",
                bands->high, bands->low);
}

/* rope_parameters (transformers 5), or rope_scaling beside rope_theta (before). */
static bool read_rotary(const json_t *config, struct settings *out, struct failure *f)
{
    bool both = config_states(config, "rope_parameters") && config_states(config, "rope_scaling");
    const char *key = config_states(config, "rope_parameters") ? "rope_parameters" : "rope_scaling";
    const json_t *scaling = json_object_get(config, key);
    if (both)
        return fail(f, "config.json: rope_parameters and rope_scaling are both there; there may be "
                       "one of them");
    if (!config_states(config, key))
        return true;
    if (!json_is_object(scaling))
        return fail(f, "config.json: %s must be an object", key);
    if (!check_members(scaling, f) ||
        (config_states(scaling, "rope_theta") &&
         !scaling_number(scaling, "rope_theta", 1, 1e12, &out->rotary_base, f)))
        return false;
    if (config_states(scaling, "rope_theta") && config_states(config, "rope_theta") &&
        json_number_value(json_object_get(config, "rope_theta")) != out->rotary_base)
        return fail(f, "config.json: rope_theta is %g, and another in %s, %g",
                    json_number_value(json_object_get(config, "rope_theta")), key,
                    out->rotary_base);
    const json_t *type = json_object_get(scaling, "rope_type");
    if (type == NULL)
        type = json_object_get(scaling, "type");
    if (type == NULL)
        return json_object_get(scaling, "factor") == NULL ||
               fail(f, "config.json: %s has a factor, but no rope_type", key);
    struct text kind = {json_string_value(type), json_string_length(type)};
    char quoted[TEXT_QUOTED];
    if (text_is(kind, "default"))
        return true;
    if (text_is(kind, "linear"))
        return scaling_number(scaling, "factor", 1, 1e6, &out->rotary_factor, f);
    if (text_is(kind, "llama3"))
        return read_bands(scaling, &out->bands, f);
    return fail(f, "config.json: rope_type is %s; it may be 'default', 'linear' or 'llama3'",
                text_quote(kind, quoted));
}

/* ---- windows ---- */

/* Qwen's files state a window that only use_sliding_window turns on; Llama has none. */
static bool read_window(const json_t *config, const struct architecture *a, struct settings *out,
                        struct failure *f)
{
    bool used = false;
    if (!a->config_window)
        return !config_states(config, "sliding_window") ||
               fail(f, "config.json: sliding_window is there; a %s model has none", a->name);
    if (!config_bool(config, "use_sliding_window", &used, f))
        return false;
    if (used && json_object_get(config, "sliding_window") == NULL)
        return fail(f, "config.json: use_sliding_window is true, but there is no sliding_window");
    return !used || !config_states(config, "sliding_window") ||
           config_integer(config, "sliding_window", 1, INT32_MAX, &out->window, f);
}

bool config_local_layers(const json_t *config, const struct settings *settings, bool *local,
                         struct failure *f)
{
    const json_t *types = json_object_get(config, "layer_types");
    int64_t first = 28; /* what Qwen's classes take where max_window_layers is absent */
    if (config_states(config, "max_window_layers") &&
        !config_integer(config, "max_window_layers", 0, INT32_MAX, &first, f))
        return false;
    if (!config_states(config, "layer_types")) {
        for (int64_t l = 0; l < settings->layers; l++)
            local[l] = settings->window > 0 && l >= first;
        return true;
    }
    if (!json_is_array(types) || json_array_size(types) != (size_t)settings->layers)
        return fail(f, "config.json: layer_types must be an array of %lld, one for each layer",
                    (long long)settings->layers);
    for (int64_t l = 0; l < settings->layers; l++) {
        const json_t *type = json_array_get(types, (size_t)l);
        struct text kind = {json_string_value(type), json_string_length(type)};
        char quoted[TEXT_QUOTED];
        local[l] = text_is(kind, "sliding_attention");
        if (!local[l] && !text_is(kind, "full_attention"))
            return fail(f,
                        "config.json: layer_types of layer %lld is %s; it may be 'full_attention' "
                        "or 'sliding_attention'",
                        (long long)l, text_quote(kind, quoted));
        if (local[l] && settings->window == 0)
            return fail(f,
                        "config.json: layer_types gives layer %lld a window, but there is no "
                        "sliding_window in use",
                        (long long)l);
    }
    return true;
}

/* ---- all of it ---- */

static bool read_pooling(const json_t *pooling, struct settings *out, struct failure *f)
{
    bool mean = json_is_true(json_object_get(pooling, "pooling_mode_mean_tokens"));
    bool cls = json_is_true(json_object_get(pooling, "pooling_mode_cls_token"));
    if (mean == cls)
        return fail(f, "1_Pooling/config.json: the pooling must be by mean or by cls token");
    out->pooling = mean ? MODEL_POOLING_MEAN : MODEL_POOLING_CLS;
    return true;
}

bool config_settings(const struct source *source, const struct architecture *architecture,
                     struct settings *out, struct failure *f)
{
    const json_t *config = source->config;
    if (!check_activation(config, architecture, f) || !check_only_values(config, architecture, f) ||
        !config_bool(config, "tie_word_embeddings", &out->tied, f) ||
        !config_bool(config, "attention_bias", &out->attention_bias, f) ||
        !config_bool(config, "mlp_bias", &out->feed_bias, f))
        return false;
    if (config_states(config, "vocab_size") &&
        !config_integer(config, "vocab_size", 1, INT32_MAX / 2, &out->vocabulary, f))
        return false;
    if (architecture->rotary != ROTARY_NONE &&
        (!read_rotary(config, out, f) || !read_window(config, architecture, out, f)))
        return false;
    return source->pooling == NULL || read_pooling(source->pooling, out, f);
}
