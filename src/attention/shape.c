/* Finding what applies to a head, and applying it to single pairs; block.c applies it to blocks. */
#include "attention/shape.h"

#include <math.h>

#include "base/half.h"
#include "plan/lengths.h"

static struct attn_content content_of(const struct attn_run_state *run,
                                      const struct attn_place *place)
{
    const struct attn_plan *plan = run->plan;
    const bool constant = plan->constant_given, ragged = attn_is_ragged(plan->problem.lengths);
    /* what is promised constant is laid out by the plan's own lengths */
    const int64_t queries = constant ? plan->problem.queries : run->args->queries;
    const int64_t keys = constant ? plan->problem.keys : run->args->keys;
    return attn_plan_content(plan, run->scores, place->batch, place->head, queries,
                             ragged ? place->query_origin : place->batch * queries,
                             ragged && !plan->cached ? place->key_origin : place->batch * keys);
}

struct attn_shape attn_run_shape(const struct attn_run_state *run, const struct attn_place *place)
{
    const struct attn_plan *plan = run->plan;
    struct attn_shape shape = {.mask = attn_run_mask(run, place)};
    if (!plan->shaped)
        return shape;
    if (place->queries > 0 && place->keys > 0) /* else the arrays may be NULL, and are not read */
        shape.content = content_of(run, place);
    if (plan->scores.alibi)
        /* a slope beyond what counts adds no more to the nearest key */
        shape.slope = (float)(-1.4426950408889634 *
                              (double)attn_score_within(run->scores->alibi_slopes[place->head]));
    if (plan->tiles)
        shape.tiles = attn_tiles_map(plan->tiles, place->batch, place->head);
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
        score += (double)attn_score_within(
            attn_element_value(shape->content.bias, shape->content.bias_dtype,
                               query * shape->content.bias_stride + key));
    int64_t distance = query + shape->mask.offset - attn_mask_position(&shape->mask, key);
    score += 0.6931471805599453 * (double)attn_distance_added(shape->slope, fabsf((float)distance));
    if (plan->scores.function) {
        float one = (float)score;
        plan->scores.function(plan->scores.function_context, place->batch, place->head, query, 1,
                              key, 1, &one, 1);
        score = isinf(one) ? (double)one : (double)attn_score_within(one);
    }
    return score;
}
