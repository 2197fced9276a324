/* Any bytes as the file of a cache: loading must refuse them and leave the cache empty, or what it holds can
 * be read and gone on with. Each input is tried as it is and with the length and the checksum made right, since
 * no chance would hit those. */
#include <stdlib.h>
#include <string.h>

#include "kv/checksum.h"
#include "kv_touch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LAYERS = 2, SEQUENCES = 3, TOKENS = 8 };

/* make_kv_seeds.py writes for the same description. */
static attn_kv *create(attn_kv_layer layers[LAYERS])
{
    layers[0] = attn_kv_layer_init(ATTN_INT8, 1, 4, 2);
    layers[0].v_dtype = ATTN_F16;
    layers[0].window = 3;
    layers[0].sinks = 1;
    layers[1] = attn_kv_layer_init(ATTN_INT4, 2, 4, 3);
    layers[1].window = 4;
    attn_kv_config config = attn_kv_config_init(layers, LAYERS, SEQUENCES, TOKENS);
    attn_kv *kv;
    if (attn_kv_create(&kv, &config, NULL, 0, NULL))
        abort();
    return kv;
}

static void touch(attn_kv *kv, const attn_kv_layer *layers)
{
    for (int64_t layer = 0; layer < LAYERS; layer++) {
        attn_kv_layout layout;
        attn_kv_view view;
        if (attn_kv_get_layout(kv, layer, &layout, NULL) ||
            attn_kv_get_view(kv, layer, NULL, SEQUENCES, &view, NULL) ||
            attn_kv_view_check(&layout, &view, SEQUENCES, 64, layers[layer].kv_heads, 4, 4, NULL))
            abort();
        kv_touch(&layout, &view, SEQUENCES, layers[layer].kv_heads, 4, 4);
    }
}

/* What was loaded is a cache like any other: it grows, is shared, shrinks, and at last is empty. */
static void go_on(attn_kv *kv, const attn_kv_layer *layers)
{
    static const float numbers[SEQUENCES * 2 * 4 * 2];
    for (int64_t layer = 0; layer < LAYERS; layer++) {
        attn_kv_rows rows = attn_kv_rows_init(SEQUENCES, layers[layer].kv_heads, 2, 4, ATTN_F32);
        rows.k = rows.v = numbers;
        const attn_status status = attn_kv_append(kv, layer, &rows, NULL, NULL);
        if (status && status != ATTN_ERR_FULL)
            abort();
    }
    touch(kv, layers);
    const int64_t row = 0;
    attn_kv_evict(kv, 0, 0, &row, 1, NULL);
    attn_kv_truncate(kv, 1, 2, NULL);
    attn_kv_clear(kv, 2, NULL);
    attn_kv_fork(kv, 0, 2, NULL);
    touch(kv, layers);
    attn_kv_usage usage = {.struct_size = sizeof usage};
    for (int64_t s = 0; s < SEQUENCES; s++)
        attn_kv_clear(kv, s, NULL);
    if (attn_kv_get_usage(kv, -1, &usage, NULL) || usage.pages_used != 0)
        abort();
}

static void load(const uint8_t *data, size_t size)
{
    attn_kv_layer layers[LAYERS];
    attn_kv *kv = create(layers);
    attn_error error;
    attn_kv_usage usage = {.struct_size = sizeof usage};
    const attn_status status = attn_kv_load_memory(kv, data, size, &error);
    if (status == ATTN_OK) {
        touch(kv, layers);
        go_on(kv, layers);
    } else if (!error.message[0] || attn_kv_get_usage(kv, -1, &usage, NULL) ||
               usage.pages_used != 0) {
        abort();
    }
    attn_kv_destroy(kv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    load(data, size);
    if (size < 136 || size % ATTN_SUM_BLOCK != 8)
        return 0;
    uint8_t *mended = malloc(size);
    if (!mended)
        return 0;
    memcpy(mended, data, size);
    const uint64_t bytes = size;
    memcpy(mended + 16, &bytes, sizeof bytes);
    struct attn_sum sum = attn_sum_begin();
    attn_sum_add(&sum, mended, size - 8);
    const uint64_t end = attn_sum_end(&sum);
    memcpy(mended + size - 8, &end, sizeof end);
    load(mended, size);
    free(mended);
    return 0;
}
