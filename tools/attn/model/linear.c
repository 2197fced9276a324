/* Linear layers: few rows by few_rows.h, outputs shared out in parallel; more by panels: unpack in
 * parallel, then multiply piece by piece in parallel. */
#include "linear.h"

#include "few_rows.h"

#include <dnnl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECE_ROWS = 512,          /* rows of x in a piece */
    PIECE_OUTPUTS = 320,       /* outputs in a piece */
    PANEL_FLOATS = 4 << 20,    /* room for unpacked rows: 16 MB */
    UNPACK_FLOATS = 64 * 1024, /* unpacked by one task */
    PANEL_PARTS = 8,           /* matrices, or parts of one, in a panel */
    FEW_VALUES = 64 * 1024,    /* weights that one task multiplies with few rows */
};

/* A stretch of outputs of one product whose rows are unpacked. */
struct part {
    const struct product *product;
    int64_t first, outputs; /* of the matrix */
    float *out;             /* where output `first` of row 0 goes */
    const float *weights;   /* [outputs, inputs] */
    int64_t unpack_tasks, column_pieces;
};

struct linear {
    const attn_executor *executor;
    few_rows_kernel *few_rows;
    float *panel; /* unpacked weights; with few rows a part of it for each worker */
    size_t panel_floats;
    /* the panel at work */
    const float *x;
    int64_t rows, inputs, unpack_rows, few_outputs;
    struct part part[PANEL_PARTS];
    int parts;
    atomic_bool failed;
};

/* oneDNN is built with OpenMP; where that runtime is loaded, these are there. */
extern int omp_in_parallel(void) __attribute__((weak));
extern int omp_get_max_threads(void) __attribute__((weak));
extern void omp_set_num_threads(int) __attribute__((weak));

bool multiply(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const float *a,
              int64_t a_stride, const float *b, int64_t b_stride, float *c, int64_t c_stride)
{
    /* Inside a parallel region oneDNN keeps to its thread; elsewhere it has to be told, and the
     * setting of this thread is put back. */
    bool tell = omp_in_parallel && omp_get_max_threads && omp_set_num_threads && !omp_in_parallel();
    int before = tell ? omp_get_max_threads() : 1;
    if (before > 1)
        omp_set_num_threads(1);
    dnnl_status_t status = dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, 1,
                                      a, a_stride, b, b_stride, 0, c, c_stride);
    if (before > 1)
        omp_set_num_threads(before);
    return status == dnnl_success;
}

int worker_count(const attn_executor *executor)
{
    return executor != NULL ? executor->threads : 1;
}

bool run_tasks(const attn_executor *executor, int64_t count, attn_task task, void *argument,
               struct failure *f)
{
    if (executor == NULL) {
        for (int64_t i = 0; i < count; i++)
            task(argument, i, 0);
        return true;
    }
    int status = executor->parallel_for(executor->context, count, task, argument);
    return status == 0 || fail(f, "the executor failed with status %d", status);
}

void matrix_unpack(const struct matrix *matrix, int64_t first, int64_t rows, float *out)
{
    const struct file_tensor *t = matrix->tensor;
    const char *data = (const char *)t->data + (size_t)first * t->row_bytes;
    for (int64_t r = 0; r < rows; r++)
        dequantise_row(t->type, data + (size_t)r * t->row_bytes, out + r * matrix->inputs,
                       matrix->inputs);
}

struct linear *linear_create(const attn_executor *executor)
{
    struct linear *linear = calloc(1, sizeof *linear);
    if (linear != NULL) {
        linear->executor = executor;
        linear->few_rows = few_rows_choose();
    }
    return linear;
}

void linear_free(struct linear *linear)
{
    if (linear != NULL)
        free(linear->panel);
    free(linear);
}

