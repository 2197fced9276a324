/* Small model files in memory, made byte by byte by the tests themselves. */
#ifndef ATTN_TESTS_FILES_BYTES_H
#define ATTN_TESTS_FILES_BYTES_H

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct bytes {
    unsigned char data[1 << 16];
    size_t size;
};

static inline void put(struct bytes *b, const void *data, size_t size)
{
    assert(b->size + size <= sizeof b->data);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static inline void put_u8(struct bytes *b, uint8_t value)
{
    put(b, &value, sizeof value);
}

static inline void put_u32(struct bytes *b, uint32_t value)
{
    put(b, &value, sizeof value);
}

static inline void put_u64(struct bytes *b, uint64_t value)
{
    put(b, &value, sizeof value);
}

static inline void put_string(struct bytes *b, const char *text)
{
    put_u64(b, strlen(text));
    put(b, text, strlen(text));
}

static inline void put_zeros(struct bytes *b, size_t count)
{
    while (count--)
        put_u8(b, 0);
}

/* ---- GGUF ---- */

static inline void put_gguf_header(struct bytes *b, uint32_t version, uint64_t tensors,
                                   uint64_t keys)
{
    b->size = 0;
    put(b, "GGUF", 4);
    put_u32(b, version);
    put_u64(b, tensors);
    put_u64(b, keys);
}

/* A key and its type; the value is put next. */
static inline void put_key(struct bytes *b, const char *key, uint32_t type)
{
    put_string(b, key);
    put_u32(b, type);
}

static inline void put_array(struct bytes *b, const char *key, uint32_t type, uint64_t count)
{
    put_key(b, key, 9);
    put_u32(b, type);
    put_u64(b, count);
}

/* A tensor of two dimensions. */
static inline void put_tensor(struct bytes *b, const char *name, uint64_t inputs, uint64_t outputs,
                              uint32_t type, uint64_t offset)
{
    put_string(b, name);
    put_u32(b, 2);
    put_u64(b, inputs);
    put_u64(b, outputs);
    put_u32(b, type);
    put_u64(b, offset);
}

static inline void put_padding(struct bytes *b, size_t alignment)
{
    put_zeros(b, (alignment - b->size % alignment) % alignment);
}

/* ---- on disk ---- */

/* Write `b` to a new file and put its name in `path` ("/tmp/..."); the caller removes it. */
static inline void write_temporary(const struct bytes *b, char path[64])
{
    snprintf(path, 64, "/tmp/attn-test-XXXXXX");
    int descriptor = mkstemp(path);
    assert(descriptor >= 0);
    ssize_t written = write(descriptor, b->data, b->size);
    assert(written == (ssize_t)b->size);
    close(descriptor);
}

/* Whether the page that holds `p` is mapped: only then can it be synchronised. */
static inline int is_mapped(const void *p)
{
    uintptr_t page = (uintptr_t)p / (uintptr_t)getpagesize() * (uintptr_t)getpagesize();
    return msync((void *)page, 1, MS_ASYNC) == 0;
}

#endif
