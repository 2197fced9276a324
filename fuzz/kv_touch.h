/* Reading every byte that a checked page table leads to, so that AddressSanitizer sees one that is not in the
 * pool. */
#ifndef FUZZ_KV_TOUCH_H
#define FUZZ_KV_TOUCH_H

#include <attn/kv.h>

static inline int64_t kv_bits(attn_dtype dtype)
{
    return dtype == ATTN_F32 ? 32 : dtype == ATTN_INT8 ? 8 : dtype == ATTN_INT4 ? 4 : 16;
}

static inline int64_t kv_scales(const attn_kv_layout *layout, attn_dtype dtype, int64_t size)
{
    return dtype == ATTN_INT8 ? 1 : dtype == ATTN_INT4 ? size / layout->group : 0;
}

static inline void kv_touch_row(const void *memory, const int64_t stride[3], int64_t page,
                                int64_t head, int64_t slot, int64_t bits, int64_t elements)
{
    static volatile unsigned char sum;
    if (elements == 0)
        return;
    const unsigned char *row = (const unsigned char *)memory +
                               (page * stride[0] + head * stride[1] + slot * stride[2]) * bits / 8;
    for (int64_t i = 0; i < elements * bits / 8; i++)
        sum = (unsigned char)(sum + row[i]);
}

static inline void kv_touch(const attn_kv_layout *layout, const attn_kv_view *view, int64_t batch,
                            int64_t heads, int64_t size, int64_t size_v)
{
    for (int64_t b = 0; b < batch; b++)
        for (int32_t i = view->indptr[b]; i < view->indptr[b + 1]; i++) {
            const bool last = i == view->indptr[b + 1] - 1;
            const int64_t page = view->indices[i];
            const int64_t slots = last ? view->last_page_len[b] : layout->page_size;
            for (int64_t slot = 0; slot < slots; slot++)
                for (int64_t h = 0; h < heads; h++) {
                    kv_touch_row(view->k, layout->k_stride, page, h, slot, kv_bits(layout->k_dtype),
                                 size);
                    kv_touch_row(view->v, layout->v_stride, page, h, slot, kv_bits(layout->v_dtype),
                                 size_v);
                    kv_touch_row(view->k_scale, layout->k_scale_stride, page, h, slot, 32,
                                 kv_scales(layout, layout->k_dtype, size));
                    kv_touch_row(view->v_scale, layout->v_scale_stride, page, h, slot, 32,
                                 kv_scales(layout, layout->v_dtype, size_v));
                }
        }
}

#endif
