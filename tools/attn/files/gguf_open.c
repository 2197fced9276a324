/* Reading the header of a GGUF file and checking all of it; see gguf.h.
 *
 * The layout: "GGUF", u32 version, u64 number of tensors, u64 number of keys; the keys, each a
 * string, a u32 type and a value; the tensors, each a name, u32 number of dimensions, u64
 * dimensions, u32 type, u64 offset; then, from the next multiple of general.alignment, the data
 * that offsets count from.
 *
 * A cursor holds what is left of the file and every read asks it first. Counts are compared with
 * what is left before they size an allocation: n things of at least m bytes each need n * m bytes.
 */
#include "gguf_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADER_BYTES = 4 + 4 + 8 + 8,
    LEAST_KEY_BYTES = 8 + 1 + 4 + 1,        /* a name of one byte, a type, one byte of value */
    LEAST_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8, /* a name of one byte, no dimensions */
    LONGEST_KEY = 65535,
    DEFAULT_ALIGNMENT = 32,
};

struct cursor {
    const unsigned char *at;
    size_t left, size; /* size: of the file */
};

static bool take(struct cursor *c, size_t bytes, const unsigned char **out)
{
    if (bytes > c->left)
        return false;
    *out = c->at;
    c->at += bytes;
    c->left -= bytes;
    return true;
}

static bool take_u32(struct cursor *c, uint32_t *out)
{
    const unsigned char *p;
    if (!take(c, sizeof *out, &p))
        return false;
    memcpy(out, p, sizeof *out);
    return true;
}

static bool take_u64(struct cursor *c, uint64_t *out)
{
    const unsigned char *p;
    if (!take(c, sizeof *out, &p))
        return false;
    memcpy(out, p, sizeof *out);
    return true;
}

static bool take_string(struct cursor *c, struct text *out)
{
    uint64_t bytes;
    const unsigned char *p;
    if (!take_u64(c, &bytes) || bytes > c->left || !take(c, (size_t)bytes, &p))
        return false;
    *out = (struct text){(const char *)p, (size_t)bytes};
    return true;
}

static bool fail_key(const struct gguf_entry *e, const char *what, struct failure *f)
{
    char quoted[TEXT_QUOTED];
    return fail(f, "the value of key %s %s", text_quote(e->key, quoted), what);
}

/* What is stated goes on behind the end of the file, which was cut there, or its numbers are wrong. */
__attribute__((format(printf, 3, 4))) static bool fail_short(size_t size, struct failure *f,
                                                             const char *format, ...)
{
    char where[2 * TEXT_QUOTED];
    va_list list;
    va_start(list, format);
    vsnprintf(where, sizeof where, format, list);
    va_end(list);
    return fail(f, "ends early, at byte %zu, %s", size, where);
}

static bool fail_value(const struct cursor *c, const struct gguf_entry *e, struct failure *f)
{
    char quoted[TEXT_QUOTED];
    return fail_short(c->size, f, "in the value of key %s", text_quote(e->key, quoted));
}

static bool check_bools(const unsigned char *p, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (p[i] > 1)
            return false;
    return true;
}

static bool read_array(struct cursor *c, struct gguf_entry *e, struct failure *f)
{
    uint32_t type;
    uint64_t count;
    char quoted[TEXT_QUOTED];
    if (!take_u32(c, &type) || !take_u64(c, &count))
        return fail_value(c, e, f);
    if (type == GGUF_ARRAY)
        return fail_key(e, "is an array of arrays, which no model needs", f);
    size_t each = type == GGUF_STRING ? sizeof(uint64_t) : gguf_type_bytes(type);
    if (each == 0)
        return fail_key(e, "is an array of an unknown type", f);
    if (count > c->left / each)
        return fail_short(c->size, f, "in the value of key %s, an array of %llu elements",
                          text_quote(e->key, quoted), (unsigned long long)count);
    const unsigned char *start = c->at;
    if (type == GGUF_STRING) {
        struct text skipped;
        for (uint64_t i = 0; i < count; i++)
            if (!take_string(c, &skipped))
                return fail_value(c, e, f);
    } else {
        take(c, (size_t)count * each, &start);
    }
    e->array =
        (struct gguf_array){(enum gguf_type)type, (size_t)count, start, (size_t)(c->at - start)};
    if (type == GGUF_BOOL && !check_bools(start, e->array.count))
        return fail_key(e, "holds a bool that is neither 0 nor 1", f);
    return true;
}

