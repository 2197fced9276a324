/* The kernels on 128-bit vectors of AArch64: a register tile for 32 registers, and multiply-adds that take
 * one factor from a lane. */
#define ATTN_VECTOR_BYTES 16
#define ATTN_NEON 1
#define ATTN_KERNELS_NAME "neon"
#define ATTN_KERNELS_PATH ATTN_PATH_NEON
#define ATTN_KERNELS_TABLE attn_kernels_neon
#include "kernels/forward/kernels_body.h"
