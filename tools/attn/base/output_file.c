/* Files written whole or not at all; see output_file.h.
 *
 * The stream is a cookie of ours (glibc and musl have fopencookie), so that the reason of the first
 * failed write is kept: stdio alone remembers only that something failed.
 *
 * The paths of temporaries live in fixed slots of static memory, never freed, so that a signal
 * handler in any thread may read them. A slot is filled before its file is created and emptied
 * after it was renamed or removed: in between, at worst, the handler removes a path that is not
 * there. */
#define _GNU_SOURCE
#include "output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLOTS = 16, ATTEMPTS = 100 };
enum slot_state { SLOT_FREE, SLOT_FILLING, SLOT_USED };

static struct slot {
    atomic_int state;
    char path[PATH_MAX];
} slots[SLOTS];

struct output_state {
    int descriptor;
    bool close_descriptor;
    int first_error;   /* errno of the first write that failed, or 0 */
    struct slot *slot; /* NULL when written directly */
    char *name;        /* what the user called it */
    char *target;      /* what is renamed over; NULL when written directly */
};

static void remove_temporaries_and_die(int number)
{
    for (int i = 0; i < SLOTS; i++)
        if (atomic_load(&slots[i].state) == SLOT_USED)
            unlink(slots[i].path);
    /* SA_RESETHAND has put the default action back; the signal is delivered once this returns. */
    raise(number);
}

void output_files_remove_on_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction action;
        if (sigaction(numbers[i], NULL, &action) != 0 || action.sa_handler == SIG_IGN)
            continue;
        memset(&action, 0, sizeof action);
        action.sa_handler = remove_temporaries_and_die;
        action.sa_flags = (int)SA_RESETHAND;
        sigemptyset(&action.sa_mask);
        sigaction(numbers[i], &action, NULL);
    }
}

static struct slot *take_slot(void)
{
    for (int i = 0; i < SLOTS; i++) {
        int expected = SLOT_FREE;
        if (atomic_compare_exchange_strong(&slots[i].state, &expected, SLOT_FILLING))
            return &slots[i];
    }
    return NULL;
}

static void free_slot(struct slot *slot)
{
    if (slot)
        atomic_store(&slot->state, SLOT_FREE);
}

static ssize_t cookie_write(void *cookie, const char *data, size_t size)
{
    struct output_state *s = cookie;
    size_t done = 0;
    while (done < size && !s->first_error) {
        ssize_t step = write(s->descriptor, data + done, size - done);
        if (step > 0)
            done += (size_t)step;
        else if (step == 0 || errno != EINTR)
            s->first_error = step == 0 ? ENOSPC : errno;
    }
    return (ssize_t)done; /* fewer than asked: stdio sets the error flag of the stream */
}

static int cookie_seek(void *cookie, off64_t *offset, int whence)
{
    struct output_state *s = cookie;
    off64_t now = lseek64(s->descriptor, *offset, whence);
    if (now < 0)
        return -1;
    *offset = now;
    return 0;
}

static int cookie_close(void *cookie)
{
    struct output_state *s = cookie;
    if (s->close_descriptor && close(s->descriptor) != 0 && errno != EINTR && !s->first_error)
        s->first_error = errno;
    return 0;
}

static void free_state(struct output_state *s)
{
    if (!s)
        return;
    free_slot(s->slot);
    free(s->name);
    free(s->target);
    free(s);
}

/* Where the rename will go: the file that a symbolic link names, or the path itself. */
static char *resolve_target(const char *path)
{
    struct stat status;
    if (lstat(path, &status) == 0 && S_ISLNK(status.st_mode))
        return realpath(path, NULL); /* a dangling link fails with ENOENT */
    return strdup(path);
}

/* Create ".<name>.<pid>.<n>.part" beside the target, with the permission bits of `existing` if it
 * is not NULL. */
