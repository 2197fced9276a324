/* Copies in the order of the products, and rows of the output back: exact, whatever the dtype, the stride
 * and the tail, NaN, infinities and subnormals included; what lies between rows is never looked at. */
#include "attention/kernel_check.h"

/* Element t of row j, as the packed copy must hold it: the halves of a pair are told apart by `half`. */
static double packed(const float *copy, int64_t step, int half, int width, int j)
{
    if (kernels->pair == 1)
        return (double)copy[step * width + j];
    return attn_ref_value(copy, ATTN_BF16, 2 * (step * width + j) + half);
}

static void check_copy(const char *what, const float *copy, const void *from, attn_dtype dtype,
                       int64_t stride, int64_t size, int used, int width, float scale)
{
    for (int64_t t = 0; t < attn_kernels_steps(kernels, size) * kernels->pair; t++)
        for (int j = 0; j < width; j++) {
            double expected = 0;
            if (j < used && t < size)
                expected = (double)((float)attn_ref_value(from, dtype, j * stride + t) * scale);
            exactly(what, t, packed(copy, t / kernels->pair, (int)(t % kernels->pair), width, j),
                    expected);
        }
}

void check_pack_queries_and_keys(void **state)
{
    (void)state;
    struct random random = {1};
    for (int round = 0; round < 900; round++) {
        const attn_dtype dtype = kernel_dtypes[round % kernel_dtypes_count];
        const int64_t size = random_between(&random, 1, round % 9 == 0 ? 300 : 40);
        const int64_t stride = random_stride(&random, size);
        const size_t step = (size_t)attn_kernels_steps(kernels, size) * sizeof(float);
        const int used_rows = (int)random_between(&random, 1, kernels->rows);
        const int used_keys = (int)random_between(&random, 1, kernels->columns);
        const float scale = kernels->pair == 2 ? 1.0f : (float)random_normal(&random);
        void *queries = rows_of(&random, dtype, used_rows, size, stride, 1);
        void *keys = rows_of(&random, dtype, used_keys, size, stride, 1);
        if (round % 4 == 0)
            attn_ref_store(keys, dtype, random_between(&random, 0, size - 1),
                           round % 8 == 0 ? NAN : -INFINITY);
        float *group = fenced(step * (size_t)kernels->rows);
        float *panel = fenced(step * (size_t)kernels->columns);
        kernels->pack_queries(queries, dtype, stride, used_rows, size, scale, group);
        kernels->pack_keys(keys, dtype, stride, used_keys, size, panel);
        check_copy("query", group, queries, dtype, stride, size, used_rows, kernels->rows, scale);
        check_copy("key", panel, keys, dtype, stride, size, used_keys, kernels->columns, 1);
        release();
    }
}

/* Each of the 65536 numbers of two bytes, in every place of a group of four or of a tail. */
void check_pack_every_half(void **state)
{
    (void)state;
    const int columns = kernels->columns;
    const int64_t size = 65536 / 4 + 3;
    for (int d = 0; d < kernel_dtypes_count; d++) {
        if (kernel_dtypes[d] == ATTN_F32)
            continue;
        uint16_t *keys = fenced((size_t)(columns * size) * sizeof *keys);
        for (int64_t i = 0; i < columns * size; i++)
            keys[i] = (uint16_t)(i / size * 16384 + i % size);
        float *panel =
            fenced((size_t)(attn_kernels_steps(kernels, size) * columns) * sizeof *panel);
        kernels->pack_keys(keys, kernel_dtypes[d], size, columns, size, panel);
        check_copy("half", panel, keys, kernel_dtypes[d], size, size, columns, columns, 1);
        release();
    }
}

static void check_block_of_values(const float *copy, const void *from, attn_dtype dtype,
                                  int64_t stride, int64_t keys, int64_t size)
{
    const int columns = kernels->columns;
    const int64_t steps = attn_kernels_steps(kernels, keys);
    const int64_t panels = (size + columns - 1) / columns;
    for (int64_t channel = 0; channel < panels * columns; channel++)
        for (int64_t key = 0; key < steps * kernels->pair; key++) {
            int64_t step = channel / columns * steps + key / kernels->pair;
            double expected = 0;
            if (channel < size && key < keys)
                expected = attn_ref_value(from, dtype, key * stride + channel);
            exactly(
                "value", channel,
                packed(copy, step, (int)(key % kernels->pair), columns, (int)(channel % columns)),
                expected);
        }
}

void check_pack_values(void **state)
{
    (void)state;
    static const double poisons[] = {NAN, -NAN, INFINITY, -INFINITY};
    struct random random = {2};
    for (int round = 0; round < 600; round++) {
        const attn_dtype dtype = kernel_dtypes[round % kernel_dtypes_count];
        const int64_t size = random_between(&random, 1, round % 5 == 0 ? 150 : 40);
        const int64_t keys = random_between(&random, 0, 21), stride = random_stride(&random, size);
        const int64_t panels = (size + kernels->columns - 1) / kernels->columns;
        const int64_t steps = attn_kernels_steps(kernels, keys);
        void *from = rows_of(&random, dtype, keys, size, stride, 1);
        float *to = fenced((size_t)(panels * steps * kernels->columns) * sizeof *to);
        assert_false(kernels->pack_values(from, dtype, stride, keys, size, to));
        check_block_of_values(to, from, dtype, stride, keys, size);
        for (int p = 0; p < 4 && keys > 0; p++) {
            int64_t at = random_between(&random, 0, keys - 1) * stride +
                         random_between(&random, 0, size - 1);
            double kept = attn_ref_value(from, dtype, at);
            attn_ref_store(from, dtype, at, poisons[p]);
            assert_true(kernels->pack_values(from, dtype, stride, keys, size, to));
            check_block_of_values(to, from, dtype, stride, keys, size);
            attn_ref_store(from, dtype, at, kept);
        }
        release();
    }
}

