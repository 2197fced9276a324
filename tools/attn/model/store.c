/* Keys and values of a session in plain contiguous rows; see store.h. */
#include "store.h"

#include <stdlib.h>
#include <string.h>

struct stored_layer {
    float *k, *v;       /* [room, kv heads, size] */
    int64_t room, seen; /* seen: by one query at most, itself included */
    int64_t first;      /* position of row 0 */
};

struct store {
    const attn_executor *executor;
    const struct layer *described; /* which layers have the window */
    int64_t layers, k_width, v_width;
    struct stored_layer *layer;
    int64_t length;
    attn_plan *plan[2], *measuring[2]; /* of layers without and with a window */
    attn_problem problem[2];
    void *workspace;
    size_t workspace_size;
};

static bool add_plan(struct store *store, attn_plan **plan, const attn_problem *problem,
                     struct failure *f)
{
    attn_error error;
    if (attn_plan_create(plan, problem, &error) != ATTN_OK)
        return fail(f, "attention to stored keys: %s", error.message);
    size_t size = attn_plan_workspace(*plan, worker_count(store->executor));
    if (size > store->workspace_size)
        store->workspace_size = size;
    return true;
}

/* The plans of layers like `l`. */
static bool make_plans(struct store *store, const struct run *run, int64_t l,
                       const attn_statistics_wanted *statistics, struct failure *f)
{
    bool local = run->model->layer[l].local;
    if (store->plan[local] != NULL)
        return true;
    int64_t keys = store->layer[l].seen - 1 + run->count;
    if (keys > store->layer[l].room)
        keys = store->layer[l].room;
    attn_problem *problem = &store->problem[local];
    *problem = layer_problem(run, l, 1, run->count, keys);
    if (!add_plan(store, &store->plan[local], problem, f))
        return false;
    attn_problem measured = *problem;
    measured.queries = 1;
    measured.statistics = statistics;
    return statistics == NULL || add_plan(store, &store->measuring[local], &measured, f);
}

static bool allocate_layer(struct store *store, const struct run *run, int64_t l, int64_t capacity,
                           struct failure *f)
{
    struct stored_layer *layer = &store->layer[l];
    int64_t window = run->model->settings.window;
    layer->seen = run->model->layer[l].local && window < capacity ? window : capacity;
    /* a window's worth of steps between two moves to the front */
    int64_t slack = run->count > window ? run->count : window;
    layer->room = layer->seen;
    if (layer->seen < capacity)
        layer->room = layer->seen + slack < capacity ? layer->seen + slack : capacity;
    return allocate_floats(&layer->k, layer->room, store->k_width, f) &&
           allocate_floats(&layer->v, layer->room, store->v_width, f);
}

bool store_create(struct store **out, const struct run *run, int64_t capacity,
                  const attn_statistics_wanted *statistics, struct failure *f)
{
    const struct settings *s = &run->model->settings;
    struct store *store = calloc(1, sizeof *store);
    *out = store;
    if (store == NULL)
        return fail(f, "out of memory");
    store->executor = run->executor;
    store->described = run->model->layer;
    store->layers = s->layers;
    store->k_width = s->kv_heads * s->key_size;
    store->v_width = s->kv_heads * s->value_size;
    store->layer = calloc((size_t)s->layers, sizeof *store->layer);
    bool ok = store->layer != NULL || fail(f, "out of memory");
    for (int64_t l = 0; ok && l < s->layers; l++)
        ok = allocate_layer(store, run, l, capacity, f) && make_plans(store, run, l, statistics, f);
    if (ok) {
        store->workspace = malloc(store->workspace_size + 1);
        ok =
            store->workspace != NULL ||
            fail(f, "out of memory for %zu bytes of workspace of attention", store->workspace_size);
    }
    if (!ok) {
        store_free(store);
        *out = NULL;
    }
    return ok;
}

void store_free(struct store *store)
{
    if (store == NULL)
        return;
    for (int64_t l = 0; store->layer != NULL && l < store->layers; l++) {
        free(store->layer[l].k);
        free(store->layer[l].v);
    }
    for (int local = 0; local < 2; local++) {
        attn_plan_destroy(store->plan[local]);
        attn_plan_destroy(store->measuring[local]);
    }
    free(store->layer);
    free(store->workspace);
    free(store);
}

int64_t store_length(const struct store *store)
{
    return store->length;
}

int64_t store_bytes(const struct store *store)
{
    int64_t rows = 0;
    for (int64_t l = 0; l < store->layers; l++)
        rows += store->length - store->layer[l].first;
    return rows * (store->k_width + store->v_width) * (int64_t)sizeof(float);
}

/* Make room behind the rows held for `rows` more: what no later query sees goes. */
static void make_room(const struct store *store, struct stored_layer *layer, int64_t rows)
{
    int64_t held = store->length - layer->first;
    if (held + rows <= layer->room)
        return;
    int64_t kept = layer->seen - 1 < held ? layer->seen - 1 : held;
    size_t from = (size_t)(held - kept), count = (size_t)kept * sizeof(float);
    memmove(layer->k, layer->k + from * (size_t)store->k_width, count * (size_t)store->k_width);
    memmove(layer->v, layer->v + from * (size_t)store->v_width, count * (size_t)store->v_width);
    layer->first = store->length - kept;
}

void store_add(struct store *store, int64_t l, const float *k, const float *v, int64_t rows)
{
    struct stored_layer *layer = &store->layer[l];
    make_room(store, layer, rows);
    int64_t at = store->length - layer->first;
    memcpy(layer->k + at * store->k_width, k, (size_t)(rows * store->k_width) * sizeof *k);
    memcpy(layer->v + at * store->v_width, v, (size_t)(rows * store->v_width) * sizeof *v);
}

bool store_attend(struct store *store, int64_t l, const float *q, int64_t rows, int64_t added,
                  float *o, const attn_statistics *statistics, int64_t *first_key,
                  struct failure *f)
{
    const struct stored_layer *layer = &store->layer[l];
    bool local = store->described[l].local;
    int64_t end = store->length + added - layer->first; /* behind the last query's own key */
    int64_t first = end - rows - (layer->seen - 1);
    first = first > 0 ? first : 0;
    attn_args args = attn_args_init(&store->problem[local]);
    args.queries = rows;
    args.keys = end - first;
    args.q = q;
    args.k = layer->k + first * store->k_width;
    args.v = layer->v + first * store->v_width;
    args.o = o;
    args.statistics = statistics;
    if (first_key != NULL)
        *first_key = layer->first + first;
    attn_error error;
    const attn_plan *plan = statistics != NULL ? store->measuring[local] : store->plan[local];
    if (attn_run(plan, &args, store->workspace, store->workspace_size, store->executor, &error) !=
        ATTN_OK)
        return fail(f, "attention of layer %lld: %s", (long long)l, error.message);
    return true;
}

void store_keep(struct store *store, int64_t rows)
{
    store->length += rows;
}
