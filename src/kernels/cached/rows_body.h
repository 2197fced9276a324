/* Rows of a cache as f32: of any type that a cache may store, each at an address of its own.
 *
 * Kernels take a pointer to every row, so no sum knows where the pages of a cache begin. Rows of whole
 * vectors are converted in registers; int4, whose scales belong to groups of channels, and head sizes that
 * are no whole vectors go through a widened copy in the first-level cache. */
#ifndef ATTN_KERNELS_CACHED_ROWS_BODY_H
#define ATTN_KERNELS_CACHED_ROWS_BODY_H

#include "kernels/forward/tile_body.h"
#include "kernels/simd/convert.h"

typedef int8_t byte_vector __attribute__((vector_size(LANES)));
typedef int8_t byte_vector_memory __attribute__((vector_size(LANES), aligned(1), may_alias));

typedef uint8_t ubyte_vector_memory __attribute__((vector_size(LANES), aligned(1), may_alias));

/* Elements i .. i + LANES - 1 of a row; int8 without its scale. */
INLINE vf cached_vector(const char *row, int64_t i, const attn_dtype dtype)
{
    if (dtype != ATTN_INT8)
        return vf_load_as(row, i, dtype);
#if ATTN_VECTOR_BYTES == 64 && defined(__AVX512F__)
    return (vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(row + i))));
#elif ATTN_VECTOR_BYTES == 32 && defined(__AVX2__)
    return (vf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)(row + i))));
#else
    vi wide = __builtin_convertvector(*(const byte_vector_memory *)(row + i), vi);
    return __builtin_convertvector(wide, vf);
#endif
}

INLINE float cached_element(const char *row, int64_t i, const attn_dtype dtype)
{
    return dtype == ATTN_INT8 ? (float)row[i] : load_as(row, i, dtype);
}

/* int4: byte i of a group holds channel i in its low half, channel i + group / 2 in its high half, 8 more than
 * they are. */
INLINE void widen_int4(const char *row, const float *scales, int64_t group, int64_t size, float *to)
{
    const int64_t half = group / 2;
    for (int64_t begin = 0; begin < size; begin += group, row += half, to += group) {
        const float scale = scales[begin / group];
        int64_t i = 0;
        for (; i + LANES <= half; i += LANES) {
            vi bytes = __builtin_convertvector(*(const ubyte_vector_memory *)(row + i), vi);
            vf_store(to + i, __builtin_convertvector((bytes & 15) - 8, vf) * scale);
            vf_store(to + half + i, __builtin_convertvector((bytes >> 4) - 8, vf) * scale);
        }
        for (; i < half; i++) {
            int byte = (unsigned char)row[i];
            to[i] = scale * (float)((byte & 15) - 8);
            to[half + i] = scale * (float)((byte >> 4) - 8);
        }
    }
}

INLINE void widen_row(const struct attn_cached_rows *rows, int j, float *to, const attn_dtype dtype)
{
    const char *row = rows->at[j];
    int64_t i = 0;
    if (dtype == ATTN_INT4) {
        widen_int4(row, rows->scales[j], rows->group, rows->size, to);
        i = rows->size;
    }
    for (; i + LANES <= rows->size; i += LANES)
        vf_store(to + i, cached_vector(row, i, dtype));
    for (; i < rows->size; i++)
        to[i] = cached_element(row, i, dtype);
    for (; i % LANES != 0; i++)
        to[i] = 0.0f;
}

enum {
    FETCH_AHEAD = 8192, /* bytes between what is read and what is asked for */
    TOUCH_AHEAD = 4,    /* rows */
    SHORT_RUN = 64,     /* rows: of a small page, not of a block */
    FETCH_RUN = 4096, /* of a run of rows; what is behind them the machine has noticed by itself */
};

/* Whether the block's rows are more than one run. */
INLINE bool rows_break(const struct attn_cached_rows *rows)
{
    const int last = rows->count - 1;
    return rows->at[last] != (const char *)rows->at[0] + last * rows->step;
}

INLINE int64_t row_bytes(const struct attn_cached_rows *rows)
{
    return rows->dtype == ATTN_INT4 ? rows->size / 2 : rows->size * attn_dtype_size(rows->dtype);
}

/* The machine fetches ahead what is read in the order of memory, but cannot know where a page continues: rows
 * at the beginning of a run are asked for, some KB before [first, first + count) come to them. */
INLINE void fetch_breaks(const struct attn_cached_rows *rows, int first, int count)
{
    const int64_t bytes = row_bytes(rows);
    const int ahead = (int)(FETCH_AHEAD / bytes) + 1, run = (int)(FETCH_RUN / bytes) + 1;
    int j = first == 0 ? 1 : first + ahead;
    for (; j < first + ahead + count && j < rows->count; j++) {
        const int back = j < run ? j : run;
        const char *row = rows->at[j];
        if (row == (const char *)rows->at[j - back] + back * rows->step)
            continue;
        for (int64_t byte = 0; byte < bytes; byte += 64)
            __builtin_prefetch(row + byte, 0, 3);
    }
}

/* Tiles of more rows than two read several keys, or parts of values, side by side, in which the machine sees no
 * order of memory to fetch ahead by. So a byte of every line is read in that order, a few rows before. */
INLINE void touch_rows(const struct attn_cached_rows *rows, int first, int count)
{
    const int64_t bytes = row_bytes(rows);
    for (int j = first + TOUCH_AHEAD; j < first + TOUCH_AHEAD + count && j < rows->count; j++)
        for (int64_t byte = 0; byte < bytes; byte += 64)
            (void)*((const volatile char *)rows->at[j] + byte);
    /* Behind a page's rows of one kv head are the next one's, if anything: asked for, not read. */
    if (rows->count > SHORT_RUN || first + count + TOUCH_AHEAD <= rows->count)
        return;
    const uintptr_t end = (uintptr_t)rows->at[rows->count - 1] + (uintptr_t)rows->step;
    for (int64_t byte = 0; byte < TOUCH_AHEAD * bytes; byte += 64)
        __builtin_prefetch((const void *)(end + (uintptr_t)byte), 0, 3);
}

/* Whether kernels can take these rows as they are. */
INLINE bool rows_are_whole(const struct attn_cached_rows *rows)
{
    return rows->size % LANES == 0 && rows->dtype != ATTN_INT4;
}

/* Rows [first, first + count) to `to`, `stride` apart, f32, the last vector filled up with 0. */
static void widen_rows(const struct attn_cached_rows *rows, int first, int count, int64_t stride,
                       float *to)
{
    for (int j = first; j < first + count; j++, to += stride)
        switch ((int)rows->dtype) {
        case ATTN_F32:
            widen_row(rows, j, to, ATTN_F32);
            break;
        case ATTN_BF16:
            widen_row(rows, j, to, ATTN_BF16);
            break;
        case ATTN_F16:
            widen_row(rows, j, to, ATTN_F16);
            break;
        case ATTN_INT8:
            widen_row(rows, j, to, ATTN_INT8);
            break;
        default:
            widen_row(rows, j, to, ATTN_INT4);
            break;
        }
}

static void multiply_row(float *row, const float *factors, int count)
{
    int j = 0;
    for (; j + LANES <= count; j += LANES)
        vf_store(row + j, vf_load(row + j) * vf_load(factors + j));
    for (; j < count; j++)
        row[j] *= factors[j];
}

#endif
