/* The specification of attention: what attn.h and stats.h promise, by plain loops in double.
 *
 * Two ways in. attn_ref_forward is a drop-in for attn_forward: the same descriptors, f32 outputs.
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
#include "attn/stats.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ATTN_REF_MAX_SEGMENTS = 32 };

/* Everything about query `query` of head `head` in sequence `batch`. Entries of keys that the row does not
 * see: logit and score are NaN (never computed), weight is 0. */
typedef struct attn_ref_row {
    int64_t batch, head, query; /* which row */
    int64_t position;           /* p: where the query stands among the keys */
    int64_t keys;               /* Nk */
    bool *visible;              /* [Nk] */
    double *logit;              /* [Nk] u = scale * q.k */
    double *score;              /* [Nk] s = softcap * tanh(u / softcap), or u */
    double *weight;             /* [Nk] p = exp(s - lse) = exp(s - max_score - log_sum) */
    double *o;                  /* [Dv]; zeros if args.v is NULL */

    double lse;
    double
        log_sum; /* ln sum e^(s - max_score): lse without the part that hides it where scores are huge */
    double entropy, varentropy, participation;
    double max_weight, max_logit, max_abs_logit, max_score, min_score;
    double mass_self, mass_previous, mass_next, mass_first, mass_local;
    double mass_segments[ATTN_REF_MAX_SEGMENTS];
    double distance_mean, distance_sd;
    int64_t max_key;
    int64_t visible_keys;
} attn_ref_row;

/* Room for one row of this problem at the lengths of `args`. ATTN_OK or ATTN_ERR_MEMORY. */
attn_status attn_ref_row_create(attn_ref_row *row, const attn_problem *problem,
                                const attn_args *args);
void attn_ref_row_destroy(attn_ref_row *row);

/* Fill `row`. With problem.statistics == NULL the statistics use the defaults of
 * attn_statistics_wanted_init and no segments. */
void attn_ref_row_compute(attn_ref_row *row, const attn_problem *problem, const attn_args *args,
                          int64_t batch, int64_t head, int64_t query);

/* The `count` keys of largest score, best first, the lowest key first on ties; -1 and 0 beyond the keys
 * that the row sees. */
void attn_ref_row_top_keys(const attn_ref_row *row, int64_t count, int32_t *keys, double *weights);

/* The pieces, each a definition. */
int64_t attn_ref_position(const attn_problem *problem, const attn_args *args, int64_t batch,
                          int64_t query);
bool attn_ref_visible(const attn_problem *problem, const attn_args *args, int64_t batch,
                      int64_t head, int64_t query, int64_t key);
double attn_ref_scale(const attn_problem *problem);
double attn_ref_logit(const attn_problem *problem, const attn_args *args, int64_t batch,
                      int64_t head, int64_t query, int64_t key);
double attn_ref_softcap(const attn_problem *problem, double logit);

/* Element (b, h, n, 0) of a tensor. */
const float *attn_ref_element(const attn_layout *layout, const void *pointer, int64_t batch,
                              int64_t head, int64_t index);

/* The whole call: o, lse and every statistic that is set, rounded to f32 once. */
attn_status attn_ref_forward(const attn_problem *problem, const attn_args *args);

#ifdef __cplusplus
}
#endif

#endif
