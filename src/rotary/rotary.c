/* Turning q and k: attn_rotary_apply. How angles are made is said in turn.h; here the places that occur are
 * made once per call.
 *
 * A task is a group of rows of one sequence, all heads: every row's cosines serve all of them. */
#include "rotary/rotary.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/half.h"
#include "base/layout.h"
#include "base/sizes.h"
#include "exec/exec.h"
#include "rotary/turn.h"

enum {
    PLACES = ATTN_TURN_PLACES,
    TASK_ROWS =
        32 /* rows of a task: divides PLACES, so that a task of a prompt stays in one block */
};

struct worker {
    struct attn_angles block; /* of the block that was met last */
    float *cosine, *sine;     /* [pairs] of a row, times the length factor */
    float *input, *output;    /* [head_size] a row of a head, before and after */
};

struct turning {
    int64_t batch, heads, length, head_size;
    int64_t size, pairs;
    attn_rotary_pairing pairing;
    double length_factor;
    double *frequencies; /* [pairs] */
    const void *x;
    void *to;
    attn_layout from_layout, to_layout;
    const int64_t *positions;

    int slot[PLACES]; /* where in `places` a place is kept; -1 = it does not occur */
    int slots;
    int place[PLACES]; /* the other way round */
    double *places;    /* [slots][2][pairs] */
    double *blocks;    /* [threads][2][pairs] */
    float *rows;       /* [threads][row_floats] */
    size_t row_floats;
};

/* ---- angles ---- */

static int64_t position_of(const struct turning *t, int64_t sequence, int64_t row)
{
    return t->positions ? t->positions[sequence * t->length + row] : row;
}

static void fill_place(void *argument, int64_t index, int worker)
{
    (void)worker;
    const struct turning *t = argument;
    attn_angles_fill(attn_angles_at(t->places, index, t->pairs), t->frequencies, t->pairs,
                     t->place[index]);
}

/* Which places occur. */
static void note_places(struct turning *t)
{
    bool occurs[PLACES] = {false};
    int found = 0;
    int64_t sequences = t->positions ? t->batch : 1;
    for (int64_t b = 0; b < sequences; b++)
        for (int64_t n = 0; n < t->length && found < PLACES; n++) {
            int place = attn_turn_place(position_of(t, b, n));
            found += !occurs[place];
            occurs[place] = true;
        }
    t->slots = 0;
    for (int place = 0; place < PLACES; place++) {
        t->slot[place] = occurs[place] ? t->slots : -1;
        if (occurs[place])
            t->place[t->slots++] = place;
    }
}

/* ---- rows ---- */

static ptrdiff_t place_in(const attn_layout *layout, int64_t b, int64_t h, int64_t n)
{
    int64_t element = b * layout->stride[0] + h * layout->stride[1] + n * layout->stride[2];
    return (ptrdiff_t)element * (ptrdiff_t)attn_dtype_size(layout->dtype);
}

/* The channels behind those that turn. Equal dtypes keep their bits (NaN payloads too). */
static void copy_rest(const struct turning *t, const struct worker *w, const char *from, char *to)
{
    attn_dtype from_dtype = t->from_layout.dtype, to_dtype = t->to_layout.dtype;
    int64_t rest = t->head_size - t->size;
    const char *from_rest = from + (size_t)t->size * (size_t)attn_dtype_size(from_dtype);
    char *to_rest = to + (size_t)t->size * (size_t)attn_dtype_size(to_dtype);
    if (rest == 0 || from_rest == to_rest)
        return;
    if (from_dtype == to_dtype) {
        memcpy(to_rest, from_rest, (size_t)rest * (size_t)attn_dtype_size(from_dtype));
        return;
    }
    attn_turn_widen(w->input, from_rest, from_dtype, rest);
    attn_turn_narrow(to_rest, to_dtype, w->input, rest);
}

static void turn_row(const struct turning *t, const struct worker *w, int64_t b, int64_t h,
                     int64_t n)
{
    const char *from = (const char *)t->x + place_in(&t->from_layout, b, h, n);
    char *to = (char *)t->to + place_in(&t->to_layout, b, h, n);
    attn_turn_widen(w->input, from, t->from_layout.dtype, t->size); /* a copy: `to` may be `from` */
    float *output = t->to_layout.dtype == ATTN_F32 ? (float *)(void *)to : w->output;
    attn_turn_channels(output, w->input, w->cosine, w->sine, t->pairs, t->pairing);
    if (t->to_layout.dtype != ATTN_F32)
        attn_turn_narrow(to, t->to_layout.dtype, output, t->size);
    copy_rest(t, w, from, to);
}

