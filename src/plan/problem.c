/* Whether a problem can be served: each argument by itself, then what they make together. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/error.h"
#include "base/layout.h"
#include "exec/exec.h"
#include "plan/lengths.h"
#include "plan/plan.h"
#include "rotary/rotary.h"

static attn_status check_count(const char *name, int64_t value, int64_t low, int64_t high,
                               attn_error *error)
{
    if (value < low || value > high)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "problem.%s is %" PRId64 "; it may be %" PRId64 " to %" PRId64, name,
                         value, low, high);
    return ATTN_OK;
}

static attn_status check_shape(const attn_problem *p, attn_error *error)
{
    const int64_t most =
        INT32_MAX; /* keys are told as int32 in statistics; nobody has more heads */
    const struct {
        const char *name;
        int64_t value, low;
    } counts[] = {
        {"batch", p->batch, 0},
        {"heads", p->heads, 0},
        {"kv_heads", p->kv_heads, 0},
        {"queries", p->queries, 0},
        {"keys", p->keys, 0},
        {"head_size", p->head_size, 1},
        {"head_size_v", p->head_size_v, 1},
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        attn_status status =
            check_count(counts[i].name, counts[i].value, counts[i].low, most, error);
        if (status)
            return status;
    }
    if (p->kv_heads == 0 ? p->heads != 0 : p->heads % p->kv_heads != 0)
        return attn_fail(error, ATTN_ERR_SHAPE,
                         "problem.heads is %" PRId64
                         "; it must be a multiple of kv_heads, which is %" PRId64,
                         p->heads, p->kv_heads);
    return ATTN_OK;
}

static attn_status check_layout(const char *name, const attn_layout *layout,
                                const int64_t extent[4], bool output, attn_error *error)
{
    if (layout->stride[3] != 1)
        return attn_fail(error, ATTN_ERR_STRIDE,
                         "problem.%s.stride[3] is %" PRId64 "; the last stride must be 1", name,
                         layout->stride[3]);
    const bool empty = attn_layout_is_empty(extent);
    if (!empty && !attn_layout_span_fits(layout, extent))
        return attn_fail(error, ATTN_ERR_OVERFLOW,
                         "problem.%s has strides {%" PRId64 ", %" PRId64 ", %" PRId64
                         ", 1} that reach past what an address can tell",
                         name, layout->stride[0], layout->stride[1], layout->stride[2]);
    if (!empty && output && !attn_layout_is_injective(layout, extent))
        return attn_fail(error, ATTN_ERR_STRIDE,
                         "problem.%s has strides {%" PRId64 ", %" PRId64 ", %" PRId64
                         ", 1}: elements of the output would overlap",
                         name, layout->stride[0], layout->stride[1], layout->stride[2]);
    return ATTN_OK;
}

static attn_status check_dtypes(const attn_problem *p, attn_error *error)
{
    const struct {
        const char *name;
        attn_dtype dtype;
    } tensors[] = {{"q", p->q.dtype}, {"k", p->k.dtype}, {"v", p->v.dtype}, {"o", p->o.dtype}};
    const int step = p->cache ? 3 : 1; /* a cache has types of its own */
    for (int i = 0; i < 4; i += step)
        if ((int)tensors[i].dtype < ATTN_F32 || (int)tensors[i].dtype > ATTN_F16)
            return attn_fail(error, ATTN_ERR_DTYPE,
                             "problem.%s.dtype is %d; it may be ATTN_F32 (1), ATTN_BF16 (2) or "
                             "ATTN_F16 (3)",
                             tensors[i].name, (int)tensors[i].dtype);
    for (int i = step; i < 4; i += step)
        if (tensors[i].dtype != p->q.dtype && !(i == 3 && tensors[i].dtype == ATTN_F32))
            return attn_fail(error, ATTN_ERR_DTYPE,
                             "problem.%s.dtype is %d; it must be that of q, %d%s", tensors[i].name,
                             (int)tensors[i].dtype, (int)p->q.dtype,
                             i == 3 ? ", or ATTN_F32 (1)" : "");
    if (p->unnormalised && p->o.dtype != ATTN_F32)
        return attn_fail(error, ATTN_ERR_DTYPE,
                         "problem.o.dtype is %d; an unnormalised o must be ATTN_F32 (1)",
                         (int)p->o.dtype);
    return ATTN_OK;
}

static attn_status check_lengths(const attn_problem *p, attn_error *error)
{
    if ((unsigned)p->lengths > ATTN_LENGTHS_RAGGED_I64)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "problem.lengths is %d; it may be ATTN_LENGTHS_EQUAL (0) to "
                         "ATTN_LENGTHS_RAGGED_I64 (3)",
                         (int)p->lengths);
    const struct {
        const char *name;
        int64_t value;
    } totals[] = {{"total_queries", p->total_queries}, {"total_keys", p->total_keys}};
    int64_t most = attn_is_ragged(p->lengths) ? INT32_MAX : 0;
    for (int i = 0; i < 2; i++)
        if (totals[i].value < 0 || totals[i].value > most)
            return attn_fail(error, ATTN_ERR_SHAPE,
                             "problem.%s is %" PRId64 "; it may be 0 to %" PRId64 "%s",
                             totals[i].name, totals[i].value, most,
                             most == 0 ? " unless the batch is ragged" : "");
    return ATTN_OK;
}

