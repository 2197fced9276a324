/* Making small models and writing them as GGUF files or safetensors folders. */
#include "tiny_model.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

void tiny_add(struct tiny_model *model, uint32_t *seed, int64_t inputs, int64_t outputs,
              const char *format, ...)
{
    assert(model->tensors < TINY_TENSORS);
    struct tiny_tensor *t = &model->tensor[model->tensors++];
    va_list list;
    va_start(list, format);
    vsnprintf(t->name, sizeof t->name, format, list);
    va_end(list);
    t->vector = outputs == 0;
    t->inputs = inputs;
    t->outputs = t->vector ? 1 : outputs;
    bool around_one = t->vector && strstr(t->name, ".weight") != NULL;
    int64_t count = t->inputs * t->outputs;
    t->values = malloc((size_t)count * sizeof *t->values);
    for (int64_t i = 0; i < count; i++)
        t->values[i] = ((float)(next_random(seed) % 63) - 31) / 64.0f + (around_one ? 1.0f : 0.0f);
}

void tiny_set_number(struct tiny_model *model, const char *key, char type, double number)
{
    struct tiny_key *k = NULL;
    for (int i = 0; i < model->keys; i++)
        if (strcmp(model->key[i].name, key) == 0)
            k = &model->key[i];
    if (k == NULL) {
        assert(model->keys < TINY_KEYS);
        k = &model->key[model->keys++];
        snprintf(k->name, sizeof k->name, "%s", key);
    }
    k->type = type;
    k->number = number;
}

void tiny_set_text(struct tiny_model *model, const char *key, const char *text)
{
    tiny_set_number(model, key, 's', 0);
    for (int i = 0; i < model->keys; i++)
        if (strcmp(model->key[i].name, key) == 0)
            snprintf(model->key[i].text, sizeof model->key[i].text, "%s", text);
}

struct tiny_tensor *tiny_find(struct tiny_model *model, const char *name)
{
    for (int i = 0; i < model->tensors; i++)
        if (strcmp(model->tensor[i].name, name) == 0)
            return &model->tensor[i];
    return NULL;
}

const float *tiny_values(const struct tiny_model *model, const char *format, ...)
{
    char name[80];
    va_list list;
    va_start(list, format);
    vsnprintf(name, sizeof name, format, list);
    va_end(list);
    const struct tiny_tensor *t = tiny_find((struct tiny_model *)model, name);
    assert(t != NULL);
    return t->values;
}

void tiny_remove(struct tiny_model *model, const char *name)
{
    struct tiny_tensor *t = tiny_find(model, name);
    if (t != NULL) {
        free(t->values);
        *t = model->tensor[--model->tensors];
        return;
    }
    for (int i = 0; i < model->keys; i++)
        if (strcmp(model->key[i].name, name) == 0) {
            model->key[i] = model->key[--model->keys];
            return;
        }
    assert(false && "no such tensor or key");
}

