/* The outputs of a case as words that do not depend on layouts. */
#include "attention/attention_case.h"

#include "attn_ref.h"

static size_t put_output_row(const struct attention_case *c, int64_t b, int64_t h, int64_t n,
                             uint32_t *words, size_t used, size_t size)
{
    const void *row = attn_ref_output_vector(&c->problem, &c->args, b, h, n);
    for (int64_t d = 0; d < c->problem.head_size_v; d++, used++)
        if (used < size)
            words[used] = c->problem.o.dtype == ATTN_F32 ? ((const uint32_t *)row)[d]
                                                         : ((const uint16_t *)row)[d];
    return used;
}

size_t case_snapshot(const struct attention_case *c, uint32_t *words, size_t size)
{
    const bool ragged = c->problem.lengths >= ATTN_LENGTHS_RAGGED_I32;
    size_t used = 0;
    for (int i = 0; i < c->outputs_count; i++) {
        const struct guarded *array = &c->outputs[i];
        if (array->ignored || i == c->o)
            continue;
        for (size_t e = 0; e < array->count && used < size; e++)
            words[used++] = array->data[e];
    }
    for (int64_t b = 0; c->o >= 0 && b < c->args.batch; b++)
        for (int64_t h = 0; h < c->problem.heads; h++)
            for (int64_t n = 0; n < (ragged ? case_queries(c, b) : c->args.queries); n++)
                used = put_output_row(c, b, h, n, words, used, size);
    return used;
}

size_t case_sequence_snapshot(const struct attention_case *c, int64_t batch, uint32_t *words,
                              size_t size)
{
    size_t used = 0;
    for (int i = 0; i < c->outputs_count; i++) {
        const struct guarded *array = &c->outputs[i];
        const bool rows = c->shape[i].along == ALONG_ROWS;
        const int64_t each = c->shape[i].each;
        if (array->ignored || i == c->o || c->shape[i].along == ALONG_NEITHER)
            continue;
        for (int64_t h = 0; h < c->problem.heads; h++)
            for (int64_t n = 0; n < (rows ? case_queries(c, batch) : case_keys(c, batch)); n++) {
                int64_t at = rows ? attn_ref_row_index(&c->problem, &c->args, batch, h, n)
                                  : attn_ref_key_index(&c->problem, &c->args, batch, h, n);
                for (int64_t e = 0; e < each; e++, used++)
                    if (used < size)
                        words[used] = array->data[at * each + e];
            }
    }
    for (int64_t h = 0; c->o >= 0 && h < c->problem.heads; h++)
        for (int64_t n = 0; n < case_queries(c, batch); n++)
            used = put_output_row(c, batch, h, n, words, used, size);
    return used;
}

void case_reset(struct attention_case *c)
{
    for (int i = 0; i < c->outputs_count; i++)
        guarded_reset(&c->outputs[i]);
}
