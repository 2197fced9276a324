/* What the tokenizers ask about a code point. */
#ifndef ATTN_TOOLS_UNICODE_H
#define ATTN_TOOLS_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

/* Unicode's White_Space. */
bool unicode_is_space(uint32_t code);

/* What BERT removes from a text, strips off letters, and isolates: see bert_tables.h. The tables are
 * those of the reference implementation, Unicode 8, whatever the system's library knows. */
bool unicode_is_dropped(uint32_t code);
bool unicode_is_nonspacing_mark(uint32_t code); /* of characters that NFD leaves alone */
bool unicode_is_punctuation(uint32_t code);
bool unicode_is_ideograph(uint32_t code);

/* L* or N*. */
bool unicode_is_letter_or_digit(uint32_t code);

#endif
