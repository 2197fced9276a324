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

/* Whether element i of the block (guards included) holds the pattern; of a narrow one, its upper half. */
static bool holds_pattern(const struct guarded *array, size_t i)
{
    return array->width == 2 ? ((const uint16_t *)array->block)[i] == pattern >> 16
                             : ((const uint32_t *)array->block)[i] == pattern;
}

struct guarded guarded_create_of(const char *name, size_t count, size_t width)
{
    struct guarded array = {.name = name, .count = count, .width = width};
    array.block = need(count + 2 * BAND, width);
    array.data = (uint32_t *)((char *)array.block + BAND * width);
    guarded_reset(&array);
    return array;
}

struct guarded guarded_create(const char *name, size_t count)
{
    return guarded_create_of(name, count, sizeof(uint32_t));
}

void guarded_destroy(struct guarded *array)
{
    free(array->block);
    free(array->writable);
    array->block = NULL;
    array->data = NULL;
    array->writable = NULL;
}

void guarded_reset(struct guarded *array)
{
    for (size_t i = 0; i < array->count + 2 * BAND; i++)
        if (array->width == 2)
            ((uint16_t *)array->block)[i] = pattern >> 16;
        else
            ((uint32_t *)array->block)[i] = pattern;
}

const char *guarded_fault(const struct guarded *array, size_t *index)
{
    for (size_t i = 0; i < BAND; i++) {
        *index = i;
        if (!holds_pattern(array, i))
            return "the guard band before the array was written";
        if (!holds_pattern(array, BAND + array->count + i))
            return "the guard band after the array was written";
    }
    for (size_t i = 0; i < array->count; i++) {
        *index = i;
        bool allowed = !array->ignored && (!array->writable || array->writable[i]);
        if (!allowed && !holds_pattern(array, BAND + i))
            return "an element that is no output was written";
    }
    return NULL;
}

bool guarded_untouched(const struct guarded *array)
{
    for (size_t i = 0; i < array->count + 2 * BAND; i++)
        if (!holds_pattern(array, i))
            return false;
    return true;
}
