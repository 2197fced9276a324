/* Rows by plain loops in double; see verify.h.
 *
 * What rounding may do in f32 (u = 2^-24): each addition of a score's sum rounds a partial sum, which is
 * far below sum |q k|; d such errors of random sign come to about u * scale * sum |q k| at most. A
 * weight carries that much relatively. Sums over n keys add about sqrt(n) u, exp2 a few u. The
 * factor 8 covers the extremes of thousands of outputs. A key that is left out, or counted twice,
 * shows as its whole weight, about 1/n: larger than this for every case.
 *
 * With u' = 2^-8 (bf16) or 2^-11 (f16), rounding the output adds u' |o| to an element at most, or
 * u' |o| / sqrt(3) in the root mean square. Dot products of bf16 round each weight too: errors of random
 * sign, u' p / sqrt(3) each, which the values turn into u' sqrt(sum p^2 v^2 / 3). A single element may be
 * far out, and the weight of one key is below the largest such error; over the d elements of a row, and
 * in the root mean square, the sum of a left out key stands out. The row may have three times the two
 * together, beside its share of f32. */
#include "verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 8 }; /* of each head of each sequence */

struct row {
    int batch, head;
    int64_t query, queries, keys; /* of its sequence */
    int64_t position;
    int64_t visible;
    double *score;          /* [keys]; -inf where it sees nothing */
    double *weight;         /* [keys] */
    double largest_product; /* of scale * sum |q k| over the visible keys */
    double *output;         /* [size] */
    double *magnitude;      /* [size]: sum of p |v| */
    double *squares;        /* [size]: sum of p^2 v^2 */
    double *q;              /* [size] */
};

static int64_t first_of(const struct bench_subject *s, const struct row *row, bool keys, int heads,
                        int head, int64_t i)
{
    const struct bench_case *c = s->c;
    return c->head_size *
           bench_row_index(c, heads, keys ? c->keys : c->queries, row->batch, head, i);
}

/* Element i of k or v, from the tensor or the cache. */
static double stored(const struct bench_subject *s, const void *tensor, bool values, int64_t i)
{
    return s->pool ? bench_pool_element(s->pool, values, i) : bench_element(tensor, s->c->dtype, i);
}

/* Scores of the visible keys; the largest of them. */
static double compute_scores(const struct bench_subject *s, struct row *row)
{
    const struct bench_case *c = s->c;
    int kv_head = row->head / (c->heads / c->kv_heads);
    int64_t keys = first_of(s, row, true, c->kv_heads, kv_head, 0);
    double scale = 1.0 / sqrt((double)c->head_size), largest = -INFINITY;
    row->visible = 0;
    row->largest_product = 0;
    for (int64_t j = 0; j < row->keys; j++) {
        row->score[j] = -INFINITY;
        if (!bench_mask_sees(s->mask, row->queries, row->keys, row->query, j))
            continue;
        double product = 0, magnitude = 0;
        double bias =
            bench_mask_bias(s->mask, c->heads, row->head, row->queries, row->keys, row->query, j);
        for (int64_t d = 0; d < c->head_size; d++) {
            double term = row->q[d] * stored(s, s->args.k, false, keys + j * c->head_size + d);
            product += term;
            magnitude += fabs(term);
        }
        row->visible++;
        row->score[j] = scale * product + bias;
        largest = fmax(largest, row->score[j]);
        /* A bias is rounded with the sum; where it is below -32 the weight is next to nothing. */
        row->largest_product = fmax(row->largest_product, scale * magnitude + fmin(fabs(bias), 32));
    }
    return largest;
}