static struct worker worker_of(const struct turning *t, int index)
{
    float *rows = t->rows + (size_t)index * t->row_floats;
    struct worker w = {.block = attn_angles_at(t->blocks, index, t->pairs),
                       .cosine = rows,
                       .sine = rows + t->pairs,
                       .input = rows + t->size,
                       .output = rows + t->size + t->head_size};
    return w;
}

static void turn_rows(void *argument, int64_t index, int worker)
{
    const struct turning *t = argument;
    struct worker w = worker_of(t, worker);
    int64_t groups = attn_int64_div_up(t->length, TASK_ROWS);
    int64_t b = index / groups, begin = index % groups * TASK_ROWS;
    int64_t end = attn_int64_min(begin + TASK_ROWS, t->length), block = 0;
    for (int64_t n = begin; n < end; n++) {
        int64_t position = position_of(t, b, n);
        int place = attn_turn_place(position);
        if (n == begin || position - place != block) {
            block = position - place; /* rounds down: the place is taken off, never added */
            attn_angles_fill(w.block, t->frequencies, t->pairs, block);
        }
        attn_angles_add(w.cosine, w.sine, w.block,
                        attn_angles_at(t->places, t->slot[place], t->pairs), t->pairs,
                        t->length_factor);
        for (int64_t h = 0; h < t->heads; h++)
            turn_row(t, &w, b, h, n);
    }
}

/* ---- checking ---- */

