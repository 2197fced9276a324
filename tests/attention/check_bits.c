/* The same bits for any number of threads, any executor and order of tasks, alone or in a batch, in the
 * first run or a later one, under larger maxima, from a plan or in one line, in any layout. */
#include "attention/attention_case.h"
#include "attention/orders.h"
#include "attention/path.h"
#include "support/thread_executor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

struct bits {
    uint32_t *words;
    size_t count;
};

static struct bits snapshot(const struct attention_case *c)
{
    struct bits bits = {NULL, case_snapshot(c, NULL, 0)};
    size_t size = 0;
    for (int i = 0; i < c->outputs_count; i++)
        size += c->outputs[i].count;
    bits.words = need(size + bits.count, sizeof *bits.words);
    bits.count = case_snapshot(c, bits.words, size + bits.count);
    return bits;
}

/* Whether the outputs of `c` now hold these bits; if not, the case is described. */
static bool same(const struct bits *expected, const struct attention_case *c, const char *what)
{
    struct bits got = snapshot(c);
    bool equal = got.count == expected->count;
    size_t at = 0;
    while (equal && at < got.count && got.words[at] == expected->words[at])
        at++;
    equal &= at == got.count;
    if (!equal) {
        case_describe(c, stderr);
        fprintf(stderr, "    other bits %s: word %zu of %zu is %08x, was %08x\n", what, at,
                got.count, got.words[at], expected->words[at]);
    }
    free(got.words);
    return equal;
}

static bool run(struct attention_case *c, const attn_executor *executor, const char *what)
{
    attn_error error;
    case_reset(c);
    if (case_run(c, executor, &error) == ATTN_OK)
        return true;
    case_describe(c, stderr);
    fprintf(stderr, "    %s: %s\n", what, error.message);
    return false;
}

static bool by_executors(struct attention_case *c, const struct bits *bits)
{
    static const int threads[] = {1, 2, 3, 7};
    bool fine = true;
    for (int t = 0; t < 4; t++) {
        attn_executor *executor = thread_executor_create(threads[t], c->seed % 2 ? 0 : 5 + c->seed);
        assert_non_null(executor);
        fine &= run(c, executor, "threads") && same(bits, c, "with threads of its own");
        thread_executor_destroy(executor);
    }
    for (enum order order = ORDER_FORWARD; order <= ORDER_RANDOM; order++) {
        struct ordered_executor ordered;
        ordered_executor_init(&ordered, order, 1 + (int)order * 2, c->seed);
        fine &= run(c, &ordered.executor, "ordered") && same(bits, c, "in another order of tasks");
    }
    fine &= run(c, attn_default_executor(), "default") && same(bits, c, "by the default executor");
    attn_executor *three = NULL;
    assert_int_equal(attn_executor_create(&three, 3, NULL), ATTN_OK);
    fine &= run(c, three, "three") && same(bits, c, "by an executor of three");
    attn_executor_destroy(three);
    return fine;
}

/* Later runs of one plan, with a workspace that another run has used. */
static bool by_later_runs(struct attention_case *c, const struct bits *bits)
{
    attn_plan *plan = NULL;
    assert_int_equal(attn_plan_create(&plan, &c->problem, NULL), ATTN_OK);
    size_t size = attn_plan_workspace(plan, 1);
    void *workspace = need(size, 1);
    bool fine = true;
    for (int i = 0; i < 3; i++) {
        case_reset(c);
        fine &= attn_run(plan, &c->args, workspace, size, NULL, NULL) == ATTN_OK &&
                same(bits, c, "in a later run");
    }
    free(workspace);
    attn_plan_destroy(plan);
    return fine;
}

/* `c` in other layouts, of a plan for these maxima. */
static bool in_layouts(struct attention_case *c, const struct bits *bits, attn_problem *layouts,
                       const char *what)
{
    if (c->statistics.weights_count > 0)
        return true; /* requests stand in another order in a snapshot; other checks see to them */
    struct random random = {c->seed};
    case_random_layouts(layouts, &random, false);
    struct attention_case *other = case_in_layouts(c, layouts);
    other->problem.batch = layouts->batch;
    other->problem.queries = layouts->queries;
    other->problem.keys = layouts->keys;
    bool fine = run(other, NULL, what) && same(bits, other, what);
    case_destroy(other);
    return fine;
}

