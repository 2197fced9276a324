/* Sequences that share pages: who is found to share a chunk, against a table read slot by slot; that one task
 * then does the work of all of them; and that no bit of a result tells whether pages were shared. */
#include "attention/cascade.h"
#include "attention/compare.h"
#include "attention/decode.h"
#include "attention/path.h"
#include "decode/store.h"
#include "support/thread_executor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- who shares ---- */

enum { B = 40, PAGES = 4000 };

/* A table of B sequences, some of which begin as another one does, and a plan over it. No keys are read. */
struct table {
    attn_kv_layout layout;
    attn_kv_view view;
    attn_problem problem;
    attn_args args;
    attn_plan *plan;
    int32_t indptr[B + 1], indices[B * PAGES], last[B], gone[B];
    int64_t lengths[B], positions[B * PAGES];
};

static struct table *table_create(struct random *random)
{
    struct table *t = need(1, sizeof *t);
    memset(t, 0, sizeof *t);
    static const int64_t sizes[] = {1, 3, 16, 64, 700, 5000}, groups[] = {1, 12, 40};
    const int64_t page_size = sizes[random_between(random, 0, 5)];
    const int64_t most = random_between(random, 900, PAGES - 1);
    const bool gone = random_chance(random, 0.3);
    int32_t next = 0;
    for (int b = 0; b < B; b++) {
        int64_t keys = random_between(random, most / 2, most);
        t->gone[b] = gone ? (int32_t)random_between(random, 0, page_size > 2 ? 2 : 0) : 0;
        const int64_t pages = (keys + t->gone[b] + page_size - 1) / page_size;
        int32_t *own = t->indices + t->indptr[b];
        t->indptr[b + 1] = t->indptr[b] + (int32_t)pages;
        t->last[b] = (int32_t)(keys + t->gone[b] - (pages - 1) * page_size);
        for (int64_t i = 0; i < pages; i++)
            own[i] = next++;
        if (b == 0 || random_chance(random, 0.3))
            continue;
        const int64_t like = random_between(random, 0, b - 1);
        const int64_t there = t->indptr[like + 1] - t->indptr[like];
        const int64_t same = random_between(random, 0, pages < there ? pages : there);
        memcpy(own, t->indices + t->indptr[like], (size_t)same * sizeof *own);
        if (same > 2 && random_chance(random, 0.2))
            own[random_between(random, 0, same - 1)] = next++; /* and one page of its own */
    }
    t->layout = attn_kv_layout_init(ATTN_F32, 2, page_size, 16);
    t->view = attn_kv_view_init();
    t->view.indptr = t->indptr, t->view.indices = t->indices;
    t->view.last_page_len = t->last, t->view.first_page_begin = t->gone;
    t->view.pages = next;
    t->problem = attn_problem_init(B, 2 * groups[random_between(random, 0, 2)], 2, 5, PAGES, 16);
    t->problem.lengths = ATTN_LENGTHS_PADDED;
    t->problem.cache = &t->layout;
    for (int b = 0; b < B; b++)
        t->lengths[b] = random_chance(random, 0.7) ? 1 : random_between(random, 0, 5);
    attn_rotary rotary = attn_rotary_init(16);
    const bool turned = random_chance(random, 0.5);
    t->problem.rotary = turned ? &rotary : NULL;
    attn_error error;
    if (attn_plan_create(&t->plan, &t->problem, &error))
        fail_msg("%s", error.message);
    t->args = attn_args_init(&t->problem);
    t->args.cache = &t->view;
    t->args.query_lengths = t->lengths;
    for (int64_t i = 0; i < (int64_t)B * PAGES; i++)
        t->positions[i] = i % PAGES + (random_chance(random, 0.00002) ? 1 : 0);
    if (turned && random_chance(random, 0.7))
        t->args.key_positions = t->positions;
    return t;
}

/* Where key j of a sequence lies, and what it is turned by: two sequences share it if both agree. */
static bool same_slot(const struct table *t, int64_t a, int64_t b, int64_t key)
{
    const int64_t size = t->layout.page_size;
    const int64_t x = key + t->gone[a], y = key + t->gone[b];
    if (t->args.key_positions && t->positions[a * PAGES + key] != t->positions[b * PAGES + key])
        return false;
    return x % size == y % size &&
           t->indices[t->indptr[a] + x / size] == t->indices[t->indptr[b] + y / size];
}

static int64_t keys_of(const struct table *t, int64_t b)
{
    return (t->indptr[b + 1] - t->indptr[b] - 1) * t->layout.page_size + t->last[b] - t->gone[b];
}

