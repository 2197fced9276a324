/* Every figure of every head by the plainest loops in double: weights row by row as the specification has
 * them (ref/), everything above the rows by loops of this file. */
#ifndef ATTN_TESTS_INSPECT_PLAIN_HEADS_H
#define ATTN_TESTS_INSPECT_PLAIN_HEADS_H

#include "inspect/inspection.h"

enum { MOST_TOKENS = 320, TOP = ATTN_SUMMARY_SINKS };

struct plain_head {
    double entropy_all, max_weight_all;
    double entropy, entropy_sd, entropy_min, entropy_max, normalized, deficit, without_sinks;
    double effective, participation, max_weight, max_logit, max_score, varentropy;
    double first4, self, previous, next, local, distance, distance_sd;
    double classes[TOKEN_CLASS_COUNT], special_label, normalized_label, previous_label;
    int64_t voting, sink_key[TOP];
    double sink_mass[TOP];
};

struct plain {
    const struct inspection *in;
    struct plain_head *heads; /* [layers, heads] */
};

/* after_attention of an observer whose context is a struct plain. */
bool plain_watch(void *context, const struct model_attention *a, struct failure *f);

#endif
