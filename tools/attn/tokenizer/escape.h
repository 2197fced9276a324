/* Untrusted text made fit for a terminal.
 *
 * Tokens come from the text and from the model's file; either may hold control characters, escape
 * sequences that command the terminal, and characters that reorder what is read. Those are spelled out
 * (\n, \t, \x1b as \u{1b}, U+202E as \u{202e}), and so are backslashes, invisible characters, unassigned
 * ones, broken UTF-8 (\xff) and marks piled more than four high. */
#ifndef ATTN_TOOLS_ESCAPE_H
#define ATTN_TOOLS_ESCAPE_H

#include "../base/text.h"

enum { ESCAPED_BYTES = 2048 }; /* enough for ESCAPED_COLUMNS */
enum { ESCAPED_COLUMNS = 100 };

/* Write `t` into `out`, at most `columns` (1 .. ESCAPED_COLUMNS) terminal columns wide; a text that does
 * not fit ends in "…". NUL-terminated. Returns the columns used. */
int escape_text(char out[ESCAPED_BYTES], struct text t, int columns);

/* The same between double quotes, with \" for those inside; `columns` >= 3 counts them. */
int escape_quoted(char out[ESCAPED_BYTES], struct text t, int columns);

#endif
