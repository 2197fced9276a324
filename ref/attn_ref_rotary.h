/* The specification of attn/rotary.h, by plain loops in double. Descriptions are trusted. */
#ifndef ATTN_REF_ROTARY_H
#define ATTN_REF_ROTARY_H

#include "attn/rotary.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The frequency of pair `pair` (0 .. size/2 - 1), and the factor of lengths. */
double attn_ref_rotary_frequency(const attn_rotary *rotary, int64_t pair);
double attn_ref_rotary_length_factor(const attn_rotary *rotary);

/* One row of one head [head_size], x to y, at `position`; y may be x. */
void attn_ref_rotary_row(const attn_rotary *rotary, int64_t head_size, int64_t position,
                         const double *x, double *y);

/* The channels of pair `pair`. */
void attn_ref_rotary_pair(const attn_rotary *rotary, int64_t pair, int64_t channel[2]);

#ifdef __cplusplus
}
#endif

#endif