static bool read_entry(struct cursor *c, size_t index, struct gguf_entry *e, struct failure *f)
{
    uint32_t type;
    if (!take_string(c, &e->key))
        return fail_short(c->size, f, "in the name of key %zu", index);
    if (e->key.bytes == 0 || e->key.bytes > LONGEST_KEY)
        return fail(f, "the name of key %zu has %zu bytes; it may have 1 to %d", index,
                    e->key.bytes, LONGEST_KEY);
    if (!take_u32(c, &type))
        return fail_value(c, e, f);
    e->type = (enum gguf_type)type;
    if (type == GGUF_ARRAY)
        return read_array(c, e, f);
    if (type == GGUF_STRING) {
        struct text value;
        if (!take_string(c, &value))
            return fail_value(c, e, f);
        e->value = (const unsigned char *)value.data;
        e->bytes = value.bytes;
        return true;
    }
    e->bytes = gguf_type_bytes(type);
    if (e->bytes == 0)
        return fail_key(e, "has an unknown type", f);
    if (!take(c, e->bytes, &e->value))
        return fail_value(c, e, f);
    if (type == GGUF_BOOL && !check_bools(e->value, 1))
        return fail_key(e, "is a bool that is neither 0 nor 1", f);
    return true;
}

static bool fail_tensor(const struct gguf_tensor *t, const char *what, struct failure *f)
{
    char quoted[TEXT_QUOTED];
    return fail(f, "tensor %s %s", text_quote(t->name, quoted), what);
}

static bool fail_description(const struct cursor *c, const struct gguf_tensor *t, struct failure *f)
{
    char quoted[TEXT_QUOTED];
    return fail_short(c->size, f, "in the description of tensor %s", text_quote(t->name, quoted));
}

static bool read_dims(struct cursor *c, struct gguf_tensor *t, struct failure *f)
{
    struct file_tensor *x = &t->tensor;
    uint32_t ndim;
    if (!take_u32(c, &ndim))
        return fail_description(c, t, f);
    if (ndim > FILE_TENSOR_DIMS)
        return fail_tensor(t, "has more than 4 dimensions", f);
    x->ndim = (int)ndim;
    x->values = 1;
    for (int i = 0; i < FILE_TENSOR_DIMS; i++) {
        uint64_t size = 1;
        if (i < x->ndim && !take_u64(c, &size))
            return fail_description(c, t, f);
        if (size == 0)
            return fail_tensor(t, "has a dimension of 0", f);
        if (size > INT64_MAX || __builtin_mul_overflow(x->values, (int64_t)size, &x->values))
            return fail_tensor(t, "has dimensions whose product does not fit 63 bits", f);
        x->dims[i] = (int64_t)size;
    }
    x->rows = x->values / x->dims[0];
    return true;
}

/* The size of the data of a readable type; of another type only its name. */
static bool size_tensor(struct gguf_tensor *t, struct failure *f)
{
    struct file_tensor *x = &t->tensor;
    const struct tensor_type_info *info = tensor_type_info(t->type_id);
    const char *name = tensor_type_name(t->type_id);
    if (name)
        strncpy(x->type_name, name, sizeof x->type_name - 1);
    else
        snprintf(x->type_name, sizeof x->type_name, "%lu", (unsigned long)t->type_id);
    x->type = TENSOR_UNSUPPORTED;
    if (!info)
        return true;
    x->type = info->type;
    if (x->dims[0] % info->block_values != 0)
        return fail_tensor(t, "has rows that are no whole number of its type's blocks", f);
    int64_t row_bytes = tensor_row_bytes(info->type, x->dims[0]), bytes;
    if (row_bytes < 0 || __builtin_mul_overflow(row_bytes, x->rows, &bytes) ||
        (uint64_t)bytes > SIZE_MAX)
        return fail_tensor(t, "has more bytes than can be counted", f);
    x->row_bytes = (size_t)row_bytes;
    x->bytes = (size_t)bytes;
    return true;
}

