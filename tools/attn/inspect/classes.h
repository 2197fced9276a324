/* Mass by class of token, through the segments of the library.
 *
 * Segment c < TOKEN_CLASS_COUNT holds the tokens of class c. The first special tokens of a text (BOS,
 * CLS, SEP, other control tokens) get a segment each instead, so that "mass on special tokens other
 * than a sink" can be told for every head, whichever of them is its sink. Specials after the first
 * CLASSES_SPECIALS share the segment of their class and never count as a sink there. */
#ifndef ATTN_INSPECT_CLASSES_H
#define ATTN_INSPECT_CLASSES_H

#include "inspection.h"

enum { CLASSES_SPECIALS = ATTN_SUMMARY_SEGMENTS - TOKEN_CLASS_COUNT };

struct classes {
    uint8_t *segment_ids; /* [tokens] */
    int32_t segments;     /* in use */
    int specials;         /* tokens with a segment of their own: TOKEN_CLASS_COUNT + 0, 1, ... */
    int64_t special_token[CLASSES_SPECIALS];
    enum token_class special_class[CLASSES_SPECIALS];
};

bool classes_create(struct classes *classes, const struct inspected_token *tokens, int64_t count,
                    struct failure *f);
void classes_destroy(struct classes *classes);

/* Means over the rows that vote, by class. */
void classes_masses(const struct classes *classes, const attn_head_summary *summary,
                    double masses[TOKEN_CLASS_COUNT]);

/* Mean mass over the rows that labels look at on special tokens that are not one of the head's sinks,
 * i.e. keys that hold more than `sink_above`. */
double classes_special(const struct classes *classes, const attn_head_summary *summary,
                       double sink_above);

#endif
