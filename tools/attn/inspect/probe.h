/* The repeated random probe: the first token (BOS or CLS) if the model has one, then 64 words drawn at
 * random from the vocabulary, then the same 64 once more. It has no content, so what a head does there
 * it does by position or by matching tokens:
 *
 *     induction       weight of query i on key i - 63: the token after the earlier occurrence
 *     duplicate       on key i - 64: the earlier occurrence itself
 *     previous_probe  on key i - 1
 *
 * Rows of the second half only; mean over rows, then mean and standard deviation over 8 seeds. 64 is
 * fewer than any usual window. (Elhage et al. 2021; Olsson et al. 2022.) */
#ifndef ATTN_INSPECT_PROBE_H
#define ATTN_INSPECT_PROBE_H

#include "inspection.h"

enum { PROBE_SEEDS = 8, PROBE_WORDS = 64 };

/* Fill the three scores of each inspected head, and in->probe_seeds. A model that cannot take the
 * probe (a context too short, or fewer than 64 words in its vocabulary) keeps NaN and 0. All seeds run
 * at once, as sequences that do not see each other. `progress` is model_request's; it may be NULL. */
bool probe_run(struct inspection *in, const struct model *model, const struct tokenizer *tokenizer,
               const attn_executor *executor, const volatile sig_atomic_t *stop,
               void (*progress)(void *context, int64_t layer, int64_t layers, double done),
               void *progress_context, struct failure *f);

#endif
