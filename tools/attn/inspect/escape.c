/* Untrusted text for terminals; see escape.h. */
#include "escape.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

enum { MOST_MARKS = 4, MOST_PIECE = 48 };

static bool is_mark(utf8proc_category_t category)
{
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME ||
           category == UTF8PROC_CATEGORY_MC;
}

static bool is_hidden(utf8proc_category_t category)
{
    return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
           category == UTF8PROC_CATEGORY_CS || category == UTF8PROC_CATEGORY_CO ||
           category == UTF8PROC_CATEGORY_CN || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP;
}

/* The next character of `t` at *at as it will be shown; returns its columns. *marks counts the marks in
 * a row so far, and is 0 at the beginning, where a mark has nothing to stand on. */
static int next_piece(char piece[MOST_PIECE], struct text t, size_t *at, int *marks, bool first)
{
    utf8proc_int32_t c;
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)t.data + *at;
    utf8proc_ssize_t size = utf8proc_iterate(bytes, (utf8proc_ssize_t)(t.bytes - *at), &c);
    if (size < 1) {
        *at += 1;
        *marks = 0;
        return snprintf(piece, MOST_PIECE, "\\x%02x", *bytes);
    }
    *at += (size_t)size;
    utf8proc_category_t category = utf8proc_category(c);
    if (c == '\n' || c == '\t' || c == '\r')
        return snprintf(piece, MOST_PIECE, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
    if (c == '"' || c == '\\')
        return snprintf(piece, MOST_PIECE, "\\%c", (char)c);
    *marks = is_mark(category) ? *marks + 1 : 0;
    if (is_hidden(category) || *marks > MOST_MARKS)
        return snprintf(piece, MOST_PIECE, "\\u{%x}", (unsigned)c);
    bool bare = first && is_mark(category); /* on a dotted circle, not on what stands before */
    snprintf(piece, MOST_PIECE, "%s%.*s", bare ? "\u25cc" : "", (int)size, (const char *)bytes);
    return utf8proc_charwidth(c) + bare;
}

int escape_text(char out[ESCAPED_BYTES], struct text t, int columns)
{
    size_t at = 0, used = 0, fits = 0; /* fits: bytes up to where "…" still has its column */
    int wide = 0, fits_wide = 0, marks = 0;
    out[0] = '\0';
    while (at < t.bytes) {
        char piece[MOST_PIECE];
        int width = next_piece(piece, t, &at, &marks, used == 0);
        size_t bytes = strlen(piece);
        if (wide + width > columns || used + bytes + sizeof "…" > ESCAPED_BYTES) {
            memcpy(out + fits, "…", sizeof "…");
            return fits_wide + 1;
        }
        memcpy(out + used, piece, bytes + 1);
        used += bytes;
        wide += width;
        if (wide <= columns - 1) {
            fits = used;
            fits_wide = wide;
        }
    }
    return wide;
}

int escape_quoted(char out[ESCAPED_BYTES], struct text t, int columns)
{
    char inner[ESCAPED_BYTES];
    int wide = escape_text(inner, t, columns - 2);
    size_t size = strlen(inner);
    if (size > ESCAPED_BYTES - 3) /* cannot be: "…" kept room; but never overrun */
        size = ESCAPED_BYTES - 3;
    out[0] = '"';
    memcpy(out + 1, inner, size);
    out[size + 1] = '"';
    out[size + 2] = '\0';
    return wide + 2;
}
