/* SHA-256 (FIPS 180-4, by Nettle), by which a report says what text and what model it is about. */
#ifndef ATTN_INSPECT_SHA256_H
#define ATTN_INSPECT_SHA256_H

#include "../base/failure.h"

#include <signal.h>
#include <stddef.h>

enum { SHA256_BYTES = 32, SHA256_TEXT = 2 * SHA256_BYTES + 1 };

/* Of data[size]: lower-case hexadecimal, NUL-terminated. */
void sha256_of(const void *data, size_t size, char text[SHA256_TEXT]);

/* Of a whole file. *stop != 0 ends it with the sentence "interrupted"; stop may be NULL. */
bool sha256_file(const char *path, char text[SHA256_TEXT], const volatile sig_atomic_t *stop,
                 struct failure *f);

#endif
