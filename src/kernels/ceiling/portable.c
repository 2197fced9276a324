/* The ceilings' loops on 128-bit vectors. */
#define ATTN_VECTOR_BYTES 16
#define ATTN_CEILING_LOOPS attn_ceiling_loops_portable
#include "kernels/ceiling/ceiling_body.h"
