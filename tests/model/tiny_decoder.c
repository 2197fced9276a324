/* Small models of the kinds that share a shape: a norm and a branch, twice a layer. */
#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "blk.<layer>.<name>.weight" and, if wanted, its bias. */
static void add_part(struct tiny_model *m, uint32_t *seed, int layer, const char *name,
                     int64_t inputs, int64_t outputs, bool bias)
{
    tiny_add(m, seed, inputs, outputs, "blk.%d.%s.weight", layer, name);
    if (bias)
        tiny_add(m, seed, outputs == 0 ? inputs : outputs, 0, "blk.%d.%s.bias", layer, name);
}

static void add_layer(struct tiny_model *m, uint32_t *seed, int l, const char *kind)
{
    bool gpt2 = strcmp(kind, "gpt2") == 0, qwen2 = strcmp(kind, "qwen2") == 0;
    int64_t w = TINY_WIDTH, kv = TINY_KV_HEADS * TINY_DECODER_KEY;
    add_part(m, seed, l, "attn_norm", w, 0, gpt2);
    if (gpt2) {
        add_part(m, seed, l, "attn_qkv", w, 3 * w, true);
    } else {
        add_part(m, seed, l, "attn_q", w, w, qwen2);
        add_part(m, seed, l, "attn_k", w, kv, qwen2);
        add_part(m, seed, l, "attn_v", w, kv, qwen2);
    }
    if (strcmp(kind, "qwen3") == 0) {
        add_part(m, seed, l, "attn_q_norm", TINY_DECODER_KEY, 0, false);
        add_part(m, seed, l, "attn_k_norm", TINY_DECODER_KEY, 0, false);
    }
    add_part(m, seed, l, "attn_output", w, w, gpt2);
    add_part(m, seed, l, "ffn_norm", w, 0, gpt2);
    if (!gpt2)
        add_part(m, seed, l, "ffn_gate", w, TINY_FEED, false);
    add_part(m, seed, l, "ffn_up", w, TINY_FEED, gpt2);
    add_part(m, seed, l, "ffn_down", TINY_FEED, w, gpt2);
}

struct tiny_model *tiny_decoder(uint32_t seed, const char *kind)
{
    static const struct {
        const char *key;
        double value;
    } integers[] = {
        {"context_length", TINY_BERT_CONTEXT}, {"embedding_length", TINY_WIDTH},
        {"block_count", TINY_DECODER_LAYERS},  {"feed_forward_length", TINY_FEED},
        {"attention.head_count", TINY_HEADS},  {"attention.head_count_kv", TINY_KV_HEADS}};
    struct tiny_model *m = calloc(1, sizeof *m);
    bool gpt2 = strcmp(kind, "gpt2") == 0;
    char key[64];
    tiny_set_text(m, "general.architecture", kind);
    for (int i = 0; i < (gpt2 ? 5 : 6); i++) {
        snprintf(key, sizeof key, "%s.%s", kind, integers[i].key);
        tiny_set_number(m, key, 'i', integers[i].value);
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_%sepsilon", kind, gpt2 ? "" : "rms_");
    tiny_set_number(m, key, 'f', 1e-5);
    tiny_add(m, &seed, TINY_WIDTH, TINY_VOCABULARY, "token_embd.weight");
    tiny_add(m, &seed, TINY_WIDTH, 0, "output_norm.weight");
    if (gpt2) {
        tiny_add(m, &seed, TINY_WIDTH, 0, "output_norm.bias");
        tiny_add(m, &seed, TINY_WIDTH, TINY_BERT_CONTEXT, "position_embd.weight");
    }
    if (strcmp(kind, "llama") == 0) {
        tiny_add(m, &seed, TINY_WIDTH, TINY_VOCABULARY, "output.weight");
        tiny_add(m, &seed, TINY_DECODER_KEY / 2, 0, "rope_freqs.weight");
    }
    for (int l = 0; l < TINY_DECODER_LAYERS; l++)
        add_layer(m, &seed, l, kind);
    return m;
}
