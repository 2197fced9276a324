/* Cache sizes, as far as they can be trusted. cpuid knows them on x86-64 (leaf 4; 0x8000001D on AMD);
 * elsewhere, and where a hypervisor hides them, Linux may. Some virtual machines report 0, some the
 * cache of the whole host; what is used in the end lies within the bounds below. */
#include <stdio.h>
#include <string.h>

#include "cpu/detect.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

static void note_cache(struct attn_cpu_caches *caches, int level, size_t bytes)
{
    size_t *field = level == 1   ? &caches->l1_data
                    : level == 2 ? &caches->l2
                    : level == 3 ? &caches->l3
                                 : NULL;
    if (field && *field == 0)
        *field = bytes;
}

#if defined(__x86_64__)

#include "cpu/cpuid.h"

/* Hardware threads of one core. */
static size_t threads_of_core(void)
{
    struct cpuid_registers level = cpuid(0xb, 0);
    bool is_core_level = (level.ecx >> 8 & 0xff) == 1;
    size_t threads = level.ebx & 0xffff;
    return is_core_level && threads > 0 ? threads : 1;
}

static void read_from_cpuid(struct attn_cpu_caches *caches)
{
    uint32_t leaf = 4;
    if (is_amd()) {
        if (!bit_of(cpuid(0x80000001, 0).ecx, 22)) /* TOPOEXT */
            return;
        leaf = 0x8000001d;
    } else if (!is_intel()) {
        return;
    }
    for (uint32_t index = 0; index < 8; index++) {
        struct cpuid_registers r = cpuid(leaf, index);
        uint32_t type = r.eax & 0x1f, level = r.eax >> 5 & 7;
        if (type == 0)
            return;
        if (type == 2) /* instructions */
            continue;
        size_t line = (r.ebx & 0xfff) + 1, partitions = (r.ebx >> 12 & 0x3ff) + 1;
        size_t ways = (r.ebx >> 22) + 1, sets = (size_t)r.ecx + 1;
        size_t bytes = line * partitions * ways * sets;
        size_t sharing_cores = ((r.eax >> 14 & 0xfff) + 1) / threads_of_core();
        if (level == 2 && sharing_cores > 1)
            bytes /= sharing_cores;
        note_cache(caches, (int)level, bytes);
    }
}

#else

static void read_from_cpuid(struct attn_cpu_caches *caches)
{
    (void)caches;
}

#endif

/* One line of a small file under /sys, "" if it cannot be read. */
static void read_line(char *line, size_t size, int index, const char *name)
{
    char path[96];
    line[0] = '\0';
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, name);
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    if (!fgets(line, (int)size, file))
        line[0] = '\0';
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
}

static void read_from_system(struct attn_cpu_caches *caches)
{
    for (int index = 0; index < 8; index++) {
        char type[32], level_text[32], size_text[32];
        read_line(type, sizeof type, index, "type");
        read_line(level_text, sizeof level_text, index, "level");
        read_line(size_text, sizeof size_text, index, "size");
        if (strcmp(type, "Data") != 0 && strcmp(type, "Unified") != 0)
            continue;
        unsigned level, kibibytes;
        if (sscanf(level_text, "%1u", &level) == 1 && sscanf(size_text, "%9uK", &kibibytes) == 1)
            note_cache(caches, (int)level, kibibytes * KIB);
    }
}

void attn_cpu_read_caches(struct attn_cpu_caches *caches)
{
    memset(caches, 0, sizeof *caches);
    read_from_cpuid(caches);
    read_from_system(caches);
}

static size_t credible(size_t bytes, size_t least, size_t most, size_t otherwise)
{
    return bytes >= least && bytes <= most ? bytes : otherwise;
}

void attn_cpu_make_credible(struct attn_cpu_caches *caches)
{
    caches->l1_data = credible(caches->l1_data, 8 * KIB, MIB, 32 * KIB);
    caches->l2 = credible(caches->l2, 64 * KIB, 64 * MIB, 512 * KIB);
    if (caches->l2 < caches->l1_data)
        caches->l2 = caches->l1_data;
    caches->l3 = credible(caches->l3, caches->l2, 4096 * MIB, caches->l2);
}
