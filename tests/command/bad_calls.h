/* Between the halves of bad_calls. */
#ifndef TESTS_COMMAND_BAD_CALLS_H
#define TESTS_COMMAND_BAD_CALLS_H

#include <attn/attn.h>

/* One line; `got` with its sentence must be the status that is expected. */
void tell(const char *what, attn_status expected, attn_status got, const attn_error *error);

/* A cache, its file, and page tables of the caller's own (bad_calls_cache.c). */
void calls_of_caches(void);

#endif
