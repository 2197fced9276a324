/* Reading a text whole; see text_file.h. */
#include "text_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *text_file_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

/* Everything that is left of a stream. */
static bool read_all(FILE *file, const char *name, size_t most, char **data, size_t *bytes,
                     struct failure *f)
{
    size_t room = 0;
    for (;;) {
        if (*bytes == room) {
            room = room ? 2 * room : 1 << 16;
            char *larger = realloc(*data, room);
            if (!larger)
                return fail(f, "%s: out of memory", name);
            *data = larger;
        }
        size_t got = fread(*data + *bytes, 1, room - *bytes, file);
        if (got == 0)
            break;
        *bytes += got;
        if (*bytes > most)
            return fail(f, "%s: the text is longer than %zu bytes", name, most);
    }
    if (ferror(file))
        return fail(f, "%s: cannot be read: %s", name, strerror(errno));
    return true;
}

bool text_file_read(const char *path, size_t most, char **data, size_t *bytes, struct failure *f)
{
    *data = NULL;
    *bytes = 0;
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "rb");
    if (!file)
        return fail(f, "%s: cannot be opened: %s", path, strerror(errno));
    bool ok = read_all(file, text_file_name(path), most, data, bytes, f);
    if (!standard)
        fclose(file);
    if (!ok) {
        free(*data);
        *data = NULL;
        *bytes = 0;
    }
    return ok;
}
