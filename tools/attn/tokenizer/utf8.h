/* Strict UTF-8, one character at a time. */
#ifndef ATTN_TOOLS_UTF8_H
#define ATTN_TOOLS_UTF8_H

#include "../base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct utf8_character {
    uint32_t code; /* U+FFFD when not valid */
    uint32_t bytes;
    bool valid;
};

/* The character at the front of data[0 .. bytes), bytes >= 1. Overlong forms, surrogates, code points
 * above U+10FFFF, stray and missing continuation bytes are not valid; `bytes` is then the length of
 * the longest beginning of a valid sequence, at least 1 (Unicode 15, 3.9, "maximal subpart"), so that
 * each broken sequence counts once. */
struct utf8_character utf8_read(const char *data, size_t bytes);

/* Write a code point below U+110000 to out and return how many bytes it took. */
size_t utf8_write(uint32_t code, char out[4]);

/* Whether all of it is valid; otherwise *offset (may be NULL) is that of the first bad sequence. */
bool utf8_valid(struct text text, size_t *offset);

#endif
