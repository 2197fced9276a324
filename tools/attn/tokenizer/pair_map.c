/* Linear probing; there is neither growth nor removal. */
#include "pair_map.h"

#include <stdlib.h>

struct pair_slot {
    int32_t left, right;
    struct joined joined;
    bool taken;
};

bool pair_map_create(struct pair_map *map, size_t count)
{
    *map = (struct pair_map){0};
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

void pair_map_free(struct pair_map *map)
{
    free(map->slots);
    *map = (struct pair_map){0};
}

static struct pair_slot *find_slot(const struct pair_map *map, int32_t left, int32_t right)
{
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u;
    size_t i = (size_t)(h ^ h >> 29) & map->mask;
    for (;; i = (i + 1) & map->mask) {
        struct pair_slot *slot = &map->slots[i];
        if (!slot->taken || (slot->left == left && slot->right == right))
            return slot;
    }
}

void pair_map_put(struct pair_map *map, int32_t left, int32_t right, struct joined joined)
{
    *find_slot(map, left, right) =
        (struct pair_slot){.left = left, .right = right, .joined = joined, .taken = true};
}

struct joined pair_map_get(const struct pair_map *map, int32_t left, int32_t right)
{
    const struct pair_slot *slot = find_slot(map, left, right);
    return slot->taken ? slot->joined : (struct joined){-1, 0};
}
