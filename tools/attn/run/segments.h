/* Parts of a text by name, so that it can be told how much attention went to each: the stretches of the prompt
 * that a file names, what the prompt holds beside them, and what is there without it.
 *
 * The file has a line for each part, `BEGIN END NAME`: bytes of the prompt, BEGIN counted and END not; END `-`
 * is the prompt's end. Empty lines and lines that begin with # are skipped. */
#ifndef ATTN_RUN_SEGMENTS_H
#define ATTN_RUN_SEGMENTS_H

#include "../base/failure.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SEGMENT_START,  /* "start": what the model's texts begin with, in front of the prompt */
    SEGMENT_LOADED, /* "loaded": tokens of a cache that was loaded */
    SEGMENT_PROMPT, /* "prompt": of the prompt what no line of the file names */
    SEGMENT_OWN,    /* "own text": what was written */
    SEGMENTS_KNOWN,
    SEGMENTS_MOST = 32,
};

struct segments {
    struct segment {
        const char *name;
        size_t begin, end; /* bytes of the prompt; empty for the first SEGMENTS_KNOWN */
    } part[SEGMENTS_MOST];
    int count;
    char *data; /* what names point into */
};

/* Read a file. Fails, naming the line, when one is not as above, names what is there already, or shares bytes with
 * another; when there are too many. */
bool segments_read(struct segments *segments, const char *path, struct failure *f);
void segments_free(struct segments *segments);

/* Fails when a part ends behind a prompt of `bytes`. */
bool segments_fit(const struct segments *segments, const char *path, size_t bytes,
                  struct failure *f);

/* The part that byte `at` of the prompt is in. */
uint8_t segment_of(const struct segments *segments, size_t at);

#endif
