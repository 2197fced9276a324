/* What a cache is made of.
 *
 * Every layer has its own pool and its own list of pages for every sequence, so that layers may hold
 * different tokens: windows move on, and eviction is told from a layer's own statistics. Lists cost four
 * bytes a page, pages kilobytes.
 *
 * A sequence in a layer is a line: rows in the slots of its pages, in order. Slots are counted from the
 * beginning of its first page, rows from `begin`. Pages behind the last slot are reserved room. */
#ifndef ATTN_KV_CACHE_H
#define ATTN_KV_CACHE_H

#include <attn/kv.h>
#include <attn/rotary.h>

#include "base/arena.h"
#include "kv/layout.h"
#include "rotary/turn.h"

struct attn_kv_line {
    int32_t *pages; /* [layer's list] */
    int32_t count;  /* pages in the list */
    bool copies;    /* room was counted for a copy of its last page in use (room.c) */
    int64_t slots;  /* in use, from the beginning of the first page */
    int64_t begin;  /* of those, gone; 0 where positions are kept */
    int64_t first;  /* where slot 0 stands; 0 where positions are kept */
    int64_t length; /* where the next token will stand */
    int64_t gone;   /* what stands in [sinks, gone) may have been let go of */
};

struct attn_kv_pool {
    char *k, *v;
    float *k_scale, *v_scale;
    int32_t *positions;  /* [pages, page_size], or NULL */
    int32_t *references; /* [pages]: the lists a page is in */
    int32_t *free;       /* [free_count] page numbers, taken from the end */
    int64_t free_count, pages;
};

struct attn_kv_store {
    attn_kv_layout layout;
    struct attn_kv_shape shape;
    int64_t window, sinks, step, tokens;
    int64_t list; /* pages of a line at most */
    struct attn_kv_pool pool;
    struct attn_kv_line *lines; /* [sequences] */
    float *k_channel_scale;     /* [kv_heads, head_size], or NULL */
    struct attn_turn *turn;     /* or NULL; layers given the same description share one */
    uint64_t rotary_digest;     /* of its frequencies: what files compare; 0 without */
};

/* What one worker of an append needs: rows of f32, and angles. */
struct attn_kv_scratch {
    float *row; /* [widest head] */
    struct attn_turn_worker turn;
};

struct attn_kv {
    int64_t layer_count, sequences;
    uint64_t model;
    struct attn_kv_store *stores;                                 /* [layer_count] */
    int32_t *indptr, *last_page_len, *first_page_begin, *indices; /* of the view last asked for */
    unsigned char *marks;  /* [sequences], all 0 between calls */
    int64_t *counts;       /* [sequences]: what an append without lengths adds */
    int64_t widest, pairs; /* what a scratch must hold */
    struct attn_kv_scratch scratch;
    const struct attn_turn *turned; /* whose angles the scratch holds */
    void *own;                      /* the memory, where it is not the caller's */
};

/* ---- pools (pool.c) ---- */

/* One of the arrays that pages are in: keys, values, and the scales of each. */
struct attn_kv_array {
    char *memory;
    const int64_t *stride; /* page, head, slot: elements */
    int64_t bits;          /* of an element */
    int64_t row;           /* elements of a token and head; 0: there is no such array */
};

enum { ATTN_KV_ARRAYS = 4 };

void attn_kv_arrays(const struct attn_kv_store *store, struct attn_kv_array arrays[ATTN_KV_ARRAYS]);

static inline char *attn_kv_place(const struct attn_kv_array *array, int64_t page, int64_t head,
                                  int64_t slot)
{
    const int64_t *stride = array->stride;
    return array->memory +
           (page * stride[0] + head * stride[1] + slot * stride[2]) * array->bits / 8;
}

static inline size_t attn_kv_row_bytes(const struct attn_kv_array *array)
{
    return (size_t)(array->row * array->bits / 8);
}

/* All pages free. */
void attn_kv_pool_reset(struct attn_kv_pool *pool);
/* A free page, with one reference; there is one. */
int32_t attn_kv_pool_take(struct attn_kv_pool *pool);
void attn_kv_pool_release(struct attn_kv_pool *pool, int32_t page);
/* The bytes of a page: keys, values, scales, positions. */
uint64_t attn_kv_page_bytes(const struct attn_kv_store *store);
/* Copy slots [0, slots) of one page to another. */
void attn_kv_page_copy(struct attn_kv_store *store, int32_t to, int32_t from, int64_t slots);
/* Copy one slot, all heads; the pages may be the same. */
void attn_kv_slot_copy(struct attn_kv_store *store, int32_t to, int64_t to_slot, int32_t from,
                       int64_t from_slot);

/* ---- lines (line.c) ---- */

static inline int64_t attn_kv_line_rows(const struct attn_kv_line *line)
{
    return line->slots - line->begin;
}

/* Pages with rows in them. */
static inline int64_t attn_kv_line_used(const struct attn_kv_store *store,
                                        const struct attn_kv_line *line)
{
    return attn_int64_div_up(line->slots, store->layout.page_size);
}

/* Where the row in a slot stands. */
int64_t attn_kv_line_position(const struct attn_kv_store *store, const struct attn_kv_line *line,
                              int64_t slot);
/* Give back the pages behind the first `count`. */
void attn_kv_line_cut(struct attn_kv_store *store, struct attn_kv_line *line, int64_t count);
/* Empty, and its pages given back. */
void attn_kv_line_clear(struct attn_kv_store *store, struct attn_kv_line *line);

/* ---- room (room.c) ---- */

/* Where a window leaves a line when the next token is to stand at its length: what stands before the returned
 * position, sinks apart, is seen no more. 0 without a window. */
int64_t attn_kv_line_cutoff(const struct attn_kv_store *store, const struct attn_kv_line *line);

/* Whether counts[i] more rows fit into line sequences[i] (NULL: i), all of them together; nothing is changed.
 * Errors: FULL. */
attn_status attn_kv_room_check(struct attn_kv_store *store, int64_t layer, const int32_t *sequences,
                               int64_t count, const int64_t *counts, attn_error *error);

/* After a check of the same: move windows on, make each last page its line's own, and add pages. */
void attn_kv_room_make(struct attn_kv_store *store, const int32_t *sequences, int64_t count,
                       const int64_t *counts);

/* ---- storage (quantise.c) ---- */

/* A row of `size` f32 as stored in `dtype`, from element `at` of `to` on, its scales to scale[]. */
void attn_kv_row_store(void *to, int64_t at, float *scale, attn_dtype dtype, int64_t group,
                       const float *row, int64_t size);

/* ---- what every call checks (check.c) ---- */

attn_status attn_kv_check(const attn_kv *kv, attn_error *error);
attn_status attn_kv_check_layer(const attn_kv *kv, int64_t layer, attn_error *error);
attn_status attn_kv_check_sequence(const attn_kv *kv, const char *name, int64_t sequence,
                                   attn_error *error);
/* A list of sequences; `distinct`: none may come twice (an append writes each once). */
attn_status attn_kv_check_sequences(attn_kv *kv, const int32_t *sequences, int64_t count,
                                    bool distinct, attn_error *error);

static inline int64_t attn_kv_sequence_at(const int32_t *sequences, int64_t index)
{
    return sequences ? sequences[index] : index;
}

/* The memory of a scratch, from an arena. */
void attn_kv_scratch_carve(struct attn_kv_scratch *scratch, struct attn_arena *arena,
                           int64_t widest, int64_t pairs);

#endif
