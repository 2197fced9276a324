/* What the tokenizers ask about a code point: BERT's own tables where ids depend on the answer, and
 * utf8proc's where only a report does. */
#include "unicode.h"

#include "bert_tables.h"

#include <stddef.h>
#include <utf8proc.h>

static bool is_among(const struct code_range *ranges, size_t count, uint32_t code)
{
    size_t low = 0, high = count; /* the first range that does not end before `code` */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges[middle].last < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && ranges[low].first <= code;
}

#define IS_AMONG(ranges, code) is_among(ranges, sizeof(ranges) / sizeof(ranges)[0], code)

bool unicode_is_dropped(uint32_t code)
{
    return IS_AMONG(bert_dropped, code);
}

bool unicode_is_nonspacing_mark(uint32_t code)
{
    return IS_AMONG(bert_stripped, code);
}

bool unicode_is_punctuation(uint32_t code)
{
    return IS_AMONG(bert_isolated, code);
}

bool unicode_is_ideograph(uint32_t code)
{
    return IS_AMONG(bert_ideographs, code);
}

bool unicode_is_space(uint32_t code)
{
    return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool unicode_is_letter_or_digit(uint32_t code)
{
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)code);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) ||
           (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO);
}
