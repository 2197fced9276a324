/* Whether a page table may be read: it comes from the caller, and each entry becomes an address.
 *
 * That no page comes twice in a sequence is told with a bit for each page, a stretch of the pool at a time,
 * so that no memory is asked for however large the pool is. */
#include <inttypes.h>

#include "base/error.h"
#include "base/half.h"
#include "base/layout.h"
#include "kv/layout.h"

enum { STRETCH = 1 << 16 }; /* pages marked at once: 8 KB of bits */

struct table {
    const char *name;
    const attn_kv_layout *layout;
    const attn_kv_view *view;
    int64_t batch, keys;
    attn_error *error;
};

/* ---- pointers and what they reach ---- */

static attn_status check_pointer(const struct table *t, const char *field, const void *pointer,
                                 size_t alignment, bool wanted, bool needed)
{
    if (!wanted && pointer)
        return attn_fail(t->error, ATTN_ERR_VALUE,
                         "%s.%s is given, but the layout has none; it must be NULL", t->name,
                         field);
    if (wanted && needed && !pointer)
        return attn_fail(t->error, ATTN_ERR_NULL, "%s.%s is NULL; it must be given", t->name,
                         field);
    if ((uintptr_t)pointer % alignment != 0)
        return attn_fail(t->error, ATTN_ERR_ALIGNMENT,
                         "%s.%s is %p; it must be aligned to its elements of %zu bytes", t->name,
                         field, pointer, alignment);
    return ATTN_OK;
}

static size_t alignment_of(attn_dtype dtype)
{
    return attn_kv_is_quantised(dtype) ? 1 : (size_t)attn_dtype_size(dtype);
}

static attn_status check_span(const struct table *t, const char *field, const int64_t stride[3],
                              const struct attn_kv_shape *shape, int64_t row)
{
    const attn_layout layout = {ATTN_F32, {stride[0], stride[1], stride[2], 1}};
    const int64_t extent[4] = {t->view->pages, shape->kv_heads, t->layout->page_size, row};
    if (attn_layout_is_empty(extent) || attn_layout_span_fits(&layout, extent))
        return ATTN_OK;
    return attn_fail(t->error, ATTN_ERR_OVERFLOW,
                     "%s.pages is %" PRId64 ": with %s {%" PRId64 ", %" PRId64 ", %" PRId64
                     "} they reach past what an address can tell",
                     t->name, t->view->pages, field, stride[0], stride[1], stride[2]);
}

static attn_status check_memory(const struct table *t, const struct attn_kv_shape *shape,
                                bool needed)
{
    const attn_kv_layout *l = t->layout;
    const attn_kv_view *v = t->view;
    const bool k_scale = attn_kv_is_quantised(l->k_dtype),
               v_scale = attn_kv_is_quantised(l->v_dtype);
    needed = needed && shape->kv_heads > 0;
    attn_status status = check_pointer(t, "k", v->k, alignment_of(l->k_dtype), true, needed);
    if (!status)
        status = check_pointer(t, "v", v->v, alignment_of(l->v_dtype), true, needed);
    if (!status)
        status = check_pointer(t, "k_scale", v->k_scale, sizeof(float), k_scale, needed);
    if (!status)
        status = check_pointer(t, "v_scale", v->v_scale, sizeof(float), v_scale, needed);
    if (!status)
        status = check_pointer(t, "k_channel_scale", v->k_channel_scale, sizeof(float),
                               l->k_channel_scales, needed);
    if (!status)
        status = check_pointer(t, "positions", v->positions, sizeof(int32_t), l->positions, needed);
    if (!status)
        status = check_span(t, "k_stride", l->k_stride, shape, shape->head_size);
    if (!status)
        status = check_span(t, "v_stride", l->v_stride, shape, shape->head_size_v);
    if (!status && k_scale)
        status = check_span(t, "k_scale_stride", l->k_scale_stride, shape,
                            l->k_dtype == ATTN_INT4 ? shape->head_size / l->group : 1);
    if (!status && v_scale)
        status = check_span(t, "v_scale_stride", l->v_scale_stride, shape,
                            l->v_dtype == ATTN_INT4 ? shape->head_size_v / l->group : 1);
    return status;
}

