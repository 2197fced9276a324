/* From a string to a number: an open hash table over strings that live elsewhere. */
#ifndef ATTN_TOOLS_STRING_MAP_H
#define ATTN_TOOLS_STRING_MAP_H

#include "../base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct string_map {
    struct string_slot *slots; /* [mask + 1], at most half of them taken */
    size_t mask;
};

/* Room for `count` strings and no more. False when memory runs out. */
bool string_map_create(struct string_map *map, size_t count);
void string_map_free(struct string_map *map);

/* value >= 0. The bytes must outlive the map. A string that is there already gets the new value. */
void string_map_put(struct string_map *map, struct text key, int32_t value);

/* -1 for none. */
int32_t string_map_get(const struct string_map *map, const char *key, size_t bytes);

#endif
