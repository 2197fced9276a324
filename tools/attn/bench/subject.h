/* A case made ready to run: its plan, workspace and, where it measures, statistics. */
#ifndef ATTN_TOOLS_BENCH_SUBJECT_H
#define ATTN_TOOLS_BENCH_SUBJECT_H

#include "given.h"
#include "tensors.h"

#include <attn/stats.h>
#include <stddef.h>

enum { BENCH_SEGMENTS = 8, BENCH_TOP_KEYS = 8 };

struct bench_subject {
    const struct bench_case *c; /* heads, lengths and size; mask and statistics are below */
    enum bench_mask mask;
    enum bench_statistics wants;
    const attn_executor *executor;
    struct bench_pool *pool; /* decoding: not owned */
    attn_plan *plan;
    char kernel[64]; /* the plan's own word for its kernels */
    struct bench_given given;
    attn_args args;
    attn_statistics statistics;
    uint8_t *segment_ids; /* [keys]: eight equal stretches */
    void *o;              /* as q is laid out, of the same type */
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

/* Whether its kernels multiply bf16 pairs: the path that can is named for it. */
bool bench_subject_uses_dots(const struct bench_subject *s);

/* Fill every output with NaN (integers with -2), so that what a run does not write is seen; what it adds to,
 * with 0. */
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