static attn_status check_layouts(const attn_problem *p, attn_error *error)
{
    const bool ragged = attn_is_ragged(p->lengths);
    const int64_t batch = ragged ? 1 : p->batch;
    const int64_t queries = ragged ? p->total_queries : p->queries;
    const int64_t keys = ragged ? p->total_keys : p->keys;
    const int64_t q[4] = {batch, p->heads, queries, p->head_size};
    const int64_t k[4] = {batch, p->kv_heads, keys, p->head_size};
    const int64_t v[4] = {batch, p->kv_heads, keys, p->head_size_v};
    const int64_t o[4] = {batch, p->heads, queries, p->head_size_v};
    attn_status status = check_dtypes(p, error);
    if (!status)
        status = check_layout("q", &p->q, q, false, error);
    if (!status && !p->cache)
        status = check_layout("k", &p->k, k, false, error);
    if (!status && !p->cache)
        status = check_layout("v", &p->v, v, false, error);
    if (!status)
        status = check_layout("o", &p->o, o, true, error);
    return status;
}

attn_status attn_window_check(const char *name, int64_t index, const attn_window *window,
                              attn_error *error)
{
    const int64_t most = INT32_MAX;
    char where[64] = "";
    if (index >= 0)
        snprintf(where, sizeof where, "[%" PRId64 "]", index);
    if (window->left < -1 || window->left > most || window->right < -1 || window->right > most)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "%s%s is (left %" PRId64 ", right %" PRId64
                         "); each may be -1 (unlimited) to 2147483647",
                         name, where, window->left, window->right);
    if (window->prefix < 0 || window->prefix > most)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "%s%s.prefix is %" PRId64 "; it may be 0 to 2147483647", name, where,
                         window->prefix);
    return ATTN_OK;
}

static attn_status check_numbers(const attn_problem *p, attn_error *error)
{
    if (!isfinite(p->scale))
        return attn_fail(error, ATTN_ERR_VALUE, "problem.scale is %g; it must be finite",
                         (double)p->scale);
    if (!isfinite(p->softcap) || p->softcap < 0.0f)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "problem.softcap is %g; it must be finite, and 0 (none) or more",
                         (double)p->softcap);
    if ((unsigned)p->alignment > ATTN_OFFSET)
        return attn_fail(
            error, ATTN_ERR_VALUE,
            "problem.alignment is %d; it may be ATTN_BOTTOM_RIGHT (0), ATTN_TOP_LEFT (1) "
            "or ATTN_OFFSET (2)",
            (int)p->alignment);
    if (p->excluded_keys < 0 || p->excluded_keys > 4096)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "problem.excluded_keys is %" PRId64 "; it may be 0 to 4096",
                         p->excluded_keys);
    if (p->workspace_threads < 0 || p->workspace_threads > ATTN_THREADS_MAX)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "problem.workspace_threads is %d; it may be 0 (those of the default "
                         "executor) to %d",
                         p->workspace_threads, ATTN_THREADS_MAX);
    return attn_window_check("problem.window", -1, &p->window, error);
}

static attn_status check_wanted(const attn_statistics_wanted *wanted, attn_error *error)
{
    const uint32_t known = (ATTN_STAT_PAIRS << 1) - 1;
    if (wanted->struct_size != sizeof *wanted)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "problem.statistics.struct_size is %zu; this library knows %zu",
                         wanted->struct_size, sizeof *wanted);
    if (wanted->set & ~known)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "problem.statistics.set is 0x%" PRIx32
                         "; it may hold ATTN_STAT_* bits only",
                         wanted->set);
    const struct {
        const char *name;
        int32_t value, low, high;
    } numbers[] = {
        {"first_keys", wanted->first_keys, 0, INT32_MAX},
        {"local_distance", wanted->local_distance, 0, 1024},
        {"segments", wanted->segments, 0, 32},
        {"top_keys", wanted->top_keys, 0, ATTN_TOP_KEYS_MAX},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (numbers[i].value < numbers[i].low || numbers[i].value > numbers[i].high)
            return attn_fail(error, ATTN_ERR_VALUE,
                             "problem.statistics.%s is %" PRId32 "; it may be %" PRId32
                             " to %" PRId32,
                             numbers[i].name, numbers[i].value, numbers[i].low, numbers[i].high);
    return ATTN_OK;
}

