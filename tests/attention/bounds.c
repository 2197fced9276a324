/* The error bounds of one row.
 *
 * All to first order unless expm1 is written; u = 2^-24 is f32's unit roundoff, D = Dk, n = Nk.
 *
 * Score. A dot product of D terms in any order, with or without FMA, errs by at most D u sum|q k|
 * (Higham, Accuracy and Stability, 3.1). The scale and a factor log2(e) may be folded into q or applied
 * afterwards: a few roundings more, relative to the same sum. Changing units and subtracting the reference
 * round at the size of the scores themselves. With A_j = |scale| sum|q_d k_d| and S = max |s|:
 *     delta_j = (D + 8) u A_j + 4 u (|s_j| + S) + 8 u cap
 * The last term is for a softcap: c tanh(x / c) has slope <= 1 and a tanh good to a few units u of its
 * range. Products that underflow add 2^-149 each. What attn/scores.h adds is rounded, multiplied by
 * log2(e) and added: 4 u |bias|, and 4 u |slope (p - j)|, the distance itself being rounded once to f32. The
 * caller's function of slope f <= |f| multiplies delta_j; changing units there and back and its own few
 * operations add 6 u (|s| + |f| |s before| + |what it adds|).
 * Elements are bf16 or f16 exactly as they are stored: widening them is exact.
 *
 * Rotary embedding. A pair becomes (x c - y s, x s + y c) with c and s rounded to f32: each channel errs by
 * 3 u (|x| |c| + |y| |s|), a rounding for each factor, product and sum, and that is at most 3 u R, R the
 * length of the turned pair (Cauchy and Schwarz). Angles are made in double by formulas other than the
 * specification's; both powers and products of them come to 2^-48 of the angle, which moves a channel by as
 * much of R. Where bf16 is multiplied in pairs the channel is rounded to bf16: 2^-8 of itself. With e such
 * an error, a score errs by |scale| sum (|q| e_k + |k| e_q + e_q e_k) more, and A_j is of |q| + e_q, |k| + e_k.
 *
 * Exponential: relative error r = 2e-7 (the promise of the kernels' exp2), and 0 below 2^-126.
 *
 * Sums over keys: at most n additions and n rescalings by an exponential (u + r each, at most one for
 * every 4 keys), all of non-negative terms: relative error acc = (2 n + 16) u + r.
 *
 * lse = ln sum e^s: scores move it by ln sum p e^delta =: shift. So
 *     |lse| errs by shift + acc + 4 u (|lse| + S + ln n + 1)
 * Weight p_j = e^(s_j - lse): relative error expm1(rho_j), rho_j = delta_j + lse's + 2 r + acc + 4u;
 * a weight never passes 1.
 * Every mass is a sum of weights. o_d = sum p_j v_j: sum_j p_j expm1(rho_j) |v_jd|, and the sum's own acc;
 * nothing is promised where n v_jd 2^8 (the reference lags by as much) is beyond f32's range.
 *
 * Pairs of bf16 (AVX512_BF16's dot product: exact products, rounded sums, subnormals taken as 0 and flushed
 * to 0): q k loses each term with a subnormal factor and 2^-126 for each of D sums; a weight on its way to
 * the values is rounded to bf16's 8 digits, 2^-8 of itself, while l is the sum of the unrounded ones; values lose
 * what is subnormal in them and 2^-126 for each of n sums. Statistics use the unrounded weights.
 *
 * A sink multiplies o by 1 / (1 + e^(sink - lse)), whose relative error is at most expm1 of lse's; lse with
 * the sink has a slope <= 1 in lse.
 *
 * Unnormalised: sum = sum_j e^(s_j - reference), told against the reference that was written, however it was
 * rounded: scores move it by sum_j p_j expm1(delta_j) of itself, adding by acc, and moving it to the rounded
 * reference rounds twice; lse's error is not in it. o likewise, weights e^(s_j - reference) in place of p_j.
 * No score is above the reference by more than 8 ln 2, each to within its own error. Where scores are so large
 * that they err by 1 or more, all that is known is that weights told against it stay within 2^9.
 *
 * Entropy: dH/ds_j = -p_j (ln p_j + H); second order sum p delta^2; as ln l - u1 / l with
 * t = s - reference, where the reference may lag 8 behind the maximum: acc (1 + 8 + sum p |s - max|).
 * Varentropy: dV/ds_j = p_j ((ln p_j + H)^2 - V + 2 (ln p_j + H)); the moments err by
 * acc sum p (|s - max| + 8)^2, twice: once in u2 / l, once in (u1 / l)^2.
 * Participation 1 / sum p^2: that sum errs by rho = 2 sum p^2 rho_j / sum p^2 + 2 acc of itself, its inverse
 * by rho / (1 - rho), and by the number of keys at most.
 * Distances are whole numbers, rounded to f32 if far: mean errs by sum p expm1(rho) d + 4 u max d. The
 * variance by sum p expm1(rho) (d - mean)^2 + acc variance + (4 u max d)^2 + u (1 + mean). */
