/* Chunks of one sequence merged, in the order of their keys. What is known of a row after two runs of keys
 * follows from what is known after each: references are brought to the highest, moments shifted by how far
 * (the same formulas as when a reference moves within a row), sums added; distances by the pairwise
 * update of means. In double, rounded once. */
#include <math.h>

#include "attention/decode.h"
#include "attention/rows.h"

static int64_t entry(const struct attn_run_state *run, const struct attn_place *place,
                     int64_t query, int64_t chunk)
{
    const struct attn_plan *plan = run->plan;
    const int64_t queries = attn_decoded_queries(plan, run->args->queries);
    const int64_t chunks = attn_key_chunks(plan, run->key_blocks);
    const int64_t head = place->batch * plan->problem.heads + place->head;
    return (head * queries + query) * chunks + chunk;
}

void attn_chunk_keep(const struct attn_run_state *run, const struct attn_place *place,
                     int64_t query, int64_t chunk, const struct attn_scratch *scratch, int row,
                     const float *output)
{
    const struct attn_plan *plan = run->plan;
    const struct attn_workspace *w = &run->workspace;
    const int64_t at = entry(run, place, query, chunk), top = plan->extras.top_keys;
    w->chunk_rows[at] = scratch->rows[row];
    if (run->args->o)
        memcpy(w->chunk_outputs + at * plan->output_size, output,
               (size_t)plan->output_size * sizeof(float));
    for (int64_t i = 0; i < scratch->rows[row].top_count; i++) {
        w->chunk_top_keys[at * top + i] = scratch->top_keys[row * top + i];
        w->chunk_top_scores[at * top + i] = scratch->top_scores[row * top + i];
    }
}

void attn_decode_output(const struct attn_plan *plan, struct attn_scratch *scratch, int row,
                        const float *output)
{
    const int columns = plan->kernels->columns;
    for (int panel = 0; panel < plan->values.count; panel++)
        memcpy(scratch->output + ((int64_t)panel * ATTN_BLOCK_ROWS + row) * columns,
               output + (int64_t)panel * columns, (size_t)columns * sizeof(float));
}

/* Sums of a row in double, all told against one reference. */
struct sums {
    double sum, moment, moment2, square;
    double self, previous, next, first, local;
    double distance_sum, distance_mean, distance_m2;
};

/* The highest reference of chunks that saw weight: what all are brought to. NaN sums come with any. */
static float highest(const struct attn_row *rows, int64_t chunks)
{
    float high = -INFINITY;
    for (int64_t c = 0; c < chunks; c++)
        if (rows[c].sum != 0.0f && rows[c].reference > high)
            high = rows[c].reference;
    return high;
}

/* What a chunk is multiplied by: 0 where it saw no weight. A sum that is NaN reaches the whole row, however low
 * the chunk's reference is: it may be -inf, where no other score was. */
static double factor_of(const struct attn_row *row, float reference)
{
    if (row->sum == 0.0f)
        return 0.0;
    if (row->sum != row->sum)
        return NAN;
    return exp2((double)row->reference - (double)reference);
}

static void add_chunk(struct sums *to, const struct attn_row *row, float reference)
{
    const double a = factor_of(row, reference);
    if (a == 0.0)
        return;
    const double d = (double)row->reference - (double)reference;
    const double sum = (double)row->sum, moment = (double)row->moment;
    to->sum += a * sum;
    to->moment += a * (moment + d * sum);
    to->moment2 += a * ((double)row->moment2 + 2.0 * d * moment + d * d * sum);
    to->square += a * a * (double)row->square;
    to->self += a * (double)row->mass_self;
    to->previous += a * (double)row->mass_previous;
    to->next += a * (double)row->mass_next;
    to->first += a * (double)row->mass_first;
    to->local += a * (double)row->mass_local;
    if (!(row->distance_sum > 0.0f))
        return;
    const double weight = a * (double)row->distance_sum, before = to->distance_sum;
    const double delta = row->distance_mean - to->distance_mean;
    to->distance_sum = before + weight;
    to->distance_mean += delta * weight / to->distance_sum;
    to->distance_m2 += a * row->distance_m2 + delta * delta * before * weight / to->distance_sum;
}

/* What is no sum. */
static void add_extremes(struct attn_row *to, const struct attn_row *row)
{
    if (row->maximum > to->maximum) {
        to->maximum = row->maximum;
        to->max_key = row->max_key;
    }
    to->min_logit = row->min_logit < to->min_logit ? row->min_logit : to->min_logit;
    to->max_logit = row->max_logit > to->max_logit ? row->max_logit : to->max_logit;
    to->min_score = row->min_score < to->min_score ? row->min_score : to->min_score;
    to->visible += row->visible;
}

