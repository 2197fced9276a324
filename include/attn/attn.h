/* attn: exact fused attention for CPUs.
 *
 *     o = softmax(mask(softcap(scale * q k^T))) v         in O(n) memory, one C call on plain pointers
 *
 * The way of a call: describe the kind of problem once (attn_problem), plan it (attn_plan_create), then
 * run the plan as often as you like on pointers and lengths (attn_run):
 *
 *     attn_problem problem = attn_problem_init(1, 8, 8, 2048, 2048, 64);   // B Hq Hkv Nq Nk D, f32
 *     problem.causal = true;
 *     attn_plan *plan;
 *     attn_plan_create(&plan, &problem, NULL);
 *     const attn_executor *all = attn_default_executor();
 *     size_t size = attn_plan_workspace(plan, all->threads);
 *     void *workspace = malloc(size);
 *     attn_args args = attn_args_init(&problem);
 *     args.q = q, args.k = k, args.v = v, args.o = o;
 *     for (...)
 *         attn_run(plan, &args, workspace, size, all, NULL);
 *     attn_plan_destroy(plan);
 *
 * or in one line: attn_forward(&problem, &args, attn_default_executor(), NULL).
 *
 * Shapes, always in this order of axes: q [B, Hq, Nq, Dk], k [B, Hkv, Nk, Dk], v [B, Hkv, Nk, Dv],
 * o [B, Hq, Nq, Dv]; memory layout is free through strides. Grouped heads: query head h reads kv head
 * h / (Hq / Hkv). Every length may be zero.
 *
 * Tensors are f32, bf16 or f16; scores, sums and statistics are f32 always.
 *
 * Results have the same bits for any number of threads, any executor, and any company in the batch.
 * A row that sees no key gives o = 0, lse = -inf, entropy = 0; never NaN. NaN in a visible q, k or v
 * reaches the output; NaN or Inf in a masked k or v never does.
 *
 * Errors: every function that can fail returns an attn_status, and writes a sentence naming the argument,
 * what it was and what it may be into `error` (which may be NULL). A failed call leaves outputs untouched.
 * The library never prints, exits, aborts, or installs a handler. */
#ifndef ATTN_ATTN_H
#define ATTN_ATTN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ATTN_VERSION_MAJOR 0
#define ATTN_VERSION_MINOR 1
#define ATTN_VERSION_PATCH 0

#if defined(__GNUC__)
#define ATTN_API __attribute__((visibility("default")))
#else
#define ATTN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* "MAJOR.MINOR.PATCH" of the library that is linked (the macros above are those of the header). */
ATTN_API const char *attn_version(void);

/* ---- Errors -------------------------------------------------------------------------------------- */

typedef enum attn_status {
    ATTN_OK = 0,
    ATTN_ERR_NULL,        /* a pointer that must be given is NULL */
    ATTN_ERR_STRUCT_SIZE, /* struct_size is not one this library knows */
    ATTN_ERR_SHAPE,       /* a length or head count is negative, too large, or does not divide */
    ATTN_ERR_STRIDE,      /* the last stride is not 1, or o would overlap itself */
    ATTN_ERR_DTYPE,       /* an element type this call does not take */
    ATTN_ERR_ALIGNMENT,   /* a pointer is not aligned to its element */
    ATTN_ERR_VALUE,       /* a number (scale, softcap, window, offset...) outside its range */
    ATTN_ERR_OVERFLOW,    /* a size or address does not fit the machine's integers */
    ATTN_ERR_WORKSPACE,   /* the workspace is missing or too small */
    ATTN_ERR_MEMORY,      /* creation could not allocate */
    ATTN_ERR_CPU,      /* ATTN_CPU names a path that is unknown or that this machine cannot run */
    ATTN_ERR_EXECUTOR, /* the executor is malformed or reported a failure; outputs are undefined */
    ATTN_ERR_FULL,     /* a cache has no room for what was asked */
    ATTN_ERR_FILE,     /* a file cannot be read or written, or does not hold what it must */
} attn_status;

/* "ATTN_ERR_SHAPE" for ATTN_ERR_SHAPE; "unknown status" for a number that is none. Static storage. */
ATTN_API const char *attn_status_name(attn_status status);

typedef struct attn_error {
    attn_status status;
    char message[252]; /* one sentence, "" after success; cut, never overrun */
} attn_error;

/* ---- Tensors ------------------------------------------------------------------------------------- */

