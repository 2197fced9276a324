/* The choice of a kernel path, given features and a wish; cache sizes that cannot be; and ATTN_CPU as a
 * process sees it: a child that has not asked before, with the variable set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "cpu/detect.h"

static const struct attn_cpu_features none,
    narrow = {.avx = true, .avx2 = true, .fma = true, .f16c = true},
    wide = {.avx2 = true,
            .fma = true,
            .f16c = true,
            .avx512f = true,
            .avx512bw = true,
            .avx512dq = true,
            .avx512vl = true};

static void expect_path(const char *wanted, const struct attn_cpu_features *features,
                        enum attn_path expected)
{
    enum attn_path path = ATTN_PATH_COUNT;
    attn_error error;
    assert_int_equal(attn_path_choose_for(&path, wanted, features, &error), ATTN_OK);
    assert_string_equal(error.message, "");
    assert_int_equal(path, expected);
}

static void expect_refusal(const char *wanted, const struct attn_cpu_features *features,
                           const char *sentence)
{
    enum attn_path path = ATTN_PATH_COUNT;
    attn_error error;
    assert_int_equal(attn_path_choose_for(&path, wanted, features, &error), ATTN_ERR_CPU);
    assert_string_equal(error.message, sentence);
    assert_int_equal(path, ATTN_PATH_COUNT);
}

static void the_best_path_is_taken(void **state)
{
    (void)state;
    expect_path(NULL, &none, ATTN_PATH_PORTABLE);
    expect_path(NULL, &narrow, ATTN_PATH_AVX2);
    expect_path("", &wide, ATTN_PATH_AVX512);
    struct attn_cpu_features lacking = wide;
    lacking.avx512vl = false;
    expect_path(NULL, &lacking, ATTN_PATH_AVX2);
    lacking.f16c = false;
    expect_path(NULL, &lacking, ATTN_PATH_PORTABLE);
}

static void a_wish_is_followed_or_refused(void **state)
{
    (void)state;
    expect_path("portable", &wide, ATTN_PATH_PORTABLE);
    expect_path("avx2", &wide, ATTN_PATH_AVX2);
    expect_path("avx512", &wide, ATTN_PATH_AVX512);
    expect_refusal(
        "avx512", &narrow,
        "ATTN_CPU is \"avx512\", which this machine cannot run; it may be portable, avx2 "
        "here");
    expect_refusal("avx2", &none,
                   "ATTN_CPU is \"avx2\", which this machine cannot run; it may be portable here");
    expect_refusal(
        "AVX2", &wide,
        "ATTN_CPU is \"AVX2\", which is no kernel path; it may be portable, avx2, avx512 "
        "here");
    expect_refusal(" ", &none,
                   "ATTN_CPU is \" \", which is no kernel path; it may be portable here");
}

static void cache_sizes_are_credible(void **state)
{
    (void)state;
    struct attn_cpu_caches caches = {0, 0, 0};
    attn_cpu_make_credible(&caches);
    assert_int_equal(caches.l1_data, 32 << 10);
    assert_int_equal(caches.l2, 512 << 10);
    assert_int_equal(caches.l3, 512 << 10);

    caches = (struct attn_cpu_caches){SIZE_MAX, SIZE_MAX, SIZE_MAX};
    attn_cpu_make_credible(&caches);
    assert_int_equal(caches.l1_data, 32 << 10);
    assert_int_equal(caches.l2, 512 << 10);
    assert_int_equal(caches.l3, 512 << 10);

    struct attn_cpu_caches usual = {48 << 10, 2 << 20, 64 << 20}, kept = usual;
    attn_cpu_make_credible(&kept);
    assert_memory_equal(&kept, &usual, sizeof usual);

    const struct attn_cpu_info *info = attn_cpu_info();
    assert_true(info->caches.l1_data >= 8 << 10 && info->caches.l1_data <= info->caches.l2);
    assert_true(info->caches.l2 <= info->caches.l3);
    assert_true(info->name[0] != '\0');
    assert_ptr_equal(info, attn_cpu_info());
}

static int choose_twice(void)
{
    enum attn_path path = ATTN_PATH_COUNT;
    attn_error error;
    attn_status first = attn_path_choose(&path, &error);
    setenv("ATTN_CPU", "changed later", 1); /* and not read again */
    attn_status second = attn_path_choose(&path, &error);
    printf("%s %s|%s\n", attn_status_name(first),
           path == ATTN_PATH_COUNT ? "-" : attn_path_name(path), error.message);
    return first == second ? 0 : 1;
}

/* Status and sentence of attn_path_choose in a process where ATTN_CPU has this value, as one line. */
static void ask_process(const char *value, char *line, size_t size)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(stdout); /* what waits there is the parent's to print */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        setenv("ATTN_CPU", value, 1);
        int result = choose_twice();
        fflush(stdout);
        _exit(result);
    }
    close(ends[1]);
    FILE *file = fdopen(ends[0], "r");
    assert_non_null(file);
    if (!fgets(line, (int)size, file))
        line[0] = '\0';
    fclose(file);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void the_environment_is_read(void **state)
{
    (void)state;
    char line[400];
    ask_process("portable", line, sizeof line);
    assert_string_equal(line, "ATTN_OK portable|\n");
    ask_process("zen4", line, sizeof line);
    const char start[] =
        "ATTN_ERR_CPU -|ATTN_CPU is \"zen4\", which is no kernel path; it may be portable";
    assert_memory_equal(line, start, sizeof start - 1);
    for (int path = 0; path < ATTN_PATH_COUNT; path++) {
        const char *name = attn_path_name((enum attn_path)path);
        ask_process(name, line, sizeof line);
        bool runs = attn_path_runs_on((enum attn_path)path, &attn_cpu_info()->features);
        assert_true(strstr(line, name) != NULL);
        assert_int_equal(strncmp(line, "ATTN_OK ", 8) == 0, runs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_path_is_taken),
        cmocka_unit_test(a_wish_is_followed_or_refused),
        cmocka_unit_test(cache_sizes_are_credible),
        cmocka_unit_test(the_environment_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
