/* The keys that rows look at most, measured over the rows that can see them. */
#include <attn/summary.h>

#include "base/error.h"

#include <inttypes.h>
#include <math.h>

/* Put `sink` in its place among the largest; the one found first stays first on ties. */
static void insert(attn_sink sinks[ATTN_SUMMARY_SINKS], attn_sink sink)
{
    int place = ATTN_SUMMARY_SINKS;
    while (place > 0 && (sinks[place - 1].key < 0 || sinks[place - 1].mass < sink.mass))
        place--;
    for (int i = ATTN_SUMMARY_SINKS - 1; i > place; i--)
        sinks[i] = sinks[i - 1];
    if (place < ATTN_SUMMARY_SINKS)
        sinks[place] = sink;
}

attn_status attn_find_sinks(attn_sink sinks[ATTN_SUMMARY_SINKS], const float *column_mass,
                            const int32_t *column_viewers, int64_t keys, int32_t least_viewers,
                            attn_error *error)
{
    if (!sinks)
        return attn_fail(error, ATTN_ERR_NULL, "sinks is NULL");
    if (keys < 0)
        return attn_fail(error, ATTN_ERR_SHAPE, "keys is %" PRId64 "; it may be 0 or more", keys);
    if (keys > 0 && !column_mass)
        return attn_fail(error, ATTN_ERR_NULL, "column_mass is NULL; it may be so without keys");
    if (keys > 0 && !column_viewers)
        return attn_fail(error, ATTN_ERR_NULL, "column_viewers is NULL; it may be so without keys");
    if (least_viewers < 1)
        return attn_fail(error, ATTN_ERR_VALUE, "least_viewers is %" PRId32 "; it may be 1 or more",
                         least_viewers);
    for (int i = 0; i < ATTN_SUMMARY_SINKS; i++)
        sinks[i] = (attn_sink){-1, NAN, 0};
    for (int64_t j = 0; j < keys; j++) {
        double mass = (double)column_mass[j] / (double)column_viewers[j];
        if (column_viewers[j] >= least_viewers && isfinite(mass))
            insert(sinks, (attn_sink){j, mass, column_viewers[j]});
    }
    return attn_succeed(error);
}
