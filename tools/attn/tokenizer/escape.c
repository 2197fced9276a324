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

/* Where escaping is: the next byte, how many marks came in a row before it. */
struct place {
    size_t at;
    int marks;
    bool quoted; /* a double quote must be told from the closing one */
};

/* The next character of `t` as it will be shown; returns its columns. A mark at the beginning has nothing
 * to stand on. */
static int next_piece(char piece[MOST_PIECE], struct text t, struct place *p)
{
    utf8proc_int32_t c;
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)t.data + p->at;
    utf8proc_ssize_t size = utf8proc_iterate(bytes, (utf8proc_ssize_t)(t.bytes - p->at), &c);
    bool first = p->at == 0;
    if (size < 1) {
        p->at += 1;
        p->marks = 0;
        return snprintf(piece, MOST_PIECE, "\\x%02x", *bytes);
    }
    p->at += (size_t)size;
    utf8proc_category_t category = utf8proc_category(c);
    if (c == '\n' || c == '\t' || c == '\r')
        return snprintf(piece, MOST_PIECE, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
    if ((c == '"' && p->quoted) || c == '\\')
        return snprintf(piece, MOST_PIECE, "\\%c", (char)c);
    p->marks = is_mark(category) ? p->marks + 1 : 0;
    if (is_hidden(category) || p->marks > MOST_MARKS)
        return snprintf(piece, MOST_PIECE, "\\u{%x}", (unsigned)c);
    bool bare = first && is_mark(category); /* on a dotted circle, not on what stands before */
    snprintf(piece, MOST_PIECE, "%s%.*s", bare ? "\u25cc" : "", (int)size, (const char *)bytes);
    return utf8proc_charwidth(c) + bare;
}

static int escape(char out[ESCAPED_BYTES], struct text t, int columns, bool quoted)
{
    struct place p = {.quoted = quoted};
    size_t used = 0, fits = 0; /* fits: bytes up to where "…" still has its column */
    int wide = 0, fits_wide = 0;
    out[0] = '\0';
    while (p.at < t.bytes) {
        char piece[MOST_PIECE];
        int width = next_piece(piece, t, &p);
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

int escape_text(char out[ESCAPED_BYTES], struct text t, int columns)
{
    return escape(out, t, columns, false);
}

int escape_quoted(char out[ESCAPED_BYTES], struct text t, int columns)
{
    char inner[ESCAPED_BYTES];
    int wide = escape(inner, t, columns - 2, true);
    size_t size = strlen(inner);
    if (size > ESCAPED_BYTES - 3) /* cannot be: "…" kept room; but never overrun */
        size = ESCAPED_BYTES - 3;
    out[0] = '"';
    memcpy(out + 1, inner, size);
    out[size + 1] = '"';
    out[size + 2] = '\0';
    return wide + 2;
}
