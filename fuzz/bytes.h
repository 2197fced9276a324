/* Numbers out of a fuzzer's bytes; behind their end all are 0. */
#ifndef ATTN_FUZZ_BYTES_H
#define ATTN_FUZZ_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *data;
    size_t size;
};

static inline uint8_t next_byte(struct bytes *bytes)
{
    if (bytes->size == 0)
        return 0;
    bytes->size--;
    return *bytes->data++;
}

/* Mostly small numbers, as tables have; 255 takes four bytes more. */
static inline int32_t next_number(struct bytes *bytes)
{
    const uint8_t byte = next_byte(bytes);
    if (byte < 255)
        return (int8_t)byte;
    uint32_t bits = 0;
    for (int i = 0; i < 4; i++)
        bits = bits << 8 | next_byte(bytes);
    int32_t number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

#endif
