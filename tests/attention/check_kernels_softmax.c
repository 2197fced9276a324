/* Softmax block by block, with its statistics, and exact weights afterwards. Blocks of random runs and masks
 * go through a kernel one after the other; at the end each row must be what one pass over all of its scores
 * gives in double, told against the row's own reference.
 *
 * With t = s - reference, a weight e = 2^t errs by 2.5e-7 of itself (exp2), ROUND |t| (the difference) and
 * flushes below the normal range. Sums of n such weights round n times more, and each move of the reference
 * rescales by a rounded power. Moments are bounded by (|t| + 16)^k e: a reference may be 8 behind, and t and
 * the move by which it changes then have opposite signs. */
#include "attention/kernel_check.h"

#include <math.h>

enum { BLOCKS_MOST = 4, GROUPS_MOST = 3, KEYS_MOST = 7 * 32, TOP = 5, FIRST_KEYS = 37, LOCAL = 6 };

struct run_of_blocks {
    int blocks, rows, keys; /* keys of each block, a multiple of columns */
    int64_t position;       /* of row 0 */
    float *kept;            /* [block][row][keys], -inf where the row's run does not reach */
    double *gathered;       /* [row]: what the weights and rescales handed out add up to */
    struct attn_row *row;
    int32_t *top_keys;
    float *top_scores;
};

static double e_bound(double t)
{
    return t == -INFINITY ? 0 : exp2(t) * (2.5e-7 + ROUND * fabs(t)) + 2 * NORMAL;
}

static double kept_at(const struct run_of_blocks *run, int block, int row, int key)
{
    return (double)run->kept[((int64_t)block * run->rows + row) * run->keys + key];
}

static double weight_after(const float *row, int key)
{
    return attn_ref_value(row, kernels->pair == 2 ? ATTN_BF16 : ATTN_F32, key);
}

/* The weights a call left in the scores of one row against those of `scores`, which it found. */
static void compare_weights(const float *left, const float *scores, int first, int last,
                            float reference, double *gathered, bool any)
{
    for (int j = 0; j < ATTN_SCORE_STRIDE; j++) {
        bool inside = first <= j && j < last;
        bool narrow = kernels->pair == 2 && first < last && 2 * j >= first && j < last;
        if (!inside && !narrow)
            assert_memory_equal(&left[j], &scores[j], sizeof left[j]);
        if (!inside)
            continue;
        double t = any ? (double)scores[j] - (double)reference : -INFINITY, e = exp2(t);
        double rounded = kernels->pair == 2 ? 0x1.01p-9 * e : 0;
        near("weight", j, weight_after(left, j), e, e_bound(t) + rounded);
        *gathered += e;
    }
}

/* One block: random runs and scores, the call, and what it left behind. */
static void one_block(struct random *random, struct run_of_blocks *run, int block, double spread,
                      double rise, double masked, void (*kernel)(struct attn_softmax_call *))
{
    static const struct attn_row_extras extras = {.max_key = true,
                                                  .masses = true,
                                                  .distances = true,
                                                  .first_keys = FIRST_KEYS,
                                                  .local_distance = LOCAL,
                                                  .top_keys = TOP};
    const int lanes = kernels->lanes, vectors = run->keys / lanes;
    int16_t first[GROUPS_MOST], last[GROUPS_MOST];
    for (int g = 0; g < GROUPS_MOST; g++) {
        first[g] = (int16_t)(random_between(random, 0, vectors) * lanes);
        last[g] = (int16_t)(random_between(random, first[g] / lanes, vectors) * lanes);
        if (random_chance(random, 0.4))
            first[g] = 0, last[g] = (int16_t)run->keys;
    }
    const size_t count = (size_t)(run->rows * ATTN_SCORE_STRIDE);
    float *scores = fenced(count * sizeof *scores), *before = fenced(count * sizeof *before);
    for (int r = 0; r < run->rows; r++)
        for (int j = 0; j < ATTN_SCORE_STRIDE; j++) {
            /* quarters, so that there are equal ones */
            double s = rint(4 * (spread * random_normal(random) + rise * block)) / 4;
            bool seen = r % 5 != 1 || block == run->blocks - 1; /* some rows see only the last */
            scores[r * ATTN_SCORE_STRIDE + j] =
                !seen || random_chance(random, masked) ? -INFINITY : (float)s;
        }
    memcpy(before, scores, count * sizeof *scores);
    float *rescale = fenced((size_t)run->rows * sizeof *rescale);
    struct attn_softmax_call call = {
        .scores = scores,
        .rows = run->rows,
        .group_rows = kernels->rows,
        .key_first = first,
        .key_last = last,
        .row = run->row,
        .rescale = rescale,
        .extras = &extras,
        .key_begin = (int64_t)block * run->keys,
        .position = run->position,
        .top_keys = run->top_keys,
        .top_scores = run->top_scores,
    };
    kernel(&call);
    bool rescaled = false;
    for (int r = 0; r < run->rows; r++) {
        const int g = r / kernels->rows;
        const float *found = before + r * ATTN_SCORE_STRIDE;
        bool any = false;
        for (int j = 0; j < run->keys; j++) {
            bool inside = first[g] <= j && j < last[g];
            run->kept[((int64_t)block * run->rows + r) * run->keys + j] =
                inside ? found[j] : -INFINITY;
            any |= inside && found[j] > -INFINITY;
        }
        rescaled |= rescale[r] != 1.0f;
        run->gathered[r] *= (double)rescale[r];
        compare_weights(scores + r * ATTN_SCORE_STRIDE, found, first[g], last[g],
                        run->row[r].reference, &run->gathered[r], any);
    }
    assert_int_equal(call.rescaled, rescaled);
}

