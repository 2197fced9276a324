/* Turning rows by their positions, for whoever has rows: attn_rotary_apply, and the packing of q and k.
 *
 * Cosines cost more than the turning they are for, so few are made. A position is split into
 * 64 * block + place; the cosines and sines of places are made once, those of a block once for each run of
 * rows that share it, and the angle of a row comes from both by the addition theorem, in double, before the
 * one rounding to f32. A row's angles are made in this one way whoever asks, so that its bits do not depend
 * on company: a decode step equals its row of a prompt, and fused equals apart. */
#ifndef ATTN_ROTARY_TURN_H
#define ATTN_ROTARY_TURN_H

#include <attn/rotary.h>

enum { ATTN_TURN_PLACES = 64 }; /* positions in a block */

/* Cosine and sine of `pairs` angles, one array behind the other. */
struct attn_angles {
    double *cosine, *sine;
};

static inline struct attn_angles attn_angles_at(double *array, int64_t index, int64_t pairs)
{
    struct attn_angles angles = {array + index * 2 * pairs, array + (index * 2 + 1) * pairs};
    return angles;
}

static inline int attn_turn_place(int64_t position)
{
    return (int)((uint64_t)position % ATTN_TURN_PLACES);
}

void attn_angles_fill(struct attn_angles angles, const double *frequencies, int64_t pairs,
                      int64_t position);

/* The angles of a row from those of its block and of its place, times the length factor. */
void attn_angles_add(float *cosine, float *sine, struct attn_angles block, struct attn_angles place,
                     int64_t pairs, double length_factor);

void attn_turn_widen(float *to, const void *from, attn_dtype dtype, int64_t count);
void attn_turn_narrow(void *to, attn_dtype dtype, const float *from, int64_t count);

/* Turn the first 2 * pairs channels of a row. */
void attn_turn_channels(float *to, const float *from, const float *cosine, const float *sine,
                        int64_t pairs, attn_rotary_pairing pairing);

/* ---- for packing: a description with the angles of all places, and one worker's angles ---- */

struct attn_turn {
    int64_t size, pairs;
    attn_rotary_pairing pairing;
    double length_factor;
    double *frequencies; /* [pairs] */
    double *places;      /* [ATTN_TURN_PLACES][2][pairs] */
};

struct attn_turn_worker {
    double *block;        /* [2][pairs]: angles of the block that was met last */
    float *cosine, *sine; /* [pairs] */
    float *input;         /* [head_size] */
    int64_t last;         /* whose angles `block` holds */
    bool known;           /* whether it holds any */
};

/* From a checked description; one block of memory, to be freed. NULL: *status says why. */
struct attn_turn *attn_turn_create(const attn_rotary *rotary, attn_status *status,
                                   attn_error *error);

/* A row of head_size elements at a position, turned and widened to f32. */
void attn_turn_row(const struct attn_turn *turn, struct attn_turn_worker *worker, float *to,
                   const void *from, attn_dtype dtype, int64_t head_size, int64_t position);

#endif
