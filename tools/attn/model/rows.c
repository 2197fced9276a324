/* Row operations as loops that compilers can vectorise: no calls, no branches, sums in LANES
 * independent parts that are added in a fixed order. */
#include "rows.h"

#include <math.h>
#include <string.h>

enum { LANES = 16 };

/* The activation of a feed-forward part is the one loop here that a run feels (3% of attn inspect with the
 * baseline's vectors): the compiler makes it for wider ones too, and the loader takes the best. Sanitizers
 * are not set up when the loader does, so that their builds go without. Contraction is off for this file:
 * the bits are the same on every machine. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__OPTIMIZE__) && !defined(__clang__) &&   \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef uint32_t integer_lanes __attribute__((vector_size(LANES * sizeof(uint32_t))));

/* `count` <= LANES floats; the other lanes become 0. */
static inline lanes load(const float *x, int64_t count)
{
    lanes v = {0};
    memcpy(&v, x, count >= LANES ? sizeof v : (size_t)count * sizeof *x);
    return v;
}

static inline void store(float *x, lanes v, int64_t count)
{
    memcpy(x, &v, count >= LANES ? sizeof v : (size_t)count * sizeof *x);
}

/* mask ? yes : no */
static inline lanes choose(integer_lanes mask, lanes yes, lanes no)
{
    return (lanes)((mask & (integer_lanes)yes) | (~mask & (integer_lanes)no));
}

/* e^x for x in [-87, 88] (clamped to it), within 2 ulp: 2^n times a polynomial on [-ln2/2, ln2/2].
 * Adding and subtracting 1.5 * 2^23 rounds to an integer and leaves it in the low bits. (In plain
 * floats GCC would work out the clamped cases apart, a division for each.) */
static inline lanes exponential(lanes x)
{
    const lanes low = (lanes){0} - 87.0f, high = (lanes){0} + 88.0f;
    x = choose((integer_lanes)(x < low), low, x);
    x = choose((integer_lanes)(x > high), high, x);
    lanes shifted = x * 1.44269504f + 12582912.0f;
    lanes n = shifted - 12582912.0f;
    lanes r = x - n * 0.693145752f; /* ln 2 in two parts; the first times n is exact */
    r -= n * 1.42860677e-6f;
    lanes p = r * (1.0f / 5040) + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    integer_lanes scale = ((integer_lanes)shifted + (127u - 0x4B400000u)) << 23;
    return p * (lanes)scale;
}

double dot_row(const float *x, const float *y, int64_t size)
{
    float part[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES)
        for (int64_t j = 0; j < LANES; j++)
            part[j] += x[i + j] * y[i + j];
    double sum = 0;
    for (int64_t j = 0; j < LANES; j++)
        sum += (double)part[j];
    for (; i < size; i++)
        sum += (double)(x[i] * y[i]);
    return sum;
}

static double sum_row(const float *x, int64_t size)
{
    float part[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES)
        for (int64_t j = 0; j < LANES; j++)
            part[j] += x[i + j];
    double sum = 0;
    for (int64_t j = 0; j < LANES; j++)
        sum += (double)part[j];
    for (; i < size; i++)
        sum += (double)x[i];
    return sum;
}

static double sum_of_squared_differences(const float *x, float mean, int64_t size)
{
    float part[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES)
        for (int64_t j = 0; j < LANES; j++)
            part[j] += (x[i + j] - mean) * (x[i + j] - mean);
    double sum = 0;
    for (int64_t j = 0; j < LANES; j++)
        sum += (double)part[j];
    for (; i < size; i++)
        sum += (double)((x[i] - mean) * (x[i] - mean));
    return sum;
}

