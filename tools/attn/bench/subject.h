/* A case made ready to run: its tensors, plan, workspace and, where it measures, statistics.
 *
 * Tensors are [heads, length, size], filled with reproducible values of a bell-like distribution
 * with mean 0 and variance 1, as queries and keys after a norm have. */
#ifndef ATTN_TOOLS_BENCH_SUBJECT_H
#define ATTN_TOOLS_BENCH_SUBJECT_H

#include "../base/failure.h"
#include "cases.h"

#include <attn/stats.h>
#include <stddef.h>

enum { BENCH_SEGMENTS = 8 };

/* q, k, v: shared by the case and what runs beside it. */
struct bench_tensors {
    float *q, *k, *v;
};

bool bench_tensors_make(struct bench_tensors *tensors, const struct bench_case *c,
                        struct failure *f);
void bench_tensors_free(struct bench_tensors *tensors);

struct bench_subject {
    const struct bench_case *c; /* heads, lengths and size; mask and statistics are below */
    enum bench_mask mask;
    enum bench_statistics wants;
    const attn_executor *executor;
    attn_plan *plan;
    attn_args args;
    attn_statistics statistics;
    uint8_t *segment_ids; /* [keys]: eight equal stretches */
    float *o;             /* [heads, queries, size] */
    void *workspace;
    size_t workspace_size;
};

/* Make it ready; nothing is allocated by runs. bench_subject_free also after a failure. */
bool bench_subject_make(struct bench_subject *s, const struct bench_case *c, enum bench_mask mask,
                        enum bench_statistics wants, const struct bench_tensors *tensors,
                        const attn_executor *executor, struct failure *f);
void bench_subject_free(struct bench_subject *s);

/* One run; *seconds becomes how long it took. */
bool bench_subject_run(const struct bench_subject *s, double *seconds, struct failure *f);

/* Fill every output with NaN (integers with -2), so that what a run does not write is seen. */
void bench_subject_spoil(const struct bench_subject *s);

/* The row statistics of attn_statistics as data: which bit, which array. */
struct bench_statistic {
    uint32_t bit;
    const char *name;
    size_t array; /* offset of the pointer in attn_statistics */
    bool integer; /* int32_t, else float */
    int per_row;  /* values of each row */
};
extern const struct bench_statistic bench_statistics_of_rows[];
extern const int bench_statistics_of_rows_count;

/* The bits a case asks for. */
uint32_t bench_statistics_set(enum bench_statistics wants);

/* The array of one statistic, or NULL where the subject does not measure it. */
void *bench_statistic_array(const struct bench_subject *s, const struct bench_statistic *statistic);

/* Seconds from some fixed moment, monotonic. */
double bench_now(void);

#endif
