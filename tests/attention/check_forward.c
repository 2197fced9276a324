/* Random problems against the specification: dtypes, shapes, layouts, lengths, masks, what shapes scores,
 * sinks, statistics, executors, each output within bounds derived from the data. A failing case prints its
 * description and its seed;
 *     ATTN_CHECK_SEED=<seed> ATTN_CHECK_SIZE=<0 small, 1 large, 2 wide; 3, 4, 5 with everything> \
 *         test_check_forward
 * runs that case alone. */
#include "attention/attention_case.h"
#include "attention/compare.h"
#include "attention/orders.h"
#include "attention/path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct record record;

/* Serial, the default, or a reordering one: the seed says which. */
static const attn_executor *executor_of(uint64_t seed, struct ordered_executor *own)
{
    switch (seed % 4) {
    case 0:
        return NULL;
    case 1:
        return attn_default_executor();
    default:
        ordered_executor_init(own, ORDER_RANDOM, (int)(1 + seed % 5), seed);
        return &own->executor;
    }
}

enum { EVERYTHING = 3 }; /* added to a size: case_random_all */

enum { WORDS = 1 << 21 };
static uint32_t words[2][WORDS];

/* A limit of the workspace and a promise of constant masks change no bit. */
static int compare_without(const struct attention_case *c)
{
    if (c->problem.workspace_limit == 0 && !c->scores.constant)
        return 0;
    struct attention_case *without = case_in_layouts(c, &c->problem);
    attn_error error = {0};
    if (!c->args.v)
        without->args.v = NULL;
    attn_status status = case_run(without, NULL, &error);
    size_t count = case_snapshot(c, words[0], WORDS);
    bool fine = status == ATTN_OK && count <= WORDS &&
                case_snapshot(without, words[1], WORDS) == count &&
                memcmp(words[0], words[1], count * sizeof words[0][0]) == 0;
    case_destroy(without);
    if (fine)
        return 0;
    case_describe(c, stderr);
    fprintf(stderr, "    other bits without the limit or the promise (%s)\n", error.message);
    return 1;
}

static int run_one(uint64_t seed, int size)
{
    struct ordered_executor own;
    struct attention_case *c = size >= EVERYTHING
                                   ? case_random_all(seed, (enum case_size)(size - EVERYTHING))
                                   : case_random(seed, (enum case_size)size);
    attn_error error;
    attn_status status = case_run(c, executor_of(seed, &own), &error);
    int faults = 0;
    if (status != ATTN_OK) {
        case_describe(c, stderr);
        fprintf(stderr, "    %s: %s\n", attn_status_name(status), error.message);
        faults = 1;
    } else {
        faults = case_compare(c, &record) + compare_without(c);
    }
    case_destroy(c);
    return faults;
}

static void run_many(uint64_t first, int64_t count, int size)
{
    const char *seed = getenv("ATTN_CHECK_SEED"), *asked = getenv("ATTN_CHECK_SIZE");
    if (seed) {
        if (asked && atoi(asked) == size)
            assert_int_equal(run_one(strtoull(seed, NULL, 10), size), 0);
        return;
    }
    int failed = 0;
    for (int64_t i = 0; i < path_cases(count) && failed < 5; i++)
        failed += run_one(first + (uint64_t)i, size) != 0;
    if (failed)
        fail_msg("%d cases differ from the specification (size %d)", failed, size);
}

static void small_cases(void **state)
{
    (void)state;
    run_many(1000000, 600, CASE_SMALL);
}

static void large_cases(void **state)
{
    (void)state;
    run_many(2000000, 8, CASE_LARGE);
}

static void wide_heads(void **state)
{
    (void)state;
    run_many(3000000, 6, CASE_WIDE);
}

static void small_everything(void **state)
{
    (void)state;
    run_many(4000000, 2500, EVERYTHING + CASE_SMALL);
}

static void large_everything(void **state)
{
    (void)state;
    run_many(5000000, 24, EVERYTHING + CASE_LARGE);
}

static void wide_everything(void **state)
{
    (void)state;
    run_many(6000000, 10, EVERYTHING + CASE_WIDE);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_cases),      cmocka_unit_test(large_cases),
        cmocka_unit_test(wide_heads),       cmocka_unit_test(small_everything),
        cmocka_unit_test(large_everything), cmocka_unit_test(wide_everything),
    };
    status = cmocka_run_group_tests_name("check_forward", tests, NULL, NULL);
    record_print(&record);
    return status;
}
