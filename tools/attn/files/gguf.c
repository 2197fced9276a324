/* Answers from an opened GGUF file; everything was checked when it was opened (gguf_open.c). */
#include "gguf_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    const char *article;
    size_t bytes;
} types[] = {
    [GGUF_U8] = {"u8", "a", 1},         [GGUF_I8] = {"i8", "an", 1},
    [GGUF_U16] = {"u16", "a", 2},       [GGUF_I16] = {"i16", "an", 2},
    [GGUF_U32] = {"u32", "a", 4},       [GGUF_I32] = {"i32", "an", 4},
    [GGUF_F32] = {"f32", "an", 4},      [GGUF_BOOL] = {"bool", "a", 1},
    [GGUF_STRING] = {"string", "a", 0}, [GGUF_ARRAY] = {"array", "an", 0},
    [GGUF_U64] = {"u64", "a", 8},       [GGUF_I64] = {"i64", "an", 8},
    [GGUF_F64] = {"f64", "an", 8},
};
enum { TYPES = sizeof types / sizeof types[0] };

size_t gguf_type_bytes(uint32_t type)
{
    return type < TYPES ? types[type].bytes : 0;
}

const char *gguf_type_name(uint32_t type)
{
    return type < TYPES ? types[type].name : "unknown";
}

int gguf_version(const struct gguf *g)
{
    return (int)g->version;
}

size_t gguf_file_bytes(const struct gguf *g)
{
    return g->size;
}

/* ---- values ---- */

bool gguf_decode_integer(enum gguf_type type, const unsigned char *p, int64_t *out)
{
    uint64_t bits = 0;
    size_t bytes = gguf_type_bytes(type);
    memcpy(&bits, p, bytes);
    switch (type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
        break;
    case GGUF_U64:
        if (bits > INT64_MAX)
            return false;
        break;
    case GGUF_I8:
        bits = (uint64_t)(int64_t)(int8_t)bits;
        break;
    case GGUF_I16:
        bits = (uint64_t)(int64_t)(int16_t)bits;
        break;
    case GGUF_I32:
        bits = (uint64_t)(int64_t)(int32_t)bits;
        break;
    case GGUF_I64:
        break;
    default:
        return false;
    }
    *out = (int64_t)bits;
    return true;
}

static bool is_integer(enum gguf_type type)
{
    return type == GGUF_U64 || type == GGUF_I64 || (type <= GGUF_I32);
}

static bool is_number(enum gguf_type type)
{
    return is_integer(type) || type == GGUF_F32 || type == GGUF_F64;
}

/* A number of any type; a U64 keeps its size here. */
static double decode_number(enum gguf_type type, const unsigned char *p)
{
    int64_t integer;
    uint64_t large;
    double wide;
    float narrow;
    if (type == GGUF_F32) {
        memcpy(&narrow, p, sizeof narrow);
        return (double)narrow;
    }
    if (type == GGUF_F64) {
        memcpy(&wide, p, sizeof wide);
        return wide;
    }
    if (gguf_decode_integer(type, p, &integer))
        return (double)integer;
    memcpy(&large, p, sizeof large);
    return (double)large;
}

/* ---- keys ---- */

static int compare_key(const void *key, const void *member)
{
    const struct gguf_entry *const *e = member;
    return text_compare(*(const struct text *)key, (*e)->key);
}

static const struct gguf_entry *find(const struct gguf *g, const char *key)
{
    struct text wanted = {key, strlen(key)};
    const struct gguf_entry **found =
        bsearch(&wanted, g->by_key, g->entry_count, sizeof *g->by_key, compare_key);
    return found ? *found : NULL;
}

static const struct gguf_entry *need(const struct gguf *g, const char *key, struct failure *f)
{
    const struct gguf_entry *e = find(g, key);
    if (!e)
        fail(f, "key '%s' is missing from the model file", key);
    return e;
}

static bool fail_type(const char *key, enum gguf_type type, const char *wanted, struct failure *f)
{
    return fail(f, "key '%s' is %s %s; it must be %s", key, types[type].article, types[type].name,
                wanted);
}

size_t gguf_key_count(const struct gguf *g)
{
    return g->entry_count;
}

struct text gguf_key_at(const struct gguf *g, size_t i, enum gguf_type *type)
{
    if (type)
        *type = g->entries[i].type;
    return g->entries[i].key;
}

bool gguf_has(const struct gguf *g, const char *key, enum gguf_type *type)
{
    const struct gguf_entry *e = find(g, key);
    if (e && type)
        *type = e->type;
    return e != NULL;
}

bool gguf_get_integer(const struct gguf *g, const char *key, int64_t low, int64_t high,
                      int64_t *out, struct failure *f)
{
    const struct gguf_entry *e = need(g, key, f);
    if (!e)
        return false;
    if (!is_integer(e->type))
        return fail_type(key, e->type, "an integer", f);
    int64_t value;
    if (!gguf_decode_integer(e->type, e->value, &value))
        return fail(f, "key '%s' is larger than 63 bits hold; it may be %lld to %lld", key,
                    (long long)low, (long long)high);
    if (value < low || value > high)
        return fail(f, "key '%s' is %lld; it may be %lld to %lld", key, (long long)value,
                    (long long)low, (long long)high);
    *out = value;
    return true;
}

