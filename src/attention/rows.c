/* From (reference, sums, output) of a row to what the caller asked for. The sums are in base 2, centred on
 * the reference; ln 2 brings them back to nats. Formulas: math.md's "Online softmax with statistics"; with
 * l = sum e, u1 = ln2 sum e t, u2 = ln2^2 sum e t^2:
 *
 *     lse = ln2 reference + ln l        H = ln l - u1 / l        varentropy = u2 / l - (u1 / l)^2 */
#include "attention/rows.h"

#include <math.h>

static const double ln2 = 0.6931471805599453;

void attn_rows_begin(const struct attn_run_state *run, struct attn_scratch *scratch, int rows)
{
    const struct attn_plan *plan = run->plan;
    const int64_t panel = (int64_t)ATTN_BLOCK_ROWS * plan->kernels->columns;
    const int64_t used = (int64_t)attn_int64_div_up(rows, plan->kernels->rows) *
                         plan->kernels->rows * plan->kernels->columns;
    for (int row = 0; row < rows; row++)
        scratch->rows[row] = (struct attn_row){
            .reference = -INFINITY,
            .maximum = -INFINITY,
            .min_logit = INFINITY,
            .min_score = INFINITY,
            .max_logit = -INFINITY,
            .max_key = -1,
        };
    for (int p = 0; run->args->o && p < plan->values.count; p++)
        memset(scratch->output + p * panel, 0, (size_t)used * sizeof(float));
    for (int p = 0; p < plan->segments.count; p++)
        memset(scratch->segment_output + p * panel, 0, (size_t)used * sizeof(float));
}

/* What a finished row is told by. */
struct finished {
    bool empty;    /* no key, or none with weight */
    double sum;    /* l */
    double mean;   /* u1 / l: the mean of ln e */
    float inverse; /* 1 / l; 0 for an empty row */
    float softcap;
};

static struct finished finish(const struct attn_run_state *run, const struct attn_row *row)
{
    struct finished f = {0};
    f.empty = row->sum == 0.0f;
    f.sum = (double)row->sum;
    f.mean = f.empty ? 0.0 : ln2 * (double)row->moment / f.sum;
    f.inverse = f.empty ? 0.0f : 1.0f / row->sum;
    f.softcap = run->plan->problem.softcap;
    return f;
}

static float not_negative(double x)
{
    return x < 0.0 ? 0.0f : (float)x; /* NaN stays */
}

static float score_of_logit(float base2, float softcap)
{
    double u = ln2 * (double)base2;
    return (float)(softcap > 0.0f ? (double)softcap * tanh(u / (double)softcap) : u);
}

static float lse_of(const struct attn_row *row, const struct finished *f)
{
    return f->empty ? -INFINITY : (float)(ln2 * (double)row->reference + log(f->sum));
}

/* What a sink leaves to the keys. With it in the denominator, sum' = sum + 2^(sink - reference); told from
 * the larger of the two exponents, so that neither overflows. */
struct share {
    float output; /* what the unnormalised output is to be multiplied by */
    float lse;    /* with the sink */
};

static struct share share_of(const struct attn_run_state *run, const struct attn_place *place,
                             const struct attn_row *row, const struct finished *f)
{
    struct share share = {f->inverse, 0.0f};
    if (!run->plan->problem.sinks)
        return share;
    double sink = (double)run->args->sinks[place->head];
    if (f->empty) {
        share.lse = (float)sink;
        return share;
    }
    double keys = ln2 * (double)row->reference + log(f->sum);
    double high = keys > sink || keys != keys ? keys : sink; /* NaN stays */
    double both = exp(keys - high) + exp(sink - high);
    share.lse = (float)(high + log(both));
    share.output = (float)(exp(keys - high) / both / f->sum);
    return share;
}

/* The row's reference and sum, and what its output is to be multiplied by to be told against the reference
 * as it was rounded. Beyond 2^24 the rounding is a nat or more, and so is that of the scores themselves:
 * nothing is moved there, where a factor could leave f32 for no digit that is known. */
static float store_unnormalised(const struct attn_run_state *run, const struct attn_row *row,
                                const struct finished *f, int64_t at)
{
    const double reference = ln2 * (double)row->reference;
    const float rounded = f->empty ? -INFINITY : (float)reference;
    const double by = fabs(reference) < 0x1p24 ? reference - (double)rounded : 0.0;
    const double moved = f->empty ? 0.0 : exp(by);
    run->args->reference[at] = rounded;
    run->args->sum[at] = (float)(moved * f->sum);
    return (float)moved;
}

static void store_shape(const struct attn_run_state *run, const struct attn_row *row,
                        const struct finished *f, int64_t at)
{
    const struct attn_plan *plan = run->plan;
    const attn_statistics *s = run->statistics;
    if (attn_plan_wants(plan, ATTN_STAT_ENTROPY))
        s->entropy[at] = f->empty ? 0.0f : not_negative(log(f->sum) - f->mean);
    if (attn_plan_wants(plan, ATTN_STAT_VARENTROPY)) {
        double second = f->empty ? 0.0 : ln2 * ln2 * (double)row->moment2 / f->sum;
        s->varentropy[at] = not_negative(second - f->mean * f->mean);
    }
    if (attn_plan_wants(plan, ATTN_STAT_PARTICIPATION))
        s->participation[at] = f->empty ? 0.0f : (float)(f->sum * f->sum / (double)row->square);
    if (attn_plan_wants(plan, ATTN_STAT_MAX_WEIGHT))
        s->max_weight[at] = f->empty ? 0.0f : exp2f(row->maximum - row->reference) * f->inverse;
    if (attn_plan_wants(plan, ATTN_STAT_MAX_KEY))
        s->max_key[at] = f->empty ? -1 : row->max_key;
}

