/* One block: up to ATTN_BLOCK_ROWS query rows against up to plan.block_keys keys. The forward pass and the
 * second sweep make the same scores here. */
#ifndef ATTN_ATTENTION_BLOCK_H
#define ATTN_ATTENTION_BLOCK_H

#include "attention/shape.h"

struct attn_block {
    int64_t row_begin; /* query of row 0 */
    int rows, groups;
    int64_t key_begin;
    int keys;
    enum attn_tile tile;
    bool
        all_seen; /* every row sees every key: partial is then only what fills up the last vector */
    /* where `marked`, scratch->visible says which pairs are visible, `seen` which panels some row sees */
    bool marked;
    uint64_t seen[ATTN_BLOCK_GROUPS];
    /* what each group works on, within the block; an empty run sees nothing */
    int16_t vector_first[ATTN_BLOCK_GROUPS], vector_last[ATTN_BLOCK_GROUPS];
    int16_t key_first[ATTN_BLOCK_GROUPS], key_last[ATTN_BLOCK_GROUPS]; /* the same in keys */
    /* what some row may see */
    int16_t value_first[ATTN_BLOCK_GROUPS], value_last[ATTN_BLOCK_GROUPS];
};

/* Rows [row_begin, row_begin + rows) of a head, packed into scratch->queries. */
void attn_block_rows(struct attn_block *block, const struct attn_run_state *run,
                     const struct attn_place *place, struct attn_scratch *scratch,
                     int64_t row_begin, int rows);

/* Final scores of the block against key block number `key_block` into scratch->scores, masked ones -inf,
 * and the logits' extremes into scratch->rows if the plan wants them and `measure` is true. False if no
 * row sees any of these keys; block->tile is then ATTN_TILE_SKIP. */
bool attn_block_scores(struct attn_block *block, const struct attn_run_state *run,
                       const struct attn_place *place, const struct attn_shape *shape,
                       struct attn_scratch *scratch, int64_t key_block, bool measure);

/* The same in parts, for who makes products of his own: what the rows see of the block (false: nothing), and
 * everything between a product and a score. row_begin, rows and groups are set before. */
bool attn_block_judge(struct attn_block *block, const struct attn_run_state *run,
                      const struct attn_place *place, const struct attn_shape *shape,
                      struct attn_scratch *scratch, int64_t key_block);
void attn_block_finish(struct attn_block *block, const struct attn_run_state *run,
                       const struct attn_place *place, const struct attn_shape *shape,
                       struct attn_scratch *scratch, bool measure);

#endif
