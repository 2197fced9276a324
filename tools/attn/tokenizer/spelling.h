/* A stretch of text as byte-level BPE reads it, when that is not the text itself: characters composed (NFC),
 * or broken UTF-8 replaced. Remembers where in the text each byte came from. */
#ifndef ATTN_TOOLS_TOKENIZER_SPELLING_H
#define ATTN_TOOLS_TOKENIZER_SPELLING_H

#include <stdbool.h>
#include <stddef.h>

struct spelling {
    char *data;
    size_t count, capacity;
    /* [count + 1]: where in the text a token that begins or ends at a byte does. Never goes back. Of
     * characters that became others, the first byte has their beginning and all others their end. */
    size_t *source;
    size_t source_capacity;
};

/* Spell text[begin .. end), composed or as it is, each broken sequence as U+FFFD. False when memory runs out;
 * the spelling is to be freed either way. O(n log n). */
bool spelling_make(struct spelling *s, const char *text, size_t begin, size_t end, bool compose);
void spelling_free(struct spelling *s);

/* Whether text[begin .. end) is valid UTF-8 and surely the same when composed. */
bool spelling_is_plain(const char *text, size_t begin, size_t end, bool compose);

#endif
