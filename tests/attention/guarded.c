/* Guard bands: see guarded.h. */
#include "guarded.h"

#include <stdio.h>
#include <stdlib.h>

enum { BAND = 64 };
static const uint32_t pattern =
    0x7fa5c3d2; /* as a float: a signalling NaN with a payload of its own */

void *need(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size ? size : 1);
    if (!memory) {
        fprintf(stderr, "no memory for %zu x %zu bytes\n", count, size);
        exit(1);
    }
    return memory;
}

struct guarded guarded_create(const char *name, size_t count)
{
    struct guarded array = {.name = name, .count = count};
    array.block = need(count + 2 * BAND, sizeof *array.block);
    array.data = array.block + BAND;
    guarded_reset(&array);
    return array;
}

void guarded_destroy(struct guarded *array)
{
    free(array->block);
    free(array->writable);
    array->block = array->data = NULL;
    array->writable = NULL;
}

void guarded_reset(struct guarded *array)
{
    for (size_t i = 0; i < array->count + 2 * BAND; i++)
        array->block[i] = pattern;
}

const char *guarded_fault(const struct guarded *array, size_t *index)
{
    for (size_t i = 0; i < BAND; i++) {
        *index = i;
        if (array->block[i] != pattern)
            return "the guard band before the array was written";
        if (array->data[array->count + i] != pattern)
            return "the guard band after the array was written";
    }
    for (size_t i = 0; i < array->count; i++) {
        *index = i;
        bool allowed = !array->ignored && (!array->writable || array->writable[i]);
        if (!allowed && array->data[i] != pattern)
            return "an element that is no output was written";
    }
    return NULL;
}

bool guarded_untouched(const struct guarded *array)
{
    for (size_t i = 0; i < array->count + 2 * BAND; i++)
        if (array->block[i] != pattern)
            return false;
    return true;
}
