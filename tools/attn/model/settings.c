/* The settings of a model: which keys state them, in GGUF files and in config.json, whose own words are
 * config.c's.
 *
 * Nothing in a file is believed: every number has a range, and numbers that only make sense
 * together are checked together. What a file asks for and this program does not do (a rotary
 * scaling of an unknown kind, another activation) is refused, never ignored. */
#include "source.h"

#include "config.h"

#include "../files/gguf.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct setting {
    size_t offset;       /* in struct settings */
    const char *gguf;    /* after "<architecture>." */
    const char *json[2]; /* by enum config_words; NULL: never stated */
    int64_t low, high;   /* of an integer; low > high marks a number, which must be >= 0 */
    bool required;
};

#define AT(field) offsetof(struct settings, field)
#define A_NUMBER 1, 0

static const struct setting integers_and_numbers[] = {
    {AT(context_length),
     "context_length",
     {"max_position_embeddings", "n_positions"},
     1,
     INT32_MAX,
     true},
    {AT(width), "embedding_length", {"hidden_size", "n_embd"}, 1, 1 << 20, true},
    {AT(layers), "block_count", {"num_hidden_layers", "n_layer"}, 1, 1 << 16, true},
    {AT(feed_forward), "feed_forward_length", {"intermediate_size", "n_inner"}, 1, 1 << 22, true},
    {AT(heads), "attention.head_count", {"num_attention_heads", "n_head"}, 1, 1 << 16, true},
    {AT(kv_heads), "attention.head_count_kv", {"num_key_value_heads", NULL}, 1, 1 << 16, false},
    {AT(key_size), "attention.key_length", {"head_dim", NULL}, 1, 1 << 16, false},
    {AT(value_size), "attention.value_length", {"head_dim", NULL}, 1, 1 << 16, false},
    {AT(rotary_size), "rope.dimension_count", {NULL, NULL}, 2, 1 << 16, false},
    {AT(window), "attention.sliding_window", {NULL, NULL}, 0, INT32_MAX, false},
    {AT(scale), "attention.scale", {NULL, NULL}, A_NUMBER, false},
    {AT(score_softcap), "attn_logit_softcapping", {NULL, NULL}, A_NUMBER, false},
    {AT(logit_softcap), "final_logit_softcapping", {NULL, NULL}, A_NUMBER, false},
    {AT(rotary_base), "rope.freq_base", {"rope_theta", NULL}, A_NUMBER, false},
    {AT(rotary_base_local), "rope.freq_base_swa", {NULL, NULL}, A_NUMBER, false},
};

/* Whether the files state it: a key of JSON that is null does not. */
static bool stated(const struct source *source, const char *key)
{
    if (key == NULL)
        return false;
    return source->gguf != NULL ? gguf_has(source->gguf, key, NULL)
                                : config_states(source->config, key);
}

static bool read_setting(const struct source *source, const struct architecture *architecture,
                         const struct setting *setting, struct settings *out, struct failure *f)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", architecture->name, setting->gguf);
    const char *key = source->gguf != NULL ? name : setting->json[architecture->config_words];
    bool required = setting->required && (source->gguf != NULL || !config_may_omit(key));
    if (!stated(source, key) && !required)
        return true;
    void *field = (char *)out + setting->offset;
    if (setting->low <= setting->high)
        return source->gguf != NULL
                   ? gguf_get_integer(source->gguf, key, setting->low, setting->high, field, f)
                   : config_integer(source->config, key, setting->low, setting->high, field, f);
    double *number = field;
    if (!(source->gguf != NULL ? gguf_get_number(source->gguf, key, number, f)
                               : config_number(source->config, key, number, f)))
        return false;
    if (!(*number >= 0 && *number < 1e12))
        return fail(f, "%s is %g; it may be a number from 0 to 1e12", key, *number);
    return true;
}

/* rope.scaling.type: absent, "none" and "linear" are known. */
static bool read_rotary_scaling(const struct source *source, const char *architecture,
                                struct settings *out, struct failure *f)
{
    char key[96], quoted[TEXT_QUOTED];
    snprintf(key, sizeof key, "%s.rope.scaling.type", architecture);
    if (!gguf_has(source->gguf, key, NULL))
        return true;
    struct text kind;
    if (!gguf_get_string(source->gguf, key, &kind, f))
        return false;
    if (text_is(kind, "none"))
        return true;
    if (!text_is(kind, "linear"))
        return fail(f, "%s is %s; it may be 'none' or 'linear'", key, text_quote(kind, quoted));
    snprintf(key, sizeof key, "%s.rope.scaling.factor", architecture);
    if (!gguf_get_number_or(source->gguf, key, 1, &out->rotary_factor, f))
        return false;
    if (!(out->rotary_factor >= 1 && out->rotary_factor <= 1e6))
        return fail(f, "%s is %g; it may be a number from 1 to 1e6", key, out->rotary_factor);
    return true;
}

