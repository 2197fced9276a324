/* What the CPU calls itself, and whose core it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/detect.h"

#if defined(__x86_64__)

#include "cpu/cpuid.h"

/* Models first_model..last_model of a family. Numbers from the vendors' revision guides. */
struct core {
    uint16_t family;
    uint8_t first_model, last_model;
    const char *name;
};

static const struct core amd_cores[] = {
    {0x17, 0x00, 0x2f, "zen"},  {0x17, 0x30, 0xff, "zen2"}, {0x18, 0x00, 0xff, "zen"},
    {0x19, 0x10, 0x1f, "zen4"}, {0x19, 0x60, 0x7f, "zen4"}, {0x19, 0xa0, 0xaf, "zen4"},
    {0x19, 0x00, 0xff, "zen3"}, {0x1a, 0x00, 0xff, "zen5"},
};

static const struct core intel_cores[] = {
    {6, 0x3c, 0x3c, "haswell"},        {6, 0x3f, 0x3f, "haswell"},
    {6, 0x45, 0x46, "haswell"},        {6, 0x3d, 0x3d, "broadwell"},
    {6, 0x47, 0x47, "broadwell"},      {6, 0x4f, 0x4f, "broadwell"},
    {6, 0x56, 0x56, "broadwell"},      {6, 0x4e, 0x4e, "skylake"},
    {6, 0x5e, 0x5e, "skylake"},        {6, 0x8e, 0x8e, "skylake"},
    {6, 0x9e, 0x9e, "skylake"},        {6, 0xa5, 0xa6, "skylake"},
    {6, 0x55, 0x55, "skylake-server"}, {6, 0x7d, 0x7e, "icelake"},
    {6, 0x6a, 0x6a, "icelake-server"}, {6, 0x6c, 0x6c, "icelake-server"},
    {6, 0x8c, 0x8d, "tigerlake"},      {6, 0xa7, 0xa7, "rocketlake"},
    {6, 0x97, 0x97, "alderlake"},      {6, 0x9a, 0x9a, "alderlake"},
    {6, 0xb7, 0xb7, "raptorlake"},     {6, 0xba, 0xba, "raptorlake"},
    {6, 0xbf, 0xbf, "raptorlake"},     {6, 0xaa, 0xaa, "meteorlake"},
    {6, 0xac, 0xac, "meteorlake"},     {6, 0x8f, 0x8f, "sapphire-rapids"},
    {6, 0xcf, 0xcf, "emerald-rapids"}, {6, 0xad, 0xae, "granite-rapids"},
    {6, 0xaf, 0xaf, "sierra-forest"},
};

const char *attn_cpu_read_microarchitecture(void)
{
    uint32_t signature = cpuid(1, 0).eax;
    uint32_t base_family = signature >> 8 & 0xf;
    uint32_t family = base_family == 0xf ? base_family + (signature >> 20 & 0xff) : base_family;
    uint32_t model = (signature >> 4 & 0xf) | (signature >> 12 & 0xf0);

    const struct core *cores = is_amd() ? amd_cores : intel_cores;
    size_t count = is_amd()     ? sizeof amd_cores / sizeof amd_cores[0]
                   : is_intel() ? sizeof intel_cores / sizeof intel_cores[0]
                                : 0;
    for (size_t i = 0; i < count; i++)
        if (cores[i].family == family && model >= cores[i].first_model &&
            model <= cores[i].last_model)
            return cores[i].name;
    return "unknown";
}

static void read_raw_name(char text[49])
{
    memset(text, 0, 49);
    if (cpuid(0x80000000, 0).eax < 0x80000004)
        return;
    for (uint32_t i = 0; i < 3; i++) {
        struct cpuid_registers r = cpuid(0x80000002 + i, 0);
        uint32_t words[4] = {r.eax, r.ebx, r.ecx, r.edx};
        memcpy(text + 16 * i, words, sizeof words);
    }
}

#else

const char *attn_cpu_read_microarchitecture(void)
{
    return "unknown";
}

static void read_raw_name(char text[49])
{
    memset(text, 0, 49);
#if defined(__aarch64__)
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/regs/identification/midr_el1", "re");
    char line[32] = "";
    if (file && fgets(line, sizeof line, file)) {
        unsigned long midr = strtoul(line, NULL, 16);
        snprintf(text, 49, "AArch64 implementer 0x%02lx part 0x%03lx", midr >> 24 & 0xff,
                 midr >> 4 & 0xfff);
    }
    if (file)
        fclose(file);
#endif
}

#endif

void attn_cpu_read_name(char *name, size_t size)
{
    char text[49];
    read_raw_name(text);
    text[48] = '\0';
    const char *start = text + strspn(text, " ");
    size_t length = strlen(start);
    while (length > 0 && start[length - 1] == ' ')
        length--;
    snprintf(name, size, "%.*s", (int)length, start);
    if (length == 0)
        snprintf(name, size, "unknown");
}