/* What one pass in double makes of a row, and how far f32 may be off. */
struct exact {
    double maximum, sum, slack, moment[3], moment_slack[3], square;
    double self, previous, next, begin, local, distance, spread;
    int64_t max_key;
};

static struct exact exact_row(const struct run_of_blocks *run, int r)
{
    const double reference = (double)run->row[r].reference;
    const int64_t position = run->position + r;
    struct exact x = {.maximum = -INFINITY, .max_key = -1};
    for (int64_t key = 0; key < (int64_t)run->blocks * run->keys; key++) {
        double s = kept_at(run, (int)(key / run->keys), r, (int)(key % run->keys));
        if (s == -INFINITY)
            continue;
        double t = s - reference, e = exp2(t), size = 1;
        if (s > x.maximum)
            x.maximum = s, x.max_key = key;
        for (int k = 0; k < 3; k++, size *= fabs(t) + 16) {
            x.moment[k] += e * pow(t, k);
            x.moment_slack[k] +=
                size * (e_bound(t) + e * ROUND * (3.0 * run->blocks * run->keys + 64) +
                        e * 4e-7 * run->blocks);
        }
        x.square += e * e;
        x.self += key == position ? e : 0;
        x.previous += key == position - 1 ? e : 0;
        x.next += key == position + 1 ? e : 0;
        x.begin += key < FIRST_KEYS ? e : 0;
        x.local += llabs(key - position) <= LOCAL ? e : 0;
        x.distance += e * (double)llabs(key - position);
    }
    x.sum = x.moment[0];
    x.slack = x.sum > 0 ? x.moment_slack[0] / x.sum : 0; /* relative */
    x.distance = x.sum > 0 ? x.distance / x.sum : 0;
    for (int64_t key = 0; key < (int64_t)run->blocks * run->keys; key++) {
        double s = kept_at(run, (int)(key / run->keys), r, (int)(key % run->keys));
        double away = (double)llabs(key - position) - x.distance;
        x.spread += s == -INFINITY ? 0 : exp2(s - reference) * away * away;
    }
    return x;
}

static void compare_extras(const struct run_of_blocks *run, int r, const struct exact *x)
{
    const struct attn_row *row = &run->row[r];
    const double reach = (double)(run->blocks * run->keys) + fabs((double)run->position) + r;
    near("square", r, (double)row->square, x->square,
         4 * x->slack * x->square + x->moment_slack[0]);
    near("moment2", r, (double)row->moment2, x->moment[2], 2 * x->moment_slack[2]);
    assert_int_equal(row->max_key, x->max_key);
    near("self", r, (double)row->mass_self, x->self, x->slack * x->self + 4 * NORMAL);
    near("previous", r, (double)row->mass_previous, x->previous,
         x->slack * x->previous + 4 * NORMAL);
    near("next", r, (double)row->mass_next, x->next, x->slack * x->next + 4 * NORMAL);
    near("first", r, (double)row->mass_first, x->begin, 4 * x->slack * x->begin + 99 * NORMAL);
    near("local", r, (double)row->mass_local, x->local, 4 * x->slack * x->local + 99 * NORMAL);
    near("distance", r, row->distance_mean, x->distance, 4 * x->slack * reach);
    near("spread", r, row->distance_m2, x->spread, 8 * x->slack * (x->spread + x->sum));

    /* the list by repeated choice of the highest, the earlier of equals */
    bool taken[BLOCKS_MOST * KEYS_MOST] = {false};
    for (int i = 0; i < TOP; i++) {
        int64_t best = -1;
        double high = -INFINITY;
        for (int64_t key = 0; key < (int64_t)run->blocks * run->keys; key++) {
            double s = kept_at(run, (int)(key / run->keys), r, (int)(key % run->keys));
            if (!taken[key] && s > high)
                best = key, high = s;
        }
        if (best < 0) {
            assert_int_equal(row->top_count, i);
            return;
        }
        taken[best] = true;
        assert_int_equal(run->top_keys[r * TOP + i], best);
        assert_true((double)run->top_scores[r * TOP + i] == high);
    }
    assert_int_equal(row->top_count, TOP);
}