static bool create_temporary(struct output_state *s, const struct stat *existing, struct failure *f)
{
    const char *slash = strrchr(s->target, '/');
    int folder = slash ? (int)(slash - s->target) + 1 : 0;
    s->slot = take_slot();
    if (!s->slot)
        return fail(f, "%s: %d files are being written already", s->name, SLOTS);
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        int length = snprintf(s->slot->path, sizeof s->slot->path, "%.*s.%s.%ld.%d.part", folder,
                              s->target, s->target + folder, (long)getpid(), attempt);
        if (length < 0 || (size_t)length >= sizeof s->slot->path)
            return fail(f, "%s: cannot be written: %s", s->name, strerror(ENAMETOOLONG));
        atomic_store(&s->slot->state, SLOT_USED);
        s->descriptor = open(s->slot->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (s->descriptor >= 0)
            break;
        atomic_store(&s->slot->state, SLOT_FILLING);
        if (errno != EEXIST)
            break;
    }
    if (s->descriptor < 0)
        return fail(f, "%s: cannot be written: %s", s->name, strerror(errno));
    if (existing && fchmod(s->descriptor, existing->st_mode & 07777) != 0) {
        int reason = errno;
        unlink(s->slot->path);
        return fail(f, "%s: cannot be written: %s", s->name, strerror(reason));
    }
    return true;
}

static bool open_descriptor(struct output_state *s, struct failure *f)
{
    struct stat status;
    if (strcmp(s->name, "-") == 0) {
        fflush(stdout); /* what was printed before comes before */
        s->descriptor = STDOUT_FILENO;
        return true;
    }
    s->close_descriptor = true;
    if (s->name[0] == '\0')
        return fail(f, "the name of the file to write is empty");
    bool exists = stat(s->name, &status) == 0;
    if (exists && S_ISDIR(status.st_mode))
        return fail(f, "%s: is a directory, not a file to write", s->name);
    if (exists && faccessat(AT_FDCWD, s->name, W_OK, AT_EACCESS) != 0)
        return fail(f, "%s: cannot be written: %s", s->name, strerror(errno));
    if (exists && !S_ISREG(status.st_mode)) {
        s->descriptor = open(s->name, O_WRONLY | O_CLOEXEC);
        if (s->descriptor < 0)
            return fail(f, "%s: cannot be opened: %s", s->name, strerror(errno));
        return true;
    }
    s->target = resolve_target(s->name);
    if (!s->target)
        return fail(f, "%s: cannot be written: %s", s->name, strerror(errno));
    return create_temporary(s, exists ? &status : NULL, f);
}

bool output_file_open(struct output_file *out, const char *path, struct failure *f)
{
    static const cookie_io_functions_t functions = {
        .write = cookie_write, .seek = cookie_seek, .close = cookie_close};
    *out = (struct output_file){NULL, NULL};
    struct output_state *s = calloc(1, sizeof *s);
    if (!s || !(s->name = strdup(path))) {
        free(s);
        return fail(f, "%s: out of memory", path);
    }
    s->descriptor = -1;
    if (!open_descriptor(s, f)) {
        if (s->close_descriptor && s->descriptor >= 0)
            close(s->descriptor);
        free_state(s);
        return false;
    }
    out->state = s;
    out->stream = fopencookie(s, "w", functions);
    if (!out->stream) {
        output_file_discard(out);
        return fail(f, "%s: out of memory", path);
    }
    return true;
}

/* The folder too must reach the disk before the new name is safe; some file systems cannot, which
 * is no error. */
static void sync_folder(const char *target)
{
    const char *slash = strrchr(target, '/');
    char *folder = slash ? strndup(target, (size_t)(slash - target) + 1) : strdup(".");
    int descriptor = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (descriptor >= 0) {
        (void)fsync(descriptor);
        close(descriptor);
    }
    free(folder);
}

bool output_file_commit(struct output_file *out, struct failure *f)
{
    struct output_state *s = out->state;
    if (!s)
        return fail(f, "no file is being written");
    bool bad = fflush(out->stream) != 0 || ferror(out->stream);
    if (!bad && s->target && fsync(s->descriptor) != 0) {
        bad = true;
        s->first_error = errno;
    }
    fclose(out->stream); /* the state outlives it */
    if (!bad && !s->first_error && s->target && rename(s->slot->path, s->target) != 0)
        s->first_error = errno;
    bad = bad || s->first_error;
    if (bad && s->slot)
        unlink(s->slot->path);
    else if (s->target)
        sync_folder(s->target);
    if (bad)
        fail(f, "%s: cannot be written: %s",
             strcmp(s->name, "-") == 0 ? "standard output" : s->name,
             s->first_error ? strerror(s->first_error) : "a write failed");
    free_state(s);
    *out = (struct output_file){NULL, NULL};
    return !bad;
}

void output_file_discard(struct output_file *out)
{
    struct output_state *s = out->state;
    if (!s)
        return;
    if (out->stream)
        fclose(out->stream);
    else
        cookie_close(s);
    if (s->slot)
        unlink(s->slot->path);
    free_state(s);
    *out = (struct output_file){NULL, NULL};
}
