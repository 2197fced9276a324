/* Folders that are wrong, made of golden/folder-*: each is refused with a sentence that names what, and with
 * nothing changed the same folder opens. (That the numbers are right is test_small.c's.) */
#include "model/model.h"
#include "model/session.h"
#include "tokenizer/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_ROOM = 512 };

/* A folder of links to the files of one of golden/. */
struct folder {
    char path[64], golden[PATH_ROOM];
};

static void in_folder(char out[PATH_ROOM], const char *folder, const char *file)
{
    assert_true(snprintf(out, PATH_ROOM, "%s/%s", folder, file) < PATH_ROOM);
}

static struct folder copy_of(const char *name)
{
    struct folder folder = {.path = "/tmp/attn-folder-XXXXXX"};
    snprintf(folder.golden, sizeof folder.golden, "%s/tests/model/golden/folder-%s",
             ATTN_SOURCE_DIR, name);
    assert_non_null(mkdtemp(folder.path));
    DIR *listing = opendir(folder.golden);
    assert_non_null(listing);
    for (const struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        char from[PATH_ROOM], to[PATH_ROOM];
        if (entry->d_name[0] == '.')
            continue;
        in_folder(from, folder.golden, entry->d_name);
        in_folder(to, folder.path, entry->d_name);
        assert_int_equal(symlink(from, to), 0);
    }
    closedir(listing);
    return folder;
}

static void remove_file(const struct folder *folder, const char *file)
{
    char path[PATH_ROOM];
    in_folder(path, folder->path, file);
    assert_int_equal(unlink(path), 0);
}

static void remove_folder(const struct folder *folder)
{
    DIR *listing = opendir(folder->path);
    for (const struct dirent *entry; (entry = readdir(listing)) != NULL;)
        if (entry->d_name[0] != '.')
            remove_file(folder, entry->d_name);
    closedir(listing);
    assert_int_equal(rmdir(folder->path), 0);
}

static void write_file(const struct folder *folder, const char *file, const void *bytes,
                       size_t size)
{
    char path[PATH_ROOM];
    in_folder(path, folder->path, file);
    unlink(path);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
}

static char *read_file(const struct folder *folder, const char *file, size_t *size)
{
    char path[PATH_ROOM];
    in_folder(path, folder->path, file);
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    char *bytes = malloc(1 << 20);
    *size = fread(bytes, 1, 1 << 20, in);
    fclose(in);
    return bytes;
}

/* Members of the object in `file` become those of the JSON text `changes`; null takes one away. */
static void change(const struct folder *folder, const char *file, const char *changes)
{
    char path[PATH_ROOM];
    json_error_t error;
    in_folder(path, folder->path, file);
    json_t *object = json_load_file(path, 0, &error);
    json_t *changed = json_loads(changes, 0, &error);
    if (object == NULL || changed == NULL)
        fail_msg("%s", error.text);
    const char *key;
    json_t *value;
    json_object_foreach(changed, key, value)
    {
        if (json_is_null(value))
            json_object_del(object, key);
        else
            json_object_set(object, key, value);
    }
    char *text = json_dumps(object, 0);
    write_file(folder, file, text, strlen(text));
    free(text);
    json_decref(object);
    json_decref(changed);
}

static struct model *open_folder(const struct folder *folder)
{
    struct failure f = {""};
    struct model *model;
    if (!model_open(&model, folder->path, &f))
        fail_msg("%s", f.message);
    return model;
}

/* Whatever is wrong, the sentence begins with the path and holds `words`. The folder is removed. */
static void refused(const struct folder *folder, const char *words)
{
    struct failure f = {""};
    struct model *model = NULL;
    if (model_open(&model, folder->path, &f))
        fail_msg("opened, though: %s", words);
    assert_null(model);
    if (strstr(f.message, words) == NULL ||
        strncmp(f.message, folder->path, strlen(folder->path)) != 0)
        fail_msg("'%s' does not begin with the path or does not say '%s'", f.message, words);
    remove_folder(folder);
}

