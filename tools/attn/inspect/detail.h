/* The exact weights of one head, in blocks of rows so that memory stays bounded, and what the closer look
 * (--head) keeps of them. */
#ifndef ATTN_INSPECT_DETAIL_H
#define ATTN_INSPECT_DETAIL_H

#include "inspection.h"
#include "npz.h"

/* Receives rows [row, row + count): weights[count, keys]. */
typedef bool (*weights_receiver)(void *context, int64_t row, int64_t count, const float *weights,
                                 struct failure *f);

/* Compute the weights of rows [begin, end) of one head, from first to last. About 16 MB at a time. */
bool head_weights(const struct model_attention *attention, int64_t head, int64_t begin, int64_t end,
                  weights_receiver receiver, void *context, const volatile sig_atomic_t *stop,
                  struct failure *f);

/* Fill in->detail, whose layer, head, row_begin and row_end are set, from a layer's attention: distance
 * histogram, top keys of some queries; columns are copied from the arrays given ([tokens], of this head).
 * With `z`, the rows are written there too; it is not committed. */
bool detail_measure(struct inspection *in, const struct model_attention *attention,
                    const float *column_mass, const int32_t *column_viewers, struct npz *z,
                    const volatile sig_atomic_t *stop, struct failure *f);

#endif
