/* Caches of keys and values: where the tokens that a model has read stay for those it has yet to write.
 *
 * A cache lies in a pool of pages. A page holds `page_size` tokens of every kv head; a sequence is a list
 * of pages, the last one partly filled; pages may be shared by sequences that begin alike. One page as
 * large as a sequence can grow makes the cache contiguous. attn_kv_layout says how pages lie, and is fixed by a
 * plan (problem.cache); attn_kv_view says which pages belong to which sequence, and is given to each run
 * (args.cache). Both describe anybody's memory: the table is FlashInfer's (indptr, indices,
 * last_page_len).
 *
 * A token's row index and its position are two things. Rows of a sequence are counted in the order of its
 * table; where a token stands, which is what masks, windows and distances go by, is its row index
 * unless view.positions says otherwise (tokens in between may have been evicted).
 *
 * Quantised storage is symmetric, x = scale * q:
 *
 *     INT8    q in -127 .. 127, one f32 scale for each (token, kv head). Keys may have a second factor for
 *             each (kv head, channel), the same for all tokens: x = scale * channel_scale[c] * q.
 *     INT4    q in -7 .. 7, stored as q + 8 in 4 bits; one f32 scale for each group of `group` channels of a
 *             (token, kv head). Within a group, byte i holds channel i in its low half and channel
 *             i + group / 2 in its high half. */
#ifndef ATTN_KV_H
#define ATTN_KV_H

#include "attn/attn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Anybody's memory: the border to attention -------------------------------------------------------- */

/* How keys and values lie in a pool of pages. Channel c of the token in slot t of page p, kv head h, is
 * element p * k_stride[0] + h * k_stride[1] + t * k_stride[2] + c of view.k; its scale is element
 * p * k_scale_stride[0] + h * k_scale_stride[1] + t * k_scale_stride[2] of view.k_scale, where for INT4 that of
 * group c / group is so many elements further. Values likewise. Strides are in elements (INT4: of 4
 * bits, and even), 0 or more. */
typedef struct attn_kv_layout {
    size_t struct_size;          /* sizeof(attn_kv_layout) */
    attn_dtype k_dtype, v_dtype; /* any; the two may differ */
    int64_t page_size;           /* tokens of a page; 1 .. 2^31 - 1 */
    int64_t k_stride[3], v_stride[3];
    int64_t k_scale_stride[3], v_scale_stride[3]; /* quantised types only */
    int64_t group; /* INT4: channels that share a scale: even, divides the head size; else 0 */
    bool k_channel_scales; /* INT8 keys: view.k_channel_scale is given; default false */
    bool positions;        /* view.positions is given; default false */
} attn_kv_layout;

/* Keys in one pool [pages, kv_heads, page_size, head_size] and values in another like it: the order that
 * vLLM and FlashInfer call HND. Scales, where the type has them, lie [pages, kv_heads, page_size] (INT8) or
 * [pages, kv_heads, page_size, head_size / group] (INT4; the largest even group up to 32 that divides). */
static inline attn_kv_layout attn_kv_layout_init(attn_dtype dtype, int64_t kv_heads,
                                                 int64_t page_size, int64_t head_size)
{
    attn_kv_layout layout;
    memset(&layout, 0, sizeof layout);
    layout.struct_size = sizeof layout;
    layout.k_dtype = layout.v_dtype = dtype;
    layout.page_size = page_size;
    layout.k_stride[0] = layout.v_stride[0] = kv_heads * page_size * head_size;
    layout.k_stride[1] = layout.v_stride[1] = page_size * head_size;
    layout.k_stride[2] = layout.v_stride[2] = head_size;
    int64_t scales = dtype == ATTN_INT8 ? 1 : 0;
    if (dtype == ATTN_INT4) {
        layout.group = 32;
        while (layout.group > 2 && head_size % layout.group != 0)
            layout.group -= 2;
        scales = head_size / layout.group;
    }
    layout.k_scale_stride[0] = layout.v_scale_stride[0] = kv_heads * page_size * scales;
    layout.k_scale_stride[1] = layout.v_scale_stride[1] = page_size * scales;
    layout.k_scale_stride[2] = layout.v_scale_stride[2] = scales;
    return layout;
}

/* Where the B sequences of one run lie: borrowed pointers. Sequence b has n = indptr[b + 1] - indptr[b] pages,
 * indices[indptr[b]] and the n - 1 behind it, and so
 *
 *     (n - 1) * page_size + last_page_len[b] - first_page_begin[b]
 *
 * keys, 0 without pages. Pages may be shared between sequences, but come once at most in each. */
typedef struct attn_kv_view {
    size_t struct_size;             /* sizeof(attn_kv_view) */
    const void *k, *v;              /* the pool */
    const float *k_scale, *v_scale; /* quantised types, else NULL */
    const float
        *k_channel_scale;   /* [kv_heads, head_size]; with layout.k_channel_scales, else NULL */
    int64_t pages;          /* of the pool: every index is below it; 0 .. 2^31 - 1 */
    const int32_t *indptr;  /* [B + 1]: from 0, never falling */
    const int32_t *indices; /* [indptr[B]]; NULL if there are none */
    const int32_t *last_page_len; /* [B]: 1 .. page_size; 0 for a sequence without pages */
    /* [B] or NULL (0): tokens at the beginning of the first page that are gone; below page_size, and below
     * last_page_len[b] if that page is the last */
    const int32_t *first_page_begin;
    /* [pages, page_size]: where the token of each slot stands: 0 or more, rising within a sequence. With
     * layout.positions, else NULL: the i-th key of a sequence stands at i. */
    const int32_t *positions;
} attn_kv_view;

static inline attn_kv_view attn_kv_view_init(void)
{
    attn_kv_view view;
    memset(&view, 0, sizeof view);
    view.struct_size = sizeof view;
    return view;
}

/* Whether a table may be read: strides and addresses, pointers, and every entry of indptr, indices,
 * last_page_len, first_page_begin and positions, for `batch` sequences of at most `keys` keys. attn_run asks
 * the same of args.cache. Allocates nothing; time is that of the table (and of the positions).
 *
 * Errors: NULL, STRUCT_SIZE, SHAPE, STRIDE, DTYPE, ALIGNMENT, VALUE, OVERFLOW. */
ATTN_API attn_status attn_kv_view_check(const attn_kv_layout *layout, const attn_kv_view *view,
                                        int64_t batch, int64_t keys, int64_t kv_heads,
                                        int64_t head_size, int64_t head_size_v, attn_error *error);

#ifdef __cplusplus
}
#endif

#endif
