/* Finding what applies to a head, and applying it to single pairs; block.c applies it to blocks. */
#include "attention/shape.h"

#include <math.h>

#include "base/half.h"
#include "plan/lengths.h"

static struct attn_content content_of(const struct attn_run_state *run,
                                      const struct attn_place *place)
{
    const struct attn_plan *plan = run->plan;
    const attn_scores *scores = &plan->scores;
    const attn_scores_args *args = run->args->scores;
    struct attn_content c = {0};
    if (scores->mask != ATTN_MASK_NONE) {
        c.kind = scores->mask;
        c.mask = (const uint8_t *)args->mask + place->batch * scores->mask_stride[0] +
                 place->head * scores->mask_stride[1];
        c.mask_stride = scores->mask_stride[2];
    }
    if (scores->bias) {
        c.bias_dtype = scores->bias;
        int64_t at = place->batch * scores->bias_stride[0] + place->head * scores->bias_stride[1];
        c.bias = (const char *)args->bias + at * attn_dtype_size(scores->bias);
        c.bias_stride = scores->bias_stride[2];
    }
    if (scores->documents) {
        bool ragged = attn_is_ragged(plan->problem.lengths);
        c.query_documents = args->query_documents +
                            (ragged ? place->query_origin : place->batch * run->args->queries);
        c.key_documents =
            args->key_documents + (ragged ? place->key_origin : place->batch * run->args->keys);
    }
    if (scores->block_rows > 0) {
        c.block_rows = scores->block_rows;
        c.block_keys = scores->block_keys;
        int64_t row_blocks = attn_int64_div_up(run->args->queries, scores->block_rows);
        c.block_starts = args->block_starts + place->head * row_blocks;
        c.block_indices = args->block_indices;
    }
    return c;
}

struct attn_shape attn_run_shape(const struct attn_run_state *run, const struct attn_place *place)
{
    struct attn_shape shape = {.mask = attn_run_mask(run, place)};
    if (run->plan->shaped) {
        if (place->queries > 0 &&
            place->keys > 0) /* else the arrays may be NULL, and are not read */
            shape.content = content_of(run, place);
        if (run->plan->scores.alibi)
            shape.slope =
                (float)(-1.4426950408889634 * (double)run->args->scores->alibi_slopes[place->head]);
    }
    return shape;
}

double attn_shape_pair(const struct attn_run_state *run, const struct attn_place *place,
                       const struct attn_shape *shape, int64_t query, int64_t key, double u)
{
    const struct attn_plan *plan = run->plan;
    const double cap = (double)plan->problem.softcap;
    struct attn_row_keys row = attn_mask_row(&shape->mask, query);
    uint8_t visible = attn_row_sees(&row, key) && !attn_mask_excludes(&shape->mask, key);
    attn_content_row(&shape->content, query, key, 1, &visible);
    if (!visible)
        return -INFINITY;
    double score = cap > 0.0 ? cap * tanh(u / cap) : u;
    if (shape->content.bias)
        score += (double)attn_element_value(shape->content.bias, shape->content.bias_dtype,
                                            query * shape->content.bias_stride + key);
    int64_t distance = query + shape->mask.offset - key;
    score += 0.6931471805599453 * (double)shape->slope * fabs((double)distance);
    if (plan->scores.function) {
        float one = (float)score;
        plan->scores.function(plan->scores.function_context, place->batch, place->head, query, 1,
                              key, 1, &one, 1);
        score = (double)one;
    }
    return score;
}
