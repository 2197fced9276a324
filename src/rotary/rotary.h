/* Between the two halves of this room: a checked description, and its frequencies. */
#ifndef ATTN_ROTARY_ROTARY_H
#define ATTN_ROTARY_ROTARY_H

#include <attn/rotary.h>

/* Everything of *rotary but what its frequencies come to. Errors: NULL, STRUCT_SIZE, SHAPE, ALIGNMENT,
 * VALUE. */
attn_status attn_rotary_check(const attn_rotary *rotary, attn_error *error);

/* The frequencies [size / 2] and the length factor of a checked description. Errors: VALUE where they are
 * not finite. */
attn_status attn_rotary_fill(const attn_rotary *rotary, double *frequencies, double *length_factor,
                             attn_error *error);

#endif
