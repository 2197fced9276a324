/* Saving a cache: to a file beside the target, which takes its place when it is whole and on the disk. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "kv/file.h"

struct writer {
    int descriptor;
    int reason; /* errno of the first write that failed, or 0 */
    struct attn_sum sum;
    size_t filled;
    unsigned char buffer[ATTN_KV_FILE_BUFFER];
};

/* What pages of a layer become in the file. */
struct numbering {
    int32_t *number; /* [pages of the pool]: in the file, or -1 */
    int32_t *page;   /* [pages of the file]: in the pool */
    int32_t *used;   /* [pages of the file]: slots that some line uses */
    int64_t pages, slots, entries;
};

/* ---- bytes ---- */

static void write_all(struct writer *w, const unsigned char *data, size_t bytes)
{
    while (bytes > 0 && !w->reason) {
        const ssize_t step = write(w->descriptor, data, bytes);
        if (step > 0) {
            data += step;
            bytes -= (size_t)step;
        } else if (step == 0 || errno != EINTR) {
            w->reason = step == 0 ? ENOSPC : errno;
        }
    }
}

static void flush(struct writer *w)
{
    attn_sum_add(&w->sum, w->buffer, w->filled);
    write_all(w, w->buffer, w->filled);
    w->filled = 0;
}

/* NULL: zeros. */
static void put(struct writer *w, const void *data, size_t bytes)
{
    const unsigned char *from = data;
    while (bytes > 0) {
        size_t step = sizeof w->buffer - w->filled;
        step = bytes < step ? bytes : step;
        if (from)
            memcpy(w->buffer + w->filled, from, step);
        else
            memset(w->buffer + w->filled, 0, step);
        w->filled += step;
        from = from ? from + step : NULL;
        bytes -= step;
        if (w->filled == sizeof w->buffer)
            flush(w);
    }
}

static void end_block(struct writer *w)
{
    const size_t rest = w->filled % ATTN_SUM_BLOCK;
    if (rest > 0)
        put(w, NULL, ATTN_SUM_BLOCK - rest);
}

/* ---- layers ---- */

static void number_pages(struct numbering *n, const struct attn_kv_store *store, int64_t sequences)
{
    const int64_t page_size = store->layout.page_size;
    n->pages = n->slots = n->entries = 0;
    for (int64_t i = 0; i < store->pool.pages; i++)
        n->number[i] = -1;
    for (int64_t s = 0; s < sequences; s++) {
        const struct attn_kv_line *line = &store->lines[s];
        const int64_t count = attn_kv_line_used(store, line);
        n->entries += count;
        for (int64_t i = 0; i < count; i++) {
            const int32_t page = line->pages[i];
            const int64_t used = attn_int64_min(page_size, line->slots - i * page_size);
            if (n->number[page] < 0) {
                n->number[page] = (int32_t)n->pages;
                n->used[n->pages] = 0;
                n->page[n->pages++] = page;
            }
            int32_t *most = &n->used[n->number[page]];
            *most = used > *most ? (int32_t)used : *most;
            n->slots = attn_int64_max(n->slots, used);
        }
    }
}

static void put_lines(struct writer *w, const struct attn_kv_store *store, int64_t sequences,
                      const struct numbering *n)
{
    for (int64_t s = 0; s < sequences; s++) {
        const struct attn_kv_line *line = &store->lines[s];
        const struct attn_kv_file_line out = {.count = attn_kv_line_used(store, line),
                                              .slots = line->slots,
                                              .begin = line->begin,
                                              .first = line->first,
                                              .length = line->length,
                                              .gone = line->gone};
        put(w, &out, sizeof out);
    }
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t i = 0; i < attn_kv_line_used(store, &store->lines[s]); i++)
            put(w, &n->number[store->lines[s].pages[i]], sizeof(int32_t));
    end_block(w);
}

static void put_pages(struct writer *w, const struct attn_kv_store *store,
                      const struct numbering *n)
{
    const size_t width = sizeof(int32_t);
    for (int64_t i = 0; store->pool.positions && i < n->pages; i++) {
        put(w, store->pool.positions + n->page[i] * store->layout.page_size,
            (size_t)n->used[i] * width);
        put(w, NULL, (size_t)(n->slots - n->used[i]) * width);
    }
    end_block(w);
    struct attn_kv_array arrays[ATTN_KV_ARRAYS];
    attn_kv_arrays(store, arrays);
    for (int a = 0; a < ATTN_KV_ARRAYS; a++) {
        const struct attn_kv_array *array = &arrays[attn_kv_file_order[a]];
        const size_t row = attn_kv_row_bytes(array);
        for (int64_t i = 0; row > 0 && i < n->pages; i++)
            for (int64_t h = 0; h < store->shape.kv_heads; h++) {
                put(w, attn_kv_place(array, n->page[i], h, 0), (size_t)n->used[i] * row);
                put(w, NULL, (size_t)(n->slots - n->used[i]) * row);
            }
        end_block(w);
    }
}

static struct attn_kv_file_layer layer_of(const struct attn_kv_store *store,
                                          const struct numbering *n)
{
    struct attn_kv_file_layer layer = attn_kv_file_layer_of(store);
    layer.pages = n->pages;
    layer.slots = n->slots;
    layer.entries = n->entries;
    return layer;
}

