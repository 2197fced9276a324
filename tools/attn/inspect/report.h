/* The reports on an inspection: for people on a terminal, and as data. Each writes all it has to a
 * stream; whether that arrived is checked by who opened it. */
#ifndef ATTN_INSPECT_REPORT_H
#define ATTN_INSPECT_REPORT_H

#include "inspection.h"
#include "paint.h"

#include <stdio.h>

/* Everything for people, in order: verdict, heatmaps, notable heads, entropy over position, the closer
 * look if there is one, definitions. */
void report_terminal(FILE *stream, const struct inspection *in, const struct paint *paint);

/* Its parts. */
void report_verdict(FILE *stream, const struct inspection *in);
void report_heatmaps(FILE *stream, const struct inspection *in, const struct paint *paint);
void report_notable(FILE *stream, const struct inspection *in, const struct paint *paint);
void report_positions(FILE *stream, const struct inspection *in, const struct paint *paint);
void report_detail(FILE *stream, const struct inspection *in, const struct paint *paint);
void report_definitions(FILE *stream, const struct inspection *in, const struct paint *paint);

/* One JSON object, schema_version 1: names are a contract, added to but never renamed. False if memory
 * ran out. */
bool report_json(FILE *stream, const struct inspection *in);

/* One row per head; the names of the JSON, nested ones with dots ("sinks.0.key"); RFC 4180. An empty
 * field is null. */
void report_csv(FILE *stream, const struct inspection *in);

#endif
