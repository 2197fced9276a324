/* Few query rows: keys and values are read where they lie, for packing them would cost more than their
 * products.
 *
 * Scores: a quad is four elements of a row that follow each other. A vector of queries holds one quad of
 * each of QUAD_ROWS rows, a quad of a key is spread over all of them, and one multiply-add gives four partial
 * sums for every row. At the end the four sums of four keys are folded into four scores of each row.
 * Values: the tile of products_body.h, whose right factor is a row of values itself. */
#include "kernels/forward/tile_body.h"
#include "kernels/simd/convert.h"

enum {
    QUAD_ROWS = LANES / 4,
    QUAD_CHANNELS = 4 * PAIR,
    IN_PLACE_KEYS = (int)ROWS == 12 ? 8 : 4, /* with two vectors of rows: 16 or 8 accumulators */
};

typedef float v4_bytes __attribute__((vector_size(16), aligned(2), may_alias));
typedef int32_t __attribute__((may_alias, aligned(2))) int32_bytes;

/* Element t of a row as the products take it: times scale, or a pair as it is. */
INLINE float product_element(const void *row, int64_t t, float scale, const attn_dtype dtype)
{
#ifdef ATTN_BF16_PAIRS
    (void)scale, (void)dtype;
    union {
        int32_t bits;
        float element;
    } pair = {((const int32_bytes *)row)[t]};
    return pair.element;
#else
    return scale * load_as(row, t, dtype);
#endif
}

/* to[quad][LANES] = QUAD_ROWS rows; rows that are not there are 0. Head sizes are whole quads. */
static void pack_queries_quads(const void *from, attn_dtype dtype, int64_t stride, int rows_used,
                               int64_t head_size, float scale, float *to)
{
    for (int row = 0; row < QUAD_ROWS; row++) {
        const void *at = element_of(from, row < rows_used ? row * stride : 0, dtype);
        for (int64_t t = 0; t < head_size / PAIR; t++)
            to[t / 4 * LANES + row * 4 + t % 4] =
                row < rows_used ? product_element(at, t, scale, dtype) : 0.0f;
    }
}

