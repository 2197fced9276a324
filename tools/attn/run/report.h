/* What `attn run` tells beside the text: a line for each token with --stats, timings, JSON. */
#ifndef ATTN_RUN_REPORT_H
#define ATTN_RUN_REPORT_H

#include "generate.h"

#include <stdio.h>

/* What the figures were made with. */
struct run_settings {
    const struct generation_options *options;
    const char *cache_type; /* "f32" */
    int threads;
    char path[16]; /* of the kernels: "avx512" */
};

/* The heading of the table, and the line of token `at` of g->token: its text, the mean entropy of each layer as
 * a share of the most it could be (a glyph each), the mean of all, the most peaked head and its keys. */
void tell_heading(FILE *stream, const struct generation *g);
void tell_choice(FILE *stream, const struct generation *g, int64_t at);

/* Three lines. */
void tell_timings(FILE *stream, const struct generation *g, const struct run_settings *settings);

/* One object. False without memory. */
bool tell_json(FILE *stream, const struct generation *g, const struct run_settings *settings);

#endif
