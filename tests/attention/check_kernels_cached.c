/* The kernels of caches: rows of every type that a cache stores, each at an address of its own, any size and
 * count, as many query rows as decode. The tables of bf16 pairs have none of them. */
#include "attention/kernel_check.h"

enum { ROWS_MOST = ATTN_IN_PLACE_ROWS, COUNT_MOST = 70, SIZE_MOST = 140 };

/* Rows of a cache, and what they hold without the scale of an int8 row. */
struct stored {
    struct attn_cached_rows rows;
    const void *at[COUNT_MOST];
    const float *scales[COUNT_MOST];
    double value[COUNT_MOST][SIZE_MOST];
};

static void store_quantised(struct stored *s, struct random *random, int j)
{
    const int64_t size = s->rows.size, group = s->rows.group;
    int8_t q[SIZE_MOST];
    const int most = s->rows.dtype == ATTN_INT8 ? 127 : 7;
    for (int64_t d = 0; d < size; d++)
        s->value[j][d] = q[d] = (int8_t)random_between(random, -most, most);
    if (s->rows.dtype == ATTN_INT8) {
        s->at[j] = memcpy(fenced((size_t)size), q, (size_t)size);
        return;
    }
    uint8_t *bytes = fenced((size_t)size / 2);
    float *scales = numbers(random, (size_t)(size / group), 1);
    for (int64_t d = 0; d < size; d++) {
        const int64_t in_group = d % group, byte = d / group * (group / 2) + in_group % (group / 2);
        const unsigned stored = (unsigned)(q[d] + 8);
        if (in_group < group / 2) /* the low half comes first */
            bytes[byte] = (uint8_t)stored;
        else
            bytes[byte] = (uint8_t)(bytes[byte] | stored << 4);
        s->value[j][d] *= (double)scales[d / group];
    }
    s->at[j] = bytes;
    s->scales[j] = scales;
}

static void store_rows(struct stored *s, struct random *random, int round)
{
    s->rows = (struct attn_cached_rows){.dtype = (attn_dtype)(ATTN_F32 + round % 5),
                                        .at = s->at,
                                        .size = random_between(random, 1, SIZE_MOST),
                                        .count = (int)random_between(random, 1, COUNT_MOST)};
    if (round % 2)
        s->rows.size = kernels->lanes * random_between(random, 1, 128 / kernels->lanes);
    if (s->rows.dtype == ATTN_INT4) {
        s->rows.group = 2 * random_between(random, 1, 20);
        s->rows.size = s->rows.group * random_between(random, 1, SIZE_MOST / s->rows.group);
        s->rows.scales = s->scales;
    }
    for (int j = 0; j < s->rows.count; j++) {
        if (s->rows.dtype == ATTN_INT8 || s->rows.dtype == ATTN_INT4) {
            store_quantised(s, random, j);
            continue;
        }
        s->at[j] = rows_of(random, s->rows.dtype, 1, s->rows.size, s->rows.size, 1);
        for (int64_t d = 0; d < s->rows.size; d++)
            s->value[j][d] = attn_ref_value(s->at[j], s->rows.dtype, d);
    }
}

static int64_t whole(int64_t size)
{
    return (size + kernels->lanes - 1) / kernels->lanes * kernels->lanes;
}

static bool has_no_caches(void)
{
    if (kernels->cached_scores)
        return false;
    assert_int_equal(kernels->pair, 2);
    assert_true(!kernels->cached_queries && !kernels->cached_values && !kernels->widen_cached);
    return true;
}

/* Each `like` of the rows by themselves have the same bits. */
static void company_changes_nothing(const struct attn_cached_scores_call *call, const float *plain,
                                    int64_t padded)
{
    for (int row = 0; row + call->like <= call->rows; row += call->like) {
        struct attn_cached_scores_call alone = *call;
        const int filled = (call->like + ATTN_QUERY_TILE - 1) / ATTN_QUERY_TILE * ATTN_QUERY_TILE;
        float *queries = fenced((size_t)(filled * padded) * sizeof *queries);
        alone.rows = call->like;
        alone.queries = queries;
        alone.scores = fenced((size_t)(filled * ATTN_SCORE_STRIDE) * sizeof(float));
        kernels->cached_queries(plain + row * padded, call->like, call->like, padded,
                                call->keys.dtype, queries);
        kernels->cached_scores(&alone);
        for (int i = 0; i < call->like; i++)
            assert_memory_equal(alone.scores + i * ATTN_SCORE_STRIDE,
                                call->scores + (int64_t)(row + i) * ATTN_SCORE_STRIDE,
                                (size_t)call->keys.count * sizeof(float));
    }
}

