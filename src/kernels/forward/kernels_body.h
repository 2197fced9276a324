/* Every forward kernel of one path, and the table that names them. A stub for each instruction set defines
 * ATTN_VECTOR_BYTES, ATTN_KERNELS_PATH and ATTN_KERNELS_TABLE, and includes this. */
#include "kernels/forward/output_body.h"
#ifdef ATTN_BF16_PAIRS
#include "kernels/forward/pack_pairs_body.h"
#else
#include "kernels/forward/pack_body.h"
#endif
#include "kernels/forward/products_body.h"
#include "kernels/forward/shape_body.h"
#include "kernels/forward/statistics_body.h"
#ifndef ATTN_BF16_PAIRS
#include "kernels/cached/scores_body.h"
#include "kernels/cached/values_body.h"
#endif
#include "kernels/paths.h"

_Static_assert(ATTN_BLOCK_ROWS % ROWS == 0, "a block is whole groups");
_Static_assert(ATTN_BLOCK_KEYS % COLUMNS == 0, "a block is whole panels");
_Static_assert(ATTN_BLOCK_KEYS / COLUMNS <= 64, "the panels of a block are bits of a word");
_Static_assert((int)ROWS >= (int)ATTN_GROUP_ROWS_MIN, "the arrays of groups hold them all");

const struct attn_kernels ATTN_KERNELS_TABLE = {
    .name = ATTN_KERNELS_NAME,
    .path = ATTN_KERNELS_PATH,
    .rows = ROWS,
    .columns = COLUMNS,
    .lanes = LANES,
    .pair = PAIR,
    .quad_channels = QUAD_CHANNELS,
#ifdef ATTN_BF16_PAIRS
    .pack_queries = pack_queries_pairs,
    .pack_keys = pack_keys_pairs,
    .pack_values = pack_values_pairs,
#else
    .pack_queries = pack_queries,
    .pack_keys = pack_keys,
    .pack_values = pack_values,
#endif
    .pack_queries_quads = pack_queries_quads,
    .non_finite = non_finite,
    .scores = scores,
    .scores_in_place = scores_in_place,
    .softmax = softmax,
    .softmax_entropy = softmax_entropy,
    .softmax_all = softmax_all,
    .values = values,
    .values_in_place = values_in_place,
    .weights = weights,
#ifndef ATTN_BF16_PAIRS
    .cached_queries = cached_queries,
    .cached_scores = cached_scores,
    .cached_values = cached_values,
    .widen_cached = widen_rows,
    .multiply_row = multiply_row,
#endif
    .softcap = softcap,
    .add_bias = add_bias,
    .add_distance = add_distance,
    .apply_mask = apply_mask,
    .range = range,
    .store_row = store_row,
    .rescale_row = rescale_row,
};
