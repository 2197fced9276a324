/* What this machine is: the features that kernels ask for, cache sizes, the name of the
 * microarchitecture; and which kernel path runs on it. Everything is found once, at first use, and does
 * not change afterwards; any number of threads may ask at once. */
#ifndef ATTN_CPU_CPU_H
#define ATTN_CPU_CPU_H

#include <attn/attn.h>

/* A feature is true if the CPU has the instructions *and* the operating system saves their registers. */
struct attn_cpu_features {
#define ATTN_FEATURE(name) bool name;
#include "cpu/features.def"
#undef ATTN_FEATURE
};

/* Bytes; never 0 and never absurd: where the machine says nothing credible, a modest default. */
struct attn_cpu_caches {
    size_t l1_data; /* of one core */
    size_t l2;      /* one core's share */
    size_t l3;      /* shared by the cores of one cluster; l2 where there is no third level */
};

struct attn_cpu_info {
    struct attn_cpu_features features;
    struct attn_cpu_caches caches;
    char name[64];                 /* as the CPU calls itself */
    const char *microarchitecture; /* "zen4", "icelake-server", ...; "unknown" */
};

/* Found at the first call. */
const struct attn_cpu_info *attn_cpu_info(void);

/* Sets of instructions that kernels are compiled for, worst first. Code of a path may use
 *     portable  the compiler's baseline (x86-64: SSE2; AArch64: Advanced SIMD)
 *     avx2      + avx2 fma f16c
 *     avx512    + avx512f avx512bw avx512dq avx512vl
 *     avx512_bf16  + avx512_bf16, for tensors of bf16; others go as on avx512
 *     neon      Advanced SIMD, with shapes of its own (AArch64 alone; all others are of x86-64) */
enum attn_path {
    ATTN_PATH_PORTABLE,
    ATTN_PATH_AVX2,
    ATTN_PATH_AVX512,
    ATTN_PATH_AVX512_BF16,
    ATTN_PATH_NEON,
    ATTN_PATH_COUNT
};

/* "portable", "avx2", "avx512", ... */
const char *attn_path_name(enum attn_path path);

/* Whether these features are enough for the path. */
bool attn_path_runs_on(enum attn_path path, const struct attn_cpu_features *features);

/* The path that plans use: the one ATTN_CPU names (the environment is read at the first call), else the
 * best this machine runs. ATTN_ERR_CPU if ATTN_CPU names something unknown, or a path that this machine
 * cannot run; *path is then left as it was. */
attn_status attn_path_choose(enum attn_path *path, attn_error *error);

/* The same for a given value of ATTN_CPU (NULL or "" = not set) and given features. */
attn_status attn_path_choose_for(enum attn_path *path, const char *wanted,
                                 const struct attn_cpu_features *features, attn_error *error);

#endif
