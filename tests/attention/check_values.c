/* Hostile values. The rule, for each (query, key) pair: NaN and Inf in a masked k or v never reach the
 * output, NaN in a visible q, k or v always does; rows that none of them touches are as right as ever. */
#include "attention/attention_case.h"
#include "attention/compare.h"
#include "attention/hostile.h"
#include "attention/path.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "attn_ref.h"

static struct record record;

/* One element of a tensor. */
static void poison(const struct tensor *tensor, const attn_layout *layout, struct random *random)
{
    for (int axis = 0; axis < 4; axis++)
        if (tensor->extent[axis] == 0)
            return;
    int64_t b = random_between(random, 0, tensor->extent[0] - 1);
    int64_t h = random_between(random, 0, tensor->extent[1] - 1);
    int64_t n = random_between(random, 0, tensor->extent[2] - 1);
    int64_t d = random_between(random, 0, tensor->extent[3] - 1);
    hostile_store(case_place(tensor, layout, b, h, n), tensor->dtype, d, random);
}

/* One element of the bias: a hidden pair's reaches nothing, whatever it is. */
static void poison_bias(struct attention_case *c, struct random *random)
{
    static const double values[] = {NAN, -NAN, INFINITY, 1e30, 3e38, -3e38, -FLT_MAX};
    if (!c->bias.block)
        return;
    case_set_bias(c, random_between(random, 0, c->extent[0] - 1),
                  random_between(random, 0, c->problem.heads - 1),
                  random_between(random, 0, c->extent[1] - 1),
                  random_between(random, 0, c->extent[2] - 1),
                  values[random_between(random, 0, 6)]);
}

static int run_and_compare(struct attention_case *c)
{
    attn_error error;
    attn_status status = case_run(c, NULL, &error);
    if (status != ATTN_OK) {
        case_describe(c, stderr);
        fprintf(stderr, "    %s: %s\n", attn_status_name(status), error.message);
        return 1;
    }
    return case_compare(c, &record);
}

/* The seed of a failing case, set in ATTN_CHECK_SEED, runs that case alone. */
static void repeat(uint64_t first, int64_t count, int (*one)(uint64_t seed))
{
    const char *seed = getenv("ATTN_CHECK_SEED");
    if (seed) {
        uint64_t only = strtoull(seed, NULL, 10);
        if (only >= first && only < first + 1000000)
            assert_int_equal(one(only), 0);
        return;
    }
    int failed = 0;
    for (int64_t i = 0; i < path_cases(count) && failed < 5; i++)
        failed += one(first + (uint64_t)i) != 0;
    if (failed)
        fail_msg("%d cases differ from the specification", failed);
}

/* Every third case is of the plain kind, the others of every kind. */
static struct attention_case *random_case(uint64_t seed, enum case_size size)
{
    return seed % 3 == 0 ? case_random(seed, size) : case_random_all(seed, size);
}

static int one_poisoned(uint64_t seed)
{
    struct random random = {seed};
    struct attention_case *c = random_case(seed, seed % 100 == 0 ? CASE_LARGE : CASE_SMALL);
    c->values = "a few hostile elements";
    int64_t count = random_between(&random, 1, 3);
    for (int64_t i = 0; i < count; i++) {
        int64_t which = random_between(&random, 0, 5);
        if (which == 0)
            poison(&c->q, &c->problem.q, &random);
        else if (which < 3)
            poison(&c->k, &c->problem.k, &random);
        else if (which < 5)
            poison(&c->v, &c->problem.v, &random);
        else
            poison_bias(c, &random);
    }
    int faults = run_and_compare(c);
    case_destroy(c);
    return faults;
}

static void poisoned_elements(void **state)
{
    (void)state;
    repeat(11000000, 1500, one_poisoned);
}

/* Whether the row sees the key; the function of random cases hides pairs whatever their scores. */
static bool sees(const struct attention_case *c, int64_t b, int64_t h, int64_t i, int64_t j)
{
    return attn_ref_visible(&c->problem, &c->args, b, h, i, j) &&
           !(c->scores.function &&
             attn_ref_score(&c->problem, &c->args, b, h, i, j, 0) == -INFINITY);
}

/* Whether any row of the query heads of a kv head sees the key. */
static bool seen_by_any(const struct attention_case *c, int64_t b, int64_t kv_head, int64_t key)
{
    int64_t group = c->problem.heads / c->problem.kv_heads;
    for (int64_t h = kv_head * group; h < (kv_head + 1) * group; h++)
        for (int64_t i = 0; i < case_queries(c, b); i++)
            if (sees(c, b, h, i, key))
                return true;
    return false;
}

