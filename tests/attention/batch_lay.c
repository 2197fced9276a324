/* A batch laid out in one of the ways, run, and its results told sequence by sequence: see batch_case.h. */
#include "attention/batch_case.h"

#include "attention/guarded.h"
#include "attn_ref.h"

#include <stdlib.h>

static void *keep(struct batch_run *run, size_t count, size_t size)
{
    if (run->memory_count == BATCH_MEMORY)
        abort(); /* give BATCH_MEMORY more */
    return run->memory[run->memory_count++] = need(count, size);
}

static bool is_ragged(enum batch_way way)
{
    return way == BATCH_RAGGED_I32 || way == BATCH_RAGGED_I64;
}

/* Sequences of the run: their number in the case. */
static int64_t sequences(const struct batch_run *run)
{
    return run->way == BATCH_ALONE ? 1 : run->c->problem.batch;
}

static const void *skip(const void *array, int64_t bytes)
{
    return (const char *)array + bytes;
}

/* [batch][heads][longest][size] as [total][heads][size]. */
static const void *packed_tensor(struct batch_run *run, const void *from, int64_t heads,
                                 const int64_t *lengths, int64_t longest, int64_t total,
                                 int64_t size)
{
    const int64_t bytes = attn_ref_dtype_size(run->c->problem.q.dtype) * size;
    char *to = keep(run, (size_t)(total * heads * bytes), 1), *at = to;
    for (int64_t b = 0; b < run->c->problem.batch; b++)
        for (int64_t row = 0; row < lengths[b]; row++)
            for (int64_t h = 0; h < heads; h++, at += bytes)
                memcpy(at, skip(from, ((b * heads + h) * longest + row) * bytes), (size_t)bytes);
    return to;
}

/* [batch][longest] as [total]. */
static const void *packed_ids(struct batch_run *run, const void *from, const int64_t *lengths,
                              int64_t longest, int64_t total, int64_t bytes)
{
    char *to = keep(run, (size_t)(total * bytes), 1), *at = to;
    for (int64_t b = 0; b < run->c->problem.batch; at += lengths[b] * bytes, b++)
        memcpy(at, skip(from, b * longest * bytes), (size_t)(lengths[b] * bytes));
    return to;
}

static const void *running_sums(struct batch_run *run, const int64_t *lengths)
{
    const int64_t batch = run->c->problem.batch;
    int64_t *wide = keep(run, (size_t)batch + 1, sizeof *wide);
    int32_t *narrow = keep(run, (size_t)batch + 1, sizeof *narrow);
    for (int64_t b = 0; b < batch; b++) {
        wide[b + 1] = wide[b] + lengths[b];
        narrow[b + 1] = (int32_t)wide[b + 1];
    }
    return run->way == BATCH_RAGGED_I32 ? (const void *)narrow : wide;
}

static void lay_tensors(struct batch_run *run)
{
    const struct batch_case *c = run->c;
    attn_problem *p = &run->problem;
    attn_layout *const layouts[] = {&p->q, &p->k, &p->v};
    const void *const from[] = {c->q, c->k, c->v};
    const void **const to[] = {&run->args.q, &run->args.k, &run->args.v};
    const int64_t heads[] = {p->heads, p->kv_heads, p->kv_heads};
    const int64_t sizes[] = {p->head_size, p->head_size, p->head_size_v};
    for (int i = 0; i < 3; i++) {
        const int64_t *lengths = i == 0 ? c->query_lengths : c->key_lengths;
        const int64_t longest = i == 0 ? c->problem.queries : c->problem.keys;
        const int64_t total = i == 0 ? run->total_queries : run->total_keys;
        *layouts[i] = attn_layout_bhsd(c->problem.q.dtype, heads[i], longest, sizes[i]);
        *to[i] = skip(from[i],
                      run->first * layouts[i]->stride[0] * attn_ref_dtype_size(c->problem.q.dtype));
        if (is_ragged(run->way)) {
            *layouts[i] = attn_layout_bshd(c->problem.q.dtype, heads[i], total, sizes[i]);
            *to[i] = packed_tensor(run, from[i], heads[i], lengths, longest, total, sizes[i]);
        }
    }
    const int64_t rows = is_ragged(run->way) ? run->total_queries : p->queries;
    const int64_t count = (is_ragged(run->way) ? 1 : p->batch) * p->heads * rows;
    p->o = attn_layout_bhsd(c->problem.o.dtype, p->heads, rows, p->head_size_v);
    run->args.o =
        keep(run, (size_t)(count * p->head_size_v), (size_t)attn_ref_dtype_size(p->o.dtype));
    run->args.lse = keep(run, (size_t)count, sizeof(float));
    if (p->sinks)
        run->args.lse_with_sink = keep(run, (size_t)count, sizeof(float));
}

