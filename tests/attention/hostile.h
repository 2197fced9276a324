/* Numbers that break careless code, in any dtype. */
#ifndef TESTS_ATTENTION_HOSTILE_H
#define TESTS_ATTENTION_HOSTILE_H

#include "attn/attn.h"

#include "attention/random.h"

/* NaNs of any payload and sign, infinities, values whose products leave f32, subnormals: into element
 * `index`. */
static inline void hostile_store(void *array, attn_dtype dtype, int64_t index,
                                 struct random *random)
{
    /* quiet and signalling, both signs, all ones, infinities, -0, the least subnormal, a huge number */
    static const uint32_t wide[] = {0x7fc00000, 0xffc00000, 0x7f800001, 0xff800001,
                                    0x7fffffff, 0xffffffff, 0x7f800000, 0xff800000,
                                    0x80000000, 0x00000001, 0x7149f2ca, 0xf149f2ca};
    static const uint16_t f16[] = {0x7e00, 0xfe00, 0x7c01, 0xfc01, 0x7fff, 0xffff,
                                   0x7c00, 0xfc00, 0x8000, 0x0001, 0x7bff, 0xfbff};
    static const uint16_t bf16[] = {0x7fc0, 0xffc0, 0x7f81, 0xff81, 0x7fff, 0xffff,
                                    0x7f80, 0xff80, 0x8000, 0x0001, 0x714a, 0xf14a};
    int64_t which = random_between(random, 0, 11);
    if (dtype == ATTN_F32)
        memcpy((char *)array + 4 * index, &wide[which], 4);
    else
        memcpy((char *)array + 2 * index, dtype == ATTN_F16 ? &f16[which] : &bf16[which], 2);
}

#endif
