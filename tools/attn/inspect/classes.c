/* Mass by class of token; see classes.h. */
#include "classes.h"

#include <stdlib.h>

static bool is_special(enum token_class class)
{
    return class == TOKEN_CLASS_FIRST || class == TOKEN_CLASS_SEPARATOR ||
           class == TOKEN_CLASS_CONTROL;
}

bool classes_create(struct classes *classes, const struct inspected_token *tokens, int64_t count,
                    struct failure *f)
{
    *classes = (struct classes){0};
    classes->segment_ids = malloc((size_t)count + 1);
    if (!classes->segment_ids)
        return fail(f, "out of memory for %lld tokens", (long long)count);
    for (int64_t i = 0; i < count; i++) {
        classes->segment_ids[i] = (uint8_t)tokens[i].class;
        if (!is_special(tokens[i].class) || classes->specials == CLASSES_SPECIALS)
            continue;
        int own = classes->specials++;
        classes->special_token[own] = i;
        classes->special_class[own] = tokens[i].class;
        classes->segment_ids[i] = (uint8_t)(TOKEN_CLASS_COUNT + own);
    }
    classes->segments = TOKEN_CLASS_COUNT + classes->specials;
    return true;
}

void classes_destroy(struct classes *classes)
{
    free(classes->segment_ids);
    *classes = (struct classes){0};
}

void classes_masses(const struct classes *classes, const attn_head_summary *summary,
                    double masses[TOKEN_CLASS_COUNT])
{
    for (int c = 0; c < TOKEN_CLASS_COUNT; c++)
        masses[c] = summary->mass_segments[c];
    for (int i = 0; i < classes->specials; i++)
        masses[classes->special_class[i]] += summary->mass_segments[TOKEN_CLASS_COUNT + i];
}

double classes_special(const struct classes *classes, const attn_head_summary *summary,
                       double sink_above)
{
    double mass = 0.0;
    for (int c = 0; c < TOKEN_CLASS_COUNT; c++)
        if (is_special((enum token_class)c))
            mass += summary->mass_segments_label[c];
    for (int i = 0; i < classes->specials; i++) {
        bool sink = false;
        for (int s = 0; s < ATTN_SUMMARY_SINKS; s++)
            sink |= summary->sinks[s].key == classes->special_token[i] &&
                    summary->sinks[s].mass > sink_above;
        if (!sink)
            mass += summary->mass_segments_label[TOKEN_CLASS_COUNT + i];
    }
    return mass;
}
