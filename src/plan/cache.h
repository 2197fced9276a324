/* The cache of a plan and the tables of a run: how many keys a sequence has, and where each lies. */
#ifndef ATTN_PLAN_CACHE_H
#define ATTN_PLAN_CACHE_H

#include <attn/kv.h>

#include "base/error.h"
#include "base/half.h"
#include "base/sizes.h"
#include "kv/layout.h"

struct attn_plan;

/* Tokens at the start of a sequence's first page that are gone. */
static inline int64_t attn_cache_first_slot(const attn_kv_view *view, int64_t batch)
{
    return view->first_page_begin ? view->first_page_begin[batch] : 0;
}

/* Keys of sequence `batch`. */
static inline int64_t attn_cache_keys(const attn_kv_layout *cache, const attn_kv_view *view,
                                      int64_t batch)
{
    int64_t pages = view->indptr[batch + 1] - view->indptr[batch];
    if (pages == 0)
        return 0;
    return (pages - 1) * cache->page_size + view->last_page_len[batch] -
           attn_cache_first_slot(view, batch);
}

/* problem.cache, and whether what the rest of the problem asks for can be had of a cache. */
attn_status attn_cache_check(const attn_problem *problem, attn_error *error);

/* args.cache against the plan: the table is read, keys and values are not. */
attn_status attn_cache_args_check(const struct attn_plan *plan, const attn_args *args,
                                  attn_error *error);

/* How many kv heads a task reads together at most, with one query. Where a page has little of one kv head, another's lies behind it:
 * heads are then read page after page. 1 = none; int4 and keys that are turned go head by head. */
int64_t attn_cache_heads_together(const struct attn_plan *plan);

#endif
