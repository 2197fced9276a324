/* What stands between a product and a score, for one (sequence, query head): cap, bias, ALiBi, the caller's
 * function, masks. */
#ifndef ATTN_ATTENTION_SHAPE_H
#define ATTN_ATTENTION_SHAPE_H

#include "attention/run.h"
#include "plan/tiles.h"

struct attn_shape {
    struct attn_mask mask;
    struct attn_content content; /* all absent unless plan.reads_masks */
    const unsigned char *tiles;  /* blocks judged when planning (plan/tiles.h), or NULL */
    float slope; /* of ALiBi in base-2 units, <= or >= 0: added per distance; 0 = none */
};

struct attn_shape attn_run_shape(const struct attn_run_state *run, const struct attn_place *place);

/* The final score, natural units, of one pair whose u = scale * q.k is known; -inf if it is masked. */
double attn_shape_pair(const struct attn_run_state *run, const struct attn_place *place,
                       const struct attn_shape *shape, int64_t query, int64_t key, double u);

#endif
