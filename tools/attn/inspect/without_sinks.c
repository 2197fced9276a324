/* Entropy without sinks; see without_sinks.h. */
#include "without_sinks.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    CHUNK = 256,    /* rows that are judged together */
    RUN_CHUNKS = 4, /* the most that are run again together */
};

/* Sinks that hold more than this leave the identity too few digits: its error is that of a weight
 * (some 1e-6) times ln(1 / p) over what they leave. */
static const double most_mass = 0.9;

bool without_sinks_create(struct without_sinks *w, int64_t heads, int64_t tokens, struct failure *f)
{
    size_t rows, chunks = (size_t)(tokens + CHUNK - 1) / CHUNK;
    *w = (struct without_sinks){.heads = heads, .tokens = tokens};
    if (!__builtin_mul_overflow((size_t)heads * sizeof *w->entropy, (size_t)tokens, &rows)) {
        w->sinks = malloc((size_t)heads * ATTN_SUMMARY_SINKS * sizeof *w->sinks);
        w->entropy = malloc(rows);
        w->visible = malloc(rows);
        w->chunk_needed = malloc((size_t)heads * chunks + 1);
    }
    return (w->sinks && w->entropy && w->visible && w->chunk_needed) ||
           fail(f, "out of memory for the statistics of %lld tokens", (long long)tokens);
}

void without_sinks_destroy(struct without_sinks *w)
{
    free(w->sinks);
    free(w->entropy);
    free(w->visible);
    free(w->chunk_needed);
}

/* What a task looks at: one chunk of rows of one head. */
struct look {
    struct without_sinks *w;
    const struct model_attention *attention;
    const float *entropy;
    const int32_t *visible;
    int64_t chunks;
    atomic_bool failed;
    struct failure failure; /* the first task's that failed */
};

static const float *element(const void *tensor, const attn_layout *layout, int64_t head,
                            int64_t row)
{
    return (const float *)tensor + head * layout->stride[1] + row * layout->stride[2];
}

static int64_t kv_head_of(const attn_problem *p, int64_t head)
{
    return head / (p->heads / p->kv_heads);
}

static bool sees(const attn_problem *p, int64_t query, int64_t key)
{
    return (!p->causal || key <= query) && (p->window.left < 0 || query - key <= p->window.left) &&
           (p->window.right < 0 || key - query <= p->window.right);
}

/* In eight sums, which the compiler can keep in one vector. */
static double dot(const float *a, const float *b, int64_t size)
{
    float sum[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= size; i += 8)
        for (int j = 0; j < 8; j++)
            sum[j] += a[i + j] * b[i + j];
    double total = 0.0;
    for (int j = 0; j < 8; j++)
        total += (double)sum[j];
    for (; i < size; i++)
        total += (double)a[i] * (double)b[i];
    return total;
}

/* ln of the weight of one visible pair, from the row's finished lse. */
static double log_weight(const struct model_attention *a, int64_t head, int64_t query, int64_t key)
{
    const attn_problem *p = a->problem;
    double scale = p->scale != 0.0f ? (double)p->scale : 1.0 / sqrt((double)p->head_size);
    double cap = (double)p->softcap;
    double score = scale * dot(element(a->args->q, &p->q, head, query),
                               element(a->args->k, &p->k, kv_head_of(p, head), key), p->head_size);
    if (cap > 0.0)
        score = cap * tanh(score / cap);
    return score - (double)a->args->lse[head * a->args->queries + query];
}

/* One row by the identity; false if its sinks hold too much of it (or something is not finite). */
static bool row_by_identity(const struct look *look, int64_t head, int64_t row)
{
    struct without_sinks *w = look->w;
    const int64_t *sinks = w->sinks + head * ATTN_SUMMARY_SINKS;
    const int64_t at = head * w->tokens + row;
    double mass = 0.0, sum = 0.0;
    int32_t hidden = 0;
    for (int i = 0; i < ATTN_SUMMARY_SINKS; i++) {
        if (sinks[i] < 0 || !sees(look->attention->problem, row, sinks[i]))
            continue;
        double log_p = log_weight(look->attention, head, row, sinks[i]), p = exp(log_p);
        mass += p;
        sum += p > 0.0 ? p * log_p : 0.0;
        hidden++;
    }
    w->visible[at] = look->visible[at] - hidden;
    if (w->visible[at] <= 0) {
        w->entropy[at] = 0.0f;
        return true;
    }
    double rest = ((double)look->entropy[at] + sum) / (1.0 - mass) + log1p(-mass);
    w->entropy[at] = rest < 0.0 ? 0.0f : (float)rest;
    return mass <= most_mass && isfinite(rest);
}

