/* The kernels of one path, as one table: declared, dispatched, tested and measured from here, so that none
 * can exist untested.
 *
 * The data they share, all f32, in a worker's scratch or in the run's packed copies:
 *
 *   queries  [group][Dk][rows]          a group is `rows` query rows side by side; scaled, tail rows 0
 *   keys     [panel][Dk][columns]       a panel is `columns` keys side by side; tail keys 0
 *   scores   [row][ATTN_SCORE_STRIDE]   rows x keys of a block, in base-2 units: s * log2(e)
 *   values   [panel][key][columns]      of one block of keys; a panel is `columns` channels, tail 0
 *   output   [panel][row][columns]      the unnormalised rows of the block, by channel panel
 *
 * Where `pair` is 2, every 32-bit element of queries, keys and values is a pair of bf16 that lie side by
 * side along the summed axis (channels, or keys), a lone last one beside 0, and softmax leaves the weights
 * of a row as pairs too, from the row's start. "Steps" count such elements.
 *
 * `rows` and `columns` (two vectors) belong to the path: they are the register tile. Each group of rows
 * works on its own run of keys, the hull of what its rows see, so that a causal border costs only the
 * tiles it crosses. */
#ifndef ATTN_KERNELS_TABLE_H
#define ATTN_KERNELS_TABLE_H

#include "base/mask_loops.h"
#include "cpu/cpu.h"

enum {
    ATTN_BLOCK_ROWS = 204, /* most query rows of a block; a multiple of every path's `rows` */
    ATTN_BLOCK_KEYS = 512, /* most keys of a block; a multiple of every path's `columns` */
    ATTN_GROUP_ROWS_MIN = 6,
    ATTN_BLOCK_GROUPS = ATTN_BLOCK_ROWS / ATTN_GROUP_ROWS_MIN,
    ATTN_SCORE_STRIDE =
        ATTN_BLOCK_KEYS + 16, /* not a power of two: rows fall into different cache sets */
    ATTN_TOP_KEYS_MAX = 64,
    ATTN_IN_PLACE_ROWS = 32, /* up to so many queries nothing is packed */
    ATTN_CACHED_ROWS = 128,  /* most rows that read a block of a cache together */
    ATTN_CACHED_WIDE = 32,   /* rows of a cache that are widened at a time, at most */
    ATTN_QUERY_TILE = 4,     /* rows of queries that a tile over a cache is filled up to, at most */
};

/* What is known of a row after the blocks so far; base-2 units where scores are meant. With
 * t = s - reference, e = 2^t over the visible keys: sum = sum e, moment = sum e t, moment2 = sum e t^2,
 * square = sum e^2, and the masses are sums of e over their keys (math.md, "Online softmax with
 * statistics"). The reference is a maximum that was: it follows only when the true one has left it more
 * than ATTN_LAZY_RESCALE behind; any reference gives the same function. */
struct attn_row {
    float reference; /* -inf before the first visible key */
    float maximum;   /* of the final scores */
    float sum;
    float moment;
    float moment2;
    float square;
    float min_logit, max_logit; /* before softcap, in base-2 units of u */
    float min_score;            /* where something shapes scores after softcap; base-2 units */
    int32_t visible;            /* keys seen, where masks are read */
    float mass_self, mass_previous, mass_next, mass_first, mass_local;
    int32_t max_key;
    int32_t top_count;
    float distance_sum; /* sum of e behind the two below */
    double distance_mean, distance_m2;
};

#define ATTN_LAZY_RESCALE 8.0f

/* The statistics that need sweeps of their own over a block; entropy alone has a kernel of its own. */
struct attn_row_extras {
    bool logits; /* min and max of u */
    bool max_key;
    bool masses; /* self, previous, next, first, local */
    bool distances;
    int32_t first_keys, local_distance;
    int32_t top_keys;
};

/* The keys that masses are told of, as borders that rise: before [previous, self), on [self, next) and behind
 * [next, after_next) the query's position; [0, first); [local_begin, local_end). */
struct attn_mass_borders {
    int64_t previous, self, next, after_next, first, local_begin, local_end;
};

/* Rows in memory that the next call will read: asked for bit by bit, while this one multiplies. */
struct attn_soon {
    const char *at;
    int64_t stride; /* bytes from row to row */
    int rows;       /* 0: nothing */
    int64_t row_bytes;
};

/* Scores of a block: every group against the vectors of keys [vector_first, vector_last) of its own; two
 * vectors are a panel. */
struct attn_scores_call {
    const float *queries; /* first group */
    const float *keys;    /* first panel of the block */
    int64_t steps;        /* Dk, or pairs of it */
    float scale; /* pairs only: products are multiplied by it; else queries were packed with it */
    int rows;    /* of them; groups is what they need */
    int vectors; /* of the block */
    const int16_t *vector_first, *vector_last; /* [groups] */
    const uint64_t *seen;     /* [groups]: bit i is set if panel i is wanted; NULL = all are */
    struct attn_soon soon[2]; /* keys, values */
    float *scores;
};

