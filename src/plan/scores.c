/* Whether masks, biases and the rest of attn/scores.h can be served. Block lists and slopes are read,
 * mask and bias tensors are not. */
#include <inttypes.h>
#include <math.h>

#include "base/error.h"
#include "base/half.h"
#include "plan/lengths.h"
#include "plan/plan.h"

/* Byte offsets must be told by an int64_t; negative strides are as good as others. */
static attn_status check_strides(const char *name, const int64_t stride[3], const attn_problem *p,
                                 attn_error *error)
{
    const int64_t extent[3] = {p->batch, p->heads, p->queries};
    int64_t span = p->keys;
    for (int axis = 0; axis < 3; axis++) {
        int64_t reach;
        if (extent[axis] <= 1)
            continue;
        if (stride[axis] == INT64_MIN ||
            !attn_int64_mul(&reach, stride[axis] < 0 ? -stride[axis] : stride[axis],
                            extent[axis] - 1) ||
            !attn_int64_add(&span, span, reach) || span > INT64_MAX / 16)
            return attn_fail(error, ATTN_ERR_OVERFLOW,
                             "problem.scores.%s[%d] is %" PRId64
                             "; it reaches past what an address can tell",
                             name, axis, stride[axis]);
    }
    return ATTN_OK;
}

attn_status attn_scores_check(const attn_problem *problem, const attn_scores *scores,
                              attn_error *error)
{
    if (scores->struct_size != sizeof *scores)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "problem.scores.struct_size is %zu; this library knows %zu (use "
                         "attn_scores_init)",
                         scores->struct_size, sizeof *scores);
    if ((unsigned)scores->mask > ATTN_MASK_BITS)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "problem.scores.mask is %d; it may be ATTN_MASK_NONE (0), ATTN_MASK_BYTES "
                         "(1) or ATTN_MASK_BITS (2)",
                         (int)scores->mask);
    if ((int)scores->bias != 0 && scores->bias != ATTN_F32 && scores->bias != problem->q.dtype)
        return attn_fail(error, ATTN_ERR_DTYPE,
                         "problem.scores.bias is %d; it may be 0 (none), ATTN_F32 (1) or the "
                         "tensors' dtype, %d",
                         (int)scores->bias, (int)problem->q.dtype);
    bool none = scores->block_rows == 0 && scores->block_keys == 0;
    if (!none && (scores->block_rows < 1 || scores->block_keys < 1 ||
                  scores->block_rows > INT32_MAX || scores->block_keys > INT32_MAX))
        return attn_fail(error, ATTN_ERR_VALUE,
                         "problem.scores.block_rows and block_keys are %" PRId64 " and %" PRId64
                         "; both may be 0 (none), or each 1 to 2147483647",
                         scores->block_rows, scores->block_keys);
    attn_status status = ATTN_OK;
    if (scores->mask != ATTN_MASK_NONE)
        status = check_strides("mask_stride", scores->mask_stride, problem, error);
    if (!status && scores->bias)
        status = check_strides("bias_stride", scores->bias_stride, problem, error);
    return status;
}

/* What is checked: arguments of a run, or those promised constant, and how long the run is. */
struct given {
    const char *where; /* "args.scores" */
    const attn_scores_args *args;
    int64_t queries, keys;
    bool rows, columns; /* whether there are any */
};

static attn_status check_array(const struct given *given, const char *name, const void *pointer,
                               size_t alignment, bool announced, bool empty, attn_error *error)
{
    if (!announced && pointer)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "%s.%s is given, but the plan was made without it; it must be NULL",
                         given->where, name);
    if (announced && !empty && !pointer)
        return attn_fail(error, ATTN_ERR_NULL, "%s.%s is NULL; it is needed here", given->where,
                         name);
    if ((uintptr_t)pointer % alignment != 0)
        return attn_fail(error, ATTN_ERR_ALIGNMENT,
                         "%s.%s is %p; it must be aligned to its elements of %zu bytes",
                         given->where, name, pointer, alignment);
    return ATTN_OK;
}

