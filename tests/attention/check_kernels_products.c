/* The two products of a block, of packed copies and of keys and values where they lie, against sums in double. A sum of n products in f32, each rounded at most
 * twice, errs by less than 2 n u times the sum of sizes; dot products of bf16 pairs take numbers below the
 * normal range for 0, which costs less than 2 NORMAL for each product besides. */
#include "attention/kernel_check.h"

enum { GROUPS_MOST = 4, PANELS_MOST = 6, KEYS_MOST = 90 };

static const double spreads[] = {1, 1e-19, 1e9};

static double sum_bound(int64_t terms, double size, double largest)
{
    double lost = kernels->pair == 2 ? 2 * NORMAL * (1 + largest) : SUBNORMAL;
    return 2 * (double)(terms + 2) * (ROUND * size + lost);
}

/* `count` packed elements (pairs: twice as many numbers); `rest` numbers of each column's last step are 0. */
static float *operand(struct random *random, int64_t runs, int64_t steps, int width, bool lone,
                      double spread)
{
    float *array = fenced((size_t)(runs * steps * width) * sizeof *array);
    const attn_dtype dtype = kernels->pair == 2 ? ATTN_BF16 : ATTN_F32;
    for (int64_t i = 0; i < runs * steps * width * kernels->pair; i++) {
        bool empty = lone && i % 2 == 1 && i / 2 / width % steps == steps - 1;
        attn_ref_store(array, dtype, i, empty ? 0 : spread * random_normal(random));
    }
    return array;
}

/* Element `t` along the summed axis of column j in run `run`. */
static int64_t operand_index(int64_t run, int64_t steps, int64_t t, int width, int j)
{
    int64_t step = (run * steps + t / kernels->pair) * width + j;
    return kernels->pair == 2 ? 2 * step + t % 2 : step;
}

static double operand_at(const float *array, int64_t index)
{
    return attn_ref_value(array, kernels->pair == 2 ? ATTN_BF16 : ATTN_F32, index);
}

struct runs {
    int16_t first[GROUPS_MOST], last[GROUPS_MOST];
};

/* A run for each group, some empty, in steps of `step`. */
static struct runs random_runs(struct random *random, int64_t most, int64_t step)
{
    struct runs runs;
    for (int g = 0; g < GROUPS_MOST; g++) {
        runs.first[g] = (int16_t)(random_between(random, 0, most / step) * step);
        runs.last[g] = (int16_t)random_between(random, runs.first[g], most);
        if (random_chance(random, 0.3))
            runs.first[g] = 0, runs.last[g] = (int16_t)most;
    }
    return runs;
}

struct seen {
    uint64_t panels[GROUPS_MOST];
};

/* Panels that each group wants; a quarter of the groups wants none. */
static struct seen random_seen(struct random *random)
{
    struct seen seen;
    for (int g = 0; g < GROUPS_MOST; g++)
        seen.panels[g] = random_chance(random, 0.25) ? 0 : random_bits(random);
    return seen;
}

static bool is_seen(const uint64_t *seen, int group, int panel)
{
    return !seen || (seen[group] >> panel & 1);
}

static void compare_scores(const struct attn_scores_call *call, int64_t d, double spread)
{
    const int rows = kernels->rows, columns = kernels->columns;
    const double scale = kernels->pair == 2 ? (double)call->scale : 1;
    for (int r = 0; r < call->rows; r++)
        for (int j = 0; j < ATTN_SCORE_STRIDE; j++) {
            const float *got = call->scores + (int64_t)r * ATTN_SCORE_STRIDE + j;
            int g = r / rows, panel = j / columns, vector = j / kernels->lanes;
            if (vector < call->vector_first[g] || vector >= call->vector_last[g] ||
                !is_seen(call->seen, g, panel)) {
                assert_true(untouched(got, sizeof *got));
                continue;
            }
            double sum = 0, size = 0;
            for (int64_t t = 0; t < d; t++) {
                double product =
                    operand_at(call->queries, operand_index(g, call->steps, t, rows, r % rows)) *
                    operand_at(call->keys,
                               operand_index(panel, call->steps, t, columns, j % columns));
                sum += product, size += fabs(product);
            }
            near("score", j, (double)*got, sum * scale,
                 scale * sum_bound(d, size, 6 * spread) + SUBNORMAL);
        }
}

