/* Any numbers as a problem over a cache and as a run of it: problems are refused or planned, runs are refused or
 * done, and nothing outside the pool, the small arrays and the outputs is touched. All are of exactly the
 * size that the problem tells, so that AddressSanitizer sees one byte too far; outputs are filled before, and
 * a run that is refused leaves them so. */
#include <attn/attn.h>
#include <attn/kv.h>
#include <attn/stats.h>

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "kv_touch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILL = 0x5a, MOST_MEMORY = 40 };

struct source {
    struct bytes bytes;
    void *memory[MOST_MEMORY];
    int memory_count;
};

static int64_t next_below(struct source *s, int64_t end)
{
    return next_byte(&s->bytes) % end;
}

static attn_window next_window(struct source *s)
{
    attn_window window;
    window.left = next_number(&s->bytes);
    window.right = next_number(&s->bytes);
    window.prefix = next_number(&s->bytes);
    return window;
}

static void *filled(struct source *s, int64_t bytes)
{
    unsigned char *memory = malloc(bytes > 0 ? (size_t)bytes : 1);
    if (!memory || s->memory_count == MOST_MEMORY)
        abort();
    memset(memory, FILL, (size_t)bytes);
    s->memory[s->memory_count++] = memory;
    return memory;
}

static int32_t *numbers(struct source *s, int64_t count)
{
    int32_t *array = filled(s, 4 * count);
    for (int64_t i = 0; i < count; i++)
        array[i] = next_number(&s->bytes);
    return array;
}

static int64_t *long_numbers(struct source *s, int64_t count)
{
    int64_t *array = filled(s, 8 * count);
    for (int64_t i = 0; i < count; i++)
        array[i] = next_number(&s->bytes);
    return array;
}

/* Elements and scales: the bytes that are left over and over, NaN and Inf among them. */
static void *elements(struct source *s, int64_t count, int64_t bits)
{
    const int64_t bytes = count * bits / 8;
    unsigned char *memory = filled(s, bytes);
    for (int64_t i = 0; i < bytes && s->bytes.size > 0; i++)
        memory[i] = s->bytes.data[(size_t)i % s->bytes.size];
    return memory;
}

struct call {
    attn_kv_layout layout;
    attn_kv_view view;
    attn_problem problem;
    attn_args args;
    attn_statistics_wanted wanted;
    attn_statistics statistics;
    int64_t rows; /* of q, all sequences together */
    float *lse, *o;
};

/* Head sizes that have tails, and whole vectors. */
static void draw_problem(struct source *s, struct call *c)
{
    static const int64_t sizes[] = {4, 2, 16, 20, 64, 96};
    const int64_t batch = next_below(s, 4), kv_heads = 1 + next_below(s, 2);
    const int64_t heads = kv_heads * (1 + next_below(s, 9)), queries = next_below(s, 40);
    const int64_t size = sizes[next_below(s, 6)], page_size = 1 + next_below(s, 40);
    c->layout = attn_kv_layout_init((attn_dtype)(1 + next_below(s, 5)), kv_heads, page_size, size);
    const attn_kv_layout value =
        attn_kv_layout_init((attn_dtype)(1 + next_below(s, 5)), kv_heads, page_size, size);
    const int flags = next_byte(&s->bytes), masks = next_byte(&s->bytes);
    c->layout.v_dtype = value.v_dtype;
    c->layout.group = c->layout.group ? c->layout.group : value.group;
    memcpy(c->layout.v_scale_stride, value.v_scale_stride, sizeof value.v_scale_stride);
    c->layout.k_channel_scales = (flags & 1) && c->layout.k_dtype == ATTN_INT8;
    c->layout.positions = (flags & 2) != 0;
    c->problem = attn_problem_init(batch, heads, kv_heads, queries, next_below(s, 256) * 3, size);
    c->problem.cache = &c->layout;
    c->problem.lengths = (attn_lengths)(flags >> 4 & 3);
    c->problem.causal = masks & 1;
    c->problem.prefix_lm = (masks & 2) != 0;
    c->problem.head_windows = (masks & 4) != 0;
    c->problem.sinks = (masks & 8) != 0;
    c->problem.softcap = masks & 16 ? 3 : 0;
    c->problem.alignment = (attn_alignment)(masks >> 5 & 3);
    if (masks & 128)
        c->problem.window = next_window(s);
    c->problem.excluded_keys = flags & 8 ? next_below(s, 3) : 0;
    if (c->problem.lengths >= ATTN_LENGTHS_RAGGED_I32) {
        c->problem.total_queries = batch * queries;
        c->problem.q = c->problem.o = attn_layout_bhsd(ATTN_F32, heads, batch * queries, size);
    }
    c->rows = batch * queries;
    if (flags & 4) {
        uint32_t set = next_byte(&s->bytes);
        set = set << 8 | next_byte(&s->bytes);
        set = set << 8 | next_byte(&s->bytes);
        c->wanted = attn_statistics_wanted_init(set);
        c->wanted.top_keys = next_number(&s->bytes);
        c->problem.statistics = &c->wanted;
    }
    c->problem.workspace_limit = flags & 128 ? (size_t)next_byte(&s->bytes) << 14 : 0;
    c->problem.workspace_threads = 1;
}