#include "attention/bounds.h"

#include "attention/guarded.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "attn_ref_rotary.h"

static const double u = 0x1p-24;
static const double exp_error = 2e-7;
static const double reference_lag = 8;

void row_bounds_create(struct row_bounds *b, const attn_problem *problem, const attn_args *args)
{
    size_t keys = (size_t)args->keys;
    memset(b, 0, sizeof *b);
    b->keys = args->keys;
    b->magnitude = need(keys, sizeof(double));
    b->score = need(keys, sizeof(double));
    b->weight = need(keys, sizeof(double));
    b->o = need((size_t)problem->head_size_v, sizeof(double));
    b->turn = need((size_t)problem->head_size, sizeof(double));
    b->key_turn = need((size_t)problem->head_size, sizeof(double));
    b->frequency = need((size_t)problem->head_size, sizeof(double));
    for (int64_t m = 0; problem->rotary && m < problem->rotary->size / 2; m++)
        b->frequency[m] = attn_ref_rotary_frequency(problem->rotary, m);
}

void row_bounds_destroy(struct row_bounds *b)
{
    free(b->magnitude);
    free(b->score);
    free(b->weight);
    free(b->o);
    free(b->turn);
    free(b->key_turn);
    free(b->frequency);
}

/* What turning costs each of these channels. Returns whether f32 can hold them on the way. */
static bool turn_errors(const struct row_bounds *b, const attn_problem *p, const double *channels,
                        int64_t position, double *error)
{
    const attn_rotary *rotary = p->rotary;
    bool fits = true;
    for (int64_t d = 0; d < p->head_size; d++)
        error[d] = 0;
    for (int64_t m = 0; rotary && m < rotary->size / 2; m++) {
        int64_t at[2];
        attn_ref_rotary_pair(rotary, m, at);
        double x = channels[at[0]], y = channels[at[1]], length = sqrt(x * x + y * y);
        double angle = fabs((double)position) * b->frequency[m];
        error[at[0]] = error[at[1]] = (3 * u + 0x1p-48 * angle) * length + 0x1p-148;
        fits &= !(isfinite(length) && 2 * length > (double)FLT_MAX);
    }
    for (int64_t d = 0; rotary && b->pairs && d < p->head_size; d++)
        error[d] += 0x1p-8 * (fabs(channels[d]) + error[d]) + 0x1p-134;
    return fits;
}

/* A subnormal factor: what the dot product of pairs takes as 0. */
static bool is_subnormal(double x, double error)
{
    return fabs(x) + error > 0 && fabs(x) - error < (double)FLT_MIN;
}

/* |scale| sum |q_d k_d|; that of the terms with a subnormal factor; what turning costs the score. */
static double magnitude(const struct row_bounds *b, const attn_ref_row *row, const attn_problem *p,
                        int64_t key, double *subnormal, double *turning)
{
    const double *q = row->query_channels, *k = row->key_channels + key * p->head_size;
    const double scale = fabs(attn_ref_scale(p));
    double sum = 0, lost = 0, turned = 0;
    for (int64_t d = 0; d < p->head_size; d++) {
        double x = fabs(q[d]) + b->turn[d], y = fabs(k[d]) + b->key_turn[d];
        sum += x * y;
        turned += fabs(q[d]) * b->key_turn[d] + y * b->turn[d];
        if (is_subnormal(q[d], b->turn[d]) || is_subnormal(k[d], b->key_turn[d]))
            lost += x * y;
    }
    *subnormal = scale * lost;
    *turning = p->rotary ? scale * turned : 0;
    return scale * sum;
}