INLINE vf quad_of_key(const char *key, int64_t t, const attn_dtype dtype)
{
#if ATTN_VECTOR_BYTES == 32 && defined(__AVX2__) /* GCC 12 loads, then shuffles between halves */
    if (dtype == ATTN_F32)
        return (vf)_mm256_broadcast_ps((const __m128 *)(const void *)(key + 16 * t));
#endif
#ifdef ATTN_BF16_PAIRS
    (void)dtype;
    v4 quad = *(const v4_bytes *)(key + 16 * t);
#else
    v4 quad = v4_load_as(key, 4 * t, dtype);
#endif
#if ATTN_VECTOR_BYTES == 64 && defined(__AVX512F__) /* GCC 12 makes four stores of the shuffle */
    return (vf)_mm512_broadcast_f32x4((__m128)quad);
#elif ATTN_VECTOR_BYTES == 64
    return __builtin_shufflevector(quad, quad, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
#elif ATTN_VECTOR_BYTES == 32
    return __builtin_shufflevector(quad, quad, 0, 1, 2, 3, 0, 1, 2, 3);
#else
    return quad;
#endif
}

/* Lane k of each quad = the sum of that quad of keys[k]. */
INLINE vf fold_quads(const vf keys[4])
{
#if ATTN_VECTOR_BYTES == 64
#define INTERLEAVE(a, b, i)                                                                        \
    __builtin_shufflevector(a, b, i, i + 16, i + 1, i + 17, i + 4, i + 20, i + 5, i + 21, i + 8,   \
                            i + 24, i + 9, i + 25, i + 12, i + 28, i + 13, i + 29)
#define HALVES(a, b, i)                                                                            \
    __builtin_shufflevector(a, b, i, i + 1, i + 16, i + 17, i + 4, i + 5, i + 20, i + 21, i + 8,   \
                            i + 9, i + 24, i + 25, i + 12, i + 13, i + 28, i + 29)
#elif ATTN_VECTOR_BYTES == 32
#define INTERLEAVE(a, b, i)                                                                        \
    __builtin_shufflevector(a, b, i, i + 8, i + 1, i + 9, i + 4, i + 12, i + 5, i + 13)
#define HALVES(a, b, i)                                                                            \
    __builtin_shufflevector(a, b, i, i + 1, i + 8, i + 9, i + 4, i + 5, i + 12, i + 13)
#else
#define INTERLEAVE(a, b, i) __builtin_shufflevector(a, b, i, i + 4, i + 1, i + 5)
#define HALVES(a, b, i) __builtin_shufflevector(a, b, i, i + 1, i + 4, i + 5)
#endif
    vf low = INTERLEAVE(keys[0], keys[1], 0) + INTERLEAVE(keys[0], keys[1], 2);
    vf high = INTERLEAVE(keys[2], keys[3], 0) + INTERLEAVE(keys[2], keys[3], 2);
    return HALVES(low, high, 0) + HALVES(low, high, 2);
#undef INTERLEAVE
#undef HALVES
}

/* Quad number `row` to the scores of that row. */
INLINE void store_quads(vf quads, float *scores)
{
#define STORE(row)                                                                                 \
    v4_store(scores + (row)*ATTN_SCORE_STRIDE,                                                     \
             __builtin_shufflevector(quads, quads, 4 * (row), 4 * (row) + 1, 4 * (row) + 2,        \
                                     4 * (row) + 3))
    STORE(0);
#if ATTN_VECTOR_BYTES >= 32
    STORE(1);
#endif
#if ATTN_VECTOR_BYTES == 64
    STORE(2);
    STORE(3);
#endif
#undef STORE
}

/* Quad number i of a vector, spread over all of it. */
INLINE vf spread_quad(vf x, const int i)
{
#if ATTN_VECTOR_BYTES == 64
#define SPREAD(a)                                                                                  \
    __builtin_shufflevector(x, x, a, a + 1, a + 2, a + 3, a, a + 1, a + 2, a + 3, a, a + 1, a + 2, \
                            a + 3, a, a + 1, a + 2, a + 3)
    return i == 0 ? SPREAD(0) : i == 1 ? SPREAD(4) : i == 2 ? SPREAD(8) : SPREAD(12);
#elif ATTN_VECTOR_BYTES == 32
#define SPREAD(a) __builtin_shufflevector(x, x, a, a + 1, a + 2, a + 3, a, a + 1, a + 2, a + 3)
    return i == 0 ? SPREAD(0) : SPREAD(4);
#else
    (void)i;
    return x;
#endif
#undef SPREAD
}

/* `vectors` (1 or 2) vectors of rows by IN_PLACE_KEYS keys. A quad of f32 is spread by the load itself; halves
 * are widened a vector at a time and spread from there, and only what is left is taken by quads. */
INLINE void quad_tile(const struct attn_scores_in_place_call *call, int row_vector,
                      const char *const key_at[IN_PLACE_KEYS], float *scores, const int vectors,
                      const attn_dtype dtype)
{
    const int64_t quads = call->steps / 4;
    const float *queries = call->queries + row_vector * quads * LANES;
    const float *next = queries + (vectors - 1) * quads * LANES; /* of the other vector of rows */
    const bool halves = PAIR == 1 && dtype != ATTN_F32;
    vf sums[2][IN_PLACE_KEYS];
#pragma GCC unroll 8
    for (int k = 0; k < IN_PLACE_KEYS; k++)
        sums[0][k] = sums[1][k] = (vf){0};
    int64_t t = 0;
    for (; halves && t + QUAD_ROWS <= quads; t += QUAD_ROWS) {
#pragma GCC unroll 8
        for (int k = 0; k < IN_PLACE_KEYS; k++) {
            vf key = vf_load_as(key_at[k], 4 * t, dtype);
#pragma GCC unroll 4
            for (int i = 0; i < QUAD_ROWS; i++) {
                vf quad = spread_quad(key, i);
                sums[0][k] = multiply_add(vf_load(queries + (t + i) * LANES), quad, sums[0][k]);
                if (vectors == 2)
                    sums[1][k] = multiply_add(vf_load(next + (t + i) * LANES), quad, sums[1][k]);
            }
        }
    }
    for (; t < quads; t++) {
        vf q0 = vf_load(queries + t * LANES), q1 = vf_load(next + t * LANES);
#pragma GCC unroll 8
        for (int k = 0; k < IN_PLACE_KEYS; k++) {
            vf quad = quad_of_key(key_at[k], t, dtype);
            sums[0][k] = multiply_add(q0, quad, sums[0][k]);
            if (vectors == 2)
                sums[1][k] = multiply_add(q1, quad, sums[1][k]);
        }
    }
    scores += (int64_t)row_vector * QUAD_ROWS * ATTN_SCORE_STRIDE;
#pragma GCC unroll 2
    for (int k = 0; k < IN_PLACE_KEYS; k += 4)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            vf folded = fold_quads(sums[v] + k);
            if (PAIR == 2)
                folded *= call->scale;
            store_quads(folded, scores + v * QUAD_ROWS * ATTN_SCORE_STRIDE + k);
        }
}