static bool read_kind(const struct source *source, const struct architecture *architecture,
                      struct settings *out, struct failure *f)
{
    char key[96];
    snprintf(key, sizeof key, "%s.attention.causal", architecture->name);
    if (!gguf_get_bool_or(source->gguf, key, out->causal, &out->causal, f))
        return false;
    if (out->causal != architecture->defaults.causal)
        return fail(f, "%s is %s; for %s it may be %s", key, out->causal ? "true" : "false",
                    architecture->name, out->causal ? "false" : "true");
    snprintf(key, sizeof key, "%s.pooling_type", architecture->name);
    return gguf_get_integer_or(source->gguf, key, MODEL_POOLING_NONE, MODEL_POOLING_CLS,
                               out->pooling, &out->pooling, f);
}

/* What is 0 in the architecture's defaults and depends on other settings. */
static bool complete(const struct architecture *architecture, struct settings *s, struct failure *f)
{
    if (s->feed_forward == 0)
        s->feed_forward = 4 * s->width; /* GPT-2's n_inner that is null */
    if (s->kv_heads == 0)
        s->kv_heads = s->heads;
    if (s->heads % s->kv_heads != 0)
        return fail(f, "there are %lld heads and %lld kv heads; heads must be a multiple",
                    (long long)s->heads, (long long)s->kv_heads);
    if ((s->key_size == 0 || s->value_size == 0) && s->width % s->heads != 0)
        return fail(f, "the width %lld is no multiple of the %lld heads", (long long)s->width,
                    (long long)s->heads);
    if (s->key_size == 0)
        s->key_size = s->width / s->heads;
    if (s->value_size == 0)
        s->value_size = s->width / s->heads;
    if (architecture->adjust != NULL)
        architecture->adjust(s);
    if (s->scale == 0)
        s->scale = 1 / sqrt((double)s->key_size);
    if (s->rotary_size == 0)
        s->rotary_size = s->key_size;
    if (architecture->rotary != ROTARY_NONE &&
        (s->rotary_size % 2 != 0 || s->rotary_size > s->key_size || s->rotary_base < 1))
        return fail(f,
                    "the rotary embedding has size %lld in heads of %lld and base %g; the size "
                    "must be even and no more than the head, the base at least 1",
                    (long long)s->rotary_size, (long long)s->key_size, s->rotary_base);
    if (s->rotary_factor_local == 0)
        s->rotary_factor_local = s->rotary_factor;
    if (s->rotary_base_local == 0)
        s->rotary_base_local = s->rotary_base;
    if (s->rotary_base_local < 1 && architecture->rotary != ROTARY_NONE)
        return fail(f, "the rotary base of local layers is %g; it may be 1 or more",
                    s->rotary_base_local);
    return true;
}

bool source_settings(const struct source *source, const struct architecture *architecture,
                     struct settings *out, struct failure *f)
{
    *out = architecture->defaults;
    for (size_t i = 0; i < sizeof integers_and_numbers / sizeof *integers_and_numbers; i++)
        if (!read_setting(source, architecture, &integers_and_numbers[i], out, f))
            return false;
    bool rms = architecture->norm == NORM_RMS;
    const struct setting epsilon = {AT(epsilon),
                                    rms ? "attention.layer_norm_rms_epsilon"
                                        : "attention.layer_norm_epsilon",
                                    {rms ? "rms_norm_eps" : "layer_norm_eps", "layer_norm_epsilon"},
                                    A_NUMBER,
                                    true};
    if (!read_setting(source, architecture, &epsilon, out, f))
        return false;
    bool gguf = source->gguf != NULL;
    out->rotary = gguf && architecture->gguf_turns_pairs ? ROTARY_PAIRS : architecture->rotary;
    return (gguf ? read_rotary_scaling(source, architecture->name, out, f) &&
                       read_kind(source, architecture, out, f)
                 : config_settings(source, architecture, out, f)) &&
           complete(architecture, out, f);
}

bool source_local_layers(const struct source *source, const struct architecture *architecture,
                         const struct settings *settings, bool *local, struct failure *f)
{
    if (source->gguf == NULL)
        return config_local_layers(source->config, settings, local, f);
    char key[96];
    snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", architecture->name);
    enum gguf_type type = GGUF_U32;
    int64_t pattern = settings->window_pattern;
    if (gguf_has(source->gguf, key, &type) && type == GGUF_ARRAY) {
        struct gguf_array list;
        if (!gguf_get_array(source->gguf, key, GGUF_BOOL, &list, f))
            return false;
        if ((int64_t)list.count != settings->layers)
            return fail(f, "%s has %zu entries for %lld layers", key, list.count,
                        (long long)settings->layers);
        for (int64_t l = 0; l < settings->layers; l++)
            local[l] = settings->window > 0 && gguf_array_number(&list, (size_t)l) != 0;
        return true;
    }
    if (!gguf_get_integer_or(source->gguf, key, 0, INT32_MAX, pattern, &pattern, f))
        return false;
    for (int64_t l = 0; l < settings->layers; l++)
        local[l] = settings->window > 0 && (pattern == 0 || l % pattern < pattern - 1);
    return true;
}
