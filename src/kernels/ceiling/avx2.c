/* The ceilings' loops on 256-bit vectors. */
#define ATTN_VECTOR_BYTES 32
#define ATTN_CEILING_LOOPS attn_ceiling_loops_avx2
#include "kernels/ceiling/ceiling_body.h"