static void merge_sums(struct attn_row *to, const struct attn_row *rows, int64_t chunks)
{
    struct sums sums = {0};
    to->reference = highest(rows, chunks);
    for (int64_t c = 0; c < chunks; c++) {
        add_chunk(&sums, &rows[c], to->reference);
        add_extremes(to, &rows[c]);
    }
    to->sum = (float)sums.sum;
    to->moment = (float)sums.moment;
    to->moment2 = (float)sums.moment2;
    to->square = (float)sums.square;
    to->mass_self = (float)sums.self;
    to->mass_previous = (float)sums.previous;
    to->mass_next = (float)sums.next;
    to->mass_first = (float)sums.first;
    to->mass_local = (float)sums.local;
    to->distance_sum = (float)sums.distance_sum;
    to->distance_mean = sums.distance_mean;
    to->distance_m2 = sums.distance_m2;
}

/* Lists of best scores into one; of equal scores the earlier chunk's come first. */
static void merge_top(const struct attn_run_state *run, int64_t at, int64_t chunks,
                      struct attn_scratch *scratch, int row)
{
    const struct attn_workspace *w = &run->workspace;
    const int64_t limit = run->plan->extras.top_keys;
    int32_t *keys = scratch->top_keys + row * limit;
    float *scores = scratch->top_scores + row * limit;
    int64_t count = 0;
    for (int64_t c = 0; c < chunks; c++)
        for (int64_t i = 0; i < w->chunk_rows[at + c].top_count; i++) {
            const float score = w->chunk_top_scores[(at + c) * limit + i];
            if (count == limit && !(score > scores[limit - 1]))
                break;
            int64_t to = count < limit ? count++ : limit - 1;
            for (; to > 0 && scores[to - 1] < score; to--) {
                scores[to] = scores[to - 1];
                keys[to] = keys[to - 1];
            }
            scores[to] = score;
            keys[to] = w->chunk_top_keys[(at + c) * limit + i];
        }
    scratch->rows[row].top_count = (int32_t)count;
}

static void merge_outputs(const struct attn_run_state *run, int64_t at, int64_t chunks,
                          struct attn_scratch *scratch, int row)
{
    const struct attn_plan *plan = run->plan;
    const struct attn_row *rows = run->workspace.chunk_rows + at;
    enum { STRIP = 64 };
    for (int64_t begin = 0; begin < plan->output_size; begin += STRIP) {
        const int64_t size = attn_int64_min(STRIP, plan->output_size - begin);
        double sum[STRIP] = {0};
        for (int64_t c = 0; c < chunks; c++) {
            const float *from = run->workspace.chunk_outputs + (at + c) * plan->output_size + begin;
            const double a = factor_of(&rows[c], scratch->rows[row].reference);
            for (int64_t t = 0; a != 0.0 && t < size; t++)
                sum[t] += a * (double)from[t];
        }
        for (int64_t t = 0; t < size; t++)
            scratch->decode.output[begin + t] = (float)sum[t];
    }
    attn_decode_output(plan, scratch, row, scratch->decode.output);
}

/* One (sequence, query head) of several chunks. */
void attn_task_merge_chunks(void *argument, int64_t index, int worker)
{
    struct attn_run_state *run = argument;
    const struct attn_plan *plan = run->plan;
    const int64_t group = plan->problem.heads / plan->problem.kv_heads;
    const int64_t heads = run->decode_count * group;
    struct attn_place place =
        attn_run_sequence(run, index / heads, run->decode_first * group + index % heads);
    const int64_t chunks = attn_key_chunks(plan, place.key_blocks);
    if (place.packing != ATTN_PACK_NOTHING || place.queries == 0 || chunks <= 1)
        return;
    struct attn_scratch scratch = attn_workspace_scratch(&run->workspace, plan, worker);
    struct attn_mask mask = attn_run_mask(run, &place);
    attn_rows_begin(run, &scratch, (int)place.queries);
    for (int row = 0; row < place.queries; row++) {
        const int64_t at = entry(run, &place, row, 0);
        merge_sums(&scratch.rows[row], run->workspace.chunk_rows + at, chunks);
        if (plan->extras.top_keys > 0)
            merge_top(run, at, chunks, &scratch, row);
        if (run->args->o)
            merge_outputs(run, at, chunks, &scratch, row);
    }
    attn_rows_finish(run, &place, &mask, &scratch, 0, (int)place.queries);
}