static void look_at_chunk(void *argument, int64_t index, int worker)
{
    (void)worker;
    const struct look *look = argument;
    int64_t head = index / look->chunks, begin = index % look->chunks * CHUNK;
    int64_t end = begin + CHUNK < look->w->tokens ? begin + CHUNK : look->w->tokens;
    look->w->chunk_needed[index] = 0;
    if (look->w->sinks[head * ATTN_SUMMARY_SINKS] < 0)
        return;
    for (int64_t row = begin; row < end; row++)
        if (!row_by_identity(look, head, row))
            look->w->chunk_needed[index] = 1;
}

/* Rows [begin, end) of one head by a run with the sinks excluded, on the keys these rows can see. */
static bool run_rows_again(const struct look *look, int64_t head, int64_t begin, int64_t end,
                           struct failure *f)
{
    struct without_sinks *w = look->w;
    const attn_problem *whole = look->attention->problem;
    int64_t first = 0, last = w->tokens;
    if (whole->window.left >= 0 && begin - whole->window.left > 0)
        first = begin - whole->window.left;
    if (whole->causal)
        last = end;
    else if (whole->window.right >= 0 && end + whole->window.right < last)
        last = end + whole->window.right;

    attn_statistics_wanted wanted =
        attn_statistics_wanted_init(ATTN_STAT_ENTROPY | ATTN_STAT_VISIBLE_KEYS);
    attn_problem problem = *whole;
    problem.heads = problem.kv_heads = 1;
    problem.queries = end - begin;
    problem.keys = last - first;
    problem.alignment = ATTN_OFFSET;
    problem.excluded_keys = ATTN_SUMMARY_SINKS;
    problem.statistics = &wanted;

    int64_t offset = begin - first, excluded[ATTN_SUMMARY_SINKS];
    for (int i = 0; i < ATTN_SUMMARY_SINKS; i++) {
        int64_t key = w->sinks[head * ATTN_SUMMARY_SINKS + i];
        excluded[i] = first <= key && key < last ? key - first : -1;
    }
    attn_statistics statistics = attn_statistics_init();
    statistics.entropy = w->entropy + head * w->tokens + begin;
    statistics.visible_keys = w->visible + head * w->tokens + begin;
    attn_args args = attn_args_init(&problem);
    args.q = element(look->attention->args->q, &whole->q, head, begin);
    args.k = element(look->attention->args->k, &whole->k, kv_head_of(whole, head), first);
    args.query_offset = &offset;
    args.excluded_keys = excluded;
    args.statistics = &statistics;
    attn_error error;
    return attn_forward(&problem, &args, NULL, &error) == ATTN_OK ||
           fail(f, "entropy without sinks: %s", error.message);
}

/* The needed chunks among RUN_CHUNKS of one head, in one run from the first to the last: a task of its own,
 * as runs of so few rows would not keep several threads busy. */
static void run_stretch(void *argument, int64_t index, int worker)
{
    (void)worker;
    struct look *look = argument;
    const int64_t stretches = (look->chunks + RUN_CHUNKS - 1) / RUN_CHUNKS;
    const int64_t head = index / stretches, first = index % stretches * RUN_CHUNKS;
    const unsigned char *needed = look->w->chunk_needed + head * look->chunks;
    int64_t begin = -1, end = -1;
    for (int64_t chunk = first; chunk < first + RUN_CHUNKS && chunk < look->chunks; chunk++)
        if (needed[chunk]) {
            begin = begin < 0 ? chunk : begin;
            end = chunk + 1;
        }
    if (begin < 0)
        return;
    int64_t rows_end = end * CHUNK < look->w->tokens ? end * CHUNK : look->w->tokens;
    struct failure f;
    if (!run_rows_again(look, head, begin * CHUNK, rows_end, &f) &&
        !atomic_exchange(&look->failed, true))
        look->failure = f;
}

static bool run_tasks_of(const struct look *look, int64_t count, attn_task task)
{
    const attn_executor *executor = look->attention->executor;
    if (executor)
        return executor->parallel_for(executor->context, count, task, (void *)look) == 0;
    for (int64_t index = 0; index < count; index++)
        task((void *)look, index, 0);
    return true;
}

bool without_sinks_measure(struct without_sinks *w, const struct model_attention *attention,
                           const float *entropy, const int32_t *visible, struct failure *f)
{
    struct look look = {.w = w,
                        .attention = attention,
                        .entropy = entropy,
                        .visible = visible,
                        .chunks = (w->tokens + CHUNK - 1) / CHUNK};
    const int64_t stretches = (look.chunks + RUN_CHUNKS - 1) / RUN_CHUNKS;
    if (!run_tasks_of(&look, w->heads * look.chunks, look_at_chunk) ||
        !run_tasks_of(&look, w->heads * stretches, run_stretch))
        return fail(f, "the executor failed");
    return !look.failed || fail(f, "%s", look.failure.message);
}
