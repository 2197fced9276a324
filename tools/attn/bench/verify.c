/* Rows by plain loops in double; see verify.h.
 *
 * What rounding may do (u = 2^-24): each addition of a score's sum rounds a partial sum, which is
 * far below sum |q k|; d such errors of random sign come to about u * scale * sum |q k| at most. A
 * weight carries that much relatively. Sums over n keys add about sqrt(n) u, exp2 a few u. The
 * factor 8 covers the extremes of thousands of outputs. A key that is left out, or counted twice,
 * shows as its whole weight, about 1/n: larger than this for every case. */
#include "verify.h"

#include <math.h>
#include <stdlib.h>

enum { ROWS = 8 }; /* of each head */

struct row {
    int64_t first, last; /* visible keys */
    int64_t position;
    double *score;          /* [keys] */
    double *weight;         /* [keys] */
    double largest_product; /* of scale * sum |q k| over the visible keys */
    double *output;         /* [size] */
    double *magnitude;      /* [size]: sum of p |v| */
};

static void compute_row(const struct bench_subject *s, int head, int64_t query, struct row *row)
{
    const struct bench_case *c = s->c;
    int64_t size = c->head_size, kv_head = head / (c->heads / c->kv_heads);
    const float *q = (const float *)s->args.q + ((int64_t)head * c->queries + query) * size;
    const float *k = (const float *)s->args.k + kv_head * c->keys * size;
    const float *v = (const float *)s->args.v + kv_head * c->keys * size;
    double scale = 1.0 / sqrt((double)size), largest = -INFINITY, sum = 0;

    row->position = query + c->keys - c->queries;
    row->first = s->mask == MASK_WINDOW_512 && row->position > 511 ? row->position - 511 : 0;
    row->last = s->mask == MASK_NONE ? c->keys - 1 : row->position;
    row->largest_product = 0;
    for (int64_t j = row->first; j <= row->last; j++) {
        double product = 0, magnitude = 0;
        for (int64_t d = 0; d < size; d++) {
            double term = (double)q[d] * (double)k[j * size + d];
            product += term;
            magnitude += fabs(term);
        }
        row->score[j] = scale * product;
        largest = fmax(largest, row->score[j]);
        row->largest_product = fmax(row->largest_product, scale * magnitude);
    }
    for (int64_t j = row->first; j <= row->last; j++)
        sum += row->weight[j] = exp(row->score[j] - largest);
    for (int64_t d = 0; d < size; d++)
        row->output[d] = row->magnitude[d] = 0;
    for (int64_t j = row->first; j <= row->last; j++) {
        row->weight[j] /= sum;
        for (int64_t d = 0; d < size; d++) {
            row->output[d] += row->weight[j] * (double)v[j * size + d];
            row->magnitude[d] += row->weight[j] * fabs((double)v[j * size + d]);
        }
    }
}

static double at_key(const struct row *row, int64_t key)
{
    return key >= row->first && key <= row->last ? row->weight[key] : 0;
}

/* Sum over the visible keys of the weights of those in [first, last]. */
static double mass(const struct row *row, int64_t first, int64_t last)
{
    double sum = 0;
    for (int64_t j = first > row->first ? first : row->first; j <= last && j <= row->last; j++)
        sum += row->weight[j];
    return sum;
}

/* What depends on ln p and on distances, in one pass. */
struct moments {
    double entropy, varentropy, squares, distance, distance_sd;
    double max_score, min_score;
    int64_t max_key;
};

static struct moments compute_moments(const struct row *row)
{
    struct moments m = {0, 0, 0, 0, 0, -INFINITY, INFINITY, -1};
    double logs = 0, distances = 0;
    for (int64_t j = row->first; j <= row->last; j++) {
        double p = row->weight[j], log_p = p > 0 ? log(p) : 0;
        double distance = fabs((double)(row->position - j));
        m.entropy -= p * log_p;
        logs += p * log_p * log_p;
        m.squares += p * p;
        m.distance += p * distance;
        distances += p * distance * distance;
        m.min_score = fmin(m.min_score, row->score[j]);
        if (row->score[j] > m.max_score) {
            m.max_score = row->score[j];
            m.max_key = j;
        }
    }
    m.varentropy = logs - m.entropy * m.entropy;
    m.distance_sd = sqrt(fmax(0, distances - m.distance * m.distance));
    return m;
}

