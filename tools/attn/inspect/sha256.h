/* SHA-256 (FIPS 180-4), by which a report says what text and what model it is about. */
#ifndef ATTN_INSPECT_SHA256_H
#define ATTN_INSPECT_SHA256_H

#include "../base/failure.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_TEXT = 2 * SHA256_BYTES + 1 };

struct sha256 {
    uint32_t state[8];
    uint64_t bytes; /* added so far */
    unsigned char block[64];
};

void sha256_begin(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t size);

/* Lower-case hexadecimal, NUL-terminated. `s` is used up. */
void sha256_end(struct sha256 *s, char text[SHA256_TEXT]);

/* Of a whole file. *stop != 0 ends it with the sentence "interrupted"; stop may be NULL. */
bool sha256_file(const char *path, char text[SHA256_TEXT], const volatile sig_atomic_t *stop,
                 struct failure *f);

#endif
