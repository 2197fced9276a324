/* Whether a cache and its tables can be served. Every entry of the tables is read, and nothing of the pool:
 * what passes here cannot lead a kernel out of it. */
#include "plan/cache.h"

#include <inttypes.h>
#include <stdio.h>

#include <attn/scores.h>
#include <attn/stats.h>

#include "plan/plan.h"

static attn_status check_dtype(const char *name, attn_dtype dtype, attn_error *error)
{
    if ((int)dtype < ATTN_F32 || (int)dtype > ATTN_INT4)
        return attn_fail(error, ATTN_ERR_DTYPE,
                         "problem.cache.%s is %d; it may be ATTN_F32 (1) to ATTN_INT4 (5)", name,
                         (int)dtype);
    return ATTN_OK;
}

/* The reach of a pool of 2^31 - 1 pages must be told by an int64_t; int4 begins at whole bytes. */
static attn_status check_strides(const char *name, const int64_t stride[3], const attn_problem *p,
                                 int64_t even, int64_t row, attn_error *error)
{
    const int64_t extent[3] = {INT32_MAX, p->kv_heads, p->cache->page_size};
    int64_t span = row;
    for (int axis = 0; axis < 3; axis++) {
        int64_t reach;
        if (stride[axis] == INT64_MIN ||
            !attn_int64_mul(&reach, stride[axis] < 0 ? -stride[axis] : stride[axis],
                            extent[axis]) ||
            !attn_int64_add(&span, span, reach) || span > INT64_MAX / 16)
            return attn_fail(error, ATTN_ERR_OVERFLOW,
                             "problem.cache.%s[%d] is %" PRId64
                             "; it reaches past what an address can tell",
                             name, axis, stride[axis]);
        if (stride[axis] % even != 0)
            return attn_fail(error, ATTN_ERR_STRIDE,
                             "problem.cache.%s[%d] is %" PRId64
                             "; strides of int4 must be even, two elements are a byte",
                             name, axis, stride[axis]);
    }
    return ATTN_OK;
}

static attn_status check_group(const attn_problem *p, attn_error *error)
{
    const attn_kv_layout *c = p->cache;
    const bool int4 = c->k_dtype == ATTN_INT4 || c->v_dtype == ATTN_INT4;
    if (!int4 && c->group != 0)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "problem.cache.group is %" PRId64 "; it must be 0 unless int4 is stored",
                         c->group);
    if (int4 && (c->group < 1 || c->group > INT32_MAX))
        return attn_fail(error, ATTN_ERR_VALUE,
                         "problem.cache.group is %" PRId64
                         "; int4 needs 1 to 2147483647 channels that share a scale",
                         c->group);
    if (c->k_channel_scales && c->k_dtype != ATTN_INT8)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "problem.cache.k_channel_scales is true, but k_dtype is %d; scales of "
                         "channels are for ATTN_INT8 (4)",
                         (int)c->k_dtype);
    return ATTN_OK;
}

/* What a cache cannot serve. */
static attn_status check_options(const attn_problem *p, attn_error *error)
{
    const uint32_t wanted = p->statistics ? p->statistics->set : 0;
    const uint32_t placed = ATTN_STAT_MASS_SELF | ATTN_STAT_MASS_PREVIOUS | ATTN_STAT_MASS_NEXT |
                            ATTN_STAT_MASS_FIRST | ATTN_STAT_MASS_LOCAL | ATTN_STAT_DISTANCE_MEAN |
                            ATTN_STAT_DISTANCE_SD;
    const uint32_t swept = ATTN_STAT_COLUMN_MASS | ATTN_STAT_COLUMN_VIEWERS | ATTN_STAT_WEIGHTS |
                           ATTN_STAT_PAIRS | ATTN_STAT_MASS_SEGMENTS;
    if (p->rotary)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "problem.rotary is given beside problem.cache; keys of a cache are turned "
                         "before they are stored, it must be NULL");
    if (wanted & swept)
        return attn_fail(
            error, ATTN_ERR_VALUE,
            "problem.statistics.set is 0x%" PRIx32
            "; over a cache it may not hold COLUMN_MASS, COLUMN_VIEWERS, WEIGHTS, PAIRS "
            "or MASS_SEGMENTS",
            wanted);
    if (p->cache->positions && (wanted & placed))
        return attn_fail(error, ATTN_ERR_VALUE,
                         "problem.statistics.set is 0x%" PRIx32
                         "; over a cache with positions it may not hold MASS_SELF to MASS_LOCAL or "
                         "distances",
                         wanted);
    if (p->scores && p->scores->constant)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "problem.scores.constant is given beside problem.cache, whose lengths "
                         "change; it must be NULL");
    if (p->total_keys != 0)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "problem.total_keys is %" PRId64
                         "; with problem.cache, whose table tells lengths, it must be 0",
                         p->total_keys);
    return ATTN_OK;
}

