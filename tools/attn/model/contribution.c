/* How much each head adds to the stream: the mean over rows of |(o - b) Wo|, where o is the head's
 * output, Wo the columns of the output projection that belong to it, and b the bias of its values
 * (the weights of a row sum to 1, so a bias of the values is a constant of o).
 *
 * |u Wo|^2 = u G u^T with G = Wo Wo^T of one head, head size x head size. G is found once, and costs
 * less than a projection: a row then takes size^2 multiply-adds instead of size * width. */
#include "run.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_ROWS = 256 };

struct contribution {
    const struct run *run;
    const float *value_bias; /* [kv_heads, size], or NULL */
    const float *gram;       /* [heads, size, size] */
    float *scratch;          /* [workers, 2, BLOCK_ROWS, size] */
    double *sum;             /* [heads, blocks]: lengths summed over the rows of a block */
    int64_t blocks;
    atomic_bool failed;
};

struct grams {
    const struct matrix *output;
    int64_t size, width;
    float *weights, *gram;
    atomic_bool failed;
};

static void unpack_output_row(void *argument, int64_t r)
{
    const struct grams *g = argument;
    matrix_unpack(g->output, r, 1, g->weights + r * g->output->inputs);
}

static void gram_task(void *argument, int64_t h, int worker)
{
    (void)worker;
    struct grams *g = argument;
    const float *weights = g->weights + h * g->size;
    if (!multiply(true, false, g->size, g->size, g->width, weights, g->output->inputs, weights,
                  g->output->inputs, g->gram + h * g->size * g->size, g->size))
        atomic_store(&g->failed, true);
}

static bool head_grams(const struct run *run, const struct matrix *output, float *gram,
                       struct failure *f)
{
    const struct settings *s = &run->model->settings;
    struct grams g = {.output = output, .size = s->value_size, .width = s->width, .gram = gram};
    bool ok = allocate_floats(&g.weights, s->width, output->inputs, f) &&
              run_rows(run, s->width, unpack_output_row, &g, f) &&
              run_tasks(run->executor, s->heads, gram_task, &g, f) &&
              (!g.failed || fail(f, "oneDNN could not multiply matrices"));
    free(g.weights);
    return ok;
}

static void contribution_task(void *argument, int64_t index, int worker)
{
    struct contribution *c = argument;
    const struct settings *s = &c->run->model->settings;
    int64_t size = s->value_size, h = index / c->blocks, first = index % c->blocks * BLOCK_ROWS;
    int64_t left = c->run->count - first, rows = left < BLOCK_ROWS ? left : BLOCK_ROWS;
    float *u = c->scratch + (int64_t)worker * 2 * BLOCK_ROWS * size, *ug = u + BLOCK_ROWS * size;
    for (int64_t r = 0; r < rows; r++) {
        memcpy(u + r * size, c->run->o + ((first + r) * s->heads + h) * size,
               (size_t)size * sizeof *u);
        const float *bias =
            c->value_bias != NULL ? c->value_bias + h / (s->heads / s->kv_heads) * size : NULL;
        for (int64_t i = 0; bias != NULL && i < size; i++)
            u[r * size + i] -= bias[i];
    }
    if (!multiply(false, false, rows, size, size, u, size, c->gram + h * size * size, size, ug,
                  size))
        atomic_store(&c->failed, true);
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) {
        double square = dot_row(u + r * size, ug + r * size, size);
        sum += square > 0 ? sqrt(square) : 0;
    }
    c->sum[index] = sum;
}

bool head_contributions(struct run *run, int64_t l, double *out, struct failure *f)
{
    const struct settings *s = &run->model->settings;
    const struct weight *part = run->model->layer[l].part;
    struct contribution c = {.run = run,
                             .value_bias = part[PART_VALUE].matrix.bias,
                             .blocks = (run->count + BLOCK_ROWS - 1) / BLOCK_ROWS};
    float *gram = NULL;
    c.sum = calloc((size_t)(s->heads * c.blocks), sizeof *c.sum);
    bool ok = c.sum != NULL || fail(f, "out of memory");
    ok = ok && allocate_floats(&gram, s->heads * s->value_size, s->value_size, f) &&
         allocate_floats(&c.scratch, 2 * (int64_t)worker_count(run->executor) * BLOCK_ROWS,
                         s->value_size, f) &&
         head_grams(run, &part[PART_ATTENTION_OUTPUT].matrix, gram, f);
    c.gram = gram;
    ok = ok && run_tasks(run->executor, s->heads * c.blocks, contribution_task, &c, f) &&
         (!c.failed || fail(f, "oneDNN could not multiply matrices"));
    for (int64_t h = 0; ok && h < s->heads; h++) {
        double sum = 0;
        for (int64_t b = 0; b < c.blocks; b++)
            sum += c.sum[h * c.blocks + b];
        out[h] = sum / (double)run->count;
    }
    free(c.sum);
    free(c.scratch);
    free(gram);
    return ok;
}