/* ---- the table ---- */

static attn_status check_indptr(const struct table *t)
{
    const int32_t *indptr = t->view->indptr;
    if (indptr[0] != 0)
        return attn_fail(t->error, ATTN_ERR_VALUE, "%s.indptr[0] is %" PRId32 "; it must be 0",
                         t->name, indptr[0]);
    for (int64_t b = 0; b < t->batch; b++)
        if (indptr[b + 1] < indptr[b])
            return attn_fail(t->error, ATTN_ERR_VALUE,
                             "%s.indptr[%" PRId64 "] is %" PRId32
                             "; it may not be below the one before, %" PRId32,
                             t->name, b + 1, indptr[b + 1], indptr[b]);
    return ATTN_OK;
}

static attn_status check_indices(const struct table *t)
{
    const int64_t count = t->view->indptr[t->batch];
    for (int64_t i = 0; i < count; i++)
        if (t->view->indices[i] < 0 || t->view->indices[i] >= t->view->pages)
            return attn_fail(t->error, ATTN_ERR_VALUE,
                             "%s.indices[%" PRId64 "] is %" PRId32
                             "; the pool's pages are 0 to %" PRId64,
                             t->name, i, t->view->indices[i], t->view->pages - 1);
    return ATTN_OK;
}

/* Page `page` comes more than once in sequence b. */
static attn_status refuse_repeat(const struct table *t, int64_t b, int32_t page)
{
    return attn_fail(t->error, ATTN_ERR_VALUE,
                     "%s.indices has page %" PRId32 " twice in sequence %" PRId64
                     "; a sequence may have a page once",
                     t->name, page, b);
}

/* In [base, base + STRETCH); `bits` are all clear, and are so again on success. */
static attn_status check_repeats(const struct table *t, int64_t b, int64_t base, uint64_t *bits)
{
    const int32_t begin = t->view->indptr[b], end = t->view->indptr[b + 1];
    const int32_t *indices = t->view->indices;
    for (int32_t i = begin; i < end; i++) {
        const uint64_t at = (uint64_t)(indices[i] - base), bit = UINT64_C(1) << (at % 64);
        if (at >= STRETCH)
            continue;
        if (bits[at / 64] & bit)
            return refuse_repeat(t, b, indices[i]);
        bits[at / 64] |= bit;
    }
    for (int32_t i = begin; i < end; i++) {
        const uint64_t at = (uint64_t)(indices[i] - base);
        if (at < STRETCH)
            bits[at / 64] = 0;
    }
    return ATTN_OK;
}

static attn_status check_sequence(const struct table *t, int64_t b)
{
    const int64_t page_size = t->layout->page_size;
    const int64_t pages = (int64_t)t->view->indptr[b + 1] - t->view->indptr[b];
    const int64_t last = t->view->last_page_len[b];
    const int64_t begin = t->view->first_page_begin ? t->view->first_page_begin[b] : 0;
    if (pages == 0 ? last != 0 : last < 1 || last > page_size)
        return attn_fail(t->error, ATTN_ERR_VALUE,
                         "%s.last_page_len[%" PRId64 "] is %" PRId64 "; it %s", t->name, b, last,
                         pages == 0 ? "must be 0 for a sequence without pages"
                                    : "may be 1 to page_size");
    const int64_t most = pages == 1 ? last : page_size;
    if (begin < 0 || (pages == 0 ? begin != 0 : begin >= most))
        return attn_fail(t->error, ATTN_ERR_VALUE,
                         "%s.first_page_begin[%" PRId64 "] is %" PRId64
                         "; the first page has %" PRId64 " tokens",
                         t->name, b, begin, pages == 0 ? 0 : most);
    const int64_t keys = pages == 0 ? 0 : (pages - 1) * page_size + last - begin;
    if (keys > t->keys)
        return attn_fail(t->error, ATTN_ERR_SHAPE,
                         "%s has sequence %" PRId64 " of %" PRId64 " keys; it may have %" PRId64
                         " at most",
                         t->name, b, keys, t->keys);
    return ATTN_OK;
}

