/* llama, qwen2, qwen3 and gpt2: what their files may leave out and what is refused, stacked tensors of every
 * type taken apart, and parts that only some files have. (That the numbers are right is test_small.c's.) */
#include "model/loaded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 5 };

static struct model *open_tiny(struct tiny_model *tiny)
{
    struct failure f = {""};
    struct model *model;
    tiny_write_gguf(tiny);
    if (!model_open(&model, tiny->path, &f))
        fail_msg("%s", f.message);
    return model;
}

/* -ln p of the tokens of a text that has `tiny` for its model, which is freed. */
static void run_tiny(struct tiny_model *tiny, float nll[TOKENS])
{
    static const int32_t tokens[TOKENS] = {3, 60, 3, 17, 42};
    struct model *model = open_tiny(tiny);
    struct model_request request = model_request_init();
    struct failure f = {""};
    request.nll = nll;
    if (!model_run(model, tokens, TOKENS, &request, &f))
        fail_msg("%s", f.message);
    model_close(model);
    tiny_free(tiny);
}

static void refused(struct tiny_model *tiny, const char *words)
{
    struct failure f = {""};
    struct model *model = NULL;
    tiny_write_gguf(tiny);
    if (model_open(&model, tiny->path, &f))
        fail_msg("opened, though: %s", words);
    assert_null(model);
    if (strstr(f.message, words) == NULL || strncmp(f.message, tiny->path, strlen(tiny->path)) != 0)
        fail_msg("'%s' does not begin with the path or does not say '%s'", f.message, words);
    tiny_free(tiny);
}

static void description(void **state)
{
    (void)state;
    static const char *const kinds[] = {"llama", "qwen2", "qwen3", "gpt2"};
    for (int i = 0; i < 4; i++) {
        struct tiny_model *tiny = tiny_decoder(1, kinds[i]);
        struct model *model = open_tiny(tiny);
        const struct model_description *d = model_describe(model);
        bool gpt2 = i == 3;
        assert_string_equal(d->architecture, kinds[i]);
        assert_int_equal(d->kv_heads, gpt2 ? TINY_HEADS : TINY_KV_HEADS);
        assert_int_equal(d->key_size, TINY_DECODER_KEY);
        assert_int_equal(d->vocabulary, TINY_VOCABULARY);
        assert_true(d->causal && d->predicts_tokens);
        assert_int_equal(d->pooling, MODEL_POOLING_NONE);
        assert_int_equal(d->layer[1].window, 0);
        assert_true(d->layer[1].rope_base == (gpt2 ? 0 : 1e4));
        model_close(model);
        tiny_free(tiny);
    }
}

/* The parts of a stacked tensor are its rows, whatever its type; so are those of its bias. */
static void stacked(void **state)
{
    (void)state;
    struct tiny_model *tiny = tiny_decoder(2, "gpt2");
    struct model *model = open_tiny(tiny);
    bool packed = false;
    for (int l = 0; l < TINY_DECODER_LAYERS; l++) {
        const float *weight = tiny_values(tiny, "blk.%d.attn_qkv.weight", l);
        const float *bias = tiny_values(tiny, "blk.%d.attn_qkv.bias", l);
        for (int p = PART_QUERY; p <= PART_VALUE; p++) {
            const struct matrix *matrix = &model->layer[l].part[p].matrix;
            float out[TINY_WIDTH * TINY_WIDTH];
            assert_int_equal(matrix->inputs, TINY_WIDTH);
            assert_int_equal(matrix->outputs, TINY_WIDTH);
            packed = packed || matrix->tensor->type != TENSOR_F32;
            matrix_unpack(matrix, 0, TINY_WIDTH, out);
            assert_memory_equal(out, weight + (p - PART_QUERY) * TINY_WIDTH * TINY_WIDTH,
                                sizeof out);
            assert_memory_equal(matrix->bias, bias + (p - PART_QUERY) * TINY_WIDTH,
                                TINY_WIDTH * sizeof *bias);
        }
    }
    assert_true(packed);
    model_close(model);
    tiny_free(tiny);
}

