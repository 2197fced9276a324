/* Where a head's things are, and what masks it; the two things every task asks first. */
#include "attention/run.h"

#include "base/half.h"
#include "plan/lengths.h"

struct attn_place attn_run_sequence(const struct attn_run_state *run, int64_t batch, int64_t head)
{
    const struct attn_plan *plan = run->plan;
    const attn_problem *p = &plan->problem;
    const attn_args *args = run->args;
    struct attn_place place = {0};
    place.batch = batch;
    place.head = head;
    place.kv_head = head / (p->heads / p->kv_heads);
    struct attn_span rows = attn_query_span(p->lengths, args, batch);
    struct attn_span keys = attn_plan_key_span(plan, args, batch);
    place.queries = rows.length;
    place.keys = keys.length;
    place.blocks = attn_row_blocks(place.queries, plan->kernels->rows);
    place.key_blocks = attn_key_blocks(plan, place.keys);
    place.packing = attn_plan_packing(plan, place.queries);
    if (attn_is_ragged(p->lengths)) {
        place.query_origin = rows.first;
        place.key_origin = keys.first;
        place.rows_at = head * attn_query_span(p->lengths, args, args->batch).first + rows.first;
        place.keys_at = head * attn_plan_key_span(plan, args, args->batch).first + keys.first;
    } else {
        place.rows_at = (batch * p->heads + head) * args->queries;
    }
    if (plan->cached || !attn_is_ragged(p->lengths)) {
        place.keys_at = (batch * p->heads + head) * args->keys;
    }
    return place;
}

struct attn_place attn_run_place(const struct attn_run_state *run, int64_t pair, int64_t group_head)
{
    const struct attn_plan *plan = run->plan;
    const attn_problem *p = &plan->problem;
    const struct attn_workspace *w = &run->workspace;
    int64_t absolute = run->flight_first + pair;
    int64_t blocks = attn_key_blocks(plan, p->keys);
    int64_t head = absolute % p->kv_heads * (p->heads / p->kv_heads) + group_head;
    struct attn_place place = attn_run_sequence(run, absolute / p->kv_heads, head);
    if (place.packing == ATTN_PACK_SHARED) {
        place.packed_keys = w->keys + pair * plan->packed_keys;
        place.packed_values = w->values + pair * plan->packed_values;
        place.non_finite = w->non_finite + pair * blocks;
    }
    int64_t one_hot = blocks * plan->block_keys * plan->segments.count * plan->kernels->columns;
    place.segments = plan->segments.count > 0 ? w->segments + place.batch * one_hot : NULL;
    return place;
}

struct attn_key_stands attn_run_stands(const struct attn_run_state *run,
                                       const struct attn_place *place)
{
    const attn_kv_view *view = run->args->cache;
    struct attn_key_stands stands = {0};
    if (!run->plan->cached || !run->plan->cache.positions || place->keys == 0)
        return stands;
    stands.positions = view->positions;
    stands.indices = view->indices + view->indptr[place->batch];
    stands.page_size = run->plan->cache.page_size;
    stands.first = attn_cache_first_slot(view, place->batch);
    return stands;
}

int64_t attn_run_offset(const struct attn_run_state *run, const struct attn_place *place)
{
    const struct attn_plan *plan = run->plan;
    switch (plan->problem.alignment) {
    case ATTN_BOTTOM_RIGHT:
        if (plan->cached && plan->cache.positions && place->keys > 0) {
            const struct attn_mask mask = {.stands = attn_run_stands(run, place)};
            return attn_mask_position(&mask, place->keys - 1) + 1 - place->queries;
        }
        return place->keys - place->queries;
    case ATTN_OFFSET:
        return run->args->query_offset[place->batch];
    case ATTN_TOP_LEFT:
        break;
    }
    return 0;
}

struct attn_mask attn_run_mask(const struct attn_run_state *run, const struct attn_place *place)
{
    const attn_problem *p = &run->plan->problem;
    const attn_args *args = run->args;
    attn_window window = p->head_windows ? args->head_windows[place->head] : p->window;
    struct attn_mask mask = {
        .keys = place->keys,
        .left = window.left,
        .right = window.right,
        .window_prefix = window.prefix,
        .causal = p->causal,
    };
    mask.offset = attn_run_offset(run, place);
    mask.stands = attn_run_stands(run, place);
    if (p->prefix_lm)
        mask.prefix_lm = args->prefix_lm[place->batch * args->prefix_lm_stride[0] +
                                         place->head * args->prefix_lm_stride[1]];
    if (p->excluded_keys > 0) {
        mask.excluded =
            args->excluded_keys + (place->batch * p->heads + place->head) * p->excluded_keys;
        mask.excluded_count = p->excluded_keys;
    }
    return mask;
}

/* `tensor` + the element (batch, head, row) of a layout; ragged tensors have one batch. */
static const char *element(const void *tensor, const attn_layout *layout, int64_t batch,
                           int64_t head, int64_t row)
{
    int64_t at = batch * layout->stride[0] + head * layout->stride[1] + row * layout->stride[2];
    return (const char *)tensor + at * attn_dtype_size(layout->dtype);
}

static int64_t tensor_batch(const struct attn_run_state *run, const struct attn_place *place)
{
    return attn_is_ragged(run->plan->problem.lengths) ? 0 : place->batch;
}

const void *attn_place_query(const struct attn_run_state *run, const struct attn_place *place,
                             int64_t row)
{
    return element(run->args->q, &run->plan->problem.q, tensor_batch(run, place), place->head,
                   place->query_origin + row);
}

const void *attn_place_key(const struct attn_run_state *run, const struct attn_place *place,
                           int64_t key)
{
    return element(run->args->k, &run->plan->problem.k, tensor_batch(run, place), place->kv_head,
                   place->key_origin + key);
}

const void *attn_place_value(const struct attn_run_state *run, const struct attn_place *place,
                             int64_t key)
{
    return element(run->args->v, &run->plan->problem.v, tensor_batch(run, place), place->kv_head,
                   place->key_origin + key);
}

void *attn_place_output(const struct attn_run_state *run, const struct attn_place *place,
                        int64_t row)
{
    union {
        const void *read;
        void *write;
    } at = {element(run->args->o, &run->plan->problem.o, tensor_batch(run, place), place->head,
                    place->query_origin + row)};
    return at.write;
}
