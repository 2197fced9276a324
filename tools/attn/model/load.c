/* Finding the tensors of a model and checking their shapes against its settings. */
#include "loaded.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a part is and how large: a matrix of outputs x inputs, or a norm of `inputs` values. */
struct shape {
    bool is_norm;
    bool inputs_first; /* the file's rows are inputs */
    int64_t inputs, outputs;
    int64_t first,
        stacked; /* stacked > 0: outputs [first, first + outputs) of a tensor of so many */
};

static struct shape vector_of(int64_t size)
{
    return (struct shape){.is_norm = true, .inputs = size, .outputs = 1};
}

static struct shape matrix_of(int64_t inputs, int64_t outputs)
{
    return (struct shape){.inputs = inputs, .outputs = outputs};
}

/* -1 outputs: as many as the file has. */
static struct shape model_part_shape(enum model_part part, const struct model *model)
{
    const struct settings *s = &model->settings;
    switch (part) {
    case PART_EMBEDDING:
        return matrix_of(s->width, s->vocabulary > 0 ? s->vocabulary : -1);
    case PART_TOKEN_TYPES:
        return matrix_of(s->width, -1);
    case PART_OUTPUT:
        return matrix_of(s->width, model->part[PART_EMBEDDING].matrix.outputs);
    case PART_POSITIONS:
        return matrix_of(s->width, s->context_length);
    case PART_ROTARY_DIVISORS:
        return vector_of(s->rotary_size / 2);
    default:
        return vector_of(s->width);
    }
}

/* Query, key and value in one tensor, in this order. */
static struct shape stacked_shape(enum layer_part part, const struct settings *s,
                                  struct shape shape)
{
    int64_t query = s->heads * s->key_size, key = s->kv_heads * s->key_size;
    shape.first = part == PART_QUERY ? 0 : part == PART_KEY ? query : query + key;
    shape.stacked = query + key + s->kv_heads * s->value_size;
    return shape;
}

static struct shape layer_part_shape(enum layer_part part, const struct settings *s)
{
    switch (part) {
    case PART_QUERY:
        return matrix_of(s->width, s->heads * s->key_size);
    case PART_KEY:
        return matrix_of(s->width, s->kv_heads * s->key_size);
    case PART_VALUE:
        return matrix_of(s->width, s->kv_heads * s->value_size);
    case PART_ATTENTION_OUTPUT:
        return matrix_of(s->heads * s->value_size, s->width);
    case PART_GATE:
    case PART_UP:
        return matrix_of(s->width, s->feed_forward);
    case PART_DOWN:
        return matrix_of(s->feed_forward, s->width);
    case PART_QUERY_NORM:
    case PART_KEY_NORM:
        return vector_of(s->key_size);
    default:
        return vector_of(s->width);
    }
}

/* `sides`: what the contiguous dimension and the others are. rows -1: any number from 1. */
static bool check_sides(const struct file_tensor *t, int64_t contiguous, int64_t rows,
                        const char *sides, struct failure *f)
{
    char name[TEXT_QUOTED];
    text_quote((struct text){t->name, strlen(t->name)}, name);
    if (rows < 0)
        rows = t->rows;
    if (t->dims[0] != contiguous || t->rows != rows || rows < 1)
        return fail(f, "tensor %s has %lld x %lld values (%s); it must have %lld x %lld", name,
                    (long long)t->dims[0], (long long)t->rows, sides, (long long)contiguous,
                    (long long)(rows < 1 ? 1 : rows));
    int64_t most = INT32_MAX / 2; /* what one row can be unpacked to, and token ids can count */
    return (contiguous <= most && rows <= most) ||
           fail(f, "tensor %s has %lld x %lld values; neither may be more than %lld", name,
                (long long)contiguous, (long long)rows, (long long)most);
}

static bool check_shape(const struct file_tensor *t, int64_t inputs, int64_t outputs,
                        struct failure *f)
{
    return check_sides(t, inputs, outputs, "inputs x outputs", f);
}

/* A small tensor as floats on the heap. The file has been shown to hold it. */
static bool unpack_vector(const struct file_tensor *t, int64_t size, const float **out,
                          struct failure *f)
{
    if (!check_shape(t, size, 1, f))
        return false;
    float *values = malloc((size_t)size * sizeof *values);
    if (values == NULL)
        return fail(f, "out of memory for tensor '%s'", t->name);
    if (!dequantise_row(t->type, t->data, values, size)) {
        free(values);
        return fail(f, "tensor '%s' of type %s cannot be unpacked", t->name, t->type_name);
    }
    *out = values;
    return true;
}

