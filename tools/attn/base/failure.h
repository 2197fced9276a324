/* One sentence about what went wrong.
 *
 * Every function of the command that can fail returns bool and takes a `struct failure *`. The
 * sentence names the thing, what it was, and what it may be; whoever called decides whether to
 * print it. The first sentence wins: a caller may add where it happened with failure_prefix, but
 * never overwrites it. */
#ifndef ATTN_TOOLS_FAILURE_H
#define ATTN_TOOLS_FAILURE_H

#include <stdbool.h>

struct failure {
    char message[512]; /* one line of UTF-8 without a newline; cut, never overrun */
};

/* Write the sentence and return false, so that `return fail(f, ...)` reads well. `f` may be NULL.
 * (In parentheses because cmocka.h has a macro fail() without arguments.) */
bool(fail)(struct failure *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Put "<prefix>: " in front of the sentence that is there, and return false. `f` may be NULL. */
bool failure_prefix(struct failure *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
