/* The cases of `attn bench`; see cases.h. */
#include "cases.h"

#include <fnmatch.h>
#include <string.h>

/* clang-format off */
const struct bench_case bench_cases[] = {
    /* name                                  heads kv queries keys size mask          statistics       beside */
    {"forward_f32_d32",                           8, 8, 2048, 2048,  32, MASK_NONE,       STATISTICS_NONE, ALONE},
    {"forward_f32_d64",                           8, 8, 2048, 2048,  64, MASK_NONE,       STATISTICS_NONE, ALONE},
    {"forward_f32_d80",                           8, 8, 2048, 2048,  80, MASK_NONE,       STATISTICS_NONE, ALONE},
    {"forward_f32_d96",                           8, 8, 2048, 2048,  96, MASK_NONE,       STATISTICS_NONE, ALONE},
    {"forward_f32_d128",                          8, 8, 2048, 2048, 128, MASK_NONE,       STATISTICS_NONE, ALONE},
    {"forward_f32_d256",                          8, 8, 2048, 2048, 256, MASK_NONE,       STATISTICS_NONE, ALONE},

    {"causal_f32_d64",                            8, 8, 4096, 4096,  64, MASK_CAUSAL,     STATISTICS_NONE, BESIDE_FULL},
    {"causal_f32_d128",                           8, 8, 4096, 4096, 128, MASK_CAUSAL,     STATISTICS_NONE, BESIDE_FULL},
    {"window512_f32_d64",                         8, 8, 4096, 4096,  64, MASK_WINDOW_512, STATISTICS_NONE, BESIDE_FULL},
    {"window512_f32_d128",                        8, 8, 4096, 4096, 128, MASK_WINDOW_512, STATISTICS_NONE, BESIDE_FULL},

    {"short128_f32_d64",                          8, 8,  128,  128,  64, MASK_NONE,       STATISTICS_NONE, ALONE},
    {"short197_f32_d64",                          8, 8,  197,  197,  64, MASK_NONE,       STATISTICS_NONE, ALONE},
    {"short512_f32_d64",                          8, 8,  512,  512,  64, MASK_NONE,       STATISTICS_NONE, ALONE},

    {"few4_f32_d64",                              8, 8,    4, 4096,  64, MASK_NONE,       STATISTICS_NONE, ALONE},
    {"few8_f32_d64",                              8, 8,    8, 4096,  64, MASK_NONE,       STATISTICS_NONE, ALONE},
    {"few16_f32_d64",                             8, 8,   16, 4096,  64, MASK_NONE,       STATISTICS_NONE, ALONE},
    {"few64_f32_d64",                             8, 8,   64, 4096,  64, MASK_NONE,       STATISTICS_NONE, ALONE},
    {"few8_f32_32_8_d128",                       32, 8,    8, 4096, 128, MASK_NONE,       STATISTICS_NONE, ALONE},

    {"gqa_f32_32_8_d128",                        32, 8, 2048, 2048, 128, MASK_NONE,       STATISTICS_NONE, ALONE},
    {"gqa_f32_8_1_d64",                           8, 1, 2048, 2048,  64, MASK_NONE,       STATISTICS_NONE, ALONE},

    {"stats_f32_d64",                             8, 8, 2048, 2048,  64, MASK_NONE,       STATISTICS_TWO,  BESIDE_PLAIN},
    {"stats_f32_d128",                            8, 8, 2048, 2048, 128, MASK_NONE,       STATISTICS_TWO,  BESIDE_PLAIN},
    {"statsall_f32_d64",                          8, 8, 2048, 2048,  64, MASK_NONE,       STATISTICS_ALL,  BESIDE_PLAIN},
    {"statsall_f32_d128",                         8, 8, 2048, 2048, 128, MASK_NONE,       STATISTICS_ALL,  BESIDE_PLAIN},

    /* The attention of Gemma 3 270M: one global and one local layer. */
    {"gemma_causal_f32_d256_n6144",               4, 1, 6144, 6144, 256, MASK_CAUSAL,     STATISTICS_NONE, BESIDE_FULL},
    {"gemma_window512_f32_d256_n6144",            4, 1, 6144, 6144, 256, MASK_WINDOW_512, STATISTICS_NONE, BESIDE_FULL},
    {"gemma_statsall_causal_f32_d256_n6144",      4, 1, 6144, 6144, 256, MASK_CAUSAL,     STATISTICS_ALL,  BESIDE_PLAIN},
    {"gemma_statsall_window512_f32_d256_n6144",   4, 1, 6144, 6144, 256, MASK_WINDOW_512, STATISTICS_ALL,  BESIDE_PLAIN},
};
/* clang-format on */
const int bench_case_count = sizeof bench_cases / sizeof bench_cases[0];

bool bench_case_matches(const char *name, const char *pattern)
{
    if (!pattern)
        return true;
    if (strpbrk(pattern, "*?["))
        return fnmatch(pattern, name, 0) == 0;
    return strstr(name, pattern) != NULL;
}

int64_t bench_case_pairs(const struct bench_case *c)
{
    int64_t pairs = 0;
    for (int64_t i = 0; i < c->queries; i++) {
        int64_t position = i + c->keys - c->queries;
        int64_t first = c->mask == MASK_WINDOW_512 && position > 511 ? position - 511 : 0;
        int64_t last = c->mask == MASK_NONE ? c->keys - 1 : position;
        pairs += last - first + 1;
    }
    return pairs;
}

double bench_case_flops(const struct bench_case *c)
{
    return 4.0 * (double)bench_case_pairs(c) * c->head_size * c->heads;
}

const char *bench_mask_name(enum bench_mask mask)
{
    static const char *const names[] = {"none", "causal", "window 511,0"};
    return names[mask];
}

const char *bench_statistics_name(enum bench_statistics statistics)
{
    static const char *const names[] = {"none", "entropy, max_weight", "all of a row"};
    return names[statistics];
}
