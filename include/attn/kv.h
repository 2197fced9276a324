/* Caches of keys and values: where the tokens that a model has read stay for those it has yet to write.
 *
 * A cache lies in a pool of pages. A page holds `page_size` tokens of every kv head; a sequence is a list
 * of pages, the last one partly filled; pages may be shared by sequences that begin alike. One page as
 * large as a sequence can grow makes the cache contiguous. attn_kv_layout says how pages lie, and is fixed by a
 * plan (problem.cache); attn_kv_view says which pages belong to which sequence, and is given to each run
 * (args.cache). Both describe anybody's memory: the table is FlashInfer's (indptr, indices,
 * last_page_len).
 *
 * A cache of our own, one layer or a whole model's:
 *
 *     attn_kv_layer layers[2] = {attn_kv_layer_init(ATTN_F16, 4, 64, 16),      // Hkv D page_size
 *                                attn_kv_layer_init(ATTN_INT8, 4, 64, 16)};
 *     layers[1].window = 512;
 *     attn_kv_config config = attn_kv_config_init(layers, 2, 8, 4096);  // sequences, tokens of each
 *     attn_kv *kv;
 *     attn_kv_create(&kv, &config, NULL, 0, NULL);
 *     attn_kv_rows rows = attn_kv_rows_init(1, 4, N, 64, ATTN_F32);     // to sequence 0
 *     rows.k = k, rows.v = v;
 *     for each layer {
 *         attn_kv_append(kv, layer, &rows, NULL, NULL);
 *         attn_kv_get_view(kv, layer, NULL, 1, &view, NULL);            // then attn_run with args.cache
 *     }
 *
 * Sequences that begin alike may share pages (attn_kv_fork): attention reads a chunk of them once for all.
 *
 * A token's row index and its position are two things. Rows of a sequence are counted in the order of its
 * table; where a token stands, which is what masks, windows and distances go by, is its row index
 * unless view.positions says otherwise (tokens in between may have been evicted).
 *
 * Quantised storage is symmetric, x = scale * q:
 *
 *     INT8    q in -127 .. 127, one f32 scale for each (token, kv head). Keys may have a second factor for
 *             each (kv head, channel), the same for all tokens: x = scale * channel_scale[c] * q.
 *     INT4    q in -7 .. 7, stored as q + 8 in 4 bits; one f32 scale for each group of `group` channels of a
 *             (token, kv head). Within a group, byte i holds channel i in its low half and channel
 *             i + group / 2 in its high half. */
#ifndef ATTN_KV_H
#define ATTN_KV_H

#include "attn/attn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Anybody's memory: the border to attention -------------------------------------------------------- */

/* How keys and values lie in a pool of pages. Channel c of the token in slot t of page p, kv head h, is
 * element p * k_stride[0] + h * k_stride[1] + t * k_stride[2] + c of view.k; its scale is element
 * p * k_scale_stride[0] + h * k_scale_stride[1] + t * k_scale_stride[2] of view.k_scale, where for INT4 that of
 * group c / group is so many elements further. Values likewise. Strides are in elements (INT4: of 4
 * bits, and even), 0 or more. */
typedef struct attn_kv_layout {
    size_t struct_size;          /* sizeof(attn_kv_layout) */
    attn_dtype k_dtype, v_dtype; /* any; the two may differ */
    int64_t page_size;           /* tokens of a page; 1 .. 2^31 - 1 */
    int64_t k_stride[3], v_stride[3];
    int64_t k_scale_stride[3], v_scale_stride[3]; /* quantised types only */
    int64_t group; /* INT4: channels that share a scale: even, divides the head size; else 0 */
    bool k_channel_scales; /* INT8 keys: view.k_channel_scale is given; default false */
    bool positions;        /* view.positions is given; default false */
} attn_kv_layout;

/* Keys in one pool [pages, kv_heads, page_size, head_size] and values in another like it: the order that
 * vLLM and FlashInfer call HND. Scales, where the type has them, lie [pages, kv_heads, page_size] (INT8) or
 * [pages, kv_heads, page_size, head_size / group] (INT4; the largest even group up to 32 that divides). */
