/* What this machine can do at most, measured: the ceilings that speed is quoted against.
 *
 * Clocks drift and machines are shared; a share of a ceiling measured in the same run does not lie. Each
 * call takes about `seconds` (0.01 .. 10), in which it runs the loop on every worker of `executor` (NULL =
 * one thread) several times; it reports the best. */
#ifndef ATTN_CEILING_H
#define ATTN_CEILING_H

#include "attn/attn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* f32 multiply-adds of the path that plans use (independent chains in registers), in GFLOP/s; one
 * multiply-add counts 2. Errors: NULL, VALUE, CPU, EXECUTOR. */
ATTN_API attn_status attn_ceiling_fma(double *gflops, double seconds, const attn_executor *executor,
                                      attn_error *error);

/* Dot products of bf16 pairs summed in f32, as the path that plans use for bf16 tensors has them, in GFLOP/s;
 * one product counts 2 with its addition. Errors: NULL, VALUE, CPU (also where that path has none: *gflops
 * is then left as it was), EXECUTOR. */
ATTN_API attn_status attn_ceiling_bf16_dot(double *gflops, double seconds,
                                           const attn_executor *executor, attn_error *error);

/* Reading memory[bytes] (split evenly over the workers) by the best of several loops, in GB/s (1e9).
 * The memory is only read. Errors: NULL, VALUE, CPU, EXECUTOR. */
ATTN_API attn_status attn_ceiling_read(double *gbytes, const void *memory, size_t bytes,
                                       double seconds, const attn_executor *executor,
                                       attn_error *error);

#ifdef __cplusplus
}
#endif

#endif
