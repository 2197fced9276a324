/* The ceilings count what they do: the loops' results are compared with plain ones, so that a loop that
 * leaves out work, or counts more than it does, is found. No time is looked at. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <attn/ceiling.h>

#include "kernels/ceiling/ceiling.h"

/* The loops of a path this machine runs, else NULL. */
static const struct attn_ceiling_loops *loops_here(int path)
{
    if (!attn_path_runs_on((enum attn_path)path, &attn_cpu_info()->features)) {
        print_message("skipped: this machine cannot run %s\n",
                      attn_path_name((enum attn_path)path));
        return NULL;
    }
    return attn_ceiling_loops_of((enum attn_path)path);
}

/* Every lane of chain i begins at 1 + i and takes four steps x -> x / 2 + 1 (AArch64: x -> x + 1 / 2) in a
 * round: all values have few bits, so the sum is exact. */
#if defined(__aarch64__)
static float step_of(float x)
{
    return x + 0.5f;
}
#else
static float step_of(float x)
{
    return x / 2 + 1;
}
#endif

static void multiply_adds_are_done_and_counted(void **state)
{
    (void)state;
    for (int path = 0; path < ATTN_PATH_COUNT; path++) {
        const struct attn_ceiling_loops *loops = loops_here(path);
        if (!loops)
            continue;
        bool widest = path == ATTN_PATH_AVX512 || path == ATTN_PATH_AVX512_BF16;
        int lanes = widest ? 16 : path == ATTN_PATH_AVX2 ? 8 : 4;
        int steps = 4, chains = (int)(loops->flops_per_round / (2 * steps * lanes));
        assert_true(loops->flops_per_round == 2.0 * steps * chains * lanes);
        for (int rounds = 0; rounds < 4; rounds++) {
            float expected = 0;
            for (int i = 0; i < chains; i++) {
                float x = 1.0f + (float)i;
                for (int step = 0; step < steps * rounds; step++)
                    x = step_of(x);
                expected += (float)lanes * x;
            }
            float result = loops->fma(rounds, 1.0f);
            assert_true(fabsf(result - expected) <= 1e-6f * expected);
        }
    }
}

/* A lane gains 0.5 in each of the four steps of a round; sums of so few bits are exact. */
static void bf16_dot_products_are_done_and_counted(void **state)
{
    (void)state;
    enum { LANES = 16, STEPS = 4 };
    for (int path = 0; path < ATTN_PATH_COUNT; path++) {
        const struct attn_ceiling_loops *loops = loops_here(path);
        if (!loops)
            continue;
        assert_true((loops->bf16_dot != NULL) == (path == ATTN_PATH_AVX512_BF16));
        if (!loops->bf16_dot)
            continue;
        int chains = (int)(loops->bf16_dot_flops_per_round / (4 * STEPS * LANES));
        assert_true(loops->bf16_dot_flops_per_round == 4.0 * STEPS * chains * LANES);
        for (int rounds = 0; rounds < 4; rounds++) {
            float expected = 0;
            for (int i = 0; i < chains; i++)
                expected += LANES * (1.0f + (float)i + 0.5f * (float)(STEPS * rounds));
            assert_true(loops->bf16_dot(rounds, 1.0f) == expected);
        }
    }
}

/* A changed bit anywhere changes the result: each byte was read. Nothing past the end is (ASan looks). */
static void every_byte_is_read(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 63, 64, 65, 511, 512, 700, 1024, 2048, 2300};
    for (int path = 0; path < ATTN_PATH_COUNT; path++) {
        const struct attn_ceiling_loops *loops = loops_here(path);
        for (int loop = 0; loops && loop < ATTN_READ_LOOPS; loop++)
            for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
                unsigned char *memory = malloc(sizes[s] + 1);
                assert_non_null(memory);
                memset(memory, 0xff, sizes[s] + 1);
                unsigned char *odd = memory + 1; /* no alignment */
                uint32_t before = loops->read[loop](odd, sizes[s], 1);
                for (size_t at = 0; at < sizes[s]; at++) {
                    odd[at] ^= 0x10;
                    assert_int_not_equal(loops->read[loop](odd, sizes[s], 1), before);
                    odd[at] ^= 0x10;
                }
                assert_int_equal(loops->read[loop](odd, sizes[s], 1), before);
                assert_int_equal(loops->read[loop](odd, sizes[s], 3), (uint32_t)(3 * before));
                free(memory);
            }
    }
}

