/* The frequencies of a rotary embedding: formulas and sources are in attn/rotary.h. */
#include "rotary/rotary.h"

#include <inttypes.h>
#include <math.h>

#include "base/error.h"

static const double turn = 6.283185307179586476925; /* 2 pi */

/* ---- checking ---- */

static attn_status check_yarn(const attn_rotary *r, attn_error *error)
{
    if (!(r->base > 1))
        return attn_fail(error, ATTN_ERR_VALUE,
                         "rotary.base is %g; with ATTN_ROTARY_YARN it must be more than 1",
                         r->base);
    if (!isfinite(r->beta_fast) || !(r->beta_slow > 0) || r->beta_fast < r->beta_slow)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "rotary.beta_fast is %g and beta_slow %g; they must be finite, beta_slow "
                         "more than 0 and beta_fast not less than it",
                         r->beta_fast, r->beta_slow);
    return ATTN_OK;
}

static attn_status check_llama3(const attn_rotary *r, attn_error *error)
{
    if (!(r->low_frequency_factor > 0) || !isfinite(r->high_frequency_factor) ||
        !(r->high_frequency_factor > r->low_frequency_factor))
        return attn_fail(error, ATTN_ERR_VALUE,
                         "rotary.low_frequency_factor is %g and high_frequency_factor %g; the low "
                         "one must be more than 0, the high one finite and more than that",
                         r->low_frequency_factor, r->high_frequency_factor);
    return ATTN_OK;
}

static attn_status check_scaling(const attn_rotary *r, attn_error *error)
{
    if ((unsigned)r->scaling > ATTN_ROTARY_LLAMA3)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "rotary.scaling is %d; it may be ATTN_ROTARY_PLAIN (0) to "
                         "ATTN_ROTARY_LLAMA3 (4)",
                         (int)r->scaling);
    if (r->scaling != ATTN_ROTARY_PLAIN && (!isfinite(r->factor) || r->factor < 1))
        return attn_fail(error, ATTN_ERR_VALUE,
                         "rotary.factor is %g; it must be finite, and 1 or more", r->factor);
    bool trained = r->scaling == ATTN_ROTARY_YARN || r->scaling == ATTN_ROTARY_LLAMA3;
    if (trained && r->original_length < 1)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "rotary.original_length is %" PRId64
                         "; with this scaling it must be 1 or more",
                         r->original_length);
    if (r->scaling == ATTN_ROTARY_YARN)
        return check_yarn(r, error);
    return r->scaling == ATTN_ROTARY_LLAMA3 ? check_llama3(r, error) : ATTN_OK;
}

static attn_status check_divisors(const attn_rotary *r, attn_error *error)
{
    if (!r->frequency_divisors)
        return ATTN_OK;
    if ((uintptr_t)r->frequency_divisors % sizeof(float))
        return attn_fail(error, ATTN_ERR_ALIGNMENT,
                         "rotary.frequency_divisors is %p; it must be aligned to %zu bytes",
                         (const void *)r->frequency_divisors, sizeof(float));
    for (int64_t m = 0; m < r->size / 2; m++)
        if (!(r->frequency_divisors[m] > 0))
            return attn_fail(error, ATTN_ERR_VALUE,
                             "rotary.frequency_divisors[%" PRId64 "] is %g; it must be more than 0",
                             m, (double)r->frequency_divisors[m]);
    return ATTN_OK;
}

attn_status attn_rotary_check(const attn_rotary *r, attn_error *error)
{
    if (!r)
        return attn_fail(error, ATTN_ERR_NULL, "rotary is NULL; it must be given");
    if (r->struct_size != sizeof *r)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "rotary.struct_size is %zu; this library knows %zu (use attn_rotary_init)",
                         r->struct_size, sizeof *r);
    if (r->size < 2 || r->size > INT32_MAX || r->size % 2 != 0)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "rotary.size is %" PRId64 "; it must be even, 2 to 2147483646", r->size);
    if ((unsigned)r->pairing > ATTN_ROTARY_NEIGHBOURS)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "rotary.pairing is %d; it may be ATTN_ROTARY_HALVES (0) or "
                         "ATTN_ROTARY_NEIGHBOURS (1)",
                         (int)r->pairing);
    if (!isfinite(r->base) || r->base < 1)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "rotary.base is %g; it must be finite, and 1 or more", r->base);
    if (!isfinite(r->attention_factor) || r->attention_factor < 0)
        return attn_fail(
            error, ATTN_ERR_VALUE,
            "rotary.attention_factor is %g; it must be finite, and 0 (default) or more",
            r->attention_factor);
    attn_status status = check_scaling(r, error);
    return status ? status : check_divisors(r, error);
}

