/* The tiny models once more, by plain loops in double that share nothing with the program: no
 * chunks, no tables, no library. */
#ifndef ATTN_TESTS_PLAIN_MODEL_H
#define ATTN_TESTS_PLAIN_MODEL_H

#include "tiny_model.h"

/* Everything that a run can be asked for; doubles. */
struct plain_result {
    double *hidden;       /* [count, TINY_WIDTH] */
    double *nll;          /* [count - 1]; gemma3 */
    double *logits;       /* [count, TINY_VOCABULARY]; gemma3 */
    double *embedding;    /* [TINY_WIDTH]; bert */
    double *contribution; /* [layers, TINY_HEADS] */
};

struct plain_result *plain_gemma3(const struct tiny_model *model, const int32_t *tokens, int count);
struct plain_result *plain_bert(const struct tiny_model *model, bool safetensors,
                                const int32_t *tokens, int count);
void plain_free(struct plain_result *result);

#endif
