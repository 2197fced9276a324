/* Model files and requests that are wrong: each is refused with a sentence that names what. */
#include "model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tiny_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void refused(struct tiny_model *tiny, bool directory, const char *words)
{
    if (directory)
        tiny_write_directory(tiny);
    else
        tiny_write_gguf(tiny);
    struct failure f = {""};
    struct model *model = NULL;
    if (model_open(&model, tiny->path, &f))
        fail_msg("opened, though: %s", words);
    assert_null(model);
    if (strstr(f.message, words) == NULL || strncmp(f.message, tiny->path, strlen(tiny->path)) != 0)
        fail_msg("'%s' does not begin with the path or does not say '%s'", f.message, words);
    tiny_free(tiny);
}

static void wrong_gguf(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        double value;
        const char *words;
    } numbers[] = {
        {"gemma3.embedding_length", 33, "token_embd.weight"},
        {"gemma3.embedding_length", 0, "gemma3.embedding_length"},
        {"gemma3.block_count", 8, "blk.7.attn_norm.weight"},
        {"gemma3.block_count", 60000, "60000 layers"},
        {"gemma3.feed_forward_length", 63, "blk.0.ffn_gate.weight"},
        {"gemma3.attention.head_count", 3, "multiple"},
        {"gemma3.attention.head_count", 6, "blk.0.attn_q.weight"},
        {"gemma3.attention.head_count_kv", 4, "blk.0.attn_k.weight"},
        {"gemma3.attention.key_length", 10, "blk.0.attn_q.weight"},
        {"gemma3.attention.key_length", 11, "even"},
        {"gemma3.attention.value_length", 9, "blk.0.attn_v.weight"},
        {"gemma3.attention.sliding_window", -1, "gemma3.attention.sliding_window"},
        {"gemma3.context_length", 0, "gemma3.context_length"},
        {"gemma3.rope.dimension_count", 14, "rotary"},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct tiny_model *tiny = tiny_gemma3(1);
        tiny_set_number(tiny, numbers[i].key, 'i', numbers[i].value);
        refused(tiny, false, numbers[i].words);
    }
    static const char *const removed[] = {
        "gemma3.context_length",      "gemma3.embedding_length",
        "gemma3.block_count",         "gemma3.attention.head_count",
        "gemma3.feed_forward_length", "gemma3.attention.layer_norm_rms_epsilon",
        "general.architecture",       "token_embd.weight",
        "output_norm.weight",         "blk.6.ffn_down.weight",
        "blk.3.attn_q_norm.weight"};
    for (size_t i = 0; i < sizeof removed / sizeof *removed; i++) {
        struct tiny_model *tiny = tiny_gemma3(1);
        tiny_remove(tiny, removed[i]);
        refused(tiny, false, removed[i]);
    }
}

static void wrong_kind(void **state)
{
    (void)state;
    struct tiny_model *tiny = tiny_gemma3(1);
    tiny_set_text(tiny, "general.architecture", "mamba\x1b[2J");
    refused(tiny, false, "'mamba\\x1b[2J'; it may be: bert, gemma3");
    tiny = tiny_gemma3(1);
    tiny_set_number(tiny, "gemma3.block_count", 'f', 7);
    refused(tiny, false, "gemma3.block_count");
    tiny = tiny_gemma3(1);
    tiny_set_number(tiny, "gemma3.rope.freq_base", 'f', -1);
    refused(tiny, false, "gemma3.rope.freq_base");
    tiny = tiny_gemma3(1);
    tiny_set_text(tiny, "gemma3.rope.scaling.type", "yarn");
    refused(tiny, false, "'yarn'");
    tiny = tiny_gemma3(1);
    tiny_set_text(tiny, "gemma3.rope.scaling.type", "linear");
    tiny_set_number(tiny, "gemma3.rope.scaling.factor", 'f', 0);
    refused(tiny, false, "gemma3.rope.scaling.factor");
    tiny = tiny_gemma3(1);
    tiny_set_number(tiny, "gemma3.attention.causal", 'b', 0);
    refused(tiny, false, "gemma3.attention.causal");
    tiny = tiny_bert(1, false);
    tiny_set_number(tiny, "bert.pooling_type", 'i', 4);
    refused(tiny, false, "bert.pooling_type");
    tiny = tiny_bert(1, false);
    tiny_remove(tiny, "blk.1.ffn_up.bias");
    refused(tiny, false, "blk.1.ffn_up.bias");
    tiny = tiny_bert(1, false);
    tiny_find(tiny, "blk.1.ffn_up.bias")->inputs -= 1;
    refused(tiny, false, "blk.1.ffn_up.bias");
}