/* Whether a block of the mask is visible: told by its place alone. */
static bool block_listed(int64_t head, int64_t r, int64_t block)
{
    return (head + 2 * r + 3 * block) % 5 != 0;
}

static void lay_blocks(struct batch_run *run)
{
    const attn_problem *p = &run->problem;
    const attn_scores *scores = &run->c->scores;
    const int64_t row_blocks = (p->queries + scores->block_rows - 1) / scores->block_rows;
    const int64_t key_blocks = (p->keys + scores->block_keys - 1) / scores->block_keys;
    const int64_t lists = p->heads * row_blocks;
    int64_t *starts = keep(run, (size_t)lists + 1, sizeof *starts);
    int32_t *indices = keep(run, (size_t)(lists * key_blocks), sizeof *indices);
    int64_t count = 0;
    for (int64_t list = 0; list < lists; list++) {
        for (int64_t block = 0; block < key_blocks; block++)
            if (block_listed(list / row_blocks, list % row_blocks, block))
                indices[count++] = (int32_t)block;
        starts[list + 1] = count;
    }
    run->scores.block_starts = starts;
    run->scores.block_indices = indices;
}

static void lay_scores(struct batch_run *run)
{
    const struct batch_case *c = run->c;
    const attn_problem *p = &c->problem;
    const attn_scores *scores = &c->scores;
    attn_scores_args *args = &run->scores;
    *args = attn_scores_args_init();
    run->args.scores = args;
    if (scores->mask)
        args->mask = skip(c->mask, run->first * scores->mask_stride[0]);
    if (scores->bias)
        args->bias =
            skip(c->bias, run->first * scores->bias_stride[0] * attn_ref_dtype_size(scores->bias));
    if (scores->alibi)
        args->alibi_slopes = c->slopes;
    if (scores->documents) {
        args->query_documents = c->query_documents + run->first * p->queries;
        args->key_documents = c->key_documents + run->first * p->keys;
        if (is_ragged(run->way)) {
            args->query_documents = packed_ids(run, c->query_documents, c->query_lengths,
                                               p->queries, run->total_queries, sizeof(int32_t));
            args->key_documents = packed_ids(run, c->key_documents, c->key_lengths, p->keys,
                                             run->total_keys, sizeof(int32_t));
        }
    }
    if (scores->block_rows > 0)
        lay_blocks(run);
}

/* The arrays of rows and of keys, in one list. */
struct measure {
    uint32_t bit;
    size_t at;     /* the pointer, in attn_statistics */
    int64_t width; /* elements for each row or key */
    bool keys;
};

#define MEASURE(bit, field, width, keys)                                                           \
    {                                                                                              \
        bit, offsetof(attn_statistics, field), width, keys                                         \
    }
