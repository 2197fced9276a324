/* The attention branch of a layer: project, normalise and rotate by chunks of rows; attend over all
 * rows at once through libattn, under the observer's eyes; project back by chunks. */
#include "run.h"

#include <stdlib.h>

struct head_rows {
    const struct run *run;
    const struct layer *layer;
    int64_t first; /* row of the text that row 0 is */
};

static void norm_heads(const struct run *run, const struct norm *norm, float *x, int64_t heads)
{
    const struct settings *s = &run->model->settings;
    for (int64_t h = 0; norm->weight != NULL && h < heads; h++, x += s->key_size)
        norm_row(run->model->architecture->norm, norm, s->epsilon, x, x, s->key_size);
}

/* The norms of the heads of q and k, and the rotary embedding. */
static void head_row(void *argument, int64_t r)
{
    const struct head_rows *h = argument;
    const struct run *run = h->run;
    const struct settings *s = &run->model->settings;
    int64_t row = h->first + r;
    float *q = run->q + row * s->heads * s->key_size;
    float *k = run->k + row * s->kv_heads * s->key_size;
    norm_heads(run, &h->layer->part[PART_QUERY_NORM].norm, q, s->heads);
    norm_heads(run, &h->layer->part[PART_KEY_NORM].norm, k, s->kv_heads);
    const struct rotary_table *table = &run->rotary[h->layer->local];
    if (table->cosine == NULL)
        return;
    int64_t position = row % run->length;
    const float *cosine = table->cosine + position * (s->rotary_size / 2);
    const float *sine = table->sine + position * (s->rotary_size / 2);
    enum rotary_kind kind = s->rotary;
    rotate_row(kind, q, s->heads, s->key_size, s->rotary_size, cosine, sine);
    rotate_row(kind, k, s->kv_heads, s->key_size, s->rotary_size, cosine, sine);
}

static bool project_chunk(struct run *run, int64_t l, int64_t first, int64_t rows,
                          struct failure *f)
{
    const struct settings *s = &run->model->settings;
    const struct layer *layer = &run->model->layer[l];
    int64_t q_width = s->heads * s->key_size, k_width = s->kv_heads * s->key_size;
    int64_t v_width = s->kv_heads * s->value_size;
    const struct product products[3] = {
        {&layer->part[PART_QUERY].matrix, run->q + first * q_width, q_width},
        {&layer->part[PART_KEY].matrix, run->k + first * k_width, k_width},
        {&layer->part[PART_VALUE].matrix, run->v + first * v_width, v_width}};
    struct head_rows heads = {run, layer, first};
    const float *input = branch_input(run, &layer->part[PART_ATTENTION_NORM].norm, first, rows, f);
    return input != NULL && linear_run(run->linear, input, rows, s->width, products, 3, f) &&
           run_rows(run, rows, head_row, &heads, f);
}

attn_problem layer_problem(const struct run *run, int64_t l, int64_t batch, int64_t queries,
                           int64_t keys)
{
    const struct settings *s = &run->model->settings;
    attn_problem problem =
        attn_problem_init(batch, s->heads, s->kv_heads, queries, keys, s->key_size);
    problem.head_size_v = s->value_size;
    problem.q = attn_layout_bshd(ATTN_F32, s->heads, queries, s->key_size);
    problem.k = attn_layout_bshd(ATTN_F32, s->kv_heads, keys, s->key_size);
    problem.v = attn_layout_bshd(ATTN_F32, s->kv_heads, keys, s->value_size);
    problem.o = attn_layout_bshd(ATTN_F32, s->heads, queries, s->value_size);
    problem.scale = (float)s->scale;
    problem.softcap = (float)s->score_softcap;
    problem.causal = s->causal;
    if (run->model->layer[l].local) {
        problem.window.left = s->window - 1;
        problem.window.right = s->causal ? 0 : s->window - 1;
    }
    return problem;
}

static bool fail_attention(struct failure *f, int64_t l, const attn_error *error)
{
    return fail(f, "attention of layer %lld: %s", (long long)l, error->message);
}