typedef enum attn_dtype {
    ATTN_F32 = 1,
    ATTN_BF16 = 2,
    ATTN_F16 = 3,
    ATTN_INT8 = 4, /* in caches alone (attn/kv.h), as the next: every other call refuses them */
    ATTN_INT4 = 5,
} attn_dtype;

/* How a tensor [B, H, N, D] lies in memory: element (b, h, n, d) is at
 *     pointer + b * stride[0] + h * stride[1] + n * stride[2] + d * stride[3]        (in elements).
 * stride[3] must be 1. A zero stride broadcasts (inputs only). Strides may be negative. */
typedef struct attn_layout {
    attn_dtype dtype;
    int64_t stride[4];
} attn_layout;

/* Contiguous [batch, heads, length, size]: PyTorch's order. */
static inline attn_layout attn_layout_bhsd(attn_dtype dtype, int64_t heads, int64_t length,
                                           int64_t size)
{
    attn_layout layout = {dtype, {heads * length * size, length * size, size, 1}};
    return layout;
}

/* Contiguous [batch, length, heads, size]: what a projection writes; FlashAttention's order. */
static inline attn_layout attn_layout_bshd(attn_dtype dtype, int64_t heads, int64_t length,
                                           int64_t size)
{
    attn_layout layout = {dtype, {heads * length * size, size, heads * size, 1}};
    return layout;
}

/* ---- The problem: what a plan fixes --------------------------------------------------------------- */

/* Where query i stands among the keys: its position is p = i + offset. Causal masks, windows and
 * distances are told from positions, whether or not the mask is causal. */
typedef enum attn_alignment {
    /* offset = Nk - Nq: the last query stands at the last key (FlashAttention) */
    ATTN_BOTTOM_RIGHT = 0,
    ATTN_TOP_LEFT = 1, /* offset = 0 (PyTorch's is_causal) */
    ATTN_OFFSET = 2,   /* offset = args.query_offset[b], one per sequence */
} attn_alignment;

/* Query at position p sees keys in [p - left, p + right], inclusive; -1 = unlimited. Keys < prefix are
 * exempt from the window (not from causal): the sink tokens of StreamingLLM. Mistral's "window W" is
 * left = W - 1, right = 0. Each number is at most 2^31 - 1; prefix is >= 0. */
typedef struct attn_window {
    int64_t left, right, prefix;
} attn_window;

/* How long the sequences of a batch are. */
typedef enum attn_lengths {
    ATTN_LENGTHS_EQUAL = 0, /* all args.queries and args.keys */
    ATTN_LENGTHS_PADDED =
        1, /* args.query_lengths[b] and key_lengths[b] of them; the rest is padding */
    /* Ragged: sequences packed one behind the other in q [1, Hq, total, Dk], k and v [1, Hkv, total, D],
     * o alike. Sequence b is rows cu_seqlens[b] .. cu_seqlens[b + 1] - 1. Arrays [B, Hq, Nq] of rows are
     * then [Hq, total queries], arrays of keys [Hq, total keys]. */
    ATTN_LENGTHS_RAGGED_I32 = 2,
    ATTN_LENGTHS_RAGGED_I64 = 3,
} attn_lengths;

struct attn_statistics_wanted; /* attn/stats.h */
struct attn_statistics;        /* attn/stats.h */
struct attn_rotary;            /* attn/rotary.h */
struct attn_scores;            /* attn/scores.h */
struct attn_scores_args;       /* attn/scores.h */
struct attn_kv_layout;         /* attn/kv.h */
struct attn_kv_view;           /* attn/kv.h */

/* Score of query i and key j, in this order: u = scale * q_i.k_j; s = softcap * tanh(u / softcap); bias,
 * ALiBi, the caller's function (attn/scores.h); then the masks, which combine: j is visible if
 *     (j < prefix_lm  or  ((not causal or j <= p) and (j < window.prefix or p-left <= j <= p+right)))
 *     and j is not an excluded key, and each mask of attn/scores.h that is given says so. */