static void wrong_directory(void **state)
{
    (void)state;
    struct tiny_model *tiny = tiny_bert(1, true);
    tiny_set_number(tiny, "num_attention_heads", 'i', 5);
    refused(tiny, true, "no multiple of the 5 heads");
    tiny = tiny_bert(1, true);
    tiny_set_number(tiny, "hidden_size", 's', 0);
    refused(tiny, true, "hidden_size");
    tiny = tiny_bert(1, true);
    tiny_set_text(tiny, "hidden_act", "relu");
    refused(tiny, true, "hidden_act");
    tiny = tiny_bert(1, true);
    tiny_set_text(tiny, "position_embedding_type", "relative_key");
    refused(tiny, true, "position_embedding_type");
    tiny = tiny_bert(1, true);
    tiny_set_text(tiny, "model_type", "gemma3");
    refused(tiny, true, "GGUF");
    tiny = tiny_bert(1, true);
    tiny_remove(tiny, "encoder.layer.1.output.dense.weight");
    refused(tiny, true, "encoder.layer.1.output.dense.weight");
    tiny = tiny_bert(1, true);
    tiny_set_number(tiny, "max_position_embeddings", 'i', 65);
    refused(tiny, true, "embeddings.position_embeddings.weight");
}

static void no_files(void **state)
{
    (void)state;
    struct failure f = {""};
    struct model *model;
    assert_false(model_open(&model, "/nowhere/model.gguf", &f));
    assert_string_equal(f.message, "/nowhere/model.gguf: No such file or directory");
    struct tiny_model *tiny = tiny_bert(1, true);
    tiny_write_directory(tiny);
    char path[96];
    snprintf(path, sizeof path, "%s/config.json", tiny->path);
    FILE *out = fopen(path, "w");
    fputs("[1, 2", out);
    fclose(out);
    f.message[0] = '\0';
    assert_false(model_open(&model, tiny->path, &f));
    assert_non_null(strstr(f.message, "config.json cannot be read"));
    remove(path);
    f.message[0] = '\0';
    assert_false(model_open(&model, tiny->path, &f));
    assert_non_null(strstr(f.message, "config.json"));
    snprintf(path, sizeof path, "%s/model.safetensors", tiny->path);
    f.message[0] = '\0';
    assert_false(model_open(&model, path, &f));
    assert_non_null(strstr(f.message, "give the directory"));
    tiny_free(tiny);
}

/* 1_Pooling/config.json says how a sentence model pools; both ways at once, or none, is refused. */
static void pooling_file(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        enum model_pooling pooling; /* NONE: refused */
    } cases[] = {
        {"{\"pooling_mode_cls_token\": true}", MODEL_POOLING_CLS},
        {"{\"pooling_mode_mean_tokens\": true}", MODEL_POOLING_MEAN},
        {"{\"pooling_mode_max_tokens\": true}", MODEL_POOLING_NONE},
        {"{\"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": true}",
         MODEL_POOLING_NONE},
    };
    struct tiny_model *tiny = tiny_bert(1, true);
    tiny_write_directory(tiny);
    char folder[96], path[128];
    snprintf(folder, sizeof folder, "%s/1_Pooling", tiny->path);
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FILE *out = fopen(path, "w");
        fputs(cases[i].json, out);
        fclose(out);
        struct failure f = {""};
        struct model *model;
        bool opened = model_open(&model, tiny->path, &f);
        assert_int_equal(opened, cases[i].pooling != MODEL_POOLING_NONE);
        if (opened)
            assert_int_equal(model_describe(model)->pooling, cases[i].pooling);
        else
            assert_non_null(strstr(f.message, "1_Pooling/config.json: the pooling must be"));
        model_close(model);
    }
    remove(path);
    remove(folder);
    tiny_free(tiny);
}

