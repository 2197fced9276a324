/* Loading a cache. Nothing in a file is believed: every number is held against the cache it is to fill, which
 * is empty, and is so again if anything is wrong, up to the checksum at the very end. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/half.h"
#include "kv/file.h"

struct reader {
    const char *name;
    attn_error *error;
    int descriptor;            /* or -1: */
    const unsigned char *data; /* at what is next */
    uint64_t size, taken;      /* of the source; of it, come to the buffer */
    struct attn_sum sum;
    size_t begin, end; /* of what is in the buffer and not yet read */
    int32_t *seen;     /* [pages of the largest pool] */
    unsigned char buffer[ATTN_KV_FILE_BUFFER];
};

/* ---- bytes ---- */

static attn_status refuse(const struct reader *r, const char *what)
{
    return attn_fail(r->error, ATTN_ERR_FILE, "%s: %s", r->name, what);
}

/* Bytes of the source to `to`, all of them. */
static attn_status take(struct reader *r, void *to, size_t bytes)
{
    unsigned char *into = to;
    if (bytes > r->size - r->taken)
        return refuse(r, "is cut short");
    r->taken += bytes;
    if (r->descriptor < 0) {
        memcpy(to, r->data, bytes);
        r->data += bytes;
        return ATTN_OK;
    }
    while (bytes > 0) {
        const ssize_t step = read(r->descriptor, into, bytes);
        if (step < 0 && errno == EINTR)
            continue;
        if (step <= 0)
            return attn_fail(r->error, ATTN_ERR_FILE, "%s: cannot be read: %s", r->name,
                             step == 0 ? "it became shorter" : strerror(errno));
        into += step;
        bytes -= (size_t)step;
    }
    return ATTN_OK;
}

/* The next blocks. The checksum behind the last one stays out. */
static attn_status refill(struct reader *r)
{
    uint64_t left = r->size - r->taken;
    left = left / ATTN_SUM_BLOCK * ATTN_SUM_BLOCK;
    const size_t bytes = left < sizeof r->buffer ? (size_t)left : sizeof r->buffer;
    if (bytes == 0)
        return refuse(r, "is cut short");
    attn_status status = take(r, r->buffer, bytes);
    if (status)
        return status;
    attn_sum_add(&r->sum, r->buffer, bytes);
    r->begin = 0;
    r->end = bytes;
    return ATTN_OK;
}

static attn_status get(struct reader *r, void *to, size_t bytes)
{
    unsigned char *into = to;
    while (bytes > 0) {
        attn_status status = r->begin == r->end ? refill(r) : ATTN_OK;
        if (status)
            return status;
        size_t step = r->end - r->begin;
        step = bytes < step ? bytes : step;
        memcpy(into, r->buffer + r->begin, step);
        r->begin += step;
        into += step;
        bytes -= step;
    }
    return ATTN_OK;
}

static void skip_block(struct reader *r)
{
    r->begin = (r->begin + ATTN_SUM_BLOCK - 1) / ATTN_SUM_BLOCK * ATTN_SUM_BLOCK;
}

/* ---- header ---- */

static attn_status get_header(struct reader *r, const attn_kv *kv, int64_t *sequences)
{
    struct attn_kv_file_header header;
    if (r->size < sizeof header)
        return refuse(r, r->size == 0 ? "is empty" : "is cut short, or no cache file");
    attn_status status = get(r, &header, sizeof header);
    if (status)
        return status;
    if (memcmp(header.magic, attn_kv_magic, sizeof header.magic) != 0)
        return refuse(r, "is no cache file: it does not begin with \"ATTNKV\"");
    if (header.version != ATTN_KV_FILE_VERSION)
        return attn_fail(r->error, ATTN_ERR_FILE,
                         "%s: is a cache file of version %" PRIu32
                         "; this library reads version %d",
                         r->name, header.version, ATTN_KV_FILE_VERSION);
    if (header.header_bytes != sizeof header)
        return refuse(r, "is damaged: its header has a length of its own");
    if (header.file_bytes != r->size)
        return attn_fail(r->error, ATTN_ERR_FILE,
                         "%s: has %" PRIu64 " bytes, but was written with %" PRIu64
                         ": it is cut short or damaged",
                         r->name, r->size, header.file_bytes);
    if (header.model != kv->model)
        return attn_fail(r->error, ATTN_ERR_FILE,
                         "%s: is of model %016" PRIx64 "; this cache is of %016" PRIx64, r->name,
                         header.model, kv->model);
    if (header.layer_count != (uint64_t)kv->layer_count)
        return attn_fail(r->error, ATTN_ERR_FILE,
                         "%s: has %" PRIu64 " layers; this cache has %" PRId64, r->name,
                         header.layer_count, kv->layer_count);
    if (header.sequences > (uint64_t)kv->sequences)
        return attn_fail(r->error, ATTN_ERR_FULL,
                         "%s: has %" PRIu64 " sequences; this cache may have %" PRId64, r->name,
                         header.sequences, kv->sequences);
    *sequences = (int64_t)header.sequences;
    return ATTN_OK;
}

