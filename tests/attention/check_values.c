/* Hostile values. The rule, for each (query, key) pair: NaN and Inf in a masked k or v never reach the
 * output, NaN in a visible q, k or v always does; rows that none of them touches are as right as ever. */
#include "attention/attention_case.h"
#include "attention/compare.h"
#include "attention/path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "attn_ref.h"

static struct record record;

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* NaNs of any payload and sign, infinities, values whose products leave f32, denormals. */
static float hostile_value(struct random *random)
{
    static const uint32_t fixed[] = {0x7fc00000, 0xffc00000, 0x7f800001, 0xff800001, 0x7fffffff,
                                     0xffffffff, 0x7f800000, 0xff800000, 0x80000000, 0x00000001};
    switch (random_between(random, 0, 3)) {
    case 0:
        return from_bits(0x7f800001u + (uint32_t)(random_bits(random) & 0x807ffffeu));
    case 1:
        return (float)((random_chance(random, 0.5) ? 1 : -1) * 1e30);
    default:
        return from_bits(fixed[random_between(random, 0, 9)]);
    }
}

static void poison(const struct tensor *tensor, const attn_layout *layout, struct random *random)
{
    for (int axis = 0; axis < 4; axis++)
        if (tensor->extent[axis] == 0)
            return;
    int64_t b = random_between(random, 0, tensor->extent[0] - 1);
    int64_t h = random_between(random, 0, tensor->extent[1] - 1);
    int64_t n = random_between(random, 0, tensor->extent[2] - 1);
    int64_t d = random_between(random, 0, tensor->extent[3] - 1);
    case_element(tensor, layout, b, h, n)[d] = hostile_value(random);
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

static int one_poisoned(uint64_t seed)
{
    struct random random = {seed};
    struct attention_case *c = case_random(seed, seed % 50 == 0 ? CASE_LARGE : CASE_SMALL);
    c->values = "a few hostile elements";
    int64_t count = random_between(&random, 1, 3);
    for (int64_t i = 0; i < count; i++) {
        int64_t which = random_between(&random, 0, 4);
        if (which == 0)
            poison(&c->q, &c->problem.q, &random);
        else if (which < 3)
            poison(&c->k, &c->problem.k, &random);
        else
            poison(&c->v, &c->problem.v, &random);
    }
    int faults = run_and_compare(c);
    case_destroy(c);
    return faults;
}

static void poisoned_elements(void **state)
{
    (void)state;
    repeat(11000000, 700, one_poisoned);
}

/* Whether any row of the query heads of a kv head sees the key. */
static bool seen_by_any(const struct attention_case *c, int64_t b, int64_t kv_head, int64_t key)
{
    int64_t group = c->problem.heads / c->problem.kv_heads;
    for (int64_t h = kv_head * group; h < (kv_head + 1) * group; h++)
        for (int64_t i = 0; i < c->args.queries; i++)
            if (attn_ref_visible(&c->problem, &c->args, b, h, i, key))
                return true;
    return false;
}

/* Every key and value that nobody sees is hostile through and through: all outputs must be finite. */
static int one_unseen(uint64_t seed)
{
    struct random random = {seed};
    struct attention_case *c = case_random(seed, CASE_SMALL);
    attn_problem layouts = c->problem;
    layouts.q = attn_layout_bshd(ATTN_F32, layouts.heads, layouts.queries, layouts.head_size);
    layouts.k = attn_layout_bhsd(ATTN_F32, layouts.kv_heads, layouts.keys, layouts.head_size);
    layouts.v = attn_layout_bshd(ATTN_F32, layouts.kv_heads, layouts.keys, layouts.head_size_v);
    layouts.o = attn_layout_bhsd(ATTN_F32, layouts.heads, layouts.queries, layouts.head_size_v);
    struct attention_case *own = case_in_layouts(c, &layouts); /* no broadcast, no shared block */
    case_destroy(c);
    own->values = "hostile wherever masked";
    const attn_problem *p = &own->problem;
    for (int64_t b = 0; b < own->args.batch; b++)
        for (int64_t h = 0; h < (p->heads ? p->kv_heads : 0); h++)
            for (int64_t j = 0; j < own->args.keys; j++) {
                if (seen_by_any(own, b, h, j))
                    continue;
                for (int64_t d = 0; d < p->head_size; d++)
                    case_element(&own->k, &p->k, b, h, j)[d] = hostile_value(&random);
                for (int64_t d = 0; d < p->head_size_v; d++)
                    case_element(&own->v, &p->v, b, h, j)[d] = hostile_value(&random);
            }
    int faults = run_and_compare(own);
    case_destroy(own);
    return faults;
}

static void unseen_keys(void **state)
{
    (void)state;
    repeat(12000000, 500, one_unseen);
}

/* Scores of +-1e4 and far beyond what an exponential can hold; sums must neither overflow nor vanish. */
static int one_extreme(uint64_t seed)
{
    struct random random = {seed};
    struct attention_case *c = case_random(seed, seed % 40 == 0 ? CASE_LARGE : CASE_SMALL);
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
    repeat(13000000, 300, one_extreme);
}

static int one_tiny(uint64_t seed)
{
    struct random random = {seed};
    struct attention_case *c = case_random(seed, CASE_SMALL);
    c->values = "denormal numbers";
    case_fill_normal(&c->v, &c->problem.v, &random, 1e-40, 0);
    if (seed % 2)
        case_fill_normal(&c->k, &c->problem.k, &random, 1e-39, 0);
    int faults = run_and_compare(c);
    case_destroy(c);
    return faults;
}

static void denormals(void **state)
{
    (void)state;
    repeat(14000000, 200, one_tiny);
}

/* k = -Inf against q > 0 is a visible key with score -Inf: weight 0, and 0 * -Inf nowhere. */
static int one_minus_infinity(uint64_t seed)
{
    struct random random = {seed};
    int64_t n = random_between(&random, 2, 60);
    attn_problem p = attn_problem_init(1, 2, 1, n, n, random_between(&random, 1, 70));
    p.causal = seed % 2;
    attn_statistics_wanted wanted = attn_statistics_wanted_init((1u << 23) - 1);
    wanted.top_keys = 3;
    wanted.segments = 1;
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
    for (int64_t j = 1; j < n; j += random_between(&random, 1, 9))
        case_element(&c->k, &p.k, 0, 0, j)[random_between(&random, 0, p.head_size - 1)] = -INFINITY;
    int faults = run_and_compare(c);
    case_destroy(c);
    return faults;
}

static void minus_infinity(void **state)
{
    (void)state;
    repeat(15000000, 200, one_minus_infinity);
}

/* A key far above (or below) all others, in a late block of keys, when much has been gathered. */
static void giant_late_key(void **state)
{
    (void)state;
    static const float giants[] = {20, 26, 32, 1e3f, 1e10f, 1e25f, 1e37f};
    for (int g = 0; g < 14; g++) {
        struct random random = {(uint64_t)g};
        attn_problem p = attn_problem_init(1, 2, 1, 20, 1200, 3);
        p.scale = 1;
        p.alignment = ATTN_TOP_LEFT; /* all masses but the giant's lie in the first block */
        attn_statistics_wanted wanted = attn_statistics_wanted_init((1u << 23) - 1);
        wanted.segments = 1, wanted.top_keys = 3;
        struct case_options options = case_options_init(&p);
        options.wanted = &wanted;
        struct attention_case *c = case_create(&p, &options);
        c->values = "one giant score";
        c->statistics.segment_ids = c->segment_ids = need(1200, 1);
        case_fill_constant(&c->q, &p.q, 0.5f);
        case_fill_normal(&c->k, &p.k, &random, 1, 0);
        case_fill_normal(&c->v, &p.v, &random, 1, 0);
        float giant = g % 2 ? giants[g / 2] : -giants[g / 2];
        case_element(&c->k, &p.k, 0, 0, 1100)[1] = giant;
        attn_error error;
        if (case_run(c, NULL, &error) != ATTN_OK)
            fail_msg("%s", error.message);
        assert_int_equal(case_compare(c, &record), 0);
        for (int64_t i = 0; giant > 2e3f && i < 40; i++) {
            assert_int_equal(c->statistics.max_key[i], 1100);
            assert_true(c->statistics.max_weight[i] == 1.0f);
            assert_true(c->statistics.entropy[i] == 0.0f);
            assert_true(c->statistics.varentropy[i] == 0.0f);
        }
        case_destroy(c);
    }
}

/* NaN and Inf in late blocks of keys, of which some rows see the poison and some do not. */
static void late_poison(void **state)
{
    (void)state;
    static const int64_t places[] = {511, 512, 700, 1023, 1024, 1099};
    for (int at = 0; at < 6; at++)
        for (int values = 0; values < 2; values++) {
            struct random random = {(uint64_t)at};
            attn_problem p = attn_problem_init(1, 2, 1, 210, 1100, 20);
            p.causal = true;
            p.alignment = ATTN_OFFSET;
            p.window = (attn_window){150, -1, at % 2 ? 5 : 0};
            int64_t offset = places[at] - 20 < 890 ? places[at] - 20 : 890;
            struct case_options options = case_options_init(&p);
            struct attention_case *c = case_create(&p, &options);
            c->values = "one hostile element in a late block";
            c->args.query_offset = &offset;
            case_fill_normal(&c->q, &p.q, &random, 1, 0);
            case_fill_normal(&c->k, &p.k, &random, 1, 0);
            case_fill_normal(&c->v, &p.v, &random, 1, 0);
            const struct tensor *tensor = values ? &c->v : &c->k;
            case_element(tensor, values ? &p.v : &p.k, 0, 0, places[at])[7] =
                at % 2 ? NAN : INFINITY;
            attn_error error;
            if (case_run(c, NULL, &error) != ATTN_OK)
                fail_msg("%s", error.message);
            assert_int_equal(case_compare(c, &record), 0);
            case_destroy(c);
        }
}

/* One visible key has weight 1: its value comes through bit by bit, whatever its score. */
static void single_key(void **state)
{
    (void)state;
    for (int64_t d = 1; d <= 130; d += 3) {
        struct random random = {(uint64_t)d};
        attn_problem p = attn_problem_init(2, 4, 2, 9, 1, d);
        attn_statistics_wanted wanted = attn_statistics_wanted_init(
            ATTN_STAT_ENTROPY | ATTN_STAT_MAX_WEIGHT | ATTN_STAT_VARENTROPY);
        struct case_options options = case_options_init(&p);
        options.wanted = &wanted;
        struct attention_case *c = case_create(&p, &options);
        case_fill_normal(&c->q, &p.q, &random, 5, 0);
        case_fill_normal(&c->k, &p.k, &random, 5, 0);
        case_fill_normal(&c->v, &p.v, &random, 1, 0);
        assert_int_equal(case_run(c, NULL, NULL), ATTN_OK);
        for (int64_t row = 0; row < 2 * 4 * 9; row++) {
            const float *o = (const float *)c->args.o + row * d;
            const float *v = case_element(&c->v, &p.v, row / 36, row / 9 % 4 / 2, 0);
            assert_memory_equal(o, v, (size_t)d * sizeof(float));
            assert_true(c->statistics.entropy[row] == 0.0f);
            assert_true(c->statistics.varentropy[row] == 0.0f);
            assert_true(c->statistics.max_weight[row] == 1.0f);
        }
        case_destroy(c);
    }
}

/* Rows that see nothing, each way of seeing nothing; hostile q, k and v all around. */
static void blind_rows(void **state)
{
    (void)state;
    for (int way = 0; way < 5; way++) {
        attn_problem p = attn_problem_init(1, 2, 1, 40, way == 4 ? 0 : 40, 24);
        int64_t offset = -1000, excluded[2 * 40];
        attn_statistics_wanted wanted = attn_statistics_wanted_init((1u << 23) - 1);
        wanted.segments = 2, wanted.top_keys = 5;
        if (way == 0) {
            p.causal = true, p.alignment = ATTN_OFFSET;
        } else if (way == 1) {
            p.alignment = ATTN_OFFSET, p.window.left = 3, offset = 1000;
        } else if (way == 2) {
            p.alignment = ATTN_OFFSET, p.window.right = 3;
        } else if (way == 3) {
            p.excluded_keys = 40;
        }
        struct case_options options = case_options_init(&p);
        options.wanted = &wanted;
        struct attention_case *c = case_create(&p, &options); /* inputs stay NaN */
        for (int64_t e = 0; e < 2 * 40; e++)
            excluded[e] = e % 40;
        c->args.query_offset = p.alignment == ATTN_OFFSET ? &offset : NULL;
        c->args.excluded_keys = way == 3 ? excluded : NULL;
        c->statistics.segment_ids = c->segment_ids = need(40, 1);
        case_request_weights(c, 0, 0, 0, 40);
        attn_error error;
        if (case_run(c, NULL, &error) != ATTN_OK)
            fail_msg("way %d: %s", way, error.message);
        assert_int_equal(case_compare(c, &record), 0);
        for (int64_t i = 0; i < 2 * 40; i++) {
            assert_true(c->args.lse[i] == -INFINITY);
            assert_true(c->statistics.entropy[i] == 0.0f);
            assert_true(c->statistics.min_score[i] == INFINITY);
            assert_true(c->statistics.max_logit[i] == -INFINITY);
            assert_int_equal(c->statistics.max_key[i], -1);
            for (int64_t d = 0; d < 24; d++)
                assert_true(((const float *)c->args.o)[i * 24 + d] == 0.0f);
        }
        case_destroy(c);
    }
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(poisoned_elements), cmocka_unit_test(unseen_keys),
        cmocka_unit_test(extreme_scores),    cmocka_unit_test(denormals),
        cmocka_unit_test(minus_infinity),    cmocka_unit_test(single_key),
        cmocka_unit_test(giant_late_key),    cmocka_unit_test(late_poison),
        cmocka_unit_test(blind_rows),
    };
    status = cmocka_run_group_tests_name("check_values", tests, NULL, NULL);
    record_print(&record);
    return status;
}
