/* Lists of layers, heads and rows; see options.h. */
#include "options.h"

#include <inttypes.h>
#include <stdlib.h>

/* Digits at *at, no sign and no space; moves *at behind them. */
static bool read_number(const char **at, int64_t *number)
{
    const char *p = *at;
    int64_t value = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *p - '0', &value))
            return false;
    if (p == *at)
        return false;
    *at = p;
    *number = value;
    return true;
}

/* "3" or "3-5" at *at. */
static bool read_span(const char **at, int64_t *first, int64_t *last)
{
    if (!read_number(at, first))
        return false;
    *last = *first;
    if (**at != '-')
        return true;
    ++*at;
    return read_number(at, last) && *last >= *first;
}

/* The next span of a list; *at becomes NULL behind the last. */
static bool next_span(const char **at, int64_t *first, int64_t *last, const char *text,
                      struct failure *f)
{
    if (!read_span(at, first, last) || (**at != ',' && **at != '\0'))
        return fail(f, "--layers is '%s'; it may be a list such as 0,5,11 or 0-5,17", text);
    *at = **at == ',' ? *at + 1 : NULL;
    return true;
}

bool check_layers(const char *text, struct failure *f)
{
    int64_t first, last;
    for (const char *at = text; at;)
        if (!next_span(&at, &first, &last, text, f))
            return false;
    return true;
}

bool parse_layers(const char *text, int64_t layers, int64_t **out, int64_t *count,
                  struct failure *f)
{
    bool *wanted = calloc((size_t)layers + 1, 1);
    *out = calloc((size_t)layers + 1, sizeof **out);
    *count = 0;
    bool ok = (wanted && *out) || fail(f, "out of memory for %" PRId64 " layers", layers);
    for (int64_t i = 0; ok && !text && i < layers; i++)
        wanted[i] = true;
    for (const char *at = text; ok && at;) {
        int64_t first, last;
        ok = next_span(&at, &first, &last, text, f);
        if (ok && last >= layers)
            ok = fail(f, "--layers names layer %" PRId64 "; the model's are 0 to %" PRId64, last,
                      layers - 1);
        for (int64_t i = first; ok && i <= last; i++)
            wanted[i] = true;
    }
    for (int64_t i = 0; ok && i < layers; i++)
        if (wanted[i])
            (*out)[(*count)++] = i;
    if (!ok) {
        free(*out);
        *out = NULL;
    }
    free(wanted);
    return ok;
}

bool parse_head(const char *text, int64_t layers, int64_t heads, int64_t *layer, int64_t *head,
                struct failure *f)
{
    const char *at = text;
    if (!read_number(&at, layer) || *at++ != '.' || !read_number(&at, head) || *at != '\0')
        return fail(f, "--head is '%s'; it may be LAYER.HEAD, such as 5.2", text);
    if (*layer >= layers)
        return fail(f, "--head is %s; the model's layers are 0 to %" PRId64, text, layers - 1);
    if (*head >= heads)
        return fail(f, "--head is %s; the heads of a layer are 0 to %" PRId64, text, heads - 1);
    return true;
}

bool parse_rows(const char *text, int64_t tokens, int64_t *begin, int64_t *end, struct failure *f)
{
    *begin = 0;
    *end = tokens;
    if (!text)
        return true;
    const char *at = text;
    bool ok = *at == ':' || read_number(&at, begin);
    ok = ok && *at++ == ':' && (*at == '\0' || (read_number(&at, end) && *at == '\0'));
    if (!ok)
        return fail(f, "--rows is '%s'; it may be BEGIN:END, such as 100:200", text);
    if (*begin >= tokens || *end > tokens)
        return fail(f, "--rows is %s; it may be a range within 0:%" PRId64 ", the tokens read",
                    text, tokens);
    if (*begin >= *end)
        return fail(f, "--rows is %s; its end may be anything above its begin", text);
    return true;
}
