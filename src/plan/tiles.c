/* Blocks judged when planning; see tiles.h. */
#include "plan/tiles.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/half.h"
#include "plan/lengths.h"
#include "plan/workspace.h"

struct attn_content attn_plan_content(const struct attn_plan *plan, const attn_scores_args *args,
                                      int64_t batch, int64_t head, int64_t queries,
                                      int64_t query_origin, int64_t key_origin)
{
    const attn_scores *scores = &plan->scores;
    struct attn_content c = {.loops = &plan->kernels->masks};
    if (scores->mask != ATTN_MASK_NONE) {
        c.kind = scores->mask;
        c.mask = (const uint8_t *)args->mask + batch * scores->mask_stride[0] +
                 head * scores->mask_stride[1];
        c.mask_stride = scores->mask_stride[2];
    }
    if (scores->bias) {
        c.bias_dtype = scores->bias;
        int64_t at = batch * scores->bias_stride[0] + head * scores->bias_stride[1];
        c.bias = (const char *)args->bias + at * attn_dtype_size(scores->bias);
        c.bias_stride = scores->bias_stride[2];
    }
    if (scores->documents) {
        c.query_documents = args->query_documents + query_origin;
        c.key_documents = args->key_documents + key_origin;
    }
    if (scores->block_rows > 0) {
        c.block_rows = scores->block_rows;
        c.block_keys = scores->block_keys;
        c.block_starts = args->block_starts + head * attn_int64_div_up(queries, scores->block_rows);
        c.block_indices = args->block_indices;
    }
    return c;
}

static struct attn_content content_of(const struct attn_plan *plan, int64_t batch, int64_t head)
{
    const attn_problem *p = &plan->problem;
    return attn_plan_content(plan, &plan->constant, batch, head, p->queries, batch * p->queries,
                             batch * p->keys);
}

static void fill_map(const struct attn_plan *plan, const struct attn_content *content,
                     const struct attn_tiles *tiles, unsigned char *verdicts)
{
    const attn_problem *p = &plan->problem;
    for (int64_t i = 0; i < tiles->rows.count; i++)
        for (int64_t j = 0; j < tiles->key_blocks; j++) {
            int64_t row = i * tiles->rows.rows, key = j * plan->block_keys;
            *verdicts++ = (unsigned char)attn_content_tile(
                content, row, attn_int64_min(row + tiles->rows.rows, p->queries), key,
                attn_int64_min(key + plan->block_keys, p->keys));
        }
}

attn_status attn_tiles_create(struct attn_plan *plan, attn_error *error)
{
    const attn_problem *p = &plan->problem;
    const attn_scores *scores = &plan->scores;
    struct attn_tiles t = {.rows = attn_row_blocks(p->queries, plan->kernels->rows),
                           .key_blocks = attn_key_blocks(plan, p->keys)};
    bool by_batch = scores->documents || (scores->mask && scores->mask_stride[0] != 0) ||
                    (scores->bias && scores->bias_stride[0] != 0);
    bool by_head = scores->block_rows > 0 || (scores->mask && scores->mask_stride[1] != 0) ||
                   (scores->bias && scores->bias_stride[1] != 0);
    t.batch_maps = by_batch ? p->batch : 1;
    t.head_maps = by_head ? p->heads : 1;
    if (p->batch == 0 || p->heads == 0 || t.rows.count == 0 || t.key_blocks == 0)
        return ATTN_OK;
    int64_t map = t.rows.count * t.key_blocks, all;
    struct attn_tiles *tiles = NULL;
    if (attn_int64_mul(&all, map, t.batch_maps) && attn_int64_mul(&all, all, t.head_maps) &&
        all < INT64_MAX / 2)
        tiles = malloc(sizeof *tiles + (size_t)all);
    if (!tiles)
        return attn_fail(error, ATTN_ERR_MEMORY, "no memory for the table of constant masks");
    *tiles = t;
    for (int64_t b = 0; b < t.batch_maps; b++)
        for (int64_t h = 0; h < t.head_maps; h++) {
            struct attn_content content = content_of(plan, b, h);
            fill_map(plan, &content, tiles, tiles->verdicts + (b * t.head_maps + h) * map);
        }
    plan->tiles = tiles;
    return ATTN_OK;
}

/* ---- counting ---- */

static void count_map(const struct attn_plan *plan, const struct attn_mask *mask,
                      const unsigned char *read, int64_t times, struct attn_tile_counts *counts)
{
    const attn_problem *p = &plan->problem;
    const struct attn_row_blocks rows = attn_row_blocks(p->queries, plan->kernels->rows);
    const int64_t key_blocks = attn_key_blocks(plan, p->keys);
    for (int64_t i = 0; i < rows.count; i++)
        for (int64_t j = 0; j < key_blocks; j++) {
            int64_t row = i * rows.rows, key = j * plan->block_keys;
            int64_t key_end = attn_int64_min(key + plan->block_keys, p->keys);
            enum attn_tile runs = attn_mask_tile(
                mask, row, attn_int64_min(row + rows.rows, p->queries), key, key_end);
            enum attn_tile tile = attn_tile_join(
                plan, runs, read ? (enum attn_tile)read[i * key_blocks + j] : ATTN_TILE_FULL);
            tile = attn_tile_worked(plan, tile, key_end - key);
            if (tile == ATTN_TILE_SKIP)
                counts->skip += times;
            else if (tile == ATTN_TILE_FULL)
                counts->full += times;
            else
                counts->partial += times;
        }
}

struct attn_tile_counts attn_tiles_count(const struct attn_plan *plan)
{
    const attn_problem *p = &plan->problem;
    const attn_scores *scores = &plan->scores;
    struct attn_tile_counts counts = {0};
    const bool bordered = p->causal || p->window.left >= 0 || p->window.right >= 0;
    const bool read = scores->mask || scores->bias || scores->documents || scores->block_rows > 0;
    if (p->head_windows || p->prefix_lm || p->excluded_keys > 0 ||
        (p->alignment == ATTN_OFFSET && bordered) || (read && !plan->tiles))
        return counts;
    const struct attn_mask mask = {
        .keys = p->keys,
        .offset = p->alignment == ATTN_BOTTOM_RIGHT ? p->keys - p->queries : 0,
        .left = p->window.left,
        .right = p->window.right,
        .window_prefix = p->window.prefix,
        .causal = p->causal,
    };
    counts.known = true;
    int64_t batch_maps = plan->tiles ? plan->tiles->batch_maps : 1;
    int64_t head_maps = plan->tiles ? plan->tiles->head_maps : 1;
    if (p->batch > 0 && p->heads > 0)
        for (int64_t b = 0; b < batch_maps; b++)
            for (int64_t h = 0; h < head_maps; h++)
                count_map(plan, &mask, plan->tiles ? attn_tiles_map(plan->tiles, b, h) : NULL,
                          p->batch / batch_maps * (p->heads / head_maps), &counts);
    return counts;
}
