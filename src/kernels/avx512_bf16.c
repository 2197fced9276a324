/* The kernels on 512-bit vectors with dot products of bf16 pairs: twice the multiply-adds of f32. Products
 * of bf16 are exact and summed in f32; weights are rounded to bf16 where they meet the values. */
#define ATTN_VECTOR_BYTES 64
#define ATTN_BF16_PAIRS 1
#define ATTN_KERNELS_NAME "avx512_bf16"
#define ATTN_KERNELS_PATH ATTN_PATH_AVX512_BF16
#define ATTN_KERNELS_TABLE attn_kernels_avx512_bf16
#include "kernels/forward/kernels_body.h"
