/* The kernel path of a program: see path.h. */
#include "attention/path.h"

#include "attn/attn.h"

#include <stdio.h>
#include <stdlib.h>

static bool listed(const char *words, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = words; (at = strstr(at, word)) != NULL; at += length)
        if ((at == words || at[-1] == ' ') && (at[length] == 0 || at[length] == ' '))
            return true;
    return false;
}

int path_check(void)
{
    const char *asked = getenv("ATTN_CPU");
    attn_cpu cpu = {.struct_size = sizeof cpu};
    attn_error error;
    attn_status status = attn_cpu_describe(&cpu, &error);
    if (status == ATTN_ERR_CPU && asked && !listed(cpu.paths, asked)) {
        printf("skipped: this machine runs the paths \"%s\" (%s)\n", cpu.paths, error.message);
        return PATH_SKIPPED;
    }
    if (status != ATTN_OK || (asked && strcmp(cpu.path, asked) != 0)) {
        fprintf(stderr, "ATTN_CPU=%s gives the path \"%s\": %s\n", asked ? asked : "", cpu.path,
                error.message);
        return 1;
    }
    printf("kernel path %s\n", cpu.path);
    return 0;
}

#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif

/* Sanitizers cost several times the time, and look for what any case shows: they are given fewer. */
#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)
static const int64_t default_percent = 15;
#elif defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
static const int64_t default_percent = 35;
#else
static const int64_t default_percent = 100;
#endif

int64_t path_cases(int64_t count)
{
    const char *percent = getenv("ATTN_CHECK_CASES");
    count = count * (percent ? atoll(percent) : default_percent) / 100;
    return count > 0 ? count : 1;
}
