/* What attn/scores.h takes, made for a case: masks, biases, block lists, a function of scores. */
#include "attention/attention_case.h"

#include <stdlib.h>

#include "attn_ref.h"

/* Exactly the bytes that rows of `row` bytes by these strides (in `width` bytes) reach. */
static const void *make_rows(struct attention_case *c, struct pair_tensor *tensor,
                             const int64_t stride[3], int64_t width, int64_t row)
{
    const int64_t extent[3] = {c->extent[0], c->problem.heads, c->extent[1]};
    int64_t low = 0, high = row;
    free(tensor->block);
    *tensor = (struct pair_tensor){0};
    for (int axis = 0; axis < 3; axis++) {
        if (extent[axis] == 0 || row == 0)
            return NULL;
        int64_t last = (extent[axis] - 1) * stride[axis] * width;
        low += last < 0 ? last : 0;
        high += last > 0 ? last : 0;
    }
    tensor->size = (size_t)(high - low), tensor->origin = (size_t)-low;
    tensor->block = need(tensor->size, 1);
    return tensor->block + tensor->origin;
}

void case_make_mask(struct attention_case *c)
{
    bool bits = c->scores.mask == ATTN_MASK_BITS;
    if (c->scores.mask == ATTN_MASK_NONE)
        return;
    c->scores_args.mask = make_rows(c, &c->mask, c->scores.mask_stride, 1,
                                    bits ? (c->extent[2] + 7) / 8 : c->extent[2]);
}

void case_make_bias(struct attention_case *c)
{
    int64_t width = attn_ref_dtype_size(c->scores.bias);
    c->scores_args.bias =
        make_rows(c, &c->bias, c->scores.bias_stride, width, c->extent[2] * width);
}

static int64_t place(const int64_t stride[3], int64_t batch, int64_t head, int64_t query)
{
    return batch * stride[0] + head * stride[1] + query * stride[2];
}

void case_set_mask(struct attention_case *c, int64_t batch, int64_t head, int64_t query,
                   int64_t key, bool visible)
{
    if (!c->mask.block)
        return;
    unsigned char *row =
        c->mask.block + c->mask.origin + place(c->scores.mask_stride, batch, head, query);
    unsigned bit = 1u << key % 8;
    if (c->scores.mask == ATTN_MASK_BYTES)
        row[key] = (unsigned char)(visible ? 1 + (key * 37 + query) % 255 : 0);
    else
        row[key / 8] = (unsigned char)((row[key / 8] & ~bit) | (visible ? bit : 0));
}

void case_set_bias(struct attention_case *c, int64_t batch, int64_t head, int64_t query,
                   int64_t key, double bias)
{
    if (!c->bias.block)
        return;
    int64_t width = attn_ref_dtype_size(c->scores.bias);
    unsigned char *row =
        c->bias.block + c->bias.origin + place(c->scores.bias_stride, batch, head, query) * width;
    attn_ref_store(row, c->scores.bias, key, bias);
}

void case_make_blocks(struct attention_case *c,
                      bool (*listed)(void *context, int64_t head, int64_t row, int64_t key),
                      void *context)
{
    int64_t rows = (c->extent[1] + c->scores.block_rows - 1) / c->scores.block_rows;
    int64_t keys = (c->extent[2] + c->scores.block_keys - 1) / c->scores.block_keys;
    int64_t lists = c->problem.heads * rows, used = 0;
    free(c->block_starts);
    free(c->block_indices);
    c->block_starts = need((size_t)lists + 1, sizeof *c->block_starts);
    int32_t *all = need((size_t)(lists * keys), sizeof *all);
    for (int64_t h = 0; h < c->problem.heads; h++)
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t k = 0; k < keys; k++)
                if (listed(context, h, r, k))
                    all[used++] = (int32_t)k;
            c->block_starts[h * rows + r + 1] = used;
        }
    c->block_indices = need((size_t)used, sizeof *c->block_indices); /* exactly */
    memcpy(c->block_indices, all, (size_t)used * sizeof *all);
    free(all);
    c->scores_args.block_starts = c->block_starts;
    c->scores_args.block_indices = c->block_indices;
}

/* Bits that belong to a pair. */
static uint64_t pair_bits(const struct case_function *f, int64_t b, int64_t h, int64_t i, int64_t j)
{
    struct random random = {f->seed + (uint64_t)(((f->first + b) * 64 + h) * 4096 + i) * 8192 +
                            (uint64_t)j};
    return random_bits(&random);
}

void case_score_function(void *context, int64_t batch, int64_t head, int64_t query_begin,
                         int64_t rows, int64_t key_begin, int64_t keys, float *scores,
                         int64_t stride)
{
    const struct case_function *f = context;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < keys; k++) {
            int64_t i = query_begin + r, j = key_begin + k;
            uint64_t bits = pair_bits(f, batch, head, i, j);
            float *s = &scores[r * stride + k];
            float noise = (float)((double)(bits & 0xffff) / 0x8000 - 1);
            *s = (float)f->factor * *s + (float)f->offset * noise;
            if (f->hides > 0 && (bits >> 20) % (uint64_t)f->hides == 0)
                *s = -INFINITY;
            if (f->poisons &&
                !attn_ref_visible(&f->poisons->problem, &f->poisons->args, batch, head, i, j))
                *s = NAN;
        }
}
