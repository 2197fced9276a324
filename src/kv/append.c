/* Appending: everything is checked, then room is made, then rows are stored, then they count. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/half.h"
#include "base/layout.h"
#include "exec/exec.h"
#include "kv/cache.h"

enum {
    TASK_TOKENS = 32,       /* of one task, all heads */
    SERIAL_ELEMENTS = 32768 /* up to so many are stored before threads would have begun */
};

struct appending {
    struct attn_kv_store *store;
    const attn_kv_rows *rows;
    const int64_t *counts;           /* [count] */
    int64_t chunks;                  /* of a sequence, at most */
    int64_t most;                    /* tokens of a sequence, at most */
    struct attn_kv_scratch *scratch; /* [threads] */
};

/* ---- checking ---- */

static attn_status check_tensor(const char *name, const attn_layout *layout, const void *pointer,
                                const int64_t extent[4], attn_error *error)
{
    if ((int)layout->dtype < ATTN_F32 || (int)layout->dtype > ATTN_F16)
        return attn_fail(error, ATTN_ERR_DTYPE,
                         "rows.%s_layout.dtype is %d; it may be ATTN_F32 (1), ATTN_BF16 (2) or "
                         "ATTN_F16 (3)",
                         name, (int)layout->dtype);
    if (layout->stride[3] != 1)
        return attn_fail(error, ATTN_ERR_STRIDE,
                         "rows.%s_layout.stride[3] is %" PRId64 "; the last stride must be 1", name,
                         layout->stride[3]);
    if (attn_layout_is_empty(extent))
        return ATTN_OK;
    if (!attn_layout_span_fits(layout, extent))
        return attn_fail(error, ATTN_ERR_OVERFLOW,
                         "rows.%s_layout has strides {%" PRId64 ", %" PRId64 ", %" PRId64
                         ", 1} that reach past what an address can tell",
                         name, layout->stride[0], layout->stride[1], layout->stride[2]);
    if (!pointer)
        return attn_fail(error, ATTN_ERR_NULL, "rows.%s is NULL; it must be given", name);
    if ((uintptr_t)pointer % (size_t)attn_dtype_size(layout->dtype) != 0)
        return attn_fail(error, ATTN_ERR_ALIGNMENT,
                         "rows.%s is %p; it must be aligned to its elements of %d bytes", name,
                         pointer, (int)attn_dtype_size(layout->dtype));
    return ATTN_OK;
}

static attn_status check_lengths(const attn_kv_rows *rows, attn_error *error)
{
    if (rows->tokens < 0 || rows->tokens > INT32_MAX)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "rows.tokens is %" PRId64 "; it may be 0 to 2147483647", rows->tokens);
    if (!rows->lengths) {
        if (rows->packed)
            return attn_fail(error, ATTN_ERR_NULL,
                             "rows.lengths is NULL; with rows.packed it must be given");
        return ATTN_OK;
    }
    int64_t sum = 0;
    for (int64_t b = 0; b < rows->count; b++) {
        if (rows->lengths[b] < 0 || rows->lengths[b] > rows->tokens)
            return attn_fail(error, ATTN_ERR_SHAPE,
                             "rows.lengths[%" PRId64 "] is %" PRId64 "; it may be 0 to %" PRId64
                             " (rows.tokens)",
                             b, rows->lengths[b], rows->tokens);
        sum += rows->lengths[b];
    }
    if (rows->packed && sum > rows->tokens)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "rows.lengths are %" PRId64 " together; rows.tokens is %" PRId64, sum,
                         rows->tokens);
    return ATTN_OK;
}

static attn_status check_rows(attn_kv *kv, const struct attn_kv_store *store,
                              const attn_kv_rows *rows, attn_error *error)
{
    if (!rows)
        return attn_fail(error, ATTN_ERR_NULL, "rows is NULL; it must be given");
    if (rows->struct_size != sizeof *rows)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "rows.struct_size is %zu; this library knows %zu (use attn_kv_rows_init)",
                         rows->struct_size, sizeof *rows);
    attn_status status = attn_kv_check_sequences(kv, rows->sequences, rows->count, true, error);
    if (!status)
        status = check_lengths(rows, error);
    if (status)
        return status;
    const struct attn_kv_shape *shape = &store->shape;
    const int64_t batch = rows->packed ? rows->count > 0 : rows->count;
    const int64_t k[4] = {batch, shape->kv_heads, rows->tokens, shape->head_size};
    const int64_t v[4] = {batch, shape->kv_heads, rows->tokens, shape->head_size_v};
    status = check_tensor("k", &rows->k_layout, rows->k, k, error);
    if (!status)
        status = check_tensor("v", &rows->v_layout, rows->v, v, error);
    return status;
}

