/* Stretches of bytes: comparing them, and making them fit to print; see text.h. */
#include "text.h"

#include <string.h>

int text_compare(struct text a, struct text b)
{
    size_t shorter = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;
    if (order)
        return order;
    return (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

bool text_is(struct text t, const char *word)
{
    return text_compare(t, (struct text){word, strlen(word)}) == 0;
}

const char *text_quote(struct text t, char out[TEXT_QUOTED])
{
    static const char digits[] = "0123456789abcdef";
    enum { CLOSING = sizeof "...'" }; /* what must still fit after any byte */
    size_t used = 0;
    out[used++] = '\'';
    for (size_t i = 0; i < t.bytes; i++) {
        unsigned char c = (unsigned char)t.data[i];
        bool plain = c >= 0x20 && c < 0x7f && c != '\'' && c != '\\';
        if (used + (plain ? 1 : 4) + CLOSING > TEXT_QUOTED) {
            memcpy(out + used, "...", 3);
            used += 3;
            break;
        }
        if (plain) {
            out[used++] = (char)c;
        } else {
            out[used++] = '\\';
            out[used++] = 'x';
            out[used++] = digits[c >> 4];
            out[used++] = digits[c & 15];
        }
    }
    out[used++] = '\'';
    out[used] = '\0';
    return out;
}
