/* What a cache tells: lengths, how it lies, where its sequences are, what it holds. */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "kv/cache.h"

static const struct attn_kv_line *line_at(const attn_kv *kv, int64_t layer, int64_t sequence)
{
    if (!kv || layer < 0 || layer >= kv->layer_count || sequence < 0 || sequence >= kv->sequences)
        return NULL;
    return &kv->stores[layer].lines[sequence];
}

int64_t attn_kv_length(const attn_kv *kv, int64_t layer, int64_t sequence)
{
    const struct attn_kv_line *line = line_at(kv, layer, sequence);
    return line ? line->length : -1;
}

int64_t attn_kv_keys(const attn_kv *kv, int64_t layer, int64_t sequence)
{
    const struct attn_kv_line *line = line_at(kv, layer, sequence);
    return line ? attn_kv_line_rows(line) : -1;
}

attn_status attn_kv_get_layout(const attn_kv *kv, int64_t layer, attn_kv_layout *layout,
                               attn_error *error)
{
    attn_status status = attn_kv_check_layer(kv, layer, error);
    if (!status && !layout)
        status = attn_fail(error, ATTN_ERR_NULL, "layout is NULL; it must be given");
    if (status)
        return status;
    *layout = kv->stores[layer].layout;
    return attn_succeed(error);
}

/* The table of `count` sequences. One alone is its own list, and nothing is copied. */
static void fill_table(attn_kv *kv, const struct attn_kv_store *store, const int32_t *sequences,
                       int64_t count, attn_kv_view *view)
{
    const int64_t page_size = store->layout.page_size;
    int32_t pages = 0;
    kv->indptr[0] = 0;
    for (int64_t b = 0; b < count; b++) {
        const struct attn_kv_line *line = &store->lines[attn_kv_sequence_at(sequences, b)];
        const bool any = attn_kv_line_rows(line) > 0;
        const int32_t used = any ? (int32_t)attn_kv_line_used(store, line) : 0;
        kv->last_page_len[b] = any ? (int32_t)(line->slots - (used - 1) * page_size) : 0;
        kv->first_page_begin[b] = any ? (int32_t)line->begin : 0;
        if (count == 1)
            view->indices = line->pages;
        else
            memcpy(kv->indices + pages, line->pages, (size_t)used * sizeof *kv->indices);
        pages += used;
        kv->indptr[b + 1] = pages;
    }
}

attn_status attn_kv_get_view(attn_kv *kv, int64_t layer, const int32_t *sequences, int64_t count,
                             attn_kv_view *view, attn_error *error)
{
    attn_status status = attn_kv_check_layer(kv, layer, error);
    if (!status && !view)
        status = attn_fail(error, ATTN_ERR_NULL, "view is NULL; it must be given");
    if (!status)
        status = attn_kv_check_sequences(kv, sequences, count, false, error);
    if (status)
        return status;
    const struct attn_kv_store *store = &kv->stores[layer];
    *view = (attn_kv_view){.struct_size = sizeof *view,
                           .k = store->pool.k,
                           .v = store->pool.v,
                           .k_scale = store->pool.k_scale,
                           .v_scale = store->pool.v_scale,
                           .k_channel_scale = store->k_channel_scale,
                           .pages = store->pool.pages,
                           .indptr = kv->indptr,
                           .indices = kv->indices,
                           .last_page_len = kv->last_page_len,
                           .positions = store->pool.positions};
    fill_table(kv, store, sequences, count, view);
    if (store->window > 0 && !store->pool.positions)
        view->first_page_begin = kv->first_page_begin;
    return attn_succeed(error);
}

static void add_usage(const struct attn_kv_store *store, attn_kv_usage *usage)
{
    const struct attn_kv_pool *pool = &store->pool;
    const uint64_t page = attn_kv_page_bytes(store);
    const int64_t used = pool->pages - pool->free_count;
    usage->pages += pool->pages;
    usage->pages_used += used;
    for (int64_t i = 0; i < pool->pages; i++)
        usage->pages_shared += pool->references[i] > 1;
    usage->bytes += page * (uint64_t)pool->pages;
    usage->bytes_used += page * (uint64_t)used;
}

attn_status attn_kv_get_usage(const attn_kv *kv, int64_t layer, attn_kv_usage *usage,
                              attn_error *error)
{
    attn_status status =
        layer == -1 ? attn_kv_check(kv, error) : attn_kv_check_layer(kv, layer, error);
    if (!status && !usage)
        status = attn_fail(error, ATTN_ERR_NULL, "usage is NULL; it must be given");
    if (!status && usage->struct_size != sizeof *usage)
        status = attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                           "usage.struct_size is %zu; this library knows %zu", usage->struct_size,
                           sizeof *usage);
    if (status)
        return status;
    *usage = (attn_kv_usage){.struct_size = sizeof *usage};
    for (int64_t i = 0; i < kv->layer_count; i++)
        if (layer == -1 || layer == i)
            add_usage(&kv->stores[i], usage);
    return attn_succeed(error);
}
