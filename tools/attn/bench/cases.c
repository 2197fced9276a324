/* The cases of `attn bench`; see cases.h. */
#include "cases.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

/* A family is a case for each of its types and head sizes:
 * <name>_<type><group>_d<size><length>. */
struct family {
    const char *name;
    unsigned dtypes; /* bits 1 << attn_dtype */
    int sizes[7];    /* ends with 0 */
    const char *group, *length;
    int batch, heads, kv_heads, queries, keys;
    enum bench_mask mask;
    enum bench_statistics statistics;
    enum bench_partner partner;
    bool takes_minutes;
};

enum { F32 = 1 << ATTN_F32, ANY = 1 << ATTN_F32 | 1 << ATTN_BF16 | 1 << ATTN_F16 };
#define USUAL                                                                                      \
    {                                                                                              \
        64, 128                                                                                    \
    }

/* clang-format off */
static const struct family families[] = {
    /* name                types sizes               group    length   B  Hq Hkv queries keys  mask               statistics       beside */
    {"forward",            ANY, {32, 64, 80, 96, 128, 256}, "", "",    1,  8, 8, 2048, 2048, MASK_NONE,         STATISTICS_NONE, ALONE, false},

    {"causal",             ANY, USUAL,               "",      "",       1,  8, 8, 4096, 4096, MASK_CAUSAL,       STATISTICS_NONE, BESIDE_FULL, false},
    {"window512",          ANY, USUAL,               "",      "",       1,  8, 8, 4096, 4096, MASK_WINDOW_512,   STATISTICS_NONE, BESIDE_FULL, false},

    {"short128",           ANY, USUAL,               "",      "",       1,  8, 8,  128,  128, MASK_NONE,         STATISTICS_NONE, ALONE, false},
    {"short197",           ANY, USUAL,               "",      "",       1,  8, 8,  197,  197, MASK_NONE,         STATISTICS_NONE, ALONE, false},
    {"short512",           ANY, USUAL,               "",      "",       1,  8, 8,  512,  512, MASK_NONE,         STATISTICS_NONE, ALONE, false},

    {"few4",               ANY, USUAL,               "",      "",       1,  8, 8,    4, 4096, MASK_NONE,         STATISTICS_NONE, ALONE, false},
    {"few8",               ANY, USUAL,               "",      "",       1,  8, 8,    8, 4096, MASK_NONE,         STATISTICS_NONE, ALONE, false},
    {"few16",              ANY, USUAL,               "",      "",       1,  8, 8,   16, 4096, MASK_NONE,         STATISTICS_NONE, ALONE, false},
    {"few64",              ANY, USUAL,               "",      "",       1,  8, 8,   64, 4096, MASK_NONE,         STATISTICS_NONE, ALONE, false},
    {"few8",               ANY, {128},               "_32_8", "",       1, 32, 8,    8, 4096, MASK_NONE,         STATISTICS_NONE, ALONE, false},

    {"gqa",                ANY, {128},               "_32_8", "",       1, 32, 8, 2048, 2048, MASK_NONE,         STATISTICS_NONE, ALONE, false},
    {"gqa",                ANY, {64},                "_8_1",  "",       1,  8, 1, 2048, 2048, MASK_NONE,         STATISTICS_NONE, ALONE, false},

    {"stats",              F32, USUAL,               "",      "",       1,  8, 8, 2048, 2048, MASK_NONE,         STATISTICS_TWO,  BESIDE_PLAIN, false},
    {"statsall",           F32, USUAL,               "",      "",       1,  8, 8, 2048, 2048, MASK_NONE,         STATISTICS_ALL,  BESIDE_PLAIN, false},

    {"boolean",            ANY, {64},                "",      "",       1,  8, 8, 2048, 2048, MASK_BYTES,        STATISTICS_NONE, BESIDE_FULL, false},
    {"booleanbits",        F32, {64},                "",      "",       1,  8, 8, 2048, 2048, MASK_BITS,         STATISTICS_NONE, BESIDE_FULL, false},
    {"booleancausal",      F32, {64},                "",      "",       1,  8, 8, 2048, 2048, MASK_BYTES_CAUSAL, STATISTICS_NONE, BESIDE_FULL, false},
    {"bias",               ANY, {64},                "",      "",       1,  8, 8, 2048, 2048, MASK_BIAS,         STATISTICS_NONE, BESIDE_FULL, false},
    {"alibi",              ANY, {64},                "",      "",       1,  8, 8, 2048, 2048, MASK_ALIBI,        STATISTICS_NONE, BESIDE_FULL, false},
    {"documents",          ANY, {64},                "",      "",       1,  8, 8, 4096, 4096, MASK_DOCUMENTS,    STATISTICS_NONE, BESIDE_FULL, false},
    {"blocks",             ANY, {64},                "",      "",       1,  8, 8, 4096, 4096, MASK_BLOCKS,       STATISTICS_NONE, BESIDE_FULL, false},
    {"padded",             ANY, {64},                "",      "",       4,  8, 8, 2048, 2048, MASK_PADDED,       STATISTICS_NONE, ALONE, false},
    {"ragged",             ANY, {64},                "",      "",       4,  8, 8, 2048, 2048, MASK_RAGGED,       STATISTICS_NONE, ALONE, false},

    /* The attention of Gemma 3 270M: one global and one local layer. */
    {"gemma_causal",       F32, {256},               "",      "_n6144", 1,  4, 1, 6144, 6144, MASK_CAUSAL,       STATISTICS_NONE, BESIDE_FULL, false},
    {"gemma_window512",    F32, {256},               "",      "_n6144", 1,  4, 1, 6144, 6144, MASK_WINDOW_512,   STATISTICS_NONE, BESIDE_FULL, false},
    {"gemma_statsall_causal",    F32, {256},         "",      "_n6144", 1,  4, 1, 6144, 6144, MASK_CAUSAL,       STATISTICS_ALL,  BESIDE_PLAIN, false},
    {"gemma_statsall_window512", F32, {256},         "",      "_n6144", 1,  4, 1, 6144, 6144, MASK_WINDOW_512,   STATISTICS_ALL,  BESIDE_PLAIN, false},

    /* Memory: extra_bytes beside 268 MB of q, k, v and o in f32. */
    {"forward",            F32 | 1 << ATTN_BF16, {64}, "",    "_n131072", 1, 8, 8, 131072, 131072, MASK_NONE,    STATISTICS_NONE, ALONE, true},
};
/* clang-format on */

