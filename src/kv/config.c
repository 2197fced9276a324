/* Whether a cache can be made as described, and how large each layer's pool is. */
#include "kv/config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/error.h"
#include "base/half.h"
#include "base/layout.h"
#include "rotary/rotary.h"

enum { LAYERS_MAX = 65536, SEQUENCES_MAX = 1 << 20 };

/* ---- sizes ---- */

static int64_t least(int64_t a, int64_t b, bool b_fits)
{
    return b_fits ? attn_int64_min(a, b) : a;
}

/* Pages that one sequence may need. A window holds what its first new token sees and a step, begun anywhere in a
 * page; sinks have pages of their own. Never more than all its tokens, a page more where they begin anywhere. */
static int64_t list_of(const attn_kv_config *config, const attn_kv_layer *layer)
{
    const int64_t page = layer->page_size, whole = attn_int64_div_up(config->tokens, page);
    if (layer->window == 0)
        return whole;
    const int64_t slots = page - 1 + layer->window - 1 + config->step;
    const int64_t ring = attn_int64_div_up(layer->sinks, page) + attn_int64_div_up(slots, page);
    return attn_int64_min(ring, whole + 1);
}

/* All sequences' tokens, each with a page half used (at both ends with a window), but no more than their
 * lists. Told to INT32_MAX pages at most, which is also what an index can say. */
static int64_t pages_of(const attn_kv_config *config, const attn_kv_layer *layer)
{
    if (layer->pages > 0)
        return layer->pages;
    int64_t pages = INT32_MAX, lists;
    bool fits = attn_int64_mul(&lists, config->sequences, list_of(config, layer));
    pages = least(pages, lists, fits);
    if (config->total_tokens > 0) {
        const int64_t ends = (layer->window > 0 ? 3 : 1) * config->sequences;
        pages =
            attn_int64_min(pages, attn_int64_div_up(config->total_tokens, layer->page_size) + ends);
    }
    return pages;
}

struct attn_kv_store attn_kv_store_of(const attn_kv_config *config, const attn_kv_layer *layer)
{
    struct attn_kv_store store = {
        .layout = attn_kv_layout_init(layer->k_dtype, layer->kv_heads, layer->page_size,
                                      layer->head_size),
        .shape = {layer->kv_heads, layer->head_size, layer->head_size_v},
        .window = layer->window,
        .sinks = layer->sinks,
        .step = config->step,
        .tokens = config->tokens,
        .list = list_of(config, layer),
        .pool = {.pages = pages_of(config, layer)},
    };
    attn_kv_layout *l = &store.layout;
    const int64_t rows = layer->kv_heads * layer->page_size;
    const attn_dtype types[2] = {layer->k_dtype, layer->v_dtype};
    const int64_t sizes[2] = {layer->head_size, layer->head_size_v};
    int64_t *strides[2] = {l->k_stride, l->v_stride};
    int64_t *scale_strides[2] = {l->k_scale_stride, l->v_scale_stride};
    l->v_dtype = layer->v_dtype;
    l->group = layer->group;
    l->k_channel_scales = layer->k_channel_scales != NULL;
    l->positions = layer->positions || (layer->window > 0 && layer->sinks > 0);
    for (int i = 0; i < 2; i++) {
        const int64_t scales = types[i] == ATTN_INT8   ? 1
                               : types[i] == ATTN_INT4 ? sizes[i] / layer->group
                                                       : 0;
        strides[i][0] = rows * sizes[i];
        strides[i][1] = layer->page_size * sizes[i];
        strides[i][2] = sizes[i];
        scale_strides[i][0] = rows * scales;
        scale_strides[i][1] = layer->page_size * scales;
        scale_strides[i][2] = scales;
    }
    return store;
}

/* ---- checking ---- */

struct number {
    const char *name;
    int64_t value, low, high;
};

static attn_status check_numbers(const char *where, const struct number *numbers, size_t count,
                                 attn_error *error)
{
    for (size_t i = 0; i < count; i++)
        if (numbers[i].value < numbers[i].low || numbers[i].value > numbers[i].high)
            return attn_fail(error, ATTN_ERR_SHAPE,
                             "%s.%s is %" PRId64 "; it may be %" PRId64 " to %" PRId64, where,
                             numbers[i].name, numbers[i].value, numbers[i].low, numbers[i].high);
    return ATTN_OK;
}

static attn_status check_channel_scales(const char *where, const attn_kv_layer *layer,
                                        attn_error *error)
{
    const float *scales = layer->k_channel_scales;
    if (!scales)
        return ATTN_OK;
    if ((uintptr_t)scales % sizeof *scales != 0)
        return attn_fail(error, ATTN_ERR_ALIGNMENT,
                         "%s.k_channel_scales is %p; it must be aligned to its elements of 4 bytes",
                         where, (const void *)scales);
    for (int64_t i = 0; i < layer->kv_heads * layer->head_size; i++)
        if (!isfinite(scales[i]) || scales[i] <= 0.0f)
            return attn_fail(error, ATTN_ERR_VALUE,
                             "%s.k_channel_scales[%" PRId64
                             "] is %g; it must be finite and above 0",
                             where, i, (double)scales[i]);
    return ATTN_OK;
}

