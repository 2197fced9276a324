/* What the tokenizers ask about a code point. */
#ifndef ATTN_TOOLS_UNICODE_H
#define ATTN_TOOLS_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

/* Unicode's White_Space. */
bool unicode_is_space(uint32_t code);

/* What BERT drops: Cc except tab, line feed and carriage return; Cf; Co; U+0000 and U+FFFD. */
bool unicode_is_dropped(uint32_t code);

/* What BERT isolates: Unicode P*, and the ASCII symbols $+<=>^`|~. */
bool unicode_is_punctuation(uint32_t code);

/* What BERT isolates as Chinese: the blocks of ideographs, not kana and not Hangul. */
bool unicode_is_ideograph(uint32_t code);

/* Mn: what stripping accents removes. */
bool unicode_is_nonspacing_mark(uint32_t code);

/* L* or N*. */
bool unicode_is_letter_or_digit(uint32_t code);

#endif