static bool read_tensor(struct cursor *c, size_t index, struct gguf_tensor *t, struct failure *f)
{
    if (!take_string(c, &t->name))
        return fail_short(c->size, f, "in the name of tensor %zu", index);
    if (t->name.bytes == 0 || memchr(t->name.data, '\0', t->name.bytes))
        return fail(f, "the name of tensor %zu is empty or holds a NUL byte", index);
    if (!read_dims(c, t, f))
        return false;
    if (!take_u32(c, &t->type_id) || !take_u64(c, &t->offset))
        return fail_description(c, t, f);
    return size_tensor(t, f);
}

static bool read_entries(struct gguf *g, struct cursor *c, struct failure *f)
{
    g->entries = calloc(g->entry_count + 1, sizeof *g->entries);
    g->by_key = calloc(g->entry_count + 1, sizeof *g->by_key);
    if (!g->entries || !g->by_key)
        return fail(f, "out of memory");
    for (size_t i = 0; i < g->entry_count; i++) {
        if (!read_entry(c, i, &g->entries[i], f))
            return false;
        g->by_key[i] = &g->entries[i];
    }
    return true;
}

static bool read_tensors(struct gguf *g, struct cursor *c, struct failure *f)
{
    g->tensors = calloc(g->tensor_count + 1, sizeof *g->tensors);
    g->by_name = calloc(g->tensor_count + 1, sizeof *g->by_name);
    if (!g->tensors || !g->by_name)
        return fail(f, "out of memory");
    size_t names = 1;
    for (size_t i = 0; i < g->tensor_count; i++) {
        if (!read_tensor(c, i, &g->tensors[i], f))
            return false;
        g->by_name[i] = &g->tensors[i];
        names += g->tensors[i].name.bytes + 1; /* no overflow: the names lie in the file */
    }
    char *next = g->names = malloc(names);
    if (!next)
        return fail(f, "out of memory");
    for (size_t i = 0; i < g->tensor_count; i++) {
        struct text name = g->tensors[i].name;
        memcpy(next, name.data, name.bytes);
        next[name.bytes] = '\0';
        g->tensors[i].tensor.name = next;
        next += name.bytes + 1;
    }
    return true;
}

static int order_by_key(const void *a, const void *b)
{
    const struct gguf_entry *const *x = a, *const *y = b;
    return text_compare((*x)->key, (*y)->key);
}

static int order_by_name(const void *a, const void *b)
{
    const struct gguf_tensor *const *x = a, *const *y = b;
    return text_compare((*x)->name, (*y)->name);
}

static int order_by_offset(const void *a, const void *b)
{
    const struct gguf_tensor *const *x = a, *const *y = b;
    if ((*x)->offset != (*y)->offset)
        return (*x)->offset > (*y)->offset ? 1 : -1;
    return (*x > *y) - (*x < *y); /* the file's order */
}

static bool sort_keys(struct gguf *g, struct failure *f)
{
    char quoted[TEXT_QUOTED];
    qsort(g->by_key, g->entry_count, sizeof *g->by_key, order_by_key);
    for (size_t i = 1; i < g->entry_count; i++)
        if (order_by_key(&g->by_key[i - 1], &g->by_key[i]) == 0)
            return fail(f, "key %s is there twice", text_quote(g->by_key[i]->key, quoted));
    return true;
}

static bool sort_tensors(struct gguf *g, struct failure *f)
{
    qsort(g->by_name, g->tensor_count, sizeof *g->by_name, order_by_name);
    for (size_t i = 1; i < g->tensor_count; i++)
        if (order_by_name(&g->by_name[i - 1], &g->by_name[i]) == 0)
            return fail_tensor(g->by_name[i], "is there twice", f);
    return true;
}

/* Two tensors share bytes if one begins before the other ends. (by_name is borrowed for the order
 * of offsets; it is sorted by name afterwards.) What a tensor of an unsupported type occupies is
 * not known, but at least a byte. */
static bool check_overlaps(struct gguf *g, struct failure *f)
{
    qsort(g->by_name, g->tensor_count, sizeof *g->by_name, order_by_offset);
    for (size_t i = 1; i < g->tensor_count; i++) {
        const struct gguf_tensor *a = g->by_name[i - 1], *b = g->by_name[i];
        size_t occupied = a->tensor.bytes ? a->tensor.bytes : 1;
        if (b->offset - a->offset < occupied) {
            char first[TEXT_QUOTED], second[TEXT_QUOTED];
            return fail(f, "tensors %s and %s overlap", text_quote(a->name, first),
                        text_quote(b->name, second));
        }
    }
    return true;
}

