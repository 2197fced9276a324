/* Strict UTF-8: the table of well-formed byte sequences (Unicode 15, table 3-7) as code. The second
 * byte carries all the restrictions: it keeps out overlong forms, surrogates and what lies above
 * U+10FFFF. */
#include "utf8.h"

static bool second_byte_fits(unsigned lead, unsigned byte)
{
    switch (lead) {
    case 0xE0:
        return byte >= 0xA0 && byte <= 0xBF;
    case 0xED:
        return byte >= 0x80 && byte <= 0x9F;
    case 0xF0:
        return byte >= 0x90 && byte <= 0xBF;
    case 0xF4:
        return byte >= 0x80 && byte <= 0x8F;
    default:
        return byte >= 0x80 && byte <= 0xBF;
    }
}

struct utf8_character utf8_read(const char *data, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    unsigned lead = p[0];
    if (lead < 0x80)
        return (struct utf8_character){lead, 1, true};
    uint32_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                      : lead >= 0xE0 && lead <= 0xEF ? 3
                      : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                     : 0;
    if (length == 0)
        return (struct utf8_character){0xFFFD, 1, false};
    uint32_t code = lead & (0x7Fu >> length);
    for (uint32_t i = 1; i < length; i++) {
        bool fits =
            i < bytes && (i == 1 ? second_byte_fits(lead, p[1]) : p[i] >= 0x80 && p[i] <= 0xBF);
        if (!fits)
            return (struct utf8_character){0xFFFD, i, false};
        code = code << 6 | (p[i] & 0x3Fu);
    }
    return (struct utf8_character){code, length, true};
}

size_t utf8_write(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3F));
    unsigned lead = length == 2 ? 0xC0 : length == 3 ? 0xE0 : 0xF0;
    out[0] = (char)(lead | code);
    return length;
}

bool utf8_valid(struct text text, size_t *offset)
{
    for (size_t i = 0; i < text.bytes;) {
        struct utf8_character c = utf8_read(text.data + i, text.bytes - i);
        if (!c.valid) {
            if (offset != NULL)
                *offset = i;
            return false;
        }
        i += c.bytes;
    }
    return true;
}
