/* `attn info MODEL`: what the file holds, and what will run it on this machine. */
#include "command_info.h"

#include "model/model.h"
#include "tokenizer/tokenizer.h"

#include <attn/attn.h>
#include <stdlib.h>
#include <string.h>

void info_ranges(const bool *member, int64_t count, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int64_t i = 0; i < count && used < size; i++) {
        if (!member[i])
            continue;
        int64_t last = i;
        while (last + 1 < count && member[last + 1])
            last++;
        int length = snprintf(text + used, size - used, "%s%lld", used ? ", " : "", (long long)i);
        used += length > 0 ? (size_t)length : 0;
        if (last > i && used < size) {
            length = snprintf(text + used, size - used, "-%lld", (long long)last);
            used += length > 0 ? (size_t)length : 0;
        }
        i = last;
    }
}

/* ---- layers that are alike ---- */

/* One kind of layer: the same window, softcap and rotary base. */
struct kind {
    struct model_layer layer;
    bool *member;      /* [layers] */
    char *explanation; /* of the plan for its attention at the context length */
    size_t workspace;  /* bytes, with all cores */
};

struct kinds {
    struct kind *kind;
    int64_t count;
};

static bool is_alike(const struct model_layer *a, const struct model_layer *b)
{
    return a->window == b->window && !(a->softcap < b->softcap) && !(a->softcap > b->softcap) &&
           !(a->rope_base < b->rope_base) && !(a->rope_base > b->rope_base);
}

static void free_kinds(struct kinds *kinds)
{
    for (int64_t i = 0; i < kinds->count; i++) {
        free(kinds->kind[i].member);
        free(kinds->kind[i].explanation);
    }
    free(kinds->kind);
}

/* The attention of such a layer over a text as long as the model takes. */
static attn_problem problem_of(const struct model_description *d, const struct model_layer *layer)
{
    attn_problem problem = attn_problem_init(1, d->heads, d->kv_heads, d->context_length,
                                             d->context_length, d->key_size);
    problem.head_size_v = d->value_size;
    problem.q = attn_layout_bshd(ATTN_F32, d->heads, d->context_length, d->key_size);
    problem.k = attn_layout_bshd(ATTN_F32, d->kv_heads, d->context_length, d->key_size);
    problem.v = attn_layout_bshd(ATTN_F32, d->kv_heads, d->context_length, d->value_size);
    problem.o = attn_layout_bshd(ATTN_F32, d->heads, d->context_length, d->value_size);
    problem.scale = (float)d->scale;
    problem.softcap = (float)layer->softcap;
    problem.causal = d->causal;
    if (layer->window > 0)
        problem.window.left = layer->window - 1;
    if (layer->window > 0 && !d->causal)
        problem.window.right = layer->window - 1;
    return problem;
}

static bool explain(const struct model_description *d, struct kind *kind, struct failure *f)
{
    attn_problem problem = problem_of(d, &kind->layer);
    attn_plan *plan;
    attn_error error;
    if (attn_plan_create(&plan, &problem, &error) != ATTN_OK)
        return fail(f, "%s", error.message);
    size_t length = attn_plan_explain(plan, NULL, 0);
    kind->explanation = malloc(length + 1);
    if (kind->explanation)
        attn_plan_explain(plan, kind->explanation, length + 1);
    kind->workspace = attn_plan_workspace(plan, attn_default_executor()->threads);
    attn_plan_destroy(plan);
    return kind->explanation || fail(f, "out of memory");
}

static bool gather_kinds(const struct model_description *d, struct kinds *kinds, struct failure *f)
{
    kinds->count = 0;
    kinds->kind = calloc((size_t)d->layers, sizeof *kinds->kind);
    if (!kinds->kind)
        return fail(f, "out of memory");
    for (int64_t i = 0; i < d->layers; i++) {
        int64_t at = 0;
        while (at < kinds->count && !is_alike(&kinds->kind[at].layer, &d->layer[i]))
            at++;
        if (at == kinds->count) {
            struct kind *kind = &kinds->kind[kinds->count++];
            kind->layer = d->layer[i];
            kind->member = calloc((size_t)d->layers, sizeof *kind->member);
            if (!kind->member)
                return fail(f, "out of memory");
            if (!explain(d, kind, f))
                return false;
        }
        kinds->kind[at].member[i] = true;
    }
    return true;
}

/* ---- the model with all that is shown of it ---- */

