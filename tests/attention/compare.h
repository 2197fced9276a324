/* A case's outputs against the specification, row by row, each within its derived bound. */
#ifndef TESTS_ATTENTION_COMPARE_H
#define TESTS_ATTENTION_COMPARE_H

#include "attention/attention_case.h"

enum { RECORD_QUANTITIES = 32 };

/* Worst error of each quantity as a multiple of its bound, over any number of cases. */
struct record {
    struct {
        const char *name;
        double worst;
        uint64_t seed;
    } quantity[RECORD_QUANTITIES];
    int quantities;
    int64_t rows, skipped_rows, poisoned_rows;
    int faults; /* in the present case */
    const struct attention_case *present;
};

/* The number of faults found in this case; the first few are printed, then the case's description. */
int case_compare(const struct attention_case *c, struct record *record);

void record_print(const struct record *record);

/* Note one comparison; prints and counts if it is outside the bound. Returns whether it was inside. */
bool record_check(struct record *record, const char *name, double got, double expected,
                  double bound, const char *where);

#endif
