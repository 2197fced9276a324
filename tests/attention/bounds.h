/* How far a correct computation in f32 of one row may be from the exact one: bounds derived from the row's
 * own data. The derivation stands in bounds.c. */
#ifndef TESTS_ATTENTION_BOUNDS_H
#define TESTS_ATTENTION_BOUNDS_H

#include "attn_ref.h"

struct row_bounds {
    int64_t keys;
    bool pairs; /* set by the caller: weights are rounded to bf16, products are of pairs */
    double function_factor; /* set by the caller: |ds'/ds| of the caller's function ... */
    double function_offset; /* ... and the most that it adds; 0, 0 without one */

    double *magnitude; /* [Nk] |scale| sum |q_d k_d| */
    double *turn;      /* [Dk] of a channel of q, as it is multiplied ... */
    double *key_turn;  /* [Dk] ... and of k; 0 without a rotary embedding */
    double *frequency; /* [Dk / 2] of the embedding */
    double *score;     /* [Nk] absolute, of a score */
    double *weight;    /* [Nk] absolute, of a weight */
    double *o;         /* [Dv] absolute */
    double lse, lse_with_sink, entropy, varentropy, participation, max_weight, max_score, max_logit;
    double mass_self, mass_previous, mass_next, mass_first, mass_local;
    double mass_segments[ATTN_REF_MAX_SEGMENTS];
    double distance_mean, distance_variance;
    double reference,
        sum; /* with problem.unnormalised: how far no score is above it; of the sum told */

    /* What the row is made of. */
    bool overflowing; /* a visible product leaves f32's range: nothing is promised */
    bool poisoned;    /* a visible score is NaN or +Inf: o and lse must say so */
    bool blind;       /* sees keys, but all at -Inf: 0/0, nothing is promised */
};

void row_bounds_create(struct row_bounds *bounds, const attn_problem *problem,
                       const attn_args *args);
void row_bounds_destroy(struct row_bounds *bounds);
void row_bounds_compute(struct row_bounds *bounds, const attn_ref_row *row,
                        const attn_problem *problem, const attn_args *args);

#endif