static const struct measure measures[] = {
    MEASURE(ATTN_STAT_ENTROPY, entropy, 1, false),
    MEASURE(ATTN_STAT_VARENTROPY, varentropy, 1, false),
    MEASURE(ATTN_STAT_PARTICIPATION, participation, 1, false),
    MEASURE(ATTN_STAT_MAX_WEIGHT, max_weight, 1, false),
    MEASURE(ATTN_STAT_MAX_KEY, max_key, 1, false),
    MEASURE(ATTN_STAT_MAX_LOGIT, max_logit, 1, false),
    MEASURE(ATTN_STAT_MAX_ABS_LOGIT, max_abs_logit, 1, false),
    MEASURE(ATTN_STAT_MAX_SCORE, max_score, 1, false),
    MEASURE(ATTN_STAT_MIN_SCORE, min_score, 1, false),
    MEASURE(ATTN_STAT_MASS_SELF, mass_self, 1, false),
    MEASURE(ATTN_STAT_MASS_PREVIOUS, mass_previous, 1, false),
    MEASURE(ATTN_STAT_MASS_NEXT, mass_next, 1, false),
    MEASURE(ATTN_STAT_MASS_FIRST, mass_first, 1, false),
    MEASURE(ATTN_STAT_MASS_LOCAL, mass_local, 1, false),
    MEASURE(ATTN_STAT_MASS_SEGMENTS, mass_segments, BATCH_SEGMENTS, false),
    MEASURE(ATTN_STAT_DISTANCE_MEAN, distance_mean, 1, false),
    MEASURE(ATTN_STAT_DISTANCE_SD, distance_sd, 1, false),
    MEASURE(ATTN_STAT_VISIBLE_KEYS, visible_keys, 1, false),
    MEASURE(ATTN_STAT_TOP_KEYS, top_keys, BATCH_TOP, false),
    MEASURE(ATTN_STAT_TOP_KEYS, top_weights, BATCH_TOP, false),
    MEASURE(ATTN_STAT_COLUMN_MASS, column_mass, 1, true),
    MEASURE(ATTN_STAT_COLUMN_VIEWERS, column_viewers, 1, true),
};
#undef MEASURE
enum { MEASURES = sizeof measures / sizeof measures[0] };

static bool is_wanted(const struct batch_run *run, uint32_t bit)
{
    return run->c->problem.statistics && (run->c->wanted.set & bit);
}

static uint32_t *measured(const struct batch_run *run, const struct measure *m)
{
    uint32_t *array;
    memcpy(&array, (const char *)&run->statistics + m->at, sizeof array);
    return array;
}

static void lay_statistics(struct batch_run *run)
{
    const struct batch_case *c = run->c;
    const attn_problem *p = &run->problem;
    attn_statistics *s = &run->statistics;
    *s = attn_statistics_init();
    run->args.statistics = s;
    for (int i = 0; i < MEASURES; i++) {
        const struct measure *m = &measures[i];
        if (!is_wanted(run, m->bit))
            continue;
        int64_t count = m->keys ? run->total_keys : run->total_queries;
        if (!is_ragged(run->way))
            count = p->batch * (m->keys ? p->keys : p->queries);
        void *array = keep(run, (size_t)(p->heads * count * m->width), sizeof(float));
        memcpy((char *)s + m->at, &array, sizeof array);
    }
    s->segment_ids = c->segments + run->first * c->problem.keys;
    if (is_ragged(run->way))
        s->segment_ids =
            packed_ids(run, c->segments, c->key_lengths, c->problem.keys, run->total_keys, 1);
    s->weights = run->requests, s->pairs = run->pairs;
    s->pair_weights = keep(run, BATCH_MOST, sizeof(float));
    for (int64_t i = 0; i < sequences(run); i++) {
        const int64_t b = run->first + i, rows = c->query_lengths[b], keys = c->key_lengths[b];
        run->requests[i] = (attn_weights_request){i, p->heads - 1, rows / 2, rows, NULL};
        run->requests[i].weights = keep(run, (size_t)((rows - rows / 2) * p->keys), sizeof(float));
        if (rows > 0 && keys > 0)
            run->pairs[s->pairs_count++] = (attn_pair){i, 0, rows - 1, keys / 2};
    }
    s->weights_count = sequences(run);
}

