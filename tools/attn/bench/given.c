/* Arrays that say what masks.h says; see given.h. */
#include "given.h"
#include "tensors.h"

#include <stdlib.h>
#include <string.h>

/* One mask for all heads: bytes, or eight of them in one. */
static bool make_mask(struct bench_given *g, const struct bench_case *c, enum bench_mask mask,
                      struct failure *f)
{
    bool bits = mask == MASK_BITS;
    int64_t stride = bits ? (c->keys + 7) / 8 : c->keys;
    uint8_t *bytes = g->mask = bench_allocate((size_t)(c->queries * stride), f);
    if (!bytes)
        return false;
    memset(bytes, 0, (size_t)(c->queries * stride));
    for (int64_t i = 0; i < c->queries; i++)
        for (int64_t j = 0; j < c->keys; j++) {
            uint8_t sees = bench_mask_sees(mask, c->queries, c->keys, i, j);
            bytes[i * stride + (bits ? j / 8 : j)] |= (uint8_t)(bits ? sees << j % 8 : sees);
        }
    g->scores.mask = bits ? ATTN_MASK_BITS : ATTN_MASK_BYTES;
    g->scores.mask_stride[2] = stride;
    g->arrays.mask = bytes;
    return true;
}

/* A bias of each head, in the tensors' type. */
static bool make_bias(struct bench_given *g, const struct bench_case *c, struct failure *f)
{
    int64_t plane = (int64_t)c->queries * c->keys;
    g->bias = bench_allocate((size_t)(c->heads * plane) * bench_element_size(c->dtype), f);
    if (!g->bias)
        return false;
    for (int h = 0; h < c->heads; h++)
        for (int64_t i = 0; i < c->queries; i++)
            for (int64_t j = 0; j < c->keys; j++)
                bench_set_element(
                    g->bias, c->dtype, h * plane + i * c->keys + j,
                    (float)bench_mask_bias(MASK_BIAS, c->heads, h, c->queries, c->keys, i, j));
    g->scores.bias = c->dtype;
    g->scores.bias_stride[1] = plane;
    g->scores.bias_stride[2] = c->keys;
    g->arrays.bias = g->bias;
    return true;
}

static bool make_alibi(struct bench_given *g, const struct bench_case *c, struct failure *f)
{
    g->slopes = bench_allocate((size_t)c->heads * sizeof *g->slopes, f);
    if (!g->slopes)
        return false;
    for (int h = 0; h < c->heads; h++)
        g->slopes[h] = bench_mask_slope(c->heads, h);
    g->scores.alibi = true;
    g->arrays.alibi_slopes = g->slopes;
    return true;
}

/* Queries and keys are as many. */
static bool make_documents(struct bench_given *g, const struct bench_case *c, struct failure *f)
{
    g->documents = bench_allocate((size_t)c->keys * sizeof *g->documents, f);
    if (!g->documents)
        return false;
    for (int64_t t = 0; t < c->keys; t++)
        g->documents[t] = bench_mask_document(c->keys, t);
    g->scores.documents = true;
    g->arrays.query_documents = g->arrays.key_documents = g->documents;
    return true;
}

static bool make_blocks(struct bench_given *g, const struct bench_case *c, struct failure *f)
{
    int64_t rows = (c->queries + MASK_BLOCK - 1) / MASK_BLOCK;
    int64_t columns = (c->keys + MASK_BLOCK - 1) / MASK_BLOCK;
    g->block_starts = bench_allocate((size_t)(c->heads * rows + 1) * sizeof *g->block_starts, f);
    g->block_indices =
        bench_allocate((size_t)(c->heads * rows * columns) * sizeof *g->block_indices, f);
    if (!g->block_starts || !g->block_indices)
        return false;
    int64_t count = 0;
    for (int64_t r = 0; r < c->heads * rows; r++) {
        g->block_starts[r] = count;
        for (int64_t column = 0; column < columns; column++)
            if (bench_mask_block(r % rows, column))
                g->block_indices[count++] = (int32_t)column;
    }
    g->block_starts[c->heads * rows] = count;
    g->scores.block_rows = g->scores.block_keys = MASK_BLOCK;
    g->arrays.block_starts = g->block_starts;
    g->arrays.block_indices = g->block_indices;
    return true;
}

/* Queries and keys of a sequence are as many. */
static bool make_lengths(struct bench_given *g, const struct bench_case *c, enum bench_mask mask,
                         attn_problem *problem, struct failure *f)
{
    g->lengths = bench_allocate((size_t)c->batch * sizeof *g->lengths, f);
    g->cu_seqlens = bench_allocate((size_t)(c->batch + 1) * sizeof *g->cu_seqlens, f);
    if (!g->lengths || !g->cu_seqlens)
        return false;
    int64_t total = 0;
    for (int b = 0; b < c->batch; b++) {
        g->lengths[b] = bench_mask_length(mask, c->batch, c->queries, b);
        g->cu_seqlens[b] = (int32_t)total;
        total += g->lengths[b];
    }
    g->cu_seqlens[c->batch] = (int32_t)total;
    problem->lengths = ATTN_LENGTHS_PADDED;
    if (mask == MASK_RAGGED) {
        g->ragged = true;
        problem->lengths = ATTN_LENGTHS_RAGGED_I32;
        problem->total_queries = problem->total_keys = total;
        problem->q = problem->o = attn_layout_bhsd(c->dtype, c->heads, total, c->head_size);
        problem->k = problem->v = attn_layout_bhsd(c->dtype, c->kv_heads, total, c->head_size);
    }
    return true;
}

bool bench_given_make(struct bench_given *g, const struct bench_case *c, enum bench_mask mask,
                      attn_problem *problem, struct failure *f)
{
    memset(g, 0, sizeof *g);
    g->scores = attn_scores_init();
    g->arrays = attn_scores_args_init();
    g->has_scores = true;
    problem->scores = &g->scores;
    switch (mask) {
    case MASK_BYTES:
    case MASK_BITS:
    case MASK_BYTES_CAUSAL:
        return make_mask(g, c, mask, f);
    case MASK_BIAS:
        return make_bias(g, c, f);
    case MASK_ALIBI:
        return make_alibi(g, c, f);
    case MASK_DOCUMENTS:
        problem->causal = true;
        return make_documents(g, c, f);
    case MASK_BLOCKS:
        return make_blocks(g, c, f);
    default:
        break;
    }
    g->has_scores = false;
    problem->scores = NULL;
    problem->causal = mask == MASK_CAUSAL;
    if (mask == MASK_WINDOW_512)
        problem->window = (attn_window){511, 0, 0};
    if (mask == MASK_PADDED || mask == MASK_RAGGED)
        return make_lengths(g, c, mask, problem, f);
    return true;
}

void bench_given_to_args(const struct bench_given *g, attn_args *args)
{
    if (g->has_scores)
        args->scores = &g->arrays;
    if (g->lengths && g->ragged) {
        args->cu_seqlens_q = args->cu_seqlens_k = g->cu_seqlens;
    } else if (g->lengths) {
        args->query_lengths = args->key_lengths = g->lengths;
    }
}

void bench_given_free(struct bench_given *g)
{
    free(g->mask);
    free(g->bias);
    free(g->slopes);
    free(g->documents);
    free(g->block_starts);
    free(g->block_indices);
    free(g->lengths);
    free(g->cu_seqlens);
    memset(g, 0, sizeof *g);
}
