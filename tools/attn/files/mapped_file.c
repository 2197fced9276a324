/* A whole file as read-only memory; see mapped_file.h. */
#include "mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool map_descriptor(struct mapped_file *out, int descriptor, struct failure *f)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return fail(f, "cannot be examined: %s", strerror(errno));
    if (S_ISDIR(status.st_mode))
        return fail(f, "is a directory, not a file");
    if (!S_ISREG(status.st_mode))
        return fail(f, "is not a regular file");
    if (status.st_size == 0)
        return fail(f, "is empty");
    if ((uintmax_t)status.st_size > SIZE_MAX)
        return fail(f, "is too large for this machine's address space");
    size_t size = (size_t)status.st_size;
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED)
        return fail(f, "cannot be mapped: %s", strerror(errno));
    out->data = data;
    out->size = size;
    return true;
}

bool mapped_file_open(struct mapped_file *out, const char *path, struct failure *f)
{
    *out = (struct mapped_file){NULL, 0};
    /* O_NONBLOCK: opening a pipe that nobody writes must not wait, it is refused below. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return fail(f, "%s: cannot be opened: %s", path, strerror(errno));
    bool mapped = map_descriptor(out, descriptor, f);
    close(descriptor);
    return mapped || failure_prefix(f, "%s", path);
}

void mapped_file_close(struct mapped_file *file)
{
    if (file->data)
        munmap((void *)(uintptr_t)file->data, file->size);
    *file = (struct mapped_file){NULL, 0};
}
