/* Elements of a case's tensors, of any dtype and in any layout. */
#include "attention/attention_case.h"

#include <stdlib.h>

#include "attn_ref.h"

void *case_place(const struct tensor *tensor, const attn_layout *layout, int64_t batch,
                 int64_t head, int64_t index)
{
    int64_t at = batch * layout->stride[0] + head * layout->stride[1] + index * layout->stride[2];
    return (char *)tensor->origin + at * attn_ref_dtype_size(tensor->dtype);
}

float *case_element(const struct tensor *tensor, const attn_layout *layout, int64_t batch,
                    int64_t head, int64_t index)
{
    if (tensor->dtype != ATTN_F32)
        abort(); /* case_get and case_set are for these */
    return case_place(tensor, layout, batch, head, index);
}

double case_get(const struct tensor *tensor, const attn_layout *layout, int64_t batch, int64_t head,
                int64_t index, int64_t channel)
{
    return attn_ref_value(case_place(tensor, layout, batch, head, index), tensor->dtype, channel);
}

void case_set(const struct tensor *tensor, const attn_layout *layout, int64_t batch, int64_t head,
              int64_t index, int64_t channel, double value)
{
    attn_ref_store(case_place(tensor, layout, batch, head, index), tensor->dtype, channel, value);
}

void case_fill_normal(const struct tensor *tensor, const attn_layout *layout, struct random *random,
                      double spread, double mean)
{
    for (int64_t b = 0; b < tensor->extent[0]; b++)
        for (int64_t h = 0; h < tensor->extent[1]; h++)
            for (int64_t n = 0; n < tensor->extent[2]; n++)
                for (int64_t d = 0; d < tensor->extent[3]; d++)
                    case_set(tensor, layout, b, h, n, d, mean + spread * random_normal(random));
}

void case_fill_qkv(struct attention_case *c, struct random *random, double spread)
{
    case_fill_normal(&c->q, &c->problem.q, random, spread, 0);
    case_fill_normal(&c->k, &c->problem.k, random, 1, 0);
    case_fill_normal(&c->v, &c->problem.v, random, 1, 0);
}

void case_fill_constant(const struct tensor *tensor, const attn_layout *layout, float value)
{
    for (int64_t b = 0; b < tensor->extent[0]; b++)
        for (int64_t h = 0; h < tensor->extent[1]; h++)
            for (int64_t n = 0; n < tensor->extent[2]; n++)
                for (int64_t d = 0; d < tensor->extent[3]; d++)
                    case_set(tensor, layout, b, h, n, d, (double)value);
}

int64_t case_queries(const struct attention_case *c, int64_t batch)
{
    return attn_ref_queries(&c->problem, &c->args, batch).length;
}

int64_t case_keys(const struct attention_case *c, int64_t batch)
{
    return attn_ref_keys(&c->problem, &c->args, batch).length;
}

void *case_vector(const struct attention_case *c, enum case_tensor which, int64_t batch,
                  int64_t head, int64_t index)
{
    const struct tensor *tensor = which == CASE_Q ? &c->q : which == CASE_K ? &c->k : &c->v;
    const attn_layout *layout = which == CASE_Q   ? &c->problem.q
                                : which == CASE_K ? &c->problem.k
                                                  : &c->problem.v;
    attn_ref_span span = which == CASE_Q ? attn_ref_queries(&c->problem, &c->args, batch)
                                         : attn_ref_keys(&c->problem, &c->args, batch);
    bool ragged = c->problem.lengths >= ATTN_LENGTHS_RAGGED_I32;
    return case_place(tensor, layout, ragged ? 0 : batch, head, span.first + index);
}

double case_output(const struct attention_case *c, int64_t batch, int64_t head, int64_t query,
                   int64_t channel)
{
    return attn_ref_value(attn_ref_output_vector(&c->problem, &c->args, batch, head, query),
                          c->problem.o.dtype, channel);
}
