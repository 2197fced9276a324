/* The rules of masks.h. */
#include "masks.h"

#include <math.h>

const char *bench_mask_name(enum bench_mask mask)
{
    static const char *const names[] = {
        [MASK_NONE] = "none",
        [MASK_CAUSAL] = "causal",
        [MASK_WINDOW_512] = "window 511,0",
        [MASK_BYTES] = "boolean",
        [MASK_BITS] = "boolean, bits",
        [MASK_BYTES_CAUSAL] = "boolean, causal",
        [MASK_BIAS] = "bias",
        [MASK_ALIBI] = "alibi",
        [MASK_DOCUMENTS] = "documents, causal",
        [MASK_BLOCKS] = "blocks of 128",
        [MASK_PADDED] = "padded",
        [MASK_RAGGED] = "ragged",
    };
    return names[mask];
}

void bench_mask_range(enum bench_mask mask, int64_t queries, int64_t keys, int64_t i,
                      int64_t *first, int64_t *last)
{
    int64_t position = i + keys - queries;
    bool causal = mask == MASK_CAUSAL || mask == MASK_WINDOW_512 || mask == MASK_BYTES_CAUSAL ||
                  mask == MASK_DOCUMENTS;
    *first = mask == MASK_WINDOW_512 && position > 511 ? position - 511 : 0;
    *last = causal ? position : keys - 1;
}

/* The last steps of MurmurHash3's mixing (Appleby, public domain) on a sum of multiples. */
static bool hash_sees(int64_t i, int64_t j)
{
    uint32_t x = (uint32_t)i * 2654435761u + (uint32_t)j * 2246822519u;
    x = (x ^ x >> 15) * 2246822507u;
    return x >> 28 != 0;
}

bool bench_mask_sees(enum bench_mask mask, int64_t queries, int64_t keys, int64_t i, int64_t j)
{
    int64_t first, last;
    bench_mask_range(mask, queries, keys, i, &first, &last);
    if (j < first || j > last)
        return false;
    switch (mask) {
    case MASK_BYTES:
    case MASK_BITS:
        return hash_sees(i, j);
    case MASK_DOCUMENTS:
        return bench_mask_document(queries, i) == bench_mask_document(keys, j);
    case MASK_BLOCKS:
        return bench_mask_block(i / MASK_BLOCK, j / MASK_BLOCK);
    default:
        return true;
    }
}

double bench_mask_bias(enum bench_mask mask, int heads, int head, int64_t queries, int64_t keys,
                       int64_t i, int64_t j)
{
    if (mask == MASK_BIAS)
        return (double)((31 * head + 7 * i + 13 * j) % 64) / 32 - 1;
    if (mask == MASK_ALIBI)
        return -(double)bench_mask_slope(heads, head) * fabs((double)(i + keys - queries - j));
    return 0;
}

/* Press et al. 2022, for a power of two of heads: 2^(-8/heads), its square, its cube... */
float bench_mask_slope(int heads, int head)
{
    return exp2f(-8.0f * (float)(head + 1) / (float)heads);
}

int32_t bench_mask_document(int64_t n, int64_t t)
{
    int32_t d = 0;
    while (d < MASK_DOCUMENT_COUNT - 1 && t >= n * (d + 1) * (d + 2) / 72)
        d++;
    return d;
}

bool bench_mask_block(int64_t row_block, int64_t key_block)
{
    return key_block == row_block || key_block == 0 || (7 * row_block + 13 * key_block) % 5 == 0;
}

int64_t bench_mask_length(enum bench_mask mask, int batch, int64_t n, int b)
{
    return mask == MASK_PADDED || mask == MASK_RAGGED ? n * (batch - b) / batch : n;
}

static int64_t pairs_of_row(enum bench_mask mask, int64_t queries, int64_t keys, int64_t i)
{
    int64_t first, last, pairs = 0;
    bench_mask_range(mask, queries, keys, i, &first, &last);
    if (mask != MASK_BYTES && mask != MASK_BITS && mask != MASK_DOCUMENTS && mask != MASK_BLOCKS)
        return last - first + 1;
    for (int64_t j = first; j <= last; j++)
        pairs += bench_mask_sees(mask, queries, keys, i, j);
    return pairs;
}

int64_t bench_mask_pairs(enum bench_mask mask, int batch, int64_t queries, int64_t keys)
{
    int64_t pairs = 0;
    for (int b = 0; b < batch; b++) {
        int64_t rows = bench_mask_length(mask, batch, queries, b);
        int64_t length = bench_mask_length(mask, batch, keys, b);
        for (int64_t i = 0; i < rows; i++)
            pairs += pairs_of_row(mask, rows, length, i);
    }
    return pairs;
}
