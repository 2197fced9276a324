/* How byte-level BPE writes bytes in its vocabulary: each of the 256 as one printable character (GPT-2,
 * 2019), so that a vocabulary file is text. A space is U+0120, a newline U+010A. */
#ifndef ATTN_TOOLS_TOKENIZER_BYTE_ALPHABET_H
#define ATTN_TOOLS_TOKENIZER_BYTE_ALPHABET_H

#include "../base/text.h"

#include <stdint.h>

/* The character of a byte: itself if it is printable Latin-1 and not a space, otherwise the next free one
 * from U+0100 on. */
uint32_t byte_alphabet_character(unsigned char byte);

/* The bytes that `token` is written for, into `out`, which has room for as many as the token has; how
 * many they are. A token with a character that stands for no byte stands for itself. */
size_t byte_alphabet_read(struct text token, char *out);

#endif
