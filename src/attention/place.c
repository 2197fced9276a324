/* Where a head's things are, and what masks it; the two things every task asks first. */
#include "attention/run.h"

struct attn_place attn_run_place(const struct attn_run_state *run, int64_t pair, int64_t group_head)
{
    const struct attn_plan *plan = run->plan;
    const attn_problem *p = &plan->problem;
    const struct attn_workspace *w = &run->workspace;
    int64_t absolute = run->flight_first + pair;
    int64_t blocks = attn_key_blocks(plan, p->keys);
    struct attn_place place;
    place.batch = absolute / p->kv_heads;
    place.kv_head = absolute % p->kv_heads;
    place.head = place.kv_head * (p->heads / p->kv_heads) + group_head;
    place.keys = w->keys + pair * plan->packed_keys;
    place.values = w->values ? w->values + pair * plan->packed_values : NULL;
    place.non_finite = w->non_finite + pair * blocks;
    int64_t one_hot = blocks * plan->block_keys * plan->segments.count * plan->kernels->columns;
    place.segments = plan->segments.count > 0 ? w->segments + place.batch * one_hot : NULL;
    return place;
}

struct attn_mask attn_run_mask(const struct attn_run_state *run, int64_t batch, int64_t head)
{
    const attn_problem *p = &run->plan->problem;
    const attn_args *args = run->args;
    attn_window window = p->head_windows ? args->head_windows[head] : p->window;
    struct attn_mask mask = {
        .keys = args->keys,
        .left = window.left,
        .right = window.right,
        .window_prefix = window.prefix,
        .causal = p->causal,
    };
    switch (p->alignment) {
    case ATTN_BOTTOM_RIGHT:
        mask.offset = args->keys - args->queries;
        break;
    case ATTN_TOP_LEFT:
        mask.offset = 0;
        break;
    case ATTN_OFFSET:
        mask.offset = args->query_offset[batch];
        break;
    }
    if (p->prefix_lm)
        mask.prefix_lm =
            args->prefix_lm[batch * args->prefix_lm_stride[0] + head * args->prefix_lm_stride[1]];
    if (p->excluded_keys > 0) {
        mask.excluded = args->excluded_keys + (batch * p->heads + head) * p->excluded_keys;
        mask.excluded_count = p->excluded_keys;
    }
    return mask;
}
