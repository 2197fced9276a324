/* Which instructions can be used here: the CPU's word and the operating system's, both. */
#include <string.h>

#include "cpu/detect.h"

#if defined(__x86_64__)

#include "cpu/cpuid.h"

/* The register states that the operating system saves (XCR0); 0 if it does not say. */
static uint64_t saved_states(void)
{
    if (!bit_of(cpuid(1, 0).ecx, 27)) /* OSXSAVE */
        return 0;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

void attn_cpu_read_features(struct attn_cpu_features *features)
{
    memset(features, 0, sizeof *features);
    struct cpuid_registers one = cpuid(1, 0), seven = cpuid(7, 0), seven_one = cpuid(7, 1);
    uint64_t saved = saved_states();
    bool ymm = (saved & 0x6) == 0x6;
    bool zmm = (saved & 0xe6) == 0xe6;
    bool tiles = (saved & 0x60000) == 0x60000;

    features->sse41 = bit_of(one.ecx, 19);
    features->avx = ymm && bit_of(one.ecx, 28);
    features->fma = ymm && bit_of(one.ecx, 12);
    features->f16c = ymm && bit_of(one.ecx, 29);
    features->avx2 = ymm && bit_of(seven.ebx, 5);
    features->avx_vnni = ymm && bit_of(seven_one.eax, 4);
    features->avx512f = zmm && bit_of(seven.ebx, 16);
    features->avx512dq = zmm && bit_of(seven.ebx, 17);
    features->avx512bw = zmm && bit_of(seven.ebx, 30);
    features->avx512vl = zmm && bit_of(seven.ebx, 31);
    features->avx512_vnni = zmm && bit_of(seven.ecx, 11);
    features->avx512_bf16 = zmm && bit_of(seven_one.eax, 5);
    features->avx512_fp16 = zmm && bit_of(seven.edx, 23);
    features->amx_bf16 = tiles && bit_of(seven.edx, 22);
    features->amx_tile = tiles && bit_of(seven.edx, 24);
    features->amx_int8 = tiles && bit_of(seven.edx, 25);
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

void attn_cpu_read_features(struct attn_cpu_features *features)
{
    memset(features, 0, sizeof *features);
    /* Linux: Documentation/arm64/elf_hwcaps.rst. */
    unsigned long one = getauxval(AT_HWCAP), two = getauxval(AT_HWCAP2);
    features->asimd = (one >> 1 & 1) != 0;
    features->asimdhp = (one >> 10 & 1) != 0;
    features->asimddp = (one >> 20 & 1) != 0;
    features->sve = (one >> 22 & 1) != 0;
    features->asimdfhm = (one >> 23 & 1) != 0;
    features->i8mm = (two >> 13 & 1) != 0;
    features->bf16 = (two >> 14 & 1) != 0;
}

#else

void attn_cpu_read_features(struct attn_cpu_features *features)
{
    memset(features, 0, sizeof *features);
}

#endif
