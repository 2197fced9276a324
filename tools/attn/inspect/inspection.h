/* What `attn inspect` has found out about a model on a text: filled by measure.h, read by the reports.
 *
 * Nothing here knows how a figure was measured or how it is shown. NaN = not measured. Layers, heads,
 * tokens and rows count from 0. */
#ifndef ATTN_INSPECT_INSPECTION_H
#define ATTN_INSPECT_INSPECTION_H

#include "../base/text.h"
#include "../model/model.h"
#include "../tokenizer/tokenizer.h"
#include "sha256.h"

#include <attn/summary.h>

struct inspected_token {
    int32_t id;
    struct text piece; /* what to show; untrusted: escape it (escape.h) */
    bool space_before; /* the text has white space here that belongs to no token (WordPiece) */
    enum token_class class;
};

/* A score of the repeated random probe: mean over its seeds, and the spread between them. */
struct probe_score {
    double mean, sd;
};

struct inspected_head {
    int64_t layer, head, kv_head;
    attn_head_summary summary;
    double mass_classes[TOKEN_CLASS_COUNT]; /* means over the rows that vote; they add up to 1 */
    struct probe_score induction, duplicate, previous_probe;
    double contribution_norm;       /* mean over rows of the length of what it adds */
    double contribution_norm_ratio; /* relative to the mean of its layer's heads */
    attn_label_scores scores;       /* over the rows that labels look at */
    uint32_t labels;                /* ATTN_LABEL_* bits */
    int64_t rows_not_finite; /* rows with a NaN or infinite entropy, left out of every figure */
};

enum { DETAIL_QUERIES = 8, DETAIL_KEYS = 5 };

/* One query of the head that was asked for, and the keys it looks at most. */
struct detail_query {
    int64_t query;
    int keys; /* how many of the following are there */
    int64_t key[DETAIL_KEYS];
    double weight[DETAIL_KEYS];
};

/* A closer look at one head (--head). */
struct head_detail {
    bool present;
    int64_t layer, head;
    int64_t row_begin, row_end; /* the rows looked at */
    float *column_mass;         /* [tokens], over all rows */
    int32_t *column_viewers;    /* [tokens] */
    double
        *distance_mass; /* [tokens]: weight at |distance| = d, the mean over the rows looked at */
    int queries;
    struct detail_query query[DETAIL_QUERIES];
};

struct inspection {
    const struct model_description *model;
    char model_sha256[SHA256_TEXT]; /* "" = not computed */
    const char *tokenizer;          /* what kind */

    const char *text_name; /* the file's, "standard input", or "built-in text" */
    char text_sha256[SHA256_TEXT];
    int64_t tokens;
    int64_t text_tokens; /* how many the whole text has; more than `tokens` if it was cut */
    struct inspected_token *token; /* [tokens] */

    attn_label_rules rules;
    attn_key_range label_keys; /* labels look at rows that see low <= n < high keys */

    int64_t layers;              /* how many were inspected */
    int64_t *layer;              /* [layers], ascending */
    int64_t layer_heads;         /* heads of one layer */
    int64_t heads;               /* layers * layer_heads */
    struct inspected_head *head; /* [heads], by layer, then by head */

    int probe_seeds; /* 0: the probe was not run */
    struct head_detail detail;

    char cpu_path[16];
    int threads;
    double seconds; /* from the first token to the last figure */
};

/* Free what the inspection owns: token, layer, head, detail. */
void inspection_free(struct inspection *in);

/* How many heads have this ATTN_LABEL_* bit; 0 asks for those that have none. */
int64_t inspection_count_label(const struct inspection *in, uint32_t label);

#endif
