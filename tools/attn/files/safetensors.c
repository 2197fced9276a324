/* safetensors: a u64 length, that many bytes of JSON, then the data; see safetensors.h.
 *
 * The header is one object: name -> {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]},
 * offsets counting from the end of the header, and a "__metadata__" of strings that is skipped. Its
 * length is compared with the file and with a limit, and its nesting is counted, before the parser
 * of JSON sees it. */
#include "safetensors.h"

#include "../base/text.h"
#include "mapped_file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum {
    LENGTH_BYTES = 8,
    LARGEST_HEADER =
        32 << 20, /* 100,000 tensors need less; what is parsed takes several times this */
    DEEPEST = 8,  /* a header nests three deep */
};

struct safetensors {
    struct mapped_file file;    /* {NULL, 0} where the bytes are the caller's */
    json_t *header;             /* owns the names */
    const unsigned char *start; /* of the file */
    const unsigned char *data;
    size_t data_bytes;
    size_t count;
    struct file_tensor *tensors; /* sorted by name */
};

static const struct dtype {
    const char *name;
    int bytes;
    enum tensor_type type;
} dtypes[] = {
    {"F32", 4, TENSOR_F32},          {"F16", 2, TENSOR_F16},         {"BF16", 2, TENSOR_BF16},
    {"BOOL", 1, TENSOR_UNSUPPORTED}, {"U8", 1, TENSOR_UNSUPPORTED},  {"I8", 1, TENSOR_UNSUPPORTED},
    {"U16", 2, TENSOR_UNSUPPORTED},  {"I16", 2, TENSOR_UNSUPPORTED}, {"U32", 4, TENSOR_UNSUPPORTED},
    {"I32", 4, TENSOR_UNSUPPORTED},  {"U64", 8, TENSOR_UNSUPPORTED}, {"I64", 8, TENSOR_UNSUPPORTED},
    {"F64", 8, TENSOR_UNSUPPORTED},
};

static const struct dtype *find_dtype(const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return &dtypes[i];
    return NULL;
}

static bool fail_tensor(const char *name, const char *what, struct failure *f)
{
    char quoted[TEXT_QUOTED];
    return fail(f, "tensor %s %s", text_quote((struct text){name, strlen(name)}, quoted), what);
}

/* Brackets outside strings; good for any bytes, whether or not they are JSON. */
static bool nests_too_deep(const char *json, size_t bytes)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < bytes; i++) {
        char c = json[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > DEEPEST)
                return true;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return false;
}

static bool parse_header(struct safetensors *s, const unsigned char *bytes, size_t size,
                         struct failure *f)
{
    uint64_t length;
    if (size < LENGTH_BYTES)
        return fail(f, "is no safetensors file: it is shorter than %d bytes", LENGTH_BYTES);
    memcpy(&length, bytes, sizeof length);
    if (length > size - LENGTH_BYTES)
        return fail(f,
                    "is cut short or no safetensors file: its header of %llu bytes goes past "
                    "its end",
                    (unsigned long long)length);
    if (length > LARGEST_HEADER)
        return fail(f, "has a header of %llu bytes; it may have up to %d",
                    (unsigned long long)length, LARGEST_HEADER);
    const char *json = (const char *)bytes + LENGTH_BYTES;
    if (nests_too_deep(json, (size_t)length))
        return fail(f, "has a header that nests more than %d deep", DEEPEST);
    json_error_t error;
    s->header = json_loadb(json, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (!s->header && json_error_code(&error) == json_error_duplicate_key)
        return fail(f, "has a header that holds a name twice");
    if (!s->header)
        return fail(f, "has a header that is no valid JSON, at byte %d of it", error.position);
    if (!json_is_object(s->header))
        return fail(f, "has a header that is no JSON object");
    s->start = bytes;
    s->data = bytes + LENGTH_BYTES + length;
    s->data_bytes = size - LENGTH_BYTES - (size_t)length;
    return true;
}

/* What the file calls the type, fit to print. */
static void copy_type_name(struct file_tensor *t, const char *name)
{
    for (size_t i = 0; name[i] && i + 1 < sizeof t->type_name; i++)
        t->type_name[i] = name[i] > ' ' && name[i] < 0x7f ? name[i] : '?';
}

/* The file's shape has the contiguous dimension last; ours has it first. */
static bool read_shape(struct file_tensor *t, const json_t *shape, struct failure *f)
{
    if (!json_is_array(shape))
        return fail_tensor(t->name, "has no \"shape\" that is an array", f);
    if (json_array_size(shape) > FILE_TENSOR_DIMS)
        return fail_tensor(t->name, "has more than 4 dimensions", f);
    t->ndim = (int)json_array_size(shape);
    t->values = 1;
    for (int i = 0; i < FILE_TENSOR_DIMS; i++) {
        t->dims[i] = 1;
        if (i >= t->ndim)
            continue;
        const json_t *size = json_array_get(shape, (size_t)(t->ndim - 1 - i));
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return fail_tensor(t->name, "has a dimension that is no whole number from 0", f);
        t->dims[i] = json_integer_value(size);
        if (__builtin_mul_overflow(t->values, t->dims[i], &t->values))
            return fail_tensor(t->name, "has dimensions whose product does not fit 63 bits", f);
    }
    t->rows = t->dims[0] ? t->values / t->dims[0] : 0;
    return true;
}

static bool read_offsets(const struct safetensors *s, struct file_tensor *t, const json_t *offsets,
                         struct failure *f)
{
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return fail_tensor(t->name, "has no \"data_offsets\" of two whole numbers", f);
    json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || end < begin || (uint64_t)end > s->data_bytes)
        return fail_tensor(t->name,
                           "has data_offsets that are reversed or past the end of the file", f);
    t->data = s->data + begin;
    t->bytes = (size_t)(end - begin);
    return true;
}