static void compute_row(const struct bench_subject *s, struct row *row)
{
    const struct bench_case *c = s->c;
    int kv_head = row->head / (c->heads / c->kv_heads);
    int64_t query = first_of(s, row, false, c->heads, row->head, row->query);
    int64_t values = first_of(s, row, true, c->kv_heads, kv_head, 0);
    double sum = 0;
    row->position = row->query + row->keys - row->queries;
    for (int64_t d = 0; d < c->head_size; d++) {
        row->q[d] = bench_element(s->args.q, c->dtype, query + d);
        row->output[d] = row->magnitude[d] = row->squares[d] = 0;
    }
    double largest = compute_scores(s, row);
    for (int64_t j = 0; j < row->keys; j++)
        sum += row->weight[j] = exp(row->score[j] - largest); /* 0 where nothing is seen */
    for (int64_t j = 0; j < row->keys; j++) {
        double p = row->weight[j] /= sum;
        for (int64_t d = 0; p > 0 && d < c->head_size; d++) {
            double v = stored(s, s->args.v, true, values + j * c->head_size + d);
            row->output[d] += p * v;
            row->magnitude[d] += p * fabs(v);
            row->squares[d] += p * p * v * v;
        }
    }
}

static double at_key(const struct row *row, int64_t key)
{
    return key >= 0 && key < row->keys ? row->weight[key] : 0;
}

/* Sum of the weights of keys [first, last]. */
static double mass(const struct row *row, int64_t first, int64_t last)
{
    double sum = 0;
    for (int64_t j = first > 0 ? first : 0; j <= last && j < row->keys; j++)
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
    for (int64_t j = 0; j < row->keys; j++) {
        if (row->score[j] == -INFINITY)
            continue;
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
        for (int64_t j = 0; j < row->keys; j++)
            if (s->segment_ids[j] == part)
                sum += row->weight[j];
        return sum;
    }
    case ATTN_STAT_DISTANCE_MEAN:
        return m->distance;
    case ATTN_STAT_DISTANCE_SD:
        return m->distance_sd;
    case ATTN_STAT_VISIBLE_KEYS:
        return (double)row->visible;
    default:
        return NAN;
    }
}

/* The larger of the two, where NaN is larger than anything. */
static double worse(double a, double b)
{
    return isnan(a) || isnan(b) ? NAN : fmax(a, b);
}

/* A step of decoding: the one query's weights are the column masses; the best keys, best first. */
static double residual_of_step(const struct bench_subject *s, const struct row *row, int64_t index)
{
    double residual = 0;
    for (int64_t j = 0; j < row->keys; j++)
        residual = worse(residual, fabs((double)s->statistics.column_mass[index * s->c->keys + j] -
                                        row->weight[j]));
    double before = INFINITY, least = 1;
    for (int64_t t = index * BENCH_TOP_KEYS; t < (index + 1) * BENCH_TOP_KEYS; t++) {
        const int64_t key = s->statistics.top_keys[t];
        const double weight = (double)s->statistics.top_weights[t];
        const bool inside = key >= 0 && key < row->keys && weight <= before;
        residual = worse(residual, inside ? fabs(weight - row->weight[key]) : NAN);
        before = weight;
        least = inside ? row->weight[key] : NAN;
    }
    int64_t better = 0; /* than the last of them, by more than rounding */
    for (int64_t j = 0; j < row->keys; j++)
        better += row->weight[j] > 1.001 * least;
    return better < BENCH_TOP_KEYS ? residual : NAN;
}

static double residual_of_statistics(const struct bench_subject *s, const struct row *row,
                                     int64_t index)
{
    struct moments m = compute_moments(row);
    double residual = s->wants == STATISTICS_STEP ? residual_of_step(s, row, index) : 0;
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
                bool inside = value >= 0 && value < (double)row->keys;
                exact = m.max_score;
                value = inside ? row->score[(int64_t)value] : NAN;
            }
            residual = worse(residual, fabs(value - exact) / fmax(1, fabs(exact)));
        }
    }
    return residual;
}

/* First, last, middle, and others spread by a multiplier that shares no factor with tile sizes. */
static int64_t chosen_query(int64_t queries, int index, int head)
{
    static const int64_t fixed[] = {0, 1};
    if (index < 2)
        return fixed[index] % queries;
    if (index == 2)
        return queries - 1;
    return ((int64_t)index * 2654435761 + (int64_t)head * 40503) % queries;
}

static bool make_row(struct row *row, const struct bench_case *c, struct failure *f)
{
    size_t keys = (size_t)c->keys, size = (size_t)c->head_size;
    double *memory = calloc(2 * keys + 4 * size, sizeof *memory);
    if (!memory)
        return fail(f, "out of memory");
    row->score = memory;
    row->weight = memory + keys;
    row->output = memory + 2 * keys;
    row->magnitude = memory + 2 * keys + size;
    row->squares = memory + 2 * keys + 2 * size;
    row->q = memory + 2 * keys + 3 * size;
    return true;
}

