/* Files that are written whole or not at all, in a folder of the test's own: whatever goes wrong,
 * the old content stays and nothing else is left in the folder. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/output_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

/* The lowest free descriptor: the same before and after a test, if none was left open. */
static int free_descriptor(void)
{
    int descriptor = open("/", O_RDONLY);
    close(descriptor);
    return descriptor;
}

static int free_before;

static int enter_new_folder(void **state)
{
    (void)state;
    free_before = free_descriptor();
    snprintf(folder, sizeof folder, "/tmp/attn-test-XXXXXX");
    return !mkdtemp(folder) || chdir(folder) != 0;
}

/* Names in the folder; removes them all when asked to. */
static int count_files(bool remove_them)
{
    DIR *d = opendir(folder);
    int count = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        count++;
        if (remove_them && unlinkat(dirfd(d), e->d_name, 0) != 0)
            unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
    }
    closedir(d);
    return count;
}

static int leave_folder(void **state)
{
    (void)state;
    count_files(true);
    return chdir("/") != 0 || rmdir(folder) != 0 || free_descriptor() != free_before;
}

static void put_content(const char *path, const char *content)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_content(const char *path, const char *content)
{
    char found[256] = {0};
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    found[fread(found, 1, sizeof found - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(found, content);
}

static void a_file_appears_when_committed(void **state)
{
    (void)state;
    struct output_file out;
    struct failure f;
    struct stat status;
    mode_t mask = umask(027);
    assert_true(output_file_open(&out, "report", &f));
    assert_true(fprintf(out.stream, "%d heads\n", 72) > 0);
    assert_int_not_equal(access("report", F_OK), 0);
    assert_int_equal(count_files(false), 1);
    assert_true(output_file_commit(&out, &f));
    umask(mask);
    assert_content("report", "72 heads\n");
    assert_int_equal(stat("report", &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    assert_int_equal(count_files(false), 1);
    assert_false(output_file_commit(&out, &f));
    output_file_discard(&out);
}

static void an_old_file_is_replaced_and_keeps_its_mode(void **state)
{
    (void)state;
    struct output_file out;
    struct failure f;
    struct stat status;
    put_content("report", "old");
    assert_int_equal(chmod("report", 0604), 0);
    assert_true(output_file_open(&out, "report", &f));
    fputs("new", out.stream);
    fflush(out.stream);
    assert_content("report", "old");
    assert_true(output_file_commit(&out, &f));
    assert_content("report", "new");
    assert_int_equal(stat("report", &status), 0);
    assert_int_equal(status.st_mode & 07777, 0604);
    assert_int_equal(count_files(false), 1);
}

static void a_discarded_file_leaves_nothing(void **state)
{
    (void)state;
    struct output_file out;
    struct failure f;
    put_content("report", "old");
    assert_true(output_file_open(&out, "report", &f));
    fputs("new", out.stream);
    output_file_discard(&out);
    output_file_discard(&out);
    assert_content("report", "old");
    assert_int_equal(count_files(false), 1);
}

static void a_link_is_followed(void **state)
{
    (void)state;
    struct output_file out;
    struct failure f;
    struct stat status;
    put_content("real", "old");
    assert_int_equal(symlink("real", "link"), 0);
    assert_true(output_file_open(&out, "link", &f));
    fputs("new", out.stream);
    assert_true(output_file_commit(&out, &f));
    assert_int_equal(lstat("link", &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_content("real", "new");
    assert_int_equal(unlink("real"), 0);
    assert_false(output_file_open(&out, "link", &f));
    assert_string_equal(f.message, "link: cannot be written: No such file or directory");
}

static void bad_names_are_refused(void **state)
{
    (void)state;
    struct output_file out;
    struct failure f;
    assert_false(output_file_open(&out, "", &f));
    assert_string_equal(f.message, "the name of the file to write is empty");
    assert_false(output_file_open(&out, ".", &f));
    assert_string_equal(f.message, ".: is a directory, not a file to write");
    assert_false(output_file_open(&out, "no/where", &f));
    assert_string_equal(f.message, "no/where: cannot be written: No such file or directory");
    assert_false(output_file_open(&out, "nowhere/", &f));
    put_content("file", "x");
    assert_false(output_file_open(&out, "file/x", &f));
    assert_string_equal(f.message, "file/x: cannot be written: Not a directory");
    assert_null(out.stream);
    assert_int_equal(count_files(false), 1);
}

/* To root nothing is protected, so root becomes nobody for a moment. */
static void a_protected_file_is_left_alone(void **state)
{
    (void)state;
    enum { NOBODY = 65534 };
    struct output_file out;
    struct failure f = {""};
    bool root = geteuid() == 0;
    put_content("report", "old");
    assert_int_equal(chmod("report", 0444), 0);
    assert_int_equal(chmod(".", 0777), 0);
    if (root && seteuid(NOBODY) != 0)
        skip();
    bool opened = output_file_open(&out, "report", &f);
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_false(opened);
    assert_string_equal(f.message, "report: cannot be written: Permission denied");
    assert_content("report", "old");
    assert_int_equal(count_files(false), 1);
}

static void a_full_disk_is_reported(void **state)
{
    (void)state;
    struct output_file out;
    struct failure f;
    if (access("/dev/full", W_OK) != 0)
        skip();
    assert_true(output_file_open(&out, "/dev/full", &f));
    for (int i = 0; i < 100000; i++)
        fputs("more than any buffer holds", out.stream);
    assert_false(output_file_commit(&out, &f));
    assert_string_equal(f.message, "/dev/full: cannot be written: No space left on device");
    assert_true(output_file_open(&out, "/dev/full", &f)); /* noticed only by the last flush */
    fputs("x", out.stream);
    assert_false(output_file_commit(&out, &f));
    assert_string_equal(f.message, "/dev/full: cannot be written: No space left on device");
}

static void a_short_write_keeps_the_old_file(void **state)
{
    (void)state;
    struct output_file out;
    struct failure f;
    struct rlimit before, little;
    put_content("report", "old");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    little = before;
    little.rlim_cur = 10000;
    signal(SIGXFSZ, SIG_IGN);
    assert_true(output_file_open(&out, "report", &f));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    for (int i = 0; i < 5000; i++)
        fputs("0123456789", out.stream);
    bool committed = output_file_commit(&out, &f);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_false(committed);
    assert_string_equal(f.message, "report: cannot be written: File too large");
    assert_content("report", "old");
    assert_int_equal(count_files(false), 1);
}

static void standard_output_is_written_directly(void **state)
{
    (void)state;
    struct output_file out;
    struct failure f;
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    int file = open("caught", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(kept >= 0 && file >= 0);
    dup2(file, STDOUT_FILENO);
    printf("first ");
    bool good = output_file_open(&out, "-", &f);
    if (good)
        fputs("second ", out.stream);
    good = good && output_file_commit(&out, &f);
    printf("third");
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    close(file);
    assert_true(good);
    assert_content("caught", "first second third");
}

static void a_closed_standard_output_is_reported(void **state)
{
    (void)state;
    struct output_file out;
    struct failure f = {""};
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    close(STDOUT_FILENO);
    bool good = output_file_open(&out, "-", &f);
    if (good)
        fputs("text", out.stream);
    good = good && output_file_commit(&out, &f);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    assert_false(good);
    assert_string_equal(f.message, "standard output: cannot be written: Bad file descriptor");
}

static void several_files_at_once_do_not_meet(void **state)
{
    (void)state;
    enum { LIMIT = 16 };
    struct output_file out[LIMIT + 1];
    struct failure f;
    for (int i = 0; i < LIMIT; i++) {
        assert_true(output_file_open(&out[i], "same", &f));
        fprintf(out[i].stream, "%d", i);
    }
    assert_false(output_file_open(&out[LIMIT], "same", &f));
    assert_string_equal(f.message, "same: 16 files are being written already");
    for (int i = 0; i < LIMIT; i++)
        assert_true(output_file_commit(&out[i], &f));
    assert_content("same", "15");
    assert_int_equal(count_files(false), 1);
}

/* A child writes two files and is told to stop, before its sleep or during it: both temporaries are
 * gone and it ended by that signal. */
static void a_signal_removes_the_temporaries(void **state)
{
    (void)state;
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    put_content("report", "old");
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        int ready[2], status;
        char byte;
        assert_int_equal(pipe(ready), 0);
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            struct output_file a, b;
            signal(numbers[i], SIG_DFL);
            output_files_remove_on_signals();
            if (!output_file_open(&a, "report", NULL) || !output_file_open(&b, "other", NULL))
                _exit(3);
            fputs("new", a.stream);
            fflush(a.stream);
            (void)!write(ready[1], "r", 1);
            for (;;)
                pause();
        }
        close(ready[1]); /* a child that fails ends the reading */
        assert_int_equal(read(ready[0], &byte, 1), 1);
        assert_int_equal(count_files(false), 3);
        kill(child, numbers[i]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == numbers[i]);
        assert_content("report", "old");
        assert_int_equal(count_files(false), 1);
        close(ready[0]);
    }
}

/* nohup: what was ignored stays ignored. */
static void an_ignored_signal_stays_ignored(void **state)
{
    (void)state;
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct output_file out;
        signal(SIGHUP, SIG_IGN);
        output_files_remove_on_signals();
        bool good = output_file_open(&out, "report", NULL);
        raise(SIGHUP);
        _exit(good && output_file_commit(&out, NULL) ? 0 : 3);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_content("report", "");
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, enter_new_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_file_appears_when_committed),
        IN_FOLDER(an_old_file_is_replaced_and_keeps_its_mode),
        IN_FOLDER(a_discarded_file_leaves_nothing),
        IN_FOLDER(a_link_is_followed),
        IN_FOLDER(bad_names_are_refused),
        IN_FOLDER(a_protected_file_is_left_alone),
        IN_FOLDER(a_full_disk_is_reported),
        IN_FOLDER(a_short_write_keeps_the_old_file),
        IN_FOLDER(standard_output_is_written_directly),
        IN_FOLDER(a_closed_standard_output_is_reported),
        IN_FOLDER(several_files_at_once_do_not_meet),
        IN_FOLDER(a_signal_removes_the_temporaries),
        IN_FOLDER(an_ignored_signal_stays_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