static bool read_tensor(const struct safetensors *s, struct file_tensor *t, const json_t *value,
                        struct failure *f)
{
    if (!json_is_object(value))
        return fail_tensor(t->name, "is described by something that is no object", f);
    const char *name = json_string_value(json_object_get(value, "dtype"));
    if (!name)
        return fail_tensor(t->name, "has no \"dtype\" that is a string", f);
    if (!read_shape(t, json_object_get(value, "shape"), f) ||
        !read_offsets(s, t, json_object_get(value, "data_offsets"), f))
        return false;
    const struct dtype *dtype = find_dtype(name);
    t->type = TENSOR_UNSUPPORTED;
    copy_type_name(t, name);
    if (!dtype)
        return true; /* its size is not known; it is refused when asked for */
    int64_t bytes;
    if (__builtin_mul_overflow(t->values, (int64_t)dtype->bytes, &bytes) ||
        (uint64_t)bytes != t->bytes)
        return fail_tensor(t->name, "has a number of bytes that is not what its shape needs", f);
    t->type = dtype->type;
    if (dtype->type != TENSOR_UNSUPPORTED)
        t->row_bytes = t->rows ? t->bytes / (size_t)t->rows : 0;
    return true;
}

static int order_by_name(const void *a, const void *b)
{
    return strcmp(((const struct file_tensor *)a)->name, ((const struct file_tensor *)b)->name);
}

static int order_by_place(const void *a, const void *b)
{
    const struct file_tensor *const *x = a, *const *y = b;
    const unsigned char *p = (*x)->data, *q = (*y)->data;
    return (p > q) - (p < q);
}

static bool check_overlaps(const struct safetensors *s, struct failure *f)
{
    const struct file_tensor **order = calloc(s->count + 1, sizeof *order);
    size_t filled = 0;
    if (!order)
        return fail(f, "out of memory");
    for (size_t i = 0; i < s->count; i++)
        if (s->tensors[i].bytes)
            order[filled++] = &s->tensors[i];
    qsort(order, filled, sizeof *order, order_by_place);
    bool good = true;
    for (size_t i = 1; i < filled && good; i++)
        if ((const unsigned char *)order[i - 1]->data + order[i - 1]->bytes >
            (const unsigned char *)order[i]->data)
            good = fail_tensor(order[i]->name, "shares bytes with another tensor", f);
    free(order);
    return good;
}

static bool read_all(struct safetensors *s, const unsigned char *bytes, size_t size,
                     struct failure *f)
{
    if (!parse_header(s, bytes, size, f))
        return false;
    s->tensors = calloc(json_object_size(s->header) + 1, sizeof *s->tensors);
    if (!s->tensors)
        return fail(f, "out of memory");
    const char *name;
    json_t *value;
    json_object_foreach(s->header, name, value)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        struct file_tensor *t = &s->tensors[s->count++];
        t->name = name;
        if (!read_tensor(s, t, value, f))
            return false;
    }
    qsort(s->tensors, s->count, sizeof *s->tensors, order_by_name);
    return check_overlaps(s, f);
}

bool safetensors_open_memory(struct safetensors **out, const void *bytes, size_t size,
                             struct failure *f)
{
    *out = NULL;
    struct safetensors *s = calloc(1, sizeof *s);
    if (!s)
        return fail(f, "out of memory");
    if (!read_all(s, bytes, size, f)) {
        safetensors_close(s);
        return false;
    }
    *out = s;
    return true;
}

bool safetensors_open(struct safetensors **out, const char *path, struct failure *f)
{
    struct mapped_file file;
    *out = NULL;
    if (!mapped_file_open(&file, path, f))
        return false;
    if (!safetensors_open_memory(out, file.data, file.size, f)) {
        mapped_file_close(&file);
        return failure_prefix(f, "%s", path);
    }
    (*out)->file = file;
    return true;
}

void safetensors_close(struct safetensors *s)
{
    if (!s)
        return;
    json_decref(s->header);
    free(s->tensors);
    mapped_file_close(&s->file);
    free(s);
}

/* ---- look-ups ---- */

static const struct file_tensor *find(const struct safetensors *s, const char *name)
{
    struct file_tensor wanted = {.name = name};
    return bsearch(&wanted, s->tensors, s->count, sizeof *s->tensors, order_by_name);
}

size_t safetensors_bytes(const struct safetensors *s)
{
    return (size_t)(s->data - s->start) + s->data_bytes;
}

size_t safetensors_tensor_count(const struct safetensors *s)
{
    return s->count;
}

const struct file_tensor *safetensors_tensor_at(const struct safetensors *s, size_t i)
{
    return &s->tensors[i];
}

bool safetensors_has_tensor(const struct safetensors *s, const char *name)
{
    return find(s, name) != NULL;
}

bool safetensors_get_tensor(const struct safetensors *s, const char *name,
                            const struct file_tensor **out, struct failure *f)
{
    const struct file_tensor *t = find(s, name);
    if (!t)
        return fail(f, "tensor '%s' is missing from the model file", name);
    if (t->type == TENSOR_UNSUPPORTED)
        return fail(f, "tensor '%s' is of type %s; F32, F16 and BF16 can be read", name,
                    t->type_name);
    *out = t;
    return true;
}
