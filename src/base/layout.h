/* What a layout reaches: whether its addresses can be told, and whether elements share a place. Extents are
 * 0 or more; the stride of an axis of one element is never used and may be anything. */
#ifndef ATTN_BASE_LAYOUT_H
#define ATTN_BASE_LAYOUT_H

#include <attn/attn.h>

#include "base/sizes.h"

static inline bool attn_layout_is_empty(const int64_t extent[4])
{
    return extent[0] == 0 || extent[1] == 0 || extent[2] == 0 || extent[3] == 0;
}

/* The bytes between the first and the last element must be told by an int64_t. */
static inline bool attn_layout_span_fits(const attn_layout *layout, const int64_t extent[4])
{
    int64_t span = 1;
    for (int axis = 0; axis < 4; axis++) {
        int64_t stride = layout->stride[axis], reach;
        if (extent[axis] <= 1)
            continue;
        if (stride == INT64_MIN ||
            !attn_int64_mul(&reach, stride < 0 ? -stride : stride, extent[axis] - 1) ||
            !attn_int64_add(&span, span, reach))
            return false;
    }
    return span <= INT64_MAX / 16;
}

/* Whether no two elements share a place: from the smallest stride up, each must step over all that the
 * smaller ones reach. (Enough, and true of every layout in use.) Only where the span fits. */
static inline bool attn_layout_is_injective(const attn_layout *layout, const int64_t extent[4])
{
    bool done[4] = {false, false, false, false};
    int64_t reach = 0;
    for (int step = 0; step < 4; step++) {
        int least = -1;
        int64_t least_stride = 0;
        for (int axis = 0; axis < 4; axis++) {
            int64_t stride = layout->stride[axis];
            if (done[axis] || extent[axis] <= 1)
                continue;
            stride = stride < 0 ? -stride : stride;
            if (least < 0 || stride < least_stride) {
                least = axis;
                least_stride = stride;
            }
        }
        if (least < 0)
            break;
        done[least] = true;
        if (least_stride <= reach)
            return false;
        reach += least_stride * (extent[least] - 1);
    }
    return true;
}

#endif