/* The last rows of a padded batch: what is behind the sequences must not be seen either. */
static void poison_padding(const struct attention_case *c, const struct tensor *tensor,
                           const attn_layout *layout, bool keys, struct random *random)
{
    for (int64_t b = 0; b < tensor->extent[0]; b++)
        for (int64_t h = 0; h < tensor->extent[1]; h++)
            for (int64_t n = keys ? case_keys(c, b) : case_queries(c, b); n < tensor->extent[2];
                 n++)
                for (int64_t d = 0; d < tensor->extent[3]; d++)
                    hostile_store(case_place(tensor, layout, b, h, n), tensor->dtype, d, random);
}

/* Every key and value that nobody sees is hostile through and through: all outputs must be finite. */
static int one_unseen(uint64_t seed)
{
    struct random random = {seed};
    struct attention_case *c = random_case(seed, CASE_SMALL);
    const bool ragged = c->problem.lengths >= ATTN_LENGTHS_RAGGED_I32;
    attn_problem p = c->problem;
    int64_t queries = ragged ? c->q.extent[2] : p.queries;
    int64_t keys = ragged ? c->k.extent[2] : p.keys;
    p.q = attn_layout_bshd(p.q.dtype, p.heads, queries, p.head_size);
    p.k = attn_layout_bhsd(p.k.dtype, p.kv_heads, keys, p.head_size);
    p.v = attn_layout_bshd(p.v.dtype, p.kv_heads, keys, p.head_size_v);
    p.o = attn_layout_bhsd(p.o.dtype, p.heads, queries, p.head_size_v);
    struct attention_case *own = case_in_layouts(c, &p); /* no broadcast, no shared block */
    case_destroy(c);
    own->values = "hostile wherever masked";
    for (int64_t b = 0; b < own->args.batch; b++)
        for (int64_t h = 0; h < (p.heads ? p.kv_heads : 0); h++)
            for (int64_t j = 0; j < case_keys(own, b); j++) {
                if (seen_by_any(own, b, h, j))
                    continue;
                for (int64_t d = 0; d < p.head_size; d++)
                    hostile_store(case_vector(own, CASE_K, b, h, j), p.k.dtype, d, &random);
                for (int64_t d = 0; d < p.head_size_v; d++)
                    hostile_store(case_vector(own, CASE_V, b, h, j), p.v.dtype, d, &random);
            }
    if (!ragged) {
        poison_padding(own, &own->q, &own->problem.q, false, &random);
        poison_padding(own, &own->k, &own->problem.k, true, &random);
        poison_padding(own, &own->v, &own->problem.v, true, &random);
    }
    int64_t poisoned = record.poisoned_rows;
    int faults = run_and_compare(own);
    if (record.poisoned_rows != poisoned) {
        fprintf(stderr, "    the test itself poisoned a row (seed %llu)\n",
                (unsigned long long)seed);
        faults++;
    }
    case_destroy(own);
    return faults;
}

static void unseen_keys(void **state)
{
    (void)state;
    repeat(12000000, 1000, one_unseen);
}

/* Scores of +-1e4 and far beyond what an exponential can hold; sums must neither overflow nor vanish. */
static int one_extreme(uint64_t seed)
{
    struct random random = {seed};
    struct attention_case *c = random_case(seed, seed % 80 == 0 ? CASE_LARGE : CASE_SMALL);
    double size = seed % 3 == 0 ? 1e4 : seed % 3 == 1 ? 1e3 : 2e5;
    c->values = "scores of thousands";
    double spread = sqrt(size / sqrt((double)c->problem.head_size));
    case_fill_normal(&c->q, &c->problem.q, &random, spread, 0);
    if (!c->packed)
        case_fill_normal(&c->k, &c->problem.k, &random, spread, seed % 2 ? spread : -spread);
    int faults = run_and_compare(c);
    case_destroy(c);
    return faults;
}

static void extreme_scores(void **state)
{
    (void)state;
    repeat(13000000, 500, one_extreme);
}

static int one_tiny(uint64_t seed)
{
    struct random random = {seed};
    struct attention_case *c = random_case(seed, CASE_SMALL);
    c->values = "denormal numbers";
    bool f16 = c->problem.q.dtype == ATTN_F16;
    case_fill_normal(&c->v, &c->problem.v, &random, f16 ? 1e-6 : 1e-40, 0);
    if (seed % 2)
        case_fill_normal(&c->k, &c->problem.k, &random, f16 ? 1e-5 : 1e-39, 0);
    int faults = run_and_compare(c);
    case_destroy(c);
    return faults;
}

