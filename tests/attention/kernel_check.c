/* Help for the checks of single kernels: see kernel_check.h. */
#include "attention/kernel_check.h"

#include <sys/mman.h>
#include <unistd.h>

enum { PATTERN = 0xa5, FENCES = 256 };

static struct fence {
    unsigned char *base;
    size_t data,
        size; /* where the bytes begin; of the mapping, its last page the one that faults */
} fences[FENCES];
static int fences_count;

void *fenced(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t room = (bytes + page) / page * page; /* at least one byte before the data */
    struct fence *fence = &fences[fences_count++];
    if (fences_count > FENCES)
        fail_msg("more than %d fences", FENCES);
    fence->base =
        mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fence->base == MAP_FAILED || mprotect(fence->base + room, page, PROT_NONE) != 0)
        fail_msg("no memory for %zu bytes", bytes);
    fence->size = room + page;
    fence->data = room - bytes;
    memset(fence->base, PATTERN, room);
    return fence->base + fence->data;
}

bool untouched(const void *memory, size_t bytes)
{
    const unsigned char *at = memory;
    for (size_t i = 0; i < bytes; i++)
        if (at[i] != PATTERN)
            return false;
    return true;
}

void release(void)
{
    bool whole = true;
    for (int i = 0; i < fences_count; i++) {
        whole &= untouched(fences[i].base, fences[i].data);
        munmap(fences[i].base, fences[i].size);
    }
    fences_count = 0;
    if (!whole)
        fail_msg("something was written before an array");
}

/* Digits of the significand, and the least exponent of a normal number. */
static void dtype_format(attn_dtype dtype, int *digits, int *least)
{
    *digits = dtype == ATTN_F16 ? 11 : dtype == ATTN_BF16 ? 8 : 24;
    *least = dtype == ATTN_F16 ? -14 : -126;
}

double number(struct random *random, attn_dtype dtype, double spread, bool hostile)
{
    int digits, least;
    dtype_format(dtype, &digits, &least);
    double sign = random_chance(random, 0.5) ? 1 : -1;
    double most = (2 - ldexp(1, 1 - digits)) * ldexp(1, 1 - least);
    if (!hostile || random_chance(random, 0.8))
        return spread * random_normal(random);
    switch (random_between(random, 0, 4)) {
    case 0:
        return sign * 0.0;
    case 1:
        return sign *
               ldexp((double)random_between(random, 1, 1 << (digits - 1)), least - digits + 1);
    case 2:
        return sign * most;
    case 3: /* halfway between two numbers of the format */
        return sign * ((double)random_between(random, 1 << (digits - 1), 1 << digits) + 0.5);
    default:
        return sign * ldexp(1, least);
    }
}

float *numbers(struct random *random, size_t count, double spread)
{
    float *array = fenced(count * sizeof *array);
    for (size_t i = 0; i < count; i++)
        array[i] = (float)(spread * random_normal(random));
    return array;
}

int64_t random_stride(struct random *random, int64_t size)
{
    int64_t stride = size + (random_chance(random, 0.5) ? 0 : random_between(random, 1, 9));
    return random_chance(random, 0.1) ? 0 : random_chance(random, 0.2) ? -stride : stride;
}

void *rows_of(struct random *random, attn_dtype dtype, int64_t rows, int64_t size, int64_t stride,
              double spread)
{
    int64_t step = stride < 0 ? -stride : stride, last = rows > 0 ? rows - 1 : 0;
    int64_t count = rows > 0 ? last * step + size : 0;
    char *block = fenced((size_t)(count * attn_ref_dtype_size(dtype)));
    for (int64_t i = 0; i < count; i++)
        attn_ref_store(block, dtype, i, NAN);
    char *first = block + (stride < 0 ? last * step * attn_ref_dtype_size(dtype) : 0);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < size; i++)
            attn_ref_store(first, dtype, row * stride + i, number(random, dtype, spread, true));
    return first;
}

void near(const char *what, int64_t at, double got, double expected, double bound)
{
    if (got == expected || (got != got && expected != expected) || fabs(got - expected) <= bound)
        return;
    fail_msg("%s[%lld] is %.9g, should be %.9g within %.3g", what, (long long)at, got, expected,
             bound);
}

void exactly(const char *what, int64_t at, double got, double expected)
{
    bool both_nan = got != got && expected != expected;
    if (!both_nan && (got != expected || signbit(got) != signbit(expected)))
        fail_msg("%s[%lld] is %.9g, should be %.9g", what, (long long)at, got, expected);
}
