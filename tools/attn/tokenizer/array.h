/* Room in a growing array. */
#ifndef ATTN_TOOLS_TOKENIZER_ARRAY_H
#define ATTN_TOOLS_TOKENIZER_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Make room for `needed` elements of `size` bytes at *array, whose room is *capacity; it at least
 * doubles. False, with nothing changed, when memory runs out. */
static inline bool array_reserve(void *array, size_t *capacity, size_t needed, size_t size)
{
    if (needed <= *capacity)
        return true;
    size_t room = *capacity > SIZE_MAX / 2 ? needed : *capacity * 2;
    if (room < needed)
        room = needed;
    if (room < 16)
        room = 16;
    size_t bytes;
    if (__builtin_mul_overflow(room, size, &bytes))
        return false;
    void **place = (void **)array;
    void *grown = realloc(*place, bytes);
    if (grown == NULL)
        return false;
    *place = grown;
    *capacity = room;
    return true;
}

#endif
