/* The machine in words, for people and for `attn info`. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cpu/cpu.h"
#include "exec/exec.h"

/* Append a word and a space before it; a text that is full stays as it is. */
static void append_word(char *text, size_t size, const char *word)
{
    size_t used = strlen(text);
    if (used + (used > 0) + strlen(word) < size)
        snprintf(text + used, size - used, "%s%s", used > 0 ? " " : "", word);
}

static void list_features(char *text, size_t size, const struct attn_cpu_features *features)
{
    text[0] = '\0';
#define ATTN_FEATURE(name)                                                                         \
    if (features->name)                                                                            \
        append_word(text, size, #name);
#include "cpu/features.def"
#undef ATTN_FEATURE
}

attn_status attn_cpu_describe(attn_cpu *cpu, attn_error *error)
{
    if (!cpu)
        return attn_fail(error, ATTN_ERR_NULL, "cpu is NULL; it must point to an attn_cpu");
    if (cpu->struct_size != sizeof *cpu)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "cpu.struct_size is %zu; it must be sizeof(attn_cpu), %zu",
                         cpu->struct_size, sizeof *cpu);
    memset(cpu, 0, sizeof *cpu);
    cpu->struct_size = sizeof *cpu;

    const struct attn_cpu_info *info = attn_cpu_info();
    snprintf(cpu->name, sizeof cpu->name, "%s", info->name);
    list_features(cpu->features, sizeof cpu->features, &info->features);
    for (int path = 0; path < ATTN_PATH_COUNT; path++)
        if (attn_path_runs_on((enum attn_path)path, &info->features))
            append_word(cpu->paths, sizeof cpu->paths, attn_path_name((enum attn_path)path));
    snprintf(cpu->threads_by, sizeof cpu->threads_by, "%s", attn_exec_library());
    cpu->cores = attn_exec_cores();
    cpu->cache_bytes[0] = info->caches.l1_data;
    cpu->cache_bytes[1] = info->caches.l2;
    cpu->cache_bytes[2] = info->caches.l3;

    enum attn_path path;
    attn_status status = attn_path_choose(&path, error);
    if (status == ATTN_OK)
        snprintf(cpu->path, sizeof cpu->path, "%s", attn_path_name(path));
    return status;
}