/* An optional part that is there counts: without the divisors, with biases, with an output of its own or
 * the embedding's, with a window, the numbers change. */
static void optional_parts(void **state)
{
    (void)state;
    enum { VARIANTS = 9 };
    static const char *const with_bias[] = {"attn_q",      "attn_k",   "attn_v",
                                            "attn_output", "ffn_gate", "ffn_up"};
    float nll[VARIANTS][TOKENS];
    for (int variant = 0; variant < VARIANTS; variant++) {
        struct tiny_model *tiny = tiny_decoder(3, "llama");
        uint32_t seed = 9;
        if (variant == 1)
            tiny_remove(tiny, "rope_freqs.weight");
        if (variant == 2)
            tiny_remove(tiny, "output.weight");
        if (variant >= 3) {
            char name[64];
            const char *part = with_bias[variant - 3];
            snprintf(name, sizeof name, "blk.1.%s.weight", part);
            tiny_add(tiny, &seed, tiny_find(tiny, name)->outputs, 0, "blk.1.%s.bias", part);
        }
        run_tiny(tiny, nll[variant]);
    }
    for (int variant = 1; variant < VARIANTS; variant++)
        assert_true(fabsf(nll[variant][TOKENS - 2] - nll[0][TOKENS - 2]) > 1e-5f);
}

/* A file that states a window means it for every layer. */
static void window(void **state)
{
    (void)state;
    float nll[3][TOKENS];
    for (int variant = 0; variant < 3; variant++) {
        struct tiny_model *tiny = tiny_decoder(4, "llama");
        if (variant > 0)
            tiny_set_number(tiny, "llama.attention.sliding_window", 'i', variant == 1 ? 2 : TOKENS);
        run_tiny(tiny, nll[variant]);
    }
    assert_true(fabsf(nll[1][TOKENS - 2] - nll[0][TOKENS - 2]) > 1e-5f);
    assert_true(fabsf(nll[2][TOKENS - 2] - nll[0][TOKENS - 2]) < 1e-4f); /* as long as the text */
}

static void wrong_divisors(void **state)
{
    (void)state;
    const float bad[] = {0, -1, INFINITY, NAN};
    for (int i = 0; i < 4; i++) {
        struct tiny_model *tiny = tiny_decoder(1, "llama");
        tiny_find(tiny, "rope_freqs.weight")->values[1] = bad[i];
        refused(tiny, "value 1 of tensor 'rope_freqs.weight' is ");
    }
    struct tiny_model *tiny = tiny_decoder(1, "llama");
    tiny_set_number(tiny, "llama.rope.dimension_count", 'i', TINY_DECODER_KEY - 2);
    refused(tiny,
            "tensor 'rope_freqs.weight' has 4 x 1 values (inputs x outputs); it must have 3 x 1");
}

static void wrong_settings(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *key;
        double value;
        const char *words;
    } numbers[] = {
        {"llama", "llama.attention.head_count_kv", 3, "multiple"},
        {"llama", "llama.attention.head_count_kv", 4, "blk.0.attn_k.weight"},
        {"llama", "llama.rope.dimension_count", 10, "rotary"},
        {"llama", "llama.block_count", 3, "blk.2.attn_norm.weight"},
        {"llama", "llama.block_count", 1,
         "'blk.1.attn_norm.weight' is none that a llama model of 1 layers"},
        {"qwen2", "qwen2.attention.head_count", 8, "blk.0.attn_k.weight"},
        {"qwen3", "qwen3.attention.key_length", 7, "even"},
        {"qwen3", "qwen3.attention.key_length", 10, "blk.0.attn_q.weight"},
        {"gpt2", "gpt2.context_length", TINY_BERT_CONTEXT + 1, "position_embd.weight"},
        {"gpt2", "gpt2.attention.head_count", 5, "the width 32 is no multiple of the 5 heads"},
        {"gpt2", "gpt2.attention.head_count_kv", 2, "tensor 'blk.0.attn_qkv.weight' has 32 x 96"},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct tiny_model *tiny = tiny_decoder(1, numbers[i].kind);
        tiny_set_number(tiny, numbers[i].key, 'i', numbers[i].value);
        refused(tiny, numbers[i].words);
    }
    struct tiny_model *tiny = tiny_decoder(1, "qwen2");
    tiny_set_text(tiny, "qwen2.rope.scaling.type", "yarn");
    refused(tiny, "qwen2.rope.scaling.type is 'yarn'");
    tiny = tiny_decoder(1, "llama");
    tiny_set_number(tiny, "llama.rope.freq_base", 'f', 0.5);
    refused(tiny, "base");
}