static void check_rows(const struct run_of_blocks *run, bool entropy, bool all)
{
    for (int r = 0; r < run->rows; r++) {
        const struct attn_row *row = &run->row[r];
        const struct exact x = exact_row(run, r);
        if (x.maximum == -INFINITY) {
            assert_true(row->reference == -INFINITY && row->sum == 0.0f && row->moment == 0.0f);
            assert_true(row->maximum == -INFINITY && row->top_count == 0);
            continue;
        }
        near("maximum", r, (double)row->maximum, x.maximum, 0);
        assert_true(row->maximum <= row->reference + ATTN_LAZY_RESCALE);
        assert_true(row->reference <= row->maximum);
        near("sum", r, (double)row->sum, x.sum, x.moment_slack[0]);
        near("gathered", r, run->gathered[r], x.sum, x.moment_slack[0]);
        if (entropy)
            near("moment", r, (double)row->moment, x.moment[1], 2 * x.moment_slack[1]);
        if (all)
            compare_extras(run, r, &x);
    }
}

static struct run_of_blocks begin_run(struct random *random)
{
    struct run_of_blocks run = {.blocks = (int)random_between(random, 1, BLOCKS_MOST)};
    run.rows = (int)random_between(random, 1, GROUPS_MOST * kernels->rows);
    run.keys = (int)random_between(random, 1, KEYS_MOST / kernels->columns / 2) * kernels->columns;
    run.position = random_between(random, -20, (int64_t)run.blocks * run.keys);
    run.kept = fenced((size_t)(run.blocks * run.rows * run.keys) * sizeof *run.kept);
    run.gathered = fenced((size_t)run.rows * sizeof *run.gathered);
    run.row = fenced((size_t)run.rows * sizeof *run.row);
    run.top_keys = fenced((size_t)(run.rows * TOP) * sizeof *run.top_keys);
    run.top_scores = fenced((size_t)(run.rows * TOP) * sizeof *run.top_scores);
    for (int r = 0; r < run.rows; r++) {
        run.gathered[r] = 0;
        run.row[r] = (struct attn_row){.reference = -INFINITY, .maximum = -INFINITY, .max_key = -1};
    }
    return run;
}

static void check_kernel(void (*kernel)(struct attn_softmax_call *), bool entropy, bool all)
{
    /* just past the lazy threshold, far past it, so far that nothing is left of before, and falls */
    static const double spreads[] = {0.5, 2, 6, 40}, rises[] = {0, 5, 9, -6, 70, 200, -200},
                        masks[] = {0, 0.2, 0.97};
    struct random random = {31};
    for (int round = 0; round < 168; round++) {
        struct run_of_blocks run = begin_run(&random);
        for (int block = 0; block < run.blocks; block++)
            one_block(&random, &run, block, spreads[round % 4], rises[round % 7], masks[round % 3],
                      kernel);
        check_rows(&run, entropy, all);
        release();
    }
}

void check_softmax(void **state)
{
    (void)state;
    check_kernel(kernels->softmax, false, false);
}

void check_softmax_entropy(void **state)
{
    (void)state;
    check_kernel(kernels->softmax_entropy, true, false);
}

void check_softmax_all(void **state)
{
    (void)state;
    check_kernel(kernels->softmax_all, true, true);
}

