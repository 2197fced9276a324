/* The ceilings' loops on 512-bit vectors. */
#define ATTN_VECTOR_BYTES 64
#define ATTN_CEILING_LOOPS attn_ceiling_loops_avx512
#include "kernels/ceiling/ceiling_body.h"