static attn_status check_shape(const struct turning *t, attn_error *error)
{
    const struct {
        const char *name;
        int64_t value, low;
    } counts[] = {{"batch", t->batch, 0},
                  {"heads", t->heads, 0},
                  {"length", t->length, 0},
                  {"head_size", t->head_size, t->size}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (counts[i].value < counts[i].low || counts[i].value > INT32_MAX)
            return attn_fail(
                error, ATTN_ERR_SHAPE, "%s is %" PRId64 "; it may be %" PRId64 "%s to 2147483647",
                counts[i].name, counts[i].value, counts[i].low, i == 3 ? " (rotary.size)" : "");
    return ATTN_OK;
}

static attn_status check_layout(const char *name, const attn_layout *layout,
                                const int64_t extent[4], bool output, attn_error *error)
{
    if ((int)layout->dtype < ATTN_F32 || (int)layout->dtype > ATTN_F16)
        return attn_fail(error, ATTN_ERR_DTYPE,
                         "%s_layout.dtype is %d; it may be ATTN_F32 (1), ATTN_BF16 (2) or "
                         "ATTN_F16 (3)",
                         name, (int)layout->dtype);
    if (layout->stride[3] != 1)
        return attn_fail(error, ATTN_ERR_STRIDE,
                         "%s_layout.stride[3] is %" PRId64 "; the last stride must be 1", name,
                         layout->stride[3]);
    bool fits = attn_layout_is_empty(extent) || attn_layout_span_fits(layout, extent);
    if (fits &&
        (!output || attn_layout_is_empty(extent) || attn_layout_is_injective(layout, extent)))
        return ATTN_OK;
    return attn_fail(error, fits ? ATTN_ERR_STRIDE : ATTN_ERR_OVERFLOW,
                     "%s_layout has strides {%" PRId64 ", %" PRId64 ", %" PRId64 ", 1}%s", name,
                     layout->stride[0], layout->stride[1], layout->stride[2],
                     fits ? ": elements of the output would overlap"
                          : " that reach past what an address can tell");
}

static attn_status check_pointer(const char *name, const void *pointer, size_t alignment,
                                 attn_error *error)
{
    if (!pointer)
        return attn_fail(error, ATTN_ERR_NULL, "%s is NULL; it must be given", name);
    if ((uintptr_t)pointer % alignment)
        return attn_fail(error, ATTN_ERR_ALIGNMENT, "%s is %p; it must be aligned to %zu bytes",
                         name, pointer, alignment);
    return ATTN_OK;
}

/* In place, an element must be read and written at one address. */
static attn_status check_in_place(const struct turning *t, const int64_t extent[4],
                                  attn_error *error)
{
    if (t->x != t->to)
        return ATTN_OK;
    if (t->from_layout.dtype != t->to_layout.dtype)
        return attn_fail(error, ATTN_ERR_DTYPE,
                         "to is x, but to_layout.dtype is %d; it must be that of x, %d",
                         (int)t->to_layout.dtype, (int)t->from_layout.dtype);
    for (int axis = 0; axis < 3; axis++)
        if (extent[axis] > 1 && t->from_layout.stride[axis] != t->to_layout.stride[axis])
            return attn_fail(error, ATTN_ERR_STRIDE,
                             "to is x, but to_layout.stride[%d] is %" PRId64
                             "; it must be that of x, %" PRId64,
                             axis, t->to_layout.stride[axis], t->from_layout.stride[axis]);
    return ATTN_OK;
}

static attn_status check_tensors(const struct turning *t, attn_error *error)
{
    const int64_t extent[4] = {t->batch, t->heads, t->length, t->head_size};
    attn_status status = check_layout("x", &t->from_layout, extent, false, error);
    if (!status)
        status = check_layout("to", &t->to_layout, extent, true, error);
    if (status || attn_layout_is_empty(extent))
        return status;
    status = check_pointer("x", t->x, (size_t)attn_dtype_size(t->from_layout.dtype), error);
    if (!status)
        status = check_pointer("to", t->to, (size_t)attn_dtype_size(t->to_layout.dtype), error);
    if (!status && t->positions)
        status = check_pointer("positions", t->positions, sizeof(int64_t), error);
    return status ? status : check_in_place(t, extent, error);
}

/* ---- the call ---- */

static void carve(struct turning *t, struct attn_arena *arena, int threads)
{
    size_t pairs = (size_t)t->pairs;
    t->row_floats =
        2 * pairs + 2 * (size_t)t->head_size + 16; /* workers keep off each other's lines */
    t->frequencies = attn_arena_take(arena, pairs, sizeof(double));
    t->places = attn_arena_take(arena, (size_t)t->slots * pairs, 2 * sizeof(double));
    t->blocks = attn_arena_take(arena, (size_t)threads * pairs, 2 * sizeof(double));
    t->rows = attn_arena_take(arena, (size_t)threads, t->row_floats * sizeof(float));
}

static attn_status run(struct turning *t, const attn_rotary *rotary, const attn_executor *executor,
                       attn_error *error)
{
    attn_status status = attn_rotary_fill(rotary, t->frequencies, &t->length_factor, error);
    if (!status)
        status = attn_launch(executor, t->slots, fill_place, t, error);
    int64_t groups = attn_int64_div_up(t->length, TASK_ROWS);
    if (!status)
        status = attn_launch(executor, t->batch * groups, turn_rows, t, error);
    return status ? status : attn_succeed(error);
}

attn_status attn_rotary_apply(const attn_rotary *rotary, int64_t batch, int64_t heads,
                              int64_t length, int64_t head_size, const void *x,
                              const attn_layout *x_layout, void *to, const attn_layout *to_layout,
                              const int64_t *positions, const attn_executor *executor,
                              attn_error *error)
{
    attn_status status = attn_rotary_check(rotary, error);
    if (!status)
        status = attn_executor_check(executor, error);
    if (!status)
        status = check_pointer("x_layout", x_layout, _Alignof(attn_layout), error);
    if (!status)
        status = check_pointer("to_layout", to_layout, _Alignof(attn_layout), error);
    if (status)
        return status;
    struct turning t = {.batch = batch,
                        .heads = heads,
                        .length = length,
                        .head_size = head_size,
                        .size = rotary->size,
                        .pairs = rotary->size / 2,
                        .pairing = rotary->pairing,
                        .x = x,
                        .to = to,
                        .from_layout = *x_layout,
                        .to_layout = *to_layout,
                        .positions = positions};
    status = check_shape(&t, error);
    if (!status)
        status = check_tensors(&t, error);
    if (status)
        return status;
    if (batch == 0 || heads == 0 || length == 0)
        t.length = t.batch = 0;
    note_places(&t);

    int threads = attn_executor_threads(executor);
    struct attn_arena measure = attn_arena_measure();
    size_t bytes = 0;
    carve(&t, &measure, threads);
    if (!attn_arena_needed(&measure, &bytes))
        return attn_fail(error, ATTN_ERR_OVERFLOW,
                         "rotary.size is %" PRId64 " and head_size %" PRId64
                         ": no size holds the tables of %d threads",
                         t.size, head_size, threads);
    void *memory = malloc(bytes);
    if (!memory)
        return attn_fail(error, ATTN_ERR_MEMORY, "no memory for tables of %zu bytes", bytes);
    struct attn_arena arena = attn_arena_over(memory, bytes);
    carve(&t, &arena, threads);
    status = run(&t, rotary, executor, error);
    free(memory);
    return status;
}