/* The largest arrays a run may be asked for, in bytes, must be told by an int64_t. */
static attn_status check_outputs(const attn_problem *p, const attn_statistics_wanted *wanted,
                                 attn_error *error)
{
    int64_t widest = attn_int64_max(1, attn_int64_max(wanted->segments, wanted->top_keys));
    int64_t rows, columns;
    if (!attn_int64_mul(&rows, p->batch, p->heads) ||
        !attn_int64_mul(&columns, rows, attn_int64_max(p->keys, p->excluded_keys)) ||
        !attn_int64_mul(&rows, rows, p->queries) || !attn_int64_mul(&rows, rows, widest) ||
        rows > INT64_MAX / 16 || columns > INT64_MAX / 16)
        return attn_fail(
            error, ATTN_ERR_OVERFLOW,
            "problem.batch * heads * queries (or keys) is more than an address can tell: "
            "%" PRId64 " * %" PRId64 " * %" PRId64 " (%" PRId64 ")",
            p->batch, p->heads, p->queries, p->keys);
    return ATTN_OK;
}

static attn_status check_rotary(const attn_problem *p, attn_error *error)
{
    attn_status status = attn_rotary_check(p->rotary, error);
    if (!status && p->rotary->size > p->head_size)
        status =
            attn_fail(error, ATTN_ERR_SHAPE,
                      "problem.rotary.size is %" PRId64 "; it may be at most head_size, %" PRId64,
                      p->rotary->size, p->head_size);
    return status;
}

/* The stride of an axis of at most one element may be anything; 0 is what can be multiplied and stepped by
 * without a thought. */
static void settle(int64_t *stride, int64_t batch, int64_t heads, int64_t length)
{
    const int64_t extent[3] = {batch, heads, length};
    for (int axis = 0; axis < 3; axis++)
        if (extent[axis] <= 1)
            stride[axis] = 0;
}

static void settle_strides(attn_problem *p, attn_scores *scores)
{
    const bool ragged = attn_is_ragged(p->lengths);
    const int64_t batch = ragged ? 1 : p->batch;
    const int64_t queries = ragged ? p->total_queries : p->queries;
    const int64_t keys = ragged ? p->total_keys : p->keys;
    settle(p->q.stride, batch, p->heads, queries);
    settle(p->k.stride, batch, p->kv_heads, keys);
    settle(p->v.stride, batch, p->kv_heads, keys);
    settle(p->o.stride, batch, p->heads, queries);
    settle(scores->mask_stride, p->batch, p->heads, p->queries);
    settle(scores->bias_stride, p->batch, p->heads, p->queries);
}

attn_status attn_problem_check(struct attn_plan *plan, const attn_problem *problem,
                               attn_error *error)
{
    if (!problem)
        return attn_fail(error, ATTN_ERR_NULL, "problem is NULL; it must be given");
    if (problem->struct_size != sizeof *problem)
        return attn_fail(
            error, ATTN_ERR_STRUCT_SIZE,
            "problem.struct_size is %zu; this library knows %zu (use attn_problem_init)",
            problem->struct_size, sizeof *problem);
    attn_status status = check_shape(problem, error);
    if (!status)
        status = check_numbers(problem, error);
    if (!status)
        status = check_lengths(problem, error);
    if (!status)
        status = check_layouts(problem, error);
    attn_statistics_wanted none = attn_statistics_wanted_init(0);
    const attn_statistics_wanted *wanted = problem->statistics ? problem->statistics : &none;
    if (!status)
        status = check_wanted(wanted, error);
    if (!status)
        status = check_outputs(problem, wanted, error);
    if (!status && problem->cache)
        status = attn_cache_check(problem, error);
    if (status)
        return status;
    attn_scores plain = attn_scores_init();
    const attn_scores *scores = problem->scores ? problem->scores : &plain;
    status = attn_scores_check(problem, scores, error);
    if (status)
        return status;
    plan->scores = *scores;
    plan->scores_given = problem->scores != NULL;
    plan->scores.constant = NULL;
    plan->constant_given = scores->constant != NULL;
    if (scores->constant)
        plan->constant = *scores->constant;
    plan->reads_masks = scores->mask != ATTN_MASK_NONE || scores->bias != 0 || scores->documents ||
                        scores->block_rows > 0 || scores->function;
    plan->shaped = plan->reads_masks || scores->alibi;
    plan->problem = *problem;
    plan->problem.scores = NULL;
    plan->problem.cache = NULL;
    plan->cached = problem->cache != NULL;
    if (problem->cache)
        plan->cache = *problem->cache;
    settle_strides(&plan->problem, &plan->scores);
    plan->wanted = *wanted;
    plan->statistics_given = problem->statistics != NULL;
    plan->problem.statistics = NULL;
    if (problem->rotary) {
        status = check_rotary(problem, error);
        if (status)
            return status;
    }
    return plan->constant_given ? attn_scores_constant_check(plan, error) : ATTN_OK;
}