static bool same_chunk(const struct table *t, int64_t a, int64_t b, int64_t chunk)
{
    const int64_t size = attn_chunk_keys(t->plan);
    for (int64_t key = chunk * size; key < (chunk + 1) * size; key++)
        if (key >= keys_of(t, a) || key >= keys_of(t, b) || !same_slot(t, a, b, key))
            return false;
    return true;
}

/* Greedily, in the order of sequences: whose task a sequence's chunk is to be in. Returns how many have company. */
static int check_chunk(const struct table *t, const struct attn_run_state *run, int64_t chunk,
                       int64_t most)
{
    int owner[B], members[B] = {0}, company = 0;
    int64_t rows[B] = {0};
    for (int b = 0; b < B; b++) {
        int64_t own = t->lengths[b] * (t->problem.heads / t->problem.kv_heads);
        own = own > ATTN_CACHED_ROWS ? 0 : own; /* more than a tile: by themselves */
        owner[b] = b;
        for (int a = b - 1; a >= 0 && own > 0; a--)
            if (owner[a] == a && rows[a] > 0 && same_chunk(t, a, b, chunk)) {
                if (members[a] < most && rows[a] + own <= ATTN_CACHED_ROWS)
                    owner[b] = a;
                break; /* the last task of theirs that was begun */
            }
        const int number = members[owner[b]]++;
        rows[owner[b]] += own;
        assert_int_equal(attn_cascade_link_of(run, b, chunk).number, number);
        company += number > 0;
    }
    for (int a = 0; a < B; a++) { /* and the task finds them all */
        int at = a;
        for (int b = a + 1; b < B && owner[a] == a; b++)
            if (owner[b] == a) {
                assert_int_equal(attn_cascade_link_of(run, at, chunk).next, b);
                at = b;
            }
        if (owner[a] == a)
            assert_int_equal(attn_cascade_link_of(run, at, chunk).next, -1);
    }
    return company;
}

static void sets_are_those_of_the_table(void **state)
{
    (void)state;
    int company = 0, turned = 0;
    for (uint64_t seed = 57000000; seed < 57000040; seed++) {
        struct random random = {seed};
        struct table *t = table_create(&random);
        const size_t size = attn_plan_workspace(t->plan, 1);
        void *workspace = need(size, 1);
        memset(workspace, 0xff, size);
        struct attn_run_state run = {.plan = t->plan, .args = &t->args};
        struct attn_arena arena = attn_arena_over(workspace, size);
        attn_workspace_carve(&run.workspace, &arena, t->plan, 1);
        const int64_t chunks = attn_whole_chunks(t->plan, PAGES);
        const int threads = seed % 3 == 0 ? (int)random_between(&random, 1, 200) : 1;
        attn_cascade_find(&run, threads);
        int64_t most = B * t->problem.kv_heads * chunks / threads;
        most = most > ATTN_CASCADE_MOST ? ATTN_CASCADE_MOST : most < 1 ? 1 : most;
        for (int64_t chunk = 0; chunk < chunks; chunk++) {
            const int found = check_chunk(t, &run, chunk, most);
            company += found;
            turned += t->args.key_positions ? found : 0;
        }
        free(workspace);
        attn_plan_destroy(t->plan);
        free(t);
    }
    assert_true(company > 200 && turned > 50); /* the tables do share */
}

/* ---- who works ---- */

/* An executor that counts the tasks of its launches that wrote to the workspace. */
struct watch {
    const unsigned char *workspace;
    unsigned char *before;
    size_t size;
    int launches, wrote[4];
};

static int watch_tasks(void *context, int64_t count, attn_task task, void *argument)
{
    struct watch *w = context;
    for (int64_t i = 0; i < count; i++) {
        memcpy(w->before, w->workspace, w->size);
        task(argument, i, 0);
        w->wrote[w->launches] += memcmp(w->before, w->workspace, w->size) != 0;
    }
    w->launches++;
    return 0;
}

/* Six sequences of one kv head (tasks take several of them together) and `keys` keys, the first `shared` of them in
 * the same pages for the first four: tasks that decode. */