/* ---- one layer ---- */

static attn_status refuse_type(const struct reader *r, int64_t index, const char *name,
                               int64_t type, int64_t wanted)
{
    return attn_fail(
        r->error, ATTN_ERR_FILE,
        "%s: layer %" PRId64 " has %s %" PRId64 " (%s); this cache has %" PRId64 " (%s)", r->name,
        index, name, type, attn_dtype_name(type), wanted, attn_dtype_name(wanted));
}

static attn_status check_same(const struct reader *r, const struct attn_kv_store *store,
                              int64_t index, const struct attn_kv_file_layer *layer)
{
    const struct attn_kv_file_layer own = attn_kv_file_layer_of(store);
    const struct {
        const char *name;
        int64_t value, wanted;
    } same[] = {
        {"kv_heads", layer->kv_heads, own.kv_heads},
        {"head_size", layer->head_size, own.head_size},
        {"head_size_v", layer->head_size_v, own.head_size_v},
        {"page_size", layer->page_size, own.page_size},
        {"group", layer->group, own.group},
        {"window", layer->window, own.window},
        {"sinks", layer->sinks, own.sinks},
        {"positions", layer->positions, own.positions},
    };
    if (layer->k_dtype != own.k_dtype)
        return refuse_type(r, index, "k_dtype", layer->k_dtype, own.k_dtype);
    if (layer->v_dtype != own.v_dtype)
        return refuse_type(r, index, "v_dtype", layer->v_dtype, own.v_dtype);
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        if (same[i].value != same[i].wanted)
            return attn_fail(r->error, ATTN_ERR_FILE,
                             "%s: layer %" PRId64 " has %s %" PRId64 "; this cache has %" PRId64,
                             r->name, index, same[i].name, same[i].value, same[i].wanted);
    if (layer->channel_digest != own.channel_digest || layer->rotary_digest != own.rotary_digest)
        return attn_fail(
            r->error, ATTN_ERR_FILE, "%s: layer %" PRId64 " was written with %s than this cache's",
            r->name, index,
            layer->rotary_digest != own.rotary_digest ? "another rotary embedding"
                                                      : "other scales of key channels");
    return ATTN_OK;
}

/* How much there is of a layer; and where, which must be where we would have put it. */
static attn_status check_extent(const struct reader *r, const struct attn_kv_store *store,
                                int64_t index, const struct attn_kv_file_layer *layer, int64_t at,
                                int64_t sequences, int64_t *end)
{
    if (layer->pages < 0 || layer->slots < 0 || layer->slots > store->layout.page_size ||
        layer->entries < layer->pages || layer->entries > sequences * INT64_C(0x7fffffff))
        return refuse(r, "is damaged: a layer's pages, slots or entries are impossible");
    if (layer->pages > store->pool.pages || layer->entries > sequences * store->list)
        return attn_fail(r->error, ATTN_ERR_FULL,
                         "%s: layer %" PRId64 " has %" PRId64 " pages in %" PRId64
                         " lists; this cache has %" PRId64 " and lists of %" PRId64,
                         r->name, index, layer->pages, sequences, store->pool.pages, store->list);
    struct attn_kv_file_layer own = *layer;
    *end = attn_kv_file_place(&own, store, at, sequences);
    if (memcmp(&own, layer, sizeof own) != 0)
        return refuse(r, "is damaged: a layer's arrays are not where they must be");
    return ATTN_OK;
}

static attn_status check_line(const struct reader *r, const struct attn_kv_store *store,
                              const struct attn_kv_file_line *in, int64_t saved_slots)
{
    const int64_t page_size = store->layout.page_size;
    const bool rolls = store->window > 0 && !store->layout.positions;
    bool sound = in->slots >= 0 && in->slots <= INT64_C(1) << 40 &&
                 in->count == attn_int64_div_up(in->slots, page_size) && in->length >= 0 &&
                 in->length <= INT32_MAX && in->gone >= 0 && in->gone <= in->length &&
                 in->begin >= 0 && in->begin <= in->slots && in->begin < page_size &&
                 in->first >= 0 && in->first <= INT32_MAX;
    if (sound)
        sound = store->layout.positions ? in->first == 0 : in->first + in->slots == in->length;
    if (sound && store->window == 0)
        sound = in->gone == 0 && in->first == 0;
    if (sound && !rolls)
        sound = in->begin == 0;
    if (sound && rolls)
        sound = in->first + in->begin == in->gone;
    if (sound && in->count > 0)
        sound = (in->count > 1 ? page_size : in->slots) <= saved_slots;
    if (!sound)
        return refuse(r, "is damaged: a sequence has an impossible length");
    if (in->count > store->list || (store->window == 0 && in->slots > store->tokens))
        return attn_fail(r->error, ATTN_ERR_FULL,
                         "%s: has a sequence of %" PRId64 " tokens; this cache may have %" PRId64,
                         r->name, in->slots, store->tokens);
    return ATTN_OK;
}

