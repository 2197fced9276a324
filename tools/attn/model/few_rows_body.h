/* The body of few_rows.h, for vectors of VECTOR_BYTES: loops for all types, which are two functions each
 * (few_rows_types.h). */
#include "few_rows_types.h"

/* ---- up to four rows ---- */

INLINE float sum_of(vf v)
{
    for (int step = LANES / 2; step > 0; step /= 2)
        for (int i = 0; i < step; i++)
            v[i] += v[i + step];
    return v[0];
}

/* Two sums for each row, of the even and the odd vectors. */
INLINE void add_piece(vf sum[][2], const vf w[PARTS], const float *x, int64_t x_stride, int rows)
{
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < PARTS; i++)
            sum[r][i % 2] += load(x + r * x_stride + LANES * i) * w[i];
}

/* What is left of a row of F32, F16 or BF16 behind the last whole piece: as a piece ended by zeros. */
INLINE void add_tail(const struct few_rows *p, const uint8_t *tail, vf sum[][2], const float *x,
                     int rows)
{
    int64_t count = p->inputs % PIECE;
    float values[PIECE] = {0}, inputs[PIECE] = {0};
    dequantise_row(p->type, tail, values, count);
    vf w[PARTS];
    memcpy(w, values, sizeof w);
    for (int r = 0; r < rows; r++) {
        memcpy(inputs, x + r * p->inputs + p->inputs - count, (size_t)count * sizeof *inputs);
        add_piece(sum + r, w, inputs, 0, 1);
    }
}

/* `rows` rows from `first`; all that is a constant where this is inlined makes a loop of its own. */
INLINE void multiply_rows(const struct few_rows *p, int64_t first, int rows, int block_bytes,
                          int pieces, read_scales *scales, unpack_piece *unpack)
{
    const float *x = p->x + first * p->inputs;
    int64_t blocks = p->inputs / (PIECE * pieces);
    for (int64_t j = 0; j < p->outputs; j++) {
        const uint8_t *block = (const uint8_t *)p->weights + (size_t)j * p->row_bytes;
        vf sum[4][2] = {{{0}}};
        const float *at = x;
        for (int64_t b = 0; b < blocks; b++, block += block_bytes) {
            struct scales s;
            scales(block, &s);
#pragma GCC unroll 8
            for (int piece = 0; piece < pieces; piece++, at += PIECE) {
                vf w[PARTS];
                unpack(block, &s, piece, w);
                add_piece(sum, w, at, p->inputs, rows);
            }
        }
        if (pieces == 1 && p->inputs % PIECE != 0)
            add_tail(p, block, sum, x, rows);
        float bias = p->bias != NULL ? p->bias[j] : 0;
        for (int r = 0; r < rows; r++)
            p->out[(first + r) * p->stride + j] = sum_of(sum[r][0] + sum[r][1]) + bias;
    }
}

/* ---- more rows: weights of some outputs are unpacked once, and multiplied by tiles of rows ---- */

enum { /* two sums each: what registers hold */
       TILE_ROWS = VECTOR_BYTES == 64 ? 6 : 3,
       TILE_OUTPUTS = 2,
};

/* A stretch of outputs whose weights are unpacked, `width` floats each, filled up with 0. */
struct unpacked {
    const float *weights;
    int64_t width, first, outputs;
};

/* In a register from here on: GCC 12 would read it from memory for each output again. */
INLINE vf in_register(vf v)
{
#if defined(__x86_64__)
    __asm__("" : "+v"(v));
#endif
    return v;
}

/* Vectors 0 and 1 of x, `x_stride` apart, times those of the weights. */
INLINE void add_two(vf sum[TILE_ROWS][TILE_OUTPUTS][2], const float *x, int64_t x_stride,
                    const float *w, int64_t width, const int rows, const int outputs)
{
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++)
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            const vf one = in_register(load(x + r * x_stride + i * LANES));
#pragma GCC unroll 2
            for (int j = 0; j < outputs; j++)
                sum[r][j][i] += one * load(w + j * width + i * LANES);
        }
}

/* `rows` rows by `outputs` outputs; sums as multiply_rows makes them. */
INLINE void multiply_tile(const struct few_rows *p, const struct unpacked *u, int64_t row,
                          int64_t output, const int rows, const int outputs)
{
    const float *x = p->x + row * p->inputs, *w = u->weights + output * u->width;
    vf sum[TILE_ROWS][TILE_OUTPUTS][2];
#pragma GCC unroll 24
    for (int i = 0; i < TILE_ROWS * TILE_OUTPUTS * 2; i++)
        sum[i / 2 / TILE_OUTPUTS][i / 2 % TILE_OUTPUTS][i % 2] = (vf){0};
    int64_t t = 0;
    for (; t + 2 * LANES <= p->inputs; t += 2 * LANES)
        add_two(sum, x + t, p->inputs, w + t, u->width, rows, outputs);
    if (t < p->inputs) { /* filled up with 0 */
        float ends[TILE_ROWS][2 * LANES] = {{0}};
        for (int r = 0; r < rows; r++)
            memcpy(ends[r], x + r * p->inputs + t, (size_t)(p->inputs - t) * sizeof(float));
        add_two(sum, ends[0], 2 * LANES, w + t, u->width, rows, outputs);
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int j = 0; j < outputs; j++) {
            const int64_t at = u->first + output + j;
            p->out[(row + r) * p->stride + at] =
                sum_of(sum[r][j][0] + sum[r][j][1]) + (p->bias != NULL ? p->bias[at] : 0);
        }
}

