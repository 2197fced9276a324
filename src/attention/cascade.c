/* Finding chunks that are shared: for each chunk a hash of its first and last page leads to the sequences that
 * were met there before; whether they really share is told by all of its pages. */
#include "attention/cascade.h"

#include "attention/decode.h"
#include "plan/lengths.h"

/* Where a chunk of a sequence lies: from slot `slot` of the first of `count` pages on. */
struct lying {
    const int32_t *pages;
    int64_t slot, count;
};

static struct lying lying_of(const struct attn_run_state *run, int64_t batch, int64_t chunk)
{
    const attn_kv_view *view = run->args->cache;
    const int64_t size = attn_chunk_keys(run->plan), page_size = run->plan->cache.page_size;
    const int64_t at = attn_cache_first_slot(view, batch) + chunk * size;
    return (struct lying){
        .pages = view->indices + view->indptr[batch] + at / page_size,
        .slot = at % page_size,
        .count = attn_int64_div_up(at % page_size + size, page_size),
    };
}

/* Keys that are turned by positions of the caller's own are shared only if these are the same too. */
static bool turn_alike(const struct attn_run_state *run, int64_t a, int64_t b, int64_t chunk)
{
    const int64_t *positions = run->args->key_positions, keys = run->args->keys;
    const int64_t size = attn_chunk_keys(run->plan);
    return !positions || memcmp(positions + a * keys + chunk * size,
                                positions + b * keys + chunk * size, (size_t)size * 8) == 0;
}

static bool share(const struct attn_run_state *run, int64_t a, int64_t b, int64_t chunk)
{
    const struct lying x = lying_of(run, a, chunk), y = lying_of(run, b, chunk);
    return x.slot == y.slot && x.count == y.count &&
           memcmp(x.pages, y.pages, (size_t)x.count * sizeof *x.pages) == 0 &&
           turn_alike(run, a, b, chunk);
}

static uint64_t hash_of(const struct lying *lying)
{
    const uint64_t first = (uint64_t)lying->pages[0],
                   last = (uint64_t)lying->pages[lying->count - 1];
    uint64_t hash = (first << 32 | last) + (uint64_t)lying->slot;
    hash = (hash ^ hash >> 29) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

/* Rows of a sequence that may share the chunk; 0 = it may not. */
static int64_t rows_sharing(const struct attn_run_state *run, int64_t batch, int64_t chunk)
{
    const struct attn_plan *plan = run->plan;
    const attn_problem *p = &plan->problem;
    const int64_t queries = attn_query_span(p->lengths, run->args, batch).length;
    const int64_t keys = attn_plan_key_span(plan, run->args, batch).length;
    if (attn_plan_packing(plan, queries) != ATTN_PACK_NOTHING ||
        attn_decode_tiles(plan, queries) > 1 || (chunk + 1) * attn_chunk_keys(plan) > keys)
        return 0;
    return p->heads / p->kv_heads * queries;
}

/* The set of those that share the chunk with a sequence; new ones have no members yet. */
static struct attn_cascade_set *set_of(const struct attn_run_state *run, int64_t batch,
                                       int64_t chunk)
{
    const struct lying lying = lying_of(run, batch, chunk);
    const uint64_t room = (uint64_t)attn_cascade_room(run->args->batch);
    for (uint64_t at = hash_of(&lying);; at++) {
        struct attn_cascade_set *set = &run->workspace.cascade_sets[at % room];
        if (set->members == 0 || set->chunk != chunk) {
            *set = (struct attn_cascade_set){.chunk = (int32_t)chunk, .last = (int32_t)batch};
            return set;
        }
        if (share(run, set->last, batch, chunk))
            return set;
    }
}

static void link_sequence(struct attn_run_state *run, int64_t batch, int64_t chunk, int64_t most)
{
    struct attn_cascade_link *links = run->workspace.cascade_links + chunk * run->args->batch;
    links[batch] = (struct attn_cascade_link){.next = -1};
    const int64_t rows = rows_sharing(run, batch, chunk);
    if (rows == 0)
        return;
    struct attn_cascade_set *set = set_of(run, batch, chunk);
    if (set->members == most || set->rows + rows > ATTN_CACHED_ROWS)
        set->members = set->rows = 0; /* a full one is followed by another */
    if (set->members > 0)
        links[set->last].next = (int32_t)batch;
    links[batch].number = set->members;
    set->last = (int32_t)batch;
    set->members++;
    set->rows += (int32_t)rows;
}

void attn_cascade_find(struct attn_run_state *run, int threads)
{
    const struct attn_plan *plan = run->plan;
    const int64_t batch = run->args->batch;
    const bool may = attn_shares_chunks(plan) && batch > 1;
    const int64_t chunks = may ? attn_whole_chunks(plan, run->args->keys) : 0;
    const int64_t heads = attn_int64_min(plan->problem.kv_heads, plan->decode_heads);
    const int64_t tasks = batch * heads * chunks; /* of one launch */
    const int64_t most = attn_int64_min(ATTN_CASCADE_MOST, tasks / threads);
    run->cascade_chunks = most > 1 ? chunks : 0;
    if (run->cascade_chunks == 0)
        return;
    memset(run->workspace.cascade_sets, 0,
           (size_t)attn_cascade_room(batch) * sizeof *run->workspace.cascade_sets);
    for (int64_t chunk = 0; chunk < chunks; chunk++)
        for (int64_t b = 0; b < batch; b++)
            link_sequence(run, b, chunk, most);
}

struct attn_cascade_link attn_cascade_link_of(const struct attn_run_state *run, int64_t batch,
                                              int64_t chunk)
{
    if (chunk >= run->cascade_chunks)
        return (struct attn_cascade_link){.next = -1};
    return run->workspace.cascade_links[chunk * run->args->batch + batch];
}