struct batch_run *batch_lay(const struct batch_case *c, enum batch_way way, int64_t sequence)
{
    struct batch_run *run = need(1, sizeof *run);
    const bool alone = way == BATCH_ALONE;
    run->c = c;
    run->way = way;
    run->first = alone ? sequence : 0;
    run->problem = c->problem;
    attn_problem *p = &run->problem;
    if (alone) {
        p->batch = 1;
        p->queries = c->query_lengths[sequence], p->keys = c->key_lengths[sequence];
    }
    for (int64_t b = 0; b < c->problem.batch; b++)
        run->total_queries += c->query_lengths[b], run->total_keys += c->key_lengths[b];
    run->args = attn_args_init(p);
    if (is_ragged(way)) {
        p->lengths = way == BATCH_RAGGED_I32 ? ATTN_LENGTHS_RAGGED_I32 : ATTN_LENGTHS_RAGGED_I64;
        p->total_queries = run->total_queries, p->total_keys = run->total_keys;
        run->args.cu_seqlens_q = running_sums(run, c->query_lengths);
        run->args.cu_seqlens_k = running_sums(run, c->key_lengths);
    } else if (way == BATCH_PADDED) {
        p->lengths = ATTN_LENGTHS_PADDED;
        run->args.query_lengths = c->query_lengths;
        run->args.key_lengths = c->key_lengths;
    }
    lay_tensors(run);
    if (p->alignment == ATTN_OFFSET)
        run->args.query_offset = c->offsets + run->first;
    if (p->head_windows)
        run->args.head_windows = c->windows;
    if (p->prefix_lm)
        run->args.prefix_lm = c->prefixes + run->first;
    if (p->excluded_keys > 0)
        run->args.excluded_keys = c->excluded + run->first * p->heads * p->excluded_keys;
    if (p->sinks)
        run->args.sinks = c->sinks;
    if (p->scores)
        lay_scores(run);
    if (p->statistics)
        lay_statistics(run);
    return run;
}

void batch_run_destroy(struct batch_run *run)
{
    for (int i = 0; i < run->memory_count; i++)
        free(run->memory[i]);
    free(run);
}

static int64_t output_rows(const struct batch_run *run)
{
    const attn_problem *p = &run->problem;
    return p->heads * (is_ragged(run->way) ? run->total_queries : p->batch * p->queries);
}

void batch_reset(struct batch_run *run)
{
    const attn_problem *p = &run->problem;
    const size_t rows = (size_t)output_rows(run);
    memset(run->args.o, 0xff, rows * (size_t)(p->head_size_v * attn_ref_dtype_size(p->o.dtype)));
    memset(run->args.lse, 0xff, rows * sizeof(float));
    if (run->args.lse_with_sink)
        memset(run->args.lse_with_sink, 0xff, rows * sizeof(float));
    for (int i = 0; i < MEASURES; i++)
        if (is_wanted(run, measures[i].bit) && !measures[i].keys)
            memset(measured(run, &measures[i]), 0xff,
                   rows * (size_t)measures[i].width * sizeof(float));
}

attn_status batch_run_plan(struct batch_run *run, const attn_plan *plan,
                           const attn_executor *executor, attn_error *error)
{
    size_t size = attn_plan_workspace(plan, executor ? executor->threads : 1);
    void *workspace = need(size, 1);
    memset(workspace, 0xff, size);
    attn_status status = attn_run(plan, &run->args, workspace, size, executor, error);
    free(workspace);
    return status;
}

attn_status batch_run(struct batch_run *run, const attn_executor *executor, attn_error *error)
{
    attn_plan *plan = NULL;
    attn_status status = attn_plan_create(&plan, &run->problem, error);
    if (status == ATTN_OK)
        status = batch_run_plan(run, plan, executor, error);
    attn_plan_destroy(plan);
    return status;
}

