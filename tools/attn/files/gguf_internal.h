/* What a GGUF handle holds; shared by gguf_open.c (reads and checks) and gguf.c (answers). */
#ifndef ATTN_TOOLS_GGUF_INTERNAL_H
#define ATTN_TOOLS_GGUF_INTERNAL_H

#include "gguf.h"
#include "mapped_file.h"

/* One key with its value, which lies in the file. */
struct gguf_entry {
    struct text key;
    enum gguf_type type;
    const unsigned char *value; /* a scalar's bytes, or a string's after its length */
    size_t bytes;
    struct gguf_array array; /* where type is GGUF_ARRAY */
};

struct gguf_tensor {
    struct file_tensor tensor;
    struct text name; /* in the file */
    uint32_t type_id;
    uint64_t offset; /* from the start of the data */
};

struct gguf {
    struct mapped_file file; /* {NULL, 0} where the bytes are the caller's */
    const unsigned char *bytes;
    size_t size;
    uint32_t version;
    size_t entry_count;
    struct gguf_entry *entries;       /* in the file's order */
    const struct gguf_entry **by_key; /* sorted by key */
    size_t tensor_count;
    struct gguf_tensor *tensors;        /* in the file's order */
    const struct gguf_tensor **by_name; /* sorted by name */
    char *names;                        /* NUL-terminated copies of the tensors' names */
};

/* Bytes of one value of a type of fixed size; 0 for strings, arrays and unknown types. */
size_t gguf_type_bytes(uint32_t type);

/* "u32", "string", ...; of an unknown type "unknown". */
const char *gguf_type_name(uint32_t type);

/* Decode a value of one of the integer types; false for another type or a U64 above INT64_MAX. */
bool gguf_decode_integer(enum gguf_type type, const unsigned char *p, int64_t *out);

#endif
