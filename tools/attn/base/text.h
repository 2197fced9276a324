/* A stretch of bytes inside something larger: a string of a model file, which no NUL byte ends.
 *
 * Nothing here owns memory. What a file calls itself must not reach a terminal as it is, so names
 * and values are quoted before they go into a sentence. */
#ifndef ATTN_TOOLS_TEXT_H
#define ATTN_TOOLS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
    const char *data; /* not NUL-terminated; may be NULL when bytes is 0 */
    size_t bytes;
};

/* Whether `t` holds exactly the bytes of the C string `word`. */
bool text_is(struct text t, const char *word);

/* Byte order: negative, zero or positive, as memcmp; of two where one begins the other, the shorter
 * is less. */
int text_compare(struct text a, struct text b);

enum { TEXT_QUOTED = 80 };

/* Write `t` between single quotes into `out` and return `out`: printable ASCII as it is, anything
 * else as \xNN, and "..." in place of what does not fit. Always NUL-terminated. */
const char *text_quote(struct text t, char out[TEXT_QUOTED]);

#endif