/* Every row of a call has the bits it has in a call for itself, whatever company it keeps: what equal bits
 * in every batch rest on. */
static void compare_alone(const struct attn_scores_call *call, int row)
{
    const int rows = kernels->rows, g = row / rows;
    float *queries = fenced((size_t)(call->steps * rows) * sizeof *queries);
    for (int64_t t = 0; t < call->steps; t++)
        for (int j = 0; j < rows; j++)
            queries[t * rows + j] =
                j == 0 ? call->queries[(g * call->steps + t) * rows + row % rows] : 0.0f;
    struct attn_scores_call alone = *call;
    alone.queries = queries;
    alone.rows = 1;
    alone.vector_first += g, alone.vector_last += g;
    alone.seen = call->seen ? call->seen + g : NULL;
    alone.scores = fenced((size_t)(rows * ATTN_SCORE_STRIDE) * sizeof(float));
    kernels->scores(&alone);
    const float *whole = call->scores + (int64_t)row * ATTN_SCORE_STRIDE;
    for (int j = 0; j < call->vectors * kernels->lanes; j++)
        assert_memory_equal(&alone.scores[j], &whole[j], sizeof *whole);
}

void check_scores(void **state)
{
    (void)state;
    struct random random = {11};
    const int rows = kernels->rows, columns = kernels->columns;
    for (int round = 0; round < 90; round++) {
        const double spread = spreads[round % 3];
        const int64_t d = random_between(&random, 1, round % 6 == 0 ? 200 : 35);
        const int64_t steps = attn_kernels_steps(kernels, d);
        const bool lone = d % kernels->pair != 0;
        const int used = (int)random_between(&random, 0, GROUPS_MOST * rows);
        const int groups = (used + rows - 1) / rows;
        const int panels = (int)random_between(&random, 1, PANELS_MOST);
        const int vectors = 2 * panels - random_chance(&random, 0.5);
        const struct runs runs = random_runs(&random, vectors, 1);
        const struct seen seen = random_seen(&random);
        struct attn_scores_call call = {
            .queries = operand(&random, groups, steps, rows, lone, spread),
            .keys = operand(&random, panels, steps, columns, lone, spread),
            .steps = steps,
            .scale = 0.37f,
            .rows = used,
            .vectors = vectors,
            .vector_first = runs.first,
            .vector_last = runs.last,
            .seen = round % 2 ? seen.panels : NULL,
            /* only asked for: it may be anywhere, and changes nothing */
            .soon =
                {{.at = (const char *)&random, .stride = 8, .rows = round % 7, .row_bytes = 70}},
            .scores = fenced((size_t)(groups * rows * ATTN_SCORE_STRIDE) * sizeof(float)),
        };
        kernels->scores(&call);
        compare_scores(&call, d, spread);
        for (int row = (int)random_between(&random, 0, 3); row < used; row += 4)
            compare_alone(&call, row);

        /* a NaN in one key reaches that key's column and no other */
        const int bad =
            runs.first[0] * kernels->lanes + (int)random_between(&random, 0, kernels->lanes - 1);
        if (used > 0 && runs.last[0] > runs.first[0] && is_seen(call.seen, 0, bad / columns)) {
            int64_t at = operand_index(bad / columns, steps, random_between(&random, 0, d - 1),
                                       columns, bad % columns);
            attn_ref_store((float *)(uintptr_t)call.keys, kernels->pair == 2 ? ATTN_BF16 : ATTN_F32,
                           at, NAN);
            kernels->scores(&call);
            compare_scores(&call, d, spread);
            assert_true(isnan(call.scores[bad]));
        }
        release();
    }
}

static void set_weight(float *weights, int64_t row, int64_t key, double x)
{
    attn_ref_store(weights + row * ATTN_SCORE_STRIDE, kernels->pair == 2 ? ATTN_BF16 : ATTN_F32,
                   key, x);
}

