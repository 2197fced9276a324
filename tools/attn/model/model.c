/* Opening and describing a model. */
#include "model.h"

#include "../files/gguf.h"
#include "../tokenizer/tokenizer.h"
#include "loaded.h"

#include <stdlib.h>
#include <string.h>

/* A copy in printable ASCII at `at`, which has room; returns the end of it. */
static char *copy_printable(char *at, struct text text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        *at++ = c >= 0x20 && c < 0x7f ? c : '?';
    }
    *at++ = '\0';
    return at;
}

enum { LONGEST_TEXT = 200 };

static struct text stated_text(const struct model *model, const char *key)
{
    struct text text = {"", 0};
    if (model->source.gguf != NULL && gguf_has(model->source.gguf, key, NULL))
        gguf_get_string(model->source.gguf, key, &text, NULL);
    if (text.bytes > LONGEST_TEXT)
        text.bytes = LONGEST_TEXT;
    return text;
}

static bool describe_texts(struct model *model, struct failure *f)
{
    model->text = malloc(2 * (LONGEST_TEXT + 1));
    if (model->text == NULL)
        return fail(f, "out of memory");
    struct text name = stated_text(model, "general.name");
    if (model->source.config != NULL) {
        const char *value =
            json_string_value(json_object_get(model->source.config, "_name_or_path"));
        if (value != NULL)
            name = (struct text){value, strnlen(value, LONGEST_TEXT)};
    }
    model->description.name = model->text;
    model->description.licence = copy_printable(model->text, name);
    copy_printable(model->text + (model->description.licence - model->text),
                   stated_text(model, "general.license"));
    return true;
}

/* Count the tensor in the entry of its type. Types beyond the table's room share its last entry. */
static void count_tensor(struct model_description *d, const struct file_tensor *t)
{
    int i = 0;
    while (i < d->tensor_types && strcmp(d->tensor_type[i].name, t->type_name) != 0)
        i++;
    if (i == MODEL_TENSOR_TYPES)
        i--;
    else if (i == d->tensor_types)
        d->tensor_type[d->tensor_types++].name = t->type_name;
    d->tensor_type[i].tensors++;
    d->tensor_type[i].bytes += (int64_t)t->bytes;
    d->parameters += t->values;
    const struct tensor_type_info *info = tensor_type_info(t->type);
    d->quantised = d->quantised || (info != NULL && info->block_values > 1);
}

static int by_bytes(const void *a, const void *b)
{
    const struct model_tensor_type *x = a, *y = b;
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? 1 : -1) : strcmp(x->name, y->name);
}

static void describe_layers(struct model *model)
{
    const struct settings *s = &model->settings;
    for (int64_t l = 0; l < s->layers; l++) {
        bool local = model->layer[l].local;
        bool rotary = model->architecture->rotary != ROTARY_NONE;
        model->described[l] = (struct model_layer){
            .window = local ? s->window : 0,
            .softcap = s->score_softcap,
            .rope_base = !rotary ? 0
                         : local ? s->rotary_base_local
                                 : s->rotary_base,
        };
    }
}

bool describe_model(struct model *model, struct failure *f)
{
    const struct settings *s = &model->settings;
    struct model_description *d = &model->description;
    *d = (struct model_description){
        .path = model->source.weights_path,
        .architecture = model->architecture->name,
        .layers = s->layers,
        .width = s->width,
        .heads = s->heads,
        .kv_heads = s->kv_heads,
        .key_size = s->key_size,
        .value_size = s->value_size,
        .feed_forward = s->feed_forward,
        .vocabulary = model->part[PART_EMBEDDING].matrix.outputs,
        .context_length = s->context_length,
        .scale = s->scale,
        .causal = s->causal,
        .predicts_tokens = model->architecture->predicts_tokens,
        .pooling = (enum model_pooling)s->pooling,
        .file_bytes = model->source.file_bytes,
        .kv_bytes_per_token =
            s->layers * s->kv_heads * (s->key_size + s->value_size) * (int64_t)sizeof(float),
    };
    for (int64_t i = 0; i < source_tensor_count(&model->source); i++)
        count_tensor(d, source_tensor_at(&model->source, i));
    qsort(d->tensor_type, (size_t)d->tensor_types, sizeof *d->tensor_type, by_bytes);
    model->described = calloc((size_t)s->layers, sizeof *model->described);
    if (model->described == NULL)
        return fail(f, "out of memory");
    describe_layers(model);
    d->layer = model->described;
    return describe_texts(model, f);
}

bool model_open(struct model **out, const char *path, struct failure *f)
{
    *out = NULL;
    struct model *model = calloc(1, sizeof *model);
    if (model == NULL)
        return fail(f, "%s: out of memory", path);
    if (!source_open(&model->source, path, f)) {
        free(model);
        return false;
    }
    struct failure reason = {""};
    bool ok = source_architecture(&model->source, &model->architecture, &reason) &&
              source_settings(&model->source, model->architecture, &model->settings, &reason) &&
              load_parts(model, &reason) && describe_model(model, &reason);
    if (!ok) {
        model_close(model);
        return fail(f, "%s: %s", path, reason.message);
    }
    *out = model;
    return true;
}

void model_close(struct model *model)
{
    if (model == NULL)
        return;
    free_parts(model);
    free(model->described);
    free(model->text);
    tokenizer_free(model->tokenizer);
    source_close(&model->source);
    free(model);
}

const struct model_description *model_describe(const struct model *model)
{
    return &model->description;
}

bool model_tokenizer(struct model *model, const struct tokenizer **out, struct failure *f)
{
    *out = NULL;
    if (model->tokenizer == NULL) {
        int64_t vocabulary = model->part[PART_EMBEDDING].matrix.outputs;
        if (!source_tokenizer(&model->source, vocabulary, &model->tokenizer, f))
            return false;
    }
    *out = model->tokenizer;
    return true;
}
