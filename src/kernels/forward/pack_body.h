/* Copies in the order in which the products read them, and the way back. */
#include "kernels/forward/tile_body.h"

/* Four rows from `from` become columns 0..3 of to[t][width], times scale. */
INLINE void transpose_four(const float *from, int64_t stride, int64_t head_size, float scale,
                           float *to, const int width)
{
    int64_t t = 0;
    for (; t + 4 <= head_size; t += 4) {
        v4 rows[4];
        for (int j = 0; j < 4; j++)
            rows[j] = v4_load(from + j * stride + t) * scale;
        v4_transpose(rows);
        for (int i = 0; i < 4; i++)
            v4_store(to + (t + i) * width, rows[i]);
    }
    for (; t < head_size; t++)
        for (int j = 0; j < 4; j++)
            to[t * width + j] = from[j * stride + t] * scale;
}

/* to[t][width] = scale * row j's element t, for `used` rows; the other columns are 0. */
INLINE void transpose(const float *from, int64_t stride, int used, int64_t head_size, float scale,
                      float *to, const int width)
{
    int j = 0;
    for (; j + 4 <= used; j += 4)
        transpose_four(from + j * stride, stride, head_size, scale, to + j, width);
    for (; j < used; j++)
        for (int64_t t = 0; t < head_size; t++)
            to[t * width + j] = from[j * stride + t] * scale;
    for (; j < width; j++)
        for (int64_t t = 0; t < head_size; t++)
            to[t * width + j] = 0.0f;
}

static void pack_queries(const float *from, int64_t stride, int rows_used, int64_t head_size,
                         float scale, float *group)
{
    transpose(from, stride, rows_used, head_size, scale, group, ROWS);
}

static void pack_keys(const float *from, int64_t stride, int keys_used, int64_t head_size,
                      float *panel)
{
    transpose(from, stride, keys_used, head_size, 1.0f, panel, COLUMNS);
}

static bool pack_values(const float *from, int64_t stride, int64_t keys, int64_t head_size,
                        float *values)
{
    vf poison = {0}; /* x * 0 is 0 unless x is NaN or Inf */
    for (int64_t channel = 0; channel < head_size; channel += COLUMNS) {
        int64_t used = head_size - channel < COLUMNS ? head_size - channel : COLUMNS;
        for (int64_t key = 0; key < keys; key++) {
            const float *row = from + key * stride + channel;
            vf low, high;
            if (used == COLUMNS) {
                low = vf_load(row);
                high = vf_load(row + LANES);
            } else {
                float padded[COLUMNS] = {0};
                for (int64_t i = 0; i < used; i++)
                    padded[i] = row[i];
                low = vf_load(padded);
                high = vf_load(padded + LANES);
            }
            poison = low * 0.0f + poison;
            poison = high * 0.0f + poison;
            vf_store(values, low);
            vf_store(values + LANES, high);
            values += COLUMNS;
        }
    }
    return vf_sum(poison) != 0.0f;
}

static void store_row(const float *output, int64_t output_rows, int64_t head_size, float factor,
                      float *to)
{
    int64_t channel = 0;
    for (; channel + COLUMNS <= head_size; channel += COLUMNS) {
        vf_store(to + channel, vf_load(output) * factor);
        vf_store(to + channel + LANES, vf_load(output + LANES) * factor);
        output += output_rows * COLUMNS;
    }
    for (int64_t i = 0; channel + i < head_size; i++)
        to[channel + i] = output[i] * factor;
}

static void rescale_row(float *output, int64_t output_rows, int panels, float factor)
{
    for (int panel = 0; panel < panels; panel++) {
        vf_store(output, vf_load(output) * factor);
        vf_store(output + LANES, vf_load(output + LANES) * factor);
        output += output_rows * COLUMNS;
    }
}
