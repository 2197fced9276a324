/* The longest of many strings that a text begins with: a trie whose edges (node, byte) -> node are
 * kept in one open hash table, sized for the bytes of all strings, so that building never moves
 * anything. */
#include "trie.h"

#include <stdlib.h>

struct trie_edge {
    uint32_t from; /* node */
    uint32_t to;   /* 0: a free place */
    unsigned char byte;
};

bool trie_create(struct trie *trie, size_t bytes)
{
    *trie = (struct trie){0};
    if (bytes > UINT32_MAX / 4)
        return false;
    size_t places = 16;
    while (places / 2 < bytes)
        places *= 2;
    trie->edges = calloc(places, sizeof *trie->edges);
    trie->mask = places - 1;
    trie->values = malloc((bytes + TRIE_ROOTS) * sizeof *trie->values);
    if (trie->edges == NULL || trie->values == NULL) {
        trie_free(trie);
        return false;
    }
    for (trie->nodes = 0; trie->nodes < TRIE_ROOTS; trie->nodes++)
        trie->values[trie->nodes] = -1;
    return true;
}

void trie_free(struct trie *trie)
{
    free(trie->edges);
    free(trie->values);
    *trie = (struct trie){0};
}

static struct trie_edge *find_edge(const struct trie *trie, uint32_t node, unsigned char byte)
{
    uint64_t h = ((uint64_t)node << 8 | byte) * 0x9E3779B97F4A7C15u;
    size_t i = (size_t)(h >> 32 ^ h) & trie->mask;
    for (;; i = (i + 1) & trie->mask) {
        struct trie_edge *edge = &trie->edges[i];
        if (edge->to == 0 || (edge->from == node && edge->byte == byte))
            return edge;
    }
}

void trie_insert(struct trie *trie, uint32_t root, struct text key, int32_t value)
{
    uint32_t node = root;
    for (size_t i = 0; i < key.bytes; i++) {
        unsigned char byte = (unsigned char)key.data[i];
        struct trie_edge *edge = find_edge(trie, node, byte);
        if (edge->to == 0) {
            trie->values[trie->nodes] = -1;
            *edge = (struct trie_edge){node, trie->nodes++, byte};
        }
        node = edge->to;
    }
    trie->values[node] = value;
}

uint32_t trie_step(const struct trie *trie, uint32_t node, unsigned char byte)
{
    return find_edge(trie, node, byte)->to;
}
