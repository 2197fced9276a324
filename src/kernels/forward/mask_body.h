/* The loops of base/mask_loops.h: bytes by whole vectors of bytes, biases by vectors of their own bits. */
#include "base/mask_loops.h"
#include "kernels/simd/convert.h"

#include <string.h>

typedef uint8_t vb __attribute__((vector_size(ATTN_VECTOR_BYTES)));
typedef uint8_t vb_memory __attribute__((vector_size(ATTN_VECTOR_BYTES), aligned(1), may_alias));
typedef uint16_t vh __attribute__((vector_size(ATTN_VECTOR_BYTES)));
typedef uint16_t vh_memory __attribute__((vector_size(ATTN_VECTOR_BYTES), aligned(2), may_alias));
typedef uint32_t vu_memory __attribute__((vector_size(ATTN_VECTOR_BYTES), aligned(4), may_alias));
typedef uint8_t lane_bytes __attribute__((vector_size(LANES)));
typedef uint8_t lane_bytes_memory __attribute__((vector_size(LANES), aligned(1), may_alias));

/* Whether any bit is set. */
INLINE bool vu_any(vu x)
{
    uint32_t any = 0;
    for (int i = 0; i < LANES; i++)
        any |= x[i];
    return any != 0;
}

static struct attn_verdict look_at_bytes(const uint8_t *mask, int64_t count)
{
    vb any = {0}, hidden = {0};
    int64_t j = 0;
    for (; j + ATTN_VECTOR_BYTES <= count; j += ATTN_VECTOR_BYTES) {
        vb bytes = *(const vb_memory *)(mask + j);
        any |= bytes;
        hidden |= (vb)(bytes == 0);
    }
    struct attn_verdict v = {vu_any((vu)any), !vu_any((vu)hidden)};
    for (; j < count; j++) {
        v.any |= mask[j] != 0;
        v.all &= mask[j] != 0;
    }
    return v;
}

/* -inf. */
INLINE uint32_t hidden_bits(const attn_dtype dtype)
{
    return dtype == ATTN_F32 ? 0xff800000u : dtype == ATTN_BF16 ? 0xff80u : 0xfc00u;
}

INLINE bool hides(const void *bias, int64_t j, const attn_dtype dtype)
{
    uint32_t bits = 0; /* little-endian: a half fills the low end */
    memcpy(&bits, element_of(bias, j, dtype), (size_t)attn_dtype_size(dtype));
    return bits == hidden_bits(dtype);
}

INLINE struct attn_verdict look_at_bias_as(const void *bias, int64_t count, const attn_dtype dtype)
{
    vu visible = {0}, hidden = {0};
    int64_t j = 0;
    const int64_t step = ATTN_VECTOR_BYTES / attn_dtype_size(dtype);
    for (; j + step <= count; j += step) {
        const void *at = element_of(bias, j, dtype);
        vu is_hidden = dtype == ATTN_F32
                           ? (vu)(*(const vu_memory *)at == hidden_bits(dtype))
                           : (vu)(*(const vh_memory *)at == (vh){0} + (uint16_t)hidden_bits(dtype));
        hidden |= is_hidden;
        visible |= ~is_hidden;
    }
    struct attn_verdict v = {vu_any(visible), !vu_any(hidden)};
    for (; j < count; j++) {
        v.any |= !hides(bias, j, dtype);
        v.all &= !hides(bias, j, dtype);
    }
    return v;
}

static struct attn_verdict look_at_bias(const void *bias, attn_dtype dtype, int64_t count)
{
    if (dtype == ATTN_F32)
        return look_at_bias_as(bias, count, ATTN_F32);
    return look_at_bias_as(bias, count, dtype == ATTN_BF16 ? ATTN_BF16 : ATTN_F16);
}

static void hide_by_bytes(uint8_t *visible, const uint8_t *mask, int64_t count)
{
    int64_t j = 0;
    for (; j + ATTN_VECTOR_BYTES <= count; j += ATTN_VECTOR_BYTES) {
        vb seen = (vb)(*(const vb_memory *)(mask + j) != 0);
        *(vb_memory *)(visible + j) &= seen;
    }
    for (; j < count; j++)
        visible[j] = (uint8_t)(visible[j] & (mask[j] != 0));
}

INLINE void hide_by_bias_as(uint8_t *visible, const void *bias, int64_t count,
                            const attn_dtype dtype)
{
    int64_t j = 0;
    for (; j + LANES <= count; j += LANES) {
        const void *at = element_of(bias, j, dtype);
        vu bits = dtype == ATTN_F32 ? (vu)vf_load(at) : vu_load_half(at);
        vu seen = (vu)(bits != hidden_bits(dtype));
        *(lane_bytes_memory *)(visible + j) &= __builtin_convertvector(seen, lane_bytes);
    }
    for (; j < count; j++)
        visible[j] = (uint8_t)(visible[j] & !hides(bias, j, dtype));
}

static void hide_by_bias(uint8_t *visible, const void *bias, attn_dtype dtype, int64_t count)
{
    if (dtype == ATTN_F32)
        hide_by_bias_as(visible, bias, count, ATTN_F32);
    else
        hide_by_bias_as(visible, bias, count, dtype == ATTN_BF16 ? ATTN_BF16 : ATTN_F16);
}

static void gather(uint8_t *any, const uint8_t *visible, int64_t count)
{
    int64_t j = 0;
    for (; j + ATTN_VECTOR_BYTES <= count; j += ATTN_VECTOR_BYTES)
        *(vb_memory *)(any + j) |= *(const vb_memory *)(visible + j);
    for (; j < count; j++)
        any[j] |= visible[j];
}