attn_status attn_cache_check(const attn_problem *p, attn_error *error)
{
    const attn_kv_layout *c = p->cache;
    if (c->struct_size != sizeof *c)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "problem.cache.struct_size is %zu; this library knows %zu", c->struct_size,
                         sizeof *c);
    attn_status status = check_dtype("k_dtype", c->k_dtype, error);
    if (!status)
        status = check_dtype("v_dtype", c->v_dtype, error);
    if (!status && (c->page_size < 1 || c->page_size > INT32_MAX))
        status = attn_fail(error, ATTN_ERR_SHAPE,
                           "problem.cache.page_size is %" PRId64 "; it may be 1 to 2147483647",
                           c->page_size);
    if (!status)
        status = check_group(p, error);
    if (!status)
        status = check_strides("k_stride", c->k_stride, p, c->k_dtype == ATTN_INT4 ? 2 : 1,
                               p->head_size, error);
    if (!status)
        status = check_strides("v_stride", c->v_stride, p, c->v_dtype == ATTN_INT4 ? 2 : 1,
                               p->head_size_v, error);
    if (!status && attn_cache_quantised(c->k_dtype))
        status = check_strides("k_scale_stride", c->k_scale_stride, p, 1, p->head_size, error);
    if (!status && attn_cache_quantised(c->v_dtype))
        status = check_strides("v_scale_stride", c->v_scale_stride, p, 1, p->head_size_v, error);
    return status ? status : check_options(p, error);
}

/* ---- the run ---- */

static attn_status check_array(const char *name, const void *pointer, size_t alignment, bool needed,
                               attn_error *error)
{
    if (needed && !pointer)
        return attn_fail(error, ATTN_ERR_NULL, "args.cache.%s is NULL; this run needs it", name);
    if ((uintptr_t)pointer % alignment != 0)
        return attn_fail(error, ATTN_ERR_ALIGNMENT,
                         "args.cache.%s is %p; it must be aligned to its elements of %zu bytes",
                         name, pointer, alignment);
    return ATTN_OK;
}

static attn_status check_pool(const struct attn_plan *plan, const attn_args *args, bool any,
                              attn_error *error)
{
    const attn_kv_layout *c = &plan->cache;
    const attn_kv_view *view = args->cache;
    const size_t k_width = (size_t)attn_int64_max(1, attn_cache_bits(c->k_dtype) / 8);
    const size_t v_width = (size_t)attn_int64_max(1, attn_cache_bits(c->v_dtype) / 8);
    attn_status status = check_array("k", view->k, k_width, any, error);
    if (!status)
        status = check_array("v", view->v, v_width, any && args->o, error);
    if (!status)
        status = check_array("k_scale", view->k_scale, sizeof(float),
                             any && attn_cache_quantised(c->k_dtype), error);
    if (!status)
        status = check_array("v_scale", view->v_scale, sizeof(float),
                             any && args->o && attn_cache_quantised(c->v_dtype), error);
    if (!status)
        status = check_array("k_channel_scale", view->k_channel_scale, sizeof(float),
                             any && c->k_channel_scales, error);
    if (!status)
        status =
            check_array("positions", view->positions, sizeof(int32_t), any && c->positions, error);
    return status;
}

/* One sequence's pages: how many, how full, and each in the pool. */
static attn_status check_sequence(const attn_kv_layout *c, const attn_kv_view *view, int64_t b,
                                  int64_t most, attn_error *error)
{
    const int64_t begin = view->indptr[b], end = view->indptr[b + 1];
    const int64_t low = end > begin ? 1 : 0, high = end > begin ? c->page_size : 0;
    const int64_t last = view->last_page_len[b], gone = attn_cache_first_slot(view, b);
    if (last < low || last > high)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "args.cache.last_page_len[%" PRId64 "] is %" PRId64 "; it may be %" PRId64
                         " to %" PRId64,
                         b, last, low, high);
    const int64_t room = end - begin > 1 ? c->page_size - 1 : end > begin ? last - 1 : 0;
    if (gone < 0 || gone > room)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "args.cache.first_page_begin[%" PRId64 "] is %" PRId64
                         "; it may be 0 to %" PRId64,
                         b, gone, room);
    for (int64_t i = begin; i < end; i++)
        if (view->indices[i] < 0 || view->indices[i] >= view->pages)
            return attn_fail(error, ATTN_ERR_VALUE,
                             "args.cache.indices[%" PRId64 "] is %" PRId32
                             "; the pool has pages 0 to %" PRId64,
                             i, view->indices[i], view->pages - 1);
    const int64_t keys = attn_cache_keys(c, view, b);
    if (keys > most)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "args.cache holds %" PRId64 " keys of sequence %" PRId64
                         "; args.keys, the most of one sequence, is %" PRId64,
                         keys, b, most);
    return ATTN_OK;
}

