/* The alphabet of byte-level BPE. */
#include "byte_alphabet.h"

#include "utf8.h"

#include <string.h>

static bool stands_for_itself(uint32_t code)
{
    return (code >= 0x21 && code <= 0x7E) || (code >= 0xA1 && code <= 0xFF && code != 0xAD);
}

uint32_t byte_alphabet_character(unsigned char byte)
{
    if (stands_for_itself(byte))
        return byte;
    uint32_t code = 0x100;
    for (uint32_t i = 0; i < byte; i++)
        code += !stands_for_itself(i);
    return code;
}

/* -1: it stands for none. */
static int byte_of(uint32_t code)
{
    if (code < 0x100)
        return stands_for_itself(code) ? (int)code : -1;
    if (code < 0x100 + 0x21) /* U+0000 .. U+0020 */
        return (int)code - 0x100;
    if (code < 0x100 + 0x21 + 0x22) /* U+007F .. U+00A0 */
        return (int)code - 0x100 - 0x21 + 0x7F;
    return code == 0x100 + 0x21 + 0x22 ? 0xAD : -1;
}

size_t byte_alphabet_read(struct text token, char *out)
{
    size_t n = 0;
    for (size_t at = 0; at < token.bytes;) {
        struct utf8_character c = utf8_read(token.data + at, token.bytes - at);
        int byte = c.valid ? byte_of(c.code) : -1;
        if (byte < 0) {
            memcpy(out, token.data, token.bytes);
            return token.bytes;
        }
        out[n++] = (char)byte;
        at += c.bytes;
    }
    return n;
}
