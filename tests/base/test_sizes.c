/* Checked arithmetic at the edges of the integers, and the carving of a workspace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/sizes.h"

static void sizes_at_the_edge(void **state)
{
    (void)state;
    size_t r = 7;
    assert_true(attn_size_add(&r, SIZE_MAX - 1, 1));
    assert_true(r == SIZE_MAX);
    r = 7;
    assert_false(attn_size_add(&r, SIZE_MAX, 1));
    assert_true(r == 7);
    assert_true(attn_size_mul(&r, SIZE_MAX / 2, 2));
    assert_true(r == SIZE_MAX - 1);
    r = 7;
    assert_false(attn_size_mul(&r, SIZE_MAX / 2 + 1, 2));
    assert_true(r == 7);
    assert_true(attn_size_mul(&r, SIZE_MAX, 0));
    assert_true(r == 0);
    assert_true(attn_size_mul(&r, SIZE_MAX, 1));
    assert_true(r == SIZE_MAX);
}

static void rounding_up(void **state)
{
    (void)state;
    size_t r = 0;
    for (size_t step = 1; step < 20; step++)
        for (size_t value = 0; value < 100; value++) {
            assert_true(attn_size_round_up(&r, value, step));
            assert_true(r >= value && r < value + step && r % step == 0);
        }
    assert_true(attn_size_round_up(&r, SIZE_MAX - 63, 64));
    assert_true(r == SIZE_MAX - 63);
    r = 7;
    assert_false(attn_size_round_up(&r, SIZE_MAX - 62, 64));
    assert_true(r == 7);

    int64_t s;
    assert_true(attn_int64_round_up(&s, 65, 64));
    assert_true(s == 128);
    assert_true(attn_int64_round_up(&s, INT64_MAX, 1));
    assert_true(s == INT64_MAX);
    s = 7;
    assert_false(attn_int64_round_up(&s, INT64_MAX, 64));
    assert_true(s == 7);
    assert_true(attn_int64_div_up(INT64_MAX, 2) == INT64_MAX / 2 + 1);
    assert_true(attn_int64_div_up(0, 5) == 0);
    assert_true(attn_int64_div_up(10, 5) == 2);
    assert_true(attn_int64_div_up(11, 5) == 3);
}

static void int64_at_the_edge(void **state)
{
    (void)state;
    int64_t r = 7;
    assert_false(attn_int64_add(&r, INT64_MAX, 1));
    assert_false(attn_int64_add(&r, INT64_MIN, -1));
    assert_false(attn_int64_mul(&r, INT64_MIN, -1));
    assert_false(attn_int64_mul(&r, INT64_MAX / 3 + 1, 3));
    assert_true(r == 7);
    assert_true(attn_int64_add(&r, INT64_MAX, INT64_MIN));
    assert_true(r == -1);
    assert_true(attn_int64_mul(&r, INT64_MIN / 2, 2));
    assert_true(r == INT64_MIN);
    assert_true(attn_int64_min(-1, 1) == -1);
    assert_true(attn_int64_max(-1, 1) == 1);

    size_t size = 7;
    assert_false(attn_size_from_int64(&size, -1));
    assert_true(size == 7);
    assert_true(attn_size_from_int64(&size, INT64_MAX));
    assert_true(size == (size_t)INT64_MAX);
}

struct blocks {
    unsigned char *block[4];
};

static const size_t block_sizes[4] = {1, 64, 0, 1000};

static struct blocks carve(struct attn_arena *arena)
{
    struct blocks blocks;
    for (int i = 0; i < 4; i++)
        blocks.block[i] = attn_arena_take(arena, block_sizes[i], 1);
    return blocks;
}

/* What was measured is enough at every alignment of the memory, and one byte less is not at the worst. */
static void what_is_measured_is_what_is_carved(void **state)
{
    (void)state;
    struct attn_arena measure = attn_arena_measure();
    struct blocks nothing = carve(&measure);
    for (int i = 0; i < 4; i++)
        assert_null(nothing.block[i]);
    size_t needed;
    assert_true(attn_arena_needed(&measure, &needed));
    assert_int_equal(needed, 64 + 64 + 1024 + 63);

    unsigned char *memory = malloc(needed + 64);
    assert_non_null(memory);
    int too_small = 0;
    for (size_t offset = 0; offset < 64; offset++) {
        struct attn_arena arena = attn_arena_over(memory + offset, needed);
        struct blocks blocks = carve(&arena);
        assert_false(attn_arena_failed(&arena));
        unsigned char *end = memory + offset;
        for (int i = 0; i < 4; i++) {
            if (block_sizes[i] == 0) {
                assert_null(blocks.block[i]);
                continue;
            }
            assert_true(blocks.block[i] >= end);
            assert_true((uintptr_t)blocks.block[i] % ATTN_ARENA_ALIGNMENT == 0);
            end = blocks.block[i] + block_sizes[i];
        }
        assert_true(end <= memory + offset + needed);
        memset(blocks.block[3], 1, block_sizes[3]);

        arena = attn_arena_over(memory + offset, needed - 1);
        carve(&arena);
        too_small += attn_arena_failed(&arena);
    }
    free(memory);
    assert_int_equal(too_small, 1);
}

static void an_arena_fails_for_good(void **state)
{
    (void)state;
    size_t bytes = 7;
    struct attn_arena arena = attn_arena_measure();
    attn_arena_take(&arena, SIZE_MAX / 2, 4);
    assert_true(attn_arena_failed(&arena));
    attn_arena_take(&arena, 1, 1);
    assert_false(attn_arena_needed(&arena, &bytes));
    assert_int_equal(bytes, 7);

    arena = attn_arena_measure();
    attn_arena_take(&arena, SIZE_MAX - 63, 1);
    assert_true(attn_arena_needed(&arena, &bytes));
    assert_true(bytes == SIZE_MAX);
    attn_arena_take(&arena, 1, 1);
    assert_false(attn_arena_needed(&arena, &bytes));
    bytes = 7;

    unsigned char memory[256];
    arena = attn_arena_over(memory, sizeof memory);
    assert_null(attn_arena_take(&arena, 300, 1));
    assert_null(attn_arena_take(&arena, 1, 1));
    assert_true(attn_arena_failed(&arena));

    arena = attn_arena_over(NULL, 4096);
    assert_null(attn_arena_take(&arena, 0, 4));
    assert_false(attn_arena_failed(&arena));
    assert_null(attn_arena_take(&arena, 1, 1));
    assert_true(attn_arena_failed(&arena));

    arena = attn_arena_measure();
    assert_true(attn_arena_needed(&arena, &bytes));
    assert_int_equal(bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_at_the_edge),
        cmocka_unit_test(rounding_up),
        cmocka_unit_test(int64_at_the_edge),
        cmocka_unit_test(what_is_measured_is_what_is_carved),
        cmocka_unit_test(an_arena_fails_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
