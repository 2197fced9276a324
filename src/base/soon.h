/* Asking for memory that will be read soon. */
#ifndef ATTN_BASE_SOON_H
#define ATTN_BASE_SOON_H

#include <stdint.h>

/* `bytes` from address `at` on, into the second-level cache. There need be nothing: asking does no harm. */
static inline void attn_read_soon(uintptr_t at, int64_t bytes)
{
    enum { CACHE_LINE = 64 };
    for (int64_t byte = 0; byte < bytes; byte += CACHE_LINE)
        __builtin_prefetch((const void *)(at + (uintptr_t)byte), 0, 2);
}

#endif
