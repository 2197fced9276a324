/* Loops that do one thing as fast as a path's instructions allow: the ceilings of include/attn/ceiling.h. */
#ifndef ATTN_KERNELS_CEILING_H
#define ATTN_KERNELS_CEILING_H

#include <stddef.h>

#include "cpu/cpu.h"

enum { ATTN_READ_LOOPS = 3 };

struct attn_ceiling_loops {
    /* Multiply-adds in registers; each round counts flops_per_round. The result is to be used. */
    float (*fma)(int64_t rounds, float seed);
    double flops_per_round;

    /* The same with dot products of bf16 pairs, a lane adding two products; NULL where the path has none. */
    float (*bf16_dot)(int64_t rounds, float seed);
    double bf16_dot_flops_per_round;

    /* Reading all of memory[bytes], `passes` times; the result (of no meaning) is to be used. Which loop
     * is best depends on the prefetchers of the machine. */
    uint32_t (*read[ATTN_READ_LOOPS])(const unsigned char *memory, size_t bytes, int64_t passes);
};

/* The loops of a path; NULL if this build has none for it. */
const struct attn_ceiling_loops *attn_ceiling_loops_of(enum attn_path path);

#endif
