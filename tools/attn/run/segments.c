/* Reading the names of parts; see segments.h. */
#include "segments.h"

#include "../base/text_file.h"
#include "../tokenizer/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 20 };

/* A number of bytes at *at, and the space behind it. */
static bool read_number(char **at, size_t *number)
{
    char *end;
    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    unsigned long long value = strtoull(*at, &end, 10);
    size_t space = strspn(end, " \t");
    if (errno != 0 || value >= SIZE_MAX || space == 0)
        return false;
    *number = (size_t)value;
    *at = end + space;
    return true;
}

static bool read_range(char **at, struct segment *part)
{
    if (!read_number(at, &part->begin))
        return false;
    size_t space = **at == '-' ? strspn(*at + 1, " \t") : 0;
    part->end = SIZE_MAX;
    if (space == 0)
        return read_number(at, &part->end);
    *at += 1 + space;
    return true;
}

static bool read_line(struct segments *s, const char *path, int line, char *at, struct failure *f)
{
    struct segment part;
    if (!read_range(&at, &part) || *at == '\0' || part.begin >= part.end)
        return fail(f, "%s: line %d is no segment; it may be BEGIN END NAME, bytes of the prompt",
                    path, line);
    part.name = at;
    if (!utf8_valid((struct text){at, strlen(at)}, NULL))
        return fail(f, "%s: the name in line %d is not UTF-8", path, line);
    if (s->count == SEGMENTS_MOST)
        return fail(f, "%s: line %d is one segment too many; there may be %d", path, line,
                    SEGMENTS_MOST - SEGMENTS_KNOWN);
    for (int i = 0; i < s->count; i++) {
        if (strcmp(s->part[i].name, part.name) == 0)
            return fail(f, "%s: the name in line %d is taken already", path, line);
        if (part.begin < s->part[i].end && s->part[i].begin < part.end)
            return fail(f, "%s: the segment in line %d shares bytes with an earlier one", path,
                        line);
    }
    s->part[s->count++] = part;
    return true;
}

static void trim(char *line)
{
    size_t length = strlen(line);
    while (length > 0 && strchr(" \t\r", line[length - 1]) != NULL)
        line[--length] = '\0';
}

bool segments_read(struct segments *segments, const char *path, struct failure *f)
{
    char *data;
    size_t bytes;
    *segments = (struct segments){
        .part = {{.name = "start"}, {.name = "loaded"}, {.name = "prompt"}, {.name = "own text"}},
        .count = SEGMENTS_KNOWN};
    if (!text_file_read(path, MOST_BYTES, &data, &bytes, f))
        return false;
    segments->data = realloc(data, bytes + 1);
    if (segments->data == NULL) {
        free(data);
        return fail(f, "%s: out of memory", path);
    }
    segments->data[bytes] = '\0';
    bool ok = memchr(segments->data, '\0', bytes) == NULL || fail(f, "%s: holds a NUL byte", path);
    int number = 0;
    for (char *line = segments->data; ok && line != NULL;) {
        char *next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        number++;
        trim(line);
        line += strspn(line, " \t");
        ok = *line == '\0' || *line == '#' || read_line(segments, path, number, line, f);
        line = next;
    }
    if (!ok)
        segments_free(segments);
    return ok;
}

void segments_free(struct segments *segments)
{
    free(segments->data);
    *segments = (struct segments){.data = NULL};
}

bool segments_fit(const struct segments *segments, const char *path, size_t bytes,
                  struct failure *f)
{
    for (int i = SEGMENTS_KNOWN; i < segments->count; i++) {
        const struct segment *part = &segments->part[i];
        if (part->begin >= bytes || (part->end != SIZE_MAX && part->end > bytes))
            return fail(f, "%s: a segment goes from byte %zu on beyond the prompt, which has %zu",
                        path, part->begin, bytes);
    }
    return true;
}

uint8_t segment_of(const struct segments *segments, size_t at)
{
    for (int i = SEGMENTS_KNOWN; i < segments->count; i++)
        if (at >= segments->part[i].begin && at < segments->part[i].end)
            return (uint8_t)i;
    return SEGMENT_PROMPT;
}
