/* The specification of attention: what attn.h, scores.h and stats.h promise, by plain loops in double.
 *
 * Two ways in. attn_ref_forward is a drop-in for attn_forward: the same descriptors, the same outputs.
 * attn_ref_row gives one row (one query of one head) with everything that is known about it in double:
 * which keys it sees, every logit, score and weight, the output and each statistic. Checks measure errors
 * against it and derive their bounds from it.
 *
 * Everything is computed straight from its definition (one function for each), in two passes, never by
 * the online formulas of the kernels. Descriptors are trusted: they are such as attn_plan_create and
 * attn_run accept. Only public headers are included, so that no mistake of the library can be inherited. */
#ifndef ATTN_REF_H
#define ATTN_REF_H

#include "attn/attn.h"
#include "attn/kv.h"
#include "attn/scores.h"
#include "attn/stats.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ATTN_REF_MAX_SEGMENTS = 32 };

/* Everything about query `query` of head `head` in sequence `batch`. Entries of keys that the row does not
 * see: score is NaN, weight is 0; logit is NaN, except where only the caller's function hides the key. */
typedef struct attn_ref_row {
    int64_t batch, head, query; /* which row */
    int64_t position;           /* p: where the query stands among the keys */
    int64_t keys;               /* of the sequence; of a padded batch args.keys, the rest unseen */
    int64_t *stands;            /* [keys] where each key stands */
    bool *reached;              /* [keys] visible but for the caller's function */
    bool *visible;              /* [keys] */
    double *logit;              /* [keys] u = scale * q.k */
    double *score;              /* [keys] the final score */
    double *weight;             /* [keys] p = exp(s - lse) = exp(s - max_score - log_sum) */
    double *o;                  /* [Dv], with the sink or unnormalised; zeros if args.v is NULL */

    double lse, lse_with_sink; /* the same without a sink */
    double share;              /* of the keys, beside the sink: 1 without one, or if unnormalised */
    double reference,
        sum; /* problem.unnormalised: max_score rounded to f32; see attn_ref_row_refer */
    double
        log_sum; /* ln sum e^(s - max_score): lse without the part that hides it where scores are huge */
    double entropy, varentropy, participation;
    double max_weight, max_logit, max_abs_logit, max_score, min_score;
    double mass_self, mass_previous, mass_next, mass_first, mass_local;
    double mass_segments[ATTN_REF_MAX_SEGMENTS];
    double distance_mean, distance_sd;
    int64_t max_key;
    int64_t visible_keys;

    double *query_channels; /* [Dk] as they are multiplied: turned if there is a rotary embedding */
    double *key_channels; /* [keys, Dk] those of the keys that were reached, turned likewise ... */
    double *value_channels; /* [keys, Dv] ... and the values of those that were visible ... */
    bool *key_known, *value_known;   /* [keys] ... which they are ... */
    const void *known_of;            /* ... of this tensor's or cache's ... */
    int64_t known_batch, known_head; /* ... sequence and kv head */
} attn_ref_row;

/* Room for one row of this problem at the lengths of `args`. ATTN_OK or ATTN_ERR_MEMORY. Keys and
 * values are kept from row to row: neither they nor their positions may change until the row is destroyed. */
attn_status attn_ref_row_create(attn_ref_row *row, const attn_problem *problem,
                                const attn_args *args);
void attn_ref_row_destroy(attn_ref_row *row);

/* Fill `row`. With problem.statistics == NULL the statistics use the defaults of
 * attn_statistics_wanted_init and no segments. */
void attn_ref_row_compute(attn_ref_row *row, const attn_problem *problem, const attn_args *args,
                          int64_t batch, int64_t head, int64_t query);

/* The row told against another reference: sum = sum e^(s - reference), and o with problem.unnormalised. A
 * row that sees no key has 0 for both. */
void attn_ref_row_refer(attn_ref_row *row, const attn_problem *problem, const attn_args *args,
                        double reference);

/* The `count` keys of largest score, best first, the lowest key first on ties; -1 and 0 beyond the keys
 * that the row sees. */
void attn_ref_row_top_keys(const attn_ref_row *row, int64_t count, int32_t *keys, double *weights);

/* The pieces, each a definition. */

/* Where sequence `batch` begins in the packed tensors of a ragged batch (else 0), and its length. */
typedef struct attn_ref_span {
    int64_t first, length;
} attn_ref_span;
attn_ref_span attn_ref_queries(const attn_problem *problem, const attn_args *args, int64_t batch);
attn_ref_span attn_ref_keys(const attn_problem *problem, const attn_args *args, int64_t batch);

/* The place of (batch, head, query) in an array of rows, of (batch, head, key) in one of keys. */
int64_t attn_ref_row_index(const attn_problem *problem, const attn_args *args, int64_t batch,
                           int64_t head, int64_t query);
int64_t attn_ref_key_index(const attn_problem *problem, const attn_args *args, int64_t batch,
                           int64_t head, int64_t key);
/* The place of a key in an array [B, Nk] (or [total keys]), of a query likewise. */
int64_t attn_ref_key_place(const attn_problem *problem, const attn_args *args, int64_t batch,
                           int64_t key);
int64_t attn_ref_query_place(const attn_problem *problem, const attn_args *args, int64_t batch,
                             int64_t query);

/* Caches: how many keys the table gives a sequence; where a key stands (its index, without a cache that
 * says otherwise). */
