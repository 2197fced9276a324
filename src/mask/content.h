/* Masks whose content is data: booleans, biases with -inf, documents, block lists. They are read where and
 * when a block meets them; a block in which they leave nothing is skipped before any product. */
#ifndef ATTN_MASK_CONTENT_H
#define ATTN_MASK_CONTENT_H

#include <attn/scores.h>

#include "base/mask_loops.h"
#include "mask/mask.h"

/* What applies to one (sequence, query head); a NULL pointer is a mask that is not there. */
struct attn_content {
    const struct attn_mask_loops *loops;
    attn_mask_kind kind;
    const uint8_t *mask; /* row i at mask + i * mask_stride */
    int64_t mask_stride;
    attn_dtype bias_dtype;
    const void *bias; /* row i at element i * bias_stride */
    int64_t bias_stride;
    const int32_t *query_documents, *key_documents;
    int64_t block_rows, block_keys;
    const int64_t *block_starts; /* of the head: its row blocks */
    const int32_t *block_indices;
};

/* What the masks make of rows x keys, neither empty. FULL is said only where it is certain. */
enum attn_tile attn_content_tile(const struct attn_content *content, int64_t row_begin,
                                 int64_t row_end, int64_t key_begin, int64_t key_end);

/* visible[j], 0 or 1, <- 0 for every key key_begin + j, j < keys, that a mask hides from the row. */
void attn_content_row(const struct attn_content *content, int64_t row, int64_t key_begin, int keys,
                      uint8_t *visible);

#endif
