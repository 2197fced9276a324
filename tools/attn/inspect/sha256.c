/* Digests; see sha256.h. */
#include "sha256.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void finish(struct sha256_ctx *context, char text[SHA256_TEXT])
{
    uint8_t digest[SHA256_BYTES];
    sha256_digest(context, sizeof digest, digest);
    for (int i = 0; i < SHA256_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

void sha256_of(const void *data, size_t size, char text[SHA256_TEXT])
{
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, size, data);
    finish(&context, text);
}

bool sha256_file(const char *path, char text[SHA256_TEXT], const volatile sig_atomic_t *stop,
                 struct failure *f)
{
    enum { PIECE = 1 << 18 };
    FILE *file = fopen(path, "rb");
    if (!file)
        return fail(f, "%s: cannot be opened: %s", path, strerror(errno));
    unsigned char *piece = malloc(PIECE);
    bool ok = piece != NULL || fail(f, "%s: out of memory", path);
    struct sha256_ctx context;
    sha256_init(&context);
    size_t got = 0;
    while (ok && (got = fread(piece, 1, PIECE, file)) > 0) {
        sha256_update(&context, got, piece);
        if (stop && *stop)
            ok = fail(f, "interrupted");
    }
    if (ok && ferror(file))
        ok = fail(f, "%s: cannot be read: %s", path, strerror(errno));
    free(piece);
    fclose(file);
    if (ok)
        finish(&context, text);
    return ok;
}
