/* The arguments of `attn inspect` that are small languages: lists of layers, one head, a range of rows.
 * Each parser takes nothing but what its comment shows, and the sentence names the option. */
#ifndef ATTN_INSPECT_OPTIONS_H
#define ATTN_INSPECT_OPTIONS_H

#include "../base/failure.h"

#include <stdint.h>

/* "3", "0,5,11", "0-5,17": layers below `layers`, each at most once. *out is malloc'd and ascending; NULL
 * for `text` means all. */
bool parse_layers(const char *text, int64_t layers, int64_t **out, int64_t *count,
                  struct failure *f);

/* Whether `text` is such a list, of whatever layers. */
bool check_layers(const char *text, struct failure *f);

/* "5.2": layer 5, head 2. */
bool parse_head(const char *text, int64_t layers, int64_t heads, int64_t *layer, int64_t *head,
                struct failure *f);

/* "100:200", "100:", ":200": rows [begin, end) of a text of `tokens`; at least one. NULL means all. */
bool parse_rows(const char *text, int64_t tokens, int64_t *begin, int64_t *end, struct failure *f);

#endif