static double weight_at(const float *weights, int64_t row, int64_t key)
{
    return operand_at(weights + row * ATTN_SCORE_STRIDE, key);
}

static void compare_output(const struct attn_values_call *call, const float *before, int64_t d,
                           double spread)
{
    const int rows = kernels->rows, columns = kernels->columns;
    const int written = call->half_panel ? columns / 2 : columns;
    for (int64_t i = 0; i < call->panels * call->output_rows * columns; i++) {
        const int64_t channel = i / columns / call->output_rows * columns + i % columns;
        const int64_t r = i / columns % call->output_rows;
        const int g = (int)(r / rows);
        double sum = (double)before[i], size = fabs(sum);
        bool used = r < call->rows && call->key_first[g] < call->key_last[g];
        bool there = channel / columns < call->panels - 1 || channel % columns < written;
        if (r >= call->rows && r / rows * rows < call->rows)
            continue; /* the rest of a group: anything */
        if (!used || !there) {
            assert_true(call->output[i] == before[i]);
            continue;
        }
        for (int64_t j = call->key_first[g]; j < call->key_last[g] && channel < d; j++) {
            if (!is_seen(call->seen, g, (int)(j / columns)))
                continue;
            int64_t at =
                operand_index(channel / columns, call->steps, j, columns, (int)(channel % columns));
            double product = weight_at(call->scores, r, j) * operand_at(call->values, at);
            sum += product, size += fabs(product);
        }
        near("output", channel, (double)call->output[i], sum,
             sum_bound(call->key_last[g] - call->key_first[g], size, 6 * spread));
    }
}

void check_values(void **state)
{
    (void)state;
    struct random random = {12};
    const int rows = kernels->rows, columns = kernels->columns;
    const attn_dtype dtype = kernels->pair == 2 ? ATTN_BF16 : ATTN_F32;
    for (int round = 0; round < 60; round++) {
        const double spread = spreads[round % 3];
        const int64_t d = random_between(&random, 1, round % 4 == 0 ? 130 : 3 * columns);
        const int64_t keys = random_between(&random, 1, KEYS_MOST);
        const int64_t panels = (d + columns - 1) / columns;
        const int used = (int)random_between(&random, 0, GROUPS_MOST * rows);
        const int groups = (used + rows - 1) / rows;
        const int64_t output_rows = (groups + 1) * rows, count = panels * output_rows * columns;
        const struct runs runs = random_runs(&random, keys, kernels->pair);
        const struct seen seen = random_seen(&random);
        void *from = rows_of(&random, dtype, keys, d, d, spread);
        for (int64_t i = 0; i < keys * d; i++) /* nothing hostile yet */
            attn_ref_store(from, dtype, i, spread * random_normal(&random));
        const int64_t steps = attn_kernels_steps(kernels, keys);
        float *packed = fenced((size_t)(panels * steps * columns) * sizeof *packed);
        kernels->pack_values(from, dtype, d, keys, d, packed);
        float *weights = numbers(&random, (size_t)(groups * rows * ATTN_SCORE_STRIDE), 1);
        for (int64_t r = 0; r < groups * rows; r++)
            for (int64_t j = 0; j < KEYS_MOST + 1; j++) /* a lone last key stands beside 0 */
                set_weight(weights, r, j,
                           j < runs.last[r / rows] ? fabs(random_normal(&random)) : 0);
        float *output = numbers(&random, (size_t)count, spread);
        float *before = fenced((size_t)count * sizeof *before);
        memcpy(before, output, (size_t)count * sizeof *before);
        struct attn_values_call call = {
            .scores = weights,
            .values = packed,
            .steps = steps,
            .rows = used,
            .panels = (int)panels,
            .half_panel = d - (panels - 1) * columns <= columns / 2,
            .key_first = runs.first,
            .key_last = runs.last,
            .output = output,
            .output_rows = output_rows,
            .seen = round % 2 ? seen.panels : NULL,
        };
        kernels->values(&call);
        compare_output(&call, before, d, spread);

        /* an infinity times a weight of 0 is NaN, in its channel alone */
        int64_t key = random_between(&random, 0, keys - 1),
                channel = random_between(&random, 0, d - 1);
        for (int g = 0; g < groups; g++) /* the other of a lone last one's pair is read too */
            if (kernels->pair == 2 && runs.last[g] == key && key % 2 == 1)
                key--;
        attn_ref_store(from, dtype, key * d + channel, INFINITY);
        assert_true(kernels->pack_values(from, dtype, d, keys, d, packed));
        for (int64_t r = 0; r < groups * rows; r++)
            set_weight(weights, r, key, 0);
        memcpy(output, before, (size_t)count * sizeof *before);
        kernels->values(&call);
        compare_output(&call, before, d, spread);
        release();
    }
}