struct subject {
    struct model *model;
    const struct model_description *d;
    const struct tokenizer *tokenizer; /* NULL: the files hold none that can be read */
    char no_tokenizer[512];            /* why */
    struct kinds kinds;
};

static bool subject_open(struct subject *s, const char *path, struct failure *f)
{
    memset(s, 0, sizeof *s);
    if (!model_open(&s->model, path, f))
        return false;
    s->d = model_describe(s->model);
    struct failure reason;
    if (!model_tokenizer(s->model, &s->tokenizer, &reason)) {
        s->tokenizer = NULL;
        memcpy(s->no_tokenizer, reason.message, sizeof s->no_tokenizer);
    }
    return gather_kinds(s->d, &s->kinds, f);
}

static void subject_close(struct subject *s)
{
    free_kinds(&s->kinds);
    model_close(s->model);
}

/* ---- for people ---- */

static void print_indented(FILE *stream, const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        fprintf(stream, "    %.*s\n", (int)length, text);
        text += length + (text[length] == '\n');
    }
}

static const char *pooling_name(enum model_pooling pooling)
{
    switch (pooling) {
    case MODEL_POOLING_MEAN:
        return "mean";
    case MODEL_POOLING_CLS:
        return "first";
    default:
        return NULL;
    }
}

static void print_description(FILE *stream, const struct model_description *d)
{
    const char *pooling = pooling_name(d->pooling);
    fprintf(stream, "file        %s\n", d->path);
    fprintf(stream, "model       %s%s%s\n", d->name[0] ? d->name : "unnamed",
            d->licence[0] ? ", licence " : "", d->licence);
    fprintf(stream, "kind        %s, %s%s%s%s\n", d->architecture,
            d->causal ? "causal" : "bidirectional", d->predicts_tokens ? ", predicts tokens" : "",
            pooling ? ", embeds: pools " : "", pooling ? pooling : "");
    fprintf(stream, "layers      %lld of width %lld, feed-forward %lld\n", (long long)d->layers,
            (long long)d->width, (long long)d->feed_forward);
    fprintf(stream, "heads       %lld query, %lld key-value; size %lld", (long long)d->heads,
            (long long)d->kv_heads, (long long)d->key_size);
    if (d->value_size != d->key_size)
        fprintf(stream, " (keys), %lld (values)", (long long)d->value_size);
    fprintf(stream, "; scale %.6g\n", d->scale);
    fprintf(stream, "context     %lld tokens\n", (long long)d->context_length);
    fprintf(stream, "kv          %lld bytes per token in f32, %.1f MB for the whole context\n",
            (long long)d->kv_bytes_per_token,
            (double)d->kv_bytes_per_token * (double)d->context_length / 1e6);
}

static void print_tensors(FILE *stream, const struct model_description *d)
{
    fprintf(stream, "parameters  %.1f million in a file of %.1f MB\n", (double)d->parameters / 1e6,
            (double)d->file_bytes / 1e6);
    for (int i = 0; i < d->tensor_types; i++)
        fprintf(stream, "    %-5s %4lld tensors %9.1f MB\n", d->tensor_type[i].name,
                (long long)d->tensor_type[i].tensors, (double)d->tensor_type[i].bytes / 1e6);
}

static void print_tokenizer(FILE *stream, const struct subject *s)
{
    if (s->tokenizer)
        fprintf(stream, "tokenizer   %s, %d tokens\n", tokenizer_kind_name(s->tokenizer),
                (int)tokenizer_size(s->tokenizer));
    else
        fprintf(stream, "tokenizer   none that can be read: %s\n", s->no_tokenizer);
}

static void print_kinds(FILE *stream, const struct subject *s)
{
    char products[64], layers[512];
    for (int64_t i = 0; i < s->kinds.count; i++) {
        const struct kind *kind = &s->kinds.kind[i];
        info_ranges(kind->member, s->d->layers, layers, sizeof layers);
        fprintf(stream, "\nattention of layers %s: ", layers);
        if (kind->layer.window > 0)
            fprintf(stream, "window %lld", (long long)kind->layer.window);
        else
            fprintf(stream, "no window");
        if (kind->layer.softcap > 0)
            fprintf(stream, ", softcap %g", kind->layer.softcap);
        if (kind->layer.rope_base > 0)
            fprintf(stream, ", rotary base %g", kind->layer.rope_base);
        fprintf(stream, "; at %lld tokens:\n", (long long)s->d->context_length);
        print_indented(stream, kind->explanation);
    }
    info_products_library(products, sizeof products);
    fprintf(stream, "\nproducts with weights: %s in f32%s\n", products,
            s->d->quantised ? ", weights unpacked piece by piece" : "");
}

