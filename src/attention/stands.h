/* Where keys of a cache stand, as statistics that go by positions want it; nothing where each stands at its
 * index. */
#ifndef ATTN_ATTENTION_STANDS_H
#define ATTN_ATTENTION_STANDS_H

#include "attention/run.h"

/* The borders of rows [row_begin, row_begin + rows), into scratch->borders. */
void attn_stands_rows(const struct attn_plan *plan, const struct attn_mask *mask, int64_t row_begin,
                      int rows, const struct attn_scratch *scratch);

/* Where keys [key_begin, key_begin + keys) stand, into scratch->stands. */
void attn_stands_keys(const struct attn_mask *mask, int64_t key_begin, int keys,
                      const struct attn_scratch *scratch);

#endif