/* Element t of row r in queries laid as quads. */
static double quad_at(const float *queries, int64_t steps, int64_t r, int64_t t)
{
    const int64_t rows = kernels->lanes / 4, step = t / kernels->pair;
    int64_t at = (r / rows * (steps / 4) + step / 4) * kernels->lanes + r % rows * 4 + step % 4;
    return operand_at(queries, kernels->pair == 2 ? 2 * at + t % 2 : at);
}

static void compare_in_place(const struct attn_scores_in_place_call *call, double spread)
{
    const int vector = kernels->lanes / 4, whole = (call->rows + vector - 1) / vector * vector;
    const int last = call->key_last < call->keys_used ? call->key_last : call->keys_used;
    const double scale = kernels->pair == 2 ? (double)call->scale : 1;
    const int64_t d = call->steps * kernels->pair;
    for (int64_t r = 0; r < whole; r++)
        for (int j = 0; j < ATTN_SCORE_STRIDE; j++) {
            const float *got = call->scores + r * ATTN_SCORE_STRIDE + j;
            if (j < call->key_first || j >= call->key_last) {
                assert_true(untouched(got, sizeof *got));
                continue;
            }
            if (j >= last || r >= call->rows)
                continue; /* anything */
            double sum = 0, size = 0;
            for (int64_t t = 0; t < d; t++) {
                double product = quad_at(call->queries, call->steps, r, t) *
                                 attn_ref_value(call->keys, call->dtype, j * call->stride + t);
                sum += product, size += fabs(product);
            }
            near("score", j, (double)*got, sum * scale,
                 scale * sum_bound(d, size, 6 * spread) + SUBNORMAL);
        }
}

void check_scores_in_place(void **state)
{
    (void)state;
    struct random random = {13};
    const int columns = kernels->columns, vector = kernels->lanes / 4;
    for (int round = 0; round < 240; round++) {
        const double spread = spreads[round % 3] == 1e9 ? 100 : spreads[round % 3]; /* f16 */
        const attn_dtype dtype = kernel_dtypes[random_between(&random, 0, kernel_dtypes_count - 1)];
        const int64_t d =
            random_between(&random, 1, round % 20 == 0 ? 160 : 20) * kernels->quad_channels;
        const int64_t steps = d / kernels->pair, stride = random_stride(&random, d);
        const int rows = (int)random_between(&random, 0, 5 * vector);
        const int row_vectors = (rows + vector - 1) / vector;
        const int keys = (int)random_between(&random, 1, 5 * columns);
        const int64_t panels = (keys + columns - 1) / columns;
        const int64_t first = random_between(&random, 0, panels);
        void *from = rows_of(&random, dtype, keys, d, stride, spread);
        for (int64_t j = 0; j < keys; j++)
            for (int64_t t = 0; t < d; t++)
                attn_ref_store(from, dtype, j * stride + t, spread * random_normal(&random));
        struct attn_scores_in_place_call call = {
            .queries = operand(&random, row_vectors, steps / 4, kernels->lanes, false, spread),
            .keys = from,
            .dtype = dtype,
            .stride = stride,
            .steps = steps,
            .scale = 0.37f,
            .rows = rows,
            .keys_used = keys,
            .key_first = (int)first * columns,
            .key_last = (int)random_between(&random, first, panels) * columns,
            .scores = fenced((size_t)(row_vectors * vector * ATTN_SCORE_STRIDE) * sizeof(float)),
        };
        kernels->scores_in_place(&call);
        compare_in_place(&call, spread);

        /* a row has the same bits alone, and a NaN in one key reaches that key alone */
        if (rows > 0) {
            const int r = (int)random_between(&random, 0, rows - 1);
            struct attn_scores_in_place_call alone = call;
            alone.rows = 1;
            float *queries = fenced((size_t)(steps / 4 * kernels->lanes) * sizeof *queries);
            memset(queries, 0, (size_t)(steps / 4 * kernels->lanes) * sizeof *queries);
            for (int64_t step = 0; step < steps; step++)
                queries[step / 4 * kernels->lanes + step % 4] =
                    call.queries[(r / vector * (steps / 4) + step / 4) * kernels->lanes +
                                 r % vector * 4 + step % 4];
            alone.queries = queries;
            alone.scores = fenced((size_t)(vector * ATTN_SCORE_STRIDE) * sizeof(float));
            kernels->scores_in_place(&alone);
            for (int j = call.key_first; j < call.key_last && j < keys; j++)
                assert_memory_equal(&alone.scores[j], &call.scores[r * ATTN_SCORE_STRIDE + j],
                                    sizeof(float));
            attn_ref_store(from, dtype,
                           random_between(&random, 0, keys - 1) * stride +
                               random_between(&random, 0, d - 1),
                           NAN);
            kernels->scores_in_place(&call);
            compare_in_place(&call, spread);
        }
        release();
    }
}

