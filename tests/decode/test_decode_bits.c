/* What decoding promises to the last bit: the same results whatever the pages, the threads, and the company in
 * the batch; and, within both bounds, those of a forward pass over the same keys. */
#include "attention/compare.h"
#include "attention/path.h"
#include "decode/store.h"
#include "support/thread_executor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct store_type random_type(const attn_problem *p, struct random *random)
{
    struct store_type type = {.k = (attn_dtype)random_between(random, ATTN_F32, ATTN_INT4),
                              .v = (attn_dtype)random_between(random, ATTN_F32, ATTN_INT4)};
    if (type.k == ATTN_INT4 || type.v == ATTN_INT4)
        type.group = 16; /* divides all sizes here */
    type.channel_scales = type.k == ATTN_INT8 && random_chance(random, 0.5);
    type.positions = random_chance(random, 0.3);
    (void)p;
    return type;
}

/* Two or three sequences of few or of many queries, on one chunk of keys or on several. */
static struct attention_case *make_case(uint64_t seed, struct random *random)
{
    static const int64_t groups[] = {1, 2, 4, 8, 3};
    attn_problem p = attn_problem_init(random_between(random, 2, 3), 1, 1,
                                       random_chance(random, 0.3) ? random_between(random, 30, 50)
                                                                  : random_between(random, 1, 6),
                                       random_between(random, 40, 3000), 32);
    p.kv_heads = random_between(random, 1, 2);
    p.heads = p.kv_heads * groups[random_between(random, 0, 4)];
    p.head_size = random_chance(random, 0.5) ? 32 : 48;
    p.head_size_v = random_chance(random, 0.5) ? 32 : 64;
    if (p.queries > 6)
        p.keys = random_between(random, 40, 700);
    p.causal = random_chance(random, 0.5);
    p.softcap = random_chance(random, 0.3) ? 8 : 0;
    if (random_chance(random, 0.3))
        p.window = (attn_window){random_between(random, 0, p.keys), -1, 3};
    p.lengths = random_chance(random, 0.5) ? ATTN_LENGTHS_PADDED : ATTN_LENGTHS_EQUAL;
    case_random_layouts(&p, random, false);
    attn_rotary rotary = case_random_rotary(p.head_size, random);
    p.rotary = random_chance(random, 0.4) ? &rotary : NULL;
    attn_statistics_wanted wanted = attn_statistics_wanted_init(
        ATTN_STAT_ENTROPY | ATTN_STAT_MAX_WEIGHT |
        (random_chance(random, 0.5) ? (1u << 21) - 1 : ATTN_STAT_COLUMN_MASS));
    wanted.top_keys = 4;
    wanted.segments = 3;
    struct case_options options = case_options_init(&p);
    int64_t queries[3], keys[3];
    for (int b = 0; b < 3; b++) {
        queries[b] = random_between(random, 0, p.queries);
        keys[b] = random_between(random, 0, p.keys);
    }
    options.query_lengths = queries, options.key_lengths = keys;
    options.wanted = &wanted;
    struct attention_case *c = case_create(&p, &options);
    c->seed = seed;
    c->values = "normal";
    case_fill_qkv(c, random, 2);
    if (p.rotary) /* often by positions of the run, those of each sequence its own */
        case_random_positions(c, random);
    case_random_requests(c, random);
    return c;
}

enum { WORDS = 1 << 20 };

/* Lay, run, and give every result of sequence `batch` (-1: of all) as words. */
static size_t results(struct attention_case *c, const struct store *store, int64_t page_size,
                      int64_t batch, const attn_executor *executor, struct random *random,
                      uint32_t *words)
{
    attn_error error;
    struct laid laid = store_lay(store, page_size, page_size > 4000, random);
    laid_use(&laid, c);
    case_reset(c);
    if (case_run(c, executor, &error) != ATTN_OK)
        fail_msg("%s", error.message);
    size_t count =
        batch < 0 ? case_snapshot(c, words, WORDS) : case_sequence_snapshot(c, batch, words, WORDS);
    assert_true(count < WORDS);
    laid_destroy(&laid);
    return count;
}

