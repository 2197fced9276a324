/* Runs a fuzz target over files instead of a fuzzer's inventions: with any compiler, in every
 * check.
 *
 *     replay_<name> DIRECTORY
 *
 * Each file is given whole, and cut at every length up to 512 bytes (a copy of just that length, so
 * that AddressSanitizer sees a read past it). A file that once made a target fail joins the seeds
 * and is from then on tried here. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LONGEST = 1 << 20, CUTS = 512 };

static void try_length(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int try_file(const char *path)
{
    static uint8_t data[LONGEST];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    size_t size = fread(data, 1, sizeof data, file);
    int bad = ferror(file) || size == sizeof data;
    fclose(file);
    if (bad) {
        fprintf(stderr, "%s: cannot be read, or has %d bytes or more\n", path, LONGEST);
        return 1;
    }
    for (size_t cut = 0; cut < size && cut < CUTS; cut++)
        try_length(data, cut);
    try_length(data, size);
    return 0;
}

int main(int argc, char **argv)
{
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    int files = 0, bad = 0;
    if (!folder) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        char path[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        bad |= try_file(path);
        files++;
    }
    closedir(folder);
    if (files == 0) {
        fprintf(stderr, "%s: holds no file\n", argv[1]);
        return 2;
    }
    printf("%d files\n", files);
    return bad;
}
