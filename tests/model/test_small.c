/* Small random models of every architecture with byte-level BPE, against transformers in double precision:
 * golden/make_small.py made those in GGUF files, golden/make_folders.py those that transformers saved itself. The ids of the prompt, -ln p of each of its tokens, logits along the way,
 * and tokens written greedily must be the same, in one pass and token by token.
 *
 * Tolerance: logits are of size 1 to 10. transformers makes its angles in f32, up to 210 radians each
 * within 6e-8 of itself, 1.3e-5. Our activations are f32: three layers of norms, products of up to 40 terms
 * and a softmax add some tens of roundings of 6e-8 of the largest terms. That is 5e-5 at most (4e-6 was
 * seen), while the two best logits of every written token differ by more than 1e-2, and any part of a layer
 * left out or put in the wrong place moves logits by more than 0.01. */
#include "model/model.h"
#include "model/session.h"
#include "tokenizer/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 5e-5

struct small {
    struct model *model;
    const struct tokenizer *tokenizer;
    json_t *golden;
    int64_t count; /* of the prompt */
    int32_t *ids;
    int64_t vocabulary;
};

static double number_at(const json_t *array, int64_t i)
{
    return json_number_value(json_array_get(array, (size_t)i));
}

/* golden/<name>.json, and the model golden/<name><ending>. */
static struct small open_small(const char *name, const char *ending)
{
    struct small s = {0};
    char path[512];
    json_error_t error;
    struct failure f = {""};
    snprintf(path, sizeof path, "%s/tests/model/golden/%s.json", ATTN_SOURCE_DIR, name);
    s.golden = json_load_file(path, 0, &error);
    if (s.golden == NULL)
        fail_msg("%s: %s", path, error.text);
    snprintf(path, sizeof path, "%s/tests/model/golden/%s%s", ATTN_SOURCE_DIR, name, ending);
    if (!model_open(&s.model, path, &f) || !model_tokenizer(s.model, &s.tokenizer, &f))
        fail_msg("%s", f.message);
    s.vocabulary = model_describe(s.model)->vocabulary;
    const json_t *list = json_object_get(s.golden, "ids");
    s.count = (int64_t)json_array_size(list);
    s.ids = malloc((size_t)s.count * sizeof *s.ids);
    for (int64_t i = 0; i < s.count; i++)
        s.ids[i] = (int32_t)number_at(list, i);
    return s;
}

static void close_small(struct small *s)
{
    free(s->ids);
    json_decref(s->golden);
    model_close(s->model);
}

/* The text of the prompt becomes the same ids, and comes back. */
static void check_ids(const struct small *s)
{
    const char *prompt = json_string_value(json_object_get(s->golden, "prompt"));
    struct token_list list;
    struct failure f = {""};
    if (!tokenizer_encode(s->tokenizer, (struct text){prompt, strlen(prompt)},
                          (struct encode_options){.add_special = true}, &list, &f))
        fail_msg("%s", f.message);
    assert_int_equal(list.count, s->count);
    for (int64_t i = 0; i < s->count; i++)
        assert_int_equal(list.tokens[i].id, s->ids[i]);
    token_list_free(&list);
    char *back;
    size_t bytes;
    assert_true(tokenizer_decode(s->tokenizer, s->ids, (size_t)s->count, &back, &bytes, NULL));
    assert_string_equal(back, prompt);
    free(back);
}

static double worst_off(const float *ours, const json_t *expected, int64_t count)
{
    double worst = 0;
    assert_int_equal(json_array_size(expected), count);
    for (int64_t i = 0; i < count; i++) {
        double off = fabs((double)ours[i] - number_at(expected, i));
        worst = off <= worst ? worst : off; /* NaN stays */
    }
    return worst;
}

/* The whole prompt at once: -ln p of each token, and what is likeliest at the end. */
static double check_pass(const struct small *s)
{
    float *nll = malloc((size_t)s->count * sizeof *nll);
    int32_t *argmax = malloc((size_t)s->count * sizeof *argmax);
    struct model_request request = model_request_init();
    struct failure f = {""};
    request.executor = attn_default_executor();
    request.nll = nll;
    request.argmax = argmax;
    if (!model_run(s->model, s->ids, s->count, &request, &f))
        fail_msg("%s", f.message);
    assert_int_equal(argmax[s->count - 1],
                     (int32_t)number_at(json_object_get(s->golden, "greedy"), 0));
    double worst = worst_off(nll, json_object_get(s->golden, "nll"), s->count - 1);
    free(nll);
    free(argmax);
    return worst;
}

