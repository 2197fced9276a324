/* Figures by the plainest loops, in long double and with sorting, for the tests to compare with; and a
 * small generator of numbers. */
#ifndef ATTN_TESTS_TELEMETRY_PLAIN_H
#define ATTN_TESTS_TELEMETRY_PLAIN_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* splitmix64 (Steele, Lea and Flood 2014). */
static inline uint64_t plain_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [0, 1). */
static inline double plain_uniform(uint64_t *state)
{
    return (double)(plain_random(state) >> 11) * 0x1p-53;
}

static inline double plain_mean(const double *x, int64_t count)
{
    long double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (long double)x[i];
    return count ? (double)(sum / (long double)count) : NAN;
}

static inline double plain_sd(const double *x, int64_t count)
{
    long double mean = (long double)plain_mean(x, count), sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += ((long double)x[i] - mean) * ((long double)x[i] - mean);
    return count ? (double)sqrtl(sum / (long double)count) : NAN;
}

static inline int plain_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts x. */
static inline double plain_quantile(double *x, int64_t count, double share)
{
    qsort(x, (size_t)count, sizeof *x, plain_compare);
    double position = share * (double)(count - 1);
    int64_t below = (int64_t)floor(position);
    double part = position - (double)below;
    return below + 1 < count ? x[below] * (1 - part) + x[below + 1] * part : x[below];
}

#endif