static void wrong_tensors(void **state)
{
    (void)state;
    static const char *const missing[][2] = {{"llama", "blk.1.ffn_gate.weight"},
                                             {"llama", "token_embd.weight"},
                                             {"qwen2", "blk.0.attn_q.bias"},
                                             {"qwen2", "blk.1.attn_v.bias"},
                                             {"qwen3", "blk.0.attn_k_norm.weight"},
                                             {"qwen3", "output_norm.weight"},
                                             {"gpt2", "blk.1.attn_qkv.weight"},
                                             {"gpt2", "blk.1.attn_qkv.bias"},
                                             {"gpt2", "output_norm.bias"},
                                             {"gpt2", "position_embd.weight"},
                                             {"llama", "llama.attention.layer_norm_rms_epsilon"},
                                             {"gpt2", "gpt2.attention.layer_norm_epsilon"}};
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++) {
        struct tiny_model *tiny = tiny_decoder(1, missing[i][0]);
        tiny_remove(tiny, missing[i][1]);
        refused(tiny, missing[i][1]);
    }
    /* What no description names would change the numbers if it were known. */
    static const struct {
        const char *kind, *name;
        int64_t inputs, outputs;
    } added[] = {{"llama", "blk.0.attn_q_norm.weight", TINY_DECODER_KEY, 0},
                 {"llama", "blk.0.ffn_gate_inp.weight", TINY_WIDTH, 4},
                 {"qwen2", "blk.1.ffn_up.bias", TINY_FEED, 0},
                 {"qwen3", "blk.2.attn_q.weight", TINY_WIDTH, TINY_WIDTH},
                 {"qwen3", "blk.00000000000000000000.attn_q", TINY_WIDTH, 0},
                 {"qwen3", "blk.99999999999999999999.attn_q.weight", TINY_WIDTH, 0},
                 {"qwen3", "blk..attn_q.weight", TINY_WIDTH, 0},
                 {"qwen3", "blk.-1.attn_q.weight", TINY_WIDTH, 0},
                 {"gpt2", "token_types.weight", TINY_WIDTH, 2},
                 {"gpt2", "position_embd.bias", TINY_WIDTH, 0},
                 {"gpt2", "output_norm.scale", TINY_WIDTH, 0}};
    for (size_t i = 0; i < sizeof added / sizeof *added; i++) {
        struct tiny_model *tiny = tiny_decoder(1, added[i].kind);
        uint32_t seed = 1;
        char words[128];
        tiny_add(tiny, &seed, added[i].inputs, added[i].outputs, "%s", added[i].name);
        snprintf(words, sizeof words, "tensor '%s' is none that a %s model of 2 layers is known to",
                 added[i].name, added[i].kind);
        refused(tiny, words);
    }
    struct tiny_model *tiny = tiny_decoder(1, "llama");
    uint32_t seed = 1;
    tiny_add(tiny, &seed, TINY_WIDTH + 1, 0, "blk.0.attn_q.bias");
    refused(tiny, "tensor 'blk.0.attn_q.bias' has 33 x 1 values");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(description),    cmocka_unit_test(stacked),
        cmocka_unit_test(optional_parts), cmocka_unit_test(window),
        cmocka_unit_test(wrong_divisors), cmocka_unit_test(wrong_settings),
        cmocka_unit_test(wrong_tensors),
    };
    return cmocka_run_group_tests_name("model_decoders", tests, NULL, NULL);
}