/* ---- storing ---- */

static const char *row_at(const void *tensor, const attn_layout *layout, int64_t b, int64_t h,
                          int64_t n)
{
    const int64_t at = b * layout->stride[0] + h * layout->stride[1] + n * layout->stride[2];
    return (const char *)tensor + at * attn_dtype_size(layout->dtype);
}

/* Where a row goes. */
struct slot {
    int64_t page, head, slot;
};

static int64_t element_of(const int64_t stride[3], const struct slot *to)
{
    return to->page * stride[0] + to->head * stride[1] + to->slot * stride[2];
}

static void store_key(const struct attn_kv_store *store, struct attn_kv_scratch *scratch,
                      const struct slot *to, const char *from, attn_dtype dtype, int64_t position)
{
    const attn_kv_layout *l = &store->layout;
    const int64_t size = store->shape.head_size, at = element_of(l->k_stride, to);
    if (!store->turn && dtype == l->k_dtype) {
        const int64_t width = attn_dtype_size(dtype);
        memcpy(store->pool.k + at * width, from, (size_t)(size * width));
        return;
    }
    float *row = scratch->row;
    if (store->turn)
        attn_turn_row(store->turn, &scratch->turn, row, from, dtype, size, position);
    else
        attn_turn_widen(row, from, dtype, size);
    if (store->k_channel_scale) {
        const float *channel = store->k_channel_scale + to->head * size;
        for (int64_t c = 0; c < size; c++)
            row[c] /= channel[c];
    }
    float *scale = store->pool.k_scale;
    attn_kv_row_store(store->pool.k, at, scale ? scale + element_of(l->k_scale_stride, to) : NULL,
                      l->k_dtype, l->group, row, size);
}

static void store_value(const struct attn_kv_store *store, struct attn_kv_scratch *scratch,
                        const struct slot *to, const char *from, attn_dtype dtype)
{
    const attn_kv_layout *l = &store->layout;
    const int64_t size = store->shape.head_size_v, at = element_of(l->v_stride, to);
    if (dtype == l->v_dtype) {
        const int64_t width = attn_dtype_size(dtype);
        memcpy(store->pool.v + at * width, from, (size_t)(size * width));
        return;
    }
    attn_turn_widen(scratch->row, from, dtype, size);
    float *scale = store->pool.v_scale;
    attn_kv_row_store(store->pool.v, at, scale ? scale + element_of(l->v_scale_stride, to) : NULL,
                      l->v_dtype, l->group, scratch->row, size);
}

/* Tokens [begin, end) of the b-th sequence; `offset` is the row of its first token in k and v. */
static void store_tokens(const struct appending *a, struct attn_kv_scratch *scratch, int64_t b,
                         int64_t offset, int64_t begin, int64_t end)
{
    const struct attn_kv_store *store = a->store;
    const attn_kv_rows *rows = a->rows;
    const int64_t page_size = store->layout.page_size, source = rows->packed ? 0 : b;
    const struct attn_kv_line *line = &store->lines[attn_kv_sequence_at(rows->sequences, b)];
    for (int64_t n = begin; n < end; n++) {
        const int64_t at = line->slots + n, position = line->length + n;
        struct slot to = {line->pages[at / page_size], 0, at % page_size};
        if (store->pool.positions)
            store->pool.positions[to.page * page_size + to.slot] = (int32_t)position;
        for (; to.head < store->shape.kv_heads; to.head++) {
            store_key(store, scratch, &to,
                      row_at(rows->k, &rows->k_layout, source, to.head, offset + n),
                      rows->k_layout.dtype, position);
            store_value(store, scratch, &to,
                        row_at(rows->v, &rows->v_layout, source, to.head, offset + n),
                        rows->v_layout.dtype);
        }
    }
}

