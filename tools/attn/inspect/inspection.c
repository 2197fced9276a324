/* The life of an inspection; see inspection.h. */
#include "inspection.h"

#include <stdlib.h>

void inspection_free(struct inspection *in)
{
    free(in->token);
    free(in->layer);
    free(in->head);
    free(in->detail.column_mass);
    free(in->detail.column_viewers);
    free(in->detail.distance_mass);
    *in = (struct inspection){0};
}

int64_t inspection_count_label(const struct inspection *in, uint32_t label)
{
    int64_t count = 0;
    for (int64_t i = 0; i < in->heads; i++)
        count += label ? (in->head[i].labels & label) != 0 : in->head[i].labels == 0;
    return count;
}