/* Rows [first, first + rows) of a tensor, as if they were one. */
static struct file_tensor slice_rows(const struct file_tensor *t, int64_t first, int64_t rows)
{
    struct file_tensor slice = *t;
    slice.data = (const char *)t->data + (size_t)first * t->row_bytes;
    slice.dims[1] = slice.rows = rows;
    slice.values = rows * t->dims[0];
    slice.bytes = (size_t)rows * t->row_bytes;
    return slice;
}

/* to[c][r] = from[r][c], values of `each` bytes, a constant where it is inlined. In blocks, so that both sides
 * stay in a cache. */
__attribute__((always_inline)) static inline void turn_values(const unsigned char *from,
                                                              size_t from_row, unsigned char *to,
                                                              size_t to_row, int64_t rows,
                                                              int64_t columns, size_t each)
{
    enum { BLOCK = 32 };
    for (int64_t r0 = 0; r0 < rows; r0 += BLOCK)
        for (int64_t c0 = 0; c0 < columns; c0 += BLOCK)
            for (int64_t c = c0; c < columns && c < c0 + BLOCK; c++)
                for (int64_t r = r0; r < rows && r < r0 + BLOCK; r++)
                    memcpy(to + (size_t)c * to_row + (size_t)r * each,
                           from + (size_t)r * from_row + (size_t)c * each, each);
}

/* Columns [first, first + columns) of t, [rows, ...], as rows: [columns, rows] of the same type on the heap. */
static bool turn_columns(const struct file_tensor *t, int64_t first, int64_t columns,
                         struct weight *weight, struct failure *f)
{
    size_t each = t->type == TENSOR_F32 ? 4 : 2, row_bytes = (size_t)t->rows * each;
    unsigned char *turned = malloc((size_t)columns * row_bytes);
    if (turned == NULL)
        return fail(f, "out of memory for tensor '%s'", t->name);
    const unsigned char *data = (const unsigned char *)t->data + (size_t)first * each;
    if (each == 4)
        turn_values(data, t->row_bytes, turned, row_bytes, t->rows, columns, 4);
    else
        turn_values(data, t->row_bytes, turned, row_bytes, t->rows, columns, 2);
    weight->turned = turned;
    weight->slice = *t;
    weight->slice.data = turned;
    weight->slice.dims[0] = t->rows;
    weight->slice.dims[1] = weight->slice.rows = columns;
    weight->slice.values = columns * t->rows;
    weight->slice.row_bytes = row_bytes;
    weight->slice.bytes = (size_t)columns * row_bytes;
    return true;
}

/* weight->slice of a tensor whose shape is right, where the tensor itself will not do. */
static bool take_part(const struct file_tensor *tensor, const struct shape *shape,
                      struct weight *weight, struct failure *f)
{
    if (shape->inputs_first)
        return turn_columns(tensor, shape->first, shape->outputs, weight, f);
    weight->slice = slice_rows(tensor, shape->first, shape->outputs);
    return true;
}

static bool load_matrix(const struct file_tensor *tensor, const struct file_tensor *bias,
                        struct shape shape, struct weight *weight, struct failure *f)
{
    bool stacked = shape.stacked > 0, in_part = stacked || shape.inputs_first;
    int64_t outputs = stacked ? shape.stacked : shape.outputs;
    if (!(shape.inputs_first ? check_sides(tensor, outputs, shape.inputs, "outputs x inputs", f)
                             : check_shape(tensor, shape.inputs, outputs, f)))
        return false;
    if (in_part) {
        if (!take_part(tensor, &shape, weight, f))
            return false;
        tensor = &weight->slice;
    }
    weight->matrix = (struct matrix){tensor, tensor->dims[0], tensor->rows, NULL};
    if (bias == NULL)
        return true;
    if (!unpack_vector(bias, stacked ? shape.stacked : tensor->rows, &weight->matrix.bias, f))
        return false;
    if (stacked)
        memmove((float *)weight->matrix.bias, weight->matrix.bias + shape.first,
                (size_t)shape.outputs * sizeof(float));
    return true;
}

static bool load_weight(const struct model *model, const struct part_name *name, int64_t layer,
                        struct shape shape, struct weight *weight, struct failure *f)
{
    const struct file_tensor *tensor, *bias = NULL;
    if (!source_tensor(&model->source, model->architecture, name, layer, "weight", &tensor, f))
        return false;
    if (tensor == NULL)
        return true;
    shape.inputs_first = model->source.gguf == NULL && (name->flags & PART_INPUTS_FIRST) != 0;
    if ((name->flags & (PART_HAS_BIAS | PART_MAY_HAVE_BIAS)) != 0 &&
        !source_tensor(&model->source, model->architecture, name, layer, "bias", &bias, f))
        return false;
    if (shape.is_norm)
        return unpack_vector(tensor, shape.inputs, &weight->norm.weight, f) &&
               (bias == NULL || unpack_vector(bias, shape.inputs, &weight->norm.bias, f));
    return load_matrix(tensor, bias, shape, weight, f);
}

