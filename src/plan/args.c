/* Whether a run's arguments fit its plan. The tensors themselves are not read; the small arrays that say
 * where things are (offsets, windows, prefixes, segment ids, requests) are, every entry of them. */
#include <inttypes.h>
#include <math.h>

#include "base/error.h"
#include "base/half.h"
#include "plan/lengths.h"
#include "plan/plan.h"

static attn_status check_length(const char *name, int64_t value, int64_t most, attn_error *error)
{
    if (value < 0 || value > most)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "args.%s is %" PRId64 "; it may be 0 to %" PRId64 ", the plan's maximum",
                         name, value, most);
    return ATTN_OK;
}

static attn_status check_pointer(const char *name, const void *pointer, size_t alignment,
                                 bool needed, attn_error *error)
{
    if (needed && !pointer)
        return attn_fail(error, ATTN_ERR_NULL, "args.%s is NULL; this run needs it", name);
    if ((uintptr_t)pointer % alignment != 0)
        return attn_fail(error, ATTN_ERR_ALIGNMENT,
                         "args.%s is %p; it must be aligned to its elements of %zu bytes", name,
                         pointer, alignment);
    return ATTN_OK;
}

/* An array that the plan announced must be there; one it did not must not be, or it would be ignored
 * without a word. */
static attn_status check_announced(const char *name, const void *pointer, size_t alignment,
                                   bool announced, bool empty, const char *by, attn_error *error)
{
    if (!announced && pointer)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "args.%s is given, but the plan was made without %s; it must be NULL",
                         name, by);
    return check_pointer(name, pointer, alignment, announced && !empty, error);
}

static attn_status check_padded(const char *name, const int64_t *length, int64_t batch,
                                int64_t most, attn_error *error)
{
    for (int64_t b = 0; b < batch; b++)
        if (length[b] < 0 || length[b] > most)
            return attn_fail(error, ATTN_ERR_VALUE,
                             "args.%s[%" PRId64 "] is %" PRId64 "; it may be 0 to %" PRId64, name,
                             b, length[b], most);
    return ATTN_OK;
}

static attn_status check_cu_seqlens(const char *name, attn_lengths lengths, const void *cu,
                                    int64_t batch, int64_t most, int64_t total, attn_error *error)
{
    int64_t before = attn_cu_seqlens(lengths, cu, 0);
    if (before != 0)
        return attn_fail(error, ATTN_ERR_VALUE, "args.%s[0] is %" PRId64 "; it must be 0", name,
                         before);
    for (int64_t b = 1; b <= batch; b++) {
        int64_t end = attn_cu_seqlens(lengths, cu, b);
        if (end < before || end - before > most)
            return attn_fail(error, ATTN_ERR_VALUE,
                             "args.%s[%" PRId64 "] is %" PRId64 "; after %" PRId64
                             " it may be that to %" PRId64,
                             name, b, end, before, before + most);
        before = end;
    }
    if (before > total)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "args.%s[%" PRId64 "] is %" PRId64 "; it may be 0 to %" PRId64
                         ", the plan's total",
                         name, batch, before, total);
    return ATTN_OK;
}

static attn_status check_lengths(const struct attn_plan *plan, const attn_args *args,
                                 attn_error *error)
{
    const attn_lengths lengths = plan->problem.lengths;
    const bool padded = lengths == ATTN_LENGTHS_PADDED, ragged = attn_is_ragged(lengths);
    const bool keys = !plan->cached; /* with a cache its table tells: plan/cache.c */
    const size_t width = lengths == ATTN_LENGTHS_RAGGED_I32 ? 4 : 8;
    const bool none = args->batch == 0;
    attn_status status = check_announced("query_lengths", args->query_lengths, 8, padded, none,
                                         "ATTN_LENGTHS_PADDED", error);
    if (!status && keys)
        status = check_announced("key_lengths", args->key_lengths, 8, padded, none,
                                 "ATTN_LENGTHS_PADDED", error);
    if (!status)
        status = check_announced("cu_seqlens_q", args->cu_seqlens_q, width, ragged, false,
                                 "ATTN_LENGTHS_RAGGED", error);
    if (!status && keys)
        status = check_announced("cu_seqlens_k", args->cu_seqlens_k, width, ragged, false,
                                 "ATTN_LENGTHS_RAGGED", error);
    if (!status && padded)
        status =
            check_padded("query_lengths", args->query_lengths, args->batch, args->queries, error);
    if (!status && padded && keys)
        status = check_padded("key_lengths", args->key_lengths, args->batch, args->keys, error);
    if (!status && ragged)
        status = check_cu_seqlens("cu_seqlens_q", lengths, args->cu_seqlens_q, args->batch,
                                  args->queries, plan->problem.total_queries, error);
    if (!status && ragged && keys)
        status = check_cu_seqlens("cu_seqlens_k", lengths, args->cu_seqlens_k, args->batch,
                                  args->keys, plan->problem.total_keys, error);
    return status;
}

