/* The kernels on 512-bit vectors. */
#define ATTN_VECTOR_BYTES 64
#define ATTN_KERNELS_NAME "avx512"
#define ATTN_KERNELS_PATH ATTN_PATH_AVX512
#define ATTN_KERNELS_TABLE attn_kernels_avx512
#include "kernels/forward/kernels_body.h"
