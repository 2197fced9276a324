/* What attn_plan_explain says is so: the tiles it counts are those of a count pair by pair in the blocks it
 * names, and each choice is there with its reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "attention/guarded.h"
#include "attention/path.h"
#include "attn/rotary.h"
#include "attn/scores.h"
#include "attn/stats.h"

#include <cmocka.h>

/* The explanation; to be freed. */
static char *explain(const attn_problem *problem)
{
    attn_plan *plan;
    attn_error error;
    if (attn_plan_create(&plan, problem, &error))
        fail_msg("%s", error.message);
    size_t length = attn_plan_explain(plan, NULL, 0);
    char *text = need(length + 1, 1);
    assert_int_equal(attn_plan_explain(plan, text, length + 1), length);
    assert_int_equal(strlen(text), length);
    attn_plan_destroy(plan);
    return text;
}

/* The line of `text` that begins with `word`, as its text from there on; NULL if there is none. */
static const char *line(const char *text, const char *word)
{
    for (const char *at = text; (at = strstr(at, word)); at++)
        if (at == text || at[-1] == '\n')
            return at + strlen(word);
    return NULL;
}

static void expect_in(const char *text, const char *word, const char *what)
{
    const char *at = line(text, word);
    if (!at)
        fail_msg("no line \"%s\" in:\n%s", word, text);
    const char *end = strchr(at, '\n'), *found = strstr(at, what);
    if (!found || found > end)
        fail_msg("line \"%s\" does not say \"%s\":\n%s", word, what, text);
}

static void expect(const attn_problem *problem, const char *word, const char *what)
{
    char *text = explain(problem);
    expect_in(text, word, what);
    free(text);
}

struct counts {
    long long skip, full, partial;
};