static attn_status check_sinks(const struct attn_plan *plan, const attn_args *args,
                               attn_error *error)
{
    const bool announced = plan->problem.sinks;
    attn_status status = check_announced("sinks", args->sinks, sizeof(float), announced,
                                         plan->problem.heads == 0, "problem.sinks", error);
    if (!status)
        status = check_announced("lse_with_sink", args->lse_with_sink, sizeof(float), announced,
                                 true, "problem.sinks", error);
    for (int64_t h = 0; !status && announced && h < plan->problem.heads; h++)
        if (!(args->sinks[h] < INFINITY))
            status = attn_fail(error, ATTN_ERR_VALUE,
                               "args.sinks[%" PRId64 "] is %g; it may be any finite number, or "
                               "-inf for none",
                               h, (double)args->sinks[h]);
    return status;
}

static attn_status check_unnormalised(const struct attn_plan *plan, const attn_args *args,
                                      attn_error *error)
{
    const bool announced = plan->problem.unnormalised;
    const bool empty = args->batch == 0 || plan->problem.heads == 0 || args->queries == 0;
    attn_status status = check_announced("reference", args->reference, sizeof(float), announced,
                                         empty, "problem.unnormalised", error);
    if (!status)
        status = check_announced("sum", args->sum, sizeof(float), announced, empty,
                                 "problem.unnormalised", error);
    return status;
}

static attn_status check_tensors(const struct attn_plan *plan, const attn_args *args,
                                 attn_error *error)
{
    const size_t width = (size_t)attn_dtype_size(plan->problem.q.dtype);
    const bool any = plan->problem.heads > 0;
    const bool rows = any && attn_total_queries(plan->problem.lengths, args) > 0;
    const bool keys = any && attn_plan_total_keys(plan, args) > 0;
    attn_status status = check_pointer("q", args->q, width, rows && keys, error);
    if (!status)
        status = check_pointer("k", args->k, width, rows && keys && !plan->cached, error);
    if (!status)
        status =
            check_pointer("v", args->v, width, rows && keys && !plan->cached && args->o, error);
    if (!status)
        status = check_pointer("o", args->o, (size_t)attn_dtype_size(plan->problem.o.dtype), false,
                               error);
    if (!status)
        status = check_pointer("lse", args->lse, sizeof(float), false, error);
    return status;
}

static attn_status check_offsets(const struct attn_plan *plan, const attn_args *args,
                                 attn_error *error)
{
    bool announced = plan->problem.alignment == ATTN_OFFSET;
    attn_status status = check_announced("query_offset", args->query_offset, sizeof(int64_t),
                                         announced, args->batch == 0, "ATTN_OFFSET", error);
    if (status || !announced)
        return status;
    for (int64_t b = 0; b < args->batch; b++)
        if (args->query_offset[b] < -INT32_MAX || args->query_offset[b] > INT32_MAX)
            return attn_fail(error, ATTN_ERR_VALUE,
                             "args.query_offset[%" PRId64 "] is %" PRId64
                             "; it may be -2147483647 to 2147483647",
                             b, args->query_offset[b]);
    return ATTN_OK;
}