static void settings(void **state)
{
    (void)state;
    static const struct {
        const char *name, *changes, *words;
    } cases[] = {
        {"llama3", "{\"model_type\": \"mistral\"}", "model_type is 'mistral'; it may be: bert, "},
        {"llama3", "{\"hidden_size\": null}", "config.json: hidden_size must be an integer"},
        {"llama3", "{\"hidden_size\": 1099511627776}", "hidden_size must be an integer from 1 to"},
        {"llama3", "{\"num_hidden_layers\": 65536}", "states 65536 layers but holds 21 tensors"},
        {"llama3", "{\"num_hidden_layers\": 3}", "tensor 'layers.2.input_layernorm.weight' is"},
        {"llama3", "{\"num_hidden_layers\": 1}",
         "tensor 'model.layers.1.input_layernorm.weight' is none that a llama model of 1 layers"},
        {"llama3", "{\"intermediate_size\": 4194304}", "'model.layers.0.mlp.gate_proj.weight' has"},
        {"llama3", "{\"head_dim\": 8}", "'model.layers.0.self_attn.q_proj.weight' has 16 x 24"},
        {"llama3", "{\"vocab_size\": 301}", "tensor 'model.embed_tokens.weight' has 16 x 300"},
        {"llama3", "{\"rms_norm_eps\": null}", "config.json: rms_norm_eps must be a number"},
        {"llama3", "{\"hidden_act\": \"gelu\"}", "hidden_act must be \"silu\" for llama"},
        {"llama3", "{\"attention_bias\": true}",
         "attention_bias is true, but tensor 'model.layers.0.self_attn.q_proj.weight' has no bias"},
        {"llama3", "{\"mlp_bias\": true}",
         "mlp_bias is true, but tensor 'model.layers.0.mlp.gate_proj.weight' has no bias"},
        {"smollm2", "{\"attention_bias\": null}",
         "attention_bias is false, but tensor 'model.layers.0.self_attn.q_proj.weight' has a bias"},
        {"smollm2", "{\"mlp_bias\": false}",
         "mlp_bias is false, but tensor 'model.layers.0.mlp.gate_proj.weight' has a bias"},
        {"smollm2", "{\"mlp_bias\": 1}", "config.json: mlp_bias must be true or false"},
        {"smollm2", "{\"tie_word_embeddings\": false}",
         "tensor 'lm_head.weight' is missing, and config.json does not tie it"},
        {"smollm2", "{\"tie_word_embeddings\": null}",
         "tensor 'lm_head.weight' is missing, and config.json does not tie it"},
        {"llama3", "{\"sliding_window\": 64}", "sliding_window is there; a llama model has none"},
        {"llama3", "{\"quantization_config\": {}}", "there is a quantization_config"},
        {"llama3", "{\"partial_rotary_factor\": 0.5}", "partial_rotary_factor is 0.5; it may be 1"},
        {"qwen2", "{\"sliding_window\": 0}", "sliding_window must be an integer from 1 to"},
        {"qwen2", "{\"sliding_window\": null}",
         "use_sliding_window is true, but there is no sliding_window"},
        {"qwen2", "{\"use_sliding_window\": false}",
         "layer_types gives layer 1 a window, but there is no sliding_window in use"},
        {"qwen2", "{\"layer_types\": [\"full_attention\"]}", "layer_types must be an array of 2,"},
        {"qwen2", "{\"layer_types\": [\"full_attention\", \"chunked_attention\"]}",
         "layer_types of layer 1 is 'chunked_attention'; it may be 'full_attention' or "},
        {"qwen2", "{\"layer_types\": null, \"max_window_layers\": -1}",
         "max_window_layers must be an integer from 0 to"},
        {"gpt2", "{\"activation_function\": \"relu\"}",
         "activation_function must be \"gelu_new\" for gpt2"},
        {"gpt2", "{\"scale_attn_weights\": false}", "scale_attn_weights is false; it may be true"},
        {"gpt2", "{\"scale_attn_by_inverse_layer_idx\": true}",
         "scale_attn_by_inverse_layer_idx is true; it may be false"},
        {"gpt2", "{\"add_cross_attention\": true}", "add_cross_attention is true; it may be false"},
        {"gpt2", "{\"n_embd\": null}", "config.json: n_embd must be an integer"},
        {"gpt2", "{\"n_inner\": 40}",
         "'transformer.h.0.mlp.c_fc.weight' has 64 x 16 values (outputs "},
        {"gpt2", "{\"n_head\": 3}", "the width 16 is no multiple of the 3 heads"},
        {"gpt2", "{\"tie_word_embeddings\": false}", "tensor 'lm_head.weight' is missing"},
        {"gpt2", "{\"layer_norm_epsilon\": null}", "layer_norm_epsilon must be a number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct folder folder = copy_of(cases[i].name);
        change(&folder, "config.json", cases[i].changes);
        refused(&folder, cases[i].words);
    }
}

static void rotary(void **state)
{
    (void)state;
    static const struct {
        const char *changes, *words;
    } cases[] = {
        {"{\"rope_scaling\": {}}", "rope_parameters and rope_scaling are both there"},
        {"{\"rope_theta\": 600}", "rope_theta is 600, and another in rope_parameters, 500"},
        {"{\"rope_parameters\": 1}", "rope_parameters must be an object"},
        {"{\"rope_parameters\": {\"rope_type\": \"yarn\"}}",
         "rope_type is 'yarn'; it may be 'default', 'linear' or 'llama3'"},
        {"{\"rope_parameters\": {\"rope_type\": 3}}", "rope_type is ''; it may be "},
        {"{\"rope_parameters\": {\"factor\": 2}}",
         "rope_parameters has a factor, but no rope_type"},
        {"{\"rope_parameters\": {\"rope_type\": \"linear\"}}",
         "factor of the rotary scaling must be a number from 1 to 1e+06"},
        {"{\"rope_parameters\": {\"type\": \"linear\", \"factor\": 0.5}}",
         "factor of the rotary scaling must be a number from 1 to 1e+06"},
        {"{\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 0.5}}",
         "rope_theta of the rotary scaling must be a number from 1 to 1e+12"},
        {"{\"rope_parameters\": {\"rope_type\": \"default\", \"attention_factor\": 2}}",
         "the rotary scaling has 'attention_factor', which is not known"},
        {"{\"rope_parameters\": {\"rope_type\": \"default\", \"partial_rotary_factor\": 0.5}}",
         "the rotary scaling has 'partial_rotary_factor', which is not known"},
        {"{\"rope_parameters\": {\"rope_type\": \"llama3\", \"factor\": 4, \"low_freq_factor\": 1, "
         "\"high_freq_factor\": 4}}",
         "original_max_position_embeddings of the rotary scaling must be a number from 1 to"},
        {"{\"rope_parameters\": {\"rope_type\": \"llama3\", \"factor\": 4, \"low_freq_factor\": 4, "
         "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 64}}",
         "high_freq_factor is 4; it may be more than low_freq_factor, 4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct folder folder = copy_of("llama3");
        change(&folder, "config.json", cases[i].changes);
        refused(&folder, cases[i].words);
    }
}

/* -ln p of the tokens 1 .. 39 of a text, whose model is in `folder`, which is removed. */
enum { TOKENS = 40 };

static void run_folder(const struct folder *folder, float nll[TOKENS])
{
    struct model *model = open_folder(folder);
    struct model_request request = model_request_init();
    struct failure f = {""};
    int32_t tokens[TOKENS];
    for (int i = 0; i < TOKENS; i++)
        tokens[i] = (i * 37 + 11) % 290;
    request.nll = nll;
    if (!model_run(model, tokens, TOKENS, &request, &f))
        fail_msg("%s", f.message);
    model_close(model);
    remove_folder(folder);
}

/* What config.json says in two ways is the same; what it says otherwise changes the numbers. */
static void words(void **state)
{
    (void)state;
    static const struct {
        const char *name, *changes;
        bool same;
        const char *than; /* these changes; NULL: none */
    } cases[] = {
        {"qwen2", "{\"layer_types\": null, \"max_window_layers\": null}", true,
         "{\"layer_types\": null, \"use_sliding_window\": false}"},
        {"llama3", "{\"head_dim\": 6}", true, NULL},
        {"llama3", "{\"num_key_value_heads\": 2, \"tie_word_embeddings\": null}", true, NULL},
        {"llama3", "{\"tie_word_embeddings\": true}", true,
         NULL}, /* the file has an output of its own */
        {"llama3", "{\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 500}}",
         false, NULL},
        {"smollm2",
         "{\"rope_theta\": null, \"rope_scaling\": {\"rope_type\": \"linear\", "
         "\"factor\": 3, \"rope_theta\": 1e5}}",
         true, NULL},
        {"smollm2", "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}}", false, NULL},
        {"smollm2", "{\"rope_theta\": 1e4}", false, NULL},
        {"qwen2", "{\"layer_types\": null}", true, NULL}, /* max_window_layers says it too */
        {"qwen2", "{\"layer_types\": null, \"max_window_layers\": 0}", false, NULL},
        {"qwen2", "{\"layer_types\": null, \"max_window_layers\": null}", false, NULL},
        {"qwen2", "{\"sliding_window\": 23}", false, NULL},
        {"gpt2", "{\"n_inner\": 64, \"activation_function\": \"gelu_pytorch_tanh\"}", true, NULL},
        {"gpt2", "{\"layer_norm_epsilon\": 0.1}", false, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float plain[TOKENS], changed[TOKENS];
        struct folder folder = copy_of(cases[i].name);
        if (cases[i].than != NULL)
            change(&folder, "config.json", cases[i].than);
        run_folder(&folder, plain);
        folder = copy_of(cases[i].name);
        change(&folder, "config.json", cases[i].changes);
        run_folder(&folder, changed);
        bool same = memcmp(plain, changed, (TOKENS - 1) * sizeof *plain) == 0;
        if (same != cases[i].same)
            fail_msg("%s with %s is %s", cases[i].name, cases[i].changes,
                     same ? "the same" : "other");
    }
}

/* ---- shards ---- */

#define INDEX "model.safetensors.index.json"
#define SHARD "model-00002-of-00004.safetensors"

static void index_file(void **state)
{
    (void)state;
    static const struct {
        const char *changes, *words;
    } cases[] = {
        {"{\"weight_map\": null}", INDEX ": weight_map must be there and an object"},
        {"{\"weight_map\": []}", INDEX ": weight_map must be there and an object"},
        {"{\"weight_map\": {}}", INDEX ": weight_map names 0 files; it may name 1 to 4096"},
        {"{\"weight_map\": {\"a\": 3}}",
         "the file of tensor 'a' is no string; it may be a name that"},
        {"{\"weight_map\": {\"a\": \"../x.safetensors\"}}",
         "the file of tensor 'a' is '../x.safetensors'; it may be a name that ends in "
         ".safetensors"},
        {"{\"weight_map\": {\"a\": \"/x.safetensors\"}}",
         "the file of tensor 'a' is '/x.safetensors'"},
        {"{\"weight_map\": {\"a\": \"x.bin\"}}", "the file of tensor 'a' is 'x.bin'; it may be"},
        {"{\"weight_map\": {\"a\": \"gone.safetensors\"}}",
         "gone.safetensors: cannot be opened: No such file or directory"},
        {"{\"weight_map\": {\"a\": \"" SHARD "\"}}", "tensor 'a' is not in " SHARD},
        {"{\"weight_map\": {\"model.layers.0.mlp.up_proj.weight\": \"" SHARD "\"}}",
         "the index names 1 tensors, but its files hold "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct folder folder = copy_of("llama3");
        change(&folder, INDEX, cases[i].changes);
        refused(&folder, cases[i].words);
    }
    struct folder folder = copy_of("llama3");
    write_file(&folder, INDEX, "{\"weight_map\": ", 15);
    refused(&folder, INDEX ": is no valid JSON, at byte ");
    folder = copy_of("llama3");
    remove_file(&folder, SHARD);
    refused(&folder, SHARD ": cannot be opened: No such file or directory");
    folder = copy_of("llama3");
    remove_file(&folder, INDEX);
    refused(&folder, "model.safetensors: cannot be opened: No such file or directory");
    folder = copy_of("llama3");
    size_t size;
    char *bytes = read_file(&folder, SHARD, &size);
    write_file(&folder, SHARD, bytes, size - 1);
    free(bytes);
    refused(&folder, SHARD ": tensor ");
}

/* ---- tensors ---- */

/* Give a tensor of a file another name of the same length. */
static void rename_tensor(const struct folder *folder, const char *file, const char *from,
                          const char *to)
{
    size_t size, length = strlen(from);
    char *bytes = read_file(folder, file, &size);
    assert_int_equal(length, strlen(to));
    int found = 0;
    for (size_t i = 0; i + length <= size; i++)
        if (memcmp(bytes + i, from, length) == 0) {
            memcpy(bytes + i, to, length);
            found++;
        }
    assert_int_equal(found, 1);
    write_file(folder, file, bytes, size);
    free(bytes);
}

static void tensors(void **state)
{
    (void)state;
    static const struct {
        const char *name, *from, *to, *words;
    } cases[] = {
        {"qwen2", "layers.1.self_attn.q_proj.bias", "layers.1.self_attn.x_proj.bias",
         "tensor 'layers.1.self_attn.q_proj.bias' is missing"},
        {"qwen3", "layers.0.self_attn.q_norm.weight", "layers.0.self_attn.x_norm.weight",
         "tensor 'layers.0.self_attn.q_norm.weight' is missing"},
        {"gpt2", "h.1.attn.c_attn.bias", "h.1.attn.c_attn.xxxx",
         "tensor 'h.1.attn.c_attn.bias' is missing"},
        {"gpt2", "transformer.ln_f.bias", "transformer.h.0.xbias", "tensor 'ln_f.bias' is missing"},
        {"smollm2", "layers.1.mlp.up_proj.bias", "layers.1.mlp.xp_proj.bias",
         "mlp_bias is true, but tensor 'model.layers.1.mlp.up_proj.weight' has no bias"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct folder folder = copy_of(cases[i].name);
        rename_tensor(&folder, "model.safetensors", cases[i].from, cases[i].to);
        refused(&folder, cases[i].words);
    }
}

/* ---- the tokenizer ---- */

static void ends(void **state)
{
    (void)state;
    static const struct {
        const char *name, *file, *changes;
        int32_t end, other, none;
    } cases[] = {
        {"llama3", NULL, NULL, 299, 65, 66},
        {"llama3", "generation_config.json", "{\"eos_token_id\": 7}", 7, 7, 299},
        {"llama3", "generation_config.json", "{\"eos_token_id\": null}", 299, 299, 65},
        {"gpt2", NULL, NULL, 299, 299, 65},
        {"gpt2", "config.json", "{\"eos_token_id\": [5, 3]}", 5, 3, 299},
        {"gpt2", "config.json", "{\"eos_token_id\": null}", -1, -1, 299},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct folder folder = copy_of(cases[i].name);
        const struct tokenizer *tokenizer;
        if (cases[i].file != NULL)
            change(&folder, cases[i].file, cases[i].changes);
        struct model *model = open_folder(&folder);
        assert_true(model_tokenizer(model, &tokenizer, NULL));
        assert_int_equal(tokenizer_end_id(tokenizer), cases[i].end);
        assert_int_equal(tokenizer_ends_text(tokenizer, cases[i].end), cases[i].end >= 0);
        assert_int_equal(tokenizer_ends_text(tokenizer, cases[i].other), cases[i].end >= 0);
        assert_false(tokenizer_ends_text(tokenizer, cases[i].none));
        assert_int_equal(tokenizer_first_id(tokenizer), i < 3 ? 299 : -1);
        model_close(model);
        remove_folder(&folder);
    }
    static const char *const wrong[] = {"{\"eos_token_id\": 300}", "{\"eos_token_id\": -1}",
                                        "{\"eos_token_id\": [3, \"x\"]}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct folder folder = copy_of("llama3");
        struct failure f = {""};
        const struct tokenizer *tokenizer;
        change(&folder, "generation_config.json", wrong[i]);
        struct model *model = open_folder(&folder);
        assert_false(model_tokenizer(model, &tokenizer, &f));
        assert_null(tokenizer);
        assert_non_null(strstr(
            f.message, "generation_config.json: eos_token_id must be integers from 0 to 299"));
        model_close(model);
        remove_folder(&folder);
    }
}

/* The model of qwen2 scores four tokens more than its tokenizer has: they have no text and no text has them. */
static void padding(void **state)
{
    (void)state;
    struct folder folder = copy_of("qwen2");
    struct model *model = open_folder(&folder);
    const struct tokenizer *tokenizer;
    assert_true(model_tokenizer(model, &tokenizer, NULL));
    assert_int_equal(model_describe(model)->vocabulary, 304);
    assert_int_equal(tokenizer_size(tokenizer), 304);
    for (int32_t id = 300; id < 304; id++) {
        assert_int_equal(tokenizer_piece(tokenizer, id).bytes, 0);
        assert_int_equal(tokenizer_bytes(tokenizer, id).bytes, 0);
        assert_false(tokenizer_is_word(tokenizer, id));
    }
    assert_true(tokenizer_bytes(tokenizer, 298).bytes > 0);
    struct token_list list;
    assert_true(tokenizer_encode(tokenizer, (struct text){"", 0},
                                 (struct encode_options){.parse_special = true}, &list, NULL));
    assert_int_equal(list.count, 0);
    token_list_free(&list);
    model_close(model);
    remove_folder(&folder);
}

int main(void)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(settings),   cmocka_unit_test(rotary),  cmocka_unit_test(words),
        cmocka_unit_test(index_file), cmocka_unit_test(tensors), cmocka_unit_test(ends),
        cmocka_unit_test(padding),
    };
    return cmocka_run_group_tests_name("model_folders", all, NULL, NULL);
}
