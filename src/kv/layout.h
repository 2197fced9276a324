/* Checking how a cache lies and whose its pages are, under the names that the caller knows them by. */
#ifndef ATTN_KV_LAYOUT_H
#define ATTN_KV_LAYOUT_H

#include <attn/kv.h>

/* The tensors that a layout is of. */
struct attn_kv_shape {
    int64_t kv_heads, head_size, head_size_v;
};

static inline bool attn_kv_is_quantised(attn_dtype dtype)
{
    return dtype == ATTN_INT8 || dtype == ATTN_INT4;
}

/* Scales of a row of `size` elements. */
static inline int64_t attn_kv_row_scales(attn_dtype dtype, int64_t group, int64_t size)
{
    return dtype == ATTN_INT8 ? 1 : dtype == ATTN_INT4 ? size / group : 0;
}

/* `name` is put before the fields: "problem.cache". Shapes are checked already. Errors: NULL, STRUCT_SIZE,
 * SHAPE, STRIDE, DTYPE, VALUE. */
attn_status attn_kv_layout_check(const char *name, const attn_kv_layout *layout,
                                 const struct attn_kv_shape *shape, attn_error *error);

/* The rest of attn_kv_view_check, of a checked layout; `name` is "args.cache". Errors: NULL, STRUCT_SIZE,
 * SHAPE, ALIGNMENT, VALUE, OVERFLOW. */
attn_status attn_kv_table_check(const char *name, const attn_kv_layout *layout,
                                const attn_kv_view *view, int64_t batch, int64_t keys,
                                const struct attn_kv_shape *shape, attn_error *error);

#endif