struct tiny_model *tiny_gemma3(uint32_t seed)
{
    struct tiny_model *m = calloc(1, sizeof *m);
    static const struct {
        const char *key;
        double value;
    } integers[] = {
        {"context_length", TINY_CONTEXT},         {"embedding_length", TINY_WIDTH},
        {"block_count", TINY_GEMMA_LAYERS},       {"feed_forward_length", TINY_FEED},
        {"attention.head_count", TINY_HEADS},     {"attention.head_count_kv", TINY_KV_HEADS},
        {"attention.key_length", TINY_GEMMA_KEY}, {"attention.value_length", TINY_GEMMA_VALUE},
        {"attention.sliding_window", TINY_WINDOW}};
    tiny_set_text(m, "general.architecture", "gemma3");
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        char key[64];
        snprintf(key, sizeof key, "gemma3.%s", integers[i].key);
        tiny_set_number(m, key, 'i', integers[i].value);
    }
    tiny_set_number(m, "gemma3.attention.layer_norm_rms_epsilon", 'f', 1e-6);
    tiny_set_number(m, "gemma3.rope.freq_base", 'f', 1e6);
    tiny_add(m, &seed, TINY_WIDTH, TINY_VOCABULARY, "token_embd.weight");
    tiny_add(m, &seed, TINY_WIDTH, 0, "output_norm.weight");
    for (int l = 0; l < TINY_GEMMA_LAYERS; l++) {
        tiny_add(m, &seed, TINY_WIDTH, 0, "blk.%d.attn_norm.weight", l);
        tiny_add(m, &seed, TINY_WIDTH, TINY_HEADS * TINY_GEMMA_KEY, "blk.%d.attn_q.weight", l);
        tiny_add(m, &seed, TINY_WIDTH, TINY_KV_HEADS * TINY_GEMMA_KEY, "blk.%d.attn_k.weight", l);
        tiny_add(m, &seed, TINY_WIDTH, TINY_KV_HEADS * TINY_GEMMA_VALUE, "blk.%d.attn_v.weight", l);
        tiny_add(m, &seed, TINY_GEMMA_KEY, 0, "blk.%d.attn_q_norm.weight", l);
        tiny_add(m, &seed, TINY_GEMMA_KEY, 0, "blk.%d.attn_k_norm.weight", l);
        tiny_add(m, &seed, TINY_HEADS * TINY_GEMMA_VALUE, TINY_WIDTH, "blk.%d.attn_output.weight",
                 l);
        tiny_add(m, &seed, TINY_WIDTH, 0, "blk.%d.post_attention_norm.weight", l);
        tiny_add(m, &seed, TINY_WIDTH, 0, "blk.%d.ffn_norm.weight", l);
        tiny_add(m, &seed, TINY_WIDTH, TINY_FEED, "blk.%d.ffn_gate.weight", l);
        tiny_add(m, &seed, TINY_WIDTH, TINY_FEED, "blk.%d.ffn_up.weight", l);
        tiny_add(m, &seed, TINY_FEED, TINY_WIDTH, "blk.%d.ffn_down.weight", l);
        tiny_add(m, &seed, TINY_WIDTH, 0, "blk.%d.post_ffw_norm.weight", l);
    }
    return m;
}

/* "<name>.weight" and "<name>.bias"; `outputs` 0: a norm. */
static void add_pair(struct tiny_model *m, uint32_t *seed, int64_t inputs, int64_t outputs,
                     const char *before, int layer, const char *after)
{
    char name[64];
    if (layer < 0)
        snprintf(name, sizeof name, "%s", before);
    else
        snprintf(name, sizeof name, "%s%d%s", before, layer, after);
    tiny_add(m, seed, inputs, outputs, "%s.weight", name);
    tiny_add(m, seed, outputs == 0 ? inputs : outputs, 0, "%s.bias", name);
}

static void bert_settings(struct tiny_model *m, bool safetensors)
{
    static const struct {
        const char *gguf, *json;
        double value;
    } integers[] = {{"bert.context_length", "max_position_embeddings", TINY_BERT_CONTEXT},
                    {"bert.embedding_length", "hidden_size", TINY_WIDTH},
                    {"bert.block_count", "num_hidden_layers", TINY_BERT_LAYERS},
                    {"bert.feed_forward_length", "intermediate_size", TINY_FEED},
                    {"bert.attention.head_count", "num_attention_heads", TINY_HEADS}};
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
        tiny_set_number(m, safetensors ? integers[i].json : integers[i].gguf, 'i',
                        integers[i].value);
    if (safetensors) {
        tiny_set_text(m, "model_type", "bert");
        tiny_set_text(m, "hidden_act", "gelu");
        tiny_set_number(m, "layer_norm_eps", 'f', 1e-12);
    } else {
        tiny_set_text(m, "general.architecture", "bert");
        tiny_set_number(m, "bert.attention.layer_norm_epsilon", 'f', 1e-12);
        tiny_set_number(m, "bert.attention.causal", 'b', 0);
        tiny_set_number(m, "bert.pooling_type", 'i', 1);
    }
}

