/* How numbers are stored in model files, and how to turn them into floats.
 *
 * The quantised types keep blocks of 32 or 256 values with one or more scales each. Rows are whole
 * numbers of blocks, so any row of a tensor can be unpacked alone. The ids are those of GGUF files.
 */
#ifndef ATTN_TOOLS_TENSOR_TYPE_H
#define ATTN_TOOLS_TENSOR_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tensor_type {
    TENSOR_UNSUPPORTED = -1, /* a type this program cannot read */
    TENSOR_F32 = 0,
    TENSOR_F16 = 1,
    TENSOR_Q4_0 = 2,
    TENSOR_Q4_1 = 3,
    TENSOR_Q5_0 = 6,
    TENSOR_Q5_1 = 7,
    TENSOR_Q8_0 = 8,
    TENSOR_Q4_K = 12,
    TENSOR_Q5_K = 13,
    TENSOR_Q6_K = 14,
    TENSOR_BF16 = 30,
};

struct tensor_type_info {
    enum tensor_type type;
    const char *name; /* "Q4_K" */
    int block_values; /* values in a block: 1, 32 or 256 */
    int block_bytes;  /* bytes of a block */
};

/* What is known of a type by its id in a GGUF file; NULL for one that this program cannot read. */
const struct tensor_type_info *tensor_type_info(int64_t id);

/* The name of a type by its id in a GGUF file, of types that cannot be read too ("Q2_K"); NULL if
 * the id is unknown. */
const char *tensor_type_name(int64_t id);

/* Bytes of a row of `values` values. `values` >= 0 must be a whole number of blocks and the type a
 * readable one; otherwise, or when the number does not fit, -1. */
int64_t tensor_row_bytes(enum tensor_type type, int64_t values);

/* Unpack `values` values of `type` from `blocks` into `out`: a whole number of blocks, at most
 * INT_MAX/2 of them. `blocks` may have any alignment and must hold tensor_row_bytes(type, values)
 * bytes; `out` must not overlap it. False, with nothing written, if the type cannot be read or
 * `values` is negative or no whole number of blocks.
 *
 * F16 and BF16 become the float of the same value (subnormals, infinities and NaNs included). A
 * quantised value is computed in float as the format defines it, rounding d*scale and m*min once
 * each. */
bool dequantise_row(enum tensor_type type, const void *blocks, float *out, int64_t values);

#endif
