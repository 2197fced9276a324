/* Figures of heads by plain loops; see plain_heads.h. */
#include "plain_heads.h"

#include "attn_ref.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>

static bool special(enum token_class c)
{
    return c == TOKEN_CLASS_FIRST || c == TOKEN_CLASS_SEPARATOR || c == TOKEN_CLASS_CONTROL;
}

/* Entropy of a row's scores over the keys that are not sinks; NaN if none is left. */
static double rest_entropy(const attn_ref_row *row, const int64_t sinks[TOP])
{
    double largest = -INFINITY, sum = 0, entropy = 0;
    for (int pass = 0; pass < 3; pass++)
        for (int64_t j = 0; j < row->keys; j++) {
            bool hidden = !row->visible[j];
            for (int s = 0; s < TOP; s++)
                hidden |= sinks[s] == j;
            if (hidden)
                continue;
            double p = exp(row->score[j] - largest);
            if (pass == 0)
                largest = fmax(largest, row->score[j]);
            else if (pass == 1)
                sum += p;
            else if (p > 0)
                entropy -= p / sum * log(p / sum);
        }
    return isinf(largest) ? NAN : entropy;
}

/* Column mass over viewers, the four largest. */
static void find_sinks(struct plain_head *h, const double *mass, const int *viewers, int64_t keys)
{
    for (int s = 0; s < TOP; s++) {
        h->sink_key[s] = -1;
        h->sink_mass[s] = NAN;
        for (int64_t j = 0; j < keys; j++) {
            bool taken = viewers[j] < 64;
            for (int t = 0; t < s; t++)
                taken |= h->sink_key[t] == j;
            if (!taken && (h->sink_key[s] < 0 || mass[j] / viewers[j] > h->sink_mass[s])) {
                h->sink_key[s] = j;
                h->sink_mass[s] = mass[j] / viewers[j];
            }
        }
    }
}

static void add_row(const struct plain *p, struct plain_head *h, const attn_ref_row *row, double n)
{
    double effective = exp(row->entropy);
    h->voting++;
    h->entropy += row->entropy;
    h->entropy_sd += row->entropy * row->entropy;
    h->entropy_min = fmin(h->entropy_min, row->entropy);
    h->entropy_max = fmax(h->entropy_max, row->entropy);
    h->normalized += row->entropy / log(n);
    h->deficit += log(n) - row->entropy;
    h->effective += effective;
    h->participation += row->participation;
    h->max_weight += row->max_weight;
    h->varentropy += row->varentropy;
    double mean = 0, square = 0;
    for (int64_t j = 0; j < row->keys; j++) {
        double w = row->weight[j], distance = fabs((double)(row->position - j));
        h->classes[p->in->token[j].class] += w;
        mean += w * distance;
        h->first4 += j < 4 ? w : 0;
        h->local += distance <= 16 ? w : 0;
        h->self += j == row->position ? w : 0;
        h->previous += j == row->position - 1 ? w : 0;
        h->next += j == row->position + 1 ? w : 0;
    }
    for (int64_t j = 0; j < row->keys; j++) {
        double distance = fabs((double)(row->position - j));
        square += row->weight[j] * (distance - mean) * (distance - mean);
    }
    h->distance += mean;
    h->distance_sd += sqrt(square);
}

/* Means over the rows that labels look at, where the sinks must be known. */
static void add_label_row(const struct plain *p, struct plain_head *h, const attn_ref_row *row,
                          double n, double *count)
{
    *count += 1;
    h->normalized_label += row->entropy / log(n);
    for (int64_t j = 0; j < row->keys; j++) {
        bool sink = false;
        for (int s = 0; s < TOP; s++)
            sink |= h->sink_key[s] == j && h->sink_mass[s] > 0.3;
        h->special_label += special(p->in->token[j].class) && !sink ? row->weight[j] : 0;
        h->previous_label += j == row->position - 1 ? row->weight[j] : 0;
    }
}

static void divide(struct plain_head *h, double all)
{
    double *means[] = {&h->entropy,   &h->entropy_sd,    &h->normalized, &h->deficit,
                       &h->effective, &h->participation, &h->max_weight, &h->varentropy,
                       &h->first4,    &h->self,          &h->previous,   &h->next,
                       &h->local,     &h->distance,      &h->distance_sd};
    for (size_t i = 0; i < sizeof means / sizeof means[0]; i++)
        *means[i] /= (double)h->voting;
    for (int c = 0; c < TOKEN_CLASS_COUNT; c++)
        h->classes[c] /= (double)h->voting;
    h->entropy_sd = sqrt(fmax(h->entropy_sd - h->entropy * h->entropy, 0));
    h->entropy_all /= all;
    h->max_weight_all /= all;
}

bool plain_watch(void *context, const struct model_attention *a, struct failure *f)
{
    struct plain *p = context;
    (void)f;
    attn_ref_row row;
    attn_status status = attn_ref_row_create(&row, a->problem, a->args);
    assert(status == ATTN_OK);
    (void)status;
    int64_t n = a->args->queries;
    for (int64_t head = 0; head < a->problem->heads; head++) {
        struct plain_head *h = &p->heads[a->layer * a->problem->heads + head];
        *h = (struct plain_head){.entropy_min = INFINITY, .entropy_max = -INFINITY};
        h->max_logit = h->max_score = -INFINITY;
        double mass[MOST_TOKENS] = {0}, label_rows = 0, rest = 0, rest_rows = 0;
        int viewers[MOST_TOKENS] = {0}, in_window = 0;
        for (int64_t i = 0; i < n; i++) {
            attn_ref_row_compute(&row, a->problem, a->args, 0, head, i);
            h->entropy_all += row.entropy;
            h->max_weight_all += row.max_weight;
            h->max_logit = fmax(h->max_logit, row.max_logit);
            h->max_score = fmax(h->max_score, row.max_score);
            for (int64_t j = 0; j < n; j++) {
                mass[j] += row.weight[j];
                viewers[j] += row.visible[j];
            }
            in_window += row.visible_keys >= 256 && row.visible_keys < 512;
            if (row.visible_keys >= 16)
                add_row(p, h, &row, (double)row.visible_keys);
        }
        find_sinks(h, mass, viewers, n);
        for (int64_t i = 0; i < n; i++) {
            attn_ref_row_compute(&row, a->problem, a->args, 0, head, i);
            bool window = row.visible_keys >= 256 && row.visible_keys < 512;
            if (in_window >= 16 ? window : row.visible_keys >= 16)
                add_label_row(p, h, &row, (double)row.visible_keys, &label_rows);
            double e = rest_entropy(&row, h->sink_key);
            if (row.visible_keys >= 16 && !isnan(e)) {
                rest += e;
                rest_rows += 1;
            }
        }
        h->without_sinks = h->sink_key[0] >= 0 ? rest / rest_rows : NAN;
        h->special_label /= label_rows;
        h->normalized_label /= label_rows;
        h->previous_label /= label_rows;
        divide(h, (double)n);
    }
    attn_ref_row_destroy(&row);
    return true;
}
