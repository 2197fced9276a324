/* Distances from one position to a run of keys, exact wherever f32 can tell them.
 *
 * A position outside of the run is taken in two steps: from it to the nearest key of the run, then on to
 * each key. |start - j| = |start - beyond - j| + |beyond|, of which only the last may be too large for f32. */
#ifndef ATTN_KERNELS_DISTANCE_BODY_H
#define ATTN_KERNELS_DISTANCE_BODY_H

#include <stdint.h>

#include "kernels/simd/simd.h"

/* How far a position `start` keys behind the first of `count` lies outside of them, signed; 0 inside. */
INLINE int64_t distance_beyond(int64_t start, int count)
{
    return start < 0 ? start : start >= count ? start - (count - 1) : 0;
}

#endif