struct tiny_model *tiny_bert(uint32_t seed, bool st)
{
    struct tiny_model *m = calloc(1, sizeof *m);
    bert_settings(m, st);
    tiny_add(m, &seed, TINY_WIDTH, TINY_VOCABULARY, "%s.weight",
             st ? "embeddings.word_embeddings" : "token_embd");
    tiny_add(m, &seed, TINY_WIDTH, TINY_BERT_CONTEXT, "%s.weight",
             st ? "embeddings.position_embeddings" : "position_embd");
    tiny_add(m, &seed, TINY_WIDTH, 2, "%s.weight",
             st ? "embeddings.token_type_embeddings" : "token_types");
    add_pair(m, &seed, TINY_WIDTH, 0, st ? "embeddings.LayerNorm" : "token_embd_norm", -1, "");
    static const struct {
        const char *gguf, *json;
        int64_t inputs, outputs;
    } parts[] = {{".attn_q", ".attention.self.query", TINY_WIDTH, TINY_WIDTH},
                 {".attn_k", ".attention.self.key", TINY_WIDTH, TINY_WIDTH},
                 {".attn_v", ".attention.self.value", TINY_WIDTH, TINY_WIDTH},
                 {".attn_output", ".attention.output.dense", TINY_WIDTH, TINY_WIDTH},
                 {".attn_output_norm", ".attention.output.LayerNorm", TINY_WIDTH, 0},
                 {".ffn_up", ".intermediate.dense", TINY_WIDTH, TINY_FEED},
                 {".ffn_down", ".output.dense", TINY_FEED, TINY_WIDTH},
                 {".layer_output_norm", ".output.LayerNorm", TINY_WIDTH, 0}};
    for (int l = 0; l < TINY_BERT_LAYERS; l++)
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
            add_pair(m, &seed, parts[i].inputs, parts[i].outputs, st ? "encoder.layer." : "blk.", l,
                     st ? parts[i].json : parts[i].gguf);
    return m;
}

void tiny_free(struct tiny_model *model)
{
    if (model->path[0] != '\0') {
        static const char *const inside[] = {"", "/model.safetensors", "/config.json"};
        for (int i = 2; i >= 0; i--) {
            char path[96];
            snprintf(path, sizeof path, "%s%s", model->path, inside[i]);
            remove(path);
        }
    }
    for (int i = 0; i < model->tensors; i++)
        free(model->tensor[i].values);
    free(model);
}

/* ---- writing ---- */

static void write_u32(FILE *out, uint32_t value)
{
    fwrite(&value, sizeof value, 1, out);
}

static void write_u64(FILE *out, uint64_t value)
{
    fwrite(&value, sizeof value, 1, out);
}

static void write_string(FILE *out, const char *text)
{
    write_u64(out, strlen(text));
    fwrite(text, 1, strlen(text), out);
}

static void write_key(FILE *out, const struct tiny_key *key)
{
    write_string(out, key->name);
    if (key->type == 's') {
        write_u32(out, 8);
        write_string(out, key->text);
    } else if (key->type == 'b') {
        write_u32(out, 7);
        fputc(key->number != 0, out);
    } else if (key->type == 'i') {
        write_u32(out, 4);
        write_u32(out, (uint32_t)(int64_t)key->number);
    } else {
        float value = (float)key->number;
        write_u32(out, 6);
        fwrite(&value, sizeof value, 1, out);
    }
}

/* F16 of a value that it holds exactly: a multiple of 1/64 below 2. */
static uint16_t half_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value == 0)
        return (uint16_t)(bits >> 16);
    uint32_t exponent = (bits >> 23 & 255) - 127 + 15;
    return (uint16_t)((bits >> 16 & 0x8000) | exponent << 10 | (bits >> 13 & 0x3ff));
}

enum { TYPE_F32 = 0, TYPE_F16 = 1, TYPE_Q8_0 = 8, TYPE_BF16 = 30 };

static uint32_t tensor_type_of(const struct tiny_model *model, int i)
{
    static const uint32_t types[] = {TYPE_Q8_0, TYPE_F16, TYPE_F32, TYPE_BF16, TYPE_Q8_0};
    const struct tiny_tensor *t = &model->tensor[i];
    uint32_t type = types[i % 5];
    return t->vector || (type == TYPE_Q8_0 && t->inputs % 32 != 0) ? TYPE_F32 : type;
}

static void write_values(FILE *out, const struct tiny_tensor *t, uint32_t type)
{
    int64_t count = t->inputs * t->outputs;
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &t->values[i], sizeof bits);
        uint16_t half = type == TYPE_F16 ? half_bits(t->values[i]) : (uint16_t)(bits >> 16);
        uint16_t scale = half_bits(1.0f / 64);
        if (type == TYPE_Q8_0 && i % 32 == 0)
            fwrite(&scale, sizeof scale, 1, out);
        if (type == TYPE_F32)
            fwrite(&bits, sizeof bits, 1, out);
        else if (type == TYPE_Q8_0)
            fputc((int8_t)lrintf(t->values[i] * 64) & 255, out);
        else
            fwrite(&half, sizeof half, 1, out);
    }
}