enum { CASES_MOST = 256 };

/* Decoding: groups of heads, and lengths; each for every type a cache has here. */
static const struct decoding {
    const char *name, *ending;
    int batch, heads, kv_heads, page_size; /* 0 = all keys */
    int keys[5];                           /* ends with 0 */
    enum bench_statistics statistics;
    int shared; /* of keys: those of the first sequence */
} decodings[] = {
    {"decode", "", 1, 32, 32, 0, {128, 1024, 16384}, STATISTICS_NONE, 0},
    {"decode", "", 1, 32, 8, 0, {128, 1024, 16384}, STATISTICS_NONE, 0},
    {"decode", "", 1, 8, 1, 0, {128, 1024, 16384, 131072}, STATISTICS_NONE, 0},
    {"decode", "_page16", 1, 32, 32, 16, {16384}, STATISTICS_NONE, 0},
    {"decode", "_page16", 1, 32, 8, 16, {16384}, STATISTICS_NONE, 0},
    {"decode", "_page16", 1, 8, 1, 16, {131072}, STATISTICS_NONE, 0},
    {"decode", "_b8", 8, 32, 8, 0, {4096}, STATISTICS_NONE, 0},
    {"decode", "_b8_page16", 8, 32, 8, 16, {4224}, STATISTICS_NONE, 0},
    {"decode", "_b8_shared", 8, 32, 8, 16, {4224}, STATISTICS_NONE, 4096},
    {"decodestats", "", 1, 32, 8, 0, {16384}, STATISTICS_TWO, 0},
    {"decodesteps", "", 1, 32, 32, 0, {16384}, STATISTICS_STEP, 0},
    {"decodesteps", "", 1, 32, 8, 0, {1024, 16384}, STATISTICS_STEP, 0},
    {"decodesteps", "", 1, 8, 1, 0, {131072}, STATISTICS_STEP, 0},
};