static inline attn_kv_layout attn_kv_layout_init(attn_dtype dtype, int64_t kv_heads,
                                                 int64_t page_size, int64_t head_size)
{
    attn_kv_layout layout;
    memset(&layout, 0, sizeof layout);
    layout.struct_size = sizeof layout;
    layout.k_dtype = layout.v_dtype = dtype;
    layout.page_size = page_size;
    layout.k_stride[0] = layout.v_stride[0] = kv_heads * page_size * head_size;
    layout.k_stride[1] = layout.v_stride[1] = page_size * head_size;
    layout.k_stride[2] = layout.v_stride[2] = head_size;
    int64_t scales = dtype == ATTN_INT8 ? 1 : 0;
    if (dtype == ATTN_INT4) {
        layout.group = 32;
        while (layout.group > 2 && head_size % layout.group != 0)
            layout.group -= 2;
        scales = head_size / layout.group;
    }
    layout.k_scale_stride[0] = layout.v_scale_stride[0] = kv_heads * page_size * scales;
    layout.k_scale_stride[1] = layout.v_scale_stride[1] = page_size * scales;
    layout.k_scale_stride[2] = layout.v_scale_stride[2] = scales;
    return layout;
}

/* Where the B sequences of one run lie: borrowed pointers. Sequence b has n = indptr[b + 1] - indptr[b] pages,
 * indices[indptr[b]] and the n - 1 behind it, and so
 *
 *     (n - 1) * page_size + last_page_len[b] - first_page_begin[b]
 *
 * keys, 0 without pages. Pages may be shared between sequences, but come once at most in each. */
typedef struct attn_kv_view {
    size_t struct_size;             /* sizeof(attn_kv_view) */
    const void *k, *v;              /* the pool */
    const float *k_scale, *v_scale; /* quantised types, else NULL */
    const float
        *k_channel_scale;   /* [kv_heads, head_size]; with layout.k_channel_scales, else NULL */
    int64_t pages;          /* of the pool: every index is below it; 0 .. 2^31 - 1 */
    const int32_t *indptr;  /* [B + 1]: from 0, never falling */
    const int32_t *indices; /* [indptr[B]]; NULL if there are none */
    const int32_t *last_page_len; /* [B]: 1 .. page_size; 0 for a sequence without pages */
    /* [B] or NULL (0): tokens at the beginning of the first page that are gone; below page_size, and below
     * last_page_len[b] if that page is the last */
    const int32_t *first_page_begin;
    /* [pages, page_size]: where the token of each slot stands: 0 or more, rising within a sequence. With
     * layout.positions, else NULL: the i-th key of a sequence stands at i. */
    const int32_t *positions;
} attn_kv_view;

static inline attn_kv_view attn_kv_view_init(void)
{
    attn_kv_view view;
    memset(&view, 0, sizeof view);
    view.struct_size = sizeof view;
    return view;
}

/* Whether a table may be read: strides and addresses, pointers, and every entry of indptr, indices,
 * last_page_len, first_page_begin and positions, for `batch` sequences of at most `keys` keys. attn_run asks
 * the same of args.cache. Allocates nothing; time is that of the table (and of the positions).
 *
 * Errors: NULL, STRUCT_SIZE, SHAPE, STRIDE, DTYPE, ALIGNMENT, VALUE, OVERFLOW. */
ATTN_API attn_status attn_kv_view_check(const attn_kv_layout *layout, const attn_kv_view *view,
                                        int64_t batch, int64_t keys, int64_t kv_heads,
                                        int64_t head_size, int64_t head_size_v, attn_error *error);

/* ---- A cache of our own ------------------------------------------------------------------------------ */

/* The keys and values of one layer. */
typedef struct attn_kv_layer {
    size_t struct_size; /* sizeof(attn_kv_layer) */
    int64_t kv_heads, head_size, head_size_v;
    attn_dtype k_dtype, v_dtype;
    int64_t group; /* as in attn_kv_layout */
    /* Tokens of a page. As many as a sequence may have: contiguous. With a window, what is let go of is whole
     * pages, so that up to one page more than the window stays. */
    int64_t page_size;
    /* 0 (default): all tokens stay. Else a new token sees the `window` last ones, itself included (a window
     * of left = window - 1), and tokens that none of those being appended sees are let go of, except the first
     * `sinks` (default 0) of the sequence (attn_window's prefix). The problem's own window decides what
     * is seen: a view may hold a little more. To take k tokens back (attn_kv_truncate) after appends apart,
     * make it k wider. */
    int64_t window, sinks;
    bool
        positions; /* keep where each token stands: for attn_kv_evict; always with sinks. Default false */
    /* INT8 keys: [kv_heads, head_size], finite, > 0; copied. NULL (default) = none */
    const float *k_channel_scales;
    /* Keys turn by their positions (attn_kv_length and on) as they are stored, before they are rounded; NULL
     * (default) = they are stored as they come. Copied. Or they turn each time they are read (problem.rotary,
     * not both), by positions that each run may choose anew: to re-base a window. */
    const struct attn_rotary *rotary;
    int64_t pages; /* of the pool; 0 (default) = what sequences and total_tokens come to */
} attn_kv_layer;

