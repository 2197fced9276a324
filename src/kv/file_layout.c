/* Where things are in the file of a cache: one answer for writing and for reading. */
#include "base/half.h"
#include "kv/file.h"

static uint64_t channel_digest(const struct attn_kv_store *store)
{
    uint64_t digest = 0;
    if (!store->k_channel_scale)
        return digest;
    for (int64_t i = 0; i < store->shape.kv_heads * store->shape.head_size; i++)
        digest = attn_mix(digest + 1, attn_bits_of_float(store->k_channel_scale[i]));
    return digest;
}

struct attn_kv_file_layer attn_kv_file_layer_of(const struct attn_kv_store *store)
{
    const attn_kv_layout *l = &store->layout;
    struct attn_kv_file_layer layer = {.kv_heads = store->shape.kv_heads,
                                       .head_size = store->shape.head_size,
                                       .head_size_v = store->shape.head_size_v,
                                       .page_size = l->page_size,
                                       .group = l->group,
                                       .window = store->window,
                                       .sinks = store->sinks,
                                       .k_dtype = l->k_dtype,
                                       .v_dtype = l->v_dtype,
                                       .positions = l->positions,
                                       .channel_digest = channel_digest(store),
                                       .rotary_digest = store->rotary_digest};
    return layer;
}

static int64_t whole_blocks(int64_t bytes)
{
    return (bytes + ATTN_SUM_BLOCK - 1) / ATTN_SUM_BLOCK * ATTN_SUM_BLOCK;
}

int64_t attn_kv_file_place(struct attn_kv_file_layer *layer, const struct attn_kv_store *store,
                           int64_t at, int64_t sequences)
{
    struct attn_kv_array arrays[ATTN_KV_ARRAYS];
    attn_kv_arrays(store, arrays);
    at += sequences * (int64_t)sizeof(struct attn_kv_file_line);
    at += whole_blocks(layer->entries * (int64_t)sizeof(int32_t));
    const int64_t slots = layer->pages * layer->slots;
    layer->positions_at = at;
    if (layer->positions)
        at += whole_blocks(slots * (int64_t)sizeof(int32_t));
    for (int i = 0; i < ATTN_KV_ARRAYS; i++) {
        const int which = attn_kv_file_order[i];
        layer->array_at[which] = at;
        at += whole_blocks(slots * store->shape.kv_heads *
                           (int64_t)attn_kv_row_bytes(&arrays[which]));
    }
    return at;
}
