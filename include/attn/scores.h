/* More that shapes scores: masks and biases given as tensors, ALiBi, documents, block lists, and the
 * caller's own function as the way out for anything else.
 *
 * Say in attn_scores what there is when planning; give the pointers in attn_scores_args at each run. Each is
 * optional and all combine. In order, after softcap:
 *
 *     s <- s + bias                                         -inf masks, any finite value is visible
 *     s <- s - slope[h] * |p - j|                           ALiBi (Press et al. 2022), p the query's position
 *     s <- what the caller's function makes of it           -inf masks
 *     masks: boolean AND documents AND blocks AND those of attn_problem
 *
 * Scores are kept in base 2, which has no room for the ends of f32: a bias counts as at most 2.3e38 (1.375 *
 * 2^127) on either side, +inf included, and so do slope * distance and a finite score that the function
 * makes. A row that is -FLT_MAX throughout, as masks of some frameworks are, weighs its keys alike; NaN stays
 * NaN.
 *
 * Blocks of rows and keys where nothing is visible are skipped; where all is visible, masks cost their
 * reading. A key that a bias or a function hides by -inf is not visible; one whose q.k is -inf by itself is,
 * with weight 0, as it is without masks. Shapes:
 * row i of sequence b, key j of that sequence, query head h. */
#ifndef ATTN_SCORES_H
#define ATTN_SCORES_H

#include "attn/attn.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum attn_mask_kind {
    ATTN_MASK_NONE = 0,
    ATTN_MASK_BYTES = 1, /* uint8_t (or bool) for each pair: not 0 = attend */
    ATTN_MASK_BITS = 2,  /* bit j % 8 (the lowest first) of byte j / 8 of a row: 1 = attend */
} attn_mask_kind;

/* Change rows x keys final scores in place before the masks: the score of row r, key c of the tile, which
 * are query query_begin + r and key key_begin + c of sequence `batch`, is at scores[r * stride + c], in
 * natural units. Called by several threads at once; must depend on nothing but its arguments, or results
 * lose their promise of equal bits. Pairs that a mask hides anyway may hold any value, NaN included. Logits
 * (ATTN_STAT_MAX_LOGIT, MAX_ABS_LOGIT) are looked at before it: pairs that it alone hides count there. */
typedef void (*attn_score_function)(void *context, int64_t batch, int64_t head, int64_t query_begin,
                                    int64_t rows, int64_t key_begin, int64_t keys, float *scores,
                                    int64_t stride);

/* What there is: part of a problem. */
typedef struct attn_scores {
    size_t struct_size; /* sizeof(attn_scores) */

    /* mask[b, h, i, j] at b * stride[0] + h * stride[1] + i * stride[2] + j, in elements; for
     * ATTN_MASK_BITS in bytes, the last term j / 8. A zero stride broadcasts. */
    attn_mask_kind mask;
    int64_t mask_stride[3];

    /* bias[b, h, i, j] likewise, of this dtype: 0 = none, ATTN_F32, or the tensors' dtype */
    attn_dtype bias;
    int64_t bias_stride[3];

    bool alibi; /* attn_scores_args.alibi_slopes is given */

    /* Packed documents: a pair is visible if query_documents[b, i] == key_documents[b, j]. */
    bool documents;

    /* Block lists: the mask is cut into blocks of block_rows x block_keys (each >= 1; 0 = none); for each
     * head and block of rows a list names the blocks of keys that are visible. */
    int64_t block_rows, block_keys;

    attn_score_function function; /* or NULL */
    void *function_context;

    /* A promise that mask, bias, slopes, documents and block lists are the same at every run: they are
     * given here, laid out for the problem's own (largest) B, Nq and Nk, and args.scores is NULL. What
     * the pointers point to must stay there, unchanged, while the plan lives; the struct itself is read
     * when planning. Blocks of rows x keys are then told apart (skip, full, partial) once, by reading
     * the masks when planning, and the plan keeps a byte for each block; heads and sequences that share
     * a mask share the bytes. Blocks that a sequence shorter than the problem's cuts, and ragged batches,
     * are judged at each run, as without the promise; so it is over a cache, where a few queries save
     * reading if they are as many as the problem's. The same bits either way. NULL (default) = no
     * promise. */
    const struct attn_scores_args *constant;
} attn_scores;

static inline attn_scores attn_scores_init(void)
{
    attn_scores scores;
    memset(&scores, 0, sizeof scores);
    scores.struct_size = sizeof scores;
    return scores;
}

/* Where it is: part of a run. Each pointer is given exactly if the plan has it. Ragged plans: i and j count
 * from the sequence's own first row and key, except documents, which are [total]. */
typedef struct attn_scores_args {
    size_t struct_size; /* sizeof(attn_scores_args) */
    const void *mask;
    const void *bias;
    const float *alibi_slopes;      /* [Hq], finite */
    const int32_t *query_documents; /* [B, Nq] */
    const int32_t *key_documents;   /* [B, Nk] */
    /* With R = ceil(Nq / block_rows) of the run's own queries: the blocks of row block r of head h are
     * block_indices[block_starts[h * R + r] .. block_starts[h * R + r + 1]), rising; each <
     * ceil(Nk / block_keys). block_starts is [Hq * R + 1], from 0, never falling. All sequences share
     * them. */
    const int64_t *block_starts;
    const int32_t *block_indices;
} attn_scores_args;

static inline attn_scores_args attn_scores_args_init(void)
{
    attn_scores_args args;
    memset(&args, 0, sizeof args);
    args.struct_size = sizeof args;
    return args;
}

#ifdef __cplusplus
}
#endif

#endif