void norm_row(enum norm_kind kind, const struct norm *norm, double epsilon, const float *x,
              float *out, int64_t size)
{
    float mean = 0;
    double square;
    if (kind == NORM_LAYER) {
        mean = (float)(sum_row(x, size) / (double)size);
        square = sum_of_squared_differences(x, mean, size) / (double)size;
    } else {
        square = dot_row(x, x, size) / (double)size;
    }
    const float factor = (float)(1 / sqrt(square + epsilon));
    const float *weight = norm->weight, *bias = norm->bias;
    if (bias == NULL)
        for (int64_t i = 0; i < size; i++)
            out[i] = (x[i] - mean) * factor * weight[i];
    else
        for (int64_t i = 0; i < size; i++)
            out[i] = (x[i] - mean) * factor * weight[i] + bias[i];
}

void add_row(float *x, const float *y, int64_t size)
{
    for (int64_t i = 0; i < size; i++)
        x[i] += y[i];
}

static void rotate_halves(float *restrict low, float *restrict high, int64_t half,
                          const float *restrict cosine, const float *restrict sine)
{
    for (int64_t i = 0; i < half; i++) {
        float a = low[i], b = high[i];
        low[i] = a * cosine[i] - b * sine[i];
        high[i] = b * cosine[i] + a * sine[i];
    }
}

static void rotate_pairs(float *restrict x, int64_t half, const float *restrict cosine,
                         const float *restrict sine)
{
    for (int64_t i = 0; i < half; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = a * cosine[i] - b * sine[i];
        x[2 * i + 1] = b * cosine[i] + a * sine[i];
    }
}

void rotate_row(enum rotary_kind kind, float *x, int64_t heads, int64_t head_size, int64_t size,
                const float *cosine, const float *sine)
{
    for (int64_t h = 0; h < heads; h++, x += head_size) {
        if (kind == ROTARY_HALVES)
            rotate_halves(x, x + size / 2, size / 2, cosine, sine);
        else
            rotate_pairs(x, size / 2, cosine, sine);
    }
}

void rotary_frequencies(double base, double factor, int64_t size, double *frequency)
{
    for (int64_t i = 0; i < size / 2; i++)
        frequency[i] = pow(base, -2.0 * (double)i / (double)size) / factor;
}

void rotary_angles(const double *frequency, int64_t count, int64_t position, float *cosine,
                   float *sine)
{
    for (int64_t i = 0; i < count; i++) {
        double angle = (double)position * frequency[i];
        cosine[i] = (float)cos(angle);
        sine[i] = (float)sin(angle);
    }
}

/* x/2 (1 + tanh u) = x / (1 + e^-2u), here and in the next one with 16 floats at once. */
WIDE static void gelu_tanh(float *x, int64_t size)
{
    for (int64_t i = 0; i < size; i += LANES) {
        lanes v = load(x + i, size - i);
        lanes u = 0.797884561f * (v + 0.044715f * v * v * v);
        store(x + i, v / (1.0f + exponential(-2.0f * u)), size - i);
    }
}

WIDE static void silu(float *x, int64_t size)
{
    for (int64_t i = 0; i < size; i += LANES) {
        lanes v = load(x + i, size - i);
        store(x + i, v / (1.0f + exponential(-v)), size - i);
    }
}

static void gelu_erf(float *x, int64_t size)
{
    for (int64_t i = 0; i < size; i++)
        x[i] = 0.5f * x[i] * (1.0f + erff(x[i] * 0.707106781f));
}

void activate_row(enum activation activation, float *x, const float *up, int64_t size)
{
    if (activation == ACTIVATION_GELU_TANH)
        gelu_tanh(x, size);
    else if (activation == ACTIVATION_SILU)
        silu(x, size);
    else
        gelu_erf(x, size);
    if (up != NULL)
        for (int64_t i = 0; i < size; i++)
            x[i] *= up[i];
}

double sum_of_exponentials(const float *x, float shift, int64_t size)
{
    lanes part = {0};
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES)
        part += exponential(load(x + i, LANES) - shift);
    lanes rest = exponential(load(x + i, size - i) - shift);
    double sum = 0;
    for (int64_t j = 0; j < LANES; j++)
        sum += (double)part[j];
    for (int64_t j = 0; i + j < size; j++)
        sum += (double)rest[j];
    return sum;
}
