/* The start of the stream: token embeddings, scaled, with positions and token types where the
 * architecture has them. */
#include "run.h"

#include <math.h>
#include <stdlib.h>

struct embedding {
    const struct run *run;
    const float *token_type; /* [width], or NULL */
    float scale;
    float *position; /* [count, width], or NULL: the positions of the rows, unpacked */
};

static void embed_row(void *argument, int64_t r)
{
    const struct embedding *e = argument;
    const struct model *model = e->run->model;
    int64_t width = model->settings.width;
    float *x = e->run->x + r * width;
    matrix_unpack(&model->part[PART_EMBEDDING].matrix, e->run->tokens[r], 1, x);
    if (model->architecture->scaled_embedding)
        for (int64_t i = 0; i < width; i++)
            x[i] *= e->scale;
    if (e->token_type != NULL)
        add_row(x, e->token_type, width);
    if (e->position != NULL) {
        matrix_unpack(&model->part[PART_POSITIONS].matrix, e->run->position + r % e->run->length, 1,
                      e->position + r * width);
        add_row(x, e->position + r * width, width);
    }
    const struct norm *norm = &model->part[PART_EMBEDDING_NORM].norm;
    if (norm->weight != NULL)
        norm_row(model->architecture->norm, norm, model->settings.epsilon, x, x, width);
}

bool embed_tokens(struct run *run, struct failure *f)
{
    const struct model *model = run->model;
    int64_t width = model->settings.width;
    const struct matrix *types = &model->part[PART_TOKEN_TYPES].matrix;
    float *token_type = NULL;
    struct embedding embedding = {.run = run, .scale = (float)sqrt((double)width)};
    bool ok = true;
    if (types->tensor != NULL && (ok = allocate_floats(&token_type, 1, width, f)))
        matrix_unpack(types, 0, 1, token_type);
    if (model->part[PART_POSITIONS].matrix.tensor != NULL)
        ok = ok && allocate_floats(&embedding.position, run->count, width, f);
    embedding.token_type = token_type;
    ok = ok && run_rows(run, run->count, embed_row, &embedding, f);
    free(token_type);
    free(embedding.position);
    return ok;
}
