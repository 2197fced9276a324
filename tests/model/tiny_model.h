/* Small models of random weights, kept in memory by name, written as the files that the program
 * reads. Weights are multiples of 1/64 below 1/2 in size, so that every tensor type that the writer
 * cycles through (F32, F16, BF16, Q8_0) holds them exactly. */
#ifndef ATTN_TESTS_TINY_MODEL_H
#define ATTN_TESTS_TINY_MODEL_H

#include <stdbool.h>
#include <stdint.h>

struct tiny_tensor {
    char name[80];
    int64_t inputs, outputs;
    bool vector; /* one dimension */
    float *values;
};

struct tiny_key {
    char name[64];
    char type; /* 'i' integer, 'f' number, 's' string, 'b' bool */
    double number;
    char text[32];
};

enum { TINY_TENSORS = 160, TINY_KEYS = 40 };

struct tiny_model {
    int tensors, keys;
    struct tiny_tensor tensor[TINY_TENSORS];
    struct tiny_key key[TINY_KEYS];
    char path[64]; /* of the file or folder; "" before it is written */
};

/* What the tiny models have in common. */
enum {
    TINY_WIDTH = 32,
    TINY_FEED = 64,
    TINY_VOCABULARY = 70,
    TINY_CONTEXT = 4096,
    TINY_HEADS = 4,
    TINY_KV_HEADS = 2,
    TINY_WINDOW = 5,
    TINY_GEMMA_LAYERS = 7, /* the sixth is global */
    TINY_GEMMA_KEY = 12,
    TINY_GEMMA_VALUE = 8,
    TINY_BERT_LAYERS = 2,
    TINY_DECODER_LAYERS = 2,
    TINY_DECODER_KEY = TINY_WIDTH / TINY_HEADS,
    TINY_BERT_CONTEXT = 64,
};

struct tiny_model *tiny_gemma3(uint32_t seed);
/* With the names of GGUF, or of safetensors and its config.json. */
struct tiny_model *tiny_bert(uint32_t seed, bool safetensors);
/* "llama" (with rope_freqs and output), "qwen2", "qwen3" or "gpt2": TINY_DECODER_LAYERS layers, heads of
 * TINY_DECODER_KEY. */
struct tiny_model *tiny_decoder(uint32_t seed, const char *architecture);
void tiny_free(struct tiny_model *model); /* removes what was written, too */

/* Add a tensor of random values; outputs 0: a vector, around 1 if it is some "...weight". */
void tiny_add(struct tiny_model *model, uint32_t *seed, int64_t inputs, int64_t outputs,
              const char *format, ...) __attribute__((format(printf, 5, 6)));

/* NULL if there is none. */
struct tiny_tensor *tiny_find(struct tiny_model *model, const char *name);
/* The values of a tensor that must be there; the name is printf's. */
const float *tiny_values(const struct tiny_model *model, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void tiny_set_number(struct tiny_model *model, const char *key, char type, double number);
void tiny_set_text(struct tiny_model *model, const char *key, const char *text);
void tiny_remove(struct tiny_model *model, const char *tensor_or_key);

/* Write model->path. */
void tiny_write_gguf(struct tiny_model *model);
void tiny_write_directory(struct tiny_model *model);

#endif