static void pad(FILE *out)
{
    while (ftell(out) % 32 != 0)
        fputc(0, out);
}

static int64_t bytes_of(const struct tiny_tensor *t, uint32_t type)
{
    int64_t count = t->inputs * t->outputs;
    return type == TYPE_F32 ? 4 * count : type == TYPE_Q8_0 ? count / 32 * 34 : 2 * count;
}

void tiny_write_gguf(struct tiny_model *model)
{
    strcpy(model->path, "/tmp/attn-tiny-XXXXXX");
    int descriptor = mkstemp(model->path);
    assert(descriptor >= 0);
    FILE *out = fdopen(descriptor, "wb");
    fwrite("GGUF", 1, 4, out);
    write_u32(out, 3);
    write_u64(out, (uint64_t)model->tensors);
    write_u64(out, (uint64_t)model->keys);
    for (int i = 0; i < model->keys; i++)
        write_key(out, &model->key[i]);
    uint64_t offset = 0;
    for (int i = 0; i < model->tensors; i++) {
        const struct tiny_tensor *t = &model->tensor[i];
        uint32_t type = tensor_type_of(model, i);
        write_string(out, t->name);
        write_u32(out, t->vector ? 1 : 2);
        write_u64(out, (uint64_t)t->inputs);
        if (!t->vector)
            write_u64(out, (uint64_t)t->outputs);
        write_u32(out, type);
        write_u64(out, offset);
        offset += (uint64_t)(bytes_of(t, type) + 31) / 32 * 32;
    }
    pad(out);
    for (int i = 0; i < model->tensors; i++) {
        write_values(out, &model->tensor[i], tensor_type_of(model, i));
        pad(out);
    }
    assert(fclose(out) == 0);
}

static void write_config(const struct tiny_model *model, const char *path)
{
    FILE *out = fopen(path, "w");
    assert(out != NULL);
    for (int i = 0; i < model->keys; i++) {
        const struct tiny_key *k = &model->key[i];
        fprintf(out, "%s\"%s\": ", i == 0 ? "{" : ",\n", k->name);
        if (k->type == 's')
            fprintf(out, "\"%s\"", k->text);
        else
            fprintf(out, "%.17g", k->number);
    }
    fprintf(out, "}\n");
    assert(fclose(out) == 0);
}

void tiny_write_directory(struct tiny_model *model)
{
    strcpy(model->path, "/tmp/attn-tiny-XXXXXX");
    assert(mkdtemp(model->path) != NULL);
    char path[96];
    snprintf(path, sizeof path, "%s/config.json", model->path);
    write_config(model, path);
    static char header[1 << 16];
    size_t used = 0;
    int64_t offset = 0;
    for (int i = 0; i < model->tensors; i++) {
        const struct tiny_tensor *t = &model->tensor[i];
        char shape[48];
        if (t->vector)
            snprintf(shape, sizeof shape, "%lld", (long long)t->inputs);
        else
            snprintf(shape, sizeof shape, "%lld,%lld", (long long)t->outputs, (long long)t->inputs);
        int64_t bytes = bytes_of(t, TYPE_F32);
        used += (size_t)snprintf(header + used, sizeof header - used,
                                 "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":"
                                 "[%lld,%lld]}",
                                 i == 0 ? "{" : ",", t->name, shape, (long long)offset,
                                 (long long)(offset + bytes));
        offset += bytes;
    }
    used += (size_t)snprintf(header + used, sizeof header - used, "}");
    assert(used < sizeof header - 1);
    snprintf(path, sizeof path, "%s/model.safetensors", model->path);
    FILE *out = fopen(path, "wb");
    assert(out != NULL);
    write_u64(out, used);
    fwrite(header, 1, used, out);
    for (int i = 0; i < model->tensors; i++)
        write_values(out, &model->tensor[i], TYPE_F32);
    assert(fclose(out) == 0);
}