static double log_weight(const attn_ref_row *row, int64_t key)
{
    return row->score[key] - row->max_score - row->log_sum;
}

/* How much a weight p = e^l grows when its score errs by rho: p expm1(rho), but never past 1. */
static double growth(double log_weight, double rho)
{
    if (rho < 1)
        return exp(log_weight) * expm1(rho);
    return exp(fmin(0, log_weight + rho));
}

/* |bias| + |ALiBi|: what is added to a score behind the softcap. */
static double added(const attn_ref_row *row, const attn_problem *p, const attn_args *args,
                    int64_t key)
{
    return fabs(attn_ref_bias(p, args, row->batch, row->head, row->query, key)) +
           fabs(attn_ref_alibi(p, args, row->batch, row->head, row->query, key));
}

/* A_j of every key that is reached, the error of its logit but for S, and whether the row is one that can
 * be checked. */
static void judge(struct row_bounds *b, const attn_ref_row *row, const attn_problem *p,
                  const attn_args *args)
{
    const double d = (double)p->head_size, scale = fabs(attn_ref_scale(p));
    b->overflowing = b->poisoned = false;
    b->blind = row->visible_keys > 0;
    const bool query_fits = turn_errors(
        b, p, row->query_channels, attn_ref_query_turn(p, args, row->batch, row->query), b->turn);
    for (int64_t j = 0; j < row->keys; j++) {
        b->magnitude[j] = b->score[j] = b->weight[j] = 0;
        if (!row->reached[j])
            continue;
        double subnormal, turning, more = added(row, p, args, j);
        const bool fits = turn_errors(b, p, row->key_channels + j * p->head_size,
                                      attn_ref_key_turn(p, args, row->batch, j), b->key_turn) &&
                          query_fits;
        b->magnitude[j] = magnitude(b, row, p, j, &subnormal, &turning);
        /* log2(e) and the bare product without its scale must fit as well; a bias does, with 1% to spare */
        double bare = b->magnitude[j] / fmin(1, scale), base2 = 1.4427 * (b->magnitude[j] + more);
        bool overflows = isfinite(b->magnitude[j]) && isfinite(more) &&
                         (fmax(fmax(2 * b->magnitude[j], base2), bare) > (double)FLT_MAX || !fits);
        b->overflowing |= overflows && row->visible[j];
        if (overflows && !row->visible[j])
            b->magnitude[j] = INFINITY; /* of that logit nothing is promised */
        b->score[j] = (d + 8) * u * b->magnitude[j] + d * 0x1p-149 / fmin(1, scale) + turning;
        if (b->pairs)
            b->score[j] += subnormal + scale * d * 0x1p-125;
        if (!row->visible[j])
            continue;
        if (isnan(row->score[j]) || row->score[j] == INFINITY)
            b->poisoned = true;
        b->blind &= row->score[j] == -INFINITY;
    }
}

/* delta_j for all; returns S. An infinite logit is exact: so is its weight, 0, or its softcapped score. */
static double score_bounds(struct row_bounds *b, const attn_ref_row *row, const attn_problem *p,
                           const attn_args *args)
{
    double largest = 0, cap = (double)p->softcap, factor = b->function_factor;
    const bool function = p->scores && p->scores->function;
    for (int64_t j = 0; j < row->keys; j++)
        if (row->visible[j] && isfinite(row->score[j]))
            largest = fmax(largest, fabs(row->score[j]));
    b->max_logit = b->max_score = 0;
    for (int64_t j = 0; j < row->keys; j++) {
        if (!row->reached[j])
            continue;
        double size = fabs(row->logit[j]), more = added(row, p, args, j);
        double logit = isfinite(size) ? b->score[j] + 4 * u * (size + largest) : 0;
        b->max_logit = fmax(b->max_logit, logit);
        b->score[j] = (cap > 0 ? fmin(logit, 2 * cap) : logit) + 8 * u * cap;
        if (!row->visible[j] || !isfinite(row->score[j]))
            continue;
        size = cap > 0 ? fmin(size, cap) : size;
        if (more > 0)
            b->score[j] += 4 * u * (more + size);
        if (function)
            b->score[j] = factor * b->score[j] + 6 * u *
                                                     (factor * (size + more) + b->function_offset +
                                                      fabs(row->score[j]) + largest);
        b->max_score = fmax(b->max_score, b->score[j]);
    }
    return largest;
}

