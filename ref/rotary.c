/* Rotary embedding, straight from the definitions in attn/rotary.h. */
#include "attn_ref_rotary.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

/* Peng et al. 2023, section 3.2, over the number of the pair: 0 where the frequency stays, 1 where it is
 * divided by the factor. */
static double yarn_ramp(const attn_rotary *r, int64_t pair)
{
    double size = (double)r->size, length = (double)r->original_length;
    double low = size * log(length / (r->beta_fast * 2 * pi)) / (2 * log(r->base));
    double high = size * log(length / (r->beta_slow * 2 * pi)) / (2 * log(r->base));
    if (r->whole_ramp) {
        low = floor(low);
        high = ceil(high);
    }
    if (low < 0)
        low = 0;
    if (high > size - 1)
        high = size - 1;
    if ((double)pair <= low)
        return 0;
    if ((double)pair >= high)
        return 1;
    return ((double)pair - low) / (high - low);
}

/* Llama 3.1, by wavelengths, as published. */
static double llama3(const attn_rotary *r, double frequency)
{
    double wavelength = 2 * pi / frequency, length = (double)r->original_length;
    if (wavelength < length / r->high_frequency_factor)
        return frequency;
    if (wavelength > length / r->low_frequency_factor)
        return frequency / r->factor;
    double smooth = (length / wavelength - r->low_frequency_factor) /
                    (r->high_frequency_factor - r->low_frequency_factor);
    return (1 - smooth) * frequency / r->factor + smooth * frequency;
}

static double scaled(const attn_rotary *r, int64_t pair)
{
    double size = (double)r->size, exponent = 2 * (double)pair / size;
    double plain = 1 / pow(r->base, exponent), ramp;
    switch (r->scaling) {
    case ATTN_ROTARY_LINEAR:
        return plain / r->factor;
    case ATTN_ROTARY_NTK:
        return r->size == 2 ? 1 : plain * pow(r->factor, -2 * (double)pair / (size - 2));
    case ATTN_ROTARY_YARN:
        ramp = yarn_ramp(r, pair);
        return (1 - ramp) * plain + ramp * plain / r->factor;
    case ATTN_ROTARY_LLAMA3:
        return llama3(r, plain);
    case ATTN_ROTARY_PLAIN:
    default:
        return plain;
    }
}

double attn_ref_rotary_frequency(const attn_rotary *rotary, int64_t pair)
{
    double frequency = scaled(rotary, pair);
    return rotary->frequency_divisors ? frequency / (double)rotary->frequency_divisors[pair]
                                      : frequency;
}

double attn_ref_rotary_length_factor(const attn_rotary *rotary)
{
    if (rotary->attention_factor > 0)
        return rotary->attention_factor;
    return rotary->scaling == ATTN_ROTARY_YARN ? 0.1 * log(rotary->factor) + 1 : 1;
}

void attn_ref_rotary_pair(const attn_rotary *rotary, int64_t pair, int64_t channel[2])
{
    bool halves = rotary->pairing == ATTN_ROTARY_HALVES;
    channel[0] = halves ? pair : 2 * pair;
    channel[1] = halves ? pair + rotary->size / 2 : 2 * pair + 1;
}

void attn_ref_rotary_row(const attn_rotary *rotary, int64_t head_size, int64_t position,
                         const double *x, double *y)
{
    double factor = attn_ref_rotary_length_factor(rotary);
    for (int64_t d = 0; d < head_size; d++)
        y[d] = x[d];
    for (int64_t m = 0; m < rotary->size / 2; m++) {
        double angle = (double)position * attn_ref_rotary_frequency(rotary, m);
        int64_t at[2];
        attn_ref_rotary_pair(rotary, m, at);
        double first = x[at[0]], second = x[at[1]];
        y[at[0]] = factor * (first * cos(angle) - second * sin(angle));
        y[at[1]] = factor * (first * sin(angle) + second * cos(angle));
    }
}