/* Every layer has tensors, so a number of layers beyond theirs is a lie; memory is asked for only
 * after it has been caught. */
static bool allocate_layers(struct model *model, struct failure *f)
{
    int64_t layers = model->settings.layers, tensors = source_tensor_count(&model->source);
    if (layers > tensors)
        return fail(f, "the file states %lld layers but holds %lld tensors", (long long)layers,
                    (long long)tensors);
    model->layer = calloc((size_t)layers, sizeof *model->layer);
    bool *local = calloc((size_t)layers, sizeof *local);
    bool ok = model->layer != NULL && local != NULL;
    if (!ok)
        fail(f, "out of memory for %lld layers", (long long)layers);
    ok = ok && source_local_layers(&model->source, model->architecture, &model->settings, local, f);
    for (int64_t l = 0; ok && l < layers; l++)
        model->layer[l].local = local[l];
    free(local);
    return ok;
}

/* What frequencies are divided by must leave them frequencies. */
static bool check_divisors(const struct model *model, struct failure *f)
{
    const float *divisor = model->part[PART_ROTARY_DIVISORS].norm.weight;
    for (int64_t i = 0; divisor != NULL && i < model->settings.rotary_size / 2; i++)
        if (!(divisor[i] > 0 && divisor[i] < INFINITY))
            return fail(
                f,
                "value %lld of tensor 'rope_freqs.weight' is %g; frequencies can be divided "
                "by finite numbers above 0",
                (long long)i, (double)divisor[i]);
    return true;
}

/* Biases that some models have, as config.json says of this one; GGUF files say so by having them. */
static bool check_bias(const struct model *model, int64_t layer, enum layer_part part,
                       struct failure *f)
{
    const struct settings *s = &model->settings;
    bool feed = part == PART_GATE || part == PART_UP || part == PART_DOWN;
    bool stated = feed ? s->feed_bias : s->attention_bias;
    bool found = model->layer[layer].part[part].matrix.bias != NULL;
    const struct part_name *name = &model->architecture->layer_part[part];
    if (model->source.gguf != NULL || (name->flags & PART_MAY_HAVE_BIAS) == 0 || stated == found)
        return true;
    return fail(f, "config.json: %s is %s, but tensor '%s' %s",
                feed ? "mlp_bias" : "attention_bias", stated ? "true" : "false",
                model->layer[layer].part[part].matrix.tensor->name,
                found ? "has a bias beside it" : "has no bias beside it");
}

/* The embedding is the output where the file has no other and may have none. */
static bool find_output(struct model *model, struct failure *f)
{
    if (model->part[PART_OUTPUT].matrix.tensor != NULL)
        return true;
    const char *name = model->architecture->part[PART_OUTPUT].safetensors;
    if (model->source.gguf == NULL && name != NULL && !model->settings.tied)
        return fail(f,
                    "tensor '%s.weight' is missing, and config.json does not tie it to the "
                    "embedding (tie_word_embeddings)",
                    name);
    model->part[PART_OUTPUT].matrix = model->part[PART_EMBEDDING].matrix;
    return true;
}

bool load_parts(struct model *model, struct failure *f)
{
    const struct architecture *a = model->architecture;
    if (!allocate_layers(model, f))
        return false;
    for (int p = 0; p < MODEL_PARTS; p++)
        if (!load_weight(model, &a->part[p], 0, model_part_shape((enum model_part)p, model),
                         &model->part[p], f))
            return false;
    if (!check_divisors(model, f) || !find_output(model, f))
        return false;
    for (int64_t l = 0; l < model->settings.layers; l++)
        for (int p = 0; p < LAYER_PARTS; p++) {
            enum layer_part part = (enum layer_part)p;
            struct shape shape = layer_part_shape(part, &model->settings);
            if ((a->layer_part[p].flags & PART_STACKED) != 0)
                shape = stacked_shape(part, &model->settings, shape);
            if (!load_weight(model, &a->layer_part[p], l, shape, &model->layer[l].part[p], f) ||
                !check_bias(model, l, part, f))
                return false;
        }
    return source_check_names(&model->source, a, model->settings.layers, f);
}

static void free_weight(struct weight *weight)
{
    free((void *)weight->norm.weight);
    free((void *)weight->norm.bias);
    free((void *)weight->matrix.bias);
    free(weight->turned);
}

void free_parts(struct model *model)
{
    for (int p = 0; p < MODEL_PARTS; p++)
        free_weight(&model->part[p]);
    for (int64_t l = 0; model->layer != NULL && l < model->settings.layers; l++)
        for (int p = 0; p < LAYER_PARTS; p++)
            free_weight(&model->layer[l].part[p]);
    free(model->layer);
}
