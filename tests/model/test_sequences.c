/* Several texts of one length in one run: each has the attention it has alone, layer by layer, in models with
 * rotary positions and with learned ones. Not to the bit: oneDNN may add the terms of a product in another order
 * where there are more rows. */
#include "model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tiny_model.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 3, LENGTH = 21, LAYERS = 8 };

/* The lse of every layer, [layers, sequences, heads, length]. */
struct kept {
    int64_t sequences;
    float *lse;
};

static bool keep(void *context, const struct model_attention *attention, struct failure *f)
{
    (void)f;
    struct kept *kept = context;
    assert_int_equal(attention->problem->batch, kept->sequences);
    assert_int_equal(attention->problem->queries, LENGTH);
    size_t each = (size_t)kept->sequences * TINY_HEADS * LENGTH;
    assert_true(attention->layer < LAYERS);
    memcpy(kept->lse + (size_t)attention->layer * each, attention->args->lse, each * sizeof(float));
    return true;
}

static float *run(const struct model *model, const int32_t *tokens, int64_t sequences)
{
    struct kept kept = {sequences,
                        calloc((size_t)(LAYERS * sequences) * TINY_HEADS * LENGTH, sizeof(float))};
    struct model_observer observer = {.context = &kept, .after_attention = keep};
    struct model_request request = model_request_init();
    request.sequences = sequences;
    request.observer = &observer;
    struct failure f = {""};
    assert_non_null(kept.lse);
    if (!model_run(model, tokens, sequences * LENGTH, &request, &f))
        fail_msg("%s", f.message);
    return kept.lse;
}

/* Each layer multiplies five times one after the other (q and k, the output, and twice or thrice in the feed-forward
 * part), by sums of at most TINY_FEED terms; each sum errs by a unit in the last place a term at most, and what
 * is normalised after it is of the order of 1. A text that saw another's tokens would be off by far more. */
static void check_close(const float *together, const float *alone, int64_t layer)
{
    const float bound = 5.0f * TINY_FEED * FLT_EPSILON * (float)(layer + 1);
    for (int i = 0; i < TINY_HEADS * LENGTH; i++)
        if (!(fabsf(together[i] - alone[i]) <= bound * (1 + fabsf(alone[i]))))
            fail_msg("layer %d, lse %d: %.9g together, %.9g alone, within %.3g", (int)layer, i,
                     (double)together[i], (double)alone[i], (double)bound);
}

static void check_model(struct tiny_model *tiny)
{
    struct model *model;
    struct failure f = {""};
    int32_t tokens[SEQUENCES * LENGTH];
    for (int i = 0; i < SEQUENCES * LENGTH; i++)
        tokens[i] = (i * i + 3 * i + i / LENGTH) % TINY_VOCABULARY;
    tiny_write_gguf(tiny);
    if (!model_open(&model, tiny->path, &f))
        fail_msg("%s", f.message);
    const int64_t layers = model_describe(model)->layers;
    float *together = run(model, tokens, SEQUENCES);
    for (int64_t s = 0; s < SEQUENCES; s++) {
        float *alone = run(model, tokens + s * LENGTH, 1);
        for (int64_t l = 0; l < layers; l++)
            check_close(together + (l * SEQUENCES + s) * TINY_HEADS * LENGTH,
                        alone + l * TINY_HEADS * LENGTH, l);
        free(alone);
    }
    free(together);
    model_close(model);
    tiny_free(tiny);
}

static void gemma3(void **state)
{
    (void)state;
    check_model(tiny_gemma3(3));
}

static void bert(void **state)
{
    (void)state;
    check_model(tiny_bert(4, false));
}

static void refused(void **state)
{
    (void)state;
    struct tiny_model *tiny = tiny_gemma3(3);
    tiny_write_gguf(tiny);
    struct model *model;
    struct failure f = {""};
    assert_true(model_open(&model, tiny->path, &f));
    int32_t tokens[12] = {0};
    float nll[12];
    struct model_request request = model_request_init();
    request.sequences = 5;
    assert_false(model_run(model, tokens, 12, &request, &f));
    assert_string_equal(f.message, "12 tokens are not 5 sequences of one length");
    request.sequences = 0;
    assert_false(model_run(model, tokens, 12, &request, &f));
    assert_string_equal(f.message, "12 tokens are not 0 sequences of one length");
    request.sequences = 3;
    request.nll = nll;
    assert_false(model_run(model, tokens, 12, &request, &f));
    assert_string_equal(f.message, "3 sequences at once have no output; it may be one");
    model_close(model);
    tiny_free(tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemma3),
        cmocka_unit_test(bert),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
