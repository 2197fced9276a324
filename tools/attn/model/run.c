/* The way of a text through a model: embedding, layers, and what is wanted at the end. */
#include "run.h"

#include <attn/rotary.h>
#include <stdlib.h>
#include <string.h>

struct model_request model_request_init(void)
{
    struct model_request request;
    memset(&request, 0, sizeof request);
    request.sequences = 1;
    return request;
}

bool allocate_floats(float **out, int64_t a, int64_t b, struct failure *f)
{
    int64_t values, bytes;
    *out = NULL;
    if (!__builtin_mul_overflow(a, b, &values) &&
        !__builtin_mul_overflow(values, (int64_t)sizeof(float), &bytes))
        *out = malloc((size_t)bytes + (bytes == 0));
    return *out != NULL || fail(f, "out of memory for %lld x %lld values of activations",
                                (long long)a, (long long)b);
}

/* ---- rows in parallel ---- */

enum { ROWS_PER_TASK = 16 };

struct row_loop {
    int64_t rows;
    void (*row)(void *argument, int64_t r);
    void *argument;
};

static void row_task(void *argument, int64_t index, int worker)
{
    (void)worker;
    const struct row_loop *loop = argument;
    int64_t end = (index + 1) * ROWS_PER_TASK;
    for (int64_t r = index * ROWS_PER_TASK; r < end && r < loop->rows; r++)
        loop->row(loop->argument, r);
}

