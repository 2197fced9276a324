/* Merging neighbours, the best pair first: the heart of both kinds of BPE. They differ in what they
 * start from and in which two symbols join to which token, and how early. */
#ifndef ATTN_TOOLS_TOKENIZER_MERGING_H
#define ATTN_TOOLS_TOKENIZER_MERGING_H

#include "tokenizer.h"

/* Ends the list of symbols. */
#define MERGING_NOBODY UINT32_MAX

struct merging_symbol {
    uint32_t begin, length; /* in the spelled text; length 0: merged into its left neighbour */
    uint32_t previous, next;
    uint32_t source; /* where it begins in the text, from the start of the stretch */
    int32_t id;      /* -1: no token */
};

struct merging_candidate {
    float score; /* the higher merges first */
    uint32_t left, right;
    uint32_t length; /* of the two together */
    int32_t id;
};

struct merging;

/* The token that two neighbours join to, and its score; -1: they do not join. */
typedef int32_t merging_join(const struct merging *m, const struct merging_symbol *left,
                             const struct merging_symbol *right, float *score);

/* The memory of one call, and the rule. */
struct merging {
    const struct tokenizer *t;
    merging_join *join;
    const char *spelled; /* what the symbols are made of */
    struct merging_symbol *symbols;
    size_t symbol_count, symbol_capacity;
    struct merging_candidate *heap;
    size_t heap_count, heap_capacity;
};

/* Add a symbol behind the others. False when memory runs out. */
bool merging_add(struct merging *m, uint32_t begin, uint32_t length, uint32_t source, int32_t id);

/* Merge while any two neighbours join: the highest score first, the leftmost of equals. What is left
 * is linked by `next` from symbol 0. False when memory runs out. */
bool merging_run(struct merging *m);

void merging_free(struct merging *m);

#endif
