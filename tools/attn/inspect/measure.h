/* Running a model over a text with somebody watching, and filling an inspection.
 *
 * Each layer's attention runs once with every row statistic; its rows are reduced to head summaries at
 * once and the arrays are used again for the next layer, so memory does not grow with the number of
 * layers. "Entropy without sinks" is a further sweep of scores with the head's four largest sinks hidden,
 * which is exact for every row. */
#ifndef ATTN_INSPECT_MEASURE_H
#define ATTN_INSPECT_MEASURE_H

#include "inspection.h"
#include "npz.h"

struct measure_options {
    const attn_executor *executor;
    attn_label_rules rules;
    const volatile sig_atomic_t *stop; /* NULL = never */

    /* Called with a few words ("layer 3 of 18") and the share that is done, 0 .. 1; NULL = silent. */
    void (*progress)(void *context, const char *what, double done);
    void *progress_context;

    bool probe; /* run the repeated random probe too */

    /* The closer look (--head): with layer >= 0, at rows [row_begin, row_end); written to `npz` if that
     * is not NULL, which is then complete but not committed. */
    int64_t detail_layer, detail_head, row_begin, row_end;
    struct npz *npz;
};

/* Default rules, serial, the probe too, no closer look. */
struct measure_options measure_options_init(void);

/* `in` holds the model, tokens, token[] and layer[] (inspection_choose); everything measured is filled
 * in. On failure `in` is to be freed by the caller all the same. */
bool measure(struct inspection *in, const struct model *model, const struct tokenizer *tokenizer,
             const struct measure_options *options, struct failure *f);

#endif
