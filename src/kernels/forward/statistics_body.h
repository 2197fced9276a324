/* Softmax with every statistic of a row: after the sweep, a few short looks at the weights of the block
 * while they are in the cache. What these cost is paid only by whoever asks. */
#include "kernels/forward/distance_body.h"
#include "kernels/forward/softmax_body.h"

/* Insert into the list of best scores, best first; an equal score stays behind the earlier key. */
static void top_insert(int32_t *keys, float *scores, int32_t limit, int32_t *count, int32_t key,
                       float score)
{
    int32_t at = *count < limit ? (*count)++ : limit - 1;
    for (; at > 0 && scores[at - 1] < score; at--) {
        scores[at] = scores[at - 1];
        keys[at] = keys[at - 1];
    }
    scores[at] = score;
    keys[at] = key;
}

/* Before the sweep, on scores: the keys with the highest ones. */
static void top_row(const float *s, int count, int64_t key, struct attn_row *row, int32_t limit,
                    int32_t *keys, float *scores)
{
    for (int j = 0; j < count; j += LANES) {
        bool full = row->top_count == limit;
        vf x = vf_load(s + j);
        vf threshold = vf_set(full ? scores[limit - 1] : -INFINITY);
        if (full && !(vf_max_lane(x) > threshold[0]))
            continue;
        for (int i = 0; i < LANES; i++)
            if (s[j + i] > (row->top_count == limit ? scores[limit - 1] : -INFINITY))
                top_insert(keys, scores, limit, &row->top_count, (int32_t)(key + j + i), s[j + i]);
    }
}

/* Before the sweep: where the maximum stands, if it is higher than any before. */
static void max_key_row(const float *s, int count, int64_t key, struct attn_row *row, float maximum)
{
    if (!(maximum > row->maximum))
        return;
    for (int j = 0; j < count; j++)
        if (s[j] == maximum) {
            row->max_key = (int32_t)(key + j);
            return;
        }
}

/* The weights on keys [begin, end), in the block's own counting, cut to [0, count). */
static float mass_between(const float *e, int count, int64_t begin, int64_t end)
{
    begin = begin < 0 ? 0 : begin;
    end = end > count ? count : end;
    float mass = 0.0f;
    for (int64_t j = begin; j < end; j++)
        mass += e[j];
    return mass;
}

/* The borders of a row whose keys stand at their index. */
static struct attn_mass_borders borders_at(int64_t position, const struct attn_row_extras *extras)
{
    return (struct attn_mass_borders){
        .previous = position - 1,
        .self = position,
        .next = position + 1,
        .after_next = position + 2,
        .first = extras->first_keys,
        .local_begin = position - extras->local_distance,
        .local_end = position + extras->local_distance + 1,
    };
}

static void masses_row(const float *e, int count, int64_t key, const struct attn_mass_borders *at,
                       struct attn_row *row)
{
    row->mass_self += mass_between(e, count, at->self - key, at->next - key);
    row->mass_previous += mass_between(e, count, at->previous - key, at->self - key);
    row->mass_next += mass_between(e, count, at->next - key, at->after_next - key);
    row->mass_first += mass_between(e, count, 0, at->first - key);
    row->mass_local += mass_between(e, count, at->local_begin - key, at->local_end - key);
}

struct distance_sums {
    float total, first, second;
};

/* sum e, sum e x, sum e x^2 with x = |position - j| - pivot; `start` is the distance, signed, to key 0. */
static struct distance_sums distance_look(const float *e, int count, int64_t start, float pivot)
{
    vf distance = vf_set((float)start) - vf_iota();
    vf total = {0}, first = {0}, second = {0};
    for (int j = 0; j < count; j += LANES) {
        vf weight = vf_load(e + j);
        vf x = vf_abs(distance) - pivot;
        total += weight;
        first = weight * x + first;
        second = weight * x * x + second;
        distance -= (float)LANES;
    }
    return (struct distance_sums){vf_sum(total), vf_sum(first), vf_sum(second)};
}

/* Moments of some keys beside those before: `total` of weight, of distance `mean`, m2 = sum e (x - mean)^2. */
static void add_distances(struct attn_row *row, double total, double mean, double m2)
{
    double before = (double)row->distance_sum;
    double delta = mean - row->distance_mean;
    double whole = before + total;
    row->distance_mean += delta * total / whole;
    row->distance_m2 += (m2 > 0.0 ? m2 : 0.0) + delta * delta * before * total / whole;
    row->distance_sum = (float)whole;
}

/* Mean and spread of |position - j| under the weights. The first look finds about where the mean is, the
 * second takes moments around that whole number: a row with one dominating key then has a difference of
 * exactly 0 there, and nothing cancels. Blocks are merged by their own means (the pairwise update of Chan,
 * Golub & LeVeque 1979), in double. */
static void distances_row(const float *e, int count, int64_t key, int64_t position,
                          struct attn_row *row)
{
    const int64_t beyond = distance_beyond(position - key, count);
    const int64_t start = position - key - beyond;
    struct distance_sums sums = distance_look(e, count, start, 0.0f);
    if (!(sums.total > 0.0f))
        return;
    float pivot = rintf(sums.first / sums.total);
    sums = distance_look(e, count, start, pivot);
    double total = (double)sums.total;
    double mean = (double)sums.first / total;
    double m2 = (double)sums.second - total * mean * mean;
    mean += (double)pivot + fabs((double)beyond);
    add_distances(row, total, mean, m2);
}

/* The same where keys stand anywhere: differences are whole numbers, exact in double. */
static void distances_row_standing(const float *e, int count, const int32_t *stands,
                                   int64_t position, struct attn_row *row)
{
    double total = 0.0, mean = 0.0, m2 = 0.0;
    for (int j = 0; j < count; j++) {
        total += (double)e[j];
        mean += (double)e[j] * fabs((double)(position - stands[j]));
    }
    if (!(total > 0.0))
        return;
    mean /= total;
    for (int j = 0; j < count; j++) {
        double from_mean = fabs((double)(position - stands[j])) - mean;
        m2 += (double)e[j] * from_mean * from_mean;
    }
    add_distances(row, total, mean, m2);
}

static void softmax_all(struct attn_softmax_call *call)
{
    const struct attn_row_extras *extras = call->extras;
    call->rescaled = false;
    for (int r = 0; r < call->rows; r++) {
        int group = r / ROWS;
        int first = call->key_first[group], count = call->key_last[group] - first;
        call->rescale[r] = 1.0f;
        if (count <= 0)
            continue;
        float *s = call->scores + (int64_t)r * ATTN_SCORE_STRIDE + first;
        struct attn_row *row = &call->row[r];
        int64_t key = call->key_begin + first;
        float maximum = row_maximum(s, count);
        if (extras->max_key)
            max_key_row(s, count, key, row, maximum);
        if (extras->top_keys > 0)
            top_row(s, count, key, row, extras->top_keys,
                    call->top_keys + (int64_t)r * extras->top_keys,
                    call->top_scores + (int64_t)r * extras->top_keys);
        bool any = softmax_row(s, count, maximum, row, &call->rescale[r], true, true);
        call->rescaled |= call->rescale[r] != 1.0f;
        const int64_t position = call->position + r;
        if (any && extras->masses) {
            const struct attn_mass_borders borders = borders_at(position, extras);
            masses_row(s, count, key, call->borders ? &call->borders[r] : &borders, row);
        }
        if (any && extras->distances && call->stands)
            distances_row_standing(s, count, call->stands + first, position, row);
        else if (any && extras->distances)
            distances_row(s, count, key, position, row);
        narrow_row(s - first, first, count);
    }
}
