/* Which kernel path runs. The best that this machine can, unless ATTN_CPU names another; a name that
 * cannot be followed is an error, never a quiet choice of something else. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cpu/cpu.h"

static const char *const names[ATTN_PATH_COUNT] = {"portable", "avx2", "avx512", "avx512_bf16",
                                                   "neon"};

const char *attn_path_name(enum attn_path path)
{
    return names[path];
}

bool attn_path_runs_on(enum attn_path path, const struct attn_cpu_features *f)
{
    switch (path) {
    case ATTN_PATH_PORTABLE:
        return true;
    case ATTN_PATH_AVX2:
        return f->avx2 && f->fma && f->f16c;
    case ATTN_PATH_AVX512:
        return f->avx2 && f->fma && f->f16c && f->avx512f && f->avx512bw && f->avx512dq &&
               f->avx512vl;
    case ATTN_PATH_AVX512_BF16:
        return attn_path_runs_on(ATTN_PATH_AVX512, f) && f->avx512_bf16;
    case ATTN_PATH_NEON:
        return f->asimd;
    case ATTN_PATH_COUNT:
        break;
    }
    return false;
}

/* "portable, avx2": the paths these features run. */
static void list_paths(char *text, size_t size, const struct attn_cpu_features *features)
{
    size_t used = 0;
    for (int path = 0; path < ATTN_PATH_COUNT; path++)
        if (attn_path_runs_on((enum attn_path)path, features) && used < size)
            used +=
                (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", names[path]);
}

attn_status attn_path_choose_for(enum attn_path *path, const char *wanted,
                                 const struct attn_cpu_features *features, attn_error *error)
{
    char runnable[64];
    list_paths(runnable, sizeof runnable, features);
    bool is_set = wanted && wanted[0];
    for (int candidate = ATTN_PATH_COUNT - 1; candidate >= 0; candidate--) {
        bool runs = attn_path_runs_on((enum attn_path)candidate, features);
        if (is_set && strcmp(wanted, names[candidate]) != 0)
            continue;
        if (is_set && !runs)
            return attn_fail(error, ATTN_ERR_CPU,
                             "ATTN_CPU is \"%s\", which this machine cannot run; it may be %s here",
                             wanted, runnable);
        if (runs) {
            *path = (enum attn_path)candidate;
            return attn_succeed(error);
        }
    }
    return attn_fail(error, ATTN_ERR_CPU,
                     "ATTN_CPU is \"%.40s\", which is no kernel path; it may be %s here", wanted,
                     runnable);
}

/* What the first call found, for all later ones. */
static struct {
    enum attn_path path;
    attn_status status;
    attn_error error;
} chosen;

static void choose(void)
{
    chosen.status = attn_path_choose_for(&chosen.path, getenv("ATTN_CPU"),
                                         &attn_cpu_info()->features, &chosen.error);
}

attn_status attn_path_choose(enum attn_path *path, attn_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
    if (chosen.status != ATTN_OK)
        return attn_fail(error, chosen.status, "%s", chosen.error.message);
    *path = chosen.path;
    return attn_succeed(error);
}