static void store_task(void *argument, int64_t index, int worker)
{
    const struct appending *a = argument;
    const int64_t b = index / a->chunks, begin = index % a->chunks * TASK_TOKENS;
    int64_t offset = 0;
    for (int64_t i = 0; a->rows->packed && i < b; i++)
        offset += a->counts[i];
    store_tokens(a, &a->scratch[worker], b, offset, begin,
                 attn_int64_min(begin + TASK_TOKENS, a->counts[b]));
}

/* ---- the call ---- */

/* A scratch for each thread, in one block to be freed. */
static struct attn_kv_scratch *make_scratches(const attn_kv *kv, int threads, attn_error *error)
{
    struct attn_arena arena = attn_arena_measure();
    size_t bytes = 0;
    void *memory = NULL;
    for (int round = 0; round < 2; round++) {
        struct attn_kv_scratch *scratch = attn_arena_take(&arena, (size_t)threads, sizeof *scratch),
                               one;
        for (int i = 0; i < threads; i++) {
            attn_kv_scratch_carve(&one, &arena, kv->widest, kv->pairs);
            if (scratch)
                scratch[i] = one;
        }
        if (round == 1)
            return scratch;
        if (attn_arena_needed(&arena, &bytes)) /* and malloc's blocks are aligned to less */
            memory = aligned_alloc(ATTN_ARENA_ALIGNMENT, (bytes + ATTN_ARENA_ALIGNMENT) /
                                                             ATTN_ARENA_ALIGNMENT *
                                                             ATTN_ARENA_ALIGNMENT);
        if (!memory) {
            attn_fail(error, ATTN_ERR_MEMORY, "no memory for rows of %d threads, %zu bytes",
                      threads, bytes);
            return NULL;
        }
        arena = attn_arena_over(memory, bytes);
    }
    return NULL;
}

static attn_status store_rows(attn_kv *kv, struct appending *a, const attn_executor *executor,
                              attn_error *error)
{
    const attn_kv_rows *rows = a->rows;
    struct attn_kv_store *store = a->store;
    if (!executor) {
        a->scratch = &kv->scratch;
        if (store->turn && kv->turned != store->turn) {
            kv->scratch.turn.known = false;
            kv->turned = store->turn;
        }
    }
    attn_kv_room_make(store, rows->sequences, rows->count, a->counts);
    attn_status status = attn_launch(executor, rows->count * a->chunks, store_task, a, error);
    for (int64_t b = 0; !status && b < rows->count; b++) {
        struct attn_kv_line *line = &store->lines[attn_kv_sequence_at(rows->sequences, b)];
        line->slots += a->counts[b];
        line->length += a->counts[b];
    }
    return status;
}

attn_status attn_kv_append(attn_kv *kv, int64_t layer, const attn_kv_rows *rows,
                           const attn_executor *executor, attn_error *error)
{
    attn_status status = attn_kv_check_layer(kv, layer, error);
    if (!status)
        status = attn_executor_check(executor, error);
    struct attn_kv_store *store = status ? NULL : &kv->stores[layer];
    if (!status)
        status = check_rows(kv, store, rows, error);
    if (status)
        return status;
    struct appending a = {.store = store, .rows = rows, .counts = rows->lengths};
    int64_t total = 0;
    for (int64_t b = 0; b < rows->count; b++) {
        if (!rows->lengths)
            kv->counts[b] = rows->tokens;
        const int64_t tokens = rows->lengths ? rows->lengths[b] : rows->tokens;
        a.most = attn_int64_max(a.most, tokens);
        total += tokens;
    }
    if (!a.counts)
        a.counts = kv->counts;
    a.chunks = attn_int64_div_up(a.most, TASK_TOKENS);
    status = attn_kv_room_check(store, layer, rows->sequences, rows->count, a.counts, error);
    if (status)
        return status;
    const struct attn_kv_shape *shape = &store->shape;
    const int64_t elements = shape->kv_heads * (shape->head_size + shape->head_size_v);
    if (total <= SERIAL_ELEMENTS / elements || attn_executor_threads(executor) == 1)
        executor = NULL;
    if (executor) {
        a.scratch = make_scratches(kv, executor->threads, error);
        if (!a.scratch)
            return ATTN_ERR_MEMORY;
    }
    status = store_rows(kv, &a, executor, error);
    if (executor)
        free(a.scratch); /* the first thing in its block */
    return status ? status : attn_succeed(error);
}
