/* f32, bf16 and f16 as what they are: sign, exponent, fraction. */
#include "attn_ref.h"

#include <math.h>

/* To `digits` binary digits, none below 2^lowest; past `most` it is infinite. */
static double to_digits(double value, int digits, int lowest, double most)
{
    if (!isfinite(value) || value == 0)
        return value;
    int exponent;
    frexp(value, &exponent);
    int unit = exponent - digits > lowest ? exponent - digits : lowest;
    double rounded = ldexp(nearbyint(ldexp(value, -unit)), unit);
    return fabs(rounded) > most ? copysign(INFINITY, value) : rounded;
}

double attn_ref_rounded(attn_dtype dtype, double value)
{
    if (dtype == ATTN_BF16)
        return to_digits(value, 8, -133, 0x1.fep127);
    if (dtype == ATTN_F16)
        return to_digits(value, 11, -24, 65504);
    return (double)(float)value;
}

/* Of a number that f16 holds, or NaN. */
static uint16_t bits_of_f16(double value)
{
    unsigned sign = signbit(value) ? 0x8000 : 0;
    double size = fabs(value);
    if (isnan(value))
        return (uint16_t)(sign | 0x7e00);
    if (isinf(value))
        return (uint16_t)(sign | 0x7c00);
    if (size < 0x1p-14)
        return (uint16_t)(sign | (unsigned)(size * 0x1p24));
    int exponent;
    double fraction = frexp(size, &exponent); /* in [1/2, 1) */
    return (uint16_t)(sign | (unsigned)(exponent + 14) << 10 |
                      (unsigned)((2 * fraction - 1) * 1024));
}

void attn_ref_store(void *array, attn_dtype dtype, int64_t index, double value)
{
    double rounded = attn_ref_rounded(dtype, value);
    if (dtype == ATTN_F32) {
        ((float *)array)[index] = (float)value;
    } else if (dtype == ATTN_F16) {
        ((uint16_t *)array)[index] = bits_of_f16(rounded);
    } else {
        float narrow = (float)rounded;
        uint32_t bits;
        memcpy(&bits, &narrow, sizeof bits);
        if (isnan(value))
            bits = 0x7fc00000;
        ((uint16_t *)array)[index] = (uint16_t)(bits >> 16);
    }
}
