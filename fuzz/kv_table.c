/* Any numbers as a page table: it is refused, or all that it leads to lies in the pool. The first bytes say how
 * large everything is; arrays are of exactly that size. */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "kv_touch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADS = 2, SIZE = 4 };

static int32_t *numbers(struct bytes *s, int64_t count)
{
    int32_t *array = malloc((size_t)count * sizeof *array + 1);
    if (!array)
        abort();
    for (int64_t i = 0; i < count; i++)
        array[i] = next_number(s);
    return array;
}

static void *pool(int64_t elements, int64_t bits)
{
    const size_t bytes = (size_t)(elements * bits / 8);
    void *memory = malloc(bytes ? bytes : 1);
    if (!memory)
        abort();
    memset(memory, 0x55, bytes);
    return memory;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes s = {data, size};
    const int64_t batch = next_byte(&s) % 5, pages = next_byte(&s) % 9;
    const int64_t page_size = 1 + next_byte(&s) % 4;
    const int flags = next_byte(&s);
    attn_kv_layout layout =
        attn_kv_layout_init((attn_dtype)(1 + next_byte(&s) % 5), HEADS, page_size, SIZE);
    attn_kv_layout value =
        attn_kv_layout_init((attn_dtype)(1 + next_byte(&s) % 5), HEADS, page_size, SIZE);
    layout.v_dtype = value.v_dtype;
    layout.group = layout.group ? layout.group : value.group;
    memcpy(layout.v_scale_stride, value.v_scale_stride, sizeof layout.v_scale_stride);
    layout.k_channel_scales = (flags & 1) && layout.k_dtype == ATTN_INT8;
    layout.positions = (flags & 2) != 0;

    const int64_t rows = pages * HEADS * page_size;
    int32_t *indptr = numbers(&s, batch + 1);
    int64_t entries = 0; /* as many as the largest says, within reason */
    for (int64_t b = 0; b <= batch; b++) {
        if (indptr[b] > 40)
            indptr[b] = 40;
        entries = indptr[b] > entries ? indptr[b] : entries;
    }
    int32_t *indices = numbers(&s, entries), *last = numbers(&s, batch);
    int32_t *first = flags & 4 ? numbers(&s, batch) : NULL;
    int32_t *positions = layout.positions ? numbers(&s, pages * page_size) : NULL;
    attn_kv_view view = attn_kv_view_init();
    float *channel = layout.k_channel_scales ? pool(HEADS * SIZE, 32) : NULL;
    void *k = pool(rows * SIZE, kv_bits(layout.k_dtype));
    void *v = pool(rows * SIZE, kv_bits(layout.v_dtype));
    const int64_t k_scales = rows * kv_scales(&layout, layout.k_dtype, SIZE);
    const int64_t v_scales = rows * kv_scales(&layout, layout.v_dtype, SIZE);
    float *k_scale = kv_scales(&layout, layout.k_dtype, SIZE) ? pool(k_scales, 32) : NULL;
    float *v_scale = kv_scales(&layout, layout.v_dtype, SIZE) ? pool(v_scales, 32) : NULL;
    view.k = k, view.v = v, view.k_scale = k_scale, view.v_scale = v_scale;
    view.k_channel_scale = channel;
    view.pages = pages;
    view.indptr = indptr, view.indices = indices, view.last_page_len = last;
    view.first_page_begin = first, view.positions = positions;

    attn_error error;
    if (attn_kv_view_check(&layout, &view, batch, 100, HEADS, SIZE, SIZE, &error) == ATTN_OK)
        kv_touch(&layout, &view, batch, HEADS, SIZE, SIZE);
    else if (!error.message[0])
        abort();
    free(indptr), free(indices), free(last), free(first), free(positions);
    free(channel), free(k), free(v), free(k_scale), free(v_scale);
    return 0;
}
