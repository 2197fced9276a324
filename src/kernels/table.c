/* Which table serves a path and a dtype. */
#include "kernels/table.h"

#include "kernels/paths.h"

const struct attn_kernels *attn_kernels_of(enum attn_path path, attn_dtype dtype)
{
    static const struct attn_kernels *const tables[ATTN_PATH_COUNT] = {
        [ATTN_PATH_PORTABLE] = &attn_kernels_portable,
#if defined(__x86_64__)
        [ATTN_PATH_AVX2] = &attn_kernels_avx2,
        [ATTN_PATH_AVX512] = &attn_kernels_avx512,
        [ATTN_PATH_AVX512_BF16] = &attn_kernels_avx512,
#elif defined(__aarch64__)
        [ATTN_PATH_NEON] = &attn_kernels_neon,
#endif
    };
#if defined(__x86_64__)
    if (path == ATTN_PATH_AVX512_BF16 && dtype == ATTN_BF16)
        return &attn_kernels_avx512_bf16;
#else
    (void)dtype;
#endif
    return (unsigned)path < ATTN_PATH_COUNT ? tables[path] : NULL;
}
