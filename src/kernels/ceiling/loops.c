/* Which loops belong to which path. */
#include "kernels/ceiling/ceiling.h"

extern const struct attn_ceiling_loops attn_ceiling_loops_portable;
#if defined(__x86_64__)
extern const struct attn_ceiling_loops attn_ceiling_loops_avx2;
extern const struct attn_ceiling_loops attn_ceiling_loops_avx512;
extern const struct attn_ceiling_loops attn_ceiling_loops_avx512_bf16;
#endif

const struct attn_ceiling_loops *attn_ceiling_loops_of(enum attn_path path)
{
    static const struct attn_ceiling_loops *const tables[ATTN_PATH_COUNT] = {
        [ATTN_PATH_PORTABLE] = &attn_ceiling_loops_portable,
#if defined(__x86_64__)
        [ATTN_PATH_AVX2] = &attn_ceiling_loops_avx2,
        [ATTN_PATH_AVX512] = &attn_ceiling_loops_avx512,
        [ATTN_PATH_AVX512_BF16] = &attn_ceiling_loops_avx512_bf16,
#elif defined(__aarch64__)
        [ATTN_PATH_NEON] = &attn_ceiling_loops_portable, /* the same instructions */
#endif
    };
    return (unsigned)path < ATTN_PATH_COUNT ? tables[path] : NULL;
}
