/* Attention over caches against its specification: every dtype, any pages, all options, each quantity within
 * its derived bound; hostile numbers wherever no row looks. */
#include "attention/compare.h"
#include "attention/path.h"
#include "decode/store.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "attn_ref.h"

static struct record record;

static struct store_type random_type(const struct attention_case *c, struct random *random)
{
    struct store_type type = {.k = (attn_dtype)random_between(random, ATTN_F32, ATTN_INT4),
                              .v = (attn_dtype)random_between(random, ATTN_F32, ATTN_INT4),
                              .positions = random_chance(random, 0.3)};
    const int64_t size_k = c->problem.head_size, size_v = c->problem.head_size_v;
    if (type.k == ATTN_INT4 && size_k % 2 != 0)
        type.k = ATTN_INT8;
    if (type.v == ATTN_INT4 && size_v % 2 != 0)
        type.v = ATTN_INT8;
    if (type.k == ATTN_INT4 || type.v == ATTN_INT4) {
        type.group = 2 * random_between(random, 1, 40);
        while ((type.k == ATTN_INT4 && size_k % type.group != 0) ||
               (type.v == ATTN_INT4 && size_v % type.group != 0))
            type.group -= 2;
    }
    type.channel_scales = type.k == ATTN_INT8 && random_chance(random, 0.5);
    if (type.k <= ATTN_F16 && c->problem.head_size_v <= c->problem.head_size &&
        random_chance(random, 0.3)) {
        type.latent = true;
        type.v = type.k;
        type.group = 0;
    }
    return type;
}

/* Whether some row of the heads that read a kv head sees the key. */
static bool seen_by_any(const struct attention_case *c, int64_t b, int64_t kv_head, int64_t key)
{
    int64_t group = c->problem.heads / c->problem.kv_heads;
    for (int64_t h = kv_head * group; h < (kv_head + 1) * group; h++)
        for (int64_t i = 0; i < case_queries(c, b); i++)
            if (attn_ref_visible(&c->problem, &c->args, b, h, i, key))
                return true;
    return false;
}

static void poison_unseen(struct store *store, const struct attention_case *c,
                          struct random *random)
{
    for (int64_t b = 0; b < store->batch; b++)
        for (int64_t h = 0; h < store->kv_heads; h++)
            for (int64_t j = 0; j < store->keys[b]; j++)
                if (!seen_by_any(c, b, h, j))
                    store_poison(store, b, h, j, random);
}

static int64_t random_page_size(struct random *random)
{
    static const int64_t sizes[] = {1, 2, 3, 5, 8, 15, 16, 17, 32, 64, 100, 100000};
    return sizes[random_between(random, 0, 11)];
}

/* Lay, run and compare; `hostile`: what nobody sees is turned before, poisoned rows are then a fault. */
static int run_laid(struct attention_case *c, bool hostile, struct random *random)
{
    c->problem.workspace_limit = c->problem.workspace_threads = 0; /* drawn anew for a cache */
    struct store *store = store_create(c, random_type(c, random), random);
    int64_t page_size = random_page_size(random);
    page_size = page_size > c->args.keys + 8 ? c->args.keys + 8 : page_size;
    struct laid laid = store_lay(store, page_size, random_chance(random, 0.2), random);
    laid_use(&laid, c);
    if (hostile) {
        poison_unseen(store, c, random);
        laid_destroy(&laid);
        laid = store_lay(store, page_size, random_chance(random, 0.2), random);
        laid_use(&laid, c);
    }
    if (random_chance(random, 0.2))
        case_random_limit(c, random);
    int64_t poisoned = record.poisoned_rows;
    attn_error error;
    int faults = 1;
    attn_status status = case_run(c, NULL, &error);
    if (status == ATTN_OK)
        faults = case_compare(c, &record);
    else
        fprintf(stderr, "    %s: %s\n", attn_status_name(status), error.message);
    if (hostile && record.poisoned_rows != poisoned) {
        fprintf(stderr, "    NaN or Inf in a row that sees none\n");
        faults++;
    }
    if (faults) {
        case_describe(c, stderr);
        fprintf(stderr, "    cache: k %d v %d, pages of %lld, group %lld,%s%s%s%s\n",
                (int)store->type.k, (int)store->type.v, (long long)page_size,
                (long long)store->type.group, store->type.positions ? " positions" : "",
                store->type.latent ? " latent" : "", laid.view.first_page_begin ? " rings" : "",
                store->type.channel_scales ? " channel scales" : "");
    }
    laid_destroy(&laid);
    store_destroy(store);
    return faults;
}

