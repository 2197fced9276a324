/* Room for rows to come: windows that move on, copies on write, new pages.
 *
 * Whether all lines of a call find room together is told by doing it to the reference counts alone, and undoing
 * that: pages that two lines share are then counted as they will be. Nobody else looks at the counts. */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "kv/cache.h"

int64_t attn_kv_line_cutoff(const struct attn_kv_store *store, const struct attn_kv_line *line)
{
    if (store->window == 0)
        return 0;
    return attn_int64_max(line->gone, line->length - (store->window - 1));
}

/* Pages [begin, end) of a line that hold nothing but what a window lets go of. */
struct range {
    int64_t begin, end;
};

static struct range leaving(const struct attn_kv_store *store, const struct attn_kv_line *line)
{
    const int64_t page_size = store->layout.page_size, full = line->slots / page_size;
    const int64_t cutoff = attn_kv_line_cutoff(store, line);
    struct range r = {0, 0};
    if (store->window == 0)
        return r;
    if (!store->pool.positions) {
        r.end = (cutoff - line->first) / page_size;
        return r;
    }
    while (r.begin < full && attn_kv_line_position(store, line, r.begin * page_size) < store->sinks)
        r.begin++;
    r.end = r.begin;
    while (r.end < full && attn_kv_line_position(store, line, (r.end + 1) * page_size - 1) < cutoff)
        r.end++;
    return r;
}

/* The page that rows to come are written into behind those in use, or -1. */
static int32_t open_page(const struct attn_kv_store *store, const struct attn_kv_line *line)
{
    const int64_t page_size = store->layout.page_size;
    return line->slots % page_size == 0 ? -1 : line->pages[line->slots / page_size];
}

/* ---- checking ---- */

struct wish {
    int64_t needed, freed; /* pages */
};

static attn_status wish_of(struct attn_kv_store *store, int64_t layer, int64_t sequence,
                           int64_t rows, struct wish *wish, attn_error *error)
{
    const int64_t page_size = store->layout.page_size;
    struct attn_kv_line *line = &store->lines[sequence];
    const struct range out = leaving(store, line);
    const int64_t slots = line->slots - (out.end - out.begin) * page_size;
    const int64_t pages = attn_int64_div_up(slots + rows, page_size);
    const int64_t held = attn_kv_line_rows(line);
    if (line->length + rows > INT32_MAX || pages > store->list ||
        (store->window == 0 && held + rows > store->tokens))
        return attn_fail(error, ATTN_ERR_FULL,
                         "layer %" PRId64 " has %" PRId64 " tokens of sequence %" PRId64
                         ", and no room for %" PRId64 " more: it may have %" PRId64 "%s",
                         layer, held, sequence, rows,
                         store->window == 0 ? store->tokens : store->window + store->sinks,
                         store->window == 0 ? "" : " and a step");
    const int32_t open = open_page(store, line);
    line->copies = open >= 0 && store->pool.references[open] > 1;
    if (line->copies)
        store->pool.references[open]--;
    for (int64_t i = out.begin; i < out.end; i++)
        wish->freed += --store->pool.references[line->pages[i]] == 0;
    wish->needed += line->copies + attn_int64_max(0, pages - (line->count - (out.end - out.begin)));
    return ATTN_OK;
}

static void wish_undo(struct attn_kv_store *store, int64_t sequence)
{
    struct attn_kv_line *line = &store->lines[sequence];
    const struct range out = leaving(store, line);
    for (int64_t i = out.begin; i < out.end; i++)
        store->pool.references[line->pages[i]]++;
    if (line->copies)
        store->pool.references[open_page(store, line)]++;
    line->copies = false;
}

