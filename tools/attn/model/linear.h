/* Linear layers: y = x W^T + b for one row of x or many.
 *
 * W stays as the file has it. Up to FEW_ROWS rows of x are multiplied with the stored weights
 * themselves, unpacked on the way (few_rows.h). For more, a panel of W's rows is unpacked to f32, used
 * for every row of x, and forgotten; with some hundred rows of x the unpacking costs a few per cent. The
 * multiplication is then oneDNN's, on one thread a call. The work is cut into pieces whose borders depend
 * on the shapes alone, and the executor hands the pieces out, so that results have the same bits for any
 * number of threads. */
#ifndef ATTN_TOOLS_MODEL_LINEAR_H
#define ATTN_TOOLS_MODEL_LINEAR_H

#include "../base/failure.h"
#include "../files/file_tensor.h"

#include <attn/attn.h>

struct matrix {
    const struct file_tensor *tensor; /* NULL: there is no such matrix */
    int64_t inputs, outputs;
    const float *bias; /* [outputs], or NULL */
};

/* One use of a matrix: out[r * stride + j] for each row r of x and output j. */
struct product {
    const struct matrix *matrix;
    float *out;
    int64_t stride;
};

struct linear; /* the room for unpacked panels */

/* NULL without memory. `executor` may be NULL (one thread) and must outlive it. */
struct linear *linear_create(const attn_executor *executor);
void linear_free(struct linear *linear);

/* All products of x [rows, inputs], whose rows are contiguous; every matrix has `inputs` inputs.
 * Fails when memory does not suffice or the multiplication reports an error. */
bool linear_run(struct linear *linear, const float *x, int64_t rows, int64_t inputs,
                const struct product *products, int count, struct failure *f);

/* The same with only rows [first, first + outputs) of one matrix, without its bias; for scores over
 * a large vocabulary. */
bool linear_run_part(struct linear *linear, const float *x, int64_t rows,
                     const struct matrix *matrix, int64_t first, int64_t outputs, float *out,
                     int64_t stride, struct failure *f);

/* Unpack rows [first, first + rows) of a matrix into out [rows, inputs]. */
void matrix_unpack(const struct matrix *matrix, int64_t first, int64_t rows, float *out);

/* C [m, n] = A [m, k] B, contiguous rows of the given strides, with B [k, n], or B [n, k] where
 * transpose_b, or A [k, m] where transpose_a. On the calling thread alone; may be called from tasks
 * of an executor. */
bool multiply(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const float *a,
              int64_t a_stride, const float *b, int64_t b_stride, float *c, int64_t c_stride);

/* task(argument, index, worker) for each index < count, on `executor` or, if NULL, here. False with
 * a sentence if the executor reports a failure. */
bool run_tasks(const attn_executor *executor, int64_t count, attn_task task, void *argument,
               struct failure *f);

/* How many workers `executor` has; 1 for NULL. */
int worker_count(const attn_executor *executor);

#endif