static bool reserve_workspace(struct run *run, size_t size, struct failure *f)
{
    if (size <= run->workspace_size)
        return true;
    free(run->workspace);
    run->workspace_size = 0;
    run->workspace = malloc(size);
    if (run->workspace == NULL)
        return fail(f, "out of memory for %zu bytes of workspace of attention", size);
    run->workspace_size = size;
    return true;
}

static bool attend(struct run *run, int64_t l, const attn_problem *problem, const attn_args *args,
                   struct failure *f)
{
    attn_plan *plan;
    attn_error error;
    if (attn_plan_create(&plan, problem, &error) != ATTN_OK)
        return fail_attention(f, l, &error);
    bool ok = reserve_workspace(run, attn_plan_workspace(plan, worker_count(run->executor)), f);
    if (ok &&
        attn_run(plan, args, run->workspace, run->workspace_size, run->executor, &error) != ATTN_OK)
        ok = fail_attention(f, l, &error);
    attn_plan_destroy(plan);
    return ok;
}

/* after_attention, with the heads' contributions if they were asked for. */
static bool show_attention(struct run *run, int64_t l, const attn_problem *problem,
                           const attn_args *args, bool contribution, struct failure *f)
{
    const struct model_observer *observer = run->request->observer;
    double *lengths = NULL;
    bool ok = true;
    if (contribution) {
        lengths = calloc((size_t)run->model->settings.heads, sizeof *lengths);
        ok = lengths != NULL ? head_contributions(run, l, lengths, f) : fail(f, "out of memory");
    }
    const struct model_attention attention = {l, problem, args, run->executor, lengths};
    ok = ok && observer->after_attention(observer->context, &attention, f);
    free(lengths);
    return ok;
}

bool project_rows(struct run *run, int64_t l, struct failure *f)
{
    for (int64_t first = 0; first < run->count; first += run->chunk) {
        int64_t left = run->count - first, rows = left < run->chunk ? left : run->chunk;
        if (!project_chunk(run, l, first, rows, f) || !run_advance(run, l, 0, f))
            return false;
    }
    return true;
}

bool run_attention(struct run *run, int64_t l, struct failure *f)
{
    if (!project_rows(run, l, f))
        return false;
    const struct model_observer *observer = run->request->observer;
    attn_problem problem = layer_problem(run, l, run->request->sequences, run->length, run->length);
    bool contribution = false;
    if (observer != NULL && observer->before_attention != NULL &&
        !observer->before_attention(observer->context, l, &problem, &contribution, f))
        return false;
    attn_args args = attn_args_init(&problem);
    args.q = run->q, args.k = run->k, args.v = run->v;
    args.o = run->o, args.lse = run->lse;
    if (observer != NULL && observer->attention_arguments != NULL &&
        !observer->attention_arguments(observer->context, l, &args, f))
        return false;
    if (!attend(run, l, &problem, &args, f))
        return false;
    if (observer != NULL && observer->after_attention != NULL &&
        !show_attention(run, l, &problem, &args, contribution, f))
        return false;
    return run_advance(run, l, layer_attention_work(run, l), f);
}

bool add_attention(struct run *run, int64_t l, struct failure *f)
{
    const struct settings *s = &run->model->settings;
    const struct weight *part = run->model->layer[l].part;
    int64_t o_width = s->heads * s->value_size;
    const struct product out = {&part[PART_ATTENTION_OUTPUT].matrix, run->added, s->width};
    for (int64_t first = 0; first < run->count; first += run->chunk) {
        int64_t left = run->count - first, rows = left < run->chunk ? left : run->chunk;
        if (!linear_run(run->linear, run->o + first * o_width, rows, o_width, &out, 1, f) ||
            !add_branch(run, &part[PART_ATTENTION_BRANCH_NORM].norm,
                        &part[PART_ATTENTION_SUM_NORM].norm, first, rows, f) ||
            !run_advance(run, l, (double)rows * layer_projection_work(run), f))
            return false;
    }
    return true;
}
