/* Making a cache: one block of memory, carved by the code that measured it. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/half.h"
#include "kv/cache.h"
#include "kv/checksum.h"
#include "kv/config.h"
#include "rotary/rotary.h"

void attn_kv_scratch_carve(struct attn_kv_scratch *scratch, struct attn_arena *arena,
                           int64_t widest, int64_t pairs)
{
    scratch->row = attn_arena_take(arena, (size_t)widest, sizeof(float));
    scratch->turn.input = attn_arena_take(arena, (size_t)widest, sizeof(float));
    scratch->turn.cosine = attn_arena_take(arena, (size_t)pairs, sizeof(float));
    scratch->turn.sine = attn_arena_take(arena, (size_t)pairs, sizeof(float));
    scratch->turn.block = attn_arena_take(arena, (size_t)pairs, 2 * sizeof(double));
    scratch->turn.known = false;
}

/* ---- carving ---- */

/* `rows` rows of a tensor and of its scales. */
static void *take_rows(struct attn_arena *arena, attn_dtype dtype, int64_t group, int64_t rows,
                       int64_t size, float **scale)
{
    const int64_t scales = attn_kv_row_scales(dtype, group, size);
    *scale = attn_arena_take(arena, (size_t)(rows * scales), sizeof(float));
    const bool nibbles = dtype == ATTN_INT4;
    return attn_arena_take(arena, (size_t)(rows * (nibbles ? size / 2 : size)),
                           nibbles ? 1 : (size_t)attn_dtype_size(dtype));
}

static void carve_pool(struct attn_kv_store *store, struct attn_arena *arena)
{
    const attn_kv_layout *l = &store->layout;
    struct attn_kv_pool *pool = &store->pool;
    const int64_t slots = pool->pages * l->page_size, rows = slots * store->shape.kv_heads;
    pool->references = attn_arena_take(arena, (size_t)pool->pages, sizeof(int32_t));
    pool->free = attn_arena_take(arena, (size_t)pool->pages, sizeof(int32_t));
    pool->positions = l->positions ? attn_arena_take(arena, (size_t)slots, sizeof(int32_t)) : NULL;
    pool->k = take_rows(arena, l->k_dtype, l->group, rows, store->shape.head_size, &pool->k_scale);
    pool->v =
        take_rows(arena, l->v_dtype, l->group, rows, store->shape.head_size_v, &pool->v_scale);
}

/* Lists begin on lines of the machine's caches. */
static void carve_lines(struct attn_kv_store *store, struct attn_arena *arena, int64_t sequences)
{
    const int64_t step = (store->list + 15) / 16 * 16;
    int64_t entries;
    if (!attn_int64_mul(&entries, sequences, step)) {
        arena->failed = true;
        return;
    }
    store->lines = attn_arena_take(arena, (size_t)sequences, sizeof *store->lines);
    int32_t *pages = attn_arena_take(arena, (size_t)entries, sizeof *pages);
    for (int64_t s = 0; pages && s < sequences; s++)
        store->lines[s] = (struct attn_kv_line){.pages = pages + s * step};
}

/* Frequencies, and the angles of every place in a block. */
static struct attn_turn *carve_turn(struct attn_arena *arena, const attn_rotary *rotary)
{
    const size_t pairs = (size_t)rotary->size / 2;
    struct attn_turn *turn = attn_arena_take(arena, 1, sizeof *turn);
    double *doubles = attn_arena_take(arena, pairs, (1 + 2 * ATTN_TURN_PLACES) * sizeof(double));
    if (turn)
        *turn = (struct attn_turn){.size = rotary->size,
                                   .pairs = (int64_t)pairs,
                                   .pairing = rotary->pairing,
                                   .frequencies = doubles,
                                   .places = doubles + pairs};
    return turn;
}

/* The layer that first names this description. */
static int64_t first_with(const attn_kv_config *config, const attn_rotary *rotary)
{
    int64_t layer = 0;
    while (config->layers[layer].rotary != rotary)
        layer++;
    return layer;
}

static struct attn_kv *carve(struct attn_arena *arena, const attn_kv_config *config)
{
    struct attn_kv *kv = attn_arena_take(arena, 1, sizeof *kv);
    struct attn_kv_store *stores =
        attn_arena_take(arena, (size_t)config->layer_count, sizeof *stores);
    const size_t sequences = (size_t)config->sequences;
    int64_t widest = 1, pairs = 1, list = 1;
    for (int64_t i = 0; i < config->layer_count; i++) {
        const attn_kv_layer *layer = &config->layers[i];
        struct attn_kv_store store = attn_kv_store_of(config, layer);
        carve_lines(&store, arena, config->sequences);
        if (layer->k_channel_scales)
            store.k_channel_scale =
                attn_arena_take(arena, (size_t)(layer->kv_heads * layer->head_size), sizeof(float));
        if (layer->rotary && first_with(config, layer->rotary) == i)
            store.turn = carve_turn(arena, layer->rotary);
        carve_pool(&store, arena);
        widest = attn_int64_max(widest, attn_int64_max(layer->head_size, layer->head_size_v));
        pairs = attn_int64_max(pairs, layer->rotary ? layer->rotary->size / 2 : 1);
        list = attn_int64_max(list, store.list);
        if (stores && !arena->failed)
            stores[i] = store;
    }
    struct attn_kv all = {.layer_count = config->layer_count,
                          .sequences = config->sequences,
                          .model = config->model,
                          .stores = stores,
                          .widest = widest,
                          .pairs = pairs};
    all.indptr = attn_arena_take(arena, sequences + 1, sizeof(int32_t));
    all.last_page_len = attn_arena_take(arena, sequences, sizeof(int32_t));
    all.first_page_begin = attn_arena_take(arena, sequences, sizeof(int32_t));
    size_t indices;
    if (!attn_size_mul(&indices, sequences, (size_t)list))
        arena->failed = true;
    else
        all.indices = attn_arena_take(arena, indices, sizeof(int32_t));
    all.marks = attn_arena_take(arena, sequences, 1);
    all.counts = attn_arena_take(arena, sequences, sizeof(int64_t));
    attn_kv_scratch_carve(&all.scratch, arena, widest, pairs);
    if (kv && !arena->failed)
        *kv = all;
    return kv;
}

