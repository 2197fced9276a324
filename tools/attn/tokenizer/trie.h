/* The longest of many strings that a text begins with. */
#ifndef ATTN_TOOLS_TRIE_H
#define ATTN_TOOLS_TRIE_H

#include "../base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Nodes are numbers; the edges of all nodes share one hash table. Nodes 0 .. TRIE_ROOTS - 1 are roots
 * of separate sets of strings. */
enum { TRIE_ROOTS = 2 };

struct trie {
    struct trie_edge *edges; /* [mask + 1] */
    size_t mask;
    int32_t *values; /* [nodes] -1: no string ends here */
    uint32_t nodes;
};

/* Room for strings of `bytes` bytes together. False when memory runs out or there are too many. */
bool trie_create(struct trie *trie, size_t bytes);
void trie_free(struct trie *trie);

/* value >= 0. A string that is there already gets the new value. */
void trie_insert(struct trie *trie, uint32_t root, struct text key, int32_t value);

/* The node behind `byte`, or 0 if there is none. (No edge leads to a root.) */
uint32_t trie_step(const struct trie *trie, uint32_t node, unsigned char byte);

#endif
