/* Keys and values of a session in a cache of libattn; see store.h. */
#include "store.h"

#include <attn/kv.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_TOKENS = 32, MANY_ROWS = 64 };

struct store {
    const attn_executor *executor;
    const struct layer *described; /* which layers have the window */
    int64_t layers, kv_heads, key_size, value_size;
    attn_kv *kv;
    int64_t length;
    bool broken;                       /* a step could not be taken back */
    attn_plan *plan[2], *measuring[2]; /* of layers without and with a window */
    attn_problem problem[2];
    void *workspace;
    size_t workspace_size;
};

/* ---- which model it is, for files ---- */

static uint64_t add_bytes(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++) /* FNV-1a */
        hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash;
}

/* A number out of what the model calls itself, its settings, and a row of weights of each layer. */
static uint64_t model_number(const struct model *model)
{
    const struct settings *s = &model->settings;
    const int64_t sizes[] = {s->layers,   s->width,      s->heads,  s->kv_heads,
                             s->key_size, s->value_size, s->window, model->source.file_bytes};
    const double numbers[] = {s->scale, s->rotary_base, s->rotary_base_local, s->rotary_factor};
    uint64_t hash = 0xcbf29ce484222325u;
    hash = add_bytes(hash, model->architecture->name, strlen(model->architecture->name));
    hash = add_bytes(hash, sizes, sizeof sizes);
    hash = add_bytes(hash, numbers, sizeof numbers);
    if (s->bands.factor > 0)
        hash = add_bytes(hash, &s->bands, sizeof s->bands);
    for (int64_t l = 0; l < s->layers; l++)
        for (int p = 0; p < LAYER_PARTS; p++) {
            const struct file_tensor *t = model->layer[l].part[p].matrix.tensor;
            if (t != NULL)
                hash = add_bytes(hash, t->data, t->row_bytes);
        }
    return hash;
}

/* ---- making ---- */

static bool fail_cache(struct failure *f, const char *what, const attn_error *error)
{
    return fail(f, "%s: %s", what, error->message);
}

/* The channels that share a scale: the largest even number up to 32 that divides both sizes. */
static int64_t common_group(int64_t key_size, int64_t value_size)
{
    int64_t group = 32;
    while (group > 2 && (key_size % group != 0 || value_size % group != 0))
        group -= 2;
    return group;
}

static bool create_cache(struct store *store, const struct run *run, int64_t capacity,
                         attn_dtype type, struct failure *f)
{
    const struct settings *s = &run->model->settings;
    attn_kv_layer *layers = malloc((size_t)s->layers * sizeof *layers);
    if (layers == NULL)
        return fail(f, "out of memory");
    for (int64_t l = 0; l < s->layers; l++) {
        layers[l] = attn_kv_layer_init(type, s->kv_heads, s->key_size, PAGE_TOKENS);
        layers[l].head_size_v = s->value_size;
        layers[l].group = type == ATTN_INT4 ? common_group(s->key_size, s->value_size) : 0;
        layers[l].window = run->model->layer[l].local ? s->window : 0;
    }
    attn_kv_config config = attn_kv_config_init(layers, s->layers, 1, capacity);
    config.step = run->count;
    config.model = model_number(run->model);
    attn_error error;
    bool ok = attn_kv_create(&store->kv, &config, NULL, 0, &error) == ATTN_OK ||
              fail_cache(f, "keys and values", &error);
    free(layers);
    return ok;
}

static bool add_plan(struct store *store, attn_plan **plan, const attn_problem *problem,
                     struct failure *f)
{
    attn_error error;
    /* Packed keys and values of a long context would take as much memory again as the context itself. Beyond this,
     * tasks pack what they need: reading takes a tenth more of attention's time. Where many heads decode a long
     * context, what is known of each chunk of keys does not fit either, and there is no limit. */
    attn_problem limited = *problem;
    limited.workspace_threads = worker_count(store->executor);
    limited.workspace_limit =
        ((size_t)32 << 20) + (size_t)limited.workspace_threads * ((size_t)4 << 20);
    if (attn_plan_create(plan, &limited, NULL) != ATTN_OK &&
        attn_plan_create(plan, problem, &error) != ATTN_OK)
        return fail_cache(f, "attention to stored keys", &error);
    size_t size = attn_plan_workspace(*plan, worker_count(store->executor));
    if (size > store->workspace_size)
        store->workspace_size = size;
    return true;
}