/* ---- the formulas ---- */

/* Where YaRN passes from frequencies as they are (pairs up to low) to stretched ones (from high). */
struct ramp {
    double low, high;
};

/* The pair, as a fraction, that turns `beta` times within the length of training. */
static double pair_of_turns(const attn_rotary *r, double beta)
{
    return (double)r->size * log((double)r->original_length / (turn * beta)) / (2 * log(r->base));
}

static struct ramp ramp_of(const attn_rotary *r)
{
    struct ramp ramp = {pair_of_turns(r, r->beta_fast), pair_of_turns(r, r->beta_slow)};
    if (r->whole_ramp) {
        ramp.low = floor(ramp.low);
        ramp.high = ceil(ramp.high);
    }
    ramp.low = fmax(ramp.low, 0);
    ramp.high = fmin(ramp.high, (double)r->size - 1);
    return ramp;
}

static double stretched_share(const struct ramp *ramp, double pair)
{
    if (ramp->high <= ramp->low)
        return pair > ramp->low ? 1 : 0;
    return fmin(fmax((pair - ramp->low) / (ramp->high - ramp->low), 0), 1);
}

static double llama3(const attn_rotary *r, double plain)
{
    double low = r->low_frequency_factor, high = r->high_frequency_factor;
    double turns = (double)r->original_length * plain / turn;
    double kept = fmin(fmax((turns - low) / (high - low), 0), 1);
    return plain * ((1 - kept) / r->factor + kept);
}

static double power(const attn_rotary *r, double base, int64_t pair)
{
    return pow(base, -2 * (double)pair / (double)r->size);
}

static double ntk_base(const attn_rotary *r)
{
    if (r->size == 2) /* its only pair turns by 1 whatever the base */
        return r->base;
    return r->base * pow(r->factor, (double)r->size / ((double)r->size - 2));
}

attn_status attn_rotary_fill(const attn_rotary *r, double *frequencies, double *length_factor,
                             attn_error *error)
{
    bool yarn = r->scaling == ATTN_ROTARY_YARN;
    double base = r->scaling == ATTN_ROTARY_NTK ? ntk_base(r) : r->base;
    struct ramp ramp = yarn ? ramp_of(r) : (struct ramp){0, 0};
    if (!isfinite(base))
        return attn_fail(error, ATTN_ERR_VALUE,
                         "rotary.base is %g and factor %g: together they are no finite base",
                         r->base, r->factor);
    for (int64_t m = 0; m < r->size / 2; m++) {
        double f = power(r, base, m);
        if (r->scaling == ATTN_ROTARY_LINEAR)
            f /= r->factor;
        if (r->scaling == ATTN_ROTARY_LLAMA3)
            f = llama3(r, f);
        if (yarn) {
            double share = stretched_share(&ramp, (double)m);
            f *= (1 - share) + share / r->factor;
        }
        frequencies[m] = r->frequency_divisors ? f / (double)r->frequency_divisors[m] : f;
    }
    *length_factor = r->attention_factor > 0 ? r->attention_factor
                     : yarn                  ? 0.1 * log(r->factor) + 1
                                             : 1;
    return ATTN_OK;
}

attn_status attn_rotary_frequencies(const attn_rotary *rotary, double *frequencies,
                                    double *length_factor, attn_error *error)
{
    attn_status status = attn_rotary_check(rotary, error);
    if (status)
        return status;
    if (!frequencies)
        return attn_fail(error, ATTN_ERR_NULL,
                         "frequencies is NULL; it must hold size / 2 = %" PRId64 " numbers",
                         rotary->size / 2);
    if ((uintptr_t)frequencies % sizeof(double) || (uintptr_t)length_factor % sizeof(double))
        return attn_fail(
            error, ATTN_ERR_ALIGNMENT,
            "frequencies is %p and length_factor %p; they must be aligned to %zu bytes",
            (void *)frequencies, (void *)length_factor, sizeof(double));
    double factor;
    status = attn_rotary_fill(rotary, frequencies, &factor, error);
    if (status)
        return status;
    if (length_factor)
        *length_factor = factor;
    return attn_succeed(error);
}