/* NaN or +inf anywhere in a row makes its sum NaN, now and later, and no other row's; huge scores do not. */
void check_softmax_hostile(void **state)
{
    (void)state;
    void (*const all[])(struct attn_softmax_call *) = {kernels->softmax, kernels->softmax_entropy,
                                                       kernels->softmax_all};
    static const struct attn_row_extras extras = {
        .masses = true, .distances = true, .max_key = true};
    const int rows = kernels->rows;
    struct random random = {32};
    for (int round = 0; round < 300; round++) {
        const int keys = (int)random_between(&random, 1, 7) * kernels->columns;
        const int bad = (int)random_between(&random, 0, rows - 1);
        const int16_t first[1] = {0}, last[1] = {(int16_t)keys};
        float *scores = fenced((size_t)(rows * ATTN_SCORE_STRIDE) * sizeof *scores);
        float rescale[16];
        struct attn_row row[16];
        for (int r = 0; r < rows; r++)
            row[r] = (struct attn_row){.reference = -INFINITY, .maximum = -INFINITY, .max_key = -1};
        for (int block = 0; block < 2; block++) {
            for (int i = 0; i < rows * ATTN_SCORE_STRIDE; i++)
                scores[i] = round % 3 == 0 ? (float)(1e30 * random_normal(&random)) : 1.0f;
            if (round % 5 == 0)
                for (int j = 0; j < keys; j++)
                    scores[bad * ATTN_SCORE_STRIDE + j] = -INFINITY;
            if (block == 0)
                scores[bad * ATTN_SCORE_STRIDE + random_between(&random, 0, keys - 1)] =
                    round % 2 ? NAN : INFINITY;
            struct attn_softmax_call call = {.scores = scores,
                                             .rows = rows,
                                             .group_rows = rows,
                                             .key_first = first,
                                             .key_last = last,
                                             .row = row,
                                             .rescale = rescale,
                                             .extras = &extras,
                                             .key_begin = (int64_t)block * keys};
            all[round % 3](&call);
            for (int r = 0; r < rows; r++) {
                assert_true(isnan(row[r].sum) == (r == bad));
                if (r != bad && round % 3 == 1)
                    near("sum", r, (double)row[r].sum, keys * (block + 1), 0);
            }
        }
        release();
    }
}

void check_weights(void **state)
{
    (void)state;
    struct random random = {33};
    for (int round = 0; round < 150; round++) {
        const int rows = (int)random_between(&random, 0, 9);
        const int keys = (int)random_between(&random, 0, 4) * kernels->columns;
        const int wanted = (int)random_between(&random, 0, keys);
        const int stride = wanted + (int)random_between(&random, 0, 3);
        float *scores = numbers(&random, (size_t)(rows * ATTN_SCORE_STRIDE), 5);
        float *reference = numbers(&random, (size_t)rows, 3);
        float *inverse = fenced((size_t)rows * sizeof *inverse);
        float *sums = fenced((size_t)keys * sizeof *sums);
        float *out = fenced((size_t)(rows > 0 ? (rows - 1) * stride + wanted : 0) * sizeof *out);
        for (int r = 0; r < rows; r++)
            inverse[r] = (float)(0.1 + random_unit(&random));
        if (rows > 2) /* a row that is NaN still gives nothing to what it does not see */
            reference[2] = NAN;
        for (int i = 0; i < rows * ATTN_SCORE_STRIDE; i++)
            scores[i] = random_chance(&random, 0.2) ? -INFINITY : scores[i];
        for (int j = 0; j < keys; j++)
            sums[j] = 0.5f;
        struct attn_weights_call call = {.scores = scores,
                                         .rows = rows,
                                         .keys = keys,
                                         .reference = reference,
                                         .inverse = inverse,
                                         .column_sums = round % 3 ? sums : NULL,
                                         .weights = round % 3 != 1 ? out : NULL,
                                         .weights_stride = stride,
                                         .weights_keys = wanted};
        kernels->weights(&call);
        for (int j = 0; j < keys; j++) {
            double column = 0.5, slack = 0;
            for (int r = 0; r < rows; r++) {
                double s = (double)scores[r * ATTN_SCORE_STRIDE + j];
                double t = s - (double)reference[r];
                double p = s == -INFINITY ? 0 : exp2(t) * (double)inverse[r];
                double bound =
                    s == -INFINITY ? 0 : (e_bound(t) + ROUND * exp2(t)) * (double)inverse[r];
                column += p, slack += bound;
                if (call.weights && j < wanted)
                    near("weight", j, (double)out[r * stride + j], p, bound + NORMAL);
            }
            near("column", j, (double)sums[j], call.column_sums ? column : 0.5,
                 slack + (rows + 1) * (ROUND * column + NORMAL));
        }
        for (int r = 0; r < rows - 1 && call.weights; r++)
            assert_true(
                untouched(out + r * stride + wanted, (size_t)(stride - wanted) * sizeof *out));
        release();
    }
}
