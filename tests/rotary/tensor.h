/* A tensor [B, H, N, D] of any dtype in any layout, for tests: exactly the memory it needs, elements that do
 * not belong to it holding a pattern; and descriptions of rotary embeddings by chance. */
#ifndef TESTS_ROTARY_TENSOR_H
#define TESTS_ROTARY_TENSOR_H

#include <attn/rotary.h>
#include <stdlib.h>

#include "attention/guarded.h"
#include "attention/random.h"
#include "base/half.h"

struct tensor4 {
    attn_layout layout;
    int64_t extent[4];
    unsigned char *block;
    size_t elements, size; /* of the block; bytes of an element */
    int64_t origin;        /* element (0, 0, 0, 0) */
};

enum { TENSOR_PATTERN = 0xa5 };

static inline struct tensor4 tensor_create(attn_layout layout, int64_t batch, int64_t heads,
                                           int64_t length, int64_t head_size)
{
    struct tensor4 t = {.layout = layout,
                        .extent = {batch, heads, length, head_size},
                        .size = layout.dtype == ATTN_F32 ? 4 : 2};
    int64_t low = 0, high = 0;
    for (int axis = 0; axis < 4; axis++) {
        int64_t reach = layout.stride[axis] * (t.extent[axis] - 1);
        low += reach < 0 ? reach : 0;
        high += reach > 0 ? reach : 0;
    }
    t.origin = -low;
    t.elements = (size_t)(high - low + 1);
    t.block = need(t.elements, t.size);
    memset(t.block, TENSOR_PATTERN, t.elements * t.size);
    return t;
}

static inline void *tensor_pointer(const struct tensor4 *t)
{
    return t->block + (size_t)t->origin * t->size;
}

static inline int64_t tensor_at(const struct tensor4 *t, int64_t b, int64_t h, int64_t n, int64_t d)
{
    const int64_t *stride = t->layout.stride;
    return t->origin + b * stride[0] + h * stride[1] + n * stride[2] + d;
}

static inline double tensor_value(const struct tensor4 *t, int64_t at)
{
    return (double)attn_element_value(t->block, t->layout.dtype, at);
}

static inline void tensor_set(struct tensor4 *t, int64_t at, float value)
{
    uint16_t half = t->layout.dtype == ATTN_F16 ? attn_f32_to_f16(value) : attn_f32_to_bf16(value);
    if (t->layout.dtype == ATTN_F32)
        memcpy(t->block + 4 * at, &value, sizeof value);
    else
        memcpy(t->block + 2 * at, &half, sizeof half);
}

/* Run `body` for every (b, h, n) of a tensor. */
#define TENSOR_ROWS(t, b, h, n)                                                                    \
    for (int64_t b = 0; b < (t)->extent[0]; b++)                                                   \
        for (int64_t h = 0; h < (t)->extent[1]; h++)                                               \
            for (int64_t n = 0; n < (t)->extent[2]; n++)

static inline void tensor_fill(struct tensor4 *t, struct random *random)
{
    TENSOR_ROWS(t, b, h, n)
    for (int64_t d = 0; d < t->extent[3]; d++)
        tensor_set(t, tensor_at(t, b, h, n, d), (float)random_normal(random));
}

/* Whether something was written between the elements. */
static inline bool tensor_spilt(const struct tensor4 *t)
{
    bool *owned = need(t->elements, sizeof *owned), spilt = false;
    memset(owned, 0, t->elements * sizeof *owned);
    TENSOR_ROWS(t, b, h, n)
    for (int64_t d = 0; d < t->extent[3]; d++)
        owned[tensor_at(t, b, h, n, d)] = true;
    for (size_t i = 0; i < t->elements * t->size; i++)
        spilt |= !owned[i / t->size] && t->block[i] != TENSOR_PATTERN;
    free(owned);
    return spilt;
}

/* bshd or bhsd, padded, with negative strides; `broadcast`: zero strides too. */
static inline attn_layout random_layout(struct random *random, attn_dtype dtype, int64_t batch,
                                        int64_t heads, int64_t length, int64_t size, bool broadcast)
{
    int64_t row = size + random_between(random, 0, 3);
    attn_layout layout = random_chance(random, 0.5)
                             ? (attn_layout){dtype, {heads * length * row, length * row, row, 1}}
                             : (attn_layout){dtype, {heads * length * row, row, heads * row, 1}};
    layout.stride[0] += random_between(random, 0, 5) + (batch == 1 ? INT32_MAX : 0);
    for (int axis = 0; axis < 3; axis++) {
        if (random_chance(random, 0.2))
            layout.stride[axis] = -layout.stride[axis];
        else if (broadcast && random_chance(random, 0.15))
            layout.stride[axis] = 0;
    }
    return layout;
}

/* Parameters as models have them: the ramps are wide enough for the bounds of test_turn.c. */
static inline attn_rotary random_rotary(struct random *random, int64_t size)
{
    attn_rotary r = attn_rotary_init(size);
    r.pairing = random_chance(random, 0.5) ? ATTN_ROTARY_HALVES : ATTN_ROTARY_NEIGHBOURS;
    r.base = exp(log(1e3) + random_unit(random) * log(1e4));
    r.scaling = (attn_rotary_scaling)random_between(random, 0, 4);
    r.factor = 1 + 40 * random_unit(random);
    r.original_length = random_between(random, 512, 131072);
    r.beta_fast = 16 + 48 * random_unit(random);
    r.beta_slow = 0.5 + 3 * random_unit(random);
    r.whole_ramp = random_chance(random, 0.5);
    r.low_frequency_factor = 0.5 + random_unit(random);
    r.high_frequency_factor = 3 + 3 * random_unit(random);
    if (random_chance(random, 0.3))
        r.attention_factor = 0.5 + random_unit(random);
    return r;
}

#endif
