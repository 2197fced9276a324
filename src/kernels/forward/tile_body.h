/* The two register tiles: ROWS x COLUMNS outer products, `width` vectors wide.
 *
 * Every multiply-add takes one broadcast element of the left and one vector of the right; the accumulators
 * stay in registers from the first step to the last, and every address is one pointer plus a constant. */
#ifndef ATTN_KERNELS_TILE_BODY_H
#define ATTN_KERNELS_TILE_BODY_H

#include "kernels/simd/simd.h"
#include "kernels/table.h"

#if ATTN_VECTOR_BYTES == 64
enum { ROWS = 12 }; /* 24 accumulators of 32 registers */
#else
enum { ROWS = 6 }; /* 12 accumulators of 16 registers */
#endif
enum { COLUMNS = 2 * LANES };

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

/* rows of the tile lie `stride` floats apart */
INLINE struct tile tile_load(const float *from, int64_t stride, const int width)
{
    struct tile tile = tile_zero();
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
        tile.c[i][0] = vf_load(from + i * stride);
        if (width == 2)
            tile.c[i][1] = vf_load(from + i * stride + LANES);
    }
    return tile;
}

INLINE void tile_store(struct tile tile, float *to, int64_t stride, const int width)
{
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
        vf_store(to + i * stride, tile.c[i][0]);
        if (width == 2)
            vf_store(to + i * stride + LANES, tile.c[i][1]);
    }
}

/* tile[i][:] += left[t][i] * right[t][:] for t in [0, steps): element (t, i) of the left is at
 * t * left_step + i * left_row, step t of the right at t * COLUMNS. */
INLINE struct tile tile_multiply(struct tile tile, const float *left, const int left_step,
                                 const int left_row, const float *right, int64_t steps,
                                 const int width)
{
    for (int64_t t = 0; t < steps; t++) {
        vf b0 = vf_load(right);
        vf b1 = width == 2 ? vf_load(right + LANES) : b0;
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; i++) {
            tile.c[i][0] = left[i * left_row] * b0 + tile.c[i][0];
            if (width == 2)
                tile.c[i][1] = left[i * left_row] * b1 + tile.c[i][1];
        }
        left += left_step;
        right += COLUMNS;
    }
    return tile;
}

#endif
