/* The cpuid instruction, with zeros for a leaf that the CPU does not have. x86-64 only. */
#ifndef ATTN_CPU_CPUID_H
#define ATTN_CPU_CPUID_H

#include <cpuid.h>
#include <stdbool.h>
#include <stdint.h>

struct cpuid_registers {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid_registers cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_registers r = {0, 0, 0, 0};
    if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx))
        r = (struct cpuid_registers){0, 0, 0, 0};
    return r;
}

static inline bool bit_of(uint32_t value, int bit)
{
    return (value >> bit & 1) != 0;
}

/* AMD, and Hygon who builds the same cores: "AuthenticAMD", "HygonGenuine". */
static inline bool is_amd(void)
{
    uint32_t ebx = cpuid(0, 0).ebx;
    return ebx == 0x68747541 || ebx == 0x6f677948;
}

static inline bool is_intel(void)
{
    return cpuid(0, 0).ebx == 0x756e6547; /* "GenuineIntel" */
}

#endif
