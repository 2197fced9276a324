/* The statistics of stats.h, one function for each definition, over the visible keys of a row. A row
 * that sees no key falls out as stats.h says: sums are 0, the largest of nothing is -inf. */
#include "row.h"

#include <math.h>

/* p times a function of ln p, 0 where p = 0. ln p is s - lse: it keeps its digits where p underflows. */
static double weighted(const attn_ref_row *row, int64_t key, double value)
{
    return row->weight[key] == 0 ? 0 : row->weight[key] * value;
}

static double log_weight(const attn_ref_row *row, int64_t key)
{
    return row->score[key] - row->max_score - row->log_sum;
}

/* H = -sum p ln p */
static double entropy(const attn_ref_row *row)
{
    double sum = 0;
    for (int64_t j = 0; j < row->keys; j++)
        if (row->visible[j])
            sum -= weighted(row, j, log_weight(row, j));
    return sum;
}

/* sum p (ln p)^2 - H^2 = sum p (ln p + H)^2 */
static double varentropy(const attn_ref_row *row)
{
    double sum = 0;
    for (int64_t j = 0; j < row->keys; j++) {
        if (!row->visible[j])
            continue;
        double from_mean = log_weight(row, j) + row->entropy;
        sum += weighted(row, j, from_mean * from_mean);
    }
    return sum;
}

/* 1 / sum p^2 */
static double participation(const attn_ref_row *row)
{
    double sum = 0;
    for (int64_t j = 0; j < row->keys; j++)
        sum += row->weight[j] * row->weight[j];
    return row->visible_keys > 0 ? 1 / sum : 0;
}

/* The key of the largest score, the lowest on ties. */
static int64_t arg_max(const attn_ref_row *row)
{
    int64_t best = -1;
    for (int64_t j = 0; j < row->keys; j++)
        if (row->visible[j] && (best < 0 || row->score[j] > row->score[best]))
            best = j;
    return best;
}

/* Logits are those before the caller's function, whatever it does with them. */
static double largest_logit(const attn_ref_row *row)
{
    double max = -INFINITY;
    for (int64_t j = 0; j < row->keys; j++)
        if (row->reached[j])
            max = fmax(max, row->logit[j]);
    return max;
}

static double largest_abs_logit(const attn_ref_row *row)
{
    double max = 0;
    for (int64_t j = 0; j < row->keys; j++)
        if (row->reached[j])
            max = fmax(max, fabs(row->logit[j]));
    return max;
}

static double smallest_score(const attn_ref_row *row)
{
    double min = INFINITY;
    for (int64_t j = 0; j < row->keys; j++)
        if (row->visible[j])
            min = fmin(min, row->score[j]);
    return min;
}

/* The weight of keys that stand in [begin, end). */
static double mass_between(const attn_ref_row *row, int64_t begin, int64_t end)
{
    double sum = 0;
    for (int64_t j = 0; j < row->keys; j++)
        if (row->stands[j] >= begin && row->stands[j] < end)
            sum += row->weight[j];
    return sum;
}

/* The weight of the key that stands at `position`; 0 where none does. */
static double mass_at(const attn_ref_row *row, int64_t position)
{
    return mass_between(row, position, position + 1);
}

/* ids[j] is the segment of key j */
static double mass_of_segment(const attn_ref_row *row, const uint8_t *ids, int segment)
{
    double sum = 0;
    for (int64_t j = 0; j < row->keys; j++)
        if (ids[j] == segment)
            sum += row->weight[j];
    return sum;
}

static double distance(const attn_ref_row *row, int64_t key)
{
    return fabs((double)(row->position - row->stands[key]));
}

static double distance_mean(const attn_ref_row *row)
{
    double sum = 0;
    for (int64_t j = 0; j < row->keys; j++)
        sum += row->weight[j] * distance(row, j);
    return sum;
}

static double distance_sd(const attn_ref_row *row)
{
    double sum = 0;
    for (int64_t j = 0; j < row->keys; j++) {
        double from_mean = distance(row, j) - row->distance_mean;
        sum += row->weight[j] * from_mean * from_mean;
    }
    return sqrt(sum);
}

void attn_ref_row_statistics(attn_ref_row *row, const attn_problem *problem, const attn_args *args)
{
    attn_statistics_wanted wanted =
        problem->statistics ? *problem->statistics : attn_statistics_wanted_init(0);
    const uint8_t *ids =
        problem->statistics && args->statistics ? args->statistics->segment_ids : NULL;
    if (ids)
        ids += attn_ref_key_place(problem, args, row->batch, 0);

    row->entropy = entropy(row);
    row->varentropy = varentropy(row);
    row->participation = participation(row);
    row->max_key = arg_max(row);
    row->max_weight = row->max_key < 0 ? 0 : row->weight[row->max_key];
    row->max_logit = largest_logit(row);
    row->max_abs_logit = largest_abs_logit(row);
    row->min_score = smallest_score(row);
    row->mass_self = mass_at(row, row->position);
    row->mass_previous = mass_at(row, row->position - 1);
    row->mass_next = mass_at(row, row->position + 1);
    row->mass_first = mass_between(row, 0, wanted.first_keys);
    row->mass_local = mass_between(row, row->position - wanted.local_distance,
                                   row->position + wanted.local_distance + 1);
    for (int s = 0; s < ATTN_REF_MAX_SEGMENTS; s++)
        row->mass_segments[s] = ids && s < wanted.segments ? mass_of_segment(row, ids, s) : 0;
    row->distance_mean = distance_mean(row);
    row->distance_sd = distance_sd(row);
}

/* By selection: the best key not yet taken, `count` times. */
void attn_ref_row_top_keys(const attn_ref_row *row, int64_t count, int32_t *keys, double *weights)
{
    for (int64_t t = 0; t < count; t++) {
        int64_t best = -1;
        for (int64_t j = 0; j < row->keys; j++) {
            bool taken = false;
            for (int64_t earlier = 0; earlier < t; earlier++)
                taken |= keys[earlier] == j;
            if (row->visible[j] && !taken && (best < 0 || row->score[j] > row->score[best]))
                best = j;
        }
        keys[t] = (int32_t)best;
        weights[t] = best < 0 ? 0 : row->weight[best];
    }
}
