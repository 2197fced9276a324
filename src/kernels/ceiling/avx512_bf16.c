/* The ceilings' loops on 512-bit vectors, with dot products of bf16 pairs. */
#define ATTN_VECTOR_BYTES 64
#define ATTN_BF16_PAIRS 1
#define ATTN_CEILING_LOOPS attn_ceiling_loops_avx512_bf16
#include "kernels/ceiling/ceiling_body.h"
