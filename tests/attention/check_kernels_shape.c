/* What shapes a row of scores: cap, bias, ALiBi, masks as bytes, and a look at its extremes. Each in place,
 * over exactly the scores it is told of. */
#include "attention/kernel_check.h"

/* Scores that take every value; `fenced` before and behind. */
static float *hostile_scores(struct random *random, int count, double spread)
{
    float *scores = fenced((size_t)count * sizeof *scores);
    for (int j = 0; j < count; j++) {
        scores[j] = (float)number(random, ATTN_F32, spread, true);
        if (random_chance(random, 0.05))
            scores[j] = random_chance(random, 0.3)   ? NAN
                        : random_chance(random, 0.5) ? INFINITY
                                                     : -INFINITY;
    }
    return scores;
}

static float *copy_of(const float *scores, int count)
{
    float *copy = fenced((size_t)count * sizeof *copy);
    memcpy(copy, scores, (size_t)count * sizeof *copy);
    return copy;
}

/* tanh and its quotient and product: a few units in the last place. */
void check_softcap(void **state)
{
    (void)state;
    static const double spreads[] = {0.01, 1, 30, 1000, 1e20};
    static const float caps[] = {12.5f, 0.3f, 72.13f, 1e4f};
    struct random random = {21};
    for (int round = 0; round < 400; round++) {
        const int count = (int)random_between(&random, 0, 9) * kernels->lanes;
        const double cap = (double)caps[round % 4];
        float *scores = hostile_scores(&random, count, spreads[round % 5]);
        float *before = copy_of(scores, count);
        kernels->softcap(scores, count, caps[round % 4]);
        for (int j = 0; j < count; j++)
            near("capped", j, (double)scores[j], cap * tanh((double)before[j] / cap),
                 8 * ROUND * fmin(cap, fabs((double)before[j])) + 2 * NORMAL);
        release();
    }
}

void check_add_bias(void **state)
{
    (void)state;
    static const attn_dtype dtypes[] = {ATTN_F32, ATTN_BF16, ATTN_F16};
    struct random random = {22};
    const float unit = 1.44269504f;
    for (int round = 0; round < 900; round++) {
        const attn_dtype dtype = dtypes[round % 3];
        const int count = (int)random_between(&random, 0, 70);
        float *scores = hostile_scores(&random, count, 3);
        float *before = copy_of(scores, count);
        void *bias = rows_of(&random, dtype, count > 0, count, count, 2);
        for (int j = 0; j < count; j += (int)random_between(&random, 1, 40))
            attn_ref_store(bias, dtype, j, j % 3 == 0 ? NAN : j % 3 == 1 ? -INFINITY : INFINITY);
        kernels->add_bias(scores, count, bias, dtype, unit);
        for (int j = 0; j < count; j++) {
            double added = attn_ref_value(bias, dtype, j) * (double)unit,
                   sum = (double)before[j] + added;
            if (fabs(added) < INFINITY && fabs(added) >= (double)FLT_MAX)
                continue; /* overflows or not, as it is rounded */
            near("biased", j, (double)scores[j], sum,
                 2 * ROUND * (fabs((double)before[j]) + fabs(added)) + SUBNORMAL);
        }
        release();
    }
}

/* The distance is counted down in f32, exact while it is below 2^24; past that each step may round. */
void check_add_distance(void **state)
{
    (void)state;
    static const int64_t reaches[] = {40, 600, 100000, INT64_C(1) << 31};
    struct random random = {23};
    for (int round = 0; round < 600; round++) {
        const int count = (int)random_between(&random, 0, 12) * kernels->lanes;
        const int64_t reach = reaches[round % 4], start = random_between(&random, -reach, reach);
        const float slope = -(float)exp2(-8 * random_unit(&random));
        float *scores = hostile_scores(&random, count, 3);
        float *before = copy_of(scores, count);
        kernels->add_distance(scores, count, start, slope);
        const double largest = fabs((double)start) + count;
        const double rounded =
            largest < 0x1p24 ? 0 : ROUND * largest * (1 + (double)count / kernels->lanes);
        for (int j = 0; j < count; j++) {
            double added = (double)slope * fabs((double)(start - j));
            near("distant", j, (double)scores[j], (double)before[j] + added,
                 2 * ROUND * (fabs((double)before[j]) + fabs(added)) + rounded);
        }
        release();
    }
}

void check_apply_mask(void **state)
{
    (void)state;
    struct random random = {24};
    for (int round = 0; round < 400; round++) {
        const int count = (int)random_between(&random, 0, 90);
        float *scores = hostile_scores(&random, count, 3);
        float *before = copy_of(scores, count);
        uint8_t *visible = fenced((size_t)count);
        for (int j = 0; j < count; j++)
            visible[j] = random_chance(&random, 0.5) ? 0 : (uint8_t)random_between(&random, 1, 255);
        kernels->apply_mask(scores, count, visible);
        for (int j = 0; j < count; j++)
            exactly("masked", j, (double)scores[j],
                    visible[j] ? (double)before[j] : (double)-INFINITY);
        release();
    }
}

void check_range(void **state)
{
    (void)state;
    struct random random = {25};
    for (int round = 0; round < 600; round++) {
        const int count = (int)random_between(&random, 0, 90);
        float *scores = hostile_scores(&random, count, 3);
        float low = 0.5f, high = -0.25f, lowest = low, highest = high;
        if (round % 3 == 0)
            low = lowest = INFINITY, high = highest = -INFINITY;
        kernels->range(scores, count, &low, &high);
        for (int j = 0; j < count; j++) {
            lowest = scores[j] < lowest ? scores[j] : lowest;
            highest = scores[j] > highest ? scores[j] : highest;
        }
        near("low", count, (double)low, (double)lowest, 0);
        near("high", count, (double)high, (double)highest, 0);
        release();
    }
}