static bool by_larger_maxima(struct attention_case *c, const struct bits *bits)
{
    attn_problem layouts = c->problem;
    layouts.batch = c->args.batch + 3;
    layouts.queries = c->args.queries + 777;
    layouts.keys = c->args.keys + 1055;
    return in_layouts(c, bits, &layouts, "under larger maxima");
}

static bool by_layout(struct attention_case *c, const struct bits *bits)
{
    attn_problem layouts = c->problem;
    layouts.batch = c->args.batch, layouts.queries = c->args.queries, layouts.keys = c->args.keys;
    return in_layouts(c, bits, &layouts, "in another layout");
}

/* Row arrays of one sequence are a slice of the batch's. */
static bool slice_matches(const struct attention_case *whole, const struct attention_case *part,
                          int64_t b)
{
    for (int i = 0; i < part->outputs_count; i++) {
        const struct guarded *slice = &part->outputs[i];
        if (slice->ignored || i == part->o)
            continue;
        for (int w = 0; w < whole->outputs_count; w++)
            if (strcmp(whole->outputs[w].name, slice->name) == 0 &&
                memcmp(whole->outputs[w].data + (size_t)b * slice->count, slice->data,
                       slice->count * sizeof *slice->data) != 0) {
                fprintf(stderr, "    %s of sequence %lld differs\n", slice->name, (long long)b);
                return false;
            }
    }
    const attn_layout *layout = &whole->problem.o;
    for (int64_t h = 0; part->o >= 0 && h < whole->problem.heads; h++)
        for (int64_t n = 0; n < whole->args.queries; n++) {
            int64_t at = h * layout->stride[1] + n * layout->stride[2];
            if (memcmp((const float *)whole->args.o + b * layout->stride[0] + at,
                       (const float *)part->args.o + at,
                       (size_t)whole->problem.head_size_v * sizeof(float)) != 0) {
                fprintf(stderr, "    o of sequence %lld differs in row %lld\n", (long long)b,
                        (long long)n);
                return false;
            }
        }
    return true;
}

/* Each sequence alone against its place in the batch; `c` holds the batch's results. */
static bool by_company(struct attention_case *c)
{
    bool fine = run(c, NULL, "batch");
    for (int64_t b = 0; fine && b < c->args.batch; b++) {
        struct attention_case *alone = case_of_sequence(c, b);
        fine = run(alone, NULL, "alone") && slice_matches(c, alone, b);
        if (!fine)
            case_describe(c, stderr);
        case_destroy(alone);
    }
    return fine;
}

static bool one(uint64_t seed, enum case_size size)
{
    struct attention_case *c = case_random(seed, size);
    c->one_line = false;
    if (!c->args.v && c->args.keys * c->args.batch * c->problem.heads > 0)
        c->args.v = c->v.origin;
    bool fine = run(c, NULL, "serial");
    struct bits bits = snapshot(c);
    if (fine) {
        fine &= by_executors(c, &bits);
        fine &= by_later_runs(c, &bits);
        fine &= by_larger_maxima(c, &bits);
        fine &= by_layout(c, &bits);
        fine &= by_company(c);
        c->one_line = true;
        fine &= run(c, NULL, "one line") && same(&bits, c, "in one line");
    }
    free(bits.words);
    case_destroy(c);
    return fine;
}

static void repeat(uint64_t first, int64_t count, enum case_size size)
{
    const char *seed = getenv("ATTN_CHECK_SEED");
    if (seed) {
        uint64_t only = strtoull(seed, NULL, 10);
        if (only >= first && only < first + 1000000)
            assert_true(one(only, size));
        return;
    }
    int failed = 0;
    for (int64_t i = 0; i < path_cases(count) && failed < 5; i++)
        failed += !one(first + (uint64_t)i, size);
    if (failed)
        fail_msg("%d cases give other bits", failed);
}

static void small_cases(void **state)
{
    (void)state;
    repeat(21000000, 250, CASE_SMALL);
}

static void large_cases(void **state)
{
    (void)state;
    repeat(22000000, 12, CASE_LARGE);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_cases),
        cmocka_unit_test(large_cases),
    };
    return cmocka_run_group_tests_name("check_bits", tests, NULL, NULL);
}