static attn_status measure(const attn_kv_config *config, size_t *bytes, attn_error *error)
{
    struct attn_arena arena = attn_arena_measure();
    carve(&arena, config);
    if (!attn_arena_needed(&arena, bytes) || *bytes > PTRDIFF_MAX)
        return attn_fail(
            error, ATTN_ERR_OVERFLOW,
            "config: a cache of these layers, sequences and tokens has more bytes than "
            "an address can tell");
    return ATTN_OK;
}

/* ---- filling ---- */

static attn_status fill_turn(struct attn_kv_store *store, const attn_rotary *rotary,
                             attn_error *error)
{
    struct attn_turn *turn = store->turn;
    attn_status status = attn_rotary_fill(rotary, turn->frequencies, &turn->length_factor, error);
    for (int place = 0; !status && place < ATTN_TURN_PLACES; place++)
        attn_angles_fill(attn_angles_at(turn->places, place, turn->pairs), turn->frequencies,
                         turn->pairs, place);
    return status;
}

/* Two descriptions that turn alike have the same; of floats, so that the last digit of a pow does not tell. */
static uint64_t digest_of(const struct attn_turn *turn)
{
    uint64_t digest = attn_mix(1, (uint64_t)turn->size << 1 | (uint64_t)turn->pairing);
    digest = attn_mix(digest, attn_bits_of_float((float)turn->length_factor));
    for (int64_t m = 0; m < turn->pairs; m++)
        digest = attn_mix(digest, attn_bits_of_float((float)turn->frequencies[m]));
    return digest;
}

static attn_status fill(struct attn_kv *kv, const attn_kv_config *config, attn_error *error)
{
    attn_status status = ATTN_OK;
    memset(kv->marks, 0, (size_t)kv->sequences);
    for (int64_t i = 0; !status && i < kv->layer_count; i++) {
        const attn_kv_layer *layer = &config->layers[i];
        struct attn_kv_store *store = &kv->stores[i];
        attn_kv_pool_reset(&store->pool);
        if (layer->k_channel_scales)
            memcpy(store->k_channel_scale, layer->k_channel_scales,
                   (size_t)(layer->kv_heads * layer->head_size) * sizeof(float));
        if (!layer->rotary)
            continue;
        if (store->turn)
            status = fill_turn(store, layer->rotary, error);
        else
            store->turn = kv->stores[first_with(config, layer->rotary)].turn;
        if (!status)
            store->rotary_digest = digest_of(store->turn);
    }
    return status;
}

/* ---- the calls ---- */

attn_status attn_kv_size(const attn_kv_config *config, size_t *bytes, attn_error *error)
{
    attn_status status = attn_kv_config_check(config, error);
    if (!status && !bytes)
        status = attn_fail(error, ATTN_ERR_NULL, "bytes is NULL; it must be given");
    size_t needed = 0;
    if (!status)
        status = measure(config, &needed, error);
    if (status)
        return status;
    *bytes = needed;
    return attn_succeed(error);
}

attn_status attn_kv_create(attn_kv **kv, const attn_kv_config *config, void *memory, size_t size,
                           attn_error *error)
{
    if (!kv)
        return attn_fail(error, ATTN_ERR_NULL, "kv is NULL; it must point to where the cache goes");
    *kv = NULL;
    size_t needed;
    attn_status status = attn_kv_size(config, &needed, error);
    if (status)
        return status;
    void *own = NULL;
    if (!memory && size == 0) {
        memory = own = malloc(needed);
        size = needed;
        if (!own)
            return attn_fail(error, ATTN_ERR_MEMORY, "no memory for a cache of %zu bytes", needed);
    }
    if (!memory || size < needed)
        return attn_fail(error, ATTN_ERR_WORKSPACE,
                         "memory is %p of %zu bytes; this cache needs %zu bytes", memory, size,
                         needed);
    struct attn_arena arena = attn_arena_over(memory, size);
    struct attn_kv *made = carve(&arena, config);
    status = fill(made, config, error);
    if (status) {
        free(own);
        return status;
    }
    made->own = own;
    *kv = made;
    return attn_succeed(error);
}

void attn_kv_destroy(attn_kv *kv)
{
    if (kv)
        free(kv->own);
}