attn_status attn_kv_room_check(struct attn_kv_store *store, int64_t layer, const int32_t *sequences,
                               int64_t count, const int64_t *counts, attn_error *error)
{
    struct wish wish = {0, 0};
    attn_status status = ATTN_OK;
    int64_t done = 0;
    for (; !status && done < count; done++)
        if (counts[done] > 0)
            status = wish_of(store, layer, attn_kv_sequence_at(sequences, done), counts[done],
                             &wish, error);
    done -= status != ATTN_OK; /* the one that failed did nothing */
    for (int64_t i = 0; i < done; i++)
        if (counts[i] > 0)
            wish_undo(store, attn_kv_sequence_at(sequences, i));
    if (!status && wish.needed > store->pool.free_count + wish.freed)
        status =
            attn_fail(error, ATTN_ERR_FULL,
                      "layer %" PRId64 " has %" PRId64 " free pages of %" PRId64
                      "; these tokens need %" PRId64,
                      layer, store->pool.free_count + wish.freed, store->pool.pages, wish.needed);
    return status;
}

/* ---- making ---- */

static void move_window(struct attn_kv_store *store, struct attn_kv_line *line)
{
    const struct range out = leaving(store, line);
    const int64_t pages = out.end - out.begin, cutoff = attn_kv_line_cutoff(store, line);
    for (int64_t i = out.begin; i < out.end; i++)
        attn_kv_pool_release(&store->pool, line->pages[i]);
    memmove(line->pages + out.begin, line->pages + out.end,
            (size_t)(line->count - out.end) * sizeof *line->pages);
    line->count -= (int32_t)pages;
    line->slots -= pages * store->layout.page_size;
    line->gone = cutoff;
    if (!store->pool.positions && store->window > 0) {
        line->first += pages * store->layout.page_size;
        line->begin = cutoff - line->first;
    }
}

/* The page that is written into becomes the line's own. */
static void copy_open_page(struct attn_kv_store *store, struct attn_kv_line *line)
{
    const int64_t page_size = store->layout.page_size;
    const int32_t shared = open_page(store, line);
    if (shared < 0 || store->pool.references[shared] == 1)
        return;
    const int32_t page = attn_kv_pool_take(&store->pool);
    attn_kv_page_copy(store, page, shared, line->slots % page_size);
    attn_kv_pool_release(&store->pool, shared);
    line->pages[line->slots / page_size] = page;
}

void attn_kv_room_make(struct attn_kv_store *store, const int32_t *sequences, int64_t count,
                       const int64_t *counts)
{
    for (int64_t i = 0; i < count; i++)
        if (counts[i] > 0)
            move_window(store, &store->lines[attn_kv_sequence_at(sequences, i)]);
    for (int64_t i = 0; i < count; i++) {
        struct attn_kv_line *line = &store->lines[attn_kv_sequence_at(sequences, i)];
        if (counts[i] == 0)
            continue;
        copy_open_page(store, line);
        const int64_t pages = attn_int64_div_up(line->slots + counts[i], store->layout.page_size);
        while (line->count < pages)
            line->pages[line->count++] = attn_kv_pool_take(&store->pool);
    }
}

/* ---- reserving ---- */

attn_status attn_kv_reserve(attn_kv *kv, const int32_t *sequences, int64_t count,
                            const int64_t *tokens, attn_error *error)
{
    attn_status status = attn_kv_check(kv, error);
    if (!status)
        status = attn_kv_check_sequences(kv, sequences, count, true, error);
    if (!status && !tokens && count > 0)
        status = attn_fail(error, ATTN_ERR_NULL, "tokens is NULL; it must be given");
    for (int64_t i = 0; !status && i < count; i++)
        if (tokens[i] < 0 || tokens[i] > INT32_MAX)
            status = attn_fail(error, ATTN_ERR_SHAPE,
                               "tokens[%" PRId64 "] is %" PRId64 "; it may be 0 to 2147483647", i,
                               tokens[i]);
    for (int64_t layer = 0; !status && layer < kv->layer_count; layer++)
        status = attn_kv_room_check(&kv->stores[layer], layer, sequences, count, tokens, error);
    if (status)
        return status;
    for (int64_t layer = 0; layer < kv->layer_count; layer++)
        attn_kv_room_make(&kv->stores[layer], sequences, count, tokens);
    return attn_succeed(error);
}
