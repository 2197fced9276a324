/* Memory that notices: output arrays with guard bands on both sides, every element filled with a pattern
 * that no computation produces, so that a write where none belongs is seen afterwards. */
#ifndef TESTS_ATTENTION_GUARDED_H
#define TESTS_ATTENTION_GUARDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Elements of four bytes (float, int32_t) or two (bf16, f16) between two guard bands. */
struct guarded {
    const char *name;
    void *block; /* guard, data, guard */
    uint32_t *data;
    size_t count;
    size_t width;   /* bytes of an element */
    bool *writable; /* [count] which elements the call may write; NULL = all */
    bool ignored;   /* given to the call, but nothing may be written */
};

/* Room for `count` elements of four bytes, all holding the pattern; of `width` bytes. */
struct guarded guarded_create(const char *name, size_t count);
struct guarded guarded_create_of(const char *name, size_t count, size_t width);
void guarded_destroy(struct guarded *array);

/* The pattern everywhere again. */
void guarded_reset(struct guarded *array);

/* NULL, or what was written where nothing may be: static text. */
const char *guarded_fault(const struct guarded *array, size_t *index);

/* Whether not one element differs from the pattern. */
bool guarded_untouched(const struct guarded *array);

/* malloc and calloc that end the test when there is no memory; never NULL, even for nothing. */
void *need(size_t count, size_t size);

#endif
