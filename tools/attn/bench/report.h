/* What `attn bench` prints: a table for people, JSON for programs. */
#ifndef ATTN_TOOLS_BENCH_REPORT_H
#define ATTN_TOOLS_BENCH_REPORT_H

#include "measure.h"

#include <jansson.h>
#include <stdio.h>

/* What is the same for all cases of a run. */
struct bench_run {
    attn_cpu cpu;
    int threads;
    struct spread fma_gflops, bf16_dot_gflops; /* of all looks; 0 where the path has none */
    double read_gb_s;
    size_t read_bytes;
    double seconds;
};

void bench_print_list(FILE *stream, const char *pattern);

void bench_print_header(FILE *stream, const struct bench_run *run);
void bench_print_result(FILE *stream, const struct bench_result *result);
void bench_print_ceilings(FILE *stream, const struct bench_run *run);

/* The whole run as one object; NULL when memory ran out. The names are a contract: names are
 * added, never changed. */
json_t *bench_json(const struct bench_run *run, const struct bench_result *results, int count);

#endif