static attn_status check_positions(const struct attn_plan *plan, const attn_args *args,
                                   attn_error *error)
{
    const bool may = plan->turn != NULL; /* NULL is the default */
    attn_status status = check_announced("query_positions", args->query_positions, sizeof(int64_t),
                                         may, true, "problem.rotary", error);
    if (!status)
        status = check_announced("key_positions", args->key_positions, sizeof(int64_t), may, true,
                                 "problem.rotary", error);
    return status;
}

static attn_status check_windows(const struct attn_plan *plan, const attn_args *args,
                                 attn_error *error)
{
    bool announced = plan->problem.head_windows;
    attn_status status =
        check_announced("head_windows", args->head_windows, sizeof(int64_t), announced,
                        plan->problem.heads == 0, "problem.head_windows", error);
    for (int64_t h = 0; !status && announced && h < plan->problem.heads; h++)
        status = attn_window_check("args.head_windows", h, &args->head_windows[h], error);
    return status;
}

static attn_status check_prefix_lm(const struct attn_plan *plan, const attn_args *args,
                                   attn_error *error)
{
    bool announced = plan->problem.prefix_lm;
    int64_t heads = plan->problem.heads;
    const int64_t *stride = args->prefix_lm_stride;
    attn_status status =
        check_announced("prefix_lm", args->prefix_lm, sizeof(int64_t), announced,
                        args->batch == 0 || heads == 0, "problem.prefix_lm", error);
    if (status || !announced)
        return status;
    const attn_layout as_layout = {ATTN_F32, {stride[0], stride[1], 0, 1}};
    for (int axis = 0; axis < 2; axis++)
        if (as_layout.stride[axis] > INT32_MAX || as_layout.stride[axis] < -INT32_MAX)
            return attn_fail(error, ATTN_ERR_STRIDE,
                             "args.prefix_lm_stride[%d] is %" PRId64
                             "; it may be -2147483647 to 2147483647",
                             axis, stride[axis]);
    for (int64_t b = 0; b < args->batch; b++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t prefix = args->prefix_lm[b * stride[0] + h * stride[1]];
            if (prefix < 0)
                return attn_fail(error, ATTN_ERR_VALUE,
                                 "args.prefix_lm of sequence %" PRId64 ", head %" PRId64
                                 " is %" PRId64 "; it may be 0 or more",
                                 b, h, prefix);
        }
    return ATTN_OK;
}

static attn_status check_excluded(const struct attn_plan *plan, const attn_args *args,
                                  attn_error *error)
{
    int64_t most = plan->problem.excluded_keys;
    int64_t count = args->batch * plan->problem.heads * most;
    attn_status status = check_announced("excluded_keys", args->excluded_keys, sizeof(int64_t),
                                         most > 0, count == 0, "problem.excluded_keys", error);
    for (int64_t i = 0; !status && i < count; i++)
        if (args->excluded_keys[i] < -1 || args->excluded_keys[i] >= args->keys)
            status = attn_fail(error, ATTN_ERR_VALUE,
                               "args.excluded_keys[%" PRId64 "] is %" PRId64
                               "; it may be -1 (none) to %" PRId64,
                               i, args->excluded_keys[i], args->keys - 1);
    return status;
}

static attn_status check_segments(const struct attn_plan *plan, const attn_args *args,
                                  attn_error *error)
{
    const attn_statistics *s = args->statistics;
    const int64_t count = attn_plan_total_keys(plan, args);
    attn_status status =
        check_pointer("statistics.segment_ids", s->segment_ids, 1, count > 0, error);
    for (int64_t i = 0; !status && i < count; i++)
        if (s->segment_ids[i] >= plan->wanted.segments)
            status = attn_fail(error, ATTN_ERR_VALUE,
                               "args.statistics.segment_ids[%" PRId64
                               "] is %d; it must be less than the plan's segments, %" PRId32,
                               i, (int)s->segment_ids[i], plan->wanted.segments);
    return status;
}

static attn_status check_index(const char *array, int64_t i, const char *field, int64_t value,
                               int64_t count, attn_error *error)
{
    if (value < 0 || value >= count)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "args.statistics.%s[%" PRId64 "].%s is %" PRId64
                         "; it must be in [0, %" PRId64 ")",
                         array, i, field, value, count);
    return ATTN_OK;
}