/* Of the keys that stand in [begin, end). */
static double sum_between(const struct row_bounds *b, const attn_ref_row *row, int64_t begin,
                          int64_t end)
{
    double sum = 0;
    for (int64_t j = 0; j < b->keys; j++)
        if (row->stands[j] >= begin && row->stands[j] < end)
            sum += b->weight[j];
    return sum;
}

static void mass_bounds(struct row_bounds *b, const attn_ref_row *row, const attn_problem *p,
                        const attn_args *args)
{
    attn_statistics_wanted w = p->statistics ? *p->statistics : attn_statistics_wanted_init(0);
    int64_t at = row->position;
    b->mass_self = sum_between(b, row, at, at + 1);
    b->mass_previous = sum_between(b, row, at - 1, at);
    b->mass_next = sum_between(b, row, at + 1, at + 2);
    b->mass_first = sum_between(b, row, 0, w.first_keys);
    b->mass_local = sum_between(b, row, at - w.local_distance, at + w.local_distance + 1);
    const uint8_t *ids = p->statistics && args->statistics ? args->statistics->segment_ids : NULL;
    memset(b->mass_segments, 0, sizeof b->mass_segments);
    if (ids)
        ids += attn_ref_key_place(p, args, row->batch, 0);
    for (int64_t j = 0; ids && j < b->keys; j++)
        b->mass_segments[ids[j]] += b->weight[j];
}

static void moment_bounds(struct row_bounds *b, const attn_ref_row *row, double acc)
{
    double linear = 0, square = 0, curve = 0, depth = 0, depth2 = 0, part = 0;
    double mean = 0, variance = 0, farthest = 0;
    for (int64_t j = 0; j < b->keys; j++) {
        double p = row->weight[j], delta = b->score[j];
        if (!row->visible[j] || p == 0)
            continue;
        double centred = log_weight(row, j) + row->entropy;
        double below = fabs(row->score[j] - row->max_score);
        double distance = fabs((double)(row->position - row->stands[j]));
        linear += p * fabs(centred) * delta;
        square += p * (fabs(centred * centred - row->varentropy) + 2 * fabs(centred)) * delta;
        curve += p * delta * delta * (1 + centred * centred);
        depth += p * below;
        depth2 += p * (below + reference_lag) * (below + reference_lag);
        part += p * b->weight[j];
        mean += b->weight[j] * distance;
        variance +=
            b->weight[j] * (distance - row->distance_mean) * (distance - row->distance_mean);
        farthest = fmax(farthest, distance);
    }
    b->entropy = linear + curve + acc * (1 + reference_lag + depth) +
                 4 * u * (row->entropy + log((double)row->visible_keys + 1));
    b->varentropy = square + 4 * curve + 2 * acc * depth2 + 4 * u * row->varentropy;
    double rho =
        2 * part * row->participation + 2 * acc; /* of sum p^2; from 1 up nothing is known */
    b->participation = rho < 0.5 ? row->participation * rho / (1 - rho) : (double)row->visible_keys;
    b->distance_mean = mean + 4 * u * farthest;
    b->distance_variance = variance + acc * row->distance_sd * row->distance_sd +
                           16 * u * u * farthest * farthest + u * (1 + row->distance_mean);
}