/* The same scores from keys where they lie, for few rows; the keys of a block in [key_first, key_last). */
struct attn_scores_in_place_call {
    const float *queries; /* [row vectors][steps / 4][lanes], by pack_queries_quads */
    const void *keys;     /* the block's first key */
    attn_dtype dtype;
    int64_t stride;      /* from key to key, in elements */
    int64_t steps;       /* Dk, or pairs of it: a multiple of 4 */
    float scale;         /* as above */
    int rows, keys_used; /* keys past keys_used are not read; their scores may be anything */
    int key_first, key_last;
    float *scores;
};

/* Softmax of rows of a block in place: scores become e = 2^(s - reference), 0 where masked (-inf). */
struct attn_softmax_call {
    float *scores;
    int rows;
    int group_rows;
    const int16_t *key_first,
        *key_last; /* [groups]: multiples of `lanes`, an empty run is skipped */
    struct attn_row *row;
    float *rescale; /* [rows]: what the row's output is to be multiplied by; 1 = nothing to do */
    bool rescaled;  /* out: some rescale differs from 1 */

    /* the rest for the kernel with all statistics only */
    const struct attn_row_extras *extras;
    int64_t key_begin; /* of the block */
    int64_t position;  /* of row 0 of the block */
    /* where keys do not each stand at their index, else NULL: borders of each row, and where each key of the
     * block stands (any number behind its end) */
    const struct attn_mass_borders *borders;
    const int32_t *stands;
    int32_t *top_keys; /* [rows][extras.top_keys], best first */
    float *top_scores;
};

/* output += e * values, every group over keys [key_first, key_last) of its own, any numbers; with pairs the
 * first is even. */
struct attn_values_call {
    const float *scores;
    const float *values; /* of this block of keys */
    int64_t steps;       /* keys of the block, or pairs: a channel panel is steps * columns */
    /* in place of both: the block's first value where it lies, its dtype, elements from value to value */
    const void *in_place;
    attn_dtype dtype;
    int64_t stride;
    int rows;
    int panels;
    bool half_panel;                     /* the last panel is one vector wide */
    const int16_t *key_first, *key_last; /* [groups] */
    const uint64_t *seen; /* [groups]: as of scores, the weights of other panels are not read */
    float *output;
    int64_t output_rows; /* the stride of a channel panel is output_rows * columns */
};

/* A block of keys or values of a cache: an address for each, so that pages may lie anywhere. */
struct attn_cached_rows {
    attn_dtype dtype;
    const void *const *at;      /* [count] */
    const float *const *scales; /* [count]: int4, the scales of its groups; else NULL */
    int64_t group;              /* int4: channels of a scale */
    int64_t size;               /* Dk or Dv, any */
    int64_t step;               /* bytes from row to row within a page */
    int count;
};

/* Scores of all rows that read a kv head; `size` of queries, widened rows and outputs is rounded up to whole
 * vectors. Scores past the block's keys may become anything. */
struct attn_cached_scores_call {
    struct attn_cached_rows keys;
    const float *queries; /* by cached_queries, alike */
    int like;             /* sums are made as for so many rows, whatever the number of rows */
    const float *factors; /* [count]: what scores of a key are multiplied by (int8); or NULL */
    int rows;
    float *wide; /* [ATTN_CACHED_WIDE][size] */
    float *scores;
};

/* output += weights * values, key after key; the weights have been multiplied by int8's scales. */
struct attn_cached_values_call {
    struct attn_cached_rows values;
    const float *weights;
    int rows;
    float *wide; /* [ATTN_CACHED_WIDE][size] */
    float *output;
    int64_t stride; /* from row to row of the output */
};

/* The second sweep: exact weights p = 2^(s - reference) * inverse from the finished rows. */
struct attn_weights_call {
    const float *scores;
    int rows;
    int keys;                         /* a multiple of `lanes` */
    const float *reference, *inverse; /* [rows] */
    float *column_sums;               /* [keys]: += p, rows in order; or NULL */
    float *weights; /* [rows][weights_stride]: = p for the first weights_keys; or NULL */
    int64_t weights_stride, weights_keys;
};

/* What is added to scores counts as no more than this (attn/scores.h): 1% within FLT_MAX / log2(e), so that
 * it stays finite in base 2, with room for the score itself. */
#define ATTN_SCORE_MOST 0x1.6p127f

/* NaN stays. */
static inline float attn_score_within(float x)
{
    return x < -ATTN_SCORE_MOST ? -ATTN_SCORE_MOST : x > ATTN_SCORE_MOST ? ATTN_SCORE_MOST : x;
}

/* The same in base 2. */
#define ATTN_SCORE_MOST_BASE2 (ATTN_SCORE_MOST * 1.44269504f)

