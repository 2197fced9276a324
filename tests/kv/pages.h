/* Reading a cache as the header says it lies, one element at a time, in double. */
#ifndef TESTS_KV_PAGES_H
#define TESTS_KV_PAGES_H

#include <attn/kv.h>

#include "attn_ref.h"

struct pages {
    attn_kv_layout layout;
    attn_kv_view view;
    int64_t head_size, head_size_v;
};

static inline int64_t pages_keys(const struct pages *p, int64_t b)
{
    const attn_kv_view *v = &p->view;
    const int64_t count = v->indptr[b + 1] - v->indptr[b];
    if (count == 0)
        return 0;
    return (count - 1) * p->layout.page_size + v->last_page_len[b] -
           (v->first_page_begin ? v->first_page_begin[b] : 0);
}

struct pages_slot {
    int64_t page, slot;
};

static inline struct pages_slot pages_slot_of(const struct pages *p, int64_t b, int64_t row)
{
    const attn_kv_view *v = &p->view;
    const int64_t at = row + (v->first_page_begin ? v->first_page_begin[b] : 0);
    struct pages_slot s = {v->indices[v->indptr[b] + at / p->layout.page_size],
                           at % p->layout.page_size};
    return s;
}

static inline int64_t pages_position(const struct pages *p, int64_t b, int64_t row)
{
    const struct pages_slot s = pages_slot_of(p, b, row);
    return p->view.positions ? p->view.positions[s.page * p->layout.page_size + s.slot] : row;
}

static inline double pages_element(const void *pool, attn_dtype dtype, int64_t row, int64_t c,
                                   const float *scale, int64_t scale_row, int64_t group)
{
    if (dtype == ATTN_INT8)
        return (double)scale[scale_row] * ((const int8_t *)pool)[row + c];
    if (dtype != ATTN_INT4)
        return attn_ref_value(pool, dtype, row + c);
    const int64_t g = c / group, in = c % group, half = group / 2;
    const uint8_t byte = ((const uint8_t *)pool)[row / 2 + g * half + in % half];
    return (double)scale[scale_row + g] * ((in < half ? byte & 15 : byte >> 4) - 8);
}

static inline int64_t pages_row(const int64_t stride[3], struct pages_slot s, int64_t head)
{
    return s.page * stride[0] + head * stride[1] + s.slot * stride[2];
}

static inline double pages_key(const struct pages *p, int64_t b, int64_t row, int64_t head,
                               int64_t c)
{
    const struct pages_slot s = pages_slot_of(p, b, row);
    const attn_kv_layout *l = &p->layout;
    double x = pages_element(p->view.k, l->k_dtype, pages_row(l->k_stride, s, head), c,
                             p->view.k_scale, pages_row(l->k_scale_stride, s, head), l->group);
    if (l->k_channel_scales)
        x *= (double)p->view.k_channel_scale[head * p->head_size + c];
    return x;
}

static inline double pages_value(const struct pages *p, int64_t b, int64_t row, int64_t head,
                                 int64_t c)
{
    const struct pages_slot s = pages_slot_of(p, b, row);
    const attn_kv_layout *l = &p->layout;
    return pages_element(p->view.v, l->v_dtype, pages_row(l->v_stride, s, head), c, p->view.v_scale,
                         pages_row(l->v_scale_stride, s, head), l->group);
}

#endif
