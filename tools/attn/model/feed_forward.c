/* The feed-forward branch: down(activation(gate a) * (up a)), or down(activation(up a)). */
#include "run.h"

struct activation_rows {
    enum activation activation;
    float *inner;    /* [rows, size]: becomes the input of `down` */
    const float *up; /* [rows, size], or NULL */
    int64_t size;
};

static void activation_row(void *argument, int64_t r)
{
    const struct activation_rows *a = argument;
    activate_row(a->activation, a->inner + r * a->size, a->up != NULL ? a->up + r * a->size : NULL,
                 a->size);
}

static bool feed_chunk(struct run *run, int64_t l, int64_t first, int64_t rows, struct failure *f)
{
    const struct settings *s = &run->model->settings;
    const struct weight *part = run->model->layer[l].part;
    const struct matrix *gate = &part[PART_GATE].matrix, *up = &part[PART_UP].matrix;
    bool gated = gate->tensor != NULL;
    const struct product in[2] = {{up, run->up, s->feed_forward},
                                  {gate, run->gate, s->feed_forward}};
    const struct product out = {&part[PART_DOWN].matrix, run->added, s->width};
    float *inner = gated ? run->gate : run->up;
    struct activation_rows activation = {run->model->architecture->activation, inner,
                                         gated ? run->up : NULL, s->feed_forward};
    const float *input = branch_input(run, &part[PART_FEED_NORM].norm, first, rows, f);
    return input != NULL && linear_run(run->linear, input, rows, s->width, in, gated ? 2 : 1, f) &&
           run_rows(run, rows, activation_row, &activation, f) &&
           linear_run(run->linear, inner, rows, s->feed_forward, &out, 1, f) &&
           add_branch(run, &part[PART_FEED_BRANCH_NORM].norm, &part[PART_FEED_SUM_NORM].norm, first,
                      rows, f);
}

bool run_feed_forward(struct run *run, int64_t l, struct failure *f)
{
    for (int64_t first = 0; first < run->count; first += run->chunk) {
        int64_t left = run->count - first, rows = left < run->chunk ? left : run->chunk;
        if (!feed_chunk(run, l, first, rows, f) ||
            !run_advance(run, l, (double)rows * layer_feed_work(run), f))
            return false;
    }
    return true;
}