/* Any order of size products and sums, widening and a scale: (size + 4) roundings of the magnitudes. */
void check_cached_scores(void **state)
{
    (void)state;
    struct random random = {31};
    for (int round = 0; round < 600 && !has_no_caches(); round++) {
        static struct stored s;
        store_rows(&s, &random, round);
        const int64_t size = s.rows.size, padded = whole(size);
        const int rows = (int)random_between(&random, 1, ROWS_MOST);
        float *plain = numbers(&random, (size_t)(rows * padded), 1);
        for (int row = 0; row < rows; row++)
            for (int64_t d = size; d < padded; d++)
                plain[row * padded + d] = 0;
        float *queries = fenced((size_t)(ROWS_MOST * padded) * sizeof *queries);
        const int like = (int)random_between(&random, 1, rows);
        kernels->cached_queries(plain, rows, like, padded, s.rows.dtype, queries);
        struct attn_cached_scores_call call = {
            .keys = s.rows,
            .queries = queries,
            .like = like,
            .factors = round % 3 ? numbers(&random, (size_t)s.rows.count, 1) : NULL,
            .rows = rows,
            .wide = fenced((size_t)(ATTN_CACHED_WIDE * padded) * sizeof(float)),
            .scores = fenced((size_t)(ROWS_MOST * ATTN_SCORE_STRIDE) * sizeof(float)),
        };
        kernels->cached_scores(&call);
        company_changes_nothing(&call, plain, padded);
        for (int row = 0; row < rows; row++)
            for (int j = 0; j < s.rows.count; j++) {
                double sum = 0, size_of = 0, factor = call.factors ? (double)call.factors[j] : 1;
                for (int64_t d = 0; d < size; d++) {
                    double product = (double)plain[row * padded + d] * s.value[j][d];
                    sum += product;
                    size_of += fabs(product);
                }
                if (size_of * fmax(fabs(factor), 1) >= (double)FLT_MAX)
                    continue; /* may overflow on the way */
                near("score", j, (double)call.scores[row * ATTN_SCORE_STRIDE + j], factor * sum,
                     ROUND * (double)(size + 4) * fabs(factor) * size_of + NORMAL);
            }
        release();
    }
}

/* Added to what is there, one value after the other: (count + 4) roundings. */
void check_cached_values(void **state)
{
    (void)state;
    struct random random = {32};
    for (int round = 0; round < 600 && !has_no_caches(); round++) {
        static struct stored s;
        store_rows(&s, &random, round);
        const int64_t size = s.rows.size, padded = whole(size);
        const int rows = (int)random_between(&random, 1, ROWS_MOST);
        const int64_t stride = padded + kernels->lanes * random_between(&random, 0, 2);
        struct attn_cached_values_call call = {
            .values = s.rows,
            .weights = numbers(&random, (size_t)(rows * ATTN_SCORE_STRIDE), 1),
            .rows = rows,
            .wide = fenced((size_t)(ATTN_CACHED_WIDE * padded) * sizeof(float)),
            .output = numbers(&random, (size_t)((rows - 1) * stride + padded), 1),
            .stride = stride,
        };
        float *before = fenced((size_t)((rows - 1) * stride + padded) * sizeof(float));
        memcpy(before, call.output, (size_t)((rows - 1) * stride + padded) * sizeof(float));
        kernels->cached_values(&call);
        for (int row = 0; row < rows; row++)
            for (int64_t d = 0; d < size; d++) {
                double sum = (double)before[row * stride + d], size_of = fabs(sum);
                for (int j = 0; j < s.rows.count; j++) {
                    double product =
                        (double)call.weights[row * ATTN_SCORE_STRIDE + j] * s.value[j][d];
                    sum += product;
                    size_of += fabs(product);
                }
                if (size_of >= (double)FLT_MAX)
                    continue; /* may overflow on the way */
                near("value", d, (double)call.output[row * stride + d], sum,
                     ROUND * (double)(s.rows.count + 4) * size_of + NORMAL);
            }
        release();
    }
}

/* int4 rounds once, where its scale comes in; all else is exact. */
void check_widen_cached(void **state)
{
    (void)state;
    struct random random = {33};
    for (int round = 0; round < 600 && !has_no_caches(); round++) {
        static struct stored s;
        store_rows(&s, &random, round);
        const int64_t size = s.rows.size, padded = whole(size);
        const int64_t stride = padded + random_between(&random, 0, 5);
        const int first = (int)random_between(&random, 0, s.rows.count - 1);
        const int count = (int)random_between(&random, 1, s.rows.count - first);
        float *to = fenced((size_t)((count - 1) * stride + padded) * sizeof *to);
        kernels->widen_cached(&s.rows, first, count, stride, to);
        for (int j = 0; j < count; j++)
            for (int64_t d = 0; d < padded; d++)
                exactly("widened", d, (double)to[j * stride + d],
                        d < size ? (double)(float)s.value[first + j][d] : 0);
        release();
    }
}

void check_multiply_row(void **state)
{
    (void)state;
    struct random random = {34};
    for (int round = 0; round < 200 && !has_no_caches(); round++) {
        const int count = (int)random_between(&random, 0, 90);
        float *row = numbers(&random, (size_t)count, 2), before[90];
        const float *factors = numbers(&random, (size_t)count, 2);
        memcpy(before, row, (size_t)count * sizeof *row);
        kernels->multiply_row(row, factors, count);
        for (int j = 0; j < count; j++)
            exactly("multiplied", j, (double)row[j], (double)(before[j] * factors[j]));
        release();
    }
}