/* How much a weight e^(s - reference) may be off, e = e^l times the row's sum; it may pass 1, but not 2^9. */
static double free_growth(const struct row_bounds *b, double log_weight, double sum, double rho)
{
    return b->max_score < 1 ? sum * exp(log_weight) * expm1(rho) : 0x1p9;
}

static void unnormalised_bounds(struct row_bounds *b, const attn_ref_row *row, double acc)
{
    b->reference = 8 * log(2) + b->max_score + 4 * u * (fabs(row->reference) + 1);
    b->sum = (b->max_score < 1 ? acc * row->sum : 0) + 0x1p-120;
    for (int64_t j = 0; j < b->keys; j++)
        if (row->visible[j])
            b->sum += free_growth(b, log_weight(row, j), row->sum, b->score[j] + exp_error + 4 * u);
}

/* Of o before it is rounded to its own dtype. */
static void output_bounds(struct row_bounds *b, const attn_ref_row *row, const attn_problem *p,
                          const attn_args *args, double acc)
{
    for (int64_t d = 0; d < p->head_size_v; d++)
        b->o[d] = 0;
    for (int64_t j = 0; j < b->keys && (args->v || args->cache); j++) {
        if (!row->visible[j])
            continue;
        double weight = row->weight[j], off = b->weight[j];
        if (p->unnormalised) {
            off = free_growth(b, log_weight(row, j), row->sum, b->score[j] + 2 * exp_error + 4 * u);
            weight = b->max_score < 1 ? weight * row->sum : 0;
        }
        double factor = off + acc * weight + 0x1p-120;
        if (b->pairs)
            factor += 0x1p-8 * (weight + off) + 0x1p-126;
        const double *value = row->value_channels + j * p->head_size_v;
        for (int64_t d = 0; d < p->head_size_v; d++) {
            double x = fabs(value[d]);
            double lost = b->pairs ? (is_subnormal(x, 0) ? weight * x : 0) + 0x1p-125 : 0x1p-147;
            b->o[d] += isfinite(x) && x * 0x1p8 * (double)b->keys > (double)FLT_MAX
                           ? INFINITY
                           : factor * x + lost;
        }
    }
    if (!p->sinks || p->unnormalised)
        return;
    /* an error of lse is one of the share, which is 1 at most */
    double share = fmin(1, row->share * expm1(fmin(b->lse, 80)) + 4 * u * row->share);
    for (int64_t d = 0; d < p->head_size_v; d++)
        b->o[d] = row->share * b->o[d] +
                  (row->share > 0 ? fabs(row->o[d]) / row->share * share : 0) + 0x1p-126;
}

void row_bounds_compute(struct row_bounds *b, const attn_ref_row *row, const attn_problem *problem,
                        const attn_args *args)
{
    b->keys = row->keys;
    judge(b, row, problem, args);
    if (b->overflowing || b->poisoned || b->blind)
        return;
    double n = (double)row->keys;
    double acc = (2 * n + 16) * u + exp_error;
    double largest = score_bounds(b, row, problem, args);
    double shift = 0;
    for (int64_t j = 0; j < b->keys; j++)
        if (row->visible[j])
            shift += growth(log_weight(row, j), b->score[j]);
    b->lse = row->visible_keys == 0 ? 0
                                    : (b->max_score < 1 ? log1p(shift) : b->max_score) + acc +
                                          4 * u * (fabs(row->lse) + largest + log(n) + 1);
    double sink = problem->sinks ? (double)args->sinks[row->head] : -INFINITY;
    b->lse_with_sink = b->lse + 4 * u * (isfinite(sink) ? fabs(sink) + 1 : 1);
    b->max_weight = 0;
    for (int64_t j = 0; j < b->keys; j++) {
        double rho = b->score[j] + b->lse + 2 * exp_error + acc + 4 * u;
        b->weight[j] = row->visible[j] ? growth(log_weight(row, j), rho) + 0x1p-126 : 0;
        b->max_weight = fmax(b->max_weight, b->weight[j]);
    }
    moment_bounds(b, row, acc);
    mass_bounds(b, row, problem, args);
    if (problem->unnormalised)
        unnormalised_bounds(b, row, acc);
    output_bounds(b, row, problem, args, acc);
}
