/* The plain figures of a head by name: one table from which the JSON and the CSV are both written, so
 * that they cannot drift apart. */
#ifndef ATTN_INSPECT_FIELDS_H
#define ATTN_INSPECT_FIELDS_H

#include "inspection.h"

struct field {
    const char *name;
    bool whole; /* an integer */
    int metric; /* ATTN_METRIC_*, offset is into its attn_summary; -1: into struct inspected_head */
    size_t offset;
};

/* In the order of the report. */
extern const struct field fields_before_sinks[], fields_after_sinks[], fields_after_classes[];
extern const int fields_before_sinks_count, fields_after_sinks_count, fields_after_classes_count;

/* NaN = null. */
double field_value(const struct field *field, const struct inspected_head *head);

#endif
