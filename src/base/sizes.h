/* Arithmetic on sizes that notices when it leaves the machine's integers.
 *
 * Each function writes *result and returns true, or returns false and leaves *result as it was:
 *
 *     size_t bytes;
 *     if (!attn_size_mul(&bytes, rows, columns) || !attn_size_mul(&bytes, bytes, sizeof(float)))
 *         return attn_fail(error, ATTN_ERR_OVERFLOW, ...);
 *
 * *result may be one of the operands. Everything is static inline: files compiled for an instruction
 * set of their own may include this. */
#ifndef ATTN_BASE_SIZES_H
#define ATTN_BASE_SIZES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool attn_size_add(size_t *result, size_t a, size_t b)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *result = sum;
    return true;
}

static inline bool attn_size_mul(size_t *result, size_t a, size_t b)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *result = product;
    return true;
}

/* The least multiple of `step` that is >= value; step >= 1, any number. */
static inline bool attn_size_round_up(size_t *result, size_t value, size_t step)
{
    size_t rest = value % step;
    return rest == 0 ? attn_size_add(result, value, 0) : attn_size_add(result, value, step - rest);
}

static inline bool attn_int64_add(int64_t *result, int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *result = sum;
    return true;
}

static inline bool attn_int64_mul(int64_t *result, int64_t a, int64_t b)
{
    int64_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *result = product;
    return true;
}

/* The least multiple of `step` that is >= value; value >= 0, step >= 1. */
static inline bool attn_int64_round_up(int64_t *result, int64_t value, int64_t step)
{
    int64_t rest = value % step;
    return attn_int64_add(result, value, rest == 0 ? 0 : step - rest);
}

/* A count that came as int64_t, as a size: false if it is negative or does not fit. */
static inline bool attn_size_from_int64(size_t *result, int64_t value)
{
    if (value < 0 || (uint64_t)value > SIZE_MAX)
        return false;
    *result = (size_t)value;
    return true;
}

static inline int64_t attn_int64_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t attn_int64_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* How many pieces of `step` cover `value`; value >= 0, step >= 1. Cannot overflow. */
static inline int64_t attn_int64_div_up(int64_t value, int64_t step)
{
    return value / step + (value % step != 0);
}

#endif
