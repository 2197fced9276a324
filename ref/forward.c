/* The whole call: every row in turn, each output rounded once. */
#include "attn_ref.h"

#include <stdlib.h>

static void store(float *array, int64_t index, double value)
{
    if (array)
        array[index] = (float)value;
}

static void store_output(const attn_problem *problem, const attn_args *args,
                         const attn_ref_row *row)
{
    if (!args->o)
        return;
    void *o = attn_ref_output_vector(problem, args, row->batch, row->head, row->query);
    for (int64_t d = 0; d < problem->head_size_v; d++)
        attn_ref_store(o, problem->o.dtype, d, row->o[d]);
}

/* The arrays whose bits are set, the others ignored. */
static void store_row_statistics(const attn_statistics_wanted *wanted, const attn_statistics *out,
                                 int64_t index, const attn_ref_row *row)
{
    struct {
        uint32_t bit;
        float *array;
        double value;
    } table[] = {
        {ATTN_STAT_ENTROPY, out->entropy, row->entropy},
        {ATTN_STAT_VARENTROPY, out->varentropy, row->varentropy},
        {ATTN_STAT_PARTICIPATION, out->participation, row->participation},
        {ATTN_STAT_MAX_WEIGHT, out->max_weight, row->max_weight},
        {ATTN_STAT_MAX_LOGIT, out->max_logit, row->max_logit},
        {ATTN_STAT_MAX_ABS_LOGIT, out->max_abs_logit, row->max_abs_logit},
        {ATTN_STAT_MAX_SCORE, out->max_score, row->max_score},
        {ATTN_STAT_MIN_SCORE, out->min_score, row->min_score},
        {ATTN_STAT_MASS_SELF, out->mass_self, row->mass_self},
        {ATTN_STAT_MASS_PREVIOUS, out->mass_previous, row->mass_previous},
        {ATTN_STAT_MASS_NEXT, out->mass_next, row->mass_next},
        {ATTN_STAT_MASS_FIRST, out->mass_first, row->mass_first},
        {ATTN_STAT_MASS_LOCAL, out->mass_local, row->mass_local},
        {ATTN_STAT_DISTANCE_MEAN, out->distance_mean, row->distance_mean},
        {ATTN_STAT_DISTANCE_SD, out->distance_sd, row->distance_sd},
    };
    for (size_t s = 0; s < sizeof table / sizeof table[0]; s++)
        if (wanted->set & table[s].bit)
            store(table[s].array, index, table[s].value);
    if (wanted->set & ATTN_STAT_MAX_KEY)
        out->max_key[index] = (int32_t)row->max_key;
    if (wanted->set & ATTN_STAT_VISIBLE_KEYS)
        out->visible_keys[index] = (int32_t)row->visible_keys;
    for (int32_t s = 0; wanted->set & ATTN_STAT_MASS_SEGMENTS && s < wanted->segments; s++)
        store(out->mass_segments, index * wanted->segments + s, row->mass_segments[s]);
}

static void store_top_keys(const attn_statistics_wanted *wanted, const attn_statistics *out,
                           int64_t index, const attn_ref_row *row)
{
    if (!(wanted->set & ATTN_STAT_TOP_KEYS))
        return;
    double weights[64];
    attn_ref_row_top_keys(row, wanted->top_keys, out->top_keys + index * wanted->top_keys, weights);
    for (int32_t t = 0; t < wanted->top_keys; t++)
        store(out->top_weights, index * wanted->top_keys + t, weights[t]);
}

