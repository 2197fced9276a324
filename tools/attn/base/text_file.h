/* A text that is read whole: a file, or standard input. */
#ifndef ATTN_TOOLS_TEXT_FILE_H
#define ATTN_TOOLS_TEXT_FILE_H

#include "failure.h"

#include <stddef.h>

/* What to call `path` in a sentence: itself, or "standard input" for "-". */
const char *text_file_name(const char *path);

/* All bytes of `path` ("-" = standard input) into *data, malloc'd. Fails, with *data NULL, when it cannot
 * be opened or read, or has more than `most` bytes. */
bool text_file_read(const char *path, size_t most, char **data, size_t *bytes, struct failure *f);

#endif
