/* What the checks of single kernels share: the table under test, memory that ends where it must not be
 * passed, hostile numbers, and comparison within a bound.
 *
 *     float *scores = fenced(count * sizeof *scores);    // a byte behind it faults, one before it is seen
 *     kernels->...
 *     near("score", at, got, expected, bound);
 *     release();                                         // everything fenced since the last time */
#ifndef TESTS_ATTENTION_KERNEL_CHECK_H
#define TESTS_ATTENTION_KERNEL_CHECK_H

#include "attention/random.h"
#include "attn_ref.h"
#include "kernels/table.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

extern const struct attn_kernels *kernels; /* under test */
extern const attn_dtype *kernel_dtypes;    /* of the tensors they pack */
extern int kernel_dtypes_count;

/* The unit roundoff of f32, the first normal number, and the spacing below it. */
#define ROUND 0x1p-24
#define NORMAL 0x1p-126
#define SUBNORMAL 0x1p-149

/* Bytes that end at a page which faults when touched, full of a pattern; zero bytes are allowed. */
void *fenced(size_t bytes);
/* Checks that nothing was written before any of them, and frees them all. */
void release(void);

/* Whether these bytes still hold the pattern of fenced(). */
bool untouched(const void *memory, size_t bytes);

/* Normal numbers of this spread; `hostile`: zeros of both signs, subnormals and the largest among them. */
double number(struct random *random, attn_dtype dtype, double spread, bool hostile);
float *numbers(struct random *random, size_t count, double spread);

/* `rows` rows of `size` elements, `stride` apart (any sign, or 0); what lies between them is NaN. The
 * address of the first row is returned. */
void *rows_of(struct random *random, attn_dtype dtype, int64_t rows, int64_t size, int64_t stride,
              double spread);
int64_t random_stride(struct random *random, int64_t size);

/* The test fails unless got is expected within the bound, the same infinity, or NaN as well. */
void near(const char *what, int64_t at, double got, double expected, double bound);
/* ... unless it is the same number, zeros with their signs, or NaN as well. */
void exactly(const char *what, int64_t at, double got, double expected);

/* check_kernels_cached.c */
void check_cached_scores(void **state);
void check_cached_values(void **state);
void check_widen_cached(void **state);
void check_multiply_row(void **state);

/* check_kernels_pack.c */
void check_pack_queries_and_keys(void **state);
void check_pack_every_half(void **state);
void check_pack_values(void **state);
void check_pack_queries_quads(void **state);
void check_non_finite(void **state);
void check_store_row(void **state);
void check_rescale_row(void **state);
/* check_kernels_products.c */
void check_scores(void **state);
void check_values(void **state);
void check_scores_in_place(void **state);
void check_values_in_place(void **state);
/* check_kernels_softmax.c */
void check_softmax(void **state);
void check_softmax_entropy(void **state);
void check_softmax_all(void **state);
void check_softmax_hostile(void **state);
void check_weights(void **state);
/* check_kernels_shape.c */
void check_softcap(void **state);
void check_add_bias(void **state);
void check_add_distance(void **state);
void check_apply_mask(void **state);
void check_look_at_masks(void **state);
void check_hide_by_masks(void **state);
void check_gather(void **state);
void check_range(void **state);

/* check_kernels_bench.c: nanoseconds of every kernel of the table, and shares of the peak. */
void bench_kernels(double peak_gflops);

#endif
