/* The closer look at one head; see detail.h. */
#include "detail.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_WEIGHTS = 4 << 20 }; /* 16 MB of f32 */

/* Position of query 0 among the keys. */
static int64_t first_position(const attn_problem *problem, const attn_args *args)
{
    if (problem->alignment == ATTN_OFFSET)
        return args->query_offset[0];
    return problem->alignment == ATTN_TOP_LEFT ? 0 : args->keys - args->queries;
}

/* The attention of a layer cut down to one head and to blocks of at most `rows` queries. */
static attn_problem head_problem(const attn_problem *layer, int64_t rows,
                                 const attn_statistics_wanted *wanted)
{
    attn_problem problem = *layer;
    problem.heads = problem.kv_heads = 1;
    problem.queries = rows;
    problem.alignment = ATTN_OFFSET;
    problem.statistics = wanted;
    return problem;
}

static attn_args head_args(const attn_problem *layer, const attn_args *from, int64_t head)
{
    attn_args args = *from;
    int64_t kv_head = head / (layer->heads / layer->kv_heads);
    args.q = (const float *)from->q + head * layer->q.stride[1];
    args.k = (const float *)from->k + kv_head * layer->k.stride[1];
    args.v = NULL;
    args.o = NULL;
    args.lse = NULL;
    if (layer->head_windows)
        args.head_windows = from->head_windows + head;
    if (layer->prefix_lm)
        args.prefix_lm = from->prefix_lm + head * from->prefix_lm_stride[1];
    return args;
}

bool head_weights(const struct model_attention *attention, int64_t head, int64_t begin, int64_t end,
                  weights_receiver receiver, void *context, const volatile sig_atomic_t *stop,
                  struct failure *f)
{
    const attn_problem *layer = attention->problem;
    int64_t keys = attention->args->keys, block = BLOCK_WEIGHTS / (keys > 0 ? keys : 1);
    block = block < 1 ? 1 : block > end - begin ? end - begin : block;
    attn_statistics_wanted wanted = attn_statistics_wanted_init(ATTN_STAT_WEIGHTS);
    attn_problem problem = head_problem(layer, block, &wanted);
    attn_args args = head_args(layer, attention->args, head);
    attn_weights_request request = {0};
    attn_statistics statistics = attn_statistics_init();
    statistics.weights = &request;
    statistics.weights_count = 1;
    args.statistics = &statistics;

    attn_error error;
    attn_plan *plan = NULL;
    const attn_executor *executor = attention->executor;
    if (attn_plan_create(&plan, &problem, &error) != ATTN_OK)
        return fail(f, "weights of one head: %s", error.message);
    size_t size = attn_plan_workspace(plan, executor ? executor->threads : 1);
    void *workspace = malloc(size + 1);
    request.weights = malloc((size_t)block * (size_t)keys * sizeof(float) + 1);
    bool ok =
        (workspace && request.weights) || fail(f, "out of memory for the weights of one head");
    int64_t first = first_position(layer, attention->args);
    for (int64_t row = begin; ok && row < end; row += block) {
        int64_t count = end - row < block ? end - row : block, offset = first + row;
        attn_args part = args;
        part.q = (const float *)args.q + row * layer->q.stride[2];
        part.queries = count;
        part.query_offset = &offset;
        request.row_end = count;
        ok = attn_run(plan, &part, workspace, size, executor, &error) == ATTN_OK ||
             fail(f, "weights of one head: %s", error.message);
        ok = ok && receiver(context, row, count, request.weights, f);
        if (ok && stop && *stop)
            ok = fail(f, "interrupted");
    }
    free(request.weights);
    free(workspace);
    attn_plan_destroy(plan);
    return ok;
}

/* ---- what is kept ---- */

struct keeping {
    struct inspection *in;
    struct npz *z;
    int next_query;
};

/* The keys of largest weight; the lower key first on ties. */
static void keep_top_keys(struct detail_query *query, const float *weights, int64_t keys)
{
    for (int64_t j = 0; j < keys; j++) {
        double weight = (double)weights[j];
        int place = query->keys;
        while (place > 0 && query->weight[place - 1] < weight)
            place--;
        if (place == DETAIL_KEYS || !(weight > 0.0))
            continue;
        if (query->keys < DETAIL_KEYS)
            query->keys++;
        for (int i = query->keys - 1; i > place; i--) {
            query->key[i] = query->key[i - 1];
            query->weight[i] = query->weight[i - 1];
        }
        query->key[place] = j;
        query->weight[place] = weight;
    }
}

static bool keep_rows(void *context, int64_t row, int64_t count, const float *weights,
                      struct failure *f)
{
    struct keeping *k = context;
    struct head_detail *d = &k->in->detail;
    int64_t keys = k->in->tokens;
    for (int64_t r = 0; r < count; r++) {
        const float *w = weights + r * keys;
        for (int64_t j = 0; j < keys; j++)
            d->distance_mass[llabs(row + r - j)] += (double)w[j];
        if (k->next_query < d->queries && d->query[k->next_query].query == row + r)
            keep_top_keys(&d->query[k->next_query++], w, keys);
    }
    return !k->z || npz_add_rows(k->z, weights, count, keys, f);
}

/* Evenly spaced over the rows, the last one included; all of them where there are few. */
static void choose_queries(struct head_detail *d)
{
    int64_t rows = d->row_end - d->row_begin;
    d->queries = (int)(rows < DETAIL_QUERIES ? rows : DETAIL_QUERIES);
    for (int64_t i = 0; i < d->queries; i++)
        d->query[i] =
            (struct detail_query){.query = d->row_begin + (i + 1) * rows / d->queries - 1};
}

bool detail_measure(struct inspection *in, const struct model_attention *attention,
                    const float *column_mass, const int32_t *column_viewers, struct npz *z,
                    const volatile sig_atomic_t *stop, struct failure *f)
{
    struct head_detail *d = &in->detail;
    size_t n = (size_t)in->tokens;
    d->column_mass = malloc(n * sizeof *d->column_mass);
    d->column_viewers = malloc(n * sizeof *d->column_viewers);
    d->distance_mass = calloc(n, sizeof *d->distance_mass);
    if (!d->column_mass || !d->column_viewers || !d->distance_mass)
        return fail(f, "out of memory for the closer look at one head");
    memcpy(d->column_mass, column_mass, n * sizeof *column_mass);
    memcpy(d->column_viewers, column_viewers, n * sizeof *column_viewers);
    choose_queries(d);
    struct keeping keeping = {in, z, 0};
    if (!head_weights(attention, d->head, d->row_begin, d->row_end, keep_rows, &keeping, stop, f))
        return false;
    for (size_t i = 0; i < n; i++)
        d->distance_mass[i] /= (double)(d->row_end - d->row_begin);
    d->present = true;
    return true;
}