static void put_cache(struct writer *w, const attn_kv *kv, struct numbering *n)
{
    struct attn_kv_file_header header = {.version = ATTN_KV_FILE_VERSION,
                                         .header_bytes = sizeof header,
                                         .model = kv->model,
                                         .layer_count = (uint64_t)kv->layer_count};
    memcpy(header.magic, attn_kv_magic, sizeof header.magic);
    int64_t sequences = 0, end = sizeof header;
    for (int64_t s = 0; s < kv->sequences; s++)
        for (int64_t i = 0; i < kv->layer_count; i++)
            if (kv->stores[i].lines[s].length > 0)
                sequences = s + 1;
    for (int64_t i = 0; i < kv->layer_count; i++) {
        number_pages(n, &kv->stores[i], sequences);
        struct attn_kv_file_layer layer = layer_of(&kv->stores[i], n);
        end = attn_kv_file_place(&layer, &kv->stores[i], end + (int64_t)sizeof layer, sequences);
    }
    header.sequences = (uint64_t)sequences;
    header.file_bytes = (uint64_t)end + sizeof(uint64_t);
    put(w, &header, sizeof header);
    int64_t at = sizeof header;
    for (int64_t i = 0; !w->reason && i < kv->layer_count; i++) {
        const struct attn_kv_store *store = &kv->stores[i];
        number_pages(n, store, sequences);
        struct attn_kv_file_layer layer = layer_of(store, n);
        at = attn_kv_file_place(&layer, store, at + (int64_t)sizeof layer, sequences);
        put(w, &layer, sizeof layer);
        put_lines(w, store, sequences, n);
        put_pages(w, store, n);
    }
    flush(w);
    const uint64_t sum = attn_sum_end(&w->sum);
    write_all(w, (const unsigned char *)&sum, sizeof sum);
}

/* ---- the file ---- */

/* Create "<target>.<pid>.<n>.part"; -1 with errno. */
static int create_part(char part[PATH_MAX], const char *target, const struct stat *old)
{
    int descriptor = -1;
    for (int attempt = 0; attempt < 100; attempt++) {
        const int length =
            snprintf(part, PATH_MAX, "%s.%ld.%d.part", target, (long)getpid(), attempt);
        if (length < 0 || length >= PATH_MAX) {
            errno = ENAMETOOLONG;
            return -1;
        }
        descriptor = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor >= 0 || errno != EEXIST)
            break;
    }
    if (descriptor >= 0 && old && fchmod(descriptor, old->st_mode & 0777) != 0) {
        const int reason = errno;
        close(descriptor);
        unlink(part);
        errno = reason;
        return -1;
    }
    return descriptor;
}

/* The new name too must reach the disk; some file systems cannot, which is no error. */
static void sync_folder(const char *target)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(target, '/');
    const int length = slash ? (int)(slash - target) + 1 : 1;
    snprintf(folder, sizeof folder, "%.*s", length, slash ? target : ".");
    const int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0) {
        (void)fsync(descriptor);
        close(descriptor);
    }
}

static int write_file(struct writer *w, const attn_kv *kv, struct numbering *n, const char *target,
                      const struct stat *old)
{
    char part[PATH_MAX];
    w->descriptor = create_part(part, target, old);
    if (w->descriptor < 0)
        return errno;
    put_cache(w, kv, n);
    if (!w->reason && fsync(w->descriptor) != 0)
        w->reason = errno;
    if (close(w->descriptor) != 0 && errno != EINTR && !w->reason)
        w->reason = errno;
    if (!w->reason && rename(part, target) != 0)
        w->reason = errno;
    if (w->reason)
        unlink(part);
    else
        sync_folder(target);
    return w->reason;
}

/* A writer, and numbers for the pages of the largest pool, in one block. */
static struct writer *make_writer(const attn_kv *kv, struct numbering *n)
{
    int64_t pages = 1;
    for (int64_t i = 0; i < kv->layer_count; i++)
        pages = attn_int64_max(pages, kv->stores[i].pool.pages);
    struct writer *w = malloc(sizeof *w + 3 * (size_t)pages * sizeof(int32_t));
    if (!w)
        return NULL;
    n->number = (int32_t *)(void *)(w + 1);
    n->page = n->number + pages;
    n->used = n->page + pages;
    w->sum = attn_sum_begin();
    w->reason = 0;
    w->filled = 0;
    return w;
}

attn_status attn_kv_save(const attn_kv *kv, const char *path, attn_error *error)
{
    attn_status status = attn_kv_check(kv, error);
    if (!status && !path)
        status = attn_fail(error, ATTN_ERR_NULL, "path is NULL; it must be given");
    if (status)
        return status;
    struct stat old;
    const bool exists = stat(path, &old) == 0;
    if (exists && !S_ISREG(old.st_mode))
        return attn_fail(error, ATTN_ERR_FILE,
                         "%s: is not a regular file, and cannot be replaced by one", path);
    char *target = exists ? realpath(path, NULL) : strdup(path); /* not the link, but its file */
    struct numbering n;
    struct writer *w = target ? make_writer(kv, &n) : NULL;
    if (!w) {
        free(target);
        return attn_fail(error, ATTN_ERR_MEMORY, "no memory to write a cache to %s", path);
    }
    const int reason = write_file(w, kv, &n, target, exists ? &old : NULL);
    free(w);
    free(target);
    if (reason)
        return attn_fail(error, ATTN_ERR_FILE, "%s: cannot be written: %s", path, strerror(reason));
    return attn_succeed(error);
}
