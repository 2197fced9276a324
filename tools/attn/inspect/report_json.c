/* The inspection as one JSON object; see report.h.
 *
 * Every number that was not measured, or is not finite, is null. jansson escapes all text. */
#include "fields.h"
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

/* Where 0 means that there is none. */
static json_t *figure_or_none(double value)
{
    return value > 0.0 ? json_real(value) : json_null();
}

/* Text that is no UTF-8 (a path may be anything) is null. */
static json_t *text(const char *value)
{
    json_t *string = value && value[0] ? json_string(value) : NULL;
    return string ? string : json_null();
}

static json_t *piece(struct text t)
{
    json_t *string = json_stringn(t.data ? t.data : "", t.bytes);
    return string ? string : json_null();
}

/* [lo, hi): rows that see lo <= n < hi keys; no row sees more than all tokens. */
static json_t *key_range(attn_key_range range, int64_t tokens)
{
    json_t *array = json_array();
    int64_t high = range.high <= tokens     ? range.high
                   : range.high < INT32_MAX ? range.high
                                            : tokens + 1;
    json_array_append_new(array, json_integer(range.low));
    json_array_append_new(array, json_integer(high));
    return array;
}

static json_t *model_object(const struct inspection *in)
{
    const struct model_description *m = in->model;
    json_t *object = json_object();
    bool ok = add(object, "file", text(m->path)) && add(object, "sha256", text(in->model_sha256)) &&
              add(object, "architecture", text(m->architecture)) &&
              add(object, "name", text(m->name)) &&
              add(object, "layers", json_integer(m->layers)) &&
              add(object, "heads", json_integer(m->heads)) &&
              add(object, "kv_heads", json_integer(m->kv_heads)) &&
              add(object, "head_size", json_integer(m->key_size)) &&
              add(object, "context_length", json_integer(m->context_length)) &&
              add(object, "quantised", json_boolean(m->quantised));
    return ok ? object : (json_decref(object), NULL);
}

static json_t *layers_array(const struct inspection *in)
{
    json_t *array = json_array();
    for (int64_t i = 0; i < in->layers; i++) {
        const struct model_layer *layer = &in->model->layer[in->layer[i]];
        json_t *object = json_object();
        bool ok =
            add(object, "layer", json_integer(in->layer[i])) &&
            add(object, "window", layer->window > 0 ? json_integer(layer->window) : json_null()) &&
            add(object, "softcap", figure_or_none(layer->softcap)) &&
            add(object, "rope_base", figure_or_none(layer->rope_base));
        if (json_array_append_new(array, object) != 0 || !ok)
            return json_decref(array), NULL;
    }
    return array;
}

static json_t *summary_object(const struct inspection *in)
{
    json_t *object = json_object(), *labels = json_object();
    bool ok = add(object, "heads", json_integer(in->heads)) &&
              add(object, "unlabelled", json_integer(inspection_count_label(in, 0)));
    for (int i = 0; i < ATTN_LABELS; i++)
        ok = ok && add(labels, attn_label_name(1u << i),
                       json_integer(inspection_count_label(in, 1u << i)));
    ok = add(object, "labels", labels) && ok;
    return ok ? object : (json_decref(object), NULL);
}

static bool add_fields(json_t *object, const struct field *fields, int count,
                       const struct inspected_head *head)
{
    bool ok = true;
    for (int i = 0; i < count; i++) {
        double value = field_value(&fields[i], head);
        ok = ok && add(object, fields[i].name,
                       fields[i].whole ? json_integer((json_int_t)value) : figure(value));
    }
    return ok;
}

static json_t *sinks_array(const struct inspection *in, const struct inspected_head *head)
{
    json_t *array = json_array();
    for (int i = 0; i < ATTN_SUMMARY_SINKS && head->summary.sinks[i].key >= 0; i++) {
        const attn_sink *sink = &head->summary.sinks[i];
        json_t *object = json_object();
        bool ok = add(object, "key", json_integer(sink->key)) &&
                  add(object, "token", piece(in->token[sink->key].piece)) &&
                  add(object, "mass", figure(sink->mass)) &&
                  add(object, "viewers", json_integer(sink->viewers));
        if (json_array_append_new(array, object) != 0 || !ok)
            return json_decref(array), NULL;
    }
    return array;
}

static json_t *classes_object(const struct inspected_head *head)
{
    json_t *object = json_object();
    bool ok = true;
    for (int c = 0; c < TOKEN_CLASS_COUNT; c++)
        ok =
            ok && add(object, token_class_name((enum token_class)c), figure(head->mass_classes[c]));
    return ok ? object : (json_decref(object), NULL);
}

