/* Pools and their copies; see pool.h. */
#include "pool.h"
#include "tensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const float int8_scale = 3.5f / 127;

/* What must be read between two reads of one byte: four times the last cache, and 256 MB. */
static size_t passing_bytes(void)
{
    attn_cpu cpu = {.struct_size = sizeof cpu};
    size_t least = (size_t)256 << 20;
    if (attn_cpu_describe(&cpu, NULL) != ATTN_OK || cpu.cache_bytes[2] > (size_t)1 << 30)
        return least;
    return 4 * cpu.cache_bytes[2] > least ? 4 * cpu.cache_bytes[2] : least;
}

/* In large pages where the system has them: the reading that a case is compared with is of the same memory. */
static unsigned char *allocate(size_t size, struct failure *f)
{
    enum { LARGE = 1 << 21 };
    unsigned char *memory = aligned_alloc(LARGE, (size + LARGE - 1) / LARGE * LARGE);
    if (!memory)
        fail(f, "out of memory: %zu bytes were wanted", size);
#ifdef MADV_HUGEPAGE
    if (memory)
        madvise(memory, size, MADV_HUGEPAGE);
#endif
    return memory;
}

static size_t element_bytes(const struct bench_case *c)
{
    return c->cache == ATTN_INT8 ? 1 : bench_element_size(c->cache);
}

static int64_t pages_of_sequence(const struct bench_case *c)
{
    return (c->keys + c->page_size - 1) / c->page_size;
}

/* Pages of the pool: what sequences share is there once. */
static int64_t pages_of_pool(const struct bench_case *c)
{
    return c->batch * pages_of_sequence(c) - (c->batch - 1) * (c->shared / c->page_size);
}

/* The pages of the pool, one behind the other, become those of sequences of which all begin as the first. */
static void share_pages(const struct bench_case *c, int32_t *indices)
{
    const int64_t each = pages_of_sequence(c), same = c->shared / c->page_size;
    for (int64_t b = c->batch - 1; b > 0; b--) { /* last to first: what is read is not yet moved */
        const int64_t from = each + (b - 1) * (each - same);
        memmove(indices + b * each + same, indices + from, (size_t)(each - same) * sizeof *indices);
        memcpy(indices + b * each, indices, (size_t)same * sizeof *indices);
    }
}

/* Pages of all sequences in an order that is none, but for contiguous caches. */
static bool make_table(struct bench_pool *pool, struct failure *f)
{
    const struct bench_case *c = pool->c;
    const int64_t each = pages_of_sequence(c), pages = pages_of_pool(c);
    int32_t *table = pool->table =
        bench_allocate((size_t)(2 * c->batch + 1 + c->batch * each) * sizeof *table, f);
    if (!table)
        return false;
    int32_t *last = table + c->batch + 1, *indices = last + c->batch;
    for (int64_t b = 0; b <= c->batch; b++)
        table[b] = (int32_t)(b * each);
    for (int64_t b = 0; b < c->batch; b++)
        last[b] = (int32_t)(c->keys - (each - 1) * c->page_size);
    for (int64_t i = 0; i < pages; i++)
        indices[i] = (int32_t)i;
    uint64_t state = 12345;
    for (int64_t i = pages - 1; i > 0; i--) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        int64_t other = (int64_t)((state >> 33) % (uint64_t)(i + 1));
        int32_t kept = indices[i];
        indices[i] = indices[other], indices[other] = kept;
    }
    share_pages(c, indices);
    return true;
}

/* Where element i of [batch, kv heads, keys, size] is in a pool of these strides. */
static int64_t place(const struct bench_pool *pool, int64_t i, const int64_t stride[3])
{
    const struct bench_case *c = pool->c;
    int64_t d = i % c->head_size, row = i / c->head_size;
    int64_t key = row % c->keys, head = row / c->keys % c->kv_heads;
    int64_t b = row / c->keys / c->kv_heads;
    int64_t page = pool->table[2 * c->batch + 1 + b * pages_of_sequence(c) + key / c->page_size];
    return page * stride[0] + head * stride[1] + key % c->page_size * stride[2] + d;
}