static int64_t pieces(int64_t total, int64_t each)
{
    return (total + each - 1) / each;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Which part of the panel task `index` belongs to, when a part has tasks[] of them; index becomes
 * the number within the part. */
static const struct part *find_part(const struct linear *linear, bool unpacking, int64_t *index)
{
    const struct part *part = linear->part;
    for (;; part++) {
        int64_t tasks =
            unpacking ? part->unpack_tasks : part->column_pieces * pieces(linear->rows, PIECE_ROWS);
        if (*index < tasks)
            return part;
        *index -= tasks;
    }
}

static void unpack_task(void *argument, int64_t index, int worker)
{
    (void)worker;
    const struct linear *linear = argument;
    const struct part *part = find_part(linear, true, &index);
    int64_t row = index * linear->unpack_rows;
    matrix_unpack(part->product->matrix, part->first + row,
                  least(linear->unpack_rows, part->outputs - row),
                  (float *)part->weights + row * linear->inputs);
}

static void multiply_task(void *argument, int64_t index, int worker)
{
    (void)worker;
    struct linear *linear = argument;
    const struct part *part = find_part(linear, false, &index);
    int64_t row = index / part->column_pieces * PIECE_ROWS;
    int64_t column = index % part->column_pieces * PIECE_OUTPUTS;
    int64_t rows = least(PIECE_ROWS, linear->rows - row);
    int64_t outputs = least(PIECE_OUTPUTS, part->outputs - column);
    const struct product *product = part->product;
    float *out = part->out + row * product->stride + column;
    if (!multiply(false, true, rows, outputs, linear->inputs, linear->x + row * linear->inputs,
                  linear->inputs, part->weights + column * linear->inputs, linear->inputs, out,
                  product->stride))
        atomic_store(&linear->failed, true);
    if (product->matrix->bias == NULL)
        return;
    const float *bias = product->matrix->bias + part->first + column;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < outputs; j++)
            out[r * product->stride + j] += bias[j];
}

/* Unpack and multiply the parts that were gathered. */
static bool run_panel(struct linear *linear, struct failure *f)
{
    int64_t unpack = 0, multiplications = 0;
    for (int i = 0; i < linear->parts; i++) {
        unpack += linear->part[i].unpack_tasks;
        multiplications += linear->part[i].column_pieces * pieces(linear->rows, PIECE_ROWS);
    }
    linear->failed = false;
    bool ok = run_tasks(linear->executor, unpack, unpack_task, linear, f) &&
              run_tasks(linear->executor, multiplications, multiply_task, linear, f);
    linear->parts = 0;
    return ok && (!linear->failed || fail(f, "oneDNN could not multiply matrices"));
}

static bool prepare(struct linear *linear, const float *x, int64_t rows, int64_t inputs,
                    struct failure *f)
{
    linear->x = x, linear->rows = rows, linear->inputs = inputs;
    linear->unpack_rows = inputs < UNPACK_FLOATS ? UNPACK_FLOATS / inputs : 1;
    size_t wanted = inputs > PANEL_FLOATS ? (size_t)inputs : PANEL_FLOATS;
    if (rows <= UNPACK_ROWS)
        wanted = 0;
    else if (rows <= FEW_ROWS)
        wanted = (size_t)worker_count(linear->executor) * few_rows_room(inputs);
    if (linear->panel_floats < wanted) {
        free(linear->panel);
        linear->panel_floats = 0;
        linear->panel = aligned_alloc(64, (wanted * sizeof(float) + 63) & ~(size_t)63);
        if (linear->panel == NULL)
            return fail(f, "out of memory for %zu unpacked weights", wanted);
        linear->panel_floats = wanted;
    }
    return true;
}

static void few_rows_task(void *argument, int64_t index, int worker)
{
    struct linear *linear = argument;
    const struct part *part = find_part(linear, false, &index);
    const struct product *product = part->product;
    const struct file_tensor *t = product->matrix->tensor;
    int64_t column = index * linear->few_outputs, first = part->first + column;
    const struct few_rows few = {
        .type = t->type,
        .weights = (const char *)t->data + (size_t)first * t->row_bytes,
        .row_bytes = t->row_bytes,
        .inputs = linear->inputs,
        .outputs = least(linear->few_outputs, part->outputs - column),
        .bias = product->matrix->bias != NULL ? product->matrix->bias + first : NULL,
        .x = linear->x,
        .rows = linear->rows,
        .out = part->out + column,
        .stride = product->stride,
        .unpacked = linear->rows > UNPACK_ROWS
                        ? linear->panel + (size_t)worker * few_rows_room(linear->inputs)
                        : NULL,
    };
    linear->few_rows(&few);
}

