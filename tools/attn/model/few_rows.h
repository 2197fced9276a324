/* Products of a few rows with weights as the file stores them: what generating a token and reading a short prompt
 * are made of.
 *
 * A weight is unpacked in registers and used at once for up to four rows of x; for more, those of some outputs
 * are unpacked into the nearest caches. Nothing unpacked goes to memory. All is f32, with the weights that dequantise_row gives (Q6_K without fused multiply-add: to a
 * bit). The sum of a row and an output has an order that depends on the number of inputs alone, not on how
 * many rows come with it or who takes which outputs.
 *
 * The body (few_rows_body.h) is compiled once for each kind of vectors. */
#ifndef ATTN_TOOLS_MODEL_FEW_ROWS_H
#define ATTN_TOOLS_MODEL_FEW_ROWS_H

#include "../files/tensor_type.h"

enum {
    FEW_ROWS = 128,  /* up to so many rows */
    UNPACK_ROWS = 4, /* more than that, and weights are unpacked into the nearest caches first */
    UNPACKED_OUTPUTS = 8, /* of so many outputs at a time */
};

/* Floats of room for what is unpacked. */
static inline size_t few_rows_room(int64_t inputs)
{
    return UNPACKED_OUTPUTS * (((size_t)inputs + 31) & ~(size_t)31);
}

/* Outputs [0, outputs) of `rows` rows: out[r * stride + j] = sum over i of x[r * inputs + i] * W[j, i]
 * + bias[j]. */
struct few_rows {
    enum tensor_type type;
    const void *weights; /* row 0 of these outputs, of any alignment */
    size_t row_bytes;
    int64_t inputs, outputs; /* inputs: a whole number of the type's blocks */
    const float *bias;       /* [outputs], or NULL */
    const float *x;          /* [rows, inputs] */
    int64_t rows;            /* 1 .. FEW_ROWS */
    float *out;
    int64_t stride;
    float *unpacked; /* few_rows_room(inputs) floats of room, where rows > UNPACK_ROWS */
};

typedef void few_rows_kernel(const struct few_rows *product);

few_rows_kernel few_rows_portable;
#if defined(__x86_64__)
few_rows_kernel few_rows_avx2, few_rows_avx512;
#endif

/* The kernel of the path that attention takes on this machine (attn_cpu_describe, ATTN_CPU). */
few_rows_kernel *few_rows_choose(void);

#endif
