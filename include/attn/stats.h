/* Telemetry: what every row of an attention call looked at, out of the same pass, in O(n) memory.
 *
 * Say in attn_statistics_wanted what is to be measured when the problem is planned; give the arrays to
 * write in attn_statistics at each run. With p_ij = exp(s_ij - lse_i) the weight of key j in row i, all
 * sums over the visible keys of the row:
 *
 *     entropy        H = -sum p ln p                       nats; 0 for a row that sees no key
 *     varentropy     sum p (ln p)^2 - H^2                  nats^2
 *     participation  1 / sum p^2                           effective number of keys, order 2
 *     distance       |p - j|, p the query's position       mean and standard deviation under the weights
 *
 * Formulas: "Online softmax with statistics" (Milakov & Gimelshein 2018, algorithm 3, extended by centred
 * moments sum e t, sum e t^2 with t = s - m). A row without a visible key has mass, weight, distance,
 * participation 0, key -1, max_logit, max_score -inf, min_score +inf, max_abs_logit 0.
 *
 * Row arrays are [B, Hq, Nq], contiguous, of the run's own B and Nq. All outputs are f32 or int32.
 *
 * Over a cache (attn/kv.h), a key j of max_key, top_keys, excluded keys, segments, weights, pairs and arrays of
 * keys is its row index; arrays of keys are [B, Hq, Nk] with Nk = args.keys, whatever the queries, so that
 * a generation keeps one Nk and its arrays. Masses of self, previous, next, first and local keys and distances
 * go by where keys stand, which are other numbers once keys have been evicted. Up to 32 queries of a sequence
 * keep all their weights instead of sweeping again: workspace for B * Hq * Nq * Nk of them, or as much of it as
 * one kv head takes where that is over 64 MiB. */
#ifndef ATTN_STATS_H
#define ATTN_STATS_H

#include "attn/attn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One bit for each array of attn_statistics. */
enum {
    ATTN_STAT_ENTROPY = 1 << 0,
    ATTN_STAT_VARENTROPY = 1 << 1,
    ATTN_STAT_PARTICIPATION = 1 << 2,
    ATTN_STAT_MAX_WEIGHT = 1 << 3,
    ATTN_STAT_MAX_KEY = 1 << 4,
    ATTN_STAT_MAX_LOGIT = 1 << 5,
    ATTN_STAT_MAX_ABS_LOGIT = 1 << 6,
    ATTN_STAT_MAX_SCORE = 1 << 7,
    ATTN_STAT_MIN_SCORE = 1 << 8,
    ATTN_STAT_MASS_SELF = 1 << 9,
    ATTN_STAT_MASS_PREVIOUS = 1 << 10,
    ATTN_STAT_MASS_NEXT = 1 << 11,
    ATTN_STAT_MASS_FIRST = 1 << 12,
    ATTN_STAT_MASS_LOCAL = 1 << 13,
    ATTN_STAT_MASS_SEGMENTS = 1 << 14,
    ATTN_STAT_DISTANCE_MEAN = 1 << 15,
    ATTN_STAT_DISTANCE_SD = 1 << 16,
    ATTN_STAT_VISIBLE_KEYS = 1 << 17,
    ATTN_STAT_COLUMN_MASS =
        1 << 18, /* by a second sweep of scores: about half a forward more; over caches see above */
    ATTN_STAT_COLUMN_VIEWERS = 1 << 19, /* counted from the masks alone */
    ATTN_STAT_TOP_KEYS = 1 << 20,
    ATTN_STAT_WEIGHTS =
        1 << 21, /* exact weights of chosen rows or whole heads, by the second sweep */
    ATTN_STAT_PAIRS = 1 << 22, /* exact weights of chosen (query, key) pairs */
};

/* What to measure: part of a problem. */
typedef struct attn_statistics_wanted {
    size_t struct_size;     /* sizeof(attn_statistics_wanted) */
    uint32_t set;           /* ATTN_STAT_* bits; default 0 */
    int32_t first_keys;     /* mass_first counts keys < first_keys; >= 0; default 4 */
    int32_t local_distance; /* mass_local counts |p - j| <= local_distance; 0..1024; default 16 */
    int32_t segments;       /* number of segments, 0..32; default 0 */
    int32_t top_keys;       /* k of top_keys, 0..64; default 0 */
} attn_statistics_wanted;

static inline attn_statistics_wanted attn_statistics_wanted_init(uint32_t set)
{
    attn_statistics_wanted wanted;
    memset(&wanted, 0, sizeof wanted);
    wanted.struct_size = sizeof wanted;
    wanted.set = set;
    wanted.first_keys = 4;
    wanted.local_distance = 16;
    return wanted;
}

/* Exact weights of rows [row_begin, row_end) of one (sequence, query head): row r, key j is written to
 * weights[(r - row_begin) * Nk + j]; masked keys get 0. */
typedef struct attn_weights_request {
    int64_t batch, head, row_begin, row_end;
    float *weights;
} attn_weights_request;

/* One (query, key) pair of one (sequence, query head); its weight is 0 where the key is masked. */
typedef struct attn_pair {
    int64_t batch, head, query, key;
} attn_pair;

/* Where to write it: part of a run. An array is written if its bit is set in the plan, and must then be
 * given; else it is ignored. */
typedef struct attn_statistics {
    size_t struct_size; /* sizeof(attn_statistics) */

    /* per row: [B, Hq, Nq] */
    float *entropy;
    float *varentropy;
    float *participation;
    float *max_weight;
    int32_t *max_key;     /* arg max of the score; the lowest key on ties */
    float *max_logit;     /* of u = scale * q.k over visible keys, before softcap */
    float *max_abs_logit; /* of |u|: a cap of 50 does not hide 100 */
    float *max_score;     /* of the final score s */
    float *min_score;
    float *mass_self;     /* weight on the key at the query's own position p */
    float *mass_previous; /* at p - 1 */
    float *mass_next;     /* at p + 1 */
    float *mass_first;    /* on keys < first_keys */
    float *mass_local;    /* on |p - j| <= local_distance */
    float *mass_segments; /* [B, Hq, Nq, segments] */
    float *distance_mean;
    float *distance_sd;
    int32_t *visible_keys; /* how many keys the row sees */

    /* per key: [B, Hq, Nk] */
    float *column_mass;      /* sum over rows of the weight they give this key */
    int32_t *column_viewers; /* how many rows see it */
    /* Add to what the two arrays above hold, so that the steps of a generation add up (which keys can be
     * evicted, attn/kv.h); what is not a key of a sequence is then left as it is. Default false: they are
     * written, 0 behind the end of a sequence that is shorter than Nk. */
    bool column_add;

    /* per row, the k keys of largest score, best first (lowest key first on ties): [B, Hq, Nq, k];
     * key -1 and weight 0 where the row sees fewer than k keys with a score above -inf */
    int32_t *top_keys;
    float *top_weights;

    /* [B, Nk], ragged [total keys], each < segments; with ATTN_STAT_MASS_SEGMENTS */
    const uint8_t *segment_ids;

    const attn_weights_request *weights; /* [weights_count] */
    int64_t weights_count;

    const attn_pair *pairs; /* [pairs_count] */
    int64_t pairs_count;
    float *pair_weights; /* [pairs_count] */
} attn_statistics;

static inline attn_statistics attn_statistics_init(void)
{
    attn_statistics statistics;
    memset(&statistics, 0, sizeof statistics);
    statistics.struct_size = sizeof statistics;
    return statistics;
}

#ifdef __cplusplus
}
#endif

#endif
