/* Order statistics without sorting and without memory.
 *
 * A float's bits, turned so that they order like the value, are found digit by digit: four passes over
 * the values, each counting one byte among those that share the digits found so far (radix selection).
 * The time is 4 n whatever the values are. */
#ifndef ATTN_TELEMETRY_PERCENTILE_H
#define ATTN_TELEMETRY_PERCENTILE_H

#include <stdint.h>

/* The value that would stand at `index` (0 .. count - 1) if values[count] were sorted. No NaN. */
float attn_select(const float *values, int64_t count, int64_t index);

/* The `share` quantile (0 .. 1) of values[count], count >= 1, linear between neighbours: at position
 * share * (count - 1) of the sorted values. */
double attn_quantile(const float *values, int64_t count, double share);

#endif