bool gguf_get_number(const struct gguf *g, const char *key, double *out, struct failure *f)
{
    const struct gguf_entry *e = need(g, key, f);
    if (!e)
        return false;
    if (!is_number(e->type))
        return fail_type(key, e->type, "a number", f);
    double value = decode_number(e->type, e->value);
    if (!isfinite(value))
        return fail(f, "key '%s' is %g; it must be finite", key, value);
    *out = value;
    return true;
}

bool gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct failure *f)
{
    const struct gguf_entry *e = need(g, key, f);
    if (!e)
        return false;
    if (e->type != GGUF_BOOL)
        return fail_type(key, e->type, "a bool", f);
    *out = e->value[0] != 0;
    return true;
}

bool gguf_get_string(const struct gguf *g, const char *key, struct text *out, struct failure *f)
{
    const struct gguf_entry *e = need(g, key, f);
    if (!e)
        return false;
    if (e->type != GGUF_STRING)
        return fail_type(key, e->type, "a string", f);
    *out = (struct text){(const char *)e->value, e->bytes};
    return true;
}

bool gguf_get_integer_or(const struct gguf *g, const char *key, int64_t low, int64_t high,
                         int64_t otherwise, int64_t *out, struct failure *f)
{
    if (gguf_has(g, key, NULL))
        return gguf_get_integer(g, key, low, high, out, f);
    *out = otherwise;
    return true;
}

bool gguf_get_number_or(const struct gguf *g, const char *key, double otherwise, double *out,
                        struct failure *f)
{
    if (gguf_has(g, key, NULL))
        return gguf_get_number(g, key, out, f);
    *out = otherwise;
    return true;
}

bool gguf_get_bool_or(const struct gguf *g, const char *key, bool otherwise, bool *out,
                      struct failure *f)
{
    if (gguf_has(g, key, NULL))
        return gguf_get_bool(g, key, out, f);
    *out = otherwise;
    return true;
}

/* ---- arrays ---- */

static bool element_fits(enum gguf_type type, enum gguf_type wanted)
{
    if (wanted == GGUF_F64)
        return is_number(type);
    if (wanted == GGUF_I64)
        return is_integer(type);
    return type == wanted;
}

bool gguf_get_array(const struct gguf *g, const char *key, enum gguf_type wanted,
                    struct gguf_array *out, struct failure *f)
{
    const struct gguf_entry *e = need(g, key, f);
    if (!e)
        return false;
    if (e->type != GGUF_ARRAY)
        return fail_type(key, e->type, "an array", f);
    if (!element_fits(e->array.type, wanted)) {
        const char *what = wanted == GGUF_F64   ? "number"
                           : wanted == GGUF_I64 ? "integer"
                                                : gguf_type_name(wanted);
        return fail(f, "key '%s' is an array of %s values; it must be one of %s values", key,
                    types[e->array.type].name, what);
    }
    *out = e->array;
    return true;
}

bool gguf_next_string(struct gguf_array *rest, struct text *out)
{
    uint64_t bytes;
    if (rest->count == 0 || rest->type != GGUF_STRING)
        return false;
    memcpy(&bytes, rest->data, sizeof bytes); /* checked when the file was opened */
    *out = (struct text){(const char *)rest->data + sizeof bytes, (size_t)bytes};
    rest->data += sizeof bytes + (size_t)bytes;
    rest->bytes -= sizeof bytes + (size_t)bytes;
    rest->count--;
    return true;
}

int64_t gguf_array_integer(const struct gguf_array *a, size_t i)
{
    int64_t value;
    return gguf_decode_integer(a->type, a->data + i * gguf_type_bytes(a->type), &value) ? value
                                                                                        : INT64_MAX;
}

double gguf_array_number(const struct gguf_array *a, size_t i)
{
    const unsigned char *p = a->data + i * gguf_type_bytes(a->type);
    return a->type == GGUF_BOOL ? (double)*p : decode_number(a->type, p);
}

/* ---- tensors ---- */

static int compare_name(const void *key, const void *member)
{
    const struct gguf_tensor *const *t = member;
    return text_compare(*(const struct text *)key, (*t)->name);
}

static const struct gguf_tensor *find_tensor(const struct gguf *g, const char *name)
{
    struct text wanted = {name, strlen(name)};
    const struct gguf_tensor **found =
        bsearch(&wanted, g->by_name, g->tensor_count, sizeof *g->by_name, compare_name);
    return found ? *found : NULL;
}

size_t gguf_tensor_count(const struct gguf *g)
{
    return g->tensor_count;
}

const struct file_tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
    return &g->tensors[i].tensor;
}

bool gguf_has_tensor(const struct gguf *g, const char *name)
{
    return find_tensor(g, name) != NULL;
}

bool gguf_get_tensor(const struct gguf *g, const char *name, const struct file_tensor **out,
                     struct failure *f)
{
    const struct gguf_tensor *t = find_tensor(g, name);
    if (!t)
        return fail(f, "tensor '%s' is missing from the model file", name);
    if (t->tensor.type == TENSOR_UNSUPPORTED)
        return fail(f, "tensor '%s' is of type %s, which cannot be read", name,
                    t->tensor.type_name);
    *out = &t->tensor;
    return true;
}
