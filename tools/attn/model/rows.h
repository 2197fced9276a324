/* What is done to each row of activations on its own: norms, the rotary embedding, activations.
 *
 * Written as plain loops over contiguous floats that compilers turn into vector instructions; the
 * order of every sum depends on its length alone. */
#ifndef ATTN_TOOLS_MODEL_ROWS_H
#define ATTN_TOOLS_MODEL_ROWS_H

#include "architecture.h"

struct norm {
    const float *weight; /* [size]; NULL: there is no such norm */
    const float *bias;   /* [size], or NULL */
};

/* out = norm(x); out may be x. */
void norm_row(enum norm_kind kind, const struct norm *norm, double epsilon, const float *x,
              float *out, int64_t size);

/* x += y. */
void add_row(float *x, const float *y, int64_t size);

/* Turn `size` values of each of `heads` heads, which lie `head_size` apart, by size/2 angles given
 * as cosines and sines. */
void rotate_row(enum rotary_kind kind, float *x, int64_t heads, int64_t head_size, int64_t size,
                const float *cosine, const float *sine);

/* frequency[i] = base^(-2i / size) / factor for i < size / 2: radians per position. */
void rotary_frequencies(double base, double factor, int64_t size, double *frequency);

/* The cosines and sines of `count` angles frequency[i] * position. */
void rotary_angles(const double *frequency, int64_t count, int64_t position, float *cosine,
                   float *sine);

/* x = activation(x), times `up` if it is not NULL. Within 4e-7 of the exact value relative to
 * |x| + tiny. */
void activate_row(enum activation activation, float *x, const float *up, int64_t size);

/* sum of exp(x[i] - shift), for x[i] <= shift. */
double sum_of_exponentials(const float *x, float shift, int64_t size);

/* x . y */
double dot_row(const float *x, const float *y, int64_t size);

#endif
