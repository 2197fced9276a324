/* A whole file as read-only memory.
 *
 * The pages are the kernel's and come and go as they are read, so a model costs memory only where
 * it is touched. A file that another program shortens while it is mapped ends this process with
 * SIGBUS, as with every program that maps files. */
#ifndef ATTN_TOOLS_MAPPED_FILE_H
#define ATTN_TOOLS_MAPPED_FILE_H

#include "../base/failure.h"

#include <stddef.h>

struct mapped_file {
    const unsigned char *data; /* `size` bytes, at least 1; page-aligned */
    size_t size;
};

/* Map the regular file at `path`. Fails with a sentence when it is missing, unreadable, a directory
 * or another thing that is no regular file, or empty; then `out` is {NULL, 0}. */
bool mapped_file_open(struct mapped_file *out, const char *path, struct failure *f);

/* Unmap; every pointer into `data` becomes invalid. {NULL, 0} is left alone. */
void mapped_file_close(struct mapped_file *file);

#endif