static attn_status get_lines(struct reader *r, struct attn_kv_store *store,
                             const struct attn_kv_file_layer *layer, int64_t sequences)
{
    attn_status status = ATTN_OK;
    int64_t entries = 0;
    for (int64_t s = 0; !status && s < sequences; s++) {
        struct attn_kv_line *line = &store->lines[s];
        struct attn_kv_file_line in;
        status = get(r, &in, sizeof in);
        if (!status)
            status = check_line(r, store, &in, layer->slots);
        if (status)
            return status;
        line->count = (int32_t)in.count;
        line->slots = in.slots;
        line->begin = in.begin;
        line->first = in.first;
        line->length = in.length;
        line->gone = in.gone;
        entries += in.count;
    }
    return entries == layer->entries ? ATTN_OK : refuse(r, "is damaged: pages are missing");
}

static attn_status get_lists(struct reader *r, struct attn_kv_store *store,
                             const struct attn_kv_file_layer *layer, int64_t sequences)
{
    struct attn_kv_pool *pool = &store->pool;
    memset(r->seen, 0xff, (size_t)layer->pages * sizeof *r->seen);
    for (int64_t s = 0; s < sequences; s++) {
        struct attn_kv_line *line = &store->lines[s];
        attn_status status = get(r, line->pages, (size_t)line->count * sizeof *line->pages);
        if (status)
            return status;
        for (int32_t i = 0; i < line->count; i++) {
            const int32_t page = line->pages[i];
            if (page < 0 || page >= layer->pages || r->seen[page] == s)
                return refuse(r, "is damaged: a sequence has a page that is none, or one twice");
            r->seen[page] = (int32_t)s;
            pool->references[page]++;
        }
    }
    skip_block(r);
    for (int64_t page = 0; page < layer->pages; page++)
        if (pool->references[page] == 0)
            return refuse(r, "is damaged: it has a page of no sequence");
    pool->free_count = pool->pages - layer->pages; /* those behind, in the order of a reset */
    return ATTN_OK;
}

static attn_status get_pages(struct reader *r, struct attn_kv_store *store,
                             const struct attn_kv_file_layer *layer)
{
    attn_status status = ATTN_OK;
    for (int64_t page = 0; !status && layer->positions && page < layer->pages; page++)
        status = get(r, store->pool.positions + page * store->layout.page_size,
                     (size_t)layer->slots * sizeof(int32_t));
    skip_block(r);
    struct attn_kv_array arrays[ATTN_KV_ARRAYS];
    attn_kv_arrays(store, arrays);
    for (int a = 0; a < ATTN_KV_ARRAYS; a++) {
        const struct attn_kv_array *array = &arrays[attn_kv_file_order[a]];
        const size_t bytes = (size_t)layer->slots * attn_kv_row_bytes(array);
        for (int64_t page = 0; bytes > 0 && page < layer->pages; page++)
            for (int64_t h = 0; !status && h < store->shape.kv_heads; h++)
                status = get(r, attn_kv_place(array, page, h, 0), bytes);
        skip_block(r);
    }
    return status;
}

static attn_status check_positions(const struct reader *r, const struct attn_kv_store *store,
                                   int64_t sequences)
{
    for (int64_t s = 0; store->layout.positions && s < sequences; s++) {
        const struct attn_kv_line *line = &store->lines[s];
        int64_t before = -1;
        for (int64_t slot = 0; slot < line->slots; slot++) {
            const int64_t position = attn_kv_line_position(store, line, slot);
            if (position <= before || position >= line->length)
                return refuse(r, "is damaged: positions of a sequence do not rise");
            before = position;
        }
    }
    return ATTN_OK;
}

static attn_status get_layer(struct reader *r, attn_kv *kv, int64_t index, int64_t sequences,
                             int64_t *at)
{
    struct attn_kv_store *store = &kv->stores[index];
    struct attn_kv_file_layer layer;
    attn_status status = get(r, &layer, sizeof layer);
    if (!status)
        status = check_same(r, store, index, &layer);
    if (!status)
        status = check_extent(r, store, index, &layer, *at + (int64_t)sizeof layer, sequences, at);
    if (!status && (uint64_t)*at > r->size)
        status = refuse(r, "is cut short");
    if (!status)
        status = get_lines(r, store, &layer, sequences);
    if (!status)
        status = get_lists(r, store, &layer, sequences);
    if (!status)
        status = get_pages(r, store, &layer);
    return status ? status : check_positions(r, store, sequences);
}