static inline attn_kv_layer attn_kv_layer_init(attn_dtype dtype, int64_t kv_heads,
                                               int64_t head_size, int64_t page_size)
{
    attn_kv_layer layer;
    memset(&layer, 0, sizeof layer);
    layer.struct_size = sizeof layer;
    layer.kv_heads = kv_heads;
    layer.head_size = layer.head_size_v = head_size;
    layer.k_dtype = layer.v_dtype = dtype;
    layer.group = attn_kv_layout_init(dtype, kv_heads, page_size, head_size).group;
    layer.page_size = page_size;
    return layer;
}

typedef struct attn_kv_config {
    size_t struct_size; /* sizeof(attn_kv_config) */
    const attn_kv_layer *layers;
    int64_t layer_count; /* 1 .. 65536 */
    int64_t sequences;   /* at most, numbered from 0; 1 .. 2^20 */
    int64_t tokens;      /* that one sequence may hold in a layer; 1 .. 2^31 - 1 */
    /* That all sequences together may hold in a layer, shared pages counted once: how large pools are. 0
     * (default) = sequences * tokens. */
    int64_t total_tokens;
    int64_t
        step; /* tokens appended at once to one sequence of a layer with a window, at most: >= 1 */
    uint64_t model; /* a number that tells models apart, saved and compared with files; default 0 */
} attn_kv_config;

static inline attn_kv_config attn_kv_config_init(const attn_kv_layer *layers, int64_t layer_count,
                                                 int64_t sequences, int64_t tokens)
{
    attn_kv_config config;
    memset(&config, 0, sizeof config);
    config.struct_size = sizeof config;
    config.layers = layers;
    config.layer_count = layer_count;
    config.sequences = sequences;
    config.tokens = tokens;
    config.step = tokens < 512 ? tokens : 512;
    return config;
}

/* A cache belongs to one thread at a time; views may be read by any number until it is next changed. A call
 * that fails leaves it as it was, but for what is said at attn_kv_append and attn_kv_load. */
typedef struct attn_kv attn_kv;

/* The bytes that attn_kv_create needs for `config`. Errors: NULL, STRUCT_SIZE, SHAPE, DTYPE, VALUE, ALIGNMENT,
 * OVERFLOW. */
ATTN_API attn_status attn_kv_size(const attn_kv_config *config, size_t *bytes, attn_error *error);

/* An empty cache in memory[size] of any alignment and content, or, with NULL and 0, in memory of its own. *kv
 * is NULL on failure. Errors: as above, and WORKSPACE (too small), MEMORY. */
ATTN_API attn_status attn_kv_create(attn_kv **kv, const attn_kv_config *config, void *memory,
                                    size_t size, attn_error *error);

/* NULL is allowed. The caller's memory stays the caller's. */
ATTN_API void attn_kv_destroy(attn_kv *kv);

/* What to append to B sequences of one layer, n_b tokens each. */
typedef struct attn_kv_rows {
    size_t struct_size;
    int64_t count;            /* B; 0 .. config.sequences */
    const int32_t *sequences; /* [B], none twice; NULL (default): 0, 1, ... */
    /* N: k is [B, kv_heads, N, head_size], v alike; packed: [1, kv_heads, N, ...], the n_b rows of each
     * sequence one behind the other. Default not packed. */
    int64_t tokens;
    bool packed;
    const int64_t *lengths; /* [B] n_b, each 0 .. N, packed: N together; NULL (default): all N */
    attn_layout k_layout, v_layout; /* f32, bf16 or f16 */
    const void *k, *v;
} attn_kv_rows;

/* Contiguous k and v [batch, kv_heads, tokens, head_size]. */
static inline attn_kv_rows attn_kv_rows_init(int64_t batch, int64_t kv_heads, int64_t tokens,
                                             int64_t head_size, attn_dtype dtype)
{
    attn_kv_rows rows;
    memset(&rows, 0, sizeof rows);
    rows.struct_size = sizeof rows;
    rows.count = batch;
    rows.tokens = tokens;
    rows.k_layout = rows.v_layout = attn_layout_bhsd(dtype, kv_heads, tokens, head_size);
    return rows;
}

/* Append to one layer. The i-th new token of a sequence stands at attn_kv_length + i. A page that is shared
 * is copied before it is written.
 *
 * Stored to nearest: floats as IEEE 754 rounds; INT8 with scale = max |x| / 127 of the token and head, INT4
 * with max |x| / 7 of the group, so that an element is off by half a scale (and float rounding) at
 * most. NaN or Inf among them makes all that share the scale NaN; if all are below 2^-100 they become 0. What a
 * token becomes depends on its content and position alone.
 *
 * Room is made sure of before anything is written. If the executor fails nothing was appended, but a
 * window may have moved on. Allocates only with an executor, and only for many tokens.
 *
 * Errors: NULL, STRUCT_SIZE, SHAPE, STRIDE, DTYPE, ALIGNMENT, VALUE, OVERFLOW, MEMORY, FULL, EXECUTOR. */
