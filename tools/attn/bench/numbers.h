/* Medians: what a few measurements on a shared machine can be trusted for. */
#ifndef ATTN_TOOLS_BENCH_NUMBERS_H
#define ATTN_TOOLS_BENCH_NUMBERS_H

#include <stdlib.h>

/* A growing list of measurements. When memory runs out it stops growing. */
struct numbers {
    double *values;
    int count, capacity;
};

static inline void numbers_add(struct numbers *list, double value)
{
    if (list->count == list->capacity) {
        int capacity = list->capacity ? 2 * list->capacity : 64;
        double *values = realloc(list->values, (size_t)capacity * sizeof *values);
        if (!values)
            return; /* one measurement less */
        list->values = values;
        list->capacity = capacity;
    }
    list->values[list->count++] = value;
}

static inline void numbers_free(struct numbers *list)
{
    free(list->values);
    *list = (struct numbers){NULL, 0, 0};
}

static inline int numbers_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct spread {
    double min, median, max; /* 0 when nothing was measured */
};

/* Sorts the list. */
static inline struct spread numbers_spread(struct numbers *list)
{
    if (list->count == 0)
        return (struct spread){0, 0, 0};
    qsort(list->values, (size_t)list->count, sizeof list->values[0], numbers_compare);
    int n = list->count;
    double median =
        n % 2 ? list->values[n / 2] : 0.5 * (list->values[n / 2 - 1] + list->values[n / 2]);
    return (struct spread){list->values[0], median, list->values[n - 1]};
}

#endif