/* Rows of `stride` keys; those behind the end of the sequence get 0. */
static void store_weights(const attn_statistics_wanted *wanted, const attn_statistics *out,
                          int64_t stride, const attn_ref_row *row)
{
    for (int64_t w = 0; wanted->set & ATTN_STAT_WEIGHTS && w < out->weights_count; w++) {
        const attn_weights_request *request = &out->weights[w];
        if (request->batch != row->batch || request->head != row->head ||
            row->query < request->row_begin || row->query >= request->row_end)
            continue;
        for (int64_t j = 0; j < stride; j++)
            store(request->weights, (row->query - request->row_begin) * stride + j,
                  j < row->keys ? row->weight[j] : 0);
    }
    for (int64_t n = 0; wanted->set & ATTN_STAT_PAIRS && n < out->pairs_count; n++) {
        const attn_pair *pair = &out->pairs[n];
        if (pair->batch == row->batch && pair->head == row->head && pair->query == row->query)
            store(out->pair_weights, n, row->weight[pair->key]);
    }
}

/* c_j = sum over rows of p_ij, and how many rows see key j; one (sequence, head) at a time. */
static void store_columns(const attn_problem *problem, const attn_args *args, int64_t batch,
                          int64_t head, int64_t keys, const double *mass, const int32_t *viewers)
{
    uint32_t set = problem->statistics->set;
    const attn_statistics *out = args->statistics;
    const bool add = out->column_add;
    /* what is behind the end of a sequence is written as 0, or not added to */
    if (add)
        keys = attn_ref_keys(problem, args, batch).length;
    int64_t first = attn_ref_key_index(problem, args, batch, head, 0);
    for (int64_t j = 0; j < keys; j++) {
        if (set & ATTN_STAT_COLUMN_MASS)
            store(out->column_mass, first + j,
                  (add ? (double)out->column_mass[first + j] : 0) + mass[j]);
        if (set & ATTN_STAT_COLUMN_VIEWERS)
            out->column_viewers[first + j] =
                (add ? out->column_viewers[first + j] : 0) + viewers[j];
    }
}

static void one_head(const attn_problem *problem, const attn_args *args, attn_ref_row *row,
                     int64_t batch, int64_t head, double *mass, int32_t *viewers)
{
    const bool statistics = problem->statistics && args->statistics;
    const bool ragged = problem->lengths >= ATTN_LENGTHS_RAGGED_I32;
    const int64_t rows = ragged ? attn_ref_queries(problem, args, batch).length : args->queries;
    const int64_t keys =
        ragged && !problem->cache ? attn_ref_keys(problem, args, batch).length : args->keys;
    for (int64_t j = 0; j < keys; j++)
        mass[j] = 0, viewers[j] = 0;
    for (int64_t i = 0; i < rows; i++) {
        attn_ref_row_compute(row, problem, args, batch, head, i);
        int64_t index = attn_ref_row_index(problem, args, batch, head, i);
        store_output(problem, args, row);
        store(args->lse, index, row->lse);
        store(args->lse_with_sink, index, row->lse_with_sink);
        store(args->reference, index, row->reference);
        store(args->sum, index, row->sum);
        for (int64_t j = 0; j < keys; j++)
            mass[j] += j < row->keys ? row->weight[j] : 0,
                viewers[j] += j < row->keys && row->visible[j];
        if (!statistics)
            continue;
        store_row_statistics(problem->statistics, args->statistics, index, row);
        store_top_keys(problem->statistics, args->statistics, index, row);
        store_weights(problem->statistics, args->statistics, args->keys, row);
    }
    if (statistics)
        store_columns(problem, args, batch, head, keys, mass, viewers);
}

attn_status attn_ref_forward(const attn_problem *problem, const attn_args *args)
{
    attn_ref_row row;
    if (attn_ref_row_create(&row, problem, args) != ATTN_OK)
        return ATTN_ERR_MEMORY;
    double *mass = calloc((size_t)args->keys + 1, sizeof *mass);
    int32_t *viewers = calloc((size_t)args->keys + 1, sizeof *viewers);
    attn_status status = mass && viewers ? ATTN_OK : ATTN_ERR_MEMORY;
    for (int64_t b = 0; status == ATTN_OK && b < args->batch; b++)
        for (int64_t h = 0; h < problem->heads; h++)
            one_head(problem, args, &row, b, h, mass, viewers);
    free(mass);
    free(viewers);
    attn_ref_row_destroy(&row);
    return status;
}