static void ceilings_are_measured(void **state)
{
    (void)state;
    static float memory[5000];
    attn_cpu cpu = {.struct_size = sizeof cpu};
    assert_int_equal(attn_cpu_describe(&cpu, NULL), ATTN_OK);
    const attn_executor *executors[] = {NULL, attn_default_executor()};
    for (int e = 0; e < 2; e++) {
        attn_error error;
        double rate = -1;
        assert_int_equal(attn_ceiling_fma(&rate, 0.01, executors[e], &error), ATTN_OK);
        assert_true(isfinite(rate) && rate > 0);
        rate = -1;
        if (strcmp(cpu.path, "avx512_bf16") == 0) {
            assert_int_equal(attn_ceiling_bf16_dot(&rate, 0.01, executors[e], &error), ATTN_OK);
            assert_true(isfinite(rate) && rate > 0);
        } else {
            assert_int_equal(attn_ceiling_bf16_dot(&rate, 0.01, executors[e], &error),
                             ATTN_ERR_CPU);
            assert_true(rate == -1 && strstr(error.message, "bf16"));
        }
        rate = -1;
        assert_int_equal(
            attn_ceiling_read(&rate, memory, sizeof memory, 0.01, executors[e], &error), ATTN_OK);
        assert_true(isfinite(rate) && rate > 0);
        /* less than a cache line for each worker */
        assert_int_equal(attn_ceiling_read(&rate, memory, 1, 0.01, executors[e], &error), ATTN_OK);
    }
}

static int fails(void *context, int64_t count, attn_task task, void *argument)
{
    (void)context, (void)count, (void)task, (void)argument;
    return 1;
}

static void wrong_calls_are_refused(void **state)
{
    (void)state;
    char memory[64] = {0};
    double rate = 7;
    attn_error error;
    static const double wrong_seconds[] = {0, -1, 0.009, 10.5, NAN, INFINITY};
    for (size_t i = 0; i < sizeof wrong_seconds / sizeof wrong_seconds[0]; i++) {
        assert_int_equal(attn_ceiling_fma(&rate, wrong_seconds[i], NULL, &error), ATTN_ERR_VALUE);
        assert_int_equal(attn_ceiling_bf16_dot(&rate, wrong_seconds[i], NULL, NULL),
                         ATTN_ERR_VALUE);
        assert_int_equal(attn_ceiling_read(&rate, memory, 64, wrong_seconds[i], NULL, NULL),
                         ATTN_ERR_VALUE);
    }
    assert_int_equal(attn_ceiling_fma(&rate, 11, NULL, &error), ATTN_ERR_VALUE);
    assert_string_equal(error.message, "seconds is 11; it may be 0.01 to 10");
    assert_int_equal(attn_ceiling_fma(NULL, 0.01, NULL, &error), ATTN_ERR_NULL);
    assert_int_equal(attn_ceiling_bf16_dot(NULL, 0.01, NULL, &error), ATTN_ERR_NULL);
    assert_int_equal(attn_ceiling_read(NULL, memory, 64, 0.01, NULL, &error), ATTN_ERR_NULL);
    assert_int_equal(attn_ceiling_read(&rate, NULL, 64, 0.01, NULL, &error), ATTN_ERR_NULL);
    assert_int_equal(attn_ceiling_read(&rate, memory, 0, 0.01, NULL, &error), ATTN_ERR_VALUE);
    attn_executor bad = {sizeof bad, NULL, 0, fails};
    assert_int_equal(attn_ceiling_fma(&rate, 0.01, &bad, &error), ATTN_ERR_EXECUTOR);
    bad.threads = 2;
    assert_int_equal(attn_ceiling_fma(&rate, 0.01, &bad, &error), ATTN_ERR_EXECUTOR);
    assert_int_equal(attn_ceiling_read(&rate, memory, 64, 0.01, &bad, &error), ATTN_ERR_EXECUTOR);
    assert_true(rate == 7);
}

/* The public description of the machine, which the ceilings belong to. */
static void the_machine_is_described(void **state)
{
    (void)state;
    attn_error error;
    attn_cpu cpu = {.struct_size = sizeof cpu};
    assert_int_equal(attn_cpu_describe(&cpu, &error), ATTN_OK);
    assert_true(cpu.name[0] != '\0' && cpu.threads_by[0] != '\0');
    assert_memory_equal(cpu.paths, "portable", 8);
    assert_non_null(strstr(cpu.paths, cpu.path));
    assert_true(cpu.cores >= 1);
    for (int level = 0; level < 3; level++)
        assert_true(cpu.cache_bytes[level] >= 8 << 10);

    assert_int_equal(attn_cpu_describe(NULL, &error), ATTN_ERR_NULL);
    cpu.struct_size = 1;
    assert_int_equal(attn_cpu_describe(&cpu, &error), ATTN_ERR_STRUCT_SIZE);
    assert_true(cpu.name[0] != '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(multiply_adds_are_done_and_counted),
        cmocka_unit_test(bf16_dot_products_are_done_and_counted),
        cmocka_unit_test(every_byte_is_read),
        cmocka_unit_test(ceilings_are_measured),
        cmocka_unit_test(wrong_calls_are_refused),
        cmocka_unit_test(the_machine_is_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