/* How far a row is off, and what it may be. */
struct distance {
    double residual, tolerance;
};

static struct distance distance_of_row(const struct bench_subject *s, const struct row *row)
{
    const struct bench_case *c = s->c;
    int64_t first = first_of(s, row, false, c->heads, row->head, row->query);
    double f32 = 8 * ldexp(1, -24) * (2 * row->largest_product + sqrt((double)row->keys));
    double u = ldexp(1, c->dtype == ATTN_BF16 ? -8 : -11);
    double largest = 0, squares = 0, magnitude = 0, expected = 0;
    for (int64_t d = 0; d < c->head_size; d++) {
        double off = bench_element(s->o, c->dtype, first + d) - row->output[d];
        largest = worse(largest, fabs(off) / fmax(row->magnitude[d], 1e-30));
        squares += off * off;
        magnitude += row->magnitude[d] * row->magnitude[d];
        expected += u * u / 3 * row->output[d] * row->output[d];
        if (bench_subject_uses_dots(s))
            expected += u * u / 3 * row->squares[d];
    }
    if (c->dtype == ATTN_F32)
        return (struct distance){largest, f32};
    magnitude = fmax(magnitude, 1e-60);
    return (struct distance){sqrt(squares / magnitude), f32 + 3 * sqrt(expected / magnitude)};
}

/* Keep in `verdict` the row that has used most of what it may. */
static void judge(struct bench_verdict *verdict, struct distance row)
{
    bool worst = isnan(row.residual) ||
                 row.residual * verdict->tolerance >= verdict->residual * row.tolerance;
    if (isnan(verdict->residual) || !worst)
        return;
    verdict->residual = row.residual;
    verdict->tolerance = row.tolerance;
}

static void take_sample(const struct bench_subject *s, const struct row *row,
                        struct bench_verdict *verdict)
{
    int number = verdict->sample_count;
    int64_t channel = (int64_t)number * 7 % s->c->head_size;
    int64_t first = first_of(s, row, false, s->c->heads, row->head, row->query);
    if (number == BENCH_SAMPLES)
        return;
    verdict->samples[number] =
        (struct bench_sample){row->batch,
                              row->head,
                              row->query,
                              channel,
                              bench_element(s->o, s->c->dtype, first + channel),
                              row->output[channel]};
    verdict->sample_count++;
}

bool bench_verify(const struct bench_subject *s, struct bench_verdict *verdict, struct failure *f)
{
    const struct bench_case *c = s->c;
    struct row row = {0};
    if (!make_row(&row, c, f))
        return false;
    double statistics = 0, largest = 0;
    memset(verdict, 0, sizeof *verdict);
    for (row.batch = 0; row.batch < c->batch; row.batch++)
        for (row.head = 0; row.head < c->heads; row.head++)
            for (int index = 0; index < ROWS && index < c->queries; index++) {
                row.queries = bench_mask_length(s->mask, c->batch, c->queries, row.batch);
                row.keys = bench_mask_length(s->mask, c->batch, c->keys, row.batch);
                row.query = chosen_query(row.queries, index, row.head);
                compute_row(s, &row);
                struct distance distance = distance_of_row(s, &row);
                judge(verdict, distance);
                largest = fmax(largest, distance.tolerance);
                if ((index + row.head) % 4 == 3)
                    take_sample(s, &row, verdict);
                if (s->wants != STATISTICS_NONE)
                    statistics = worse(
                        statistics,
                        residual_of_statistics(s, &row,
                                               bench_row_index(c, c->heads, c->queries, row.batch,
                                                               row.head, row.query)));
            }
    free(row.score);
    verdict->statistics_residual = statistics;
    /* Entropies and distances weigh errors of the weights by ln p or by how far keys lie. */
    verdict->statistics_tolerance = 16 * largest;
    verdict->passed =
        verdict->residual <= verdict->tolerance && statistics <= verdict->statistics_tolerance;
    return true;
}
