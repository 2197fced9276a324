/* One run of a model over a text, or over the next tokens of a session (session.h): for the files of
 * this folder.
 *
 * The stream x and the q, k, v, o of the layer at work hold all tokens; everything else holds a
 * chunk of rows. */
#ifndef ATTN_TOOLS_MODEL_RUN_H
#define ATTN_TOOLS_MODEL_RUN_H

#include "loaded.h"

struct rotary_table {
    double *frequency;    /* [rotary_size / 2]: radians per position */
    float *cosine, *sine; /* [length, rotary_size / 2]; NULL where nothing rotates */
};

struct run {
    const struct model *model;
    const struct model_request *request;
    const attn_executor *executor;
    const int32_t *tokens;
    int64_t count;  /* tokens of all sequences */
    int64_t length; /* tokens of one sequence: positions begin anew */
    int64_t
        position; /* of the first token of a sequence: 0, but in a session what it holds already */
    int32_t follows; /* the token behind the last, whose nll is wanted; -1 = unknown */
    int64_t chunk;   /* rows at once */

    float *x;                      /* [count, width] */
    float *q, *k, *v, *o;          /* [count, heads, size] */
    float *lse;                    /* [heads, count] */
    struct rotary_table rotary[2]; /* of layers without and with a window */

    float *normed;    /* [chunk, width]: input of a branch */
    float *added;     /* [chunk, width]: output of a branch */
    float *gate, *up; /* [chunk, feed_forward] */

    struct linear *linear;
    void *workspace; /* of attention */
    size_t workspace_size;

    double work_done, work_total; /* multiply-adds, about */
};

/* Room for run->count tokens, and all else a run needs but the workspace of attention. free_run takes
 * whatever there is. */
bool allocate_run(struct run *run, struct failure *f);
void free_run(struct run *run);

/* Angles of the positions of this run's tokens. */
bool turn_rotary(struct run *run, struct failure *f);

/* malloc for a * b floats; fails when that overflows or there is no memory. */
bool allocate_floats(float **out, int64_t a, int64_t b, struct failure *f);

/* Work on each row of a chunk, in parallel: row(argument, r) for r < rows. */
bool run_rows(const struct run *run, int64_t rows, void (*row)(void *argument, int64_t r),
              void *argument, struct failure *f);

/* Count `work` multiply-adds as done, tell how far the run is, and fail if it was told to stop. */
bool run_advance(struct run *run, int64_t layer, double work, struct failure *f);
double layer_projection_work(const struct run *run);
double layer_attention_work(const struct run *run, int64_t layer);
double layer_feed_work(const struct run *run);

/* The input of a branch for rows [first, first + rows): x under `norm`, or x itself where there is
 * no such norm. NULL after a failure. */
const float *branch_input(struct run *run, const struct norm *norm, int64_t first, int64_t rows,
                          struct failure *f);

/* x += norm(added) and then x = norm(x) for rows [first, first + rows). */
bool add_branch(struct run *run, const struct norm *branch_norm, const struct norm *sum_norm,
                int64_t first, int64_t rows, struct failure *f);

/* x = the embedding of the tokens. */
bool embed_tokens(struct run *run, struct failure *f);

/* q, k and v of layer l for all rows, with the norms of their heads and the rotary embedding. */
bool project_rows(struct run *run, int64_t l, struct failure *f);

/* The kind of attention of layer l, for batch sequences of so many queries and keys at most. */
attn_problem layer_problem(const struct run *run, int64_t l, int64_t batch, int64_t queries,
                           int64_t keys);

/* The attention branch of layer l up to o, with the observer's calls; then what it adds to x. */
bool run_attention(struct run *run, int64_t l, struct failure *f);
bool add_attention(struct run *run, int64_t l, struct failure *f);

/* Mean length of what each head adds to x (struct model_attention), into out [heads]. */
bool head_contributions(struct run *run, int64_t l, double *out, struct failure *f);

/* The feed-forward branch of layer l. */
bool run_feed_forward(struct run *run, int64_t l, struct failure *f);

/* What the request wants of the final stream. */
bool finish_run(struct run *run, struct failure *f);

#endif