static void store_extremes(const struct attn_run_state *run, const struct attn_row *row,
                           const struct finished *f, int64_t at)
{
    const struct attn_plan *plan = run->plan;
    const attn_statistics *s = run->statistics;
    const bool any = row->max_logit >= row->min_logit;
    if (attn_plan_wants(plan, ATTN_STAT_MAX_LOGIT))
        s->max_logit[at] = (float)(ln2 * (double)row->max_logit);
    if (attn_plan_wants(plan, ATTN_STAT_MAX_ABS_LOGIT)) {
        float low = fabsf(row->min_logit), high = fabsf(row->max_logit);
        s->max_abs_logit[at] = any ? (float)(ln2 * (double)(low > high ? low : high)) : 0.0f;
    }
    if (attn_plan_wants(plan, ATTN_STAT_MAX_SCORE))
        s->max_score[at] = (float)(ln2 * (double)row->maximum);
    if (attn_plan_wants(plan, ATTN_STAT_MIN_SCORE))
        s->min_score[at] = plan->shaped ? (float)(ln2 * (double)row->min_score)
                           : any        ? score_of_logit(row->min_logit, f->softcap)
                                        : INFINITY;
}

static void store_places(const struct attn_run_state *run, const struct attn_row *row,
                         const struct finished *f, int64_t at)
{
    const struct attn_plan *plan = run->plan;
    const attn_statistics *s = run->statistics;
    if (attn_plan_wants(plan, ATTN_STAT_MASS_SELF))
        s->mass_self[at] = row->mass_self * f->inverse;
    if (attn_plan_wants(plan, ATTN_STAT_MASS_PREVIOUS))
        s->mass_previous[at] = row->mass_previous * f->inverse;
    if (attn_plan_wants(plan, ATTN_STAT_MASS_NEXT))
        s->mass_next[at] = row->mass_next * f->inverse;
    if (attn_plan_wants(plan, ATTN_STAT_MASS_FIRST))
        s->mass_first[at] = row->mass_first * f->inverse;
    if (attn_plan_wants(plan, ATTN_STAT_MASS_LOCAL))
        s->mass_local[at] = row->mass_local * f->inverse;
    if (attn_plan_wants(plan, ATTN_STAT_DISTANCE_MEAN))
        s->distance_mean[at] = f->sum != f->sum ? NAN : (float)row->distance_mean;
    if (attn_plan_wants(plan, ATTN_STAT_DISTANCE_SD)) {
        double variance = f->empty ? 0.0 : row->distance_m2 / (double)row->distance_sum;
        s->distance_sd[at] = f->sum != f->sum ? NAN : (float)sqrt(variance > 0.0 ? variance : 0.0);
    }
}

static void store_lists(const struct attn_run_state *run, const struct attn_scratch *scratch,
                        int row_index, const struct finished *f, int64_t at)
{
    const struct attn_plan *plan = run->plan;
    const attn_statistics *s = run->statistics;
    const struct attn_row *row = &scratch->rows[row_index];
    const int32_t limit = plan->extras.top_keys;
    for (int32_t i = 0; i < limit; i++) {
        bool there = !f->empty && i < row->top_count;
        int64_t from = (int64_t)row_index * limit + i;
        s->top_keys[at * limit + i] = there ? scratch->top_keys[from] : -1;
        s->top_weights[at * limit + i] =
            there ? exp2f(scratch->top_scores[from] - row->reference) * f->inverse : 0.0f;
    }
    const int columns = plan->kernels->columns;
    for (int32_t i = 0; plan->segments.count > 0 && i < plan->wanted.segments; i++) {
        int64_t panel = i / columns, lane = i % columns;
        s->mass_segments[at * plan->wanted.segments + i] =
            scratch->segment_output[(panel * ATTN_BLOCK_ROWS + row_index) * columns + lane] *
            f->inverse;
    }
}

void attn_rows_finish(const struct attn_run_state *run, const struct attn_place *place,
                      const struct attn_mask *mask, struct attn_scratch *scratch, int64_t row_begin,
                      int rows)
{
    const struct attn_plan *plan = run->plan;
    const int columns = plan->kernels->columns;
    for (int i = 0; i < rows; i++) {
        const struct attn_row *row = &scratch->rows[i];
        struct finished f = finish(run, row);
        int64_t at = place->rows_at + row_begin + i;
        struct share share = share_of(run, place, row, &f);
        if (plan->problem.unnormalised)
            share.output = store_unnormalised(run, row, &f, at);
        if (run->args->o)
            plan->kernels->store_row(
                scratch->output + (int64_t)i * columns, ATTN_BLOCK_ROWS, plan->problem.head_size_v,
                share.output, attn_place_output(run, place, row_begin + i), plan->problem.o.dtype);
        if (run->args->lse)
            run->args->lse[at] = lse_of(row, &f);
        if (run->args->lse_with_sink)
            run->args->lse_with_sink[at] = share.lse;
        if (plan->second_sweep) {
            run->workspace.reference[at] = f.empty ? 0.0f : row->reference;
            run->workspace.inverse[at] = f.inverse;
        }
        if (!run->statistics)
            continue;
        store_shape(run, row, &f, at);
        store_extremes(run, row, &f, at);
        store_places(run, row, &f, at);
        store_lists(run, scratch, i, &f, at);
        if (attn_plan_wants(plan, ATTN_STAT_VISIBLE_KEYS))
            run->statistics->visible_keys[at] =
                plan->reads_masks ? row->visible : (int32_t)attn_mask_visible(mask, row_begin + i);
    }
}