ATTN_API attn_status attn_kv_append(attn_kv *kv, int64_t layer, const attn_kv_rows *rows,
                                    const attn_executor *executor, attn_error *error);

/* Room in every layer for tokens[i] more of sequence sequences[i] (NULL: i), so that a step cannot be
 * refused halfway through the layers; it stays theirs until used, truncated or cleared. A window moves on as
 * an append would make it. Errors: NULL, SHAPE, VALUE, FULL. */
ATTN_API attn_status attn_kv_reserve(attn_kv *kv, const int32_t *sequences, int64_t count,
                                     const int64_t *tokens, attn_error *error);

/* Take back, in every layer, the tokens that stand at `length` and behind, and reserved room. Errors: NULL;
 * SHAPE; VALUE where a window has let go of tokens that the next one would see. */
ATTN_API attn_status attn_kv_truncate(attn_kv *kv, int64_t sequence, int64_t length,
                                      attn_error *error);

/* Make `to`, which must be empty, begin as `from` is now, in every layer, by sharing its pages. Errors: NULL,
 * SHAPE, VALUE. */
ATTN_API attn_status attn_kv_fork(attn_kv *kv, int64_t from, int64_t to, attn_error *error);

/* Empty a sequence; its pages are free unless shared. Errors: NULL, SHAPE. */
ATTN_API attn_status attn_kv_clear(attn_kv *kv, int64_t sequence, attn_error *error);

/* Take rows[count], rising, out of one layer of a sequence, by row index of its view. Rows behind them close up
 * and keep their positions. Errors: NULL, SHAPE; VALUE (also without positions); FULL where shared pages
 * would have to be copied. */
ATTN_API attn_status attn_kv_evict(attn_kv *kv, int64_t layer, int64_t sequence,
                                   const int64_t *rows, int64_t count, attn_error *error);

/* Where the next token of a sequence will stand, and how many rows its view has; -1 for numbers that are none. */
ATTN_API int64_t attn_kv_length(const attn_kv *kv, int64_t layer, int64_t sequence);
ATTN_API int64_t attn_kv_keys(const attn_kv *kv, int64_t layer, int64_t sequence);

/* How one layer lies: for problem.cache; never changes. Errors: NULL, SHAPE. */
ATTN_API attn_status attn_kv_get_layout(const attn_kv *kv, int64_t layer, attn_kv_layout *layout,
                                        attn_error *error);

/* Where sequences[count] (NULL: 0, 1, ...; at most config.sequences) lie in a layer: for args.cache. The table
 * is the cache's own, good until the next call of this or one that changes the cache. Errors: NULL, SHAPE. */
ATTN_API attn_status attn_kv_get_view(attn_kv *kv, int64_t layer, const int32_t *sequences,
                                      int64_t count, attn_kv_view *view, attn_error *error);

typedef struct attn_kv_usage {
    size_t struct_size;
    int64_t pages, pages_used;  /* of the pool; in use, reserved ones too */
    int64_t pages_shared;       /* of those, in more than one sequence */
    uint64_t bytes, bytes_used; /* of keys, values, scales and positions */
} attn_kv_usage;

/* Of one layer, or of all together with layer -1; the caller sets struct_size. Errors: NULL, STRUCT_SIZE, SHAPE. */
ATTN_API attn_status attn_kv_get_usage(const attn_kv *kv, int64_t layer, attn_kv_usage *usage,
                                       attn_error *error);

/* Write all sequences to a file: beside `path` first, brought to the disk, then renamed, so that a failure leaves
 * the old file. Errors: NULL, MEMORY, FILE. */
ATTN_API attn_status attn_kv_save(const attn_kv *kv, const char *path, attn_error *error);

/* Fill an empty cache from a file, or from data[size]. Refused: a file cut short or damaged (it carries a
 * checksum), of another version, of another config.model or other layers. How many sequences and tokens
 * the cache is made for may differ, if all fits. A failed load leaves the cache empty. Errors: NULL, VALUE
 * (not empty), MEMORY, FULL, FILE. */
ATTN_API attn_status attn_kv_load(attn_kv *kv, const char *path, attn_error *error);
ATTN_API attn_status attn_kv_load_memory(attn_kv *kv, const void *data, size_t size,
                                         attn_error *error);

#ifdef __cplusplus
}
#endif

#endif
