/* The sentence about a failure, and the names of the statuses (from status.def, so that they cannot drift). */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

struct status_entry {
    attn_status status;
    const char *name;
    const char *description;
};

static const struct status_entry entries[] = {
#define ATTN_STATUS(name, description) {name, #name, description},
#include "base/status.def"
#undef ATTN_STATUS
};

enum { ENTRY_COUNT = sizeof entries / sizeof entries[0] };

static const struct status_entry *find(attn_status status)
{
    for (int i = 0; i < ENTRY_COUNT; i++)
        if (entries[i].status == status)
            return &entries[i];
    return NULL;
}

const char *attn_status_name(attn_status status)
{
    const struct status_entry *entry = find(status);
    return entry ? entry->name : "unknown status";
}

const char *attn_status_description(attn_status status)
{
    const struct status_entry *entry = find(status);
    return entry ? entry->description : "unknown status";
}

/* End the text before a UTF-8 character that the end of the field has cut in two. */
static void end_at_character(char *text, size_t length)
{
    size_t start = length;
    while (start > 0 && length - start < 4 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t expected = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (expected > 1 && length - (start - 1) < expected)
        text[start - 1] = '\0';
}

attn_status attn_fail(attn_error *error, attn_status status, const char *format, ...)
{
    if (!error)
        return status;
    va_list arguments;
    va_start(arguments, format);
    error->status = status;
    int length = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    if (length < 0)
        snprintf(error->message, sizeof error->message, "%s", attn_status_description(status));
    else if ((size_t)length >= sizeof error->message)
        end_at_character(error->message, sizeof error->message - 1);
    return status;
}

attn_status attn_succeed(attn_error *error)
{
    if (error) {
        error->status = ATTN_OK;
        error->message[0] = '\0';
    }
    return ATTN_OK;
}