bool run_rows(const struct run *run, int64_t rows, void (*row)(void *argument, int64_t r),
              void *argument, struct failure *f)
{
    struct row_loop loop = {rows, row, argument};
    return run_tasks(run->executor, (rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK, row_task, &loop, f);
}

/* ---- how far ---- */

double layer_projection_work(const struct run *run)
{
    const struct settings *s = &run->model->settings;
    return (double)s->width * ((double)(s->heads + s->kv_heads) * (double)s->key_size +
                               (double)(s->heads + s->kv_heads) * (double)s->value_size);
}

double layer_attention_work(const struct run *run, int64_t layer)
{
    const struct settings *s = &run->model->settings;
    double n = (double)run->count, length = (double)run->length;
    double seen = s->causal ? length / 2 : length;
    if (run->model->layer[layer].local && (double)s->window < seen)
        seen = (double)s->window;
    return n * seen * (double)s->heads * (double)(s->key_size + s->value_size);
}

double layer_feed_work(const struct run *run)
{
    const struct settings *s = &run->model->settings;
    bool gated = run->model->layer[0].part[PART_GATE].matrix.tensor != NULL;
    return (gated ? 3.0 : 2.0) * (double)s->width * (double)s->feed_forward;
}

bool run_advance(struct run *run, int64_t layer, double work, struct failure *f)
{
    const struct model_request *request = run->request;
    run->work_done += work;
    if (request->stop != NULL && *request->stop != 0)
        return fail(f, "interrupted");
    double done = run->work_total > 0 ? run->work_done / run->work_total : 1;
    if (request->progress != NULL)
        request->progress(request->progress_context, layer, run->model->settings.layers,
                          done < 1 ? done : 1);
    return true;
}

static bool wants_scores(const struct model_request *request)
{
    return request->nll != NULL || request->argmax != NULL || request->gap != NULL;
}

static bool wants_output(const struct model_request *request)
{
    return wants_scores(request) || request->hidden != NULL || request->embedding != NULL;
}

static double total_work(const struct run *run)
{
    const struct model *model = run->model;
    double rows = (double)run->count, work = 0;
    for (int64_t l = 0; l < model->settings.layers; l++)
        work += layer_attention_work(run, l) +
                rows * (layer_projection_work(run) + layer_feed_work(run));
    if (wants_scores(run->request))
        work += rows * (double)model->settings.width * (double)model->description.vocabulary;
    return work;
}

/* ---- the two ends of a branch ---- */

struct branch {
    const struct model *model;
    const struct norm *branch_norm, *sum_norm;
    float *x, *added, *normed;
};

static void norm_input_row(void *argument, int64_t r)
{
    const struct branch *b = argument;
    const struct settings *s = &b->model->settings;
    norm_row(b->model->architecture->norm, b->branch_norm, s->epsilon, b->x + r * s->width,
             b->normed + r * s->width, s->width);
}

const float *branch_input(struct run *run, const struct norm *norm, int64_t first, int64_t rows,
                          struct failure *f)
{
    float *x = run->x + first * run->model->settings.width;
    if (norm->weight == NULL)
        return x;
    struct branch branch = {run->model, norm, NULL, x, NULL, run->normed};
    return run_rows(run, rows, norm_input_row, &branch, f) ? run->normed : NULL;
}

static void add_branch_row(void *argument, int64_t r)
{
    const struct branch *b = argument;
    const struct settings *s = &b->model->settings;
    enum norm_kind kind = b->model->architecture->norm;
    float *x = b->x + r * s->width, *added = b->added + r * s->width;
    if (b->branch_norm->weight != NULL)
        norm_row(kind, b->branch_norm, s->epsilon, added, added, s->width);
    add_row(x, added, s->width);
    if (b->sum_norm->weight != NULL)
        norm_row(kind, b->sum_norm, s->epsilon, x, x, s->width);
}

bool add_branch(struct run *run, const struct norm *branch_norm, const struct norm *sum_norm,
                int64_t first, int64_t rows, struct failure *f)
{
    float *x = run->x + first * run->model->settings.width;
    struct branch branch = {run->model, branch_norm, sum_norm, x, run->added, NULL};
    return run_rows(run, rows, add_branch_row, &branch, f);
}

/* ---- the whole ---- */

static bool check_request(const struct model *model, const int32_t *tokens, int64_t count,
                          const struct model_request *request, struct failure *f)
{
    const struct model_description *d = &model->description;
    if (count < 1)
        return fail(f, "the text has no tokens; a run needs at least 1");
    if (request->sequences < 1 || count % request->sequences != 0)
        return fail(f, "%lld tokens are not %lld sequences of one length", (long long)count,
                    (long long)request->sequences);
    if (request->sequences > 1 && wants_output(request))
        return fail(f, "%lld sequences at once have no output; it may be one",
                    (long long)request->sequences);
    if (count / request->sequences > d->context_length)
        return fail(f, "the text has %lld tokens, but the model's context holds %lld",
                    (long long)(count / request->sequences), (long long)d->context_length);
    for (int64_t i = 0; i < count; i++)
        if (tokens[i] < 0 || tokens[i] >= d->vocabulary)
            return fail(f, "token %lld is %d, but the vocabulary has ids 0 to %lld", (long long)i,
                        tokens[i], (long long)d->vocabulary - 1);
    if (wants_scores(request) && !d->predicts_tokens)
        return fail(f, "a %s model predicts no tokens", d->architecture);
    if (request->embedding != NULL && d->pooling == MODEL_POOLING_NONE)
        return fail(f, "this %s model has no pooling, so it gives no embedding", d->architecture);
    if (request->executor != NULL && request->executor->threads < 1)
        return fail(f, "the executor has %d threads; it must have at least 1",
                    request->executor->threads);
    return true;
}

/* About 32 MB in the two widest buffers, but always enough rows that unpacking weights is little
 * beside multiplying with them. */
static int64_t choose_chunk(const struct settings *s, int64_t count)
{
    int64_t widest = s->feed_forward > s->width ? s->feed_forward : s->width;
    int64_t rows = (32 << 20) / (2 * (int64_t)sizeof(float) * widest);
    rows = rows < 256 ? 256 : rows > 2048 ? 2048 : rows / 256 * 256;
    return rows < count ? rows : count;
}

struct angles {
    const struct rotary_table *table;
    int64_t half, position;
};

static void angles_row(void *argument, int64_t r)
{
    const struct angles *a = argument;
    rotary_angles(a->table->frequency, a->half, a->position + r, a->table->cosine + r * a->half,
                  a->table->sine + r * a->half);
}

bool turn_rotary(struct run *run, struct failure *f)
{
    for (int local = 0; local < 2; local++) {
        struct angles angles = {&run->rotary[local], run->model->settings.rotary_size / 2,
                                run->position};
        if (run->rotary[local].frequency != NULL &&
            !run_rows(run, run->length, angles_row, &angles, f))
            return false;
    }
    return true;
}

/* Radians a position in layers without a window, or with one. */
static bool fill_frequencies(const struct model *model, int local, double *frequency,
                             struct failure *f)
{
    const struct settings *s = &model->settings;
    double base = local ? s->rotary_base_local : s->rotary_base;
    const float *divisor = model->part[PART_ROTARY_DIVISORS].norm.weight;
    if (s->bands.factor > 0) {
        attn_error error;
        attn_rotary rotary = attn_rotary_init(s->rotary_size);
        rotary.scaling = ATTN_ROTARY_LLAMA3;
        rotary.base = base;
        rotary.factor = s->bands.factor;
        rotary.low_frequency_factor = s->bands.low;
        rotary.high_frequency_factor = s->bands.high;
        rotary.original_length = (int64_t)s->bands.original;
        return attn_rotary_frequencies(&rotary, frequency, NULL, &error) == ATTN_OK ||
               fail(f, "the rotary embedding: %s", error.message);
    }
    rotary_frequencies(base, local ? s->rotary_factor_local : s->rotary_factor, s->rotary_size,
                       frequency);
    for (int64_t i = 0; divisor != NULL && i < s->rotary_size / 2; i++)
        frequency[i] /= (double)divisor[i];
    return true;
}

static bool allocate_rotary(struct run *run, struct failure *f)
{
    const struct settings *s = &run->model->settings;
    if (run->model->architecture->rotary == ROTARY_NONE)
        return true;
    bool used[2] = {false, false};
    for (int64_t l = 0; l < s->layers; l++)
        used[run->model->layer[l].local] = true;
    for (int local = 0; local < 2; local++) {
        if (!used[local])
            continue;
        struct rotary_table *table = &run->rotary[local];
        table->frequency = malloc((size_t)s->rotary_size * sizeof *table->frequency);
        if (table->frequency == NULL)
            return fail(f, "out of memory");
        if (!fill_frequencies(run->model, local, table->frequency, f))
            return false;
        if (!allocate_floats(&table->cosine, run->length, s->rotary_size / 2, f) ||
            !allocate_floats(&table->sine, run->length, s->rotary_size / 2, f))
            return false;
    }
    return true;
}

bool allocate_run(struct run *run, struct failure *f)
{
    const struct settings *s = &run->model->settings;
    int64_t n = run->count;
    run->chunk = choose_chunk(s, n);
    run->linear = linear_create(run->executor);
    if (run->linear == NULL)
        return fail(f, "out of memory");
    return allocate_floats(&run->x, n, s->width, f) &&
           allocate_floats(&run->q, n, s->heads * s->key_size, f) &&
           allocate_floats(&run->k, n, s->kv_heads * s->key_size, f) &&
           allocate_floats(&run->v, n, s->kv_heads * s->value_size, f) &&
           allocate_floats(&run->o, n, s->heads * s->value_size, f) &&
           allocate_floats(&run->lse, n, s->heads, f) &&
           allocate_floats(&run->normed, run->chunk, s->width, f) &&
           allocate_floats(&run->added, run->chunk, s->width, f) &&
           allocate_floats(&run->gate, run->chunk, s->feed_forward, f) &&
           allocate_floats(&run->up, run->chunk, s->feed_forward, f) && allocate_rotary(run, f);
}

void free_run(struct run *run)
{
    for (int i = 0; i < 2; i++) {
        free(run->rotary[i].frequency);
        free(run->rotary[i].cosine);
        free(run->rotary[i].sine);
    }
    float *const buffers[] = {run->x,   run->q,      run->k,     run->v,    run->o,
                              run->lse, run->normed, run->added, run->gate, run->up};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        free(buffers[i]);
    free(run->workspace);
    linear_free(run->linear);
}

static bool run_layers(struct run *run, struct failure *f)
{
    int64_t layers = run->model->settings.layers;
    for (int64_t l = 0; l < layers; l++) {
        if (!run_attention(run, l, f))
            return false;
        if (l == layers - 1 && !wants_output(run->request))
            return true; /* nobody will look at what the last layer adds */
        if (!add_attention(run, l, f) || !run_feed_forward(run, l, f))
            return false;
    }
    return finish_run(run, f);
}

bool model_run(const struct model *model, const int32_t *tokens, int64_t count,
               const struct model_request *request, struct failure *f)
{
    if (!check_request(model, tokens, count, request, f))
        return false;
    struct run run = {.model = model,
                      .request = request,
                      .executor = request->executor,
                      .tokens = tokens,
                      .count = count,
                      .length = count / request->sequences,
                      .follows = -1};
    run.work_total = total_work(&run);
    bool ok = allocate_run(&run, f) && turn_rotary(&run, f) && run_advance(&run, 0, 0, f) &&
              embed_tokens(&run, f) && run_layers(&run, f);
    free_run(&run);
    return ok;
}
