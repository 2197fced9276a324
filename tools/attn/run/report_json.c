/* `attn run --json`: one object; see report.h. */
#include "report.h"

#include <jansson.h>
#include <math.h>

/* jansson's *_new setters take NULL as a failure and say so, so that one flag is enough. */
static bool add(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0;
}

static json_t *figure(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* What is no UTF-8 (a path may be anything) is null. */
static json_t *text_value(const char *data, size_t bytes)
{
    json_t *string = json_stringn(data != NULL ? data : "", bytes);
    return string != NULL ? string : json_null();
}

static json_t *string_value(const char *text)
{
    json_t *string = json_string(text);
    return string != NULL ? string : json_null();
}

/* null for a token that was loaded. */
static json_t *piece(const struct generation *g, int64_t position)
{
    struct text t = piece_at(g, position);
    return position >= g->loaded ? text_value(t.data, t.bytes) : json_null();
}

static json_t *model_object(const struct generation *g)
{
    const struct model_description *m = g->model;
    json_t *object = json_object();
    bool ok = add(object, "file", string_value(m->path)) &&
              add(object, "architecture", string_value(m->architecture)) &&
              add(object, "name", string_value(m->name)) &&
              add(object, "layers", json_integer(m->layers)) &&
              add(object, "heads", json_integer(m->heads)) &&
              add(object, "context_length", json_integer(m->context_length));
    return ok ? object : (json_decref(object), NULL);
}

static json_t *sampling_object(const struct sampler_options *s)
{
    json_t *object = json_object();
    bool ok = add(object, "temperature", figure(s->temperature)) &&
              add(object, "top_k", json_integer(s->top_k)) &&
              add(object, "top_p", figure(s->top_p)) &&
              add(object, "seed", json_integer((json_int_t)s->seed));
    return ok ? object : (json_decref(object), NULL);
}

/* Mean over the layers; and each layer's, [layers][segments]. */
static bool add_shares(json_t *object, const struct generation *g, const struct chosen *c)
{
    json_t *mean = json_array(), *layers = json_array();
    int parts = g->segments->count;
    bool ok = true;
    for (int i = 0; i < parts; i++)
        ok = json_array_append_new(mean, figure(segment_share(g, c - g->chosen, i))) == 0 && ok;
    for (int64_t l = 0; l < g->model->layers; l++) {
        json_t *layer = json_array();
        for (int i = 0; i < parts; i++)
            ok = json_array_append_new(layer, figure((double)c->share[l * parts + i])) == 0 && ok;
        ok = json_array_append_new(layers, layer) == 0 && ok;
    }
    ok = add(object, "segments", mean) && ok;
    return add(object, "layer_segments", layers) && ok;
}

/* The parts, in the order of those figures; null where --segments was not given. */
static json_t *segments_array(const struct generation *g)
{
    if (g->segments == NULL)
        return json_null();
    json_t *array = json_array();
    for (int i = 0; i < g->segments->count; i++) {
        json_t *part = json_object();
        bool ok = add(part, "name", string_value(g->segments->part[i].name)) &&
                  add(part, "tokens", json_integer(segment_tokens(g, i)));
        if (json_array_append_new(array, part) != 0 || !ok)
            return json_decref(array), NULL;
    }
    return array;
}

static json_t *attention_object(const struct generation *g, const struct chosen *c)
{
    json_t *object = json_object(), *entropy = json_array(), *keys = json_array();
    bool ok = true;
    for (int64_t l = 0; l < g->model->layers; l++)
        ok = ok && json_array_append_new(entropy, figure((double)c->entropy[l])) == 0;
    for (int i = 0; i < TOP_KEYS && c->key[i] >= 0; i++) {
        json_t *key = json_object();
        ok = ok && add(key, "position", json_integer(c->key[i])) &&
             add(key, "token", piece(g, c->key[i])) &&
             add(key, "weight", figure((double)c->weight[i]));
        ok = json_array_append_new(keys, key) == 0 && ok;
    }
    ok = add(object, "layer_entropy", entropy) && ok;
    ok = ok && add(object, "peaked_layer", json_integer(c->layer)) &&
         add(object, "peaked_head", json_integer(c->head));
    ok = add(object, "peaked_keys", keys) && ok;
    ok = ok && (g->segments == NULL || add_shares(object, g, c));
    return ok ? object : (json_decref(object), NULL);
}

static json_t *token_object(const struct generation *g, int64_t at)
{
    json_t *object = json_object();
    bool ok = add(object, "id", json_integer(g->token[at])) &&
              add(object, "token", piece(g, g->loaded + at));
    if (g->chosen != NULL && at >= g->prompt)
        ok = ok && add(object, "attention", attention_object(g, &g->chosen[at - g->prompt]));
    return ok ? object : (json_decref(object), NULL);
}

static json_t *tokens_array(const struct generation *g, int64_t first, int64_t count)
{
    json_t *array = json_array();
    for (int64_t i = first; i < first + count; i++)
        if (json_array_append_new(array, token_object(g, i)) != 0)
            return json_decref(array), NULL;
    return array;
}

static json_t *timings_object(const struct generation *g)
{
    json_t *object = json_object();
    bool ok = add(object, "prompt_seconds", figure(g->prompt_seconds)) &&
              add(object, "prompt_tokens_per_second", figure(prompt_rate(g))) &&
              add(object, "written_seconds", figure(g->written_seconds)) &&
              add(object, "written_tokens_per_second",
                  written_rate(g) > 0 ? figure(written_rate(g)) : json_null());
    return ok ? object : (json_decref(object), NULL);
}

static json_t *cache_object(const struct generation *g, const struct run_settings *settings)
{
    json_t *object = json_object();
    bool ok = add(object, "type", json_string(settings->cache_type)) &&
              add(object, "tokens", json_integer(g->cached_tokens)) &&
              add(object, "bytes", json_integer(g->cache_bytes));
    return ok ? object : (json_decref(object), NULL);
}

bool tell_json(FILE *stream, const struct generation *g, const struct run_settings *settings)
{
    json_t *object = json_object();
    bool ok = add(object, "schema_version", json_integer(1)) &&
              add(object, "attn_version", json_string(attn_version())) &&
              add(object, "model", model_object(g)) &&
              add(object, "path", json_string(settings->path)) &&
              add(object, "threads", json_integer(settings->threads)) &&
              add(object, "sampling", sampling_object(&settings->options->sampling)) &&
              add(object, "text", text_value(g->stream.text, g->stream.bytes)) &&
              add(object, "ending", json_string(ending_name(g->ending))) &&
              add(object, "stop",
                  g->stream.stopped != NULL ? string_value(g->stream.stopped) : json_null()) &&
              add(object, "segments", segments_array(g)) &&
              add(object, "loaded_tokens", json_integer(g->loaded)) &&
              add(object, "prompt", tokens_array(g, 0, g->prompt)) &&
              add(object, "written", tokens_array(g, g->prompt, g->written)) &&
              add(object, "timings", timings_object(g)) &&
              add(object, "cache", cache_object(g, settings));
    if (ok) { /* whether it arrived is seen when the file is closed */
        json_dumpf(object, stream, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
        fputc('\n', stream);
    }
    json_decref(object);
    return ok;
}