/* The plans of layers like `l`, whose pool bounds how many keys there can be. */
static bool make_plans(struct store *store, const struct run *run, int64_t l, int64_t capacity,
                       const attn_statistics_wanted *statistics, struct failure *f)
{
    bool local = run->model->layer[l].local;
    if (store->plan[local] != NULL)
        return true;
    attn_error error;
    attn_kv_layout layout;
    attn_kv_usage usage = {.struct_size = sizeof usage};
    if (attn_kv_get_layout(store->kv, l, &layout, &error) != ATTN_OK ||
        attn_kv_get_usage(store->kv, l, &usage, &error) != ATTN_OK)
        return fail_cache(f, "keys and values", &error);
    int64_t keys = usage.pages * layout.page_size;
    attn_problem *problem = &store->problem[local];
    *problem = layer_problem(run, l, 1, run->count, keys < capacity ? keys : capacity);
    problem->cache = &layout;
    if (!add_plan(store, &store->plan[local], problem, f))
        return false;
    attn_problem measured = *problem;
    measured.queries = 1;
    measured.statistics = statistics;
    bool ok = statistics == NULL || add_plan(store, &store->measuring[local], &measured, f);
    problem->cache = NULL; /* read when planning */
    return ok;
}

bool store_create(struct store **out, const struct run *run, int64_t capacity, attn_dtype type,
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
    store->kv_heads = s->kv_heads;
    store->key_size = s->key_size;
    store->value_size = s->value_size;
    bool ok = create_cache(store, run, capacity, type, f);
    for (int64_t l = 0; ok && l < s->layers; l++)
        ok = make_plans(store, run, l, capacity, statistics, f);
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
    for (int local = 0; local < 2; local++) {
        attn_plan_destroy(store->plan[local]);
        attn_plan_destroy(store->measuring[local]);
    }
    attn_kv_destroy(store->kv);
    free(store->workspace);
    free(store);
}

/* ---- steps ---- */

int64_t store_length(const struct store *store)
{
    return store->length;
}

int64_t store_bytes(const struct store *store)
{
    attn_kv_usage usage = {.struct_size = sizeof usage};
    attn_kv_get_usage(store->kv, -1, &usage, NULL);
    return (int64_t)usage.bytes_used;
}

bool store_begin(struct store *store, int64_t rows, struct failure *f)
{
    attn_error error;
    if (store->broken)
        return fail(f, "a step failed and could not be taken back; a new session can be made");
    return attn_kv_reserve(store->kv, NULL, 1, &rows, &error) == ATTN_OK ||
           fail_cache(f, "keys and values", &error);
}

bool store_add(struct store *store, int64_t l, const float *k, const float *v, int64_t rows,
               struct failure *f)
{
    attn_kv_rows added = attn_kv_rows_init(1, store->kv_heads, rows, store->key_size, ATTN_F32);
    added.k_layout = attn_layout_bshd(ATTN_F32, store->kv_heads, rows, store->key_size);
    added.v_layout = attn_layout_bshd(ATTN_F32, store->kv_heads, rows, store->value_size);
    added.k = k;
    added.v = v;
    attn_error error;
    const attn_executor *executor = rows >= MANY_ROWS ? store->executor : NULL;
    return attn_kv_append(store->kv, l, &added, executor, &error) == ATTN_OK ||
           fail(f, "keys and values of layer %lld: %s", (long long)l, error.message);
}

int64_t store_first_key(const struct store *store, int64_t l)
{
    return attn_kv_length(store->kv, l, 0) - attn_kv_keys(store->kv, l, 0);
}

bool store_attend(struct store *store, int64_t l, const float *q, int64_t rows, float *o,
                  const attn_statistics *statistics, struct failure *f)
{
    bool local = store->described[l].local;
    attn_kv_view view;
    attn_error error;
    attn_args args = attn_args_init(&store->problem[local]);
    args.queries = rows;
    args.keys = attn_kv_keys(store->kv, l, 0);
    args.cache = &view;
    args.q = q;
    args.o = o;
    args.statistics = statistics;
    const attn_plan *plan = statistics != NULL ? store->measuring[local] : store->plan[local];
    if (attn_kv_get_view(store->kv, l, NULL, 1, &view, &error) != ATTN_OK ||
        attn_run(plan, &args, store->workspace, store->workspace_size, store->executor, &error) !=
            ATTN_OK)
        return fail(f, "attention of layer %lld: %s", (long long)l, error.message);
    return true;
}

void store_keep(struct store *store, int64_t rows)
{
    store->length += rows;
}

void store_take_back(struct store *store)
{
    if (attn_kv_truncate(store->kv, 0, store->length, NULL) != ATTN_OK)
        store->broken = true;
}

/* ---- files ---- */

bool store_save(const struct store *store, const char *path, struct failure *f)
{
    attn_error error;
    return attn_kv_save(store->kv, path, &error) == ATTN_OK || fail(f, "%s", error.message);
}

bool store_load(struct store *store, const char *path, struct failure *f)
{
    attn_error error;
    if (attn_kv_load(store->kv, path, &error) != ATTN_OK)
        return fail(f, "%s", error.message);
    store->length = attn_kv_length(store->kv, 0, 0);
    return true;
}