static void same_bits(void **state)
{
    (void)state;
    uint32_t *first = need(WORDS, 4), *other = need(WORDS, 4);
    attn_executor *threads = thread_executor_create(3, 7);
    static const int64_t sizes[] = {1, 2, 3, 7, 16, 17, 64, 256, 5000};
    for (uint64_t seed = 54000000; seed < 54000000 + (uint64_t)path_cases(30); seed++) {
        struct random random = {seed};
        struct attention_case *c = make_case(seed, &random);
        struct store *store = store_create(c, random_type(&c->problem, &random), &random);
        struct attention_case *alone[3];
        for (int64_t b = 0; b < c->args.batch; b++)
            alone[b] = case_of_sequence(c, b);
        size_t count = results(c, store, 5000, -1, NULL, &random, first);
        for (int i = 0; i < 4; i++) {
            int64_t page_size = sizes[random_between(&random, 0, 8)];
            size_t again = results(c, store, page_size, -1, i % 2 ? threads : NULL, &random, other);
            if (again != count || memcmp(first, other, count * 4) != 0) {
                fail_msg("seed %llu, cache of %d and %d: pages of %lld change the results",
                         (unsigned long long)seed, (int)store->type.k, (int)store->type.v,
                         (long long)page_size);
            }
        }
        for (int64_t b = 0; b < c->args.batch; b++) {
            struct store *one = store_of_sequence(store, b);
            size_t in_company = results(c, store, 16, b, NULL, &random, first);
            size_t by_itself = results(alone[b], one, 5, 0, threads, &random, other);
            if (in_company != by_itself || memcmp(first, other, by_itself * 4) != 0) {
                fail_msg("seed %llu: company changes the results of sequence %lld",
                         (unsigned long long)seed, (long long)b);
            }
            case_destroy(alone[b]);
            store_destroy(one);
        }
        store_destroy(store);
        case_destroy(c);
    }
    thread_executor_destroy(threads);
    free(first);
    free(other);
}

/* Step t of a growing cache is row t of a causal forward pass: each within the bound of f32 sums, d u for
 * the score of size about sqrt(d), n u for the sum, so of their difference twice that. */
static void steps_are_rows(void **state)
{
    (void)state;
    enum { N = 300, D = 64, HQ = 4, HKV = 2 };
    struct random random = {55};
    float *q = need(HQ * N * D, 4), *k = need(HKV * N * D, 4), *v = need(HKV * N * D, 4);
    float *o = need(HQ * N * D, 4), step[HQ * D], one[HQ * D];
    for (int i = 0; i < HQ * N * D; i++)
        q[i] = (float)random_normal(&random);
    for (int i = 0; i < HKV * N * D; i++)
        k[i] = (float)random_normal(&random), v[i] = (float)random_normal(&random);
    attn_problem p = attn_problem_init(1, HQ, HKV, N, N, D);
    p.causal = true;
    attn_args args = attn_args_init(&p);
    args.q = q, args.k = k, args.v = v, args.o = o;
    assert_int_equal(attn_forward(&p, &args, NULL, NULL), ATTN_OK);

    attn_kv_layout layout = attn_kv_layout_init(ATTN_F32, HKV, N, D);
    attn_problem decode = attn_problem_init(1, HQ, HKV, 1, N, D);
    decode.cache = &layout;
    decode.causal = true;
    attn_plan *plan;
    assert_int_equal(attn_plan_create(&plan, &decode, NULL), ATTN_OK);
    size_t size = attn_plan_workspace(plan, 1);
    void *workspace = need(size, 1);
    const double bound = 2 * (N + D) * 0x1p-24 * 8;
    for (int t = 0; t < N; t++) {
        const int32_t indptr[] = {0, 1}, indices[] = {0}, last[] = {t + 1};
        attn_kv_view view = attn_kv_view_init();
        view.k = k, view.v = v;
        view.pages = 1;
        view.indptr = indptr, view.indices = indices, view.last_page_len = last;
        for (int h = 0; h < HQ; h++)
            memcpy(one + h * D, q + (h * N + t) * D, sizeof(float) * D);
        attn_args a = attn_args_init(&decode);
        a.cache = &view;
        a.q = one, a.o = step;
        assert_int_equal(attn_run(plan, &a, workspace, size, NULL, NULL), ATTN_OK);
        for (int h = 0; h < HQ; h++)
            for (int d = 0; d < D; d++)
                assert_true(fabs((double)step[h * D + d] - (double)o[(h * N + t) * D + d]) < bound);
    }
    attn_plan_destroy(plan);
    free(workspace);
    free(q);
    free(k);
    free(v);
    free(o);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits),
        cmocka_unit_test(steps_are_rows),
    };
    return cmocka_run_group_tests_name("decode_bits", tests, NULL, NULL);
}
