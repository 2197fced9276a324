/* Every forward kernel of one path, and the table that names them. A stub for each instruction set defines
 * ATTN_VECTOR_BYTES, ATTN_KERNELS_PATH and ATTN_KERNELS_TABLE, and includes this. */
#include "kernels/forward/pack_body.h"
#include "kernels/forward/products_body.h"
#include "kernels/forward/statistics_body.h"
#include "kernels/paths.h"

_Static_assert(ATTN_BLOCK_ROWS % ROWS == 0, "a block is whole groups");
_Static_assert(ATTN_BLOCK_KEYS % COLUMNS == 0, "a block is whole panels");
_Static_assert((int)ROWS >= (int)ATTN_GROUP_ROWS_MIN, "the arrays of groups hold them all");

const struct attn_kernels ATTN_KERNELS_TABLE = {
    .name = ATTN_KERNELS_NAME,
    .path = ATTN_KERNELS_PATH,
    .rows = ROWS,
    .columns = COLUMNS,
    .lanes = LANES,
    .pack_queries = pack_queries,
    .pack_keys = pack_keys,
    .pack_values = pack_values,
    .scores = scores,
    .softmax = softmax,
    .softmax_entropy = softmax_entropy,
    .softmax_all = softmax_all,
    .values = values,
    .weights = weights,
    .softcap = softcap,
    .range = range,
    .store_row = store_row,
    .rescale_row = rescale_row,
};