static void make_case(struct bench_case *c, const struct family *f, attn_dtype dtype, int size)
{
    *c = (struct bench_case){.dtype = dtype,
                             .batch = f->batch,
                             .heads = f->heads,
                             .kv_heads = f->kv_heads,
                             .queries = f->queries,
                             .keys = f->keys,
                             .head_size = size,
                             .mask = f->mask,
                             .statistics = f->statistics,
                             .partner = f->partner,
                             .takes_minutes = f->takes_minutes};
    snprintf(c->name, sizeof c->name, "%s_%s%s_d%d%s", f->name, bench_dtype_name(dtype), f->group,
             size, f->length);
}

static void make_decoding(struct bench_case *c, const struct decoding *d, attn_dtype dtype,
                          int keys)
{
    *c = (struct bench_case){.dtype = dtype == ATTN_INT8 ? ATTN_F32 : dtype,
                             .batch = d->batch,
                             .heads = d->heads,
                             .kv_heads = d->kv_heads,
                             .queries = 1,
                             .keys = keys,
                             .head_size = 128,
                             .statistics = d->statistics,
                             .partner = d->statistics == STATISTICS_NONE ? ALONE : BESIDE_PLAIN,
                             .cache = dtype,
                             .page_size = d->page_size > 0 ? d->page_size : keys,
                             .shared = d->shared};
    snprintf(c->name, sizeof c->name, "%s_%s_%d_%d_n%d%s", d->name, bench_dtype_name(dtype),
             d->heads, d->kv_heads, keys, d->ending);
}

const struct bench_case *bench_cases(int *count)
{
    static const attn_dtype stored[] = {ATTN_F32, ATTN_BF16, ATTN_F16, ATTN_INT8};
    static const attn_dtype dtypes[] = {ATTN_F32, ATTN_BF16, ATTN_F16};
    static struct bench_case cases[CASES_MOST];
    static int made;
    const bool first = made == 0;
    if (first)
        for (size_t f = 0; f < sizeof families / sizeof families[0]; f++)
            for (int t = 0; t < 3; t++)
                for (int s = 0; families[f].sizes[s] != 0; s++)
                    if (families[f].dtypes & 1u << dtypes[t] && made < CASES_MOST)
                        make_case(&cases[made++], &families[f], dtypes[t], families[f].sizes[s]);
    for (size_t d = 0; first && d < sizeof decodings / sizeof decodings[0]; d++)
        for (int t = 0; t < 4; t++)
            for (int k = 0; decodings[d].keys[k] != 0 && made < CASES_MOST; k++)
                make_decoding(&cases[made++], &decodings[d], stored[t], decodings[d].keys[k]);
    *count = made;
    return cases;
}

bool bench_case_matches(const char *name, const char *pattern)
{
    if (!pattern)
        return true;
    if (strpbrk(pattern, "*?["))
        return fnmatch(pattern, name, 0) == 0;
    return strstr(name, pattern) != NULL;
}

bool bench_case_is_meant(const struct bench_case *c, const char *pattern)
{
    if (c->takes_minutes)
        return pattern && strcmp(c->name, pattern) == 0;
    return bench_case_matches(c->name, pattern);
}

double bench_case_flops(const struct bench_case *c)
{
    int64_t pairs = bench_mask_pairs(c->mask, c->batch, c->queries, c->keys);
    return 4.0 * (double)pairs * c->head_size * c->heads;
}

const char *bench_dtype_name(attn_dtype dtype)
{
    static const char *const names[] = {"", "f32", "bf16", "f16", "int8"};
    return names[dtype];
}

const char *bench_statistics_name(enum bench_statistics statistics)
{
    static const char *const names[] = {"none", "entropy, max_weight", "all of a row", "of a step"};
    return names[statistics];
}