static attn_status check_requests(const struct attn_plan *plan, const attn_args *args,
                                  attn_error *error)
{
    const attn_statistics *s = args->statistics;
    if (s->weights_count < 0)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "args.statistics.weights_count is %" PRId64 "; it may be 0 or more",
                         s->weights_count);
    attn_status status = check_pointer("statistics.weights", s->weights, sizeof(int64_t),
                                       s->weights_count > 0, error);
    for (int64_t i = 0; !status && i < s->weights_count; i++) {
        const attn_weights_request *r = &s->weights[i];
        status = check_index("weights", i, "batch", r->batch, args->batch, error);
        if (!status)
            status = check_index("weights", i, "head", r->head, plan->problem.heads, error);
        int64_t rows = status ? 0 : attn_query_span(plan->problem.lengths, args, r->batch).length;
        if (!status && (r->row_begin < 0 || r->row_end < r->row_begin || r->row_end > rows))
            status = attn_fail(error, ATTN_ERR_VALUE,
                               "args.statistics.weights[%" PRId64 "] asks for rows [%" PRId64
                               ", %" PRId64 "); they must lie in [0, %" PRId64 ")",
                               i, r->row_begin, r->row_end, rows);
        if (!status)
            status = check_pointer("statistics.weights[].weights", r->weights, sizeof(float),
                                   r->row_end > r->row_begin && args->keys > 0, error);
    }
    return status;
}

static attn_status check_pairs(const struct attn_plan *plan, const attn_args *args,
                               attn_error *error)
{
    const attn_statistics *s = args->statistics;
    if (s->pairs_count < 0)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "args.statistics.pairs_count is %" PRId64 "; it may be 0 or more",
                         s->pairs_count);
    attn_status status =
        check_pointer("statistics.pairs", s->pairs, sizeof(int64_t), s->pairs_count > 0, error);
    if (!status)
        status = check_pointer("statistics.pair_weights", s->pair_weights, sizeof(float),
                               s->pairs_count > 0, error);
    for (int64_t i = 0; !status && i < s->pairs_count; i++) {
        const attn_pair *pair = &s->pairs[i];
        status = check_index("pairs", i, "batch", pair->batch, args->batch, error);
        if (!status)
            status = check_index("pairs", i, "head", pair->head, plan->problem.heads, error);
        if (!status)
            status = check_index("pairs", i, "query", pair->query,
                                 attn_query_span(plan->problem.lengths, args, pair->batch).length,
                                 error);
        if (!status)
            status = check_index("pairs", i, "key", pair->key,
                                 attn_plan_key_span(plan, args, pair->batch).length, error);
    }
    return status;
}