/* ---- the calls ---- */

static attn_status get_cache(struct reader *r, attn_kv *kv)
{
    int64_t sequences = 0, at = sizeof(struct attn_kv_file_header);
    attn_status status = get_header(r, kv, &sequences);
    for (int64_t i = 0; !status && i < kv->layer_count; i++)
        status = get_layer(r, kv, i, sequences, &at);
    if (status)
        return status;
    uint64_t sum;
    if ((uint64_t)at + sizeof sum != r->size || r->begin != r->end)
        return refuse(r, "is damaged: it has more bytes than its layers");
    status = take(r, &sum, sizeof sum);
    if (!status && sum != attn_sum_end(&r->sum))
        status = refuse(r, "is damaged: its checksum is not that of its bytes");
    return status;
}

/* As attn_kv_create left it. */
static void empty(attn_kv *kv)
{
    for (int64_t i = 0; i < kv->layer_count; i++) {
        struct attn_kv_store *store = &kv->stores[i];
        for (int64_t s = 0; s < kv->sequences; s++)
            store->lines[s] = (struct attn_kv_line){.pages = store->lines[s].pages};
        attn_kv_pool_reset(&store->pool);
    }
}

static attn_status load(struct reader *r, attn_kv *kv)
{
    int64_t pages = 1;
    for (int64_t i = 0; i < kv->layer_count; i++) {
        const struct attn_kv_store *store = &kv->stores[i];
        pages = attn_int64_max(pages, store->pool.pages);
        for (int64_t s = 0; s < kv->sequences; s++)
            if (store->lines[s].length > 0)
                return attn_fail(r->error, ATTN_ERR_VALUE,
                                 "kv has %" PRId64 " tokens of sequence %" PRId64
                                 "; a cache must be empty to be loaded",
                                 store->lines[s].length, s);
    }
    r->seen = malloc((size_t)pages * sizeof *r->seen);
    if (!r->seen)
        return attn_fail(r->error, ATTN_ERR_MEMORY, "no memory to read the cache %s", r->name);
    empty(kv); /* of reserved room */
    attn_status status = get_cache(r, kv);
    if (status)
        empty(kv);
    free(r->seen);
    return status ? status : attn_succeed(r->error);
}

static struct reader *make_reader(const char *name, attn_error *error)
{
    struct reader *r = malloc(sizeof *r);
    if (!r) {
        attn_fail(error, ATTN_ERR_MEMORY, "no memory to read the cache %s", name);
        return NULL;
    }
    r->name = name;
    r->error = error;
    r->descriptor = -1;
    r->data = NULL;
    r->size = r->taken = 0;
    r->begin = r->end = 0;
    r->sum = attn_sum_begin();
    return r;
}

attn_status attn_kv_load_memory(attn_kv *kv, const void *data, size_t size, attn_error *error)
{
    attn_status status = attn_kv_check(kv, error);
    if (!status && !data && size > 0)
        status = attn_fail(error, ATTN_ERR_NULL, "data is NULL; it must be given");
    if (status)
        return status;
    struct reader *r = make_reader("data", error);
    if (!r)
        return ATTN_ERR_MEMORY;
    r->data = data;
    r->size = size;
    status = load(r, kv);
    free(r);
    return status;
}

static attn_status open_file(struct reader *r, const char *path)
{
    struct stat file;
    r->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* of a pipe too */
    if (r->descriptor < 0)
        return attn_fail(r->error, ATTN_ERR_FILE, "%s: cannot be opened: %s", path,
                         strerror(errno));
    if (fstat(r->descriptor, &file) != 0)
        return attn_fail(r->error, ATTN_ERR_FILE, "%s: cannot be read: %s", path, strerror(errno));
    if (!S_ISREG(file.st_mode))
        return refuse(r, "is not a regular file");
    r->size = (uint64_t)file.st_size;
    return ATTN_OK;
}

attn_status attn_kv_load(attn_kv *kv, const char *path, attn_error *error)
{
    attn_status status = attn_kv_check(kv, error);
    if (!status && !path)
        status = attn_fail(error, ATTN_ERR_NULL, "path is NULL; it must be given");
    if (status)
        return status;
    struct reader *r = make_reader(path, error);
    if (!r)
        return ATTN_ERR_MEMORY;
    status = open_file(r, path);
    if (!status)
        status = load(r, kv);
    if (r->descriptor >= 0)
        close(r->descriptor);
    free(r);
    return status;
}