static double exact_value(const struct bench_subject *s, const struct row *row,
                          const struct moments *m, uint32_t bit, int part)
{
    switch (bit) {
    case ATTN_STAT_ENTROPY:
        return m->entropy;
    case ATTN_STAT_VARENTROPY:
        return m->varentropy;
    case ATTN_STAT_PARTICIPATION:
        return 1 / m->squares;
    case ATTN_STAT_MAX_WEIGHT:
        return row->weight[m->max_key];
    case ATTN_STAT_MAX_KEY:
        return (double)m->max_key;
    case ATTN_STAT_MAX_LOGIT:
    case ATTN_STAT_MAX_SCORE:
        return m->max_score;
    case ATTN_STAT_MAX_ABS_LOGIT:
        return fmax(m->max_score, -m->min_score);
    case ATTN_STAT_MIN_SCORE:
        return m->min_score;
    case ATTN_STAT_MASS_SELF:
        return at_key(row, row->position);
    case ATTN_STAT_MASS_PREVIOUS:
        return at_key(row, row->position - 1);
    case ATTN_STAT_MASS_NEXT:
        return at_key(row, row->position + 1);
    case ATTN_STAT_MASS_FIRST:
        return mass(row, 0, 3);
    case ATTN_STAT_MASS_LOCAL:
        return mass(row, row->position - 16, row->position + 16);
    case ATTN_STAT_MASS_SEGMENTS: {
        double sum = 0;
        for (int64_t j = row->first; j <= row->last; j++)
            if (s->segment_ids[j] == part)
                sum += row->weight[j];
        return sum;
    }
    case ATTN_STAT_DISTANCE_MEAN:
        return m->distance;
    case ATTN_STAT_DISTANCE_SD:
        return m->distance_sd;
    case ATTN_STAT_VISIBLE_KEYS:
        return (double)(row->last - row->first + 1);
    default:
        return NAN;
    }
}

/* The larger of the two, where NaN is larger than anything. */
static double worse(double a, double b)
{
    return isnan(a) || isnan(b) ? NAN : fmax(a, b);
}

static double residual_of_statistics(const struct bench_subject *s, const struct row *row,
                                     int64_t index)
{
    struct moments m = compute_moments(row);
    double residual = 0;
    for (int i = 0; i < bench_statistics_of_rows_count; i++) {
        const struct bench_statistic *statistic = &bench_statistics_of_rows[i];
        const void *array = bench_statistic_array(s, statistic);
        for (int part = 0; array && part < statistic->per_row; part++) {
            int64_t at = index * statistic->per_row + part;
            double exact = exact_value(s, row, &m, statistic->bit, part);
            double value = statistic->integer ? (double)((const int32_t *)array)[at]
                                              : (double)((const float *)array)[at];
            if (statistic->bit == ATTN_STAT_MAX_KEY) {
                /* Two scores may be closer than rounding: the key's score is what must be right. */
                bool visible = value >= (double)row->first && value <= (double)row->last;
                exact = m.max_score;
                value = visible ? row->score[(int64_t)value] : NAN;
            }
            residual = worse(residual, fabs(value - exact) / fmax(1, fabs(exact)));
        }
    }
    return residual;
}

/* First, last, middle, and others spread by a multiplier that shares no factor with tile sizes. */
static int64_t chosen_query(const struct bench_case *c, int index, int head)
{
    static const int64_t fixed[] = {0, 1};
    if (index < 2)
        return fixed[index] % c->queries;
    if (index == 2)
        return c->queries - 1;
    return ((int64_t)index * 2654435761 + (int64_t)head * 40503) % c->queries;
}

static bool make_row(struct row *row, const struct bench_case *c, struct failure *f)
{
    size_t keys = (size_t)c->keys, size = (size_t)c->head_size;
    double *memory = calloc(2 * keys + 2 * size, sizeof *memory);
    if (!memory)
        return fail(f, "out of memory");
    row->score = memory;
    row->weight = memory + keys;
    row->output = memory + 2 * keys;
    row->magnitude = memory + 2 * keys + size;
    return true;
}

bool bench_verify(const struct bench_subject *s, struct bench_verdict *verdict, struct failure *f)
{
    const struct bench_case *c = s->c;
    struct row row = {0};
    if (!make_row(&row, c, f))
        return false;
    double residual = 0, statistics = 0, product = 0;
    for (int head = 0; head < c->heads; head++) {
        for (int index = 0; index < ROWS; index++) {
            int64_t query = chosen_query(c, index, head);
            int64_t at = (int64_t)head * c->queries + query;
            compute_row(s, head, query, &row);
            product = fmax(product, row.largest_product);
            for (int64_t d = 0; d < c->head_size; d++)
                residual =
                    worse(residual, fabs((double)s->o[at * c->head_size + d] - row.output[d]) /
                                        fmax(row.magnitude[d], 1e-30));
            if (s->wants != STATISTICS_NONE)
                statistics = worse(statistics, residual_of_statistics(s, &row, at));
        }
    }
    free(row.score);
    double u = ldexp(1, -24);
    verdict->residual = residual;
    verdict->tolerance = 8 * u * (2 * product + sqrt((double)c->keys));
    verdict->statistics_residual = statistics;
    /* Entropies and distances weigh errors of the weights by ln p or by how far keys lie. */
    verdict->statistics_tolerance = 16 * verdict->tolerance;
    verdict->passed = residual <= verdict->tolerance && statistics <= verdict->statistics_tolerance;
    return true;
}
