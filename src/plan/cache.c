/* Whether a cache can be served here, and that a run's arguments say nothing against its table; layouts and
 * tables themselves are checked by the room of caches. */
#include "plan/cache.h"

#include <inttypes.h>

#include <attn/scores.h>

#include "kv/layout.h"
#include "plan/plan.h"
#include "plan/workspace.h"

/* What a cache cannot serve. */
static attn_status check_options(const attn_problem *p, attn_error *error)
{
    if (p->total_keys != 0)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "problem.total_keys is %" PRId64
                         "; with problem.cache, whose table tells lengths, it must be 0",
                         p->total_keys);
    return ATTN_OK;
}

static struct attn_kv_shape shape_of(const attn_problem *p)
{
    return (struct attn_kv_shape){p->kv_heads, p->head_size, p->head_size_v};
}

attn_status attn_cache_check(const attn_problem *p, attn_error *error)
{
    const struct attn_kv_shape shape = shape_of(p);
    attn_status status = attn_kv_layout_check("problem.cache", p->cache, &shape, error);
    return status ? status : check_options(p, error);
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
    const struct attn_kv_shape shape = shape_of(&plan->problem);
    return attn_kv_table_check("args.cache", &plan->cache, view, args->batch, args->keys, &shape,
                               error);
}

/* Bytes of keys that lie one behind the other for one kv head. */
static int64_t run_bytes(const struct attn_plan *plan)
{
    const attn_kv_layout *c = &plan->cache;
    const bool rows_together = c->page_size <= INT64_MAX / attn_int64_max(1, c->k_stride[2]) &&
                               c->k_stride[2] * c->page_size <= c->k_stride[1];
    const int64_t elements =
        rows_together ? c->k_stride[2] * c->page_size : plan->problem.head_size;
    return elements > INT32_MAX ? INT32_MAX : elements * attn_dtype_bits(c->k_dtype) / 8;
}

int64_t attn_cache_heads_together(const struct attn_plan *plan)
{
    enum { PIECE = 65536 }; /* bytes in the order of memory that a machine reads at its best */
    const attn_kv_layout *c = &plan->cache;
    const attn_problem *p = &plan->problem;
    if (plan->turn || c->k_dtype == ATTN_INT4 || c->v_dtype == ATTN_INT4)
        return 1;
    const int64_t group = attn_int64_div_up(p->heads, attn_int64_max(1, p->kv_heads));
    const int64_t filled = attn_int64_div_up(group, ATTN_QUERY_TILE) * ATTN_QUERY_TILE;
    int64_t most = attn_int64_div_up(PIECE, attn_int64_max(1, run_bytes(plan)));
    most = attn_int64_min(most, ATTN_CACHED_ROWS / attn_int64_max(1, filled));
    most = attn_int64_min(most, attn_int64_min(ATTN_CASCADE_MOST, plan->decode_heads));
    return attn_int64_max(1, attn_int64_min(most, p->kv_heads));
}