static attn_status check_lists(const struct attn_plan *plan, const struct given *given,
                               attn_error *error)
{
    const attn_scores_args *s = given->args;
    const int64_t lists =
        plan->problem.heads * attn_int64_div_up(given->queries, plan->scores.block_rows);
    const int64_t blocks = attn_int64_div_up(given->keys, plan->scores.block_keys);
    if (s->block_starts[0] != 0)
        return attn_fail(error, ATTN_ERR_VALUE, "%s.block_starts[0] is %" PRId64 "; it must be 0",
                         given->where, s->block_starts[0]);
    for (int64_t i = 0; i < lists; i++) {
        int64_t count, begin = s->block_starts[i], end = s->block_starts[i + 1];
        if (__builtin_sub_overflow(end, begin, &count) || count < 0 || count > blocks)
            return attn_fail(error, ATTN_ERR_VALUE,
                             "%s.block_starts[%" PRId64 "] is %" PRId64 "; it may be %" PRId64
                             " to %" PRId64,
                             given->where, i + 1, end, begin, begin + blocks);
    }
    attn_status status = check_array(given, "block_indices", s->block_indices, sizeof(int32_t),
                                     true, s->block_starts[lists] == 0, error);
    for (int64_t i = 0; !status && i < lists; i++)
        for (int64_t at = s->block_starts[i]; !status && at < s->block_starts[i + 1]; at++) {
            int64_t before = at > s->block_starts[i] ? s->block_indices[at - 1] : -1;
            if (s->block_indices[at] <= before || s->block_indices[at] >= blocks)
                status = attn_fail(error, ATTN_ERR_VALUE,
                                   "%s.block_indices[%" PRId64 "] is %" PRId32
                                   "; it must be more than %" PRId64 " and less than %" PRId64,
                                   given->where, at, s->block_indices[at], before, blocks);
        }
    return status;
}

static attn_status check_given(const struct attn_plan *plan, const struct given *given,
                               attn_error *error)
{
    const attn_scores *scores = &plan->scores;
    const attn_scores_args *s = given->args;
    if (s->struct_size != sizeof *s)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "%s.struct_size is %zu; this library knows %zu", given->where,
                         s->struct_size, sizeof *s);
    const bool rows = given->rows && plan->problem.heads > 0;
    const bool columns = given->columns && plan->problem.heads > 0;
    const bool listed = scores->block_rows > 0;
    const size_t bias = scores->bias ? (size_t)attn_dtype_size(scores->bias) : 1;
    attn_status status = check_array(given, "mask", s->mask, 1, scores->mask != ATTN_MASK_NONE,
                                     !(rows && columns), error);
    if (!status)
        status =
            check_array(given, "bias", s->bias, bias, scores->bias != 0, !(rows && columns), error);
    if (!status)
        status = check_array(given, "alibi_slopes", s->alibi_slopes, sizeof(float), scores->alibi,
                             plan->problem.heads == 0, error);
    if (!status)
        status = check_array(given, "query_documents", s->query_documents, sizeof(int32_t),
                             scores->documents, !rows, error);
    if (!status)
        status = check_array(given, "key_documents", s->key_documents, sizeof(int32_t),
                             scores->documents, !columns, error);
    if (!status)
        status = check_array(given, "block_starts", s->block_starts, sizeof(int64_t), listed, false,
                             error);
    if (!status && !listed)
        status = check_array(given, "block_indices", s->block_indices, sizeof(int32_t), false, true,
                             error);
    for (int64_t h = 0; !status && scores->alibi && h < plan->problem.heads; h++)
        if (!isfinite(s->alibi_slopes[h]))
            status = attn_fail(error, ATTN_ERR_VALUE,
                               "%s.alibi_slopes[%" PRId64 "] is %g; it must be finite",
                               given->where, h, (double)s->alibi_slopes[h]);
    if (!status && listed)
        status = check_lists(plan, given, error);
    return status;
}

attn_status attn_scores_args_check(const struct attn_plan *plan, const attn_args *args,
                                   attn_error *error)
{
    const struct given given = {"args.scores",
                                args->scores,
                                args->queries,
                                args->keys,
                                attn_total_queries(plan->problem.lengths, args) > 0,
                                attn_plan_total_keys(plan, args) > 0};
    if (!plan->scores_given)
        return !args->scores ? ATTN_OK
                             : attn_fail(error, ATTN_ERR_VALUE,
                                         "args.scores is given, but the plan was made without "
                                         "problem.scores; it must be NULL");
    if (plan->constant_given)
        return !args->scores ? ATTN_OK
                             : attn_fail(error, ATTN_ERR_VALUE,
                                         "args.scores is given, but the plan was made with "
                                         "problem.scores.constant; it must be NULL");
    if (!args->scores)
        return attn_fail(error, ATTN_ERR_NULL,
                         "args.scores is NULL; the plan was made with problem.scores");
    return check_given(plan, &given, error);
}

attn_status attn_scores_constant_check(const struct attn_plan *plan, attn_error *error)
{
    const attn_problem *p = &plan->problem;
    const bool ragged = attn_is_ragged(p->lengths);
    const struct given given = {
        "problem.scores.constant",
        &plan->constant,
        p->queries,
        p->keys,
        p->batch > 0 && p->queries > 0 && !(ragged && p->total_queries == 0),
        p->batch > 0 && p->keys > 0 && !(ragged && !plan->cached && p->total_keys == 0)};
    return check_given(plan, &given, error);
}
