/* Scores of a few rows against keys of a cache: the rows are those of all heads that read the kv head.
 *
 * One or two rows, four where elements have to be widened, and up to eight where there are 32 registers: a vector holds
 * LANES channels, and the partial sums of LANES keys are folded into one vector of scores. More: quads, as
 * in_place_body.h has them. Rows of several sequences go the way that those
 * of one of them would (call->like). A key's sum is the same whatever stands beside it; keys that fill up a
 * last step are the last key again. */
#include "kernels/cached/rows_body.h"

/* Whether `like` rows meet whole vectors of a key. */
INLINE bool rows_are_plain(int like, attn_dtype dtype)
{
    if (LANES == 16)
        return like <= 8;
    return like <= (LANES == 8 && dtype != ATTN_F32 ? 4 : 2);
}

#if ATTN_VECTOR_BYTES == 64
#define QUADS_OF(a, b, i)                                                                          \
    __builtin_shufflevector(a, b, 4 * (i), 4 * (i) + 1, 4 * (i) + 2, 4 * (i) + 3, 4 * (i) + 16,    \
                            4 * (i) + 17, 4 * (i) + 18, 4 * (i) + 19, 4 * (i) + 4, 4 * (i) + 5,    \
                            4 * (i) + 6, 4 * (i) + 7, 4 * (i) + 20, 4 * (i) + 21, 4 * (i) + 22,    \
                            4 * (i) + 23)
#endif

/* Lane k = the sum of keys[k]. */
INLINE vf fold_lanes(const vf keys[LANES])
{
#if ATTN_VECTOR_BYTES == 16
    return fold_quads(keys);
#elif ATTN_VECTOR_BYTES == 32
    vf low = fold_quads(keys), high = fold_quads(keys + 4);
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 8, 9, 10, 11) +
           __builtin_shufflevector(low, high, 4, 5, 6, 7, 12, 13, 14, 15);
#else
    vf a = fold_quads(keys), b = fold_quads(keys + 4);
    vf c = fold_quads(keys + 8), d = fold_quads(keys + 12);
    /* quads 0 and 2 of the sums of a and b side by side, then of c and d */
    vf ab = QUADS_OF(a, b, 0) + QUADS_OF(a, b, 2);
    vf cd = QUADS_OF(c, d, 0) + QUADS_OF(c, d, 2);
    return __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
           __builtin_shufflevector(ab, cd, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30,
                                   31);
#endif
}

/* The partial sums of one key, for one or two rows. */
INLINE void plain_key(const float *queries, int64_t stride, const char *key, int64_t size,
                      vf *first, vf *second, const int rows, const attn_dtype dtype)
{
    vf a0 = {0}, a1 = {0}, b0 = {0}, b1 = {0};
    int64_t t = 0;
    for (; t + 2 * LANES <= size; t += 2 * LANES) {
        vf k0 = cached_vector(key, t, dtype), k1 = cached_vector(key, t + LANES, dtype);
        a0 = vf_load(queries + t) * k0 + a0;
        a1 = vf_load(queries + t + LANES) * k1 + a1;
        if (rows == 2) {
            b0 = vf_load(queries + stride + t) * k0 + b0;
            b1 = vf_load(queries + stride + t + LANES) * k1 + b1;
        }
    }
    if (t < size) {
        vf k0 = cached_vector(key, t, dtype);
        a0 = vf_load(queries + t) * k0 + a0;
        if (rows == 2)
            b0 = vf_load(queries + stride + t) * k0 + b0;
    }
    *first = a0 + a1;
    *second = b0 + b1;
}

/* Keys [0, count) at `key_at`, whole vectors of `size` channels, to scores from `scores` on. */
INLINE void plain_keys(const float *queries, const void *const *key_at, int count, int64_t size,
                       float *scores, const int rows, const attn_dtype dtype)
{
    vf sums[2][LANES];
    for (int k = 0; k < LANES; k++)
        plain_key(queries, size, key_at[k < count ? k : count - 1], size, &sums[0][k], &sums[1][k],
                  rows, dtype);
    vf_store(scores, fold_lanes(sums[0]));
    if (rows == 2)
        vf_store(scores + ATTN_SCORE_STRIDE, fold_lanes(sums[1]));
}

/* All rows, `each` (1 or 2) at a time; a row's sum is the same either way. */
INLINE void plain_rows(const struct attn_cached_scores_call *call, const void *const *key_at,
                       int count, int64_t size, int key, const int each, const attn_dtype dtype)
{
    int row = 0;
    for (; row + each <= call->rows; row += each)
        plain_keys(call->queries + row * size, key_at, count, size,
                   call->scores + (int64_t)row * ATTN_SCORE_STRIDE + key, each, dtype);
    if (each == 2 && row < call->rows)
        plain_keys(call->queries + row * size, key_at, count, size,
                   call->scores + (int64_t)row * ATTN_SCORE_STRIDE + key, 1, dtype);
}