struct words {
    uint32_t *words;
    size_t count, most;
};

static void tell(struct words *words, const void *from, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 4, words->count++) {
        uint32_t word = 0;
        memcpy(&word, (const char *)from + at, bytes - at < 4 ? bytes - at : 4);
        if (words->count < words->most)
            words->words[words->count] = word;
    }
}

/* Row (or key) 0 of a sequence and head in the arrays [B, Hq, N] or [Hq, total] of the run. */
static int64_t origin(const struct batch_run *run, const int64_t *lengths, int64_t longest,
                      int64_t total, int64_t sequence, int64_t head)
{
    if (!is_ragged(run->way))
        return ((sequence - run->first) * run->problem.heads + head) * longest;
    int64_t before = 0;
    for (int64_t b = 0; b < sequence; b++)
        before += lengths[b];
    return head * total + before;
}

size_t batch_results(const struct batch_run *run, int64_t sequence, uint32_t *words, size_t most)
{
    const struct batch_case *c = run->c;
    const attn_problem *p = &run->problem;
    const int64_t rows = c->query_lengths[sequence], keys = c->key_lengths[sequence];
    const int64_t row_bytes = p->head_size_v * attn_ref_dtype_size(p->o.dtype);
    struct words told = {words, 0, most};
    for (int64_t h = 0; h < p->heads; h++) {
        const int64_t row =
            origin(run, c->query_lengths, p->queries, run->total_queries, sequence, h);
        const int64_t key = origin(run, c->key_lengths, p->keys, run->total_keys, sequence, h);
        tell(&told, skip(run->args.o, row * row_bytes), (size_t)(rows * row_bytes));
        tell(&told, run->args.lse + row, (size_t)rows * sizeof(float));
        if (run->args.lse_with_sink)
            tell(&told, run->args.lse_with_sink + row, (size_t)rows * sizeof(float));
        for (int i = 0; i < MEASURES; i++) {
            const struct measure *m = &measures[i];
            if (is_wanted(run, m->bit))
                tell(&told, measured(run, m) + (m->keys ? key : row) * m->width,
                     (size_t)((m->keys ? keys : rows) * m->width) * sizeof(float));
        }
    }
    const attn_weights_request *request = &run->requests[sequence - run->first];
    for (int64_t r = 0; is_wanted(run, ATTN_STAT_WEIGHTS) && r < rows - rows / 2; r++)
        tell(&told, request->weights + r * p->keys, (size_t)keys * sizeof(float));
    for (int64_t i = 0; is_wanted(run, ATTN_STAT_PAIRS) && i < run->statistics.pairs_count; i++)
        if (run->pairs[i].batch == sequence - run->first)
            tell(&told, &run->statistics.pair_weights[i], sizeof(float));
    return told.count;
}

bool batch_padding_is_empty(const struct batch_run *run)
{
    const attn_problem *p = &run->problem;
    bool empty = true;
    for (int64_t b = 0; b < sequences(run) && run->way == BATCH_PADDED; b++)
        for (int64_t h = 0; h < p->heads; h++) {
            int64_t row = (b * p->heads + h) * p->queries, key = (b * p->heads + h) * p->keys;
            for (int64_t i = run->c->query_lengths[b]; i < p->queries; i++) {
                empty &= run->args.lse[row + i] == -INFINITY;
                for (int64_t e = 0; e < p->head_size_v; e++)
                    empty &= attn_ref_value(run->args.o, p->o.dtype,
                                            (row + i) * p->head_size_v + e) == 0;
            }
            for (int64_t j = run->c->key_lengths[b]; j < p->keys; j++)
                if (is_wanted(run, ATTN_STAT_COLUMN_MASS))
                    empty &= run->statistics.column_mass[key + j] == 0.0f;
        }
    return empty;
}