static void denormals(void **state)
{
    (void)state;
    repeat(14000000, 300, one_tiny);
}

/* What is read beside the scores, and hides nothing: of each kind, all of them, none. */
static void harmless_scores(attn_problem *p, attn_scores *s, uint64_t kind)
{
    if (kind == 0)
        return;
    p->scores = s;
    if (kind == 1 || kind == 6)
        s->mask = ATTN_MASK_BYTES, s->mask_stride[2] = p->keys;
    if (kind == 2 || kind == 6)
        s->bias = ATTN_F32, s->bias_stride[2] = p->keys;
    if (kind == 3 || kind == 6)
        s->alibi = true;
    if (kind == 4)
        s->documents = true;
    if (kind == 5)
        s->block_rows = s->block_keys = 16;
}

static bool every_block(void *context, int64_t head, int64_t row, int64_t key)
{
    (void)context, (void)head, (void)row, (void)key;
    return true;
}

static void fill_harmless(struct attention_case *c)
{
    int64_t n = c->args.queries;
    if (c->scores.mask)
        case_make_mask(c);
    if (c->scores.bias)
        case_make_bias(c); /* zeros */
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < c->args.keys; j++)
            case_set_mask(c, 0, 0, i, j, true);
    if (c->scores.alibi)
        c->scores_args.alibi_slopes = c->alibi_slopes = need((size_t)c->problem.heads, 4);
    if (c->scores.documents) {
        c->scores_args.query_documents = c->query_documents = need((size_t)n, 4);
        c->scores_args.key_documents = c->key_documents = need((size_t)c->args.keys, 4);
    }
    if (c->scores.block_rows)
        case_make_blocks(c, every_block, NULL);
}

/* k = -Inf against q > 0 is a visible key with score -Inf: weight 0, and 0 * -Inf nowhere. So it is under
 * masks that are read, whether the block is full or not. */
static int one_minus_infinity(uint64_t seed)
{
    struct random random = {seed};
    int64_t n = random_between(&random, 2, 60);
    if (random_chance(&random, 0.4))
        n = (n + 31) / 32 * 32; /* whole panels: full blocks */
    attn_problem p = attn_problem_init(1, 2, 1, n, n, random_between(&random, 1, 70));
    attn_scores scores = attn_scores_init();
    p.causal = seed % 2;
    p.q.dtype = p.k.dtype = p.v.dtype = p.o.dtype = (attn_dtype)(1 + seed / 2 % 3);
    harmless_scores(&p, &scores, seed / 6 % 7);
    attn_statistics_wanted wanted = attn_statistics_wanted_init((1u << 23) - 1);
    wanted.top_keys = 3;
    wanted.segments = 1;
    if (random_chance(&random, 0.5))
        wanted.set &=
            ~(uint32_t)ATTN_STAT_MASS_SEGMENTS; /* with it bf16 is not multiplied in pairs */
    struct case_options options = case_options_init(&p);
    options.wanted = &wanted;
    struct attention_case *c = case_create(&p, &options);
    c->seed = seed;
    c->values = "some scores -Inf";
    c->statistics.segment_ids = c->segment_ids = need((size_t)n, 1);
    case_request_weights(c, 0, 1, 0, n);
    case_fill_constant(&c->q, &p.q, 0.5f);
    case_fill_normal(&c->k, &p.k, &random, 1, 0);
    case_fill_normal(&c->v, &p.v, &random, 1, 0);
    fill_harmless(c);
    for (int64_t j = 1; j < n; j += random_between(&random, 1, 9))
        case_set(&c->k, &p.k, 0, 0, j, random_between(&random, 0, p.head_size - 1), -INFINITY);
    int faults = run_and_compare(c);
    case_destroy(c);
    return faults;
}

static void minus_infinity(void **state)
{
    (void)state;
    repeat(15000000, 420, one_minus_infinity);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(poisoned_elements), cmocka_unit_test(unseen_keys),
        cmocka_unit_test(extreme_scores),    cmocka_unit_test(denormals),
        cmocka_unit_test(minus_infinity),
    };
    status = cmocka_run_group_tests_name("check_values", tests, NULL, NULL);
    record_print(&record);
    return status;
}
