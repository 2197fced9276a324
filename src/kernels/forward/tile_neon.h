/* tile_multiply for AArch64: the same as in tile_body.h, where the left factor of a multiply-add is a lane of
 * a vector register. To spread an element over a register of its own would take one more instruction, on
 * many cores in the units that multiply; `fmla v.4s, v.4s, v.s[i]` takes it where it lies. So the left is
 * loaded by vectors, along whichever of its two axes is contiguous, and each load serves several rows or
 * several steps. Why these shapes: docs/performance-neon.md. */
#ifndef ATTN_KERNELS_TILE_NEON_H
#define ATTN_KERNELS_TILE_NEON_H

#include <arm_neon.h>

#include "kernels/simd/simd.h"

/* c + a[lane] b; lane is a constant once unrolled. */
INLINE vf multiply_add_lane(float32x4_t a, const int lane, vf b, vf c)
{
    float32x4_t x = (float32x4_t)b, sum = (float32x4_t)c;
    switch (lane) {
    case 0:
        return (vf)vfmaq_laneq_f32(sum, x, a, 0);
    case 1:
        return (vf)vfmaq_laneq_f32(sum, x, a, 1);
    case 2:
        return (vf)vfmaq_laneq_f32(sum, x, a, 2);
    default:
        return (vf)vfmaq_laneq_f32(sum, x, a, 3);
    }
}

/* One step whose left elements are side by side, as packed queries are: three loads serve twelve rows. */
INLINE void step_across(struct tile *tile, const float *left, const float *right, const int width,
                        const int rows)
{
    vf b0 = vf_load(right);
    vf b1 = width == 2 ? vf_load(right + LANES) : b0;
    float32x4_t a[ROWS / 4];
#pragma GCC unroll 4
    for (int i = 0; i < rows / 4; i++)
        a[i] = vld1q_f32(left + 4 * i);
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        tile->c[i][0] = multiply_add_lane(a[i / 4], i % 4, b0, tile->c[i][0]);
        if (width == 2)
            tile->c[i][1] = multiply_add_lane(a[i / 4], i % 4, b1, tile->c[i][1]);
    }
}

/* Two steps whose left elements follow each other in rows far apart, as weights do: one load serves both.
 * By two rows at a time, so that a core which works in order waits less for its sums. */
INLINE void steps_along(struct tile *tile, const float *left, const int left_row,
                        const float *right, const int width, const int rows)
{
    vf b00 = vf_load(right), b10 = vf_load(right + COLUMNS);
    vf b01 = width == 2 ? vf_load(right + LANES) : b00;
    vf b11 = width == 2 ? vf_load(right + COLUMNS + LANES) : b10;
#pragma GCC unroll 16
    for (int first = 0; first < rows; first += 2) {
        float32x4_t a[2];
#pragma GCC unroll 4
        for (int i = 0; i < 2; i++) /* the upper half costs nothing: the load clears it */
            a[i] = vcombine_f32(vld1_f32(left + (first + i) * left_row), vdup_n_f32(0.0f));
#pragma GCC unroll 4
        for (int i = 0; i < 2; i++) {
            vf *c = tile->c[first + i];
            c[0] = multiply_add_lane(a[i], 0, b00, c[0]);
            if (width == 2)
                c[1] = multiply_add_lane(a[i], 0, b01, c[1]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 2; i++) {
            vf *c = tile->c[first + i];
            c[0] = multiply_add_lane(a[i], 1, b10, c[0]);
            if (width == 2)
                c[1] = multiply_add_lane(a[i], 1, b11, c[1]);
        }
    }
}

/* The last step of an odd number of those. */
INLINE void step_along(struct tile *tile, const float *left, const int left_row, const float *right,
                       const int width, const int rows)
{
    vf b0 = vf_load(right);
    vf b1 = width == 2 ? vf_load(right + LANES) : b0;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        vf a = vf_set(left[i * left_row]);
        tile->c[i][0] = multiply_add(a, b0, tile->c[i][0]);
        if (width == 2)
            tile->c[i][1] = multiply_add(a, b1, tile->c[i][1]);
    }
}

/* tile[i][:] += left[t][i] * right[t][:] for t in [0, steps), as in tile_body.h: element (t, i) of the left is
 * at t * left_step + i * left_row, one of which is 1; step t of the right at t * COLUMNS. */
INLINE struct tile tile_multiply(struct tile tile, const float *left, const int left_step,
                                 const int left_row, const float *right, int64_t steps,
                                 const int width, const int rows)
{
    if (left_row == 1) {
        for (int64_t t = 0; t < steps; t++)
            step_across(&tile, left + t * left_step, right + t * COLUMNS, width, rows);
        return tile;
    }
    int64_t t = 0;
    for (; t + 2 <= steps; t += 2)
        steps_along(&tile, left + t, left_row, right + t * COLUMNS, width, rows);
    if (t < steps)
        step_along(&tile, left + t, left_row, right + t * COLUMNS, width, rows);
    return tile;
}

#endif