static void repeat(uint64_t first, int64_t count, int (*one)(uint64_t seed))
{
    const char *seed = getenv("ATTN_CHECK_SEED");
    int failed = 0;
    for (int64_t i = 0; i < (seed ? count : path_cases(count)) && failed < 5; i++) {
        uint64_t at = first + (uint64_t)i;
        if (seed && at != strtoull(seed, NULL, 10))
            continue;
        failed += one(at) != 0;
    }
    assert_int_equal(failed, 0);
}

static int one_random(uint64_t seed)
{
    struct random random = {seed};
    struct attention_case *c = case_random_all(seed, seed % 40 == 0   ? CASE_LARGE
                                                     : seed % 40 == 1 ? CASE_WIDE
                                                                      : CASE_SMALL);
    int faults = run_laid(c, false, &random);
    case_destroy(c);
    return faults;
}

static void random_cases(void **state)
{
    (void)state;
    repeat(51000000, 400, one_random);
}

static int one_hostile(uint64_t seed)
{
    struct random random = {seed};
    struct attention_case *c = case_random_all(seed, CASE_SMALL);
    int faults = run_laid(c, !c->scores.function, &random);
    case_destroy(c);
    return faults;
}

static void hostile_cases(void **state)
{
    (void)state;
    repeat(52000000, 250, one_hostile);
}

/* Few queries on so many keys that chunks are merged; or more than decode, on several blocks of keys; or as many
 * queries of as many heads as do not go through a chunk together. */
static struct attention_case *tall_case(uint64_t seed, struct random *random)
{
    static const int64_t groups[] = {1, 1, 2, 3, 4, 7, 8, 12, 16};
    static const int64_t sizes[] = {16, 32, 64, 64, 40, 33};
    int64_t queries = random_chance(random, 0.6) ? 1 : random_between(random, 2, 5);
    int64_t keys = random_between(random, 900, 4000);
    if (seed % 5 == 0) {
        queries = random_between(random, 33, 90);
        keys = random_between(random, 300, 700);
    }
    const bool apart = seed % 5 == 1;
    if (apart) {
        queries = random_between(random, 12, 32);
        keys = random_between(random, 100, 700);
    }
    attn_problem p = attn_problem_init(random_between(random, 1, 2), 1, 1, queries, keys, 1);
    p.kv_heads = random_between(random, 1, apart ? 2 : 1);
    p.heads = p.kv_heads * groups[random_between(random, apart ? 7 : 0, 8)];
    p.head_size = sizes[random_between(random, 0, 5)];
    p.head_size_v = random_chance(random, 0.7) ? p.head_size : sizes[random_between(random, 0, 5)];
    p.causal = random_chance(random, 0.6);
    p.sinks = random_chance(random, 0.2);
    if (random_chance(random, 0.3))
        p.softcap = 5;
    if (random_chance(random, 0.3))
        p.window =
            (attn_window){random_between(random, 0, p.keys), -1, random_between(random, 0, 5)};
    case_random_layouts(&p, random, false);
    attn_scores scores = attn_scores_init();
    scores.alibi = random_chance(random, 0.3);
    if (random_chance(random, 0.3)) {
        scores.mask = ATTN_MASK_BYTES;
        scores.mask_stride[2] = p.keys;
    }
    if (scores.alibi || scores.mask)
        p.scores = &scores;
    attn_rotary rotary = case_random_rotary(p.head_size, random);
    p.rotary = random_chance(random, 0.3) ? &rotary : NULL;
    attn_statistics_wanted wanted = attn_statistics_wanted_init(
        random_chance(random, 0.5) ? (1u << 23) - 1 : ATTN_STAT_ENTROPY | ATTN_STAT_COLUMN_MASS);
    wanted.top_keys = 5;
    wanted.segments = (int32_t)random_between(random, 1, 32);
    struct case_options options = case_options_init(&p);
    options.wanted = random_chance(random, 0.7) ? &wanted : NULL;
    struct attention_case *c = case_create(&p, &options);
    c->seed = seed;
    c->values = "tall";
    case_fill_qkv(c, random, random_chance(random, 0.5) ? 1 : 4);
    case_random_scores(c, random);
    if (c->problem.rotary)
        case_random_positions(c, random);
    case_random_requests(c, random);
    /* keys of a segment mostly lie together */
    for (int64_t j = 1; c->segment_ids && j < c->args.batch * c->args.keys; j++)
        if (!random_chance(random, 0.02))
            c->segment_ids[j] = c->segment_ids[j - 1];
    return c;
}

static int one_tall(uint64_t seed)
{
    struct random random = {seed};
    struct attention_case *c = tall_case(seed, &random);
    int faults = run_laid(c, seed % 2, &random);
    case_destroy(c);
    return faults;
}

