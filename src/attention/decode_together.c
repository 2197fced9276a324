/* kv heads of a sequence together: where a page has little of one kv head, what lies behind it is another's, and
 * a machine reads at its best what is in the order of memory. So a page is read from end to end: for each run of
 * rows every kv head is multiplied before the next run. A row's sums are made as they are head by head, one key
 * after the other, so no bit tells how many heads were together. */
#include "attention/decode.h"
#include "attention/decode_tiles.h"
#include "plan/cache.h"

enum {
    TOGETHER_RUN = 64, /* rows of one kv head that are multiplied before the next one's */
    TASKS_EACH = 4,    /* tasks that each worker has to have */
};

/* Rows [first, first + count) of what was found for the first tile, as they are for one of another kv head. */
static struct attn_cached_rows moved_rows(const struct attn_cached_rows *rows, int first, int count,
                                          int64_t bytes, const void *at[TOGETHER_RUN])
{
    struct attn_cached_rows moved = *rows;
    for (int k = 0; k < count; k++)
        at[k] = (const char *)rows->at[first + k] + bytes;
    moved.at = at;
    moved.count = count;
    return moved;
}

/* Rows from `first` on that lie one behind the other. */
static int run_of(const struct attn_cached_rows *rows, int first)
{
    int count = 1;
    while (count < TOGETHER_RUN && first + count < rows->count &&
           rows->at[first + count] == (const char *)rows->at[first + count - 1] + rows->step)
        count++;
    return count;
}

void attn_decode_multiply_together(struct attn_decode_tiles *tiles, int64_t begin, int keys)
{
    const struct attn_plan *plan = tiles->tile[0].run->plan;
    const struct attn_cached_rows rows = attn_decode_find_keys(tiles, begin, keys);
    const void *at[TOGETHER_RUN];
    for (int first = 0, count; first < keys; first += count) {
        count = run_of(&rows, first);
        for (int i = 0; i < tiles->count; i++) {
            const struct attn_decode_tile *tile = &tiles->tile[i];
            const struct attn_cached_scores_call call = {
                .keys = moved_rows(&rows, first, count, tile->key_bytes, at),
                .queries = tile->scratch.decode.queries,
                .like = tile->rows,
                .rows = tile->rows,
                .wide = tile->scratch.decode.wide,
                .scores = tile->scratch.scores + first,
            };
            plan->kernels->cached_scores(&call);
        }
    }
    for (int i = 0; i < tiles->count && plan->cache.k_dtype == ATTN_INT8; i++) {
        const struct attn_decode_tile *tile = &tiles->tile[i];
        attn_cached_find_keys(tile->run, &tile->heads[0].place, begin, keys, &tile->keys);
        attn_decode_scale(tile, tile->rows, tile->scratch.decode.key_factors, keys);
    }
}

void attn_decode_add_together(struct attn_decode_tiles *tiles, int64_t begin, int keys)
{
    const struct attn_decode_tile *head = &tiles->tile[0];
    const struct attn_plan *plan = head->run->plan;
    for (int i = 0; i < tiles->count; i++) {
        struct attn_decode_tile *tile = &tiles->tile[i];
        if (tile->seen && (!tile->all_seen || plan->cache.v_dtype == ATTN_INT8))
            attn_cached_find_values(tile->run, &tile->heads[0].place, begin, keys, &tile->values);
        if (tile->seen && !tile->all_seen) {
            attn_decode_set_apart(tile, keys);
            attn_decode_add_values(tile, 1, keys);
        } else if (tile->seen && plan->cache.v_dtype == ATTN_INT8) {
            attn_decode_scale(tile, tile->rows, tile->scratch.decode.value_factors, keys);
        }
    }
    attn_cached_find_values(head->run, &head->heads[0].place, begin, keys, &head->values);
    const struct attn_cached_rows rows = attn_cached_values(plan, &head->values, keys);
    const void *at[TOGETHER_RUN];
    for (int first = 0, count; first < keys; first += count) {
        count = run_of(&rows, first);
        for (int i = 0; i < tiles->count; i++) {
            const struct attn_decode_tile *tile = &tiles->tile[i];
            if (!tile->seen || !tile->all_seen)
                continue;
            const struct attn_cached_values_call call = {
                .values = moved_rows(&rows, first, count, tile->value_bytes, at),
                .weights = tile->scratch.scores + first,
                .rows = tile->rows,
                .wide = tile->scratch.decode.wide,
                .output = tile->scratch.decode.output,
                .stride = plan->output_size,
            };
            plan->kernels->cached_values(&call);
        }
    }
}

int64_t attn_decode_heads_together(const struct attn_run_state *run, int threads)
{
    const struct attn_plan *plan = run->plan;
    const attn_problem *p = &plan->problem;
    const int64_t queries = attn_decoded_queries(plan, run->args->queries);
    const int64_t rows = p->heads / p->kv_heads * queries;
    if (rows == 0)
        return 1;
    const int64_t tasks =
        run->args->batch * run->decode_count * attn_key_chunks(plan, run->key_blocks);
    const int64_t filled = attn_int64_div_up(rows, ATTN_QUERY_TILE) * ATTN_QUERY_TILE;
    int64_t most = attn_int64_min(attn_cache_heads_together(plan), ATTN_CACHED_ROWS / filled);
    most = attn_int64_min(most, tasks / (TASKS_EACH * threads));
    return attn_int64_max(1, attn_int64_min(most, run->decode_count));
}