static attn_status check_positions(const attn_kv_layout *c, const attn_kv_view *view, int64_t b,
                                   attn_error *error)
{
    const int64_t keys = attn_cache_keys(c, view, b);
    const int64_t first = attn_cache_first_slot(view, b);
    int64_t before = -1;
    for (int64_t i = 0; i < keys; i++) {
        int64_t slot = first + i, page = view->indices[view->indptr[b] + slot / c->page_size];
        int64_t position = view->positions[page * c->page_size + slot % c->page_size];
        if (position <= before)
            return attn_fail(error, ATTN_ERR_VALUE,
                             "args.cache.positions of sequence %" PRId64 ", key %" PRId64
                             " is %" PRId64 "; it must be more than %" PRId64,
                             b, i, position, before);
        before = position;
    }
    return ATTN_OK;
}

static attn_status check_table(const attn_kv_layout *c, const attn_kv_view *view, int64_t batch,
                               int64_t most, attn_error *error)
{
    if (view->indptr[0] != 0)
        return attn_fail(error, ATTN_ERR_VALUE, "args.cache.indptr[0] is %" PRId32 "; it must be 0",
                         view->indptr[0]);
    for (int64_t b = 0; b < batch; b++)
        if (view->indptr[b + 1] < view->indptr[b])
            return attn_fail(error, ATTN_ERR_VALUE,
                             "args.cache.indptr[%" PRId64 "] is %" PRId32
                             "; it must not be less than the one before, %" PRId32,
                             b + 1, view->indptr[b + 1], view->indptr[b]);
    attn_status status =
        check_array("indices", view->indices, sizeof(int32_t), view->indptr[batch] > 0, error);
    for (int64_t b = 0; !status && b < batch; b++)
        status = check_sequence(c, view, b, most, error);
    for (int64_t b = 0; !status && c->positions && b < batch; b++)
        status = check_positions(c, view, b, error);
    return status;
}

attn_status attn_cache_args_check(const struct attn_plan *plan, const attn_args *args,
                                  attn_error *error)
{
    const attn_kv_view *view = args->cache;
    if (!plan->cached)
        return !view
                   ? ATTN_OK
                   : attn_fail(error, ATTN_ERR_VALUE,
                               "args.cache is given, but the plan was made without problem.cache; "
                               "it must be NULL");
    if (!view)
        return attn_fail(error, ATTN_ERR_NULL,
                         "args.cache is NULL; the plan was made with problem.cache");
    if (view->struct_size != sizeof *view)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "args.cache.struct_size is %zu; this library knows %zu", view->struct_size,
                         sizeof *view);
    const struct {
        const char *name;
        const void *pointer;
    } none[] = {{"k", args->k},
                {"v", args->v},
                {"key_lengths", args->key_lengths},
                {"cu_seqlens_k", args->cu_seqlens_k}};
    for (int i = 0; i < 4; i++)
        if (none[i].pointer)
            return attn_fail(error, ATTN_ERR_VALUE,
                             "args.%s is given, but keys are in a cache; it must be NULL",
                             none[i].name);
    if (view->pages < 0 || view->pages > INT32_MAX)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "args.cache.pages is %" PRId64 "; it may be 0 to 2147483647", view->pages);
    attn_status status = check_array("indptr", view->indptr, sizeof(int32_t), true, error);
    if (!status)
        status = check_array("last_page_len", view->last_page_len, sizeof(int32_t), args->batch > 0,
                             error);
    if (!status)
        status =
            check_array("first_page_begin", view->first_page_begin, sizeof(int32_t), false, error);
    if (!status && !plan->cache.positions && view->positions)
        status = attn_fail(error, ATTN_ERR_VALUE,
                           "args.cache.positions is given, but the plan was made without "
                           "problem.cache.positions; it must be NULL");
    bool any = args->batch > 0 && plan->problem.heads > 0 && view->indptr[args->batch] > 0 &&
               attn_total_queries(plan->problem.lengths, args) > 0;
    if (!status)
        status = check_pool(plan, args, any, error);
    return status ? status : check_table(&plan->cache, view, args->batch, args->keys, error);
}