static void step(struct session *session, const int32_t *tokens, int64_t count, float *logits)
{
    struct failure f = {""};
    struct session_wanted wanted = session_wanted_init();
    wanted.logits = logits;
    if (!session_step(session, tokens, count, &wanted, &f))
        fail_msg("%s", f.message);
}

/* The prompt up to each of the positions, then token by token as they are written. */
static double check_session(const struct small *s)
{
    const json_t *positions = json_object_get(s->golden, "positions");
    const json_t *expected = json_object_get(s->golden, "logits");
    const json_t *greedy = json_object_get(s->golden, "greedy");
    int64_t read = 0, written = (int64_t)json_array_size(greedy);
    float *logits = malloc((size_t)s->vocabulary * sizeof *logits);
    struct session_options options = session_options_init();
    struct session *session;
    struct failure f = {""};
    double worst = 0;
    options.capacity = s->count + written;
    options.executor = attn_default_executor();
    if (!session_create(&session, s->model, &options, &f))
        fail_msg("%s", f.message);
    for (size_t i = 0; i < json_array_size(positions); i++) {
        int64_t end = (int64_t)number_at(positions, (int64_t)i) + 1;
        step(session, s->ids + read, end - read, logits);
        read = end;
        double off = worst_off(logits, json_array_get(expected, i), s->vocabulary);
        worst = off <= worst ? worst : off;
    }
    assert_int_equal(read, s->count);
    for (int64_t i = 0; i < written; i++) {
        int32_t best = 0;
        for (int32_t t = 1; t < s->vocabulary; t++)
            best = logits[t] > logits[best] ? t : best;
        assert_int_equal(best, (int32_t)number_at(greedy, i));
        step(session, &best, 1, logits);
    }
    double off = worst_off(logits, json_object_get(s->golden, "final"), s->vocabulary);
    session_free(session);
    free(logits);
    return off <= worst ? worst : off;
}

static void check(const char *name, const char *ending, const char *architecture)
{
    struct small s = open_small(name, ending);
    assert_string_equal(model_describe(s.model)->architecture, architecture);
    check_ids(&s);
    double nll = check_pass(&s), logits = check_session(&s);
    print_message("%s%s: -ln p off by at most %.1e, logits by %.1e\n", name, ending, nll, logits);
    assert_true(nll <= TOLERANCE);
    assert_true(logits <= TOLERANCE);
    close_small(&s);
}

static void llama3(void **state)
{
    (void)state;
    check("small-llama3", ".gguf", "llama");
}

static void smollm2(void **state)
{
    (void)state;
    check("small-smollm2", ".gguf", "llama");
}

static void qwen2(void **state)
{
    (void)state;
    check("small-qwen2", ".gguf", "qwen2");
}

static void qwen3(void **state)
{
    (void)state;
    check("small-qwen3", ".gguf", "qwen3");
}

static void gpt2(void **state)
{
    (void)state;
    check("small-gpt2", ".gguf", "gpt2");
}

static void llama3_folder(void **state)
{
    (void)state;
    check("folder-llama3", "", "llama");
}

static void smollm2_folder(void **state)
{
    (void)state;
    check("folder-smollm2", "", "llama");
}

static void qwen2_folder(void **state)
{
    (void)state;
    check("folder-qwen2", "", "qwen2");
}

static void qwen3_folder(void **state)
{
    (void)state;
    check("folder-qwen3", "", "qwen3");
}

static void gpt2_folder(void **state)
{
    (void)state;
    check("folder-gpt2", "", "gpt2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama3),         cmocka_unit_test(smollm2),
        cmocka_unit_test(qwen2),          cmocka_unit_test(qwen3),
        cmocka_unit_test(gpt2),           cmocka_unit_test(llama3_folder),
        cmocka_unit_test(smollm2_folder), cmocka_unit_test(qwen2_folder),
        cmocka_unit_test(qwen3_folder),   cmocka_unit_test(gpt2_folder),
    };
    return cmocka_run_group_tests_name("model_small", tests, NULL, NULL);
}