/* By the header's own words: whether query i of head h sees key j. */
static bool sees(const attn_problem *p, const uint8_t *mask, int64_t h, int64_t i, int64_t j)
{
    int64_t at = p->alignment == ATTN_BOTTOM_RIGHT ? i + p->keys - p->queries : i;
    bool window = j < p->window.prefix || ((p->window.left < 0 || j >= at - p->window.left) &&
                                           (p->window.right < 0 || j <= at + p->window.right));
    if (mask && !mask[h * p->scores->mask_stride[1] + i * p->scores->mask_stride[2] + j])
        return false;
    return (!p->causal || j <= at) && window;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static struct counts count(const attn_problem *p, const uint8_t *mask, int64_t rows, int64_t keys,
                           int64_t vector)
{
    struct counts c = {0};
    for (int64_t h = 0; h < p->heads; h++)
        for (int64_t row = 0; row < p->queries; row += rows)
            for (int64_t key = 0; key < p->keys; key += keys) {
                int64_t row_end = least(row + rows, p->queries),
                        key_end = least(key + keys, p->keys);
                int64_t seen = 0;
                for (int64_t i = row; i < row_end; i++)
                    for (int64_t j = key; j < key_end; j++)
                        seen += sees(p, mask, h, i, j);
                if (seen == 0)
                    c.skip += p->batch;
                else if (seen == (row_end - row) * (key_end - key) && (key_end - key) % vector == 0)
                    c.full += p->batch;
                else
                    c.partial += p->batch;
            }
    return c;
}

static struct counts check_counts(const attn_problem *p, const uint8_t *mask)
{
    char *text = explain(p);
    struct counts told;
    long long blocks = 0;
    int rows = 0, keys = 0, panel = 0;
    const char *tiles = line(text, "tiles: "), *sizes = line(text, "blocks: ");
    const char *path = line(text, "path: ");
    if (!tiles || !sizes || !path ||
        sscanf(tiles, "%lld skipped, %lld full, %lld partial", &told.skip, &told.full,
               &told.partial) != 3 ||
        sscanf(sizes, "%lld of %d", &blocks, &rows) != 2 ||
        sscanf(strstr(sizes, "), ") + 3, "%d keys", &keys) != 1 ||
        sscanf(path, "%*[^,], register tile %*d x %d", &panel) != 1)
        fail_msg("not as expected:\n%s", text);
    assert_int_equal(blocks, (p->queries + rows - 1) / rows);
    struct counts want = count(p, mask, rows, keys, panel / 2); /* a tile is two vectors wide */
    if (want.skip != told.skip || want.full != told.full || want.partial != told.partial)
        fail_msg("%lld skipped, %lld full, %lld partial in truth; it says:\n%s", want.skip,
                 want.full, want.partial, text);
    free(text);
    return told;
}

static void test_counts(void **state)
{
    (void)state;
    attn_problem p = attn_problem_init(3, 4, 2, 1000, 1536, 64);
    struct counts c = check_counts(&p, NULL);
    assert_true(c.full > 0 && c.skip == 0 && c.partial == 0);
    p.keys = 1537;
    check_counts(&p, NULL);
    p.keys = 1536 + 16; /* whole vectors of every path, no whole panel of the widest */
    c = check_counts(&p, NULL);
    assert_true(c.full > 0 && c.partial == 0);
    p.keys = 1537;
    p.causal = true;
    c = check_counts(&p, NULL);
    assert_true(c.full > 0 && c.skip > 0 && c.partial > 0);
    p.alignment = ATTN_TOP_LEFT;
    check_counts(&p, NULL);
    p.window = (attn_window){300, -1, 0};
    check_counts(&p, NULL);
    p.window = (attn_window){300, 20, 100};
    p.causal = false;
    check_counts(&p, NULL);
    p.queries = 2000; /* rows beyond the keys */
    p.o = attn_layout_bhsd(ATTN_F32, p.heads, p.queries, p.head_size_v);
    check_counts(&p, NULL);
}

/* A mask that is promised constant, of each head and shared by all. */
static void test_constant(void **state)
{
    (void)state;
    attn_problem p = attn_problem_init(2, 3, 3, 500, 1536, 32);
    uint8_t *mask = need(3 * 500 * 1536, 1);
    for (int64_t row = 0; row < 3 * 500; row++)
        for (int64_t j = 0; j < 1536; j++)
            mask[row * 1536 + j] = row / 500 == 0 ? j < 1000 : row / 500 == 1 ? j >= 600 : 1;
    attn_scores scores = attn_scores_init();
    attn_scores_args args = attn_scores_args_init();
    args.mask = mask;
    scores.mask = ATTN_MASK_BYTES;
    scores.mask_stride[2] = 1536;
    p.scores = &scores;
    expect(&p, "tiles: ", "judged at each run, which alone knows what the masks hold");
    scores.constant = &args;
    check_counts(&p, mask);
    expect(&p, "tiles: ", "read when planning, 1 maps");
    scores.mask_stride[1] = 500 * 1536;
    struct counts c = check_counts(&p, mask);
    assert_true(c.full > 0 && c.skip > 0 && c.partial > 0);
    expect(&p, "tiles: ", "read when planning, 3 maps");
    free(mask);
}

static void change(void *context, int64_t batch, int64_t head, int64_t query_begin, int64_t rows,
                   int64_t key_begin, int64_t keys, float *scores, int64_t stride)
{
    (void)context, (void)batch, (void)head, (void)query_begin, (void)rows, (void)key_begin;
    (void)keys, (void)scores, (void)stride;
}

static void test_words(void **state)
{
    (void)state;
    attn_problem p = attn_problem_init(2, 8, 2, 2048, 2048, 64);
    const char *path = getenv("ATTN_CPU");
    attn_cpu cpu = {.struct_size = sizeof cpu};
    attn_cpu_describe(&cpu, NULL);
    expect(&p, "forward: ", "f32, at most 2 sequences, 8 heads on 2 kv heads");
    expect(&p, "path: ", "register tile");
    const char *best = strrchr(cpu.paths, ' ');
    bool widest = !path || strcmp(path, best ? best + 1 : cpu.paths) == 0;
    expect(&p, "why: ", widest ? "the best path of this machine" : "asked for by ATTN_CPU");
    expect(&p, "packing: ", "shared by 4 heads");
    expect(&p, "packing: ", "all of them");
    expect(&p, "blocks: ", "half of L2");
    expect(&p, "softmax: ", "plain");

    attn_plan *plan;
    char text[128], *all = explain(&p);
    assert_int_equal(attn_plan_create(&plan, &p, NULL), ATTN_OK);
    snprintf(text, sizeof text, "%zu bytes for one thread, %zu more", attn_plan_workspace(plan, 1),
             attn_plan_workspace(plan, 2) - attn_plan_workspace(plan, 1));
    expect_in(all, "workspace: ", text);
    int rows;
    assert_int_equal(sscanf(line(all, "blocks: "), "%*d of %d", &rows), 1);
    snprintf(text, sizeof text, "%d of a block", 2 * 8 * ((2048 + rows - 1) / rows));
    expect_in(all, "tasks: ", text);
    attn_plan_destroy(plan);
    free(all);

    attn_problem other = p;
    other.q.dtype = other.k.dtype = other.v.dtype = ATTN_F16;
    expect(&other, "why: ", "widened once, when packed");
    other = p;
    other.head_windows = true;
    expect(&other, "tiles: ", "judged at each run, which alone knows the windows of heads");
    other = p;
    other.prefix_lm = true;
    expect(&other, "tiles: ", "judged at each run, which alone knows prefixes");
    other = p;
    other.causal = true;
    other.alignment = ATTN_OFFSET;
    expect(&other, "tiles: ", "judged at each run, which alone knows where the queries stand");
    other = p;
    other.unnormalised = true;
    expect(&other, "output: ", "reference and sum");
    attn_scores scores = attn_scores_init();
    scores.function = change;
    scores.block_rows = scores.block_keys = 64;
    other = p;
    other.scores = &scores;
    expect(&other, "tiles: ", "the caller's function sees every tile");
    expect(&other, "scores: ", "lists of blocks of 64 x 64, the caller's function");
    attn_statistics_wanted wanted = attn_statistics_wanted_init(ATTN_STAT_ENTROPY);
    other = p;
    other.statistics = &wanted;
    expect(&other, "softmax: ", "with entropy");
    other = attn_problem_init(1, 8, 8, 100, 512, 64);
    expect(&other, "packing: ", "it alone reads them");
    other.queries = 4;
    expect(&other, "packing: ", "queries read keys and values where they lie");
    assert_null(line(all = explain(&other), "few queries: "));
    free(all);
    const attn_rotary rotary = attn_rotary_init(64);
    other.rotary = &rotary;
    expect(&other, "few queries: ", "the rotary embedding turns keys while they are packed");
    expect(&other, "packing: ", "it alone reads them");
    other.rotary = NULL;
    other.head_size = 63;
    expect(&other, "few queries: ", "in place head_size must be a multiple of");
    p.batch = 200;
    p.heads = p.kv_heads = 8;
    expect(&p, "packing: ", "of 1600 kv heads at a time (64 MiB");
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_constant),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