/* Outputs [first, first + outputs) of each product for the few rows of x; the parts of the panel say which
 * outputs a task takes. */
static bool run_few_rows(struct linear *linear, const float *x, int64_t rows, int64_t inputs,
                         const struct product *products, int count, int64_t first, int64_t outputs,
                         struct failure *f)
{
    if (!prepare(linear, x, rows, inputs, f))
        return false;
    linear->few_outputs = inputs < FEW_VALUES ? FEW_VALUES / inputs : 1;
    for (int done = 0; done < count;) {
        int64_t tasks = 0;
        int parts = 0;
        for (; parts < PANEL_PARTS && done < count; parts++, done++) {
            const struct product *product = &products[done];
            int64_t all = outputs > 0 ? outputs : product->matrix->outputs;
            int64_t column_pieces = pieces(all, linear->few_outputs);
            linear->part[parts] = (struct part){.product = product,
                                                .first = first,
                                                .outputs = all,
                                                .out = product->out,
                                                .column_pieces = column_pieces};
            tasks += column_pieces;
        }
        if (!run_tasks(linear->executor, tasks, few_rows_task, linear, f))
            return false;
    }
    return true;
}

/* f32 in memory as floats need it: nothing to unpack. */
static const float *in_place(const struct matrix *matrix)
{
    const struct file_tensor *t = matrix->tensor;
    bool fit = t->type == TENSOR_F32 && (uintptr_t)t->data % _Alignof(float) == 0;
    return fit ? t->data : NULL;
}

/* Outputs [first, first + outputs) of one product into out, in as many panels as it takes; the last stays
 * open for the next product. `used` counts the floats of the open panel. */
static bool add_product(struct linear *linear, const struct product *product, int64_t first,
                        int64_t outputs, float *out, size_t *used, struct failure *f)
{
    const float *direct = in_place(product->matrix);
    int64_t end = first + outputs;
    while (first < end) {
        int64_t room = (int64_t)((linear->panel_floats - *used) / (size_t)linear->inputs);
        if (linear->parts == PANEL_PARTS || (direct == NULL && room < least(end - first, 64))) {
            if (linear->parts > 0 && !run_panel(linear, f))
                return false;
            *used = 0;
            room = (int64_t)(linear->panel_floats / (size_t)linear->inputs);
        }
        struct part *part = &linear->part[linear->parts++];
        part->product = product;
        part->first = first;
        part->outputs = direct != NULL ? end - first : least(end - first, room);
        part->weights = direct != NULL ? direct + first * linear->inputs : linear->panel + *used;
        part->unpack_tasks = direct != NULL ? 0 : pieces(part->outputs, linear->unpack_rows);
        part->column_pieces = pieces(part->outputs, PIECE_OUTPUTS);
        if (direct == NULL)
            *used += (size_t)(part->outputs * linear->inputs);
        part->out = out;
        first += part->outputs;
        out += part->outputs;
    }
    return true;
}

bool linear_run(struct linear *linear, const float *x, int64_t rows, int64_t inputs,
                const struct product *products, int count, struct failure *f)
{
    if (rows <= FEW_ROWS)
        return run_few_rows(linear, x, rows, inputs, products, count, 0, 0, f);
    if (!prepare(linear, x, rows, inputs, f))
        return false;
    size_t used = 0;
    for (int i = 0; i < count; i++)
        if (!add_product(linear, &products[i], 0, products[i].matrix->outputs, products[i].out,
                         &used, f))
            return false;
    return run_panel(linear, f);
}

bool linear_run_part(struct linear *linear, const float *x, int64_t rows,
                     const struct matrix *matrix, int64_t first, int64_t outputs, float *out,
                     int64_t stride, struct failure *f)
{
    struct matrix plain = *matrix;
    plain.bias = NULL;
    const struct product product = {&plain, out, stride};
    if (rows <= FEW_ROWS)
        return run_few_rows(linear, x, rows, matrix->inputs, &product, 1, first, outputs, f);
    if (!prepare(linear, x, rows, matrix->inputs, f))
        return false;
    size_t used = 0;
    return add_product(linear, &product, first, outputs, out, &used, f) && run_panel(linear, f);
}
