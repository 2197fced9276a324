/* The kernels on 256-bit vectors with multiply-add. */
#define ATTN_VECTOR_BYTES 32
#define ATTN_KERNELS_NAME "avx2"
#define ATTN_KERNELS_PATH ATTN_PATH_AVX2
#define ATTN_KERNELS_TABLE attn_kernels_avx2
#include "kernels/forward/kernels_body.h"