INLINE void multiply_tiles(const struct few_rows *p, const struct unpacked *u, int64_t row,
                           const int rows)
{
    int64_t j = 0;
    for (; j + TILE_OUTPUTS <= u->outputs; j += TILE_OUTPUTS)
        multiply_tile(p, u, row, j, rows, TILE_OUTPUTS);
    if (j < u->outputs)
        multiply_tile(p, u, row, j, rows, 1);
}

static void multiply_unpacked(const struct few_rows *p, const struct unpacked *u)
{
    int64_t row = 0;
    for (; row + TILE_ROWS <= p->rows; row += TILE_ROWS)
        multiply_tiles(p, u, row, TILE_ROWS);
    for (; TILE_ROWS > 3 && row + 3 <= p->rows; row += 3)
        multiply_tiles(p, u, row, 3);
    for (; row < p->rows; row++)
        multiply_tiles(p, u, row, 1);
}

/* The weights of one output to `to`. */
INLINE void unpack_output(const struct few_rows *p, int64_t output, float *to, int block_bytes,
                          int pieces, read_scales *scales, unpack_piece *unpack)
{
    const uint8_t *block = (const uint8_t *)p->weights + (size_t)output * p->row_bytes;
    const int64_t blocks = p->inputs / (PIECE * pieces), tail = p->inputs % PIECE;
    for (int64_t b = 0; b < blocks; b++, block += block_bytes) {
        struct scales s;
        scales(block, &s);
#pragma GCC unroll 8
        for (int piece = 0; piece < pieces; piece++, to += PIECE) {
            vf w[PARTS];
            unpack(block, &s, piece, w);
            memcpy(to, w, sizeof w);
        }
    }
    if (pieces == 1 && tail != 0) {
        memset(to, 0, PIECE * sizeof *to);
        dequantise_row(p->type, block, to, tail);
    }
}

INLINE void multiply_more_rows(const struct few_rows *p, int block_bytes, int pieces,
                               read_scales *scales, unpack_piece *unpack)
{
    struct unpacked u = {.weights = p->unpacked, .width = (p->inputs + PIECE - 1) / PIECE * PIECE};
    for (; u.first < p->outputs; u.first += u.outputs) {
        const int64_t left = p->outputs - u.first;
        u.outputs = left < UNPACKED_OUTPUTS ? left : UNPACKED_OUTPUTS;
        for (int64_t j = 0; j < u.outputs; j++)
            unpack_output(p, u.first + j, p->unpacked + j * u.width, block_bytes, pieces, scales,
                          unpack);
        multiply_unpacked(p, &u);
    }
}

INLINE void multiply_type(const struct few_rows *p, int block_bytes, int pieces,
                          read_scales *scales, unpack_piece *unpack)
{
    if (p->rows > UNPACK_ROWS)
        multiply_more_rows(p, block_bytes, pieces, scales, unpack);
    else if (p->rows == 4)
        multiply_rows(p, 0, 4, block_bytes, pieces, scales, unpack);
    else if (p->rows >= 2)
        multiply_rows(p, 0, 2, block_bytes, pieces, scales, unpack);
    if (p->rows == 1 || p->rows == 3)
        multiply_rows(p, p->rows - 1, 1, block_bytes, pieces, scales, unpack);
}

void FEW_ROWS_NAME(const struct few_rows *p)
{
    switch (p->type) {
    case TENSOR_F32:
        multiply_type(p, 128, 1, no_scales, unpack_f32);
        break;
    case TENSOR_F16:
        multiply_type(p, 64, 1, no_scales, unpack_f16);
        break;
    case TENSOR_BF16:
        multiply_type(p, 64, 1, no_scales, unpack_bf16);
        break;
    case TENSOR_Q8_0:
        multiply_type(p, 34, 1, one_scale, unpack_q8_0);
        break;
    case TENSOR_Q4_0:
        multiply_type(p, 18, 1, one_scale, unpack_q4_0);
        break;
    case TENSOR_Q4_1:
        multiply_type(p, 20, 1, one_scale_and_minimum, unpack_q4_1);
        break;
    case TENSOR_Q5_0:
        multiply_type(p, 22, 1, one_scale, unpack_q5_0);
        break;
    case TENSOR_Q5_1:
        multiply_type(p, 24, 1, one_scale_and_minimum, unpack_q5_1);
        break;
    case TENSOR_Q4_K:
        multiply_type(p, 144, 8, scales_of_sub_blocks, unpack_q4_k);
        break;
    case TENSOR_Q5_K:
        multiply_type(p, 176, 8, scales_of_sub_blocks, unpack_q5_k);
        break;
    case TENSOR_Q6_K:
        multiply_type(p, 210, 8, scales_q6_k, unpack_q6_k);
        break;
    case TENSOR_UNSUPPORTED: /* no matrix is of that type */
        break;
    }
}
