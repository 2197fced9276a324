/* Keys and values of a cache, one element at a time: through the page table, with every scale applied. */
#include "attn/kv.h"
#include "attn_ref.h"

/* Keys of the sequence: full pages, and what the last one holds, less what is gone at the start. */
int64_t attn_ref_cached_keys(const attn_problem *problem, const attn_args *args, int64_t batch)
{
    const attn_kv_view *view = args->cache;
    int64_t pages = view->indptr[batch + 1] - view->indptr[batch];
    if (pages == 0)
        return 0;
    int64_t gone = view->first_page_begin ? view->first_page_begin[batch] : 0;
    return (pages - 1) * problem->cache->page_size + view->last_page_len[batch] - gone;
}

struct slot {
    int64_t page, token;
};

static struct slot slot_of(const attn_problem *problem, const attn_args *args, int64_t batch,
                           int64_t key)
{
    const attn_kv_view *view = args->cache;
    int64_t size = problem->cache->page_size;
    int64_t at = key + (view->first_page_begin ? view->first_page_begin[batch] : 0);
    return (struct slot){view->indices[view->indptr[batch] + at / size], at % size};
}

int64_t attn_ref_key_stands(const attn_problem *problem, const attn_args *args, int64_t batch,
                            int64_t key)
{
    if (!problem->cache || !problem->cache->positions)
        return key;
    struct slot slot = slot_of(problem, args, batch, key);
    return args->cache->positions[slot.page * problem->cache->page_size + slot.token];
}

static int64_t at(const int64_t stride[3], struct slot slot, int64_t head)
{
    return slot.page * stride[0] + head * stride[1] + slot.token * stride[2];
}

/* Byte i of a group holds channel i in its low half, i + group / 2 in its high half, 8 more than they are. */
static double int4_element(const uint8_t *row, int64_t group, int64_t channel)
{
    int64_t in_group = channel % group, half = group / 2;
    int byte = row[channel / group * half + in_group % half];
    return (in_group < half ? byte % 16 : byte / 16) - 8;
}

static double element(const void *pool, attn_dtype dtype, int64_t index, const float *scale,
                      int64_t scale_at, int64_t group, int64_t channel)
{
    if (dtype == ATTN_INT8)
        return (double)scale[scale_at] * (double)((const int8_t *)pool)[index + channel];
    if (dtype == ATTN_INT4)
        return (double)scale[scale_at + channel / group] *
               int4_element((const uint8_t *)pool + index / 2, group, channel);
    return attn_ref_value(pool, dtype, index + channel);
}

double attn_ref_key_element(const attn_problem *problem, const attn_args *args, int64_t batch,
                            int64_t kv_head, int64_t key, int64_t channel)
{
    const attn_kv_layout *c = problem->cache;
    if (!c)
        return attn_ref_value(attn_ref_key_vector(problem, args, batch, kv_head, key),
                              problem->k.dtype, channel);
    struct slot slot = slot_of(problem, args, batch, key);
    double value =
        element(args->cache->k, c->k_dtype, at(c->k_stride, slot, kv_head), args->cache->k_scale,
                at(c->k_scale_stride, slot, kv_head), c->group, channel);
    if (c->k_channel_scales)
        value *= (double)args->cache->k_channel_scale[kv_head * problem->head_size + channel];
    return value;
}

double attn_ref_value_element(const attn_problem *problem, const attn_args *args, int64_t batch,
                              int64_t kv_head, int64_t key, int64_t channel)
{
    const attn_kv_layout *c = problem->cache;
    if (!c)
        return attn_ref_value(attn_ref_value_vector(problem, args, batch, kv_head, key),
                              problem->v.dtype, channel);
    struct slot slot = slot_of(problem, args, batch, key);
    return element(args->cache->v, c->v_dtype, at(c->v_stride, slot, kv_head), args->cache->v_scale,
                   at(c->v_scale_stride, slot, kv_head), c->group, channel);
}
