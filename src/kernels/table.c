/* Which table belongs to which path. */
#include "kernels/table.h"

#include "kernels/paths.h"

const struct attn_kernels *attn_kernels_of(enum attn_path path)
{
    static const struct attn_kernels *const tables[ATTN_PATH_COUNT] = {
        [ATTN_PATH_PORTABLE] = &attn_kernels_portable,
#if defined(__x86_64__)
        [ATTN_PATH_AVX2] = &attn_kernels_avx2,
        [ATTN_PATH_AVX512] = &attn_kernels_avx512,
#endif
    };
    return (unsigned)path < ATTN_PATH_COUNT ? tables[path] : NULL;
}
