/* From a string to a number: linear probing, FNV-1a mixed once more at the end. The table is made
 * once for a known number of strings, so there is neither growth nor removal. */
#include "string_map.h"

#include <stdlib.h>
#include <string.h>

struct string_slot {
    const char *key; /* NULL: free */
    uint32_t bytes;
    int32_t value;
};

static size_t hash_bytes(const char *key, size_t bytes)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ (unsigned char)key[i]) * 0x100000001B3u;
    h ^= h >> 32;
    h *= 0x9E3779B97F4A7C15u;
    return (size_t)(h ^ h >> 29);
}

bool string_map_create(struct string_map *map, size_t count)
{
    *map = (struct string_map){0};
    size_t slots = 16;
    while (slots / 2 < count) {
        if (slots > SIZE_MAX / 2)
            return false;
        slots *= 2;
    }
    map->slots = calloc(slots, sizeof *map->slots);
    map->mask = slots - 1;
    return map->slots != NULL;
}

void string_map_free(struct string_map *map)
{
    free(map->slots);
    *map = (struct string_map){0};
}

static struct string_slot *find_slot(const struct string_map *map, const char *key, size_t bytes)
{
    size_t i = hash_bytes(key, bytes) & map->mask;
    for (;; i = (i + 1) & map->mask) {
        struct string_slot *slot = &map->slots[i];
        if (slot->key == NULL)
            return slot;
        if (slot->bytes == bytes && memcmp(slot->key, key, bytes) == 0)
            return slot;
    }
}

void string_map_put(struct string_map *map, struct text key, int32_t value)
{
    struct string_slot *slot = find_slot(map, key.data, key.bytes);
    slot->key = key.data;
    slot->bytes = (uint32_t)key.bytes;
    slot->value = value;
}

int32_t string_map_get(const struct string_map *map, const char *key, size_t bytes)
{
    const struct string_slot *slot = find_slot(map, key, bytes);
    return slot->key == NULL ? -1 : slot->value;
}