typedef struct attn_problem {
    size_t struct_size; /* sizeof(attn_problem) */

    /* Counts and lengths are at most 2^31 - 1. */
    int64_t batch;          /* B, at most; >= 0 */
    int64_t heads;          /* Hq, exactly; >= 0 */
    int64_t kv_heads;       /* Hkv, exactly; divides heads */
    int64_t queries;        /* Nq, at most; >= 0 */
    int64_t keys;           /* Nk, at most; >= 0 */
    int64_t head_size;      /* Dk of q and k; >= 1 */
    int64_t head_size_v;    /* Dv of v and o; >= 1 */
    attn_layout q, k, v, o; /* q, k, v of one dtype; o of the same or f32 */
    /* default ATTN_LENGTHS_EQUAL; with the others, queries and keys are the most of one sequence */
    attn_lengths lengths;
    int64_t total_queries; /* ragged: rows of q and o, at most; else 0 */
    int64_t total_keys;    /* ragged: rows of k and v, at most; else 0 */

    float scale;   /* finite; 0 (default) = 1 / sqrt(Dk) */
    float softcap; /* finite, >= 0; 0 (default) = none */

    bool causal;              /* default false */
    attn_alignment alignment; /* default ATTN_BOTTOM_RIGHT */
    attn_window window;       /* default { -1, -1, 0 }: none */
    bool head_windows; /* args.head_windows gives each head its own window instead; default false */
    bool prefix_lm;    /* args.prefix_lm is given; default false */
    int64_t excluded_keys; /* keys hidden from all rows of a head: at most this many, 0..4096 */

    /* A learned logit per query head, unscaled, in the denominator only (args.sinks); default false. lse
     * and statistics are of the keys alone. */
    bool sinks;

    /* o is not divided: o = sum e^(s - reference) v, and each row's reference and sum = sum e^(s -
     * reference) are told beside it (args.reference, args.sum): what a caller needs who adds parts up
     * himself. (attn_merge takes the normalised o and lse.) A sink enters lse_with_sink alone.
     * o must be f32: it may be large. Statistics stay those of the weights. Default false. */
    bool unnormalised;

    /* The most bytes that attn_plan_workspace may say for `workspace_threads` workers (0 = as many as the
     * default executor has); 0 (default) = no limit. Packed keys and values are what it grows by: under
     * a limit fewer kv heads are packed at a time, and if not even one fits, every task packs each block of
     * keys for itself, in O(threads x tile) whatever Nk, and slower, for blocks of rows no longer share
     * the packing. The same bits either way; attn_plan_explain says which. Not counted away: what the
     * second sweep keeps of each row, and the masses of segments. A limit that is too low for all of
     * this is an error that names the least that would do. Reading in place (few queries) packs nothing
     * to begin with. */
    size_t workspace_limit;
    int workspace_threads; /* 0 (default) .. 1024 */

    /* Rotary embedding of q and k (attn/rotary.h), applied while they are packed: the same as
     * attn_rotary_apply on both before, without its pass over memory. In f32: tensors of f32 give the
     * same bits; bf16 and f16 are spared the rounding in between, unless bf16 is multiplied in pairs
     * (attn_plan_explain says so), which rounds them likewise: the same bits again. Keys are then packed for
     * few queries too, which read them in place otherwise: for a query or two on keys that stay, turn the
     * keys once, by attn_rotary_apply. Keys of a cache, stored as they came, turn each time they are read:
     * a copy of each block, so for keys that never move it is cheaper to turn them as they are stored
     * (attn/kv.h). NULL (default) = none. Read when planning, then not needed. */
    const struct attn_rotary *rotary;

    /* Masks and biases given as tensors, ALiBi, documents, block lists, the caller's function; NULL
     * (default) = none. Read when planning, then not needed. */
    const struct attn_scores *scores;

    /* Telemetry out of the same pass; NULL (default) = none. Read when planning, then not needed. */
    const struct attn_statistics_wanted *statistics;

    /* Keys and values are read from a cache (attn/kv.h), which says where they are at each run (args.cache):
     * k and v above are ignored, args.k and args.v are NULL, and so are key_lengths and cu_seqlens_k, for
     * the page table tells how many keys a sequence has; `keys` is the most of one sequence, total_keys 0.
     * Arrays of keys are [B, Hq, Nk] of args.keys, in ragged batches too. q may have any dtype,
     * whatever the cache's. Sequences of few queries are decoded: all query heads of a kv head in one
     * pass over its pages, cut into chunks of a fixed number of keys that are merged in order. A whole chunk
     * in the same slots of the same pages for several sequences, such as a prefix they share, is read once for
     * all of them; this is found at each run and need not be told. The same bits whatever the pages, who shares
     * them, the batch and the threads. NULL (default) = no cache. Read when planning, then not needed. */
    const struct attn_kv_layout *cache;
} attn_problem;

