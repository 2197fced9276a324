/* Walking a page table: runs of tokens that lie in one page, one after the other. What is found are addresses
 * by a key's index, so nothing behind this file knows of pages. */
#include "attention/cached.h"

#include "plan/cache.h"

/* One side of a cache: its keys or its values. */
struct side {
    const void *pool;
    const float *scale_pool;
    attn_dtype dtype;
    const int64_t *stride, *scale_stride;
};

static struct side keys_of(const struct attn_run_state *run)
{
    const attn_kv_layout *c = &run->plan->cache;
    const attn_kv_view *view = run->args->cache;
    return (struct side){view->k, view->k_scale, c->k_dtype, c->k_stride, c->k_scale_stride};
}

static struct side values_of(const struct attn_run_state *run)
{
    const attn_kv_layout *c = &run->plan->cache;
    const attn_kv_view *view = run->args->cache;
    return (struct side){view->v, view->v_scale, c->v_dtype, c->v_stride, c->v_scale_stride};
}

/* `count` tokens from slot `slot` of a page on. */
static void find_run(const struct side *side, int64_t page, int64_t head, int64_t slot, int count,
                     const struct attn_cached_addresses *to, int first)
{
    const int64_t bits = attn_dtype_bits(side->dtype);
    const int64_t at = page * side->stride[0] + head * side->stride[1] + slot * side->stride[2];
    const int64_t step = side->stride[2] * bits / 8;
    const char *row = (const char *)side->pool + at * bits / 8;
    for (int j = 0; j < count; j++, row += step)
        to->at[first + j] = row;
    if (!attn_kv_is_quantised(side->dtype))
        return;
    const float *scale = side->scale_pool + page * side->scale_stride[0] +
                         head * side->scale_stride[1] + slot * side->scale_stride[2];
    for (int j = 0; j < count; j++, scale += side->scale_stride[2])
        if (side->dtype == ATTN_INT8)
            to->factors[first + j] = *scale;
        else
            to->scales[first + j] = scale;
}

static void find(const struct attn_run_state *run, const struct attn_place *place,
                 const struct side *side, int64_t begin, int count,
                 const struct attn_cached_addresses *to)
{
    const attn_kv_view *view = run->args->cache;
    const int64_t page_size = run->plan->cache.page_size;
    const int64_t at = attn_cache_first_slot(view, place->batch) + begin;
    const int32_t *pages = view->indices + view->indptr[place->batch] + at / page_size;
    int64_t slot = at % page_size;
    for (int j = 0; j < count; pages++, slot = 0) {
        int here = (int)attn_int64_min(count - j, page_size - slot);
        find_run(side, *pages, place->kv_head, slot, here, to, j);
        j += here;
    }
}

void attn_cached_find_keys(const struct attn_run_state *run, const struct attn_place *place,
                           int64_t begin, int count, const struct attn_cached_addresses *to)
{
    struct side side = keys_of(run);
    find(run, place, &side, begin, count, to);
}

void attn_cached_find_values(const struct attn_run_state *run, const struct attn_place *place,
                             int64_t begin, int count, const struct attn_cached_addresses *to)
{
    struct side side = values_of(run);
    find(run, place, &side, begin, count, to);
}

static struct attn_cached_rows rows_of(const struct attn_plan *plan, attn_dtype dtype,
                                       const int64_t stride[3], int64_t size,
                                       const struct attn_cached_addresses *at, int count)
{
    return (struct attn_cached_rows){
        .dtype = dtype,
        .at = at->at,
        .scales = at->scales,
        .group = plan->cache.group,
        .size = size,
        .step = stride[2] * attn_dtype_bits(dtype) / 8,
        .count = count,
    };
}

struct attn_cached_rows attn_cached_keys(const struct attn_plan *plan,
                                         const struct attn_cached_addresses *at, int count)
{
    return rows_of(plan, plan->cache.k_dtype, plan->cache.k_stride, plan->problem.head_size, at,
                   count);
}

struct attn_cached_rows attn_cached_values(const struct attn_plan *plan,
                                           const struct attn_cached_addresses *at, int count)
{
    return rows_of(plan, plan->cache.v_dtype, plan->cache.v_stride, plan->problem.head_size_v, at,
                   count);
}

/* int8 comes out of the kernel without its scale. */
static void finish_gathered(const struct attn_run_state *run, struct attn_scratch *scratch,
                            const struct attn_cached_rows *rows, const float *factors,
                            int64_t stride)
{
    run->plan->kernels->widen_cached(rows, 0, rows->count, stride, scratch->gathered);
    for (int j = 0; j < rows->count && rows->dtype == ATTN_INT8; j++)
        for (int64_t t = 0; t < rows->size; t++)
            scratch->gathered[j * stride + t] *= factors[j];
}

int64_t attn_cached_gather_keys(const struct attn_run_state *run, const struct attn_place *place,
                                struct attn_scratch *scratch, int64_t begin, int count)
{
    const struct attn_plan *plan = run->plan;
    const struct attn_decode_scratch *d = &scratch->decode;
    struct attn_cached_addresses to = {d->keys, d->key_scales, d->key_factors};
    attn_cached_find_keys(run, place, begin, count, &to);
    struct attn_cached_rows rows = attn_cached_keys(plan, &to, count);
    finish_gathered(run, scratch, &rows, d->key_factors, plan->cached_size);
    for (int j = 0; j < count && plan->cache.k_channel_scales; j++)
        for (int64_t t = 0; t < rows.size; t++)
            scratch->gathered[j * plan->cached_size + t] *=
                run->args->cache->k_channel_scale[place->kv_head * rows.size + t];
    return plan->cached_size;
}

int64_t attn_cached_gather_values(const struct attn_run_state *run, const struct attn_place *place,
                                  struct attn_scratch *scratch, int64_t begin, int count)
{
    const struct attn_plan *plan = run->plan;
    const struct attn_decode_scratch *d = &scratch->decode;
    struct attn_cached_addresses to = {d->values, d->value_scales, d->value_factors};
    attn_cached_find_values(run, place, begin, count, &to);
    struct attn_cached_rows rows = attn_cached_values(plan, &to, count);
    finish_gathered(run, scratch, &rows, d->value_factors, plan->output_size);
    return plan->output_size;
}