static void tall_cases(void **state)
{
    (void)state;
    repeat(53000000, 40, one_tall);
}

/* ALiBi past what f32 holds in base 2, wherever keys stand: every key but the nearest is as low as it goes. */
static int one_steep(uint64_t seed)
{
    static const float slopes[] = {FLT_MAX, 2.4e38f, 1e36f, -FLT_MAX, -2e35f, 2e35f};
    struct random random = {seed};
    attn_problem p =
        attn_problem_init(2, 6, 2, seed % 3 == 0 ? 40 : 1 + (int64_t)seed % 3, 1300, 32);
    attn_scores scores = attn_scores_init();
    scores.alibi = true;
    p.scores = &scores;
    p.causal = seed % 2;
    attn_statistics_wanted wanted =
        attn_statistics_wanted_init(ATTN_STAT_ENTROPY | ATTN_STAT_MAX_WEIGHT | ATTN_STAT_MAX_KEY |
                                    ATTN_STAT_VISIBLE_KEYS | ATTN_STAT_COLUMN_MASS);
    struct case_options options = case_options_init(&p);
    options.wanted = &wanted;
    struct attention_case *c = case_create(&p, &options);
    c->seed = seed;
    c->values = "slopes to the ends of f32";
    case_fill_qkv(c, &random, 1);
    c->scores_args.alibi_slopes = c->alibi_slopes = need(6, sizeof *c->alibi_slopes);
    memcpy(c->alibi_slopes, slopes, sizeof slopes);
    const int64_t skipped = record.skipped_rows;
    int faults = run_laid(c, false, &random);
    faults += record.skipped_rows != skipped;
    case_destroy(c);
    return faults;
}

static void steep_slopes(void **state)
{
    (void)state;
    repeat(54500000, 12, one_steep);
}

/* Documents and a mask promised constant, laid out for more keys than the run has; padded and ragged queries. */
static int one_promised(uint64_t seed)
{
    struct random random = {seed};
    attn_problem p = attn_problem_init(3, 4, 2, seed % 2 ? 5 : 40, 900, 32);
    p.lengths = (attn_lengths)(seed / 2 % 4);
    const bool ragged = p.lengths >= ATTN_LENGTHS_RAGGED_I32;
    attn_scores scores = attn_scores_init();
    scores.documents = true;
    scores.mask = ATTN_MASK_BYTES;
    const int64_t stride[3] = {p.queries * p.keys, 0, p.keys};
    memcpy(scores.mask_stride, stride, sizeof stride);
    p.scores = &scores;
    int64_t queries[3], keys[3];
    struct case_options options = case_options_init(&p);
    options.keys = random_between(&random, 500, 850);
    for (int b = 0; b < 3; b++) {
        queries[b] = random_between(&random, 1, p.queries);
        keys[b] = random_between(&random, 1, options.keys);
        p.total_queries += ragged ? queries[b] : 0;
        p.total_keys += ragged ? keys[b] : 0;
    }
    options.query_lengths = queries, options.key_lengths = keys;
    options.constant = true;
    case_random_layouts(&p, &random, false);
    struct attention_case *c = case_create(&p, &options);
    c->seed = seed;
    c->values = "documents promised";
    case_fill_qkv(c, &random, 1);
    case_random_scores(c, &random);
    int faults = run_laid(c, false, &random);
    case_destroy(c);
    return faults;
}

static void promised_documents(void **state)
{
    (void)state;
    repeat(54600000, 24, one_promised);
}

/* What a fault would print, of every kind of case. */
static void descriptions(void **state)
{
    (void)state;
    FILE *nowhere = fopen("/dev/null", "w");
    assert_non_null(nowhere);
    for (uint64_t seed = 55000000; seed < 55000060; seed++) {
        struct random random = {seed};
        struct attention_case *c = case_random_all(seed, CASE_SMALL);
        struct store *store = store_create(c, random_type(c, &random), &random);
        struct laid laid = store_lay(store, 16, false, &random);
        laid_use(&laid, c);
        case_describe(c, nowhere);
        laid_destroy(&laid);
        store_destroy(store);
        case_destroy(c);
    }
    fclose(nowhere);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_cases),       cmocka_unit_test(hostile_cases),
        cmocka_unit_test(tall_cases),         cmocka_unit_test(steep_slopes),
        cmocka_unit_test(promised_documents), cmocka_unit_test(descriptions),
    };
    status = cmocka_run_group_tests_name("decode", tests, NULL, NULL);
    record_print(&record);
    return status;
}