static void fill(const struct bench_pool *pool, unsigned char *to, const int64_t stride[3],
                 uint64_t seed)
{
    const struct bench_case *c = pool->c;
    uint64_t state = seed;
    for (int64_t i = 0; i < (int64_t)c->batch * c->kv_heads * c->keys * c->head_size; i++) {
        float value = bench_random_value(&state);
        int64_t at = place(pool, i, stride);
        if (c->cache == ATTN_INT8)
            ((int8_t *)to)[at] = (int8_t)lrintf(value / int8_scale);
        else
            bench_set_element(to, c->cache, at, value);
    }
}

static bool make_copies(struct bench_pool *pool, struct failure *f)
{
    const struct bench_case *c = pool->c;
    const attn_kv_layout *l = &pool->layout;
    const int64_t pages = pages_of_pool(c);
    const size_t keys = (size_t)c->batch * (size_t)(c->keys - c->shared) + (size_t)c->shared;
    const size_t rows = keys * (size_t)c->kv_heads;
    const bool scaled = c->cache == ATTN_INT8;
    const size_t one = (size_t)(pages * l->k_stride[0]) * element_bytes(c);
    const size_t scales = scaled ? (size_t)(pages * l->k_scale_stride[0]) * sizeof(float) : 0;
    const size_t copy = (2 * (one + scales) + 63) / 64 * 64;
    pool->bytes = 2 * rows * ((size_t)c->head_size * element_bytes(c) + (scaled ? 4 : 0));
    pool->copies = (int)((passing_bytes() + pool->bytes - 1) / pool->bytes);
    pool->size = copy * (size_t)pool->copies;
    pool->memory = allocate(pool->size, f);
    pool->views = calloc((size_t)pool->copies, sizeof *pool->views);
    if (!pool->memory || !pool->views)
        return pool->memory && fail(f, "out of memory");
    fill(pool, pool->memory, l->k_stride, 2);
    fill(pool, pool->memory + one, l->v_stride, 3);
    for (size_t i = 0; i < 2 * scales / sizeof(float); i++)
        ((float *)(void *)(pool->memory + 2 * one))[i] = int8_scale;
    for (int i = 0; i < pool->copies; i++) {
        unsigned char *at = pool->memory + (size_t)i * copy;
        if (i > 0)
            memcpy(at, pool->memory, 2 * (one + scales));
        attn_kv_view *view = &pool->views[i];
        *view = attn_kv_view_init();
        view->k = at, view->v = at + one;
        if (scaled)
            view->k_scale = (const float *)(const void *)(at + 2 * one),
            view->v_scale = (const float *)(const void *)(at + 2 * one + scales);
        view->pages = pages;
        view->indptr = pool->table;
        view->last_page_len = pool->table + c->batch + 1;
        view->indices = pool->table + 2 * c->batch + 1;
    }
    return true;
}

struct bench_pool *bench_pool_make(const struct bench_case *c, struct failure *f)
{
    struct bench_pool *pool = calloc(1, sizeof *pool);
    if (!pool) {
        fail(f, "out of memory");
        return NULL;
    }
    pool->c = c;
    pool->layout = attn_kv_layout_init(c->cache, c->kv_heads, c->page_size, c->head_size);
    if (make_table(pool, f) && make_copies(pool, f))
        return pool;
    bench_pool_free(pool);
    return NULL;
}

void bench_pool_free(struct bench_pool *pool)
{
    if (!pool)
        return;
    free(pool->memory);
    free(pool->views);
    free(pool->table);
    free(pool);
}

const attn_kv_view *bench_pool_next(struct bench_pool *pool)
{
    const attn_kv_view *view = &pool->views[pool->turn];
    pool->turn = (pool->turn + 1) % pool->copies;
    return view;
}

double bench_pool_element(const struct bench_pool *pool, bool values, int64_t i)
{
    const attn_kv_layout *l = &pool->layout;
    const void *at = values ? pool->views[0].v : pool->views[0].k;
    int64_t index = place(pool, i, values ? l->v_stride : l->k_stride);
    if (pool->c->cache == ATTN_INT8)
        return (double)int8_scale * (double)((const int8_t *)at)[index];
    return bench_element(at, pool->c->cache, index);
}
