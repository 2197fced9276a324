/* The channels of a query or key as they are multiplied: widened, and turned where problem.rotary says so. */
#include "attn_ref.h"
#include "attn_ref_rotary.h"

int64_t attn_ref_query_turn(const attn_problem *problem, const attn_args *args, int64_t batch,
                            int64_t query)
{
    return args->query_positions
               ? args->query_positions[attn_ref_query_place(problem, args, batch, query)]
               : attn_ref_position(problem, args, batch, query);
}

int64_t attn_ref_key_turn(const attn_problem *problem, const attn_args *args, int64_t batch,
                          int64_t key)
{
    return args->key_positions ? args->key_positions[attn_ref_key_place(problem, args, batch, key)]
                               : attn_ref_key_stands(problem, args, batch, key);
}

/* Pairs are replaced one by one; channels that do not turn stay. */
static void turn(const attn_problem *problem, int64_t position, double *channels)
{
    const attn_rotary *rotary = problem->rotary;
    if (rotary)
        attn_ref_rotary_row(rotary, rotary->size, position, channels, channels);
}

void attn_ref_query_channels(const attn_problem *problem, const attn_args *args, int64_t batch,
                             int64_t head, int64_t query, double *channels)
{
    const void *vector = attn_ref_query_vector(problem, args, batch, head, query);
    for (int64_t d = 0; d < problem->head_size; d++)
        channels[d] = attn_ref_value(vector, problem->q.dtype, d);
    turn(problem, attn_ref_query_turn(problem, args, batch, query), channels);
}

void attn_ref_key_channels(const attn_problem *problem, const attn_args *args, int64_t batch,
                           int64_t kv_head, int64_t key, double *channels)
{
    for (int64_t d = 0; d < problem->head_size; d++)
        channels[d] = attn_ref_key_element(problem, args, batch, kv_head, key, d);
    turn(problem, attn_ref_key_turn(problem, args, batch, key), channels);
}
