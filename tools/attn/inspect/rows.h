/* The arrays that one layer's statistics are written to, used again for every layer. */
#ifndef ATTN_INSPECT_ROWS_H
#define ATTN_INSPECT_ROWS_H

#include "../base/failure.h"

#include <attn/summary.h>

struct row_arrays {
    attn_statistics_wanted wanted;
    attn_statistics statistics;
    void *memory;
};

/* Every row statistic that a summary takes, the columns, and `segments` segments with these ids
 * ([tokens], kept by the caller). */
bool row_arrays_create(struct row_arrays *rows, int64_t heads, int64_t tokens, int32_t segments,
                       const uint8_t *segment_ids, struct failure *f);
void row_arrays_destroy(struct row_arrays *rows);

#endif
