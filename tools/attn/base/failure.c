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
    if (used >= 0 && (size_t)used < sizeof f->message)
        snprintf(f->message + used, sizeof f->message - (size_t)used, ": %s", rest);
    return false;
}