static bool place_tensors(struct gguf *g, size_t header_bytes, struct failure *f)
{
    char quoted[TEXT_QUOTED];
    int64_t alignment;
    if (!gguf_get_integer_or(g, "general.alignment", 1, 1 << 30, DEFAULT_ALIGNMENT, &alignment, f))
        return false;
    if (alignment & (alignment - 1))
        return fail(f, "key 'general.alignment' is %lld; it must be a power of two",
                    (long long)alignment);
    size_t past = header_bytes & ((size_t)alignment - 1);
    size_t gap = past ? (size_t)alignment - past : 0;
    bool room = gap <= g->size - header_bytes;
    const unsigned char *data = room ? g->bytes + header_bytes + gap : NULL;
    size_t data_bytes = room ? g->size - header_bytes - gap : 0;
    for (size_t i = 0; i < g->tensor_count; i++) {
        struct gguf_tensor *t = &g->tensors[i];
        if (t->offset & ((uint64_t)alignment - 1))
            return fail_tensor(t, "has an offset that is no multiple of general.alignment", f);
        bool begins = t->offset < data_bytes;
        if (!begins || t->tensor.bytes > data_bytes - t->offset)
            return fail_short(g->size, f, "%s the values of tensor %s", begins ? "in" : "before",
                              text_quote(t->name, quoted));
        t->tensor.data = data + t->offset;
    }
    return true;
}

static bool read_header(struct gguf *g, struct cursor *c, struct failure *f)
{
    const unsigned char *magic;
    uint64_t tensors, entries;
    if (c->left < 4 || memcmp(c->at, "GGUF", 4) != 0)
        return fail(f, "is not a GGUF file: it does not begin with \"GGUF\"");
    if (!take(c, 4, &magic) || !take_u32(c, &g->version))
        return fail_short(c->size, f, "in the header of %d bytes", HEADER_BYTES);
    if ((g->version & 0xffff) == 0 && g->version != 0)
        return fail(f, "is a big-endian GGUF file; only little-endian ones are read");
    if (g->version != 2 && g->version != 3)
        return fail(f, "is GGUF version %lu; versions 2 and 3 are read", (unsigned long)g->version);
    if (!take_u64(c, &tensors) || !take_u64(c, &entries))
        return fail_short(c->size, f, "in the header of %d bytes", HEADER_BYTES);
    if (entries > c->left / LEAST_KEY_BYTES)
        return fail_short(c->size, f, "and cannot hold the %llu keys that it states",
                          (unsigned long long)entries);
    if (tensors > (c->left - entries * LEAST_KEY_BYTES) / LEAST_TENSOR_BYTES)
        return fail_short(c->size, f, "and cannot hold the %llu tensors that it states",
                          (unsigned long long)tensors);
    g->entry_count = (size_t)entries;
    g->tensor_count = (size_t)tensors;
    return true;
}

static bool read_all(struct gguf *g, struct failure *f)
{
    struct cursor c = {g->bytes, g->size, g->size};
    return read_header(g, &c, f) && read_entries(g, &c, f) && sort_keys(g, f) &&
           read_tensors(g, &c, f) && place_tensors(g, g->size - c.left, f) &&
           check_overlaps(g, f) && sort_tensors(g, f);
}

bool gguf_open_memory(struct gguf **out, const void *bytes, size_t size, struct failure *f)
{
    *out = NULL;
    struct gguf *g = calloc(1, sizeof *g);
    if (!g)
        return fail(f, "out of memory");
    g->bytes = bytes;
    g->size = size;
    if (!read_all(g, f)) {
        gguf_close(g);
        return false;
    }
    *out = g;
    return true;
}

bool gguf_open(struct gguf **out, const char *path, struct failure *f)
{
    struct mapped_file file;
    *out = NULL;
    if (!mapped_file_open(&file, path, f))
        return false;
    if (!gguf_open_memory(out, file.data, file.size, f)) {
        mapped_file_close(&file);
        return failure_prefix(f, "%s", path);
    }
    (*out)->file = file;
    return true;
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    mapped_file_close(&g->file);
    free(g->entries);
    free(g->by_key);
    free(g->tensors);
    free(g->by_name);
    free(g->names);
    free(g);
}