static json_t *labels_array(const struct inspected_head *head)
{
    json_t *array = json_array();
    for (int i = 0; i < ATTN_LABELS; i++)
        if ((head->labels & (1u << i)) &&
            json_array_append_new(array, json_string(attn_label_name(1u << i))) != 0)
            return json_decref(array), NULL;
    return array;
}

/* { low, high, counts[32] } of rows that vote. */
static json_t *histogram_object(const attn_summary *s)
{
    json_t *object = json_object(), *counts = json_array();
    for (int i = 0; i < ATTN_HISTOGRAM_BINS; i++)
        json_array_append_new(counts, json_integer(s->histogram[i]));
    bool ok = add(object, "low", figure(s->histogram_low)) &&
              add(object, "high", figure(s->histogram_high));
    ok = add(object, "counts", counts) && ok;
    return ok ? object : (json_decref(object), NULL);
}

/* Means over all rows of up to 256 equal parts of the text. */
static json_t *positions_array(const attn_summary *s)
{
    json_t *array = json_array();
    for (int i = 0; i < s->position_bins; i++)
        if (json_array_append_new(array, figure((double)s->position_mean[i])) != 0)
            return json_decref(array), NULL;
    return array;
}

static json_t *head_object(const struct inspection *in, const struct inspected_head *head)
{
    const attn_summary *entropy = &head->summary.metric[ATTN_METRIC_ENTROPY];
    json_t *object = json_object();
    bool ok = add_fields(object, fields_before_sinks, fields_before_sinks_count, head) &&
              add(object, "sinks", sinks_array(in, head)) &&
              add_fields(object, fields_after_sinks, fields_after_sinks_count, head) &&
              add(object, "mass_classes", classes_object(head)) &&
              add_fields(object, fields_after_classes, fields_after_classes_count, head) &&
              add(object, "label_rows", key_range(head->summary.label_keys, in->tokens)) &&
              add(object, "labels", labels_array(head)) &&
              add(object, "entropy_histogram", histogram_object(entropy)) &&
              add(object, "entropy_by_position", positions_array(entropy));
    return ok ? object : (json_decref(object), NULL);
}

static json_t *whole_object(const struct inspection *in)
{
    json_t *object = json_object(), *heads = json_array();
    bool ok = add(object, "schema_version", json_integer(1)) &&
              add(object, "units", json_string("nats")) &&
              add(object, "tokens", json_integer(in->tokens)) &&
              add(object, "causal", json_boolean(in->model->causal)) &&
              add(object, "text_sha256", text(in->text_sha256)) &&
              add(object, "label_rows", key_range(in->label_keys, in->tokens)) &&
              add(object, "attn_version", text(attn_version())) &&
              add(object, "cpu", text(in->cpu_path)) &&
              add(object, "threads", json_integer(in->threads)) &&
              add(object, "seconds", figure(in->seconds)) &&
              add(object, "probe_seeds", json_integer(in->probe_seeds)) &&
              add(object, "model", model_object(in)) &&
              add(object, "tokenizer", text(in->tokenizer)) &&
              add(object, "layers", layers_array(in)) && add(object, "summary", summary_object(in));
    for (int64_t i = 0; ok && i < in->heads; i++)
        ok = json_array_append_new(heads, head_object(in, &in->head[i])) == 0;
    ok = add(object, "heads", heads) && ok;
    return ok ? object : (json_decref(object), NULL);
}

/* One line for each name, and for each layer and head: easy to read and to compare. */
static void print_object(FILE *stream, json_t *object)
{
    const size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(9);
    const char *name, *before = "{\n";
    json_t *value, *element;
    size_t i;
    json_object_foreach(object, name, value)
    {
        fprintf(stream, "%s\"%s\": ", before, name);
        before = ",\n";
        if (!json_is_array(value) || !json_is_object(json_array_get(value, 0))) {
            json_dumpf(value, stream, flags);
            continue;
        }
        json_array_foreach(value, i, element)
        {
            fputs(i == 0 ? "[\n  " : ",\n  ", stream);
            json_dumpf(element, stream, flags);
        }
        fputs("\n]", stream);
    }
    fputs("\n}\n", stream);
}

bool report_json(FILE *stream, const struct inspection *in)
{
    json_t *object = whole_object(in);
    if (!object)
        return false;
    print_object(stream, object); /* failed writes are told by the stream's own error flag */
    json_decref(object);
    return true;
}
