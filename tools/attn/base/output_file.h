/* A file that is either written whole or not at all.
 *
 * Everything goes to a temporary beside the target ("report.json" ->
 * ".report.json.<pid>.<n>.part"); commit flushes it, brings it to the disk and renames it, so that
 * a full disk, an error or Ctrl-C leaves the old file as it was and nothing else behind. "-" is
 * standard output, and a target that exists but is no regular file (a pipe, /dev/null) is written
 * directly: neither can be renamed over.
 *
 *     struct output_file out;
 *     if (!output_file_open(&out, path, f))
 *         return false;
 *     fprintf(out.stream, ...);              // no need to check each write
 *     return output_file_commit(&out, f);    // or output_file_discard(&out) to give up
 */
#ifndef ATTN_TOOLS_OUTPUT_FILE_H
#define ATTN_TOOLS_OUTPUT_FILE_H

#include "failure.h"

#include <stdio.h>

struct output_file {
    FILE *stream; /* buffered; may be used with any of stdio's calls between open and commit */
    void *state;  /* private */
};

/* Begin to write `path`. Fails, leaving nothing behind, when the path is empty, a directory, in a
 * folder that does not exist, or not writable. A symbolic link is followed: the file it names is
 * replaced, not the link. A file that is replaced keeps its permission bits. */
bool output_file_open(struct output_file *out, const char *path, struct failure *f);

/* Finish: every byte has been written, is on the disk and has its name; or the old file is as it
 * was, the temporary is gone, and the sentence says why (the first write that failed counts). `out`
 * is closed either way. */
bool output_file_commit(struct output_file *out, struct failure *f);

/* Give up: the temporary is removed, the old file is as it was. A closed or failed `out` is left
 * alone. */
void output_file_discard(struct output_file *out);

/* For main(), once: SIGINT, SIGTERM, SIGHUP and SIGPIPE (each unless ignored already) remove the
 * temporaries of files being written and then end the process as that signal does by default. */
void output_files_remove_on_signals(void);

#endif
