/* Caches of keys and values: how they lie in memory, and attention over them (problem.cache, args.cache).
 *
 * A cache is a pool of pages; a page holds `page_size` tokens of all kv heads, and a table says which pages
 * a sequence has (FlashInfer's indptr, indices, last_page_len). A contiguous cache is one page a sequence.
 * Element (page, kv head, token, channel) of k is at
 *
 *     k + page * k_stride[0] + head * k_stride[1] + token * k_stride[2] + channel        (in elements)
 *
 * A key's row index counts the tokens of its sequence that are there; its position is where it stands, and
 * masks (causal, window, ALiBi) go by position. */
#ifndef ATTN_KV_H
#define ATTN_KV_H

#include "attn/attn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a cache's keys and values lie in a pool of pages: fixed by a plan (problem.cache). */
typedef struct attn_kv_layout {
    size_t struct_size;          /* sizeof(attn_kv_layout) */
    attn_dtype k_dtype, v_dtype; /* f32, bf16, f16, int8, int4; may differ */
    int64_t page_size;           /* tokens of a page, >= 1 */
    int64_t k_stride[3],
        v_stride[3]; /* elements from page to page, kv head to kv head, token to token */
    /* the same of the f32 scales, quantised types only */
    int64_t k_scale_stride[3], v_scale_stride[3];
    int64_t
        group; /* int4: channels that share a scale (scales of a token lie side by side); else 0 */
    /* int8 keys: view.k_channel_scale is given: K[j, c] = scale[j] * channel_scale[c] * q; folded into the
     * query */
    bool k_channel_scales;
    bool positions; /* view.positions is given */
} attn_kv_layout;

/* Where the sequences of one run lie: borrowed pointers, FlashInfer's page table (args.cache). */
typedef struct attn_kv_view {
    size_t struct_size; /* sizeof(attn_kv_view) */
    const void *k, *v;  /* the pool */
    const float *k_scale, *v_scale;
    const float *k_channel_scale; /* [Hkv, Dk] */
    int64_t pages;                /* of the pool: every index is checked against it */
    const int32_t *indptr;        /* [B + 1] */
    const int32_t *indices;       /* [indptr[B]] */
    const int32_t *last_page_len; /* [B]: 1 .. page_size, 0 only for a sequence without pages */
    /* [B] or NULL: tokens at the start of its first page that are gone (rings) */
    const int32_t *first_page_begin;
    /* [pages, page_size]: where the token in a slot stands, ascending within a sequence; NULL = the i-th
     * token stands at i */
    const int32_t *positions;
} attn_kv_view;

#ifdef __cplusplus
}
#endif

#endif
