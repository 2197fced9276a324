/* Whether a layout of pages says something that can be read. */
#include "kv/layout.h"

#include <inttypes.h>

#include "base/error.h"

static attn_status check_dtype(const char *name, const char *field, attn_dtype dtype,
                               attn_error *error)
{
    if ((int)dtype < ATTN_F32 || (int)dtype > ATTN_INT4)
        return attn_fail(error, ATTN_ERR_DTYPE,
                         "%s.%s is %d; it may be ATTN_F32 (1), ATTN_BF16 (2), ATTN_F16 (3), "
                         "ATTN_INT8 (4) or ATTN_INT4 (5)",
                         name, field, (int)dtype);
    return ATTN_OK;
}

static attn_status check_strides(const char *name, const char *field, const int64_t stride[3],
                                 bool nibbles, attn_error *error)
{
    for (int axis = 0; axis < 3; axis++)
        if (stride[axis] < 0 || (nibbles && stride[axis] % 2 != 0))
            return attn_fail(error, ATTN_ERR_STRIDE, "%s.%s[%d] is %" PRId64 "; it must be %s",
                             name, field, axis, stride[axis],
                             nibbles ? "even, and 0 or more" : "0 or more");
    return ATTN_OK;
}

static attn_status check_group(const char *name, const attn_kv_layout *layout,
                               const struct attn_kv_shape *shape, attn_error *error)
{
    const bool k = layout->k_dtype == ATTN_INT4, v = layout->v_dtype == ATTN_INT4;
    const int64_t group = layout->group;
    if (!k && !v) {
        if (group != 0)
            return attn_fail(error, ATTN_ERR_VALUE,
                             "%s.group is %" PRId64 "; without ATTN_INT4 it must be 0", name,
                             group);
        return ATTN_OK;
    }
    if (group < 2 || group % 2 != 0 || (k && shape->head_size % group != 0) ||
        (v && shape->head_size_v % group != 0))
        return attn_fail(error, ATTN_ERR_VALUE,
                         "%s.group is %" PRId64
                         "; it must be even and divide the head size, %" PRId64,
                         name, group, k ? shape->head_size : shape->head_size_v);
    return ATTN_OK;
}

attn_status attn_kv_layout_check(const char *name, const attn_kv_layout *layout,
                                 const struct attn_kv_shape *shape, attn_error *error)
{
    if (!layout)
        return attn_fail(error, ATTN_ERR_NULL, "%s is NULL; it must be given", name);
    if (layout->struct_size != sizeof *layout)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "%s.struct_size is %zu; this library knows %zu (use attn_kv_layout_init)",
                         name, layout->struct_size, sizeof *layout);
    attn_status status = check_dtype(name, "k_dtype", layout->k_dtype, error);
    if (!status)
        status = check_dtype(name, "v_dtype", layout->v_dtype, error);
    if (status)
        return status;
    if (layout->page_size < 1 || layout->page_size > INT32_MAX)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "%s.page_size is %" PRId64 "; it may be 1 to 2147483647", name,
                         layout->page_size);
    status = check_group(name, layout, shape, error);
    if (!status)
        status =
            check_strides(name, "k_stride", layout->k_stride, layout->k_dtype == ATTN_INT4, error);
    if (!status)
        status =
            check_strides(name, "v_stride", layout->v_stride, layout->v_dtype == ATTN_INT4, error);
    if (!status && attn_kv_is_quantised(layout->k_dtype))
        status = check_strides(name, "k_scale_stride", layout->k_scale_stride, false, error);
    if (!status && attn_kv_is_quantised(layout->v_dtype))
        status = check_strides(name, "v_scale_stride", layout->v_scale_stride, false, error);
    if (!status && layout->k_channel_scales && layout->k_dtype != ATTN_INT8)
        status = attn_fail(error, ATTN_ERR_VALUE,
                           "%s.k_channel_scales is true, but k_dtype is %d; only keys of ATTN_INT8 "
                           "(4) have them",
                           name, (int)layout->k_dtype);
    return status;
}
