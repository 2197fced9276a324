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
            attn_ref_store(bias, dtype, j,
                           j % 4 == 0   ? NAN
                           : j % 4 == 1 ? -INFINITY
                           : j % 4 == 2 ? INFINITY
                                        : (j % 8 == 3 ? -3e38 : 3e38));
        kernels->add_bias(scores, count, bias, dtype, unit);
        for (int j = 0; j < count; j++) {
            double b = attn_ref_value(bias, dtype, j), most = 0x1.6p127;
            double added = (b < -most ? -most : b > most ? most : b) * (double)unit;
            double sum = (double)before[j] + added;
            if (fabs(sum) > (double)FLT_MAX)
                sum = sum > 0 ? INFINITY : -INFINITY;
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
        const double most = (double)ATTN_SCORE_MOST_BASE2;
        /* every fifth passes what counts, at the first step or farther */
        const float slope =
            round % 5 == 4 ? (float)((round % 2 ? most : -most) / exp2(30 * random_unit(&random)))
                           : -(float)exp2(-8 * random_unit(&random));
        float *scores = hostile_scores(&random, count, 3);
        float *before = copy_of(scores, count);
        kernels->add_distance(scores, count, start, slope);
        const double largest = fabs((double)start) + count;
        const double rounded =
            largest < 0x1p24 ? 0 : ROUND * largest * (1 + (double)count / kernels->lanes);
        for (int j = 0; j < count; j++) {
            double added = (double)slope * fabs((double)(start - j));
            added = added < -most ? -most : added > most ? most : added;
            double sum = (double)before[j] + added;
            if (fabs(sum) > (double)FLT_MAX)
                sum = sum > 0 ? INFINITY : -INFINITY;
            near("distant", j, (double)scores[j], sum,
                 2 * ROUND * (fabs((double)before[j]) + fabs(added)) +
                     rounded * fmax(1, fabs((double)slope)));
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

/* Bytes, and biases, a share of which is hidden. */
static uint8_t *mask_bytes(struct random *random, int count, double hidden)
{
    uint8_t *mask = fenced((size_t)count);
    for (int j = 0; j < count; j++)
        mask[j] = random_chance(random, hidden) ? 0 : (uint8_t)random_between(random, 1, 255);
    return mask;
}

static void *mask_bias(struct random *random, attn_dtype dtype, int count, double hidden)
{
    static const double others[] = {NAN, INFINITY, -1e30, 0, -0.0};
    void *bias = rows_of(random, dtype, count > 0, count, count, 2);
    for (int j = 0; j < count; j++)
        if (random_chance(random, hidden))
            attn_ref_store(bias, dtype, j, -INFINITY);
        else if (random_chance(random, 0.1))
            attn_ref_store(bias, dtype, j, others[random_between(random, 0, 4)]);
    return bias;
}

static bool bias_hides(const void *bias, attn_dtype dtype, int j)
{
    return attn_ref_value(bias, dtype, j) == (double)-INFINITY;
}

static const attn_dtype mask_dtypes[] = {ATTN_F32, ATTN_BF16, ATTN_F16};
static const double mask_shares[] = {0, 0.01, 0.5, 0.99, 1};

static void check_verdict(struct attn_verdict verdict, const bool *visible, int count)
{
    bool any = false, all = true;
    for (int j = 0; j < count; j++) {
        any |= visible[j];
        all &= visible[j];
    }
    assert_int_equal(verdict.any, any);
    assert_int_equal(verdict.all, all);
}

void check_look_at_masks(void **state)
{
    (void)state;
    struct random random = {26};
    for (int round = 0; round < 1500; round++) {
        const int count = (int)random_between(&random, 0, 200);
        const attn_dtype dtype = mask_dtypes[round % 3];
        const double hidden = mask_shares[round % 5];
        const uint8_t *mask = mask_bytes(&random, count, hidden);
        const void *bias = mask_bias(&random, dtype, count, hidden);
        bool seen[200], biased[200];
        for (int j = 0; j < count; j++) {
            seen[j] = mask[j] != 0;
            biased[j] = !bias_hides(bias, dtype, j);
        }
        check_verdict(kernels->masks.look_at_bytes(mask, count), seen, count);
        check_verdict(kernels->masks.look_at_bias(bias, dtype, count), biased, count);
        release();
    }
}

void check_hide_by_masks(void **state)
{
    (void)state;
    struct random random = {27};
    for (int round = 0; round < 600; round++) {
        const int count = (int)random_between(&random, 0, 200);
        const attn_dtype dtype = mask_dtypes[round % 3];
        const double hidden = mask_shares[round % 5];
        const uint8_t *mask = mask_bytes(&random, count, hidden);
        const void *bias = mask_bias(&random, dtype, count, hidden);
        uint8_t before[200], *visible = fenced((size_t)count), *other = fenced((size_t)count);
        for (int j = 0; j < count; j++)
            before[j] = visible[j] = other[j] = (uint8_t)random_between(&random, 0, 1);
        kernels->masks.hide_by_bytes(visible, mask, count);
        kernels->masks.hide_by_bias(other, bias, dtype, count);
        for (int j = 0; j < count; j++) {
            assert_int_equal(visible[j], before[j] && mask[j] != 0);
            assert_int_equal(other[j], before[j] && !bias_hides(bias, dtype, j));
        }
        release();
    }
}

void check_gather(void **state)
{
    (void)state;
    struct random random = {28};
    for (int round = 0; round < 400; round++) {
        const int count = (int)random_between(&random, 0, 200);
        uint8_t before[200], *any = fenced((size_t)count), *visible = fenced((size_t)count);
        for (int j = 0; j < count; j++) {
            before[j] = any[j] = (uint8_t)random_between(&random, 0, 1);
            visible[j] = (uint8_t)random_between(&random, 0, 1);
        }
        kernels->masks.gather(any, visible, count);
        for (int j = 0; j < count; j++)
            assert_int_equal(any[j], before[j] | visible[j]);
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