/* Products of the sizes of a layer, before any of them is made. */
static attn_status check_products(const char *where, const attn_kv_config *config,
                                  const attn_kv_layer *layer, attn_error *error)
{
    const int64_t row = attn_int64_max(layer->head_size, layer->head_size_v);
    int64_t page, pool = 0, entries;
    if (!attn_int64_mul(&entries, config->sequences, list_of(config, layer)) || entries > INT32_MAX)
        return attn_fail(error, ATTN_ERR_OVERFLOW,
                         "%s: %" PRId64 " sequences of up to %" PRId64
                         " pages make a table of more than 2147483647 entries",
                         where, config->sequences, list_of(config, layer));
    bool fits = attn_int64_mul(&page, layer->kv_heads, layer->page_size) &&
                attn_int64_mul(&page, page, row) &&
                attn_int64_mul(&pool, page, pages_of(config, layer)) && pool <= INT64_MAX / 16;
    if (!fits)
        return attn_fail(error, ATTN_ERR_OVERFLOW,
                         "%s: kv_heads * page_size * head size is %" PRId64 " * %" PRId64
                         " * %" PRId64 ", and a pool of such pages more than an address can tell",
                         where, layer->kv_heads, layer->page_size, row);
    return ATTN_OK;
}

static attn_status check_layer(const attn_kv_config *config, int64_t index, attn_error *error)
{
    const attn_kv_layer *layer = &config->layers[index];
    char where[64];
    snprintf(where, sizeof where, "config.layers[%" PRId64 "]", index);
    if (layer->struct_size != sizeof *layer)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "%s.struct_size is %zu; this library knows %zu (use attn_kv_layer_init)",
                         where, layer->struct_size, sizeof *layer);
    const struct number numbers[] = {{"kv_heads", layer->kv_heads, 1, INT32_MAX},
                                     {"head_size", layer->head_size, 1, INT32_MAX},
                                     {"head_size_v", layer->head_size_v, 1, INT32_MAX},
                                     {"page_size", layer->page_size, 1, INT32_MAX},
                                     {"window", layer->window, 0, INT32_MAX},
                                     {"sinks", layer->sinks, 0, layer->window ? INT32_MAX : 0},
                                     {"pages", layer->pages, 0, INT32_MAX}};
    attn_status status = check_numbers(where, numbers, sizeof numbers / sizeof numbers[0], error);
    if (!status)
        status = check_products(where, config, layer, error);
    if (status)
        return status;
    const struct attn_kv_shape shape = {layer->kv_heads, layer->head_size, layer->head_size_v};
    attn_kv_layout layout =
        attn_kv_layout_init(layer->k_dtype, layer->kv_heads, layer->page_size, layer->head_size);
    layout.v_dtype = layer->v_dtype;
    layout.group = layer->group;
    layout.k_channel_scales = layer->k_channel_scales != NULL;
    for (int axis = 0; axis < 3; axis++) /* ours are even where they must be once the group is */
        layout.k_stride[axis] = layout.v_stride[axis] = layout.k_scale_stride[axis] =
            layout.v_scale_stride[axis] = 0;
    status = attn_kv_layout_check(where, &layout, &shape, error);
    if (!status)
        status = check_channel_scales(where, layer, error);
    if (!status && layer->rotary) {
        status = attn_rotary_check(layer->rotary, error);
        if (!status && layer->rotary->size > layer->head_size)
            status =
                attn_fail(error, ATTN_ERR_SHAPE,
                          "%s.rotary.size is %" PRId64 "; it may be at most head_size, %" PRId64,
                          where, layer->rotary->size, layer->head_size);
    }
    return status;
}

attn_status attn_kv_config_check(const attn_kv_config *config, attn_error *error)
{
    if (!config)
        return attn_fail(error, ATTN_ERR_NULL, "config is NULL; it must be given");
    if (config->struct_size != sizeof *config)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "config.struct_size is %zu; this library knows %zu (use "
                         "attn_kv_config_init)",
                         config->struct_size, sizeof *config);
    const struct number numbers[] = {{"layer_count", config->layer_count, 1, LAYERS_MAX},
                                     {"sequences", config->sequences, 1, SEQUENCES_MAX},
                                     {"tokens", config->tokens, 1, INT32_MAX},
                                     {"total_tokens", config->total_tokens, 0, INT64_MAX / 2},
                                     {"step", config->step, 1, INT32_MAX}};
    attn_status status =
        check_numbers("config", numbers, sizeof numbers / sizeof numbers[0], error);
    if (!status && !config->layers)
        status = attn_fail(error, ATTN_ERR_NULL, "config.layers is NULL; it must be given");
    for (int64_t i = 0; !status && i < config->layer_count; i++)
        status = check_layer(config, i, error);
    return status;
}