void check_pack_queries_quads(void **state)
{
    (void)state;
    struct random random = {5};
    const int lanes = kernels->lanes, rows = lanes / 4;
    for (int round = 0; round < 300; round++) {
        const attn_dtype dtype = kernel_dtypes[round % kernel_dtypes_count];
        const int64_t size = random_between(&random, 1, 30) * kernels->quad_channels;
        const int64_t steps = size / kernels->pair, stride = random_stride(&random, size);
        const int used = (int)random_between(&random, 1, rows);
        const float scale = kernels->pair == 2 ? 1.0f : (float)random_normal(&random);
        void *from = rows_of(&random, dtype, used, size, stride, 1);
        float *to = fenced((size_t)(steps / 4 * lanes) * sizeof *to);
        kernels->pack_queries_quads(from, dtype, stride, used, size, scale, to);
        for (int row = 0; row < rows; row++)
            for (int64_t t = 0; t < size; t++) {
                int64_t step = t / kernels->pair, at = step / 4 * lanes + row * 4 + step % 4;
                double expected = 0;
                if (row < used)
                    expected =
                        (double)((float)attn_ref_value(from, dtype, row * stride + t) * scale);
                exactly("quad", t, packed(to, at, (int)(t % kernels->pair), 1, 0), expected);
            }
        release();
    }
}

void check_non_finite(void **state)
{
    (void)state;
    static const double poisons[] = {NAN, -NAN, INFINITY, -INFINITY};
    struct random random = {6};
    for (int round = 0; round < 400; round++) {
        const attn_dtype dtype = kernel_dtypes[round % kernel_dtypes_count];
        const int64_t size = random_between(&random, 1, 70), keys = random_between(&random, 0, 9);
        const int64_t stride = random_stride(&random, size);
        void *from = rows_of(&random, dtype, keys, size, stride, 1); /* NaN between the rows */
        assert_false(kernels->non_finite(from, dtype, stride, keys, size));
        if (keys > 0) {
            attn_ref_store(from, dtype,
                           random_between(&random, 0, keys - 1) * stride +
                               random_between(&random, 0, size - 1),
                           poisons[round / 3 % 4]);
            assert_true(kernels->non_finite(from, dtype, stride, keys, size));
        }
        release();
    }
}

void check_store_row(void **state)
{
    (void)state;
    static const attn_dtype dtypes[] = {ATTN_F32, ATTN_BF16, ATTN_F16};
    struct random random = {3};
    const int columns = kernels->columns;
    for (int round = 0; round < 1200; round++) {
        const attn_dtype dtype = dtypes[round % 3];
        const int64_t size = random_between(&random, 1, 130);
        const int64_t panels = (size + columns - 1) / columns;
        const int64_t rows = random_between(&random, 1, 3),
                      row = random_between(&random, 0, rows - 1);
        const float factor = round % 2 ? 1.0f : (float)random_normal(&random);
        float *output = fenced((size_t)(panels * rows * columns) * sizeof *output);
        for (int64_t i = 0; i < panels * rows * columns; i++)
            output[i] = (float)number(&random, dtype, round % 4 ? 1 : 1e5, true);
        output[random_between(&random, 0, panels * rows * columns - 1)] =
            round % 3 == 0 ? NAN : -INFINITY;
        char *to = fenced((size_t)(size * attn_ref_dtype_size(dtype)));
        char *expected = fenced((size_t)(size * attn_ref_dtype_size(dtype)));
        kernels->store_row(output + row * columns, rows, size, factor, to, dtype);
        for (int64_t i = 0; i < size; i++) {
            float x = output[(i / columns * rows + row) * columns + i % columns] * factor;
            attn_ref_store(expected, dtype, i, (double)x);
            exactly("stored", i, attn_ref_value(to, dtype, i), attn_ref_value(expected, dtype, i));
        }
        release();
    }
}

void check_rescale_row(void **state)
{
    (void)state;
    struct random random = {4};
    const int columns = kernels->columns;
    for (int round = 0; round < 200; round++) {
        const int64_t panels = random_between(&random, 0, 5), rows = random_between(&random, 1, 4);
        const int64_t row = random_between(&random, 0, rows - 1), count = panels * rows * columns;
        float *output = fenced((size_t)count * sizeof *output);
        float *before = fenced((size_t)count * sizeof *before);
        for (int64_t i = 0; i < count; i++)
            before[i] = output[i] = (float)number(&random, ATTN_F32, 1, true);
        if (count > 0)
            before[0] = output[0] = NAN;
        kernels->rescale_row(output + row * columns, rows, (int)panels, 0.3f);
        for (int64_t i = 0; i < count; i++)
            exactly("rescaled", i, (double)output[i],
                    (double)(before[i] * (i / columns % rows == row ? 0.3f : 1.0f)));
        release();
    }
}
