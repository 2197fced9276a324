/* Eviction: rows leave the middle of a line, and those behind them close up.
 *
 * Every slot that is written lies before or at the slot it is read from, so rows move in place, in order; a
 * page that other lines share is first copied whole, which leaves what is read as it was. */
#include <inttypes.h>

#include "base/error.h"
#include "kv/cache.h"

static attn_status check_rows(const struct attn_kv_line *line, const int64_t *rows, int64_t count,
                              attn_error *error)
{
    const int64_t held = attn_kv_line_rows(line);
    if (count < 0 || count > held)
        return attn_fail(error, ATTN_ERR_SHAPE, "count is %" PRId64 "; it may be 0 to %" PRId64,
                         count, held);
    if (count > 0 && !rows)
        return attn_fail(error, ATTN_ERR_NULL, "rows is NULL; it must be given");
    for (int64_t i = 0; i < count; i++)
        if (rows[i] < (i > 0 ? rows[i - 1] + 1 : 0) || rows[i] >= held)
            return attn_fail(error, ATTN_ERR_VALUE,
                             "rows[%" PRId64 "] is %" PRId64
                             "; rows must rise, and may be 0 to %" PRId64,
                             i, rows[i], held - 1);
    return ATTN_OK;
}

/* Pages that are written into and shared: [begin, end) of the line. */
static int64_t shared_pages(const struct attn_kv_store *store, const struct attn_kv_line *line,
                            int64_t begin, int64_t end)
{
    int64_t shared = 0;
    for (int64_t i = begin; i < end; i++)
        shared += store->pool.references[line->pages[i]] > 1;
    return shared;
}

static void own_pages(struct attn_kv_store *store, struct attn_kv_line *line, int64_t begin,
                      int64_t end)
{
    const int64_t page_size = store->layout.page_size;
    for (int64_t i = begin; i < end; i++) {
        const int32_t shared = line->pages[i];
        if (store->pool.references[shared] == 1)
            continue;
        line->pages[i] = attn_kv_pool_take(&store->pool);
        attn_kv_page_copy(store, line->pages[i], shared,
                          attn_int64_min(page_size, line->slots - i * page_size));
        attn_kv_pool_release(&store->pool, shared);
    }
}

static void close_up(struct attn_kv_store *store, const struct attn_kv_line *line,
                     const int64_t *rows, int64_t count)
{
    const int64_t page_size = store->layout.page_size;
    int64_t to = rows[0], next = 0;
    for (int64_t from = rows[0]; from < line->slots; from++) {
        if (next < count && rows[next] == from) {
            next++;
            continue;
        }
        attn_kv_slot_copy(store, line->pages[to / page_size], to % page_size,
                          line->pages[from / page_size], from % page_size);
        to++;
    }
}

attn_status attn_kv_evict(attn_kv *kv, int64_t layer, int64_t sequence, const int64_t *rows,
                          int64_t count, attn_error *error)
{
    attn_status status = attn_kv_check_layer(kv, layer, error);
    if (!status)
        status = attn_kv_check_sequence(kv, "sequence", sequence, error);
    if (status)
        return status;
    struct attn_kv_store *store = &kv->stores[layer];
    struct attn_kv_line *line = &store->lines[sequence];
    if (!store->pool.positions)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "layer %" PRId64
                         " does not keep positions; config.layers[].positions must be true",
                         layer);
    status = check_rows(line, rows, count, error);
    if (status || count == 0)
        return status ? status : attn_succeed(error);
    const int64_t page_size = store->layout.page_size;
    const int64_t left = line->slots - count; /* begin is 0 where positions are kept */
    const int64_t first = rows[0] / page_size, end = attn_int64_div_up(left, page_size);
    const bool moves = rows[0] < left;
    const int64_t shared = moves ? shared_pages(store, line, first, end) : 0;
    if (shared > store->pool.free_count)
        return attn_fail(error, ATTN_ERR_FULL,
                         "layer %" PRId64 " has %" PRId64 " free pages; %" PRId64
                         " shared ones would have to be copied",
                         layer, store->pool.free_count, shared);
    if (moves) {
        own_pages(store, line, first, end);
        close_up(store, line, rows, count);
    }
    line->slots = left;
    attn_kv_line_cut(store, line, end);
    return attn_succeed(error);
}
