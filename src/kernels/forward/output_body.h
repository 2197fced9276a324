/* Rows of the output: rescaled, and stored in the caller's dtype. */
#include "kernels/forward/tile_body.h"
#include "kernels/simd/convert.h"

INLINE void store_row_as(const float *output, int64_t output_rows, int64_t head_size, float factor,
                         void *to, const attn_dtype dtype)
{
    int64_t channel = 0;
    for (; dtype == ATTN_F32 && channel + COLUMNS <= head_size; channel += COLUMNS) {
        vf_store((float *)to + channel, vf_load(output) * factor);
        vf_store((float *)to + channel + LANES, vf_load(output + LANES) * factor);
        output += output_rows * COLUMNS;
    }
    for (; channel < head_size; channel += COLUMNS) {
        int64_t used = head_size - channel < COLUMNS ? head_size - channel : COLUMNS;
        for (int64_t i = 0; i < used; i++)
            store_as(to, channel + i, output[i] * factor, dtype);
        output += output_rows * COLUMNS;
    }
}

static void store_row(const float *output, int64_t output_rows, int64_t head_size, float factor,
                      void *to, attn_dtype dtype)
{
    if (dtype == ATTN_F32)
        store_row_as(output, output_rows, head_size, factor, to, ATTN_F32);
    else if (dtype == ATTN_BF16)
        store_row_as(output, output_rows, head_size, factor, to, ATTN_BF16);
    else
        store_row_as(output, output_rows, head_size, factor, to, ATTN_F16);
}

static void rescale_row(float *output, int64_t output_rows, int panels, float factor)
{
    for (int panel = 0; panel < panels; panel++) {
        vf_store(output, vf_load(output) * factor);
        vf_store(output + LANES, vf_load(output + LANES) * factor);
        output += output_rows * COLUMNS;
    }
}