/* A problem with every default: f32, contiguous [B, H, N, D], Dv = Dk, no mask. */
static inline attn_problem attn_problem_init(int64_t batch, int64_t heads, int64_t kv_heads,
                                             int64_t queries, int64_t keys, int64_t head_size)
{
    attn_problem problem;
    memset(&problem, 0, sizeof problem);
    problem.struct_size = sizeof problem;
    problem.batch = batch;
    problem.heads = heads;
    problem.kv_heads = kv_heads;
    problem.queries = queries;
    problem.keys = keys;
    problem.head_size = problem.head_size_v = head_size;
    problem.q = problem.o = attn_layout_bhsd(ATTN_F32, heads, queries, head_size);
    problem.k = problem.v = attn_layout_bhsd(ATTN_F32, kv_heads, keys, head_size);
    problem.window.left = problem.window.right = -1;
    return problem;
}

/* ---- The plan ------------------------------------------------------------------------------------- */

/* Everything decided about a problem: kernel path, tile sizes, workspace. Immutable: any number of
 * threads may run one plan at once, each with its own workspace. */
typedef struct attn_plan attn_plan;

/* Validate `problem`, choose, and put the plan into *plan (NULL on failure). The only call that
 * allocates. Errors: all but WORKSPACE and EXECUTOR. */
ATTN_API attn_status attn_plan_create(attn_plan **plan, const attn_problem *problem,
                                      attn_error *error);

/* NULL is allowed. */
ATTN_API void attn_plan_destroy(attn_plan *plan);

/* Bytes that attn_run needs as workspace with an executor of `threads` workers (>= 1; 1 for NULL). */
ATTN_API size_t attn_plan_workspace(const attn_plan *plan, int threads);

/* Every choice in words, several lines, into buffer[size] (cut and terminated). Returns the length of
 * the whole text without its terminator, as snprintf does; buffer may be NULL when size is 0. */
ATTN_API size_t attn_plan_explain(const attn_plan *plan, char *buffer, size_t size);

/* ---- The executor: who runs the tasks --------------------------------------------------------------- */

typedef void (*attn_task)(void *argument, int64_t index, int worker);

/* parallel_for(context, count, task, argument) means
 *     for (int64_t index = 0; index < count; index++)
 *         task(argument, index, worker);
 * in any order, any number at once, each index once, with 0 <= worker < threads and never two tasks with
 * the same worker at once. It returns after the last task has, 0 for success. Tasks never wait for each
 * other. A NULL executor runs them one after the other on the calling thread. */
typedef struct attn_executor {
    size_t struct_size; /* sizeof(attn_executor) */
    void *context;
    int threads; /* >= 1 */
    int (*parallel_for)(void *context, int64_t count, attn_task task, void *argument);
} attn_executor;

/* As many workers as OpenMP has threads by default: OMP_NUM_THREADS if it is set (or omp_set_num_threads
 * was called), else all cores this process may use; at most 1024. Made at the first call, lives until the
 * process ends. In a forked child it runs serially (threads do not survive a fork). Inside another parallel
 * region it runs serially too: nested use never deadlocks. */
ATTN_API const attn_executor *attn_default_executor(void);

/* An executor with `threads` workers (1..1024; 0 = as many as the default executor would get now). Errors:
 * NULL, VALUE, MEMORY. Destroy it when no run uses it; NULL is allowed there. */
ATTN_API attn_status attn_executor_create(attn_executor **executor, int threads, attn_error *error);
ATTN_API void attn_executor_destroy(attn_executor *executor);

/* ---- The run --------------------------------------------------------------------------------------- */

