/* Which keys a row sees: lengths, positions, causal, windows, prefixes, excluded keys. */
#include "attn_ref.h"

/* Where query i stands among the keys: i + offset, by the lengths of its own sequence. */
int64_t attn_ref_position(const attn_problem *problem, const attn_args *args, int64_t batch,
                          int64_t query)
{
    switch (problem->alignment) {
    case ATTN_TOP_LEFT:
        return query;
    case ATTN_OFFSET:
        return query + args->query_offset[batch];
    case ATTN_BOTTOM_RIGHT:
    default:
        break;
    }
    /* the last query stands where the last key does */
    int64_t keys = attn_ref_keys(problem, args, batch).length;
    int64_t last = keys > 0 ? attn_ref_key_stands(problem, args, batch, keys - 1) : -1;
    return query + last + 1 - attn_ref_queries(problem, args, batch).length;
}

static attn_window window_of(const attn_problem *problem, const attn_args *args, int64_t head)
{
    return problem->head_windows ? args->head_windows[head] : problem->window;
}

/* p - left <= j <= p + right, -1 = unlimited. */
static bool within_window(attn_window window, int64_t position, int64_t key)
{
    bool not_too_far_left = window.left == -1 || position - key <= window.left;
    bool not_too_far_right = window.right == -1 || key - position <= window.right;
    return not_too_far_left && not_too_far_right;
}

static int64_t prefix_lm_of(const attn_problem *problem, const attn_args *args, int64_t batch,
                            int64_t head)
{
    if (!problem->prefix_lm)
        return 0;
    return args->prefix_lm[batch * args->prefix_lm_stride[0] + head * args->prefix_lm_stride[1]];
}

static bool excluded(const attn_problem *problem, const attn_args *args, int64_t batch,
                     int64_t head, int64_t key)
{
    for (int64_t e = 0; e < problem->excluded_keys; e++)
        if (args->excluded_keys[(batch * problem->heads + head) * problem->excluded_keys + e] ==
            key)
            return true;
    return false;
}

bool attn_ref_visible(const attn_problem *problem, const attn_args *args, int64_t batch,
                      int64_t head, int64_t query, int64_t key)
{
    if (query >= attn_ref_queries(problem, args, batch).length ||
        key >= attn_ref_keys(problem, args, batch).length)
        return false; /* padding */
    int64_t position = attn_ref_position(problem, args, batch, query);
    int64_t stands = attn_ref_key_stands(problem, args, batch, key);
    attn_window window = window_of(problem, args, head);
    bool in_prefix_lm = stands < prefix_lm_of(problem, args, batch, head);
    bool causal = !problem->causal || stands <= position;
    bool near = stands < window.prefix || within_window(window, position, stands);
    return (in_prefix_lm || (causal && near)) && !excluded(problem, args, batch, head, key) &&
           attn_ref_scores_allow(problem, args, batch, head, query, key);
}
