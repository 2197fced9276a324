/* Elements of f32, bf16 and f16 read and rounded by arithmetic in double, apart from the library's own ways. */
#ifndef TESTS_ATTENTION_ELEMENTS_H
#define TESTS_ATTENTION_ELEMENTS_H

#include "attn/attn.h"

int64_t dtype_bytes(attn_dtype dtype);

/* Digits of the significand, and the least exponent of a normal number. */
void dtype_format(attn_dtype dtype, int *digits, int *least);

/* Element i of an array; and x rounded to nearest, ties to even, into it. */
double element(const void *array, attn_dtype dtype, int64_t i);
void set_element(void *array, attn_dtype dtype, int64_t i, double x);

#endif