#if ATTN_VECTOR_BYTES == 64
/* Four rows by four keys: 16 partial sums are folded into 16 scores. The first four rows read keys in the order
 * of memory; for others they are near, and four keys share each load of a query. */
INLINE void four_by_four(const float *queries, const void *const *key_at, int count, int64_t size,
                         float *scores, const bool first, const attn_dtype dtype)
{
    vf sums[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        sums[i] = (vf){0};
    if (first) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) { /* one after the other, as memory has them */
            const char *key = key_at[k < count ? k : count - 1];
            for (int64_t t = 0; t < size; t += LANES) {
                vf x = cached_vector(key, t, dtype);
#pragma GCC unroll 4
                for (int row = 0; row < 4; row++)
                    sums[4 * row + k] = vf_load(queries + row * size + t) * x + sums[4 * row + k];
            }
        }
    } else {
        const char *keys[4];
        for (int k = 0; k < 4; k++)
            keys[k] = key_at[k < count ? k : count - 1];
        for (int64_t t = 0; t < size; t += LANES) {
            vf key[4];
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++)
                key[k] = cached_vector(keys[k], t, dtype);
#pragma GCC unroll 4
            for (int row = 0; row < 4; row++) {
                vf q = vf_load(queries + row * size + t);
#pragma GCC unroll 4
                for (int k = 0; k < 4; k++)
                    sums[4 * row + k] = q * key[k] + sums[4 * row + k];
            }
        }
    }
    store_quads(fold_lanes(sums), scores);
}
#endif

#if ATTN_VECTOR_BYTES == 32
#define LANES_OF __builtin_shufflevector

/* The halves of v to two rows. */
INLINE void store_halves(vf v, float *scores, float *second)
{
    v4_store(scores, LANES_OF(v, v, 0, 1, 2, 3));
    v4_store(second, LANES_OF(v, v, 4, 5, 6, 7));
}

/* Four rows by two keys: lane 2 i + k = row i, key k. An element is widened once. */
INLINE vf row_tile(const float *queries, const void *const key_at[2], int64_t size,
                   const attn_dtype dtype)
{
    vf sums[LANES];
#pragma GCC unroll 8
    for (int i = 0; i < LANES; i++)
        sums[i] = (vf){0};
    for (int64_t t = 0; t < size; t += LANES) {
        const vf first = cached_vector(key_at[0], t, dtype);
        const vf second = cached_vector(key_at[1], t, dtype);
#pragma GCC unroll 4
        for (int row = 0; row < 4; row++) {
            const vf q = vf_load(queries + row * size + t);
            sums[2 * row] = q * first + sums[2 * row];
            sums[2 * row + 1] = q * second + sums[2 * row + 1];
        }
    }
    return fold_lanes(sums);
}

/* Four keys by four rows. */
INLINE void four_rows(const float *queries, const void *const key_at[4], int64_t size,
                      float *scores, const attn_dtype dtype)
{
    const vf a = row_tile(queries, key_at, size, dtype);
    const vf b = row_tile(queries, key_at + 2, size, dtype);
    float *next = scores + ATTN_SCORE_STRIDE;
    store_halves(LANES_OF(a, b, 0, 1, 8, 9, 4, 5, 12, 13), scores, scores + 2 * ATTN_SCORE_STRIDE);
    store_halves(LANES_OF(a, b, 2, 3, 10, 11, 6, 7, 14, 15), next, next + 2 * ATTN_SCORE_STRIDE);
}

INLINE void row_tiles(const struct attn_cached_scores_call *call, const void *const *keys,
                      int count, int64_t size, float *scores, const attn_dtype dtype)
{
    const void *key_at[4];
    for (int k = 0; k < 4; k++)
        key_at[k] = keys[k < count ? k : count - 1];
    for (int row = 0; row < call->rows; row += 4)
        four_rows(call->queries + row * size, key_at, size,
                  scores + (int64_t)row * ATTN_SCORE_STRIDE, dtype);
}
#endif

INLINE void quad_keys(const struct attn_cached_scores_call *call, const void *const *keys,
                      int count, int64_t size, float *scores, const attn_dtype dtype)
{
    const struct attn_scores_in_place_call in_place = {
        .queries = call->queries, .steps = size, .rows = call->rows};
    const char *key_at[IN_PLACE_KEYS];
    for (int k = 0; k < IN_PLACE_KEYS; k++)
        key_at[k] = keys[k < count ? k : count - 1];
    quad_tiles(&in_place, key_at, scores, dtype);
}

