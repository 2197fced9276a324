/* Which body multiplies few rows; see few_rows.h. */
#include "few_rows.h"

#include <attn/attn.h>
#include <string.h>

few_rows_kernel *few_rows_choose(void)
{
#if defined(__x86_64__)
    attn_cpu cpu = {.struct_size = sizeof cpu};
    if (attn_cpu_describe(&cpu, NULL) != ATTN_OK)
        return few_rows_portable;
    if (strncmp(cpu.path, "avx512", 6) == 0)
        return few_rows_avx512;
    if (strncmp(cpu.path, "avx2", 4) == 0)
        return few_rows_avx2;
#endif
    return few_rows_portable;
}
