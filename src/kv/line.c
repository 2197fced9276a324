/* Lines: one sequence in one layer, and what is done to it besides appending: taken back, shared, emptied. */
#include "kv/cache.h"

#include <inttypes.h>
#include <string.h>

#include "base/error.h"

int64_t attn_kv_line_position(const struct attn_kv_store *store, const struct attn_kv_line *line,
                              int64_t slot)
{
    const int64_t page_size = store->layout.page_size;
    if (!store->pool.positions)
        return line->first + slot;
    return store->pool.positions[line->pages[slot / page_size] * page_size + slot % page_size];
}

void attn_kv_line_cut(struct attn_kv_store *store, struct attn_kv_line *line, int64_t count)
{
    while (line->count > count)
        attn_kv_pool_release(&store->pool, line->pages[--line->count]);
}

void attn_kv_line_clear(struct attn_kv_store *store, struct attn_kv_line *line)
{
    attn_kv_line_cut(store, line, 0);
    line->slots = line->begin = line->first = line->length = line->gone = 0;
}

/* ---- taking back ---- */

/* The first slot that stands at `position` or behind. */
static int64_t slot_of(const struct attn_kv_store *store, const struct attn_kv_line *line,
                       int64_t position)
{
    int64_t low = line->begin, high = line->slots;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (attn_kv_line_position(store, line, middle) < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Whether a token that stands at `length` finds all it sees. */
static bool may_return(const struct attn_kv_store *store, const struct attn_kv_line *line,
                       int64_t length)
{
    return store->window == 0 || line->gone <= store->sinks || length <= store->sinks ||
           length - (store->window - 1) >= line->gone;
}

static void take_back(struct attn_kv_store *store, struct attn_kv_line *line, int64_t length)
{
    line->slots = slot_of(store, line, length);
    line->length = length;
    line->gone = attn_int64_min(line->gone, length);
    if (line->slots == line->begin) { /* no row is left: nothing but where the next one stands */
        line->slots = line->begin = 0;
        line->first = store->pool.positions ? 0 : length;
    }
    attn_kv_line_cut(store, line, attn_kv_line_used(store, line));
}

attn_status attn_kv_truncate(attn_kv *kv, int64_t sequence, int64_t length, attn_error *error)
{
    attn_status status = attn_kv_check(kv, error);
    if (!status)
        status = attn_kv_check_sequence(kv, "sequence", sequence, error);
    if (!status && length < 0)
        status =
            attn_fail(error, ATTN_ERR_SHAPE, "length is %" PRId64 "; it may be 0 or more", length);
    for (int64_t layer = 0; !status && layer < kv->layer_count; layer++) {
        const struct attn_kv_store *store = &kv->stores[layer];
        const struct attn_kv_line *line = &store->lines[sequence];
        if (length < line->length && !may_return(store, line, length))
            status = attn_fail(error, ATTN_ERR_VALUE,
                               "length is %" PRId64 ", but the window of layer %" PRId64
                               " has let go of tokens up to %" PRId64 "; it may be 0, or %" PRId64
                               " or more",
                               length, layer, line->gone, line->gone + store->window - 1);
    }
    if (status)
        return status;
    for (int64_t layer = 0; layer < kv->layer_count; layer++) {
        struct attn_kv_store *store = &kv->stores[layer];
        struct attn_kv_line *line = &store->lines[sequence];
        if (length == 0)
            attn_kv_line_clear(store, line);
        else
            take_back(store, line, attn_int64_min(length, line->length));
    }
    return attn_succeed(error);
}

/* ---- sharing ---- */

attn_status attn_kv_fork(attn_kv *kv, int64_t from, int64_t to, attn_error *error)
{
    attn_status status = attn_kv_check(kv, error);
    if (!status)
        status = attn_kv_check_sequence(kv, "from", from, error);
    if (!status)
        status = attn_kv_check_sequence(kv, "to", to, error);
    for (int64_t layer = 0; !status && layer < kv->layer_count; layer++)
        if (kv->stores[layer].lines[to].length > 0)
            status = attn_fail(error, ATTN_ERR_VALUE,
                               "to is sequence %" PRId64 ", which has %" PRId64
                               " tokens in layer %" PRId64 "; it must be empty",
                               to, kv->stores[layer].lines[to].length, layer);
    if (status || from == to)
        return status ? status : attn_succeed(error);
    for (int64_t layer = 0; layer < kv->layer_count; layer++) {
        struct attn_kv_store *store = &kv->stores[layer];
        const struct attn_kv_line *old = &store->lines[from];
        struct attn_kv_line *line = &store->lines[to];
        attn_kv_line_clear(store, line); /* reserved room */
        int32_t *pages = line->pages;
        *line = *old;
        line->pages = pages;
        line->count = (int32_t)attn_kv_line_used(store, old);
        for (int32_t i = 0; i < line->count; i++) {
            pages[i] = old->pages[i];
            store->pool.references[pages[i]]++;
        }
    }
    return attn_succeed(error);
}

attn_status attn_kv_clear(attn_kv *kv, int64_t sequence, attn_error *error)
{
    attn_status status = attn_kv_check(kv, error);
    if (!status)
        status = attn_kv_check_sequence(kv, "sequence", sequence, error);
    if (status)
        return status;
    for (int64_t layer = 0; layer < kv->layer_count; layer++)
        attn_kv_line_clear(&kv->stores[layer], &kv->stores[layer].lines[sequence]);
    return attn_succeed(error);
}
