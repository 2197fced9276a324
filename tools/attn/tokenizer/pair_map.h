/* From two token ids to what they join to: an open hash table, made once for a known number of pairs. */
#ifndef ATTN_TOOLS_PAIR_MAP_H
#define ATTN_TOOLS_PAIR_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct joined {
    int32_t id;
    int32_t rank; /* the lower joins first */
};

struct pair_map {
    struct pair_slot *slots; /* [mask + 1], at most half of them taken */
    size_t mask;
};

/* Room for `count` pairs and no more. False when memory runs out. */
bool pair_map_create(struct pair_map *map, size_t count);
void pair_map_free(struct pair_map *map);

/* Ids >= 0. A pair that is there already gets the new value. */
void pair_map_put(struct pair_map *map, int32_t left, int32_t right, struct joined joined);

/* id -1 for none. */
struct joined pair_map_get(const struct pair_map *map, int32_t left, int32_t right);

#endif