static int tasks_that_decode(int shared, int keys)
{
    enum { N = 6, D = 16, HKV = 1, PAGE = 32, MOST = 3000 / PAGE };
    attn_kv_layout layout = attn_kv_layout_init(ATTN_F32, HKV, PAGE, D);
    attn_problem problem = attn_problem_init(N, 2 * HKV, HKV, 1, keys, D);
    problem.cache = &layout;
    int32_t indptr[N + 1] = {0}, last[N], indices[N * MOST];
    const int pages = (keys + PAGE - 1) / PAGE;
    float *pool = need((size_t)(N * MOST * PAGE * HKV * D), sizeof *pool);
    float q[N * 2 * HKV * D], o[N * 2 * HKV * D];
    struct random random = {7};
    for (int i = 0; i < N * MOST * PAGE * HKV * D; i++)
        pool[i] = (float)random_normal(&random);
    for (int i = 0; i < N * 2 * HKV * D; i++)
        q[i] = (float)random_normal(&random);
    for (int b = 0; b < N; b++) {
        indptr[b + 1] = indptr[b] + pages;
        last[b] = keys - (pages - 1) * PAGE;
        for (int i = 0; i < pages; i++)
            indices[indptr[b] + i] = (b < 4 && (i + 1) * PAGE <= shared ? 0 : b * MOST) + i;
    }
    attn_kv_view view = attn_kv_view_init();
    view.k = view.v = pool;
    view.pages = N * MOST;
    view.indptr = indptr, view.indices = indices, view.last_page_len = last;
    attn_args args = attn_args_init(&problem);
    args.q = q, args.o = o, args.cache = &view;
    attn_plan *plan;
    assert_int_equal(attn_plan_create(&plan, &problem, NULL), ATTN_OK);
    const size_t size = attn_plan_workspace(plan, 1);
    unsigned char *workspace = need(size, 1);
    memset(workspace, 0xff, size);
    struct watch watch = {workspace, need(size, 1), size, 0, {0}};
    const attn_executor executor = {sizeof executor, &watch, 1, watch_tasks};
    assert_int_equal(attn_run(plan, &args, workspace, size, &executor, NULL), ATTN_OK);
    attn_plan_destroy(plan);
    free(workspace);
    free(watch.before);
    free(pool);
    return watch.wrote[0];
}

static void one_task_works_for_all(void **state)
{
    (void)state;
    const int chunk = 512;
    assert_int_equal(tasks_that_decode(0, 2500), 6 * 5);
    assert_int_equal(tasks_that_decode(chunk - 24, 2500), 6 * 5); /* no whole chunk */
    assert_int_equal(tasks_that_decode(chunk, 2500), 3 + 6 * 4);
    assert_int_equal(tasks_that_decode(2 * chunk, 2500), 3 * 2 + 6 * 3);
    assert_int_equal(tasks_that_decode(2500, 2500), 3 * 4 + 6); /* the rest is no whole chunk */
    assert_int_equal(tasks_that_decode(chunk, chunk), 3);       /* finished at once */
}

/* ---- the same bits ---- */

static struct store_type random_type(struct random *random)
{
    struct store_type type = {.k = (attn_dtype)random_between(random, ATTN_F32, ATTN_INT4),
                              .v = (attn_dtype)random_between(random, ATTN_F32, ATTN_INT4)};
    if (type.k == ATTN_INT4 || type.v == ATTN_INT4)
        type.group = 16; /* divides all sizes here */
    type.channel_scales = type.k == ATTN_INT8 && random_chance(random, 0.5);
    type.positions = random_chance(random, 0.3);
    return type;
}

/* Several sequences of few queries, on up to four chunks of keys. */
static struct attention_case *make_case(uint64_t seed, struct random *random)
{
    static const int64_t groups[] = {1, 2, 4, 8, 3, 20};
    attn_problem p =
        attn_problem_init(random_between(random, 2, 6), 1, 1,
                          random_chance(random, 0.5) ? 1 : random_between(random, 2, 7),
                          random_between(random, 1100, 4500), 32);
    p.kv_heads = random_between(random, 1, 2);
    p.heads = p.kv_heads * groups[random_between(random, 0, 5)];
    p.head_size = random_chance(random, 0.5) ? 32 : 48;
    p.head_size_v = random_chance(random, 0.5) ? 32 : 64;
    p.causal = random_chance(random, 0.5);
    p.softcap = random_chance(random, 0.3) ? 8 : 0;
    if (random_chance(random, 0.4))
        p.window = (attn_window){random_between(random, 0, p.keys), -1, 3};
    p.lengths = random_chance(random, 0.7) ? ATTN_LENGTHS_PADDED : ATTN_LENGTHS_EQUAL;
    attn_scores scores = attn_scores_init();
    scores.alibi = random_chance(random, 0.3);
    if (random_chance(random, 0.3)) {
        scores.mask = ATTN_MASK_BYTES;
        scores.mask_stride[0] = p.queries * p.keys, scores.mask_stride[2] = p.keys;
    }
    p.scores = scores.alibi || scores.mask ? &scores : NULL;
    attn_rotary rotary = case_random_rotary(p.head_size, random);
    p.rotary = random_chance(random, 0.3) ? &rotary : NULL;
    case_random_layouts(&p, random, false);
    attn_statistics_wanted wanted = attn_statistics_wanted_init(
        ATTN_STAT_ENTROPY | ATTN_STAT_MAX_WEIGHT |
        (random_chance(random, 0.5) ? ATTN_STAT_VARENTROPY | ATTN_STAT_TOP_KEYS | ATTN_STAT_MAX_KEY
                                    : 0));
    wanted.top_keys = 4;
    struct case_options options = case_options_init(&p);
    int64_t queries[6], keys[6];
    for (int b = 0; b < 6; b++) {
        queries[b] = random_between(random, 0, p.queries);
        keys[b] = random_between(random, 0, p.keys);
    }
    options.query_lengths = queries, options.key_lengths = keys;
    options.wanted = &wanted;
    struct attention_case *c = case_create(&p, &options);
    c->seed = seed;
    c->values = "normal";
    case_fill_qkv(c, random, 2);
    case_random_scores(c, random);
    if (p.rotary)
        case_random_positions(c, random);
    return c;
}

