/* The kernels on 128-bit vectors, the compiler's baseline. */
#define ATTN_VECTOR_BYTES 16
#define ATTN_KERNELS_NAME "portable"
#define ATTN_KERNELS_PATH ATTN_PATH_PORTABLE
#define ATTN_KERNELS_TABLE attn_kernels_portable
#include "kernels/forward/kernels_body.h"