/* `step` keys at a time, widened first where `wide` says so. `rows` 1, 2: one or two whole rows at a time; 4: by
 * fours; 0: quads. */
INLINE void cached_scores_as(const struct attn_cached_scores_call *call, const int step,
                             const int rows, const bool wide, const attn_dtype dtype)
{
    const struct attn_cached_rows *keys = &call->keys;
    const int64_t size = (keys->size + LANES - 1) / LANES * LANES;
    const bool broken = rows_break(keys);
    for (int key = 0; key < keys->count; key += step) {
        const int count = keys->count - key < step ? keys->count - key : step;
        const void *widened[LANES > (int)IN_PLACE_KEYS ? LANES : (int)IN_PLACE_KEYS];
        const void *const *at = keys->at + key;
        if ((rows == 0 || (rows == 4 && LANES == 8)) && !wide)
            touch_rows(keys, key, count);
        else if (broken)
            fetch_breaks(keys, key, count);
        if (wide) {
            widen_rows(keys, key, count, size, call->wide);
            for (int k = 0; k < count; k++)
                widened[k] = call->wide + k * size;
            at = widened;
        }
#if ATTN_VECTOR_BYTES == 64
        if (rows == 4)
            four_by_four(call->queries, at, count, size, call->scores + key, true, dtype);
        for (int row = 4; rows == 4 && row < call->rows; row += 4)
            four_by_four(call->queries + row * size, at, count, size,
                         call->scores + (int64_t)row * ATTN_SCORE_STRIDE + key, false, dtype);
#elif ATTN_VECTOR_BYTES == 32
        if (rows == 4)
            row_tiles(call, at, count, size, call->scores + key, dtype);
#endif
        if ((rows == 1 || rows == 2) && size == 128) /* the query stays in registers */
            plain_rows(call, at, count, 128, key, rows, dtype);
        else if (rows == 1 || rows == 2)
            plain_rows(call, at, count, size, key, rows, dtype);
        else if (rows == 0)
            quad_keys(call, at, count, size, call->scores + key, dtype);
    }
}

INLINE void plain_scores(const struct attn_cached_scores_call *call, const int step, const int rows)
{
    if (!rows_are_whole(&call->keys))
        cached_scores_as(call, step, rows, true, ATTN_F32);
    else if (call->keys.dtype == ATTN_F32)
        cached_scores_as(call, step, rows, false, ATTN_F32);
    else if (call->keys.dtype == ATTN_BF16)
        cached_scores_as(call, step, rows, false, ATTN_BF16);
    else if (call->keys.dtype == ATTN_F16)
        cached_scores_as(call, step, rows, false, ATTN_F16);
    else
        cached_scores_as(call, step, rows, false, ATTN_INT8);
}

static void cached_scores(const struct attn_cached_scores_call *call)
{
    if (call->rows == 1)
        plain_scores(call, LANES, 1);
    else if (call->like <= 2)
        plain_scores(call, LANES, 2);
    else if (rows_are_plain(call->like, call->keys.dtype) && (LANES == 16 || call->rows <= 4))
        plain_scores(call, 4, 4);
    else if (rows_are_plain(call->like, call->keys.dtype)) /* widened once for all */
        cached_scores_as(call, 4, 4, true, ATTN_F32);
    else if (call->keys.dtype == ATTN_F32 && rows_are_whole(&call->keys))
        cached_scores_as(call, IN_PLACE_KEYS, 0, false, ATTN_F32);
    else
        cached_scores_as(call, IN_PLACE_KEYS, 0, true, ATTN_F32);
    for (int row = 0; call->factors && row < call->rows; row++)
        multiply_row(call->scores + (int64_t)row * ATTN_SCORE_STRIDE, call->factors,
                     call->keys.count);
}

/* Rows of whole vectors as cached_scores takes them; whole tiles of them. */
static void cached_queries(const float *rows, int count, int like, int64_t size, attn_dtype dtype,
                           float *to)
{
    if (rows_are_plain(like, dtype)) {
        const int whole = like <= 2 ? count : (count + 3) / 4 * 4;
        for (int64_t t = 0; t < whole * size; t += LANES)
            vf_store(to + t, t < count * size ? vf_load(rows + t) : (vf){0});
        return;
    }
    for (int row = 0; row < count || row % QUAD_ROWS != 0; row++) {
        float *at = to + row / QUAD_ROWS * QUAD_ROWS * size + row % QUAD_ROWS * 4;
        for (int64_t t = 0; t < size; t += 4, at += LANES)
            v4_store(at, row < count ? v4_load(rows + row * size + t) : (v4){0});
    }
}