int64_t attn_ref_cached_keys(const attn_problem *problem, const attn_args *args, int64_t batch);
int64_t attn_ref_key_stands(const attn_problem *problem, const attn_args *args, int64_t batch,
                            int64_t key);

int64_t attn_ref_position(const attn_problem *problem, const attn_args *args, int64_t batch,
                          int64_t query);
/* By everything but the caller's function. */
bool attn_ref_visible(const attn_problem *problem, const attn_args *args, int64_t batch,
                      int64_t head, int64_t query, int64_t key);
double attn_ref_scale(const attn_problem *problem);
/* u = scale * q.k of channels [Dk] as they are multiplied */
double attn_ref_logit(const attn_problem *problem, const double *query, const double *key);
double attn_ref_softcap(const attn_problem *problem, double logit);
/* 0 where there is none; -slope * |p - j| */
double attn_ref_bias(const attn_problem *problem, const attn_args *args, int64_t batch,
                     int64_t head, int64_t query, int64_t key);
double attn_ref_alibi(const attn_problem *problem, const attn_args *args, int64_t batch,
                      int64_t head, int64_t query, int64_t key);
/* The final score of a pair whose logit is known. */
double attn_ref_score(const attn_problem *problem, const attn_args *args, int64_t batch,
                      int64_t head, int64_t query, int64_t key, double logit);

/* What the run gives, or what was promised when planning. */
const attn_scores_args *attn_ref_scores_args(const attn_problem *problem, const attn_args *args);
/* The place of a query or key in the arrays of documents. */
int64_t attn_ref_query_document(const attn_problem *problem, const attn_args *args, int64_t batch,
                                int64_t query);
int64_t attn_ref_key_document(const attn_problem *problem, const attn_args *args, int64_t batch,
                              int64_t key);
/* Whether the masks of attn/scores.h let the pair be: boolean, documents, blocks, a bias of -inf. */
bool attn_ref_scores_allow(const attn_problem *problem, const attn_args *args, int64_t batch,
                           int64_t head, int64_t query, int64_t key);

/* bf16 is the upper half of an f32. */
static inline double attn_ref_of_bf16(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

/* f16: 1 sign, 5 exponent (bias 15), 10 fraction bits. An exponent of ones is Inf or NaN; of zeros, the
 * fraction counts units of 2^-24. */
static inline double attn_ref_of_f16(uint16_t bits)
{
    uint64_t exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
    uint64_t wide = (exponent == 0x1f ? UINT64_C(0x7ff) : exponent - 15 + 1023) << 52 | fraction
                                                                                            << 42;
    double value = (double)fraction * 0x1p-24;
    if (exponent != 0)
        memcpy(&value, &wide, sizeof value);
    return bits >> 15 ? -value : value;
}

/* Bytes of an element. */
static inline int64_t attn_ref_dtype_size(attn_dtype dtype)
{
    return dtype == ATTN_F32 ? 4 : 2;
}

/* Element `index` of an array, exactly; and stored, rounded to nearest, ties to even. */
static inline double attn_ref_value(const void *array, attn_dtype dtype, int64_t index)
{
    if (dtype == ATTN_F32)
        return (double)((const float *)array)[index];
    uint16_t bits = ((const uint16_t *)array)[index];
    return dtype == ATTN_BF16 ? attn_ref_of_bf16(bits) : attn_ref_of_f16(bits);
}
void attn_ref_store(void *array, attn_dtype dtype, int64_t index, double value);
double attn_ref_rounded(attn_dtype dtype, double value);

/* Element 0 of a query, key, value or output of sequence `batch`; `head` is a query head in q and o and a
 * kv head in k and v. */
const void *attn_ref_query_vector(const attn_problem *problem, const attn_args *args, int64_t batch,
                                  int64_t head, int64_t query);
const void *attn_ref_key_vector(const attn_problem *problem, const attn_args *args, int64_t batch,
                                int64_t kv_head, int64_t key);
const void *attn_ref_value_vector(const attn_problem *problem, const attn_args *args, int64_t batch,
                                  int64_t kv_head, int64_t key);
void *attn_ref_output_vector(const attn_problem *problem, const attn_args *args, int64_t batch,
                             int64_t head, int64_t query);

/* Where problem.rotary turns a query or key to. */
int64_t attn_ref_query_turn(const attn_problem *problem, const attn_args *args, int64_t batch,
                            int64_t query);
int64_t attn_ref_key_turn(const attn_problem *problem, const attn_args *args, int64_t batch,
                          int64_t key);
/* The channels [Dk] of a query or key as they are multiplied: turned by problem.rotary. */
void attn_ref_query_channels(const attn_problem *problem, const attn_args *args, int64_t batch,
                             int64_t head, int64_t query, double *channels);
void attn_ref_key_channels(const attn_problem *problem, const attn_args *args, int64_t batch,
                           int64_t kv_head, int64_t key, double *channels);
/* One element of a key or value, of a tensor or of a cache, with all scales of quantised ones. */
double attn_ref_key_element(const attn_problem *problem, const attn_args *args, int64_t batch,
                            int64_t kv_head, int64_t key, int64_t channel);
double attn_ref_value_element(const attn_problem *problem, const attn_args *args, int64_t batch,
                              int64_t kv_head, int64_t key, int64_t channel);

/* The whole call: o, lse and every statistic that is set, each rounded once. */
attn_status attn_ref_forward(const attn_problem *problem, const attn_args *args);

#ifdef __cplusplus
}
#endif

#endif
