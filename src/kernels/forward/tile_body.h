/* The two register tiles: ROWS x COLUMNS outer products, `width` vectors wide.
 *
 * Every multiply-add takes one broadcast element of the left and one vector of the right; the accumulators
 * stay in registers from the first step to the last, and every address is one pointer plus a constant. */
#ifndef ATTN_KERNELS_TILE_BODY_H
#define ATTN_KERNELS_TILE_BODY_H

#include "kernels/simd/simd.h"
#include "kernels/table.h"

#if ATTN_VECTOR_BYTES == 64 || defined(ATTN_NEON)
enum { ROWS = 12 }; /* 24 accumulators of 32 registers */
#else
enum { ROWS = 6 }; /* 12 accumulators of 16 registers */
#endif
enum {
    COLUMNS = 2 * LANES,
    TILE_STEP = ROWS / 3, /* a last group of fewer rows works on one or two thirds of a tile */
};

#ifdef ATTN_BF16_PAIRS
enum { PAIR = 2 };
#else
enum { PAIR = 1 };
#endif

typedef int32_t __attribute__((may_alias)) int32_t_alias;

/* One element of the left, in every lane. */
INLINE vf left_element(const float *left)
{
#ifdef ATTN_BF16_PAIRS
    return (vf)((vi){0} +
                *(const int32_t_alias *)left); /* bits: adding floats could change a NaN's */
#else
    return vf_set(*left);
#endif
}

/* c + a b, or with pairs c + a.low b.low + a.high b.high */
INLINE vf multiply_add(vf a, vf b, vf c)
{
#ifdef ATTN_BF16_PAIRS
    return (vf)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
#else
    return a * b + c;
#endif
}

struct tile {
    vf c[ROWS][2];
};

INLINE struct tile tile_zero(void)
{
    struct tile tile;
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++)
        tile.c[i][0] = tile.c[i][1] = (vf){0};
    return tile;
}

/* The first `rows` rows of the tile, `stride` floats apart. */
INLINE struct tile tile_load(const float *from, int64_t stride, const int width, const int rows)
{
    struct tile tile = tile_zero();
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        tile.c[i][0] = vf_load(from + i * stride);
        if (width == 2)
            tile.c[i][1] = vf_load(from + i * stride + LANES);
    }
    return tile;
}

INLINE void tile_store(struct tile tile, float *to, int64_t stride, const int width, const int rows)
{
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        vf_store(to + i * stride, tile.c[i][0]);
        if (width == 2)
            vf_store(to + i * stride + LANES, tile.c[i][1]);
    }
}

INLINE struct tile tile_scale(struct tile tile, float factor)
{
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
        tile.c[i][0] *= factor;
        tile.c[i][1] *= factor;
    }
    return tile;
}

INLINE void tile_step(struct tile *tile, const float *left, const int left_row, vf b0, vf b1,
                      const int width, const int rows)
{
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        vf a = left_element(left + i * left_row);
        tile->c[i][0] = multiply_add(a, b0, tile->c[i][0]);
        if (width == 2)
            tile->c[i][1] = multiply_add(a, b1, tile->c[i][1]);
    }
}

#ifdef ATTN_NEON
#include "kernels/forward/tile_neon.h"
#else
/* tile[i][:] += left[t][i] * right[t][:] for t in [0, steps), i in [0, rows): element (t, i) of the left is at
 * t * left_step + i * left_row, step t of the right at t * COLUMNS. */
INLINE struct tile tile_multiply(struct tile tile, const float *left, const int left_step,
                                 const int left_row, const float *right, int64_t steps,
                                 const int width, const int rows)
{
#pragma GCC unroll 4
    for (int64_t t = 0; t < steps; t++) {
        vf b0 = vf_load(right);
        vf b1 = width == 2 ? vf_load(right + LANES) : b0;
        tile_step(&tile, left, left_row, b0, b1, width, rows);
        left += left_step;
        right += COLUMNS;
    }
    return tile;
}
#endif

#endif
