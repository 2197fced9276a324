/* GGUF model files, versions 2 and 3, read where they lie.
 *
 * Opening walks the header once, checks everything in it against the size of the file, and builds
 * two sorted lists (keys, tensors); a look-up is a binary search. Strings, arrays and tensor data
 * stay in the mapped file. Nothing is allocated from a number of the file before the file has been
 * shown to be large enough to mean it. After a successful open every text, array and tensor handed
 * out lies wholly inside the file.
 *
 * A look-up that fails gives a sentence which names the key, what it was and what it may be.
 * Handles are read-only and may be used from several threads. */
#ifndef ATTN_TOOLS_GGUF_H
#define ATTN_TOOLS_GGUF_H

#include "../base/failure.h"
#include "../base/text.h"
#include "file_tensor.h"

#include <stddef.h>
#include <stdint.h>

enum gguf_type {
    GGUF_U8 = 0,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
};

struct gguf;

/* Open the file at `path`. On failure *out is NULL and the sentence begins with the path. */
bool gguf_open(struct gguf **out, const char *path, struct failure *f);

/* The same for bytes in memory, which stay the caller's and must outlive the handle. */
bool gguf_open_memory(struct gguf **out, const void *bytes, size_t size, struct failure *f);

/* Close; every text, array and tensor of this handle becomes invalid. NULL is left alone. */
void gguf_close(struct gguf *g);

/* 2 or 3; and the whole file's size in bytes. */
int gguf_version(const struct gguf *g);
size_t gguf_file_bytes(const struct gguf *g);

/* ---- metadata ---- */

/* Keys in the file's order: how many, and the i-th with the type of its value. */
size_t gguf_key_count(const struct gguf *g);
struct text gguf_key_at(const struct gguf *g, size_t i, enum gguf_type *type);

/* Whether there is such a key; *type (may be NULL) becomes the type of its value. */
bool gguf_has(const struct gguf *g, const char *key, enum gguf_type *type);

/* An integer of any width, low <= value <= high. A bool, a float or a string is refused, not
 * converted. */
bool gguf_get_integer(const struct gguf *g, const char *key, int64_t low, int64_t high,
                      int64_t *out, struct failure *f);

/* An F32 or F64, or an integer of any width, that is finite. */
bool gguf_get_number(const struct gguf *g, const char *key, double *out, struct failure *f);

bool gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct failure *f);
bool gguf_get_string(const struct gguf *g, const char *key, struct text *out, struct failure *f);

/* The same where the key may be absent: then *out becomes `otherwise`. A value of a wrong type is
 * still refused. */
bool gguf_get_integer_or(const struct gguf *g, const char *key, int64_t low, int64_t high,
                         int64_t otherwise, int64_t *out, struct failure *f);
bool gguf_get_number_or(const struct gguf *g, const char *key, double otherwise, double *out,
                        struct failure *f);
bool gguf_get_bool_or(const struct gguf *g, const char *key, bool otherwise, bool *out,
                      struct failure *f);

/* An array where it lies in the file. Read strings with gguf_next_string, numbers with
 * gguf_array_*. */
struct gguf_array {
    enum gguf_type type; /* of the elements; never GGUF_ARRAY */
    size_t count;
    const unsigned char *data; /* unaligned */
    size_t bytes;              /* checked: holds `count` elements exactly */
};

/* `wanted` is GGUF_STRING, GGUF_BOOL, GGUF_F64 for any array of numbers, GGUF_I64 for any array of
 * integers, or another type for exactly that type. */
bool gguf_get_array(const struct gguf *g, const char *key, enum gguf_type wanted,
                    struct gguf_array *out, struct failure *f);

/* Strings in order: each call takes one off the front of `rest`, false at the end.
 *
 *     struct gguf_array rest = tokens;
 *     for (struct text t; gguf_next_string(&rest, &t);) ...
 */
bool gguf_next_string(struct gguf_array *rest, struct text *out);

/* Element i < count of an array of integers (U64 above INT64_MAX becomes INT64_MAX) or of numbers
 * or bools. */
int64_t gguf_array_integer(const struct gguf_array *a, size_t i);
double gguf_array_number(const struct gguf_array *a, size_t i);

/* ---- tensors ---- */

/* Tensors in the file's order. Those of an unsupported type are listed too. */
size_t gguf_tensor_count(const struct gguf *g);
const struct file_tensor *gguf_tensor_at(const struct gguf *g, size_t i);

/* Whether there is such a tensor, of whatever type. */
bool gguf_has_tensor(const struct gguf *g, const char *name);

/* The tensor of that name; fails if there is none or its type cannot be read, naming the type. */
bool gguf_get_tensor(const struct gguf *g, const char *name, const struct file_tensor **out,
                     struct failure *f);

#endif
