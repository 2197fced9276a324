/* The sentence about what went wrong; see failure.h. */
#include "failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool(fail)(struct failure *f, const char *format, ...)
{
    if (!f)
        return false;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(f->message, sizeof f->message, format, arguments);
    va_end(arguments);
    return false;
}

bool failure_prefix(struct failure *f, const char *format, ...)
{
    if (!f)
        return false;
    char rest[sizeof f->message];
    memcpy(rest, f->message, sizeof rest);
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(f->message, sizeof f->message, format, arguments);
    va_end(arguments);
    if (used < 0)
        return false;
    size_t at = (size_t)used < sizeof rest ? (size_t)used : sizeof rest - 1;
    const char *parts[] = {": ", rest};
    for (size_t i = 0; i < 2; i++) {
        size_t bytes = strnlen(parts[i], sizeof rest - 1 - at); /* what does not fit is cut */
        memcpy(f->message + at, parts[i], bytes);
        at += bytes;
    }
    f->message[at] = '\0';
    return false;
}