/* What ALiBi adds at a distance >= 0, in base 2. */
static inline float attn_distance_added(float slope_base2, float distance)
{
    const float most = ATTN_SCORE_MOST_BASE2, added = slope_base2 * distance;
    return added < -most ? -most : added > most ? most : added;
}

struct attn_kernels {
    const char *name; /* of the path */
    enum attn_path path;
    int rows, columns, lanes;
    int pair;          /* 2: bf16 pairs, for tensors of bf16 only; else 1 */
    int quad_channels; /* keys can be read in place if Dk is a multiple of it, values if Dv is of lanes */

    /* One group: rows of Dk, `stride` elements apart, times scale (pairs: as they are). rows_used <= rows. */
    void (*pack_queries)(const void *from, attn_dtype dtype, int64_t stride, int rows_used,
                         int64_t head_size, float scale, float *group);
    /* One panel: keys of Dk, `stride` apart. keys_used <= columns. */
    void (*pack_keys)(const void *from, attn_dtype dtype, int64_t stride, int keys_used,
                      int64_t head_size, float *panel);
    /* A block of `keys` values of Dv into panels; true if any element is NaN or Inf. */
    bool (*pack_values)(const void *from, attn_dtype dtype, int64_t stride, int64_t keys,
                        int64_t head_size, float *values);

    /* For few rows, LANES / 4 of them: [head_size / quad_channels][lanes]. */
    void (*pack_queries_quads)(const void *from, attn_dtype dtype, int64_t stride, int rows_used,
                               int64_t head_size, float scale, float *to);
    /* True if any element of `keys` rows of head_size is NaN or Inf. */
    bool (*non_finite)(const void *from, attn_dtype dtype, int64_t stride, int64_t keys,
                       int64_t head_size);

    void (*scores)(const struct attn_scores_call *call);
    void (*scores_in_place)(const struct attn_scores_in_place_call *call);
    void (*softmax)(struct attn_softmax_call *call);
    void (*softmax_entropy)(struct attn_softmax_call *call);
    void (*softmax_all)(struct attn_softmax_call *call);
    void (*values)(const struct attn_values_call *call);
    void (*values_in_place)(const struct attn_values_call *call);
    void (*weights)(const struct attn_weights_call *call);

    /* Caches; NULL in the table of bf16 pairs. cached_queries: `count` rows of f32, `size` (whole vectors)
     * apart, as cached_scores takes them with keys of that dtype, filled up to ATTN_QUERY_TILE rows at most. `like` (1 .. count) is
     * the number of rows that one sequence has: it chooses the order of sums, so that rows of other
     * sequences beside it cannot. widen_cached: rows [first, first + count) as f32, `stride`
     * apart, int8 without its scale; what fills up the last vector is 0. */
    void (*cached_queries)(const float *rows, int count, int like, int64_t size, attn_dtype dtype,
                           float *to);
    void (*cached_scores)(const struct attn_cached_scores_call *call);
    void (*cached_values)(const struct attn_cached_values_call *call);
    void (*widen_cached)(const struct attn_cached_rows *rows, int first, int count, int64_t stride,
                         float *to);
    /* row[j] *= factors[j] */
    void (*multiply_row)(float *row, const float *factors, int count);

    /* scores[0..count) <- cap * tanh(x / cap) in place, both in base-2 units; count a multiple of lanes */
    void (*softcap)(float *scores, int count, float cap);
    /* scores[j] += unit * attn_score_within(bias[j]), count any */
    void (*add_bias)(float *scores, int count, const void *bias, attn_dtype dtype, float unit);
    /* scores[j] += slope * |start - j|, of which no more than ATTN_SCORE_MOST_BASE2 counts; count a multiple of
     * lanes, slope finite */
    void (*add_distance)(float *scores, int count, int64_t start, float slope);
    /* scores[j] = -inf where visible[j] is 0 */
    void (*apply_mask)(float *scores, int count, const uint8_t *visible);
    /* *low, *high <- min, max of themselves and scores[0..count), any count; NaN is passed over */
    void (*range)(const float *scores, int count, float *low, float *high);
    /* to[0..head_size) = factor * row of the output */
    void (*store_row)(const float *output, int64_t output_rows, int64_t head_size, float factor,
                      void *to, attn_dtype dtype);
    /* a row of the output times a factor, over `panels` panels */
    void (*rescale_row)(float *output, int64_t output_rows, int panels, float factor);

    struct attn_mask_loops masks;
};

/* The kernels of a path for a dtype; NULL if this build has none for it. */
const struct attn_kernels *attn_kernels_of(enum attn_path path, attn_dtype dtype);

/* Steps of `elements`. */
static inline int64_t attn_kernels_steps(const struct attn_kernels *kernels, int64_t elements)
{
    return (elements + kernels->pair - 1) / kernels->pair;
}

#endif
