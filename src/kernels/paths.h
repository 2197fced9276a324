/* The tables of the paths this build has. */
#ifndef ATTN_KERNELS_PATHS_H
#define ATTN_KERNELS_PATHS_H

#include "kernels/table.h"

extern const struct attn_kernels attn_kernels_portable;
#if defined(__x86_64__)
extern const struct attn_kernels attn_kernels_avx2;
extern const struct attn_kernels attn_kernels_avx512;
extern const struct attn_kernels attn_kernels_avx512_bf16;
#elif defined(__aarch64__)
extern const struct attn_kernels attn_kernels_neon;
#endif

#endif
