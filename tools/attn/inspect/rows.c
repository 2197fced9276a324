/* Arrays for one layer's statistics; see rows.h. */
#include "rows.h"

#include <stdlib.h>

bool row_arrays_create(struct row_arrays *rows, int64_t heads, int64_t tokens, int32_t segments,
                       const uint8_t *segment_ids, struct failure *f)
{
    *rows = (struct row_arrays){.statistics = attn_statistics_init()};
    attn_statistics *s = &rows->statistics;
    const struct {
        uint32_t bit;
        float **array;
    } floats[] = {
        {ATTN_STAT_ENTROPY, &s->entropy},
        {ATTN_STAT_VARENTROPY, &s->varentropy},
        {ATTN_STAT_PARTICIPATION, &s->participation},
        {ATTN_STAT_MAX_WEIGHT, &s->max_weight},
        {ATTN_STAT_MAX_LOGIT, &s->max_logit},
        {ATTN_STAT_MAX_ABS_LOGIT, &s->max_abs_logit},
        {ATTN_STAT_MAX_SCORE, &s->max_score},
        {ATTN_STAT_MIN_SCORE, &s->min_score},
        {ATTN_STAT_MASS_SELF, &s->mass_self},
        {ATTN_STAT_MASS_PREVIOUS, &s->mass_previous},
        {ATTN_STAT_MASS_NEXT, &s->mass_next},
        {ATTN_STAT_MASS_FIRST, &s->mass_first},
        {ATTN_STAT_MASS_LOCAL, &s->mass_local},
        {ATTN_STAT_DISTANCE_MEAN, &s->distance_mean},
        {ATTN_STAT_DISTANCE_SD, &s->distance_sd},
        {ATTN_STAT_COLUMN_MASS, &s->column_mass}, /* keys = queries here */
    };
    enum { FLOATS = sizeof floats / sizeof floats[0], COUNTS = 2 };
    size_t each, total;
    if (__builtin_mul_overflow((size_t)heads, (size_t)tokens, &each) ||
        __builtin_mul_overflow(each, (size_t)(FLOATS + COUNTS + segments) * sizeof(float), &total))
        return fail(f, "%lld heads x %lld tokens of statistics do not fit this machine",
                    (long long)heads, (long long)tokens);
    rows->memory = malloc(total + 1);
    if (!rows->memory)
        return fail(f, "out of memory: %zu bytes for the statistics of a layer", total);
    rows->wanted = attn_statistics_wanted_init(ATTN_STAT_VISIBLE_KEYS | ATTN_STAT_COLUMN_VIEWERS);
    float *next = rows->memory;
    for (size_t i = 0; i < FLOATS; i++, next += each) {
        *floats[i].array = next;
        rows->wanted.set |= floats[i].bit;
    }
    s->visible_keys = (int32_t *)next;
    s->column_viewers = (int32_t *)(next + each);
    if (segments > 0) {
        s->mass_segments = next + 2 * each;
        s->segment_ids = segment_ids;
        rows->wanted.set |= ATTN_STAT_MASS_SEGMENTS;
        rows->wanted.segments = segments;
    }
    return true;
}

void row_arrays_destroy(struct row_arrays *rows)
{
    free(rows->memory);
    *rows = (struct row_arrays){0};
}
