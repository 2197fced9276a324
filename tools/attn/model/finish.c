/* What is made of the final stream: hidden states, an embedding of the text, and the prediction
 * after each token.
 *
 * Scores over a vocabulary of hundreds of thousands are never held whole: they come a tile of the
 * vocabulary at a time, and each row keeps its maximum, its sum of exponentials, and its two best. */
#include "run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TILE_TOKENS = 2048, SCORE_ROWS = 1024 };

/* What a row has seen of the vocabulary so far. */
struct score {
    float max, second; /* of the logits */
    int32_t best;
    double sum;   /* of exp(logit - max) */
    float target; /* logit of the token that follows */
};

struct tile {
    const struct run *run;
    struct score *score; /* [rows] */
    float *logits;       /* [rows, TILE_TOKENS] */
    int64_t first_row, first_token, tokens;
};

static void score_row(void *argument, int64_t r)
{
    const struct tile *t = argument;
    struct score *score = &t->score[r];
    float *logits = t->logits + r * TILE_TOKENS;
    float cap = (float)t->run->model->settings.logit_softcap;
    for (int64_t i = 0; cap > 0 && i < t->tokens; i++)
        logits[i] = cap * tanhf(logits[i] / cap);
    float max_before = score->max;
    for (int64_t i = 0; i < t->tokens; i++) {
        if (logits[i] > score->second) {
            if (logits[i] > score->max) {
                score->second = score->max;
                score->max = logits[i];
                score->best = (int32_t)(t->first_token + i);
            } else {
                score->second = logits[i];
            }
        }
    }
    if (score->sum > 0)
        score->sum *= exp((double)max_before - (double)score->max);
    score->sum += sum_of_exponentials(logits, score->max, t->tokens);
    int64_t row = t->first_row + r;
    int64_t next = row + 1 < t->run->count ? t->run->tokens[row + 1] : t->run->follows;
    int64_t target = next >= 0 ? next - t->first_token : -1;
    if (target >= 0 && target < t->tokens)
        score->target = logits[target];
}

static void store_scores(const struct run *run, const struct score *score, int64_t first,
                         int64_t rows)
{
    const struct model_request *request = run->request;
    for (int64_t r = 0; r < rows; r++) {
        const struct score *s = &score[r];
        double nll = (double)s->max - (double)s->target + log(s->sum);
        if (request->nll != NULL)
            request->nll[first + r] =
                first + r + 1 < run->count || run->follows >= 0 ? (float)nll : NAN;
        if (request->argmax != NULL)
            request->argmax[first + r] = s->best;
        if (request->gap != NULL)
            request->gap[first + r] = s->max - s->second;
    }
}

/* The predictions of some rows, whose final hidden states are `hidden`. */
static bool score_rows(struct run *run, const float *hidden, int64_t first, int64_t rows,
                       struct failure *f)
{
    const struct matrix *output = &run->model->part[PART_OUTPUT].matrix;
    struct score *score = malloc((size_t)rows * sizeof *score);
    struct tile tile = {.run = run, .score = score, .first_row = first};
    bool ok = score != NULL || fail(f, "out of memory");
    ok = ok && allocate_floats(&tile.logits, rows, TILE_TOKENS, f);
    for (int64_t r = 0; ok && r < rows; r++)
        score[r] = (struct score){-INFINITY, -INFINITY, 0, 0, NAN};
    while (ok && tile.first_token < output->outputs) {
        int64_t left = output->outputs - tile.first_token;
        tile.tokens = left < TILE_TOKENS ? left : TILE_TOKENS;
        ok = linear_run_part(run->linear, hidden, rows, output, tile.first_token, tile.tokens,
                             tile.logits, TILE_TOKENS, f) &&
             run_rows(run, rows, score_row, &tile, f) &&
             run_advance(run, run->model->settings.layers,
                         (double)rows * (double)tile.tokens * (double)output->inputs, f);
        tile.first_token += tile.tokens;
    }
    if (ok)
        store_scores(run, score, first, rows);
    free(score);
    free(tile.logits);
    return ok;
}

/* sum [width] becomes the embedding: of length 1, whatever the pooling. */
static void store_embedding(const double *sum, int64_t width, float *out)
{
    double square = 0;
    for (int64_t i = 0; i < width; i++)
        square += sum[i] * sum[i];
    double factor = square > 0 ? 1 / sqrt(square) : 0;
    for (int64_t i = 0; i < width; i++)
        out[i] = (float)(sum[i] * factor);
}

static void pool_rows(double *sum, enum model_pooling pooling, const float *hidden, int64_t first,
                      int64_t rows, int64_t width)
{
    if (pooling == MODEL_POOLING_CLS)
        rows = first == 0 ? 1 : 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < width; i++)
            sum[i] += (double)hidden[r * width + i];
}

static bool finish_rows(struct run *run, double *pooled, int64_t first, int64_t rows,
                        struct failure *f)
{
    const struct model_request *request = run->request;
    int64_t width = run->model->settings.width;
    const float *hidden =
        branch_input(run, &run->model->part[PART_FINAL_NORM].norm, first, rows, f);
    if (hidden == NULL)
        return false;
    if (request->hidden != NULL)
        memcpy(request->hidden + first * width, hidden, (size_t)(rows * width) * sizeof *hidden);
    if (request->embedding != NULL)
        pool_rows(pooled, run->model->description.pooling, hidden, first, rows, width);
    if (request->nll == NULL && request->argmax == NULL && request->gap == NULL)
        return run_advance(run, run->model->settings.layers, 0, f);
    return score_rows(run, hidden, first, rows, f);
}

bool finish_run(struct run *run, struct failure *f)
{
    int64_t width = run->model->settings.width;
    int64_t step = run->chunk < SCORE_ROWS ? run->chunk : SCORE_ROWS;
    double *pooled = calloc((size_t)width, sizeof *pooled);
    bool ok = pooled != NULL || fail(f, "out of memory");
    for (int64_t first = 0; ok && first < run->count; first += step) {
        int64_t left = run->count - first;
        ok = finish_rows(run, pooled, first, left < step ? left : step, f);
    }
    if (ok && run->request->embedding != NULL)
        store_embedding(pooled, width, run->request->embedding);
    free(pooled);
    return ok;
}