static void draw_table(struct source *s, struct call *c)
{
    const attn_problem *p = &c->problem;
    const attn_kv_layout *l = &c->layout;
    const int64_t pages = next_below(s, 40), size = p->head_size;
    const int64_t rows = pages * p->kv_heads * l->page_size;
    c->view = attn_kv_view_init();
    c->view.pages = pages;
    int32_t *indptr = numbers(s, p->batch + 1);
    int64_t entries = 0; /* as many as the largest says, within reason */
    for (int64_t b = 0; b <= p->batch; b++) {
        if (indptr[b] > 90)
            indptr[b] = 90;
        entries = indptr[b] > entries ? indptr[b] : entries;
    }
    c->view.indptr = indptr, c->view.indices = numbers(s, entries);
    c->view.last_page_len = numbers(s, p->batch);
    c->view.first_page_begin = next_byte(&s->bytes) % 2 ? numbers(s, p->batch) : NULL;
    c->view.positions = l->positions ? numbers(s, pages * l->page_size) : NULL;
    const int64_t k_scales = kv_scales(l, l->k_dtype, size),
                  v_scales = kv_scales(l, l->v_dtype, size);
    c->view.k = elements(s, rows * size, kv_bits(l->k_dtype));
    c->view.v = elements(s, rows * size, kv_bits(l->v_dtype));
    c->view.k_scale = k_scales ? elements(s, rows * k_scales, 32) : NULL;
    c->view.v_scale = v_scales ? elements(s, rows * v_scales, 32) : NULL;
    c->view.k_channel_scale = l->k_channel_scales ? elements(s, p->kv_heads * size, 32) : NULL;
}

static attn_window *windows(struct source *s, int64_t heads)
{
    attn_window *array = filled(s, heads * (int64_t)sizeof *array);
    for (int64_t h = 0; h < heads; h++)
        array[h] = next_window(s);
    return array;
}

static void draw_statistics(struct source *s, struct call *c)
{
    const int64_t words = 4 * c->problem.heads * c->rows;
    const int64_t top = c->wanted.top_keys > 0 && c->wanted.top_keys < 65 ? c->wanted.top_keys : 1;
    attn_statistics *t = &c->statistics;
    *t = attn_statistics_init();
    t->entropy = filled(s, words), t->varentropy = filled(s, words);
    t->participation = filled(s, words), t->max_weight = filled(s, words);
    t->max_key = filled(s, words), t->max_logit = filled(s, words);
    t->max_abs_logit = filled(s, words), t->max_score = filled(s, words);
    t->min_score = filled(s, words), t->mass_self = filled(s, words);
    t->mass_previous = filled(s, words), t->mass_next = filled(s, words);
    t->mass_first = filled(s, words), t->mass_local = filled(s, words);
    t->distance_mean = filled(s, words), t->distance_sd = filled(s, words);
    t->visible_keys = filled(s, words);
    t->top_keys = filled(s, words * top), t->top_weights = filled(s, words * top);
    c->args.statistics = t;
}

static void draw_arguments(struct source *s, struct call *c)
{
    const attn_problem *p = &c->problem;
    attn_args *a = &c->args;
    *a = attn_args_init(p);
    a->cache = &c->view;
    if (p->lengths == ATTN_LENGTHS_PADDED)
        a->query_lengths = long_numbers(s, p->batch);
    else if (p->lengths == ATTN_LENGTHS_RAGGED_I32)
        a->cu_seqlens_q = numbers(s, p->batch + 1);
    else if (p->lengths == ATTN_LENGTHS_RAGGED_I64)
        a->cu_seqlens_q = long_numbers(s, p->batch + 1);
    a->query_offset = p->alignment == ATTN_OFFSET ? long_numbers(s, p->batch) : NULL;
    a->prefix_lm = p->prefix_lm ? long_numbers(s, p->batch) : NULL;
    a->head_windows = p->head_windows ? windows(s, p->heads) : NULL;
    a->excluded_keys =
        p->excluded_keys ? long_numbers(s, p->batch * p->heads * p->excluded_keys) : NULL;
    float *sinks = p->sinks ? filled(s, 4 * p->heads) : NULL;
    for (int64_t h = 0; sinks && h < p->heads; h++)
        sinks[h] = (float)next_number(&s->bytes);
    a->sinks = sinks;
    if (c->problem.statistics)
        draw_statistics(s, c);
}

static void check_untouched(const void *memory, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i++)
        if (((const unsigned char *)memory)[i] != FILL)
            abort();
}

static void plan_and_run(struct source *s, struct call *c)
{
    attn_error error;
    attn_plan *plan;
    const int64_t bytes = 4 * c->problem.heads * c->rows;
    if (attn_plan_create(&plan, &c->problem, &error) != ATTN_OK) {
        if (!error.message[0] || plan)
            abort();
        return;
    }
    const size_t size = attn_plan_workspace(plan, 1);
    void *workspace = filled(s, (int64_t)size);
    const attn_status status = attn_run(plan, &c->args, workspace, size, NULL, &error);
    if (status != ATTN_OK && !error.message[0])
        abort();
    if (status != ATTN_OK) {
        check_untouched(c->o, bytes * c->problem.head_size);
        check_untouched(c->lse, bytes);
    }
    attn_plan_destroy(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct source s = {.bytes = {data, size}};
    struct call c = {.rows = 0};
    draw_problem(&s, &c);
    draw_table(&s, &c);
    draw_arguments(&s, &c);
    const int64_t values = c.problem.heads * c.rows * c.problem.head_size;
    c.args.q = elements(&s, values, 32);
    c.args.o = c.o = filled(&s, 4 * values);
    c.args.lse = c.lse = filled(&s, 4 * c.problem.heads * c.rows);
    plan_and_run(&s, &c);
    for (int i = 0; i < s.memory_count; i++)
        free(s.memory[i]);
    return 0;
}
