/* Rows of the output: rescaled, and stored in the caller's dtype; rows of values looked through for NaN and
 * Inf. */
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

INLINE bool non_finite_as(const void *from, int64_t stride, int64_t keys, int64_t head_size,
                          const attn_dtype dtype)
{
    vf poison = {0}; /* x * 0 is 0 unless x is NaN or Inf */
    float rest = 0.0f;
    for (int64_t key = 0; key < keys; key++) {
        int64_t channel = 0;
        for (; channel + LANES <= head_size; channel += LANES)
            poison = vf_load_as(from, key * stride + channel, dtype) * 0.0f + poison;
        for (; channel < head_size; channel++)
            rest += load_as(from, key * stride + channel, dtype) * 0.0f;
    }
    return vf_sum(poison) + rest != 0.0f;
}

static bool non_finite(const void *from, attn_dtype dtype, int64_t stride, int64_t keys,
                       int64_t head_size)
{
    if (dtype == ATTN_F32)
        return non_finite_as(from, stride, keys, head_size, ATTN_F32);
    if (dtype == ATTN_BF16)
        return non_finite_as(from, stride, keys, head_size, ATTN_BF16);
    return non_finite_as(from, stride, keys, head_size, ATTN_F16);
}
