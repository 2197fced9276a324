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
                               : key;
}

/* Channels that do not turn are copied; pairs are replaced one by one. */
static void channels_of(const attn_problem *problem, const void *vector, attn_dtype dtype,
                        int64_t position, double *channels)
{
    const attn_rotary *rotary = problem->rotary;
    for (int64_t d = 0; d < problem->head_size; d++)
        channels[d] = attn_ref_value(vector, dtype, d);
    if (rotary)
        attn_ref_rotary_row(rotary, rotary->size, position, channels, channels);
}

void attn_ref_query_channels(const attn_problem *problem, const attn_args *args, int64_t batch,
                             int64_t head, int64_t query, double *channels)
{
    channels_of(problem, attn_ref_query_vector(problem, args, batch, head, query), problem->q.dtype,
                attn_ref_query_turn(problem, args, batch, query), channels);
}

void attn_ref_key_channels(const attn_problem *problem, const attn_args *args, int64_t batch,
                           int64_t kv_head, int64_t key, double *channels)
{
    channels_of(problem, attn_ref_key_vector(problem, args, batch, kv_head, key), problem->k.dtype,
                attn_ref_key_turn(problem, args, batch, key), channels);
}
