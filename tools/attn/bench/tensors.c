/* Values, their types and their places; see tensors.h. */
#include "tensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void *bench_allocate(size_t bytes, struct failure *f)
{
    enum { LINE = 64 };
    void *memory = aligned_alloc(LINE, (bytes + LINE - 1) / LINE * LINE + LINE);
    if (!memory)
        fail(f, "out of memory: %zu bytes were wanted", bytes);
    return memory;
}

/* ---- elements ---- */

size_t bench_element_size(attn_dtype dtype)
{
    return dtype == ATTN_F32 ? 4 : 2;
}

static float f16_value(uint16_t h)
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                 : exponent == 0 ? ldexpf((float)fraction, -24)
                                 : ldexpf((float)(1024 + fraction), exponent - 25);
    return h & 0x8000 ? -size : size;
}

double bench_element(const void *array, attn_dtype dtype, int64_t i)
{
    if (dtype == ATTN_F32)
        return (double)((const float *)array)[i];
    uint16_t h = ((const uint16_t *)array)[i];
    if (dtype == ATTN_F16)
        return (double)f16_value(h);
    uint32_t bits = (uint32_t)h << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

/* Rounded on a grid of 2^-24 below 2^-14, of 11 significant bits above; the C library's rounding is to
 * nearest even. */
static uint16_t f16_bits(float value)
{
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    float size = fabsf(value);
    int exponent;
    if (isnan(value))
        return sign | 0x7e00;
    if (size >= 65520)
        return sign | 0x7c00;
    if (size < 0x1p-14f)
        return sign | (uint16_t)lrintf(ldexpf(size, 24));
    frexpf(size, &exponent); /* size = [0.5, 1) * 2^exponent */
    /* A fraction that is rounded up to 2048 carries into the exponent, as it should. */
    return (uint16_t)(sign | (((exponent + 13) << 10) + (int)lrintf(ldexpf(size, 11 - exponent))));
}

void bench_set_element(void *array, attn_dtype dtype, int64_t i, float value)
{
    uint32_t bits;
    if (dtype == ATTN_F32) {
        ((float *)array)[i] = value;
        return;
    }
    memcpy(&bits, &value, sizeof bits);
    if (dtype == ATTN_F16)
        ((uint16_t *)array)[i] = f16_bits(value);
    else if (isnan(value))
        ((uint16_t *)array)[i] = 0x7fc0;
    else
        ((uint16_t *)array)[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* ---- tensors ---- */

int64_t bench_row_index(const struct bench_case *c, int heads, int64_t length, int b, int h,
                        int64_t i)
{
    if (c->mask != MASK_RAGGED)
        return ((int64_t)b * heads + h) * length + i;
    int64_t total = 0, begin = 0;
    for (int s = 0; s < c->batch; s++) {
        if (s == b)
            begin = total;
        total += bench_mask_length(c->mask, c->batch, length, s);
    }
    return h * total + begin + i;
}

/* splitmix64 (Steele, Lea & Flood 2014): a counter through a mixing function. */
static uint64_t mix(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The sum of four uniform values, scaled to variance 1: near enough to a normal distribution. */
float bench_random_value(uint64_t *state)
{
    uint64_t bits = mix(state);
    int64_t sum =
        (int64_t)((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48));
    return (float)(sum - 2 * 65535) * (1.7320508f / 65536.0f);
}

static void fill(void *array, attn_dtype dtype, int64_t count, uint64_t seed)
{
    uint64_t state = seed;
    for (int64_t i = 0; i < count; i++)
        bench_set_element(array, dtype, i, bench_random_value(&state));
}

/* A ragged tensor leaves the end of this unused. */
static bool tensor_make(void **tensor, const struct bench_case *c, int heads, int64_t length,
                        uint64_t seed, struct failure *f)
{
    int64_t count = (int64_t)c->batch * heads * length * c->head_size;
    *tensor = bench_allocate((size_t)count * bench_element_size(c->dtype), f);
    if (*tensor)
        fill(*tensor, c->dtype, count, seed);
    return *tensor != NULL;
}

bool bench_tensors_make(struct bench_tensors *tensors, const struct bench_case *c,
                        struct failure *f)
{
    *tensors = (struct bench_tensors){NULL, NULL, NULL, NULL};
    if (!tensor_make(&tensors->q, c, c->heads, c->queries, 1, f))
        return false;
    if (c->cache != 0) {
        tensors->pool = bench_pool_make(c, f);
        return tensors->pool != NULL;
    }
    return tensor_make(&tensors->k, c, c->kv_heads, c->keys, 2, f) &&
           tensor_make(&tensors->v, c, c->kv_heads, c->keys, 3, f);
}

void bench_tensors_free(struct bench_tensors *tensors)
{
    free(tensors->q);
    free(tensors->k);
    free(tensors->v);
    bench_pool_free(tensors->pool);
}
