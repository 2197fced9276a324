/* Carving one workspace into blocks.
 *
 * The same code says how much a run needs and hands it out, so the two cannot disagree:
 *
 *     static void carve(struct scratch *scratch, struct attn_arena *arena, const struct shape *shape)
 *     {
 *         scratch->packed = attn_arena_take(arena, shape->packed_count, sizeof(float));
 *         scratch->scores = attn_arena_take(arena, shape->score_count, sizeof(float));
 *     }
 *
 *     struct attn_arena arena = attn_arena_measure();          when planning: every block is NULL
 *     carve(&scratch, &arena, &shape);
 *     bool fits = attn_arena_needed(&arena, &bytes);
 *
 *     struct attn_arena arena = attn_arena_over(memory, size); when running
 *     carve(&scratch, &arena, &shape);
 *     if (attn_arena_failed(&arena)) ...                       the workspace is too small
 *
 * Blocks begin on a multiple of ATTN_ARENA_ALIGNMENT whatever the alignment of the memory: the measure
 * includes what aligning the first one may cost. A block of no elements takes no room. Once a take has
 * failed, all later ones fail. */
#ifndef ATTN_BASE_ARENA_H
#define ATTN_BASE_ARENA_H

#include "base/sizes.h"

#define ATTN_ARENA_ALIGNMENT ((size_t)64)

struct attn_arena {
    unsigned char *base; /* aligned; NULL when measuring */
    size_t size;         /* bytes from base to the end of the memory */
    size_t used;         /* bytes handed out from base */
    bool measuring;
    bool failed;
};

static inline struct attn_arena attn_arena_measure(void)
{
    struct attn_arena arena = {NULL, SIZE_MAX, 0, true, false};
    return arena;
}

static inline struct attn_arena attn_arena_over(void *memory, size_t size)
{
    size_t skip =
        (ATTN_ARENA_ALIGNMENT - (uintptr_t)memory % ATTN_ARENA_ALIGNMENT) % ATTN_ARENA_ALIGNMENT;
    struct attn_arena arena = {NULL, 0, 0, false, false};
    if (memory && size >= skip) {
        arena.base = (unsigned char *)memory + skip;
        arena.size = size - skip;
    }
    return arena;
}

/* The next block of `count` elements; NULL when measuring, when count is 0, and when it does not fit. */
static inline void *attn_arena_take(struct attn_arena *arena, size_t count, size_t element_size)
{
    size_t bytes, end;
    if (arena->failed || !attn_size_mul(&bytes, count, element_size) ||
        !attn_size_round_up(&bytes, bytes, ATTN_ARENA_ALIGNMENT) ||
        !attn_size_add(&end, arena->used, bytes) || end > arena->size) {
        arena->failed = true;
        return NULL;
    }
    void *block = arena->measuring || bytes == 0 ? NULL : arena->base + arena->used;
    arena->used = end;
    return block;
}

static inline bool attn_arena_failed(const struct attn_arena *arena)
{
    return arena->failed;
}

/* The bytes that memory of any alignment must have for what was taken; false if no size holds them. */
static inline bool attn_arena_needed(const struct attn_arena *arena, size_t *bytes)
{
    if (arena->failed)
        return false;
    if (arena->used == 0) {
        *bytes = 0;
        return true;
    }
    return attn_size_add(bytes, arena->used, ATTN_ARENA_ALIGNMENT - 1);
}

#endif