void check_values_in_place(void **state)
{
    (void)state;
    struct random random = {14};
    const int rows = kernels->rows, columns = kernels->columns;
    for (int round = 0; round < 120; round++) {
        const attn_dtype dtype = kernel_dtypes[random_between(&random, 0, kernel_dtypes_count - 1)];
        const int64_t d = random_between(&random, 1, 7) * kernels->lanes;
        const int64_t keys = random_between(&random, 1, KEYS_MOST);
        const int64_t stride = random_stride(&random, d);
        const int64_t panels = (d + columns - 1) / columns;
        const int used = (int)random_between(&random, 0, 2 * rows);
        const int groups = (used + rows - 1) / rows;
        const int64_t output_rows = (groups + 1) * rows, count = panels * output_rows * columns;
        const struct runs runs = random_runs(&random, keys, kernels->pair);
        void *from = rows_of(&random, dtype, keys, d, stride, 1);
        for (int64_t j = 0; j < keys; j++)
            for (int64_t e = 0; e < d; e++)
                attn_ref_store(from, dtype, j * stride + e, random_normal(&random));
        if (round % 5 == 0)
            attn_ref_store(from, dtype, random_between(&random, 0, keys - 1) * stride, INFINITY);
        const int64_t steps = attn_kernels_steps(kernels, keys);
        float *packed = fenced((size_t)(panels * steps * columns) * sizeof *packed);
        kernels->pack_values(from, dtype, stride, keys, d, packed);
        float *weights = numbers(&random, (size_t)(groups * rows * ATTN_SCORE_STRIDE), 1);
        for (int64_t r = 0; r < groups * rows; r++)
            for (int64_t j = 0; j < KEYS_MOST + 1; j++)
                set_weight(weights, r, j,
                           j < runs.last[r / rows] ? fabs(random_normal(&random)) : 0);
        float *output = numbers(&random, (size_t)count, 1);
        float *before = fenced((size_t)count * sizeof *before);
        memcpy(before, output, (size_t)count * sizeof *before);
        struct attn_values_call call = {
            .scores = weights,
            .in_place = from,
            .dtype = dtype,
            .stride = stride,
            .rows = used,
            .panels = (int)panels,
            .half_panel = d % columns != 0,
            .key_first = runs.first,
            .key_last = runs.last,
            .output = output,
            .output_rows = output_rows,
        };
        kernels->values_in_place(&call);
        call.values = packed, call.steps = steps; /* the same numbers, to compare with */
        compare_output(&call, before, d, 1);
        release();
    }
}
