/* Pages: taken, shared, given back, copied.
 *
 * A page's rows lie [kv_heads, page_size, head_size], so a slot is one row of each head. */
#include <string.h>

#include "base/half.h"
#include "kv/cache.h"

void attn_kv_pool_reset(struct attn_kv_pool *pool)
{
    pool->free_count = pool->pages;
    for (int64_t page = 0; page < pool->pages; page++) {
        pool->references[page] = 0;
        pool->free[page] = (int32_t)(pool->pages - 1 - page); /* page 0 is taken first */
    }
}

int32_t attn_kv_pool_take(struct attn_kv_pool *pool)
{
    const int32_t page = pool->free[--pool->free_count];
    pool->references[page] = 1;
    return page;
}

void attn_kv_pool_release(struct attn_kv_pool *pool, int32_t page)
{
    if (--pool->references[page] == 0)
        pool->free[pool->free_count++] = page;
}

/* ---- the arrays that pages are in: keys, values, their scales ---- */

void attn_kv_arrays(const struct attn_kv_store *store, struct attn_kv_array arrays[ATTN_KV_ARRAYS])
{
    const attn_kv_layout *l = &store->layout;
    const struct attn_kv_pool *pool = &store->pool;
    const struct attn_kv_shape *shape = &store->shape;
    arrays[0] =
        (struct attn_kv_array){pool->k, l->k_stride, attn_dtype_bits(l->k_dtype), shape->head_size};
    arrays[1] = (struct attn_kv_array){pool->v, l->v_stride, attn_dtype_bits(l->v_dtype),
                                       shape->head_size_v};
    arrays[2] = (struct attn_kv_array){(char *)pool->k_scale, l->k_scale_stride, 32,
                                       attn_kv_row_scales(l->k_dtype, l->group, shape->head_size)};
    arrays[3] =
        (struct attn_kv_array){(char *)pool->v_scale, l->v_scale_stride, 32,
                               attn_kv_row_scales(l->v_dtype, l->group, shape->head_size_v)};
}

uint64_t attn_kv_page_bytes(const struct attn_kv_store *store)
{
    struct attn_kv_array arrays[ATTN_KV_ARRAYS];
    attn_kv_arrays(store, arrays);
    uint64_t bytes =
        store->layout.positions ? (uint64_t)store->layout.page_size * sizeof(int32_t) : 0;
    for (int i = 0; i < ATTN_KV_ARRAYS; i++)
        if (arrays[i].row > 0)
            bytes += (uint64_t)(arrays[i].stride[0] * arrays[i].bits / 8);
    return bytes;
}

static void copy_slots(struct attn_kv_store *store, int32_t to, int64_t to_slot, int32_t from,
                       int64_t from_slot, int64_t slots)
{
    struct attn_kv_array arrays[ATTN_KV_ARRAYS];
    attn_kv_arrays(store, arrays);
    for (int i = 0; i < ATTN_KV_ARRAYS; i++) {
        const size_t bytes = (size_t)(slots * arrays[i].row * arrays[i].bits / 8);
        for (int64_t h = 0; bytes > 0 && h < store->shape.kv_heads; h++)
            memmove(attn_kv_place(&arrays[i], to, h, to_slot),
                    attn_kv_place(&arrays[i], from, h, from_slot), bytes);
    }
    int32_t *positions = store->pool.positions;
    if (positions && slots > 0)
        memmove(positions + to * store->layout.page_size + to_slot,
                positions + from * store->layout.page_size + from_slot,
                (size_t)slots * sizeof *positions);
}

void attn_kv_page_copy(struct attn_kv_store *store, int32_t to, int32_t from, int64_t slots)
{
    copy_slots(store, to, 0, from, 0, slots);
}

void attn_kv_slot_copy(struct attn_kv_store *store, int32_t to, int64_t to_slot, int32_t from,
                       int64_t from_slot)
{
    copy_slots(store, to, to_slot, from, from_slot, 1);
}
