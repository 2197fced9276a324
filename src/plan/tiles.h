/* What the masks that are read make of each block of rows x keys, decided once for masks that are promised
 * constant; and how the judgements of all masks come together, in one place for runs and for words.
 *
 * The table is of the plan's own Nq and Nk, whose borders of blocks it has; sequences of other lengths are
 * judged as they run. Heads and sequences that share a mask (zero strides) share a map. */
#ifndef ATTN_PLAN_TILES_H
#define ATTN_PLAN_TILES_H

#include "mask/content.h"
#include "plan/plan.h"

struct attn_tiles {
    struct attn_row_blocks rows;
    int64_t key_blocks;
    int64_t batch_maps, head_maps; /* 1 where all share: how many maps there are along each axis */
    unsigned char verdicts[];      /* [batch_maps][head_maps][row blocks][key blocks] */
};

/* The masks that are read for head `head` of sequence `batch`: `args` are of a run with these queries and
 * keys; documents begin at entries `query_origin` and `key_origin`. */
struct attn_content attn_plan_content(const struct attn_plan *plan, const attn_scores_args *args,
                                      int64_t batch, int64_t head, int64_t queries,
                                      int64_t query_origin, int64_t key_origin);

/* Judge every block, into plan->tiles. Reads the masks. Errors: MEMORY. */
attn_status attn_tiles_create(struct attn_plan *plan, attn_error *error);

/* The map of a head: verdicts of [row block][key block]. */
static inline const unsigned char *attn_tiles_map(const struct attn_tiles *tiles, int64_t batch,
                                                  int64_t head)
{
    int64_t map =
        (tiles->batch_maps > 1 ? batch : 0) * tiles->head_maps + (tiles->head_maps > 1 ? head : 0);
    return tiles->verdicts + map * tiles->rows.count * tiles->key_blocks;
}

/* By the runs of keys, by what is read (FULL if nothing is), and by the caller's function, which may hide
 * anything. */
static inline enum attn_tile attn_tile_join(const struct attn_plan *plan, enum attn_tile runs,
                                            enum attn_tile read)
{
    if (runs == ATTN_TILE_SKIP || read == ATTN_TILE_SKIP)
        return ATTN_TILE_SKIP;
    return read == ATTN_TILE_FULL && !plan->scores.function ? runs : ATTN_TILE_PARTIAL;
}

/* The same of a block of `keys` keys as it is worked on: the last vector's empty lanes are masked too. */
static inline enum attn_tile attn_tile_worked(const struct attn_plan *plan, enum attn_tile tile,
                                              int64_t keys)
{
    return tile == ATTN_TILE_FULL && keys % plan->kernels->lanes != 0 ? ATTN_TILE_PARTIAL : tile;
}

/* How many blocks of all heads are skipped, full and partial where every sequence is as long as the plan
 * allows; `known` is false where that is seen at a run only. */
struct attn_tile_counts {
    bool known;
    int64_t skip, full, partial;
};

struct attn_tile_counts attn_tiles_count(const struct attn_plan *plan);

#endif