/* The pointers and lengths of one run. Inputs may alias each other; outputs may alias nothing. */
typedef struct attn_args {
    size_t struct_size; /* sizeof(attn_args) */

    int64_t batch, queries, keys; /* this run's B, Nq, Nk; 0 .. the plan's maxima */

    /* By the plan's layouts; NULL where the tensor is empty; v is read only if o is given. */
    const void *q, *k, *v;
    void *o;              /* NULL: only lse and statistics are wanted, and v is not read */
    float *lse;           /* [B, Hq, Nq] contiguous: ln(sum(exp(s))), natural log; or NULL */
    float *lse_with_sink; /* the same, the sink's logit added in; with problem.sinks, or NULL */

    /* [B, Hq, Nq] contiguous; with problem.unnormalised, else NULL. The reference, natural units, is
     * some maximum met on the way: no score of the row is above it by more than 8 ln 2, and none need
     * reach it. o and sum are told against the rounded number that is written here, so that
     * ln(sum) + reference = lse to an ulp or two. A row that sees no key: -inf, 0, and o = 0. */
    float *reference, *sum;

    /* Lengths of sequences [B], each 0 .. queries (keys); rows behind them see nothing and are not seen.
     * With ATTN_LENGTHS_PADDED, else NULL. */
    const int64_t *query_lengths, *key_lengths;
    /* [B + 1] of int32_t or int64_t as the plan says: from 0, never falling. Ragged plans, else NULL. */
    const void *cu_seqlens_q, *cu_seqlens_k;

    const float *sinks;          /* [Hq], natural units, not NaN; with problem.sinks, else NULL */
    const int64_t *query_offset; /* [B], |offset| < 2^31; with ATTN_OFFSET, else NULL */
    /* With problem.rotary, else NULL: where query i and key j stand, any int64, [B, Nq] and [B, Nk] of this
     * run (ragged: [total]; of a cache's keys always [B, Nk]). NULL: query i at its position p, key j at j or,
     * with positions in a cache, where it stands. Only angles are told by them: a window over a cache is
     * re-based by giving its keys, and its queries behind them, positions from 0 on. */
    const int64_t *query_positions, *key_positions;
    const attn_window *head_windows; /* [Hq]; with problem.head_windows, else NULL */
    const int64_t *prefix_lm;    /* at b * prefix_lm_stride[0] + h * prefix_lm_stride[1]; >= 0 */
    int64_t prefix_lm_stride[2]; /* default {1, 0}: one per sequence */
    /* [B, Hq, problem.excluded_keys], in any order, -1 = none; NULL if 0 */
    const int64_t *excluded_keys;

    const struct attn_scores_args *scores;    /* with problem.scores, else NULL */
    const struct attn_statistics *statistics; /* with problem.statistics, else NULL */
    const struct attn_kv_view *cache;         /* with problem.cache, else NULL */
} attn_args;

/* Arguments with the plan's maxima as lengths and every pointer NULL. */
static inline attn_args attn_args_init(const attn_problem *problem)
{
    attn_args args;
    memset(&args, 0, sizeof args);
    args.struct_size = sizeof args;
    args.batch = problem->batch;
    args.queries = problem->queries;
    args.keys = problem->keys;
    args.prefix_lm_stride[0] = 1;
    return args;
}

/* Run the plan. `workspace` holds `workspace_size` >= attn_plan_workspace(plan, executor->threads) bytes
 * of any alignment and any content; it may be reused by the next run. Allocates nothing, takes no lock.
 * Errors: NULL, STRUCT_SIZE, SHAPE, ALIGNMENT, VALUE, OVERFLOW, WORKSPACE, EXECUTOR. */
ATTN_API attn_status attn_run(const attn_plan *plan, const attn_args *args, void *workspace,
                              size_t workspace_size, const attn_executor *executor,
                              attn_error *error);

/* Plan, run and free in one line: the same code, the same bits. Allocates the workspace. */
ATTN_API attn_status attn_forward(const attn_problem *problem, const attn_args *args,
                                  const attn_executor *executor, attn_error *error);

/* ---- The machine ------------------------------------------------------------------------------------- */

typedef struct attn_cpu {
    size_t struct_size; /* sizeof(attn_cpu), set by the caller */
    char name[64];      /* "AMD EPYC ..." as the CPU calls itself */
    char features
        [192]; /* the features that matter here, space-separated: "avx2 fma f16c avx512f ..." */
    char paths[64];      /* kernel paths this machine can run, best last: "portable avx2 avx512" */
    char path[16];       /* the one that plans will use (ATTN_CPU=<path> overrides) */
    char threads_by[32]; /* the thread library behind the default executor: "OpenMP (libgomp)" */
    int cores;           /* cores this process may use */
    size_t cache_bytes[3]; /* L1 data, L2, L3 as used for block sizes; per core, per core, shared */
} attn_cpu;

/* Fill *cpu. Errors: NULL, STRUCT_SIZE, CPU (the description is filled all the same, path is ""). */
ATTN_API attn_status attn_cpu_describe(attn_cpu *cpu, attn_error *error);

#ifdef __cplusplus
}
#endif

#endif