/* Row vectors two by two against the keys at key_at. */
INLINE void quad_tiles(const struct attn_scores_in_place_call *call,
                       const char *const key_at[IN_PLACE_KEYS], float *scores,
                       const attn_dtype dtype)
{
    const int row_vectors = (call->rows + QUAD_ROWS - 1) / QUAD_ROWS;
    int v = 0;
    for (; v + 2 <= row_vectors; v += 2)
        quad_tile(call, v, key_at, scores, 2, dtype);
    if (v < row_vectors)
        quad_tile(call, v, key_at, scores, 1, dtype);
}

INLINE void scores_in_place_as(const struct attn_scores_in_place_call *call, const attn_dtype dtype)
{
    const int last = call->key_last < call->keys_used ? call->key_last : call->keys_used;
    for (int key = call->key_first; key < last; key += IN_PLACE_KEYS) {
        const char *key_at[IN_PLACE_KEYS];
        for (int k = 0; k < IN_PLACE_KEYS; k++) { /* past the end the last key again */
            int j = key + k < last ? key + k : last - 1;
            key_at[k] = element_of(call->keys, j * call->stride, dtype);
        }
        quad_tiles(call, key_at, call->scores + key, dtype);
    }
}

static void scores_in_place(const struct attn_scores_in_place_call *call)
{
#ifdef ATTN_BF16_PAIRS
    scores_in_place_as(call, ATTN_BF16);
#else
    if (call->dtype == ATTN_F32)
        scores_in_place_as(call, ATTN_F32);
    else if (call->dtype == ATTN_BF16)
        scores_in_place_as(call, ATTN_BF16);
    else
        scores_in_place_as(call, ATTN_F16);
#endif
}

/* One vector of the right factor: LANES channels of a value, or of two values side by side. */
INLINE vf value_vector(const char *value, int64_t stride_bytes, int64_t channel, bool lone,
                       const attn_dtype dtype)
{
#ifdef ATTN_BF16_PAIRS
    (void)dtype;
    vu low = vu_load_half(value + 2 * channel);
    vu high = lone ? (vu){0} : vu_load_half(value + stride_bytes + 2 * channel);
    return (vf)(low | high << 16);
#else
    (void)stride_bytes, (void)lone;
    return vf_load_as(value, channel, dtype);
#endif
}

INLINE struct tile multiply_values(struct tile tile, const float *weights, const char *value,
                                   int64_t stride_bytes, int64_t steps, bool lone_last,
                                   const int width, const int rows, const attn_dtype dtype)
{
    for (int64_t t = 0; t < steps; t++) {
        bool lone = lone_last && t + 1 == steps;
        vf b0 = value_vector(value, stride_bytes, 0, lone, dtype);
        vf b1 = width == 2 ? value_vector(value, stride_bytes, LANES, lone, dtype) : b0;
        tile_step(&tile, weights++, ATTN_SCORE_STRIDE, b0, b1, width, rows);
        value += PAIR * stride_bytes;
    }
    return tile;
}

INLINE void values_in_place_tile(const struct attn_values_call *call, int panel, int group,
                                 const int width, const int rows, const attn_dtype dtype)
{
    const int first = call->key_first[group] / PAIR;
    const int keys = call->key_last[group] - call->key_first[group];
    const int64_t stride_bytes = call->stride * attn_dtype_size(dtype);
    const char *value = (const char *)element_of(call->in_place, panel * COLUMNS, dtype) +
                        call->key_first[group] * stride_bytes;
    float *output = call->output + ((int64_t)panel * call->output_rows + group * ROWS) * COLUMNS;
    struct tile tile = tile_load(output, COLUMNS, width, rows);
    tile = multiply_values(tile, call->scores + (int64_t)group * ROWS * ATTN_SCORE_STRIDE + first,
                           value, stride_bytes, (keys + PAIR - 1) / PAIR, keys % PAIR != 0, width,
                           rows, dtype);
    tile_store(tile, output, COLUMNS, width, rows);
}