static attn_status check_positions(const struct table *t, int64_t b)
{
    const int64_t page_size = t->layout->page_size;
    const int32_t begin = t->view->indptr[b], end = t->view->indptr[b + 1];
    int64_t before = -1;
    for (int32_t i = begin; i < end; i++) {
        const int32_t *page = t->view->positions + t->view->indices[i] * page_size;
        int64_t slot = i == begin && t->view->first_page_begin ? t->view->first_page_begin[b] : 0;
        const int64_t slots = i == end - 1 ? t->view->last_page_len[b] : page_size;
        for (; slot < slots; slot++) {
            if (page[slot] <= before)
                return attn_fail(t->error, ATTN_ERR_VALUE,
                                 "%s.positions has %" PRId32 " in slot %" PRId64 " of page %" PRId32
                                 " of sequence %" PRId64
                                 "; it must be above the one before, %" PRId64,
                                 t->name, page[slot], slot, t->view->indices[i], b, before);
            before = page[slot];
        }
    }
    return ATTN_OK;
}

static attn_status check_table(const struct table *t)
{
    uint64_t bits[STRETCH / 64] = {0};
    attn_status status = check_indices(t);
    for (int64_t b = 0; !status && b < t->batch; b++)
        status = check_sequence(t, b);
    for (int64_t base = 0; !status && base < t->view->pages; base += STRETCH)
        for (int64_t b = 0; !status && b < t->batch; b++)
            status = check_repeats(t, b, base, bits);
    for (int64_t b = 0; !status && t->layout->positions && b < t->batch; b++)
        status = check_positions(t, b);
    return status;
}

attn_status attn_kv_table_check(const char *name, const attn_kv_layout *layout,
                                const attn_kv_view *view, int64_t batch, int64_t keys,
                                const struct attn_kv_shape *shape, attn_error *error)
{
    const struct table t = {name, layout, view, batch, keys, error};
    if (!view)
        return attn_fail(error, ATTN_ERR_NULL, "%s is NULL; it must be given", name);
    if (view->struct_size != sizeof *view)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "%s.struct_size is %zu; this library knows %zu (use attn_kv_view_init)",
                         name, view->struct_size, sizeof *view);
    if (view->pages < 0 || view->pages > INT32_MAX)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "%s.pages is %" PRId64 "; it may be 0 to 2147483647", name, view->pages);
    const size_t width = sizeof(int32_t);
    attn_status status = check_pointer(&t, "indptr", view->indptr, width, true, true);
    if (!status)
        status = check_indptr(&t);
    const bool any = !status && view->indptr[batch] > 0;
    if (!status)
        status = check_pointer(&t, "indices", view->indices, width, true, any);
    if (!status)
        status = check_pointer(&t, "last_page_len", view->last_page_len, width, true, batch > 0);
    if (!status)
        status = check_pointer(&t, "first_page_begin", view->first_page_begin, width, true, false);
    if (!status)
        status = check_memory(&t, shape, any);
    return status ? status : check_table(&t);
}

attn_status attn_kv_view_check(const attn_kv_layout *layout, const attn_kv_view *view,
                               int64_t batch, int64_t keys, int64_t kv_heads, int64_t head_size,
                               int64_t head_size_v, attn_error *error)
{
    const struct {
        const char *name;
        int64_t value, low;
    } counts[] = {{"batch", batch, 0},
                  {"keys", keys, 0},
                  {"kv_heads", kv_heads, 0},
                  {"head_size", head_size, 1},
                  {"head_size_v", head_size_v, 1}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (counts[i].value < counts[i].low || counts[i].value > INT32_MAX)
            return attn_fail(error, ATTN_ERR_SHAPE,
                             "%s is %" PRId64 "; it may be %" PRId64 " to 2147483647",
                             counts[i].name, counts[i].value, counts[i].low);
    const struct attn_kv_shape shape = {kv_heads, head_size, head_size_v};
    attn_status status = attn_kv_layout_check("layout", layout, &shape, error);
    if (!status)
        status = attn_kv_table_check("view", layout, view, batch, keys, &shape, error);
    return status ? status : attn_succeed(error);
}
