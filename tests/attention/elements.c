/* Elements of any dtype by plain arithmetic: see elements.h. */
#include "attention/elements.h"

#include <math.h>
#include <string.h>

int64_t dtype_bytes(attn_dtype dtype)
{
    return dtype == ATTN_F32 ? 4 : 2;
}

void dtype_format(attn_dtype dtype, int *digits, int *least)
{
    *digits = dtype == ATTN_F16 ? 11 : dtype == ATTN_BF16 ? 8 : 24;
    *least = dtype == ATTN_F16 ? -14 : -126;
}

double element(const void *array, attn_dtype dtype, int64_t i)
{
    if (dtype == ATTN_F32) {
        float x;
        memcpy(&x, (const char *)array + 4 * i, sizeof x);
        return (double)x;
    }
    uint16_t bits;
    memcpy(&bits, (const char *)array + 2 * i, sizeof bits);
    int digits, least;
    dtype_format(dtype, &digits, &least);
    int fraction = bits & ((1 << (digits - 1)) - 1), bias = 1 - least;
    int exponent = (bits & 0x7fff) >> (digits - 1);
    double size = ldexp(exponent ? fraction + (1 << (digits - 1)) : fraction,
                        (exponent ? exponent : 1) - bias - digits + 1);
    if (exponent == 2 * bias + 1)
        size = fraction ? NAN : INFINITY;
    return bits >> 15 ? -size : size;
}

void set_element(void *array, attn_dtype dtype, int64_t i, double x)
{
    if (dtype == ATTN_F32) {
        float rounded = (float)x;
        memcpy((char *)array + 4 * i, &rounded, sizeof rounded);
        return;
    }
    int digits, least, exponent = 0;
    dtype_format(dtype, &digits, &least);
    const int bias = 1 - least;
    uint16_t bits = signbit(x) ? 0x8000 : 0;
    double size = fabs(x);
    if (size > 0 && size < INFINITY) {
        frexp(size, &exponent);
        exponent = exponent - 1 < least ? least : exponent - 1;
        /* a count of the spacing, to nearest even; a carry moves into the exponent by itself */
        int64_t count = (int64_t)rint(ldexp(size, digits - 1 - exponent));
        int64_t rest = count + ((int64_t)(exponent - least) << (digits - 1));
        const int64_t infinity = (int64_t)(2 * bias + 1) << (digits - 1);
        bits |= (uint16_t)(rest < infinity ? rest : infinity);
    } else if (size != 0) {
        bits |= (uint16_t)((2 * bias + 1) << (digits - 1) | (size != size));
    }
    memcpy((char *)array + 2 * i, &bits, sizeof bits);
}