static attn_status check_statistics(const struct attn_plan *plan, const attn_args *args,
                                    attn_error *error)
{
    const attn_statistics *s = args->statistics;
    if (plan->wanted.set == 0)
        return check_announced("statistics", s, 1, plan->statistics_given, true,
                               "problem.statistics", error);
    if (!s)
        return attn_fail(error, ATTN_ERR_NULL,
                         "args.statistics is NULL; the plan was made to measure statistics");
    if (s->struct_size != sizeof *s)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "args.statistics.struct_size is %zu; this library knows %zu",
                         s->struct_size, sizeof *s);
    const bool any = plan->problem.heads > 0;
    const bool rows = any && attn_total_queries(plan->problem.lengths, args) > 0;
    const bool columns = any && attn_plan_total_keys(plan, args) > 0;
    const struct {
        uint32_t bit;
        const char *name;
        const void *pointer;
        bool any;
    } arrays[] = {
        {ATTN_STAT_ENTROPY, "statistics.entropy", s->entropy, rows},
        {ATTN_STAT_VARENTROPY, "statistics.varentropy", s->varentropy, rows},
        {ATTN_STAT_PARTICIPATION, "statistics.participation", s->participation, rows},
        {ATTN_STAT_MAX_WEIGHT, "statistics.max_weight", s->max_weight, rows},
        {ATTN_STAT_MAX_KEY, "statistics.max_key", s->max_key, rows},
        {ATTN_STAT_MAX_LOGIT, "statistics.max_logit", s->max_logit, rows},
        {ATTN_STAT_MAX_ABS_LOGIT, "statistics.max_abs_logit", s->max_abs_logit, rows},
        {ATTN_STAT_MAX_SCORE, "statistics.max_score", s->max_score, rows},
        {ATTN_STAT_MIN_SCORE, "statistics.min_score", s->min_score, rows},
        {ATTN_STAT_MASS_SELF, "statistics.mass_self", s->mass_self, rows},
        {ATTN_STAT_MASS_PREVIOUS, "statistics.mass_previous", s->mass_previous, rows},
        {ATTN_STAT_MASS_NEXT, "statistics.mass_next", s->mass_next, rows},
        {ATTN_STAT_MASS_FIRST, "statistics.mass_first", s->mass_first, rows},
        {ATTN_STAT_MASS_LOCAL, "statistics.mass_local", s->mass_local, rows},
        {ATTN_STAT_MASS_SEGMENTS, "statistics.mass_segments", s->mass_segments,
         rows && plan->wanted.segments > 0},
        {ATTN_STAT_DISTANCE_MEAN, "statistics.distance_mean", s->distance_mean, rows},
        {ATTN_STAT_DISTANCE_SD, "statistics.distance_sd", s->distance_sd, rows},
        {ATTN_STAT_VISIBLE_KEYS, "statistics.visible_keys", s->visible_keys, rows},
        {ATTN_STAT_COLUMN_MASS, "statistics.column_mass", s->column_mass, columns},
        {ATTN_STAT_COLUMN_VIEWERS, "statistics.column_viewers", s->column_viewers, columns},
        {ATTN_STAT_TOP_KEYS, "statistics.top_keys", s->top_keys, rows && plan->wanted.top_keys > 0},
        {ATTN_STAT_TOP_KEYS, "statistics.top_weights", s->top_weights,
         rows && plan->wanted.top_keys > 0},
    };
    attn_status status = ATTN_OK;
    for (size_t i = 0; !status && i < sizeof arrays / sizeof arrays[0]; i++)
        if (attn_plan_wants(plan, arrays[i].bit))
            status = check_pointer(arrays[i].name, arrays[i].pointer, sizeof(float), arrays[i].any,
                                   error);
    if (!status && attn_plan_wants(plan, ATTN_STAT_MASS_SEGMENTS))
        status = check_segments(plan, args, error);
    if (!status && attn_plan_wants(plan, ATTN_STAT_WEIGHTS))
        status = check_requests(plan, args, error);
    if (!status && attn_plan_wants(plan, ATTN_STAT_PAIRS))
        status = check_pairs(plan, args, error);
    return status;
}

attn_status attn_args_check(const struct attn_plan *plan, const attn_args *args, attn_error *error)
{
    if (!args)
        return attn_fail(error, ATTN_ERR_NULL, "args is NULL; it must be given");
    if (args->struct_size != sizeof *args)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "args.struct_size is %zu; this library knows %zu (use attn_args_init)",
                         args->struct_size, sizeof *args);
    attn_status status = check_length("batch", args->batch, plan->problem.batch, error);
    if (!status)
        status = check_length("queries", args->queries, plan->problem.queries, error);
    if (!status)
        status = check_length("keys", args->keys, plan->problem.keys, error);
    if (!status)
        status = check_lengths(plan, args, error);
    if (!status)
        status = attn_cache_args_check(plan, args, error);
    if (!status)
        status = check_tensors(plan, args, error);
    if (!status)
        status = check_sinks(plan, args, error);
    if (!status)
        status = check_unnormalised(plan, args, error);
    if (!status)
        status = check_offsets(plan, args, error);
    if (!status)
        status = check_positions(plan, args, error);
    if (!status)
        status = check_windows(plan, args, error);
    if (!status)
        status = check_prefix_lm(plan, args, error);
    if (!status)
        status = check_excluded(plan, args, error);
    if (!status)
        status = attn_scores_args_check(plan, args, error);
    if (!status)
        status = check_statistics(plan, args, error);
    return status;
}