static void fails(const struct model *model, const int32_t *tokens, int64_t count,
                  const struct model_request *request, const char *sentence)
{
    struct failure f = {""};
    assert_false(model_run(model, tokens, count, request, &f));
    assert_string_equal(f.message, sentence);
}

static void count_calls(void *context, int64_t layer, int64_t layers, double done)
{
    (void)layer, (void)layers;
    int *calls = context;
    assert_true(done >= 0 && done <= 1);
    ++*calls;
}

static bool observer_fails(void *context, int64_t layer, attn_problem *problem, bool *contribution,
                           struct failure *f)
{
    (void)context, (void)problem, (void)contribution;
    return layer < 2 || (fail)(f, "seen enough");
}

/* A problem that the library refuses. */
static bool observer_spoils(void *context, int64_t layer, attn_problem *problem, bool *contribution,
                            struct failure *f)
{
    (void)context, (void)layer, (void)contribution, (void)f;
    problem->softcap = -1;
    return true;
}

static void wrong_requests(void **state)
{
    (void)state;
    struct tiny_model *gemma = tiny_gemma3(1), *bert = tiny_bert(1, false);
    tiny_write_gguf(gemma);
    tiny_write_gguf(bert);
    struct model *predicts, *embeds;
    assert_true(model_open(&predicts, gemma->path, NULL));
    assert_true(model_open(&embeds, bert->path, NULL));
    struct model_request request = model_request_init();
    static int32_t tokens[TINY_CONTEXT + 1] = {1, 2, 3};
    float out[TINY_CONTEXT + 1];
    fails(predicts, tokens, 0, &request, "the text has no tokens; a run needs at least 1");
    fails(predicts, tokens, TINY_CONTEXT + 1, &request,
          "the text has 4097 tokens, but the model's context holds 4096");
    fails(embeds, tokens, 65, &request, "the text has 65 tokens, but the model's context holds 64");
    tokens[2] = TINY_VOCABULARY;
    fails(predicts, tokens, 3, &request, "token 2 is 70, but the vocabulary has ids 0 to 69");
    tokens[2] = -1;
    fails(predicts, tokens, 3, &request, "token 2 is -1, but the vocabulary has ids 0 to 69");
    tokens[2] = 3;
    request.embedding = out;
    fails(predicts, tokens, 3, &request,
          "this gemma3 model has no pooling, so it gives no embedding");
    request.embedding = NULL;
    request.nll = out;
    fails(embeds, tokens, 3, &request, "a bert model predicts no tokens");

    volatile sig_atomic_t stop = 1;
    int calls = 0;
    request.stop = &stop;
    request.progress = count_calls;
    request.progress_context = &calls;
    fails(predicts, tokens, 3, &request, "interrupted");
    assert_int_equal(calls, 0);
    stop = 0;
    assert_true(model_run(predicts, tokens, 3, &request, NULL));
    assert_true(calls > 3 * TINY_GEMMA_LAYERS);

    struct model_observer observer = {.before_attention = observer_fails};
    request.observer = &observer;
    fails(predicts, tokens, 3, &request, "seen enough");
    observer.before_attention = observer_spoils;
    struct failure f = {""};
    assert_false(model_run(predicts, tokens, 3, &request, &f));
    assert_non_null(strstr(f.message, "attention of layer 0: "));
    model_close(predicts);
    model_close(embeds);
    tiny_free(gemma);
    tiny_free(bert);
}

/* A model without a tokenizer can be run on ids; asking for the tokenizer says what is missing. */
static void no_tokenizer(void **state)
{
    (void)state;
    struct tiny_model *tiny = tiny_gemma3(1);
    tiny_write_gguf(tiny);
    struct model *model;
    const struct tokenizer *tokenizer;
    struct failure f = {""};
    assert_true(model_open(&model, tiny->path, NULL));
    assert_false(model_tokenizer(model, &tokenizer, &f));
    assert_null(tokenizer);
    assert_non_null(strstr(f.message, "tokenizer.ggml"));
    model_close(model);
    tiny_free(tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_gguf),      cmocka_unit_test(wrong_kind),
        cmocka_unit_test(wrong_directory), cmocka_unit_test(no_files),
        cmocka_unit_test(wrong_requests),  cmocka_unit_test(no_tokenizer),
        cmocka_unit_test(pooling_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