bool info_model_print(FILE *stream, const char *path, struct failure *f)
{
    struct subject s;
    bool ok = subject_open(&s, path, f);
    if (ok) {
        print_description(stream, s.d);
        print_tokenizer(stream, &s);
        print_tensors(stream, s.d);
        print_kinds(stream, &s);
    }
    subject_close(&s);
    return ok;
}

/* ---- for programs ---- */

static json_t *json_description(const struct model_description *d)
{
    json_t *types = json_array();
    for (int i = 0; i < d->tensor_types; i++)
        json_array_append_new(types, json_pack("{s:s, s:I, s:I}", "type", d->tensor_type[i].name,
                                               "tensors", (json_int_t)d->tensor_type[i].tensors,
                                               "bytes", (json_int_t)d->tensor_type[i].bytes));
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, "
        "s:b, s:b, s:b, s:s?, s:I, s:I, s:I, s:o}",
        "file", d->path, "architecture", d->architecture, "name", d->name, "licence", d->licence,
        "layers", (json_int_t)d->layers, "width", (json_int_t)d->width, "heads",
        (json_int_t)d->heads, "kv_heads", (json_int_t)d->kv_heads, "key_size",
        (json_int_t)d->key_size, "value_size", (json_int_t)d->value_size, "feed_forward",
        (json_int_t)d->feed_forward, "vocabulary", (json_int_t)d->vocabulary, "context_length",
        (json_int_t)d->context_length, "scale", d->scale, "causal", d->causal, "predicts_tokens",
        d->predicts_tokens, "quantised", d->quantised, "pooling", pooling_name(d->pooling),
        "parameters", (json_int_t)d->parameters, "file_bytes", (json_int_t)d->file_bytes,
        "kv_bytes_per_token", (json_int_t)d->kv_bytes_per_token, "tensor_types", types);
}

static json_t *json_positive_integer(int64_t value)
{
    return value > 0 ? json_integer(value) : json_null();
}

static json_t *json_positive_real(double value)
{
    return value > 0 ? json_real(value) : json_null();
}

static json_t *json_layers(const struct model_description *d)
{
    json_t *layers = json_array();
    for (int64_t i = 0; i < d->layers; i++)
        json_array_append_new(layers,
                              json_pack("{s:I, s:o, s:o, s:o}", "layer", (json_int_t)i, "window",
                                        json_positive_integer(d->layer[i].window), "softcap",
                                        json_positive_real(d->layer[i].softcap), "rope_base",
                                        json_positive_real(d->layer[i].rope_base)));
    return layers;
}

static json_t *json_kinds(const struct subject *s)
{
    json_t *kinds = json_array();
    for (int64_t i = 0; i < s->kinds.count; i++) {
        const struct kind *kind = &s->kinds.kind[i];
        json_t *layers = json_array();
        for (int64_t l = 0; l < s->d->layers; l++)
            if (kind->member[l])
                json_array_append_new(layers, json_integer(l));
        json_array_append_new(kinds, json_pack("{s:o, s:o, s:s, s:I}", "layers", layers, "window",
                                               json_positive_integer(kind->layer.window),
                                               "explanation", kind->explanation, "workspace_bytes",
                                               (json_int_t)kind->workspace));
    }
    return kinds;
}

static json_t *json_tokenizer(const struct subject *s)
{
    if (!s->tokenizer)
        return json_null();
    return json_pack("{s:s, s:i, s:i, s:i}", "kind", tokenizer_kind_name(s->tokenizer), "tokens",
                     (int)tokenizer_size(s->tokenizer), "first_id",
                     (int)tokenizer_first_id(s->tokenizer), "last_id",
                     (int)tokenizer_last_id(s->tokenizer));
}

bool info_model_json(json_t **out, const char *path, struct failure *f)
{
    struct subject s;
    char products[64];
    bool ok = subject_open(&s, path, f);
    if (ok) {
        info_products_library(products, sizeof products);
        *out = json_pack("{s:i, s:s, s:o, s:o, s:o, s:o, s:s}", "schema_version", 1, "attn_version",
                         attn_version(), "model", json_description(s.d), "tokenizer",
                         json_tokenizer(&s), "layers", json_layers(s.d), "attention",
                         json_kinds(&s), "products", products);
        if (!*out)
            ok = fail(f, "out of memory");
    }
    subject_close(&s);
    return ok;
}
