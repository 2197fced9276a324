/* How the library says what went wrong: a status, and one sentence in the caller's attn_error.
 *
 *     if (heads < 0)
 *         return attn_fail(error, ATTN_ERR_SHAPE, "problem.heads is %" PRId64 "; it may be 0 or more",
 *                          heads);
 *     ...
 *     return attn_succeed(error);
 *
 * `error` may be NULL everywhere. A sentence longer than the field is cut at a whole UTF-8 character. */
#ifndef ATTN_BASE_ERROR_H
#define ATTN_BASE_ERROR_H

#include <attn/attn.h>

/* Write status and sentence into *error; return `status`. A format that cannot be printed leaves the
 * description of the status as the sentence. */
attn_status attn_fail(attn_error *error, attn_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Clear *error; return ATTN_OK. */
attn_status attn_succeed(attn_error *error);

/* What a status means, in a few words; "unknown status" for a number that is none. Static storage. */
const char *attn_status_description(attn_status status);

#endif