enum { WORDS = 1 << 20 };

static void run_laid(struct attention_case *c, const struct laid *laid,
                     const attn_executor *executor, uint32_t *words)
{
    attn_error error;
    laid_use(laid, c);
    case_reset(c);
    if (case_run(c, executor, &error) != ATTN_OK)
        fail_msg("%s", error.message);
    assert_true(case_snapshot(c, words, WORDS) < WORDS);
}

/* What the last sequence is told by itself, `alone` in a cache of its own. */
static void expect_alone(struct attention_case *alone, const struct store *store,
                         const struct attention_case *c, struct random *random)
{
    uint32_t *words = need(WORDS, 4), *expected = need(WORDS, 4);
    struct store *one = store_of_sequence(store, c->args.batch - 1);
    struct laid laid = store_lay(one, 16, false, random);
    run_laid(alone, &laid, NULL, words);
    const size_t count = case_sequence_snapshot(alone, 0, words, WORDS);
    if (case_sequence_snapshot(c, c->args.batch - 1, expected, WORDS) != count ||
        memcmp(words, expected, count * sizeof *words) != 0)
        fail_msg("seed %llu: company changes the results of the last sequence",
                 (unsigned long long)c->seed);
    laid_destroy(&laid);
    store_destroy(one);
    free(words);
    free(expected);
}

static void sharing_changes_no_bit(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 3, 7, 16, 64, 256, 5000};
    uint32_t *apart = need(WORDS, 4), *shared = need(WORDS, 4);
    for (uint64_t seed = 58000000; seed < 58000000 + (uint64_t)path_cases(40); seed++) {
        struct random random = {seed};
        struct attention_case *c = make_case(seed, &random);
        struct store *store = store_create(c, random_type(&random), &random);
        for (int i = 0; seed % 2 == 0 && i < 3; i++) /* which masks hide from some */
            store_poison_value(store, 0, 0, random_between(&random, 0, store->most - 1), &random);
        store_begin_alike(store, &random);
        struct attention_case *alone = case_of_sequence(c, c->args.batch - 1);
        const int64_t page_size = sizes[random_between(&random, 0, 6)];
        struct laid laid = store_lay(store, page_size, page_size > 4000, &random);
        memset(apart, 0, WORDS * sizeof *apart);
        run_laid(c, &laid, NULL, apart);
        laid_share(&laid, store);
        for (int threads = 1; threads <= 4; threads++) {
            attn_executor *executor = thread_executor_create(threads, seed + (uint64_t)threads);
            memset(shared, 0, WORDS * sizeof *shared);
            run_laid(c, &laid, executor, shared);
            thread_executor_destroy(executor);
            if (memcmp(apart, shared, WORDS * sizeof *apart) != 0) {
                case_describe(c, stderr);
                fail_msg("seed %llu: cache of %d and %d in pages of %lld: sharing them changes the "
                         "results of %d threads",
                         (unsigned long long)seed, (int)store->type.k, (int)store->type.v,
                         (long long)page_size, threads);
            }
        }
        expect_alone(alone, store, c, &random);
        laid_destroy(&laid);
        store_destroy(store);
        case_destroy(alone);
        case_destroy(c);
    }
    free(apart);
    free(shared);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_are_those_of_the_table),
        cmocka_unit_test(one_task_works_for_all),
        cmocka_unit_test(sharing_changes_no_bit),
    };
    return cmocka_run_group_tests_name("cascade", tests, NULL, NULL);
}
