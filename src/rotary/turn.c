/* Angles and turning; see turn.h. */
#include "rotary/turn.h"

#include <math.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/half.h"
#include "rotary/rotary.h"

/* ---- angles ---- */

void attn_angles_fill(struct attn_angles angles, const double *frequencies, int64_t pairs,
                      int64_t position)
{
    for (int64_t m = 0; m < pairs; m++) {
        double angle = (double)position * frequencies[m];
        angles.cosine[m] = cos(angle);
        angles.sine[m] = sin(angle);
    }
}

/* The addition theorem for a whole row. */
void attn_angles_add(float *restrict cosine, float *restrict sine, struct attn_angles a,
                     struct attn_angles b, int64_t pairs, double factor)
{
    const double *restrict ac = a.cosine, *restrict as = a.sine;
    const double *restrict bc = b.cosine, *restrict bs = b.sine;
    for (int64_t m = 0; m < pairs; m++) {
        cosine[m] = (float)(factor * (ac[m] * bc[m] - as[m] * bs[m]));
        sine[m] = (float)(factor * (as[m] * bc[m] + ac[m] * bs[m]));
    }
}

/* ---- rows ---- */

void attn_turn_widen(float *restrict to, const void *from, attn_dtype dtype, int64_t count)
{
    const uint16_t *restrict half = from;
    if (dtype == ATTN_F32)
        memcpy(to, from, (size_t)count * sizeof(float));
    else if (dtype == ATTN_BF16)
        for (int64_t d = 0; d < count; d++)
            to[d] = attn_bf16_to_f32(half[d]);
    else
        for (int64_t d = 0; d < count; d++)
            to[d] = attn_f16_to_f32(half[d]);
}

void attn_turn_narrow(void *to, attn_dtype dtype, const float *restrict from, int64_t count)
{
    uint16_t *restrict half = to;
    if (dtype == ATTN_F32)
        memcpy(to, from, (size_t)count * sizeof(float));
    else if (dtype == ATTN_BF16)
        for (int64_t d = 0; d < count; d++)
            half[d] = attn_f32_to_bf16(from[d]);
    else
        for (int64_t d = 0; d < count; d++)
            half[d] = attn_f32_to_f16(from[d]);
}

static void turn_halves(float *restrict to, const float *restrict from,
                        const float *restrict cosine, const float *restrict sine, int64_t pairs)
{
    const float *restrict from_y = from + pairs;
    float *restrict to_y = to + pairs;
    for (int64_t m = 0; m < pairs; m++) {
        float x = from[m], y = from_y[m];
        to[m] = x * cosine[m] - y * sine[m];
        to_y[m] = x * sine[m] + y * cosine[m];
    }
}

static void turn_neighbours(float *restrict to, const float *restrict from,
                            const float *restrict cosine, const float *restrict sine, int64_t pairs)
{
    for (int64_t m = 0; m < pairs; m++) {
        float x = from[2 * m], y = from[2 * m + 1];
        to[2 * m] = x * cosine[m] - y * sine[m];
        to[2 * m + 1] = x * sine[m] + y * cosine[m];
    }
}

void attn_turn_channels(float *to, const float *from, const float *cosine, const float *sine,
                        int64_t pairs, attn_rotary_pairing pairing)
{
    if (pairing == ATTN_ROTARY_HALVES)
        turn_halves(to, from, cosine, sine, pairs);
    else
        turn_neighbours(to, from, cosine, sine, pairs);
}

/* ---- for packing ---- */

struct attn_turn *attn_turn_create(const attn_rotary *rotary, attn_status *status,
                                   attn_error *error)
{
    const size_t pairs = (size_t)rotary->size / 2;
    const size_t doubles = pairs * (1 + 2 * ATTN_TURN_PLACES);
    struct attn_turn *turn = malloc(sizeof *turn + doubles * sizeof(double));
    if (!turn) {
        *status = attn_fail(error, ATTN_ERR_MEMORY, "no memory for angles of %zu bytes",
                            doubles * sizeof(double));
        return NULL;
    }
    turn->size = rotary->size;
    turn->pairs = (int64_t)pairs;
    turn->pairing = rotary->pairing;
    turn->frequencies = (double *)(turn + 1);
    turn->places = turn->frequencies + pairs;
    *status = attn_rotary_fill(rotary, turn->frequencies, &turn->length_factor, error);
    if (*status) {
        free(turn);
        return NULL;
    }
    for (int place = 0; place < ATTN_TURN_PLACES; place++)
        attn_angles_fill(attn_angles_at(turn->places, place, turn->pairs), turn->frequencies,
                         turn->pairs, place);
    return turn;
}

void attn_turn_row(const struct attn_turn *turn, struct attn_turn_worker *worker, float *to,
                   const void *from, attn_dtype dtype, int64_t head_size, int64_t position)
{
    const int place = attn_turn_place(position);
    const int64_t block = position - place; /* rounds down: the place is taken off, never added */
    struct attn_angles angles = attn_angles_at(worker->block, 0, turn->pairs);
    if (!worker->known || worker->last != block) {
        attn_angles_fill(angles, turn->frequencies, turn->pairs, block);
        worker->last = block;
        worker->known = true;
    }
    attn_angles_add(worker->cosine, worker->sine, angles,
                    attn_angles_at(turn->places, place, turn->pairs), turn->pairs,
                    turn->length_factor);
    attn_turn_widen(worker->input, from, dtype, head_size);
    attn_turn_channels(to, worker->input, worker->cosine, worker->sine, turn->pairs, turn->pairing);
    memcpy(to + turn->size, worker->input + turn->size,
           (size_t)(head_size - turn->size) * sizeof(float));
}
