/* Values at the edges, each by itself: a giant score, one visible key, rows that see nothing, NaN in a late
 * block, outputs beyond their dtype, sinks of every size, biases to the ends of f32. */
#include "attention/attention_case.h"
#include "attention/compare.h"
#include "attention/path.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "attn_ref.h"

static struct record record;

static void run_and_compare(struct attention_case *c)
{
    attn_error error;
    if (case_run(c, NULL, &error) != ATTN_OK) {
        case_describe(c, stderr);
        fail_msg("%s", error.message);
    }
    assert_int_equal(case_compare(c, &record), 0);
}

static void set_dtype(attn_problem *p, attn_dtype dtype)
{
    p->q.dtype = p->k.dtype = p->v.dtype = p->o.dtype = dtype;
}

/* A key far above (or below) all others, in a late block of keys, when much has been gathered. */
static void giant_late_key(void **state)
{
    (void)state;
    static const float giants[] = {20, 26, 32, 1e3f, 1e10f, 1e25f, 1e37f};
    for (int g = 0; g < 42; g++) {
        struct random random = {(uint64_t)g};
        attn_dtype dtype = (attn_dtype)(ATTN_F32 + g / 14);
        attn_problem p = attn_problem_init(1, 2, 1, 20, 1200, 3);
        p.scale = 1;
        p.q.dtype = p.k.dtype = p.v.dtype = p.o.dtype = dtype;
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
        float giant = g % 2 ? giants[g / 2 % 7] : -giants[g / 2 % 7];
        if (dtype == ATTN_F16)
            giant = fmaxf(fminf(giant, 6e4f), -6e4f);
        case_set(&c->k, &p.k, 0, 0, 1100, 1, (double)giant);
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

/* NaN and Inf in late blocks of keys, of which some rows see the poison and some do not: by a window, or
 * by a mask that is read. */
static void late_poison(void **state)
{
    (void)state;
    static const int64_t places[] = {511, 512, 700, 1023, 1024, 1099};
    for (int turn = 0; turn < 6 * 2 * 3; turn++) {
        int at = turn % 6, values = turn / 6 % 2, read = turn / 12;
        struct random random = {(uint64_t)at};
        attn_problem p = attn_problem_init(1, 1, 1, 210, 1100, 20);
        attn_scores scores = attn_scores_init();
        set_dtype(&p, (attn_dtype)(ATTN_F32 + (turn + turn / 6) % 3));
        p.causal = true;
        p.alignment = ATTN_OFFSET;
        p.window = (attn_window){read ? -1 : 150, -1, at % 2 ? 5 : 0};
        if (read) {
            p.scores = &scores;
            scores.mask = read == 1 ? ATTN_MASK_BYTES : ATTN_MASK_BITS;
            scores.mask_stride[2] = read == 1 ? 1100 : 138;
        }
        struct case_options options = case_options_init(&p);
        struct attention_case *c = case_create(&p, &options);
        c->values = "one hostile element in a late block";
        c->args.query_offset = c->query_offset = need(1, sizeof *c->query_offset);
        c->query_offset[0] = places[at] - 20 < 890 ? places[at] - 20 : 890;
        case_fill_qkv(c, &random, 1);
        if (read)
            case_make_mask(c);
        for (int64_t i = 0; i < 210; i++)
            for (int64_t j = 0; j < 1100; j++)
                case_set_mask(c, 0, 0, i, j, j != places[at] || i % 3 == 0);
        const struct tensor *tensor = values ? &c->v : &c->k;
        case_set(tensor, values ? &p.v : &p.k, 0, 0, places[at], 7, at % 2 ? NAN : INFINITY);
        run_and_compare(c);
        case_destroy(c);
    }
}

/* One visible key has weight 1: its value comes through bit by bit, whatever its score and dtype. */
static void single_key(void **state)
{
    (void)state;
    for (int64_t d = 1; d <= 130; d++) {
        struct random random = {(uint64_t)d};
        attn_problem p = attn_problem_init(2, 4, 2, 9, 1, d);
        set_dtype(&p, (attn_dtype)(ATTN_F32 + d % 3));
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
            int64_t b = row / 36, h = row / 9 % 4;
            for (int64_t e = 0; e < d; e++)
                assert_true(case_output(c, b, h, row % 9, e) ==
                            case_get(&c->v, &p.v, b, h / 2, 0, e));
            assert_true(c->statistics.entropy[row] == 0.0f);
            assert_true(c->statistics.varentropy[row] == 0.0f);
            assert_true(c->statistics.max_weight[row] == 1.0f);
        }
        case_destroy(c);
    }
}

/* An output past what its dtype holds is infinite, one just below is not. */
static void outputs_beyond_f16(void **state)
{
    (void)state;
    attn_problem p = attn_problem_init(1, 1, 1, 4, 2, 3);
    set_dtype(&p, ATTN_F16);
    struct case_options options = case_options_init(&p);
    struct attention_case *c = case_create(&p, &options);
    case_fill_constant(&c->q, &p.q, 0);
    case_fill_constant(&c->k, &p.k, 0);
    for (int64_t j = 0; j < 2; j++) {
        case_set(&c->v, &p.v, 0, 0, j, 0, 65504);
        case_set(&c->v, &p.v, 0, 0, j, 1, j ? 6e-8 : 1.2e-7); /* subnormal: 1 and 2 units */
        case_set(&c->v, &p.v, 0, 0, j, 2, j ? -INFINITY : 1);
    }
    run_and_compare(c);
    for (int64_t i = 0; i < 4; i++) {
        assert_true(case_output(c, 0, 0, i, 0) == 65504);
        assert_true(case_output(c, 0, 0, i, 1) == 0x1p-23); /* 1.5 units: a tie, to even */
        assert_true(case_output(c, 0, 0, i, 2) == -INFINITY);
    }
    case_destroy(c);
}

/* A sink of any size takes its share: from nothing to everything, and nothing is NaN. */
static void sinks_of_every_size(void **state)
{
    (void)state;
    static const float sizes[] = {-INFINITY, -3.4e38f, -1e4f, -90, 0, 4, 90, 104, 1e4f, 3.4e38f};
    for (int dtype = ATTN_F32; dtype <= ATTN_F16; dtype++)
        for (int blind = 0; blind < 2; blind++) {
            struct random random = {(uint64_t)dtype};
            attn_problem p = attn_problem_init(1, 10, 2, 7, blind ? 0 : 70, 16);
            set_dtype(&p, (attn_dtype)dtype);
            p.sinks = true;
            struct case_options options = case_options_init(&p);
            options.with_lse_with_sink = true;
            struct attention_case *c = case_create(&p, &options);
            c->args.sinks = c->sinks = need(10, sizeof *c->sinks);
            memcpy(c->sinks, sizes, sizeof sizes);
            case_fill_qkv(c, &random, 1);
            run_and_compare(c);
            for (int64_t h = 0; h < 10; h++)
                for (int64_t i = 0; i < 7; i++) {
                    float lse = c->args.lse[h * 7 + i], both = c->args.lse_with_sink[h * 7 + i];
                    double o = case_output(c, 0, h, i, 0);
                    assert_true(blind || sizes[h] > -90 || both == lse);
                    assert_true(sizes[h] < 90 || both == sizes[h]);
                    assert_true(!blind || both == sizes[h]);
                    assert_true(sizes[h] <= 104 && !blind ? o != 0 || sizes[h] > 80 : o == 0);
                }
            case_destroy(c);
        }
}

/* Distances that f32 rounds: each once or twice, never more the further along a block of keys. */
static void far_positions(void **state)
{
    (void)state;
    for (int exponent = 23; exponent <= 30; exponent++)
        for (int side = -1; side <= 1; side += 2) {
            struct random random = {(uint64_t)exponent};
            attn_problem p = attn_problem_init(1, 1, 1, 9, 1100, 8);
            attn_scores scores = attn_scores_init();
            attn_statistics_wanted wanted = attn_statistics_wanted_init((1u << 20) - 1);
            scores.alibi = true;
            wanted.segments = 1;
            p.scores = &scores;
            p.alignment = ATTN_OFFSET;
            struct case_options options = case_options_init(&p);
            options.wanted = &wanted;
            struct attention_case *c = case_create(&p, &options);
            c->values = "positions far from the keys";
            c->args.query_offset = c->query_offset = need(1, sizeof *c->query_offset);
            c->query_offset[0] = side * ((INT64_C(1) << exponent) + 7);
            c->scores_args.alibi_slopes = c->alibi_slopes = need(1, sizeof(float));
            c->alibi_slopes[0] = 0x1p-20f;
            c->statistics.segment_ids = c->segment_ids = need(1100, 1);
            case_fill_qkv(c, &random, 1);
            run_and_compare(c);
            case_destroy(c);
        }
}

/* Every way of seeing nothing. */
enum way {
    TOO_EARLY,
    WINDOW_BEFORE,
    WINDOW_BEHIND,
    EXCLUDED,
    NO_KEYS,
    BYTES,
    BITS,
    BIAS,
    DOCUMENTS,
    BLOCKS,
    FUNCTION,
    PADDED_KEYS,
    PADDED_ROWS,
    RAGGED_KEYS,
    WAYS
};

static bool no_block(void *context, int64_t head, int64_t row, int64_t key)
{
    (void)context, (void)head, (void)row, (void)key;
    return false;
}

static void announce(enum way way, attn_problem *p, attn_scores *s)
{
    p->alignment = way <= WINDOW_BEHIND ? ATTN_OFFSET : ATTN_BOTTOM_RIGHT;
    p->causal = way == TOO_EARLY;
    p->window.left = way == WINDOW_BEFORE ? 3 : -1;
    p->window.right = way == WINDOW_BEHIND ? 3 : -1;
    p->excluded_keys = way == EXCLUDED ? p->keys : 0;
    if (way >= BYTES && way <= FUNCTION)
        p->scores = s;
    if (way == BYTES || way == BITS)
        s->mask = way == BYTES ? ATTN_MASK_BYTES : ATTN_MASK_BITS;
    if (way == BIAS)
        s->bias = p->q.dtype;
    s->documents = way == DOCUMENTS;
    if (way == BLOCKS)
        s->block_rows = 8, s->block_keys = 24;
    if (way == FUNCTION)
        s->function = case_score_function;
    if (way == PADDED_KEYS || way == PADDED_ROWS)
        p->lengths = ATTN_LENGTHS_PADDED;
    if (way == RAGGED_KEYS)
        p->lengths = ATTN_LENGTHS_RAGGED_I32, p->total_queries = 40;
}

static void provide(enum way way, struct attention_case *c)
{
    const attn_problem *p = &c->problem;
    if (p->alignment == ATTN_OFFSET) {
        c->args.query_offset = c->query_offset = need(1, sizeof *c->query_offset);
        c->query_offset[0] = way == WINDOW_BEFORE ? 1000 : -1000;
    }
    if (way == EXCLUDED) {
        c->args.excluded_keys = c->excluded_keys = need(2 * 40, sizeof *c->excluded_keys);
        for (int64_t e = 0; e < 2 * 40; e++)
            c->excluded_keys[e] = e % 40;
    }
    case_make_mask(c); /* zeros, one row for all */
    if (way == BIAS) {
        case_make_bias(c);
        for (int64_t j = 0; j < 40; j++)
            case_set_bias(c, 0, 0, 0, j, -INFINITY);
    }
    if (way == DOCUMENTS) {
        c->scores_args.query_documents = c->query_documents = need(40, sizeof(int32_t));
        c->scores_args.key_documents = c->key_documents = need(40, sizeof(int32_t));
        for (int64_t j = 0; j < 40; j++)
            c->query_documents[j] = 7, c->key_documents[j] = j % 2 ? 6 : 8;
    }
    if (way == BLOCKS)
        case_make_blocks(c, no_block, NULL);
    if (way == FUNCTION) {
        c->function = (struct case_function){.factor = 1, .hides = 1};
        c->scores.function_context = &c->function;
    }
}

/* Rows that see nothing; hostile q, k and v all around. */
static void blind_rows(void **state)
{
    (void)state;
    for (int turn = 0; turn < 3 * WAYS; turn++) {
        enum way way = (enum way)(turn % WAYS);
        const int64_t none = 0, all = 40;
        attn_problem p = attn_problem_init(1, 2, 1, 40, way == NO_KEYS ? 0 : 40, 24);
        attn_scores scores = attn_scores_init();
        set_dtype(&p, (attn_dtype)(ATTN_F32 + turn / WAYS));
        announce(way, &p, &scores);
        attn_statistics_wanted wanted = attn_statistics_wanted_init((1u << 23) - 1);
        wanted.segments = 2, wanted.top_keys = 5;
        struct case_options options = case_options_init(&p);
        options.wanted = &wanted;
        options.query_lengths = way == PADDED_ROWS ? &none : &all;
        options.key_lengths = way == PADDED_KEYS || way == RAGGED_KEYS ? &none : &all;
        struct attention_case *c = case_create(&p, &options); /* inputs stay NaN */
        provide(way, c);
        c->statistics.segment_ids = c->segment_ids = need(40, 1);
        case_request_weights(c, 0, 0, 0, way == PADDED_ROWS ? 0 : 40);
        run_and_compare(c);
        for (int64_t i = 0; i < 2 * 40; i++) {
            assert_true(c->args.lse[i] == -INFINITY);
            assert_true(c->statistics.entropy[i] == 0.0f);
            assert_true(c->statistics.min_score[i] == INFINITY);
            assert_true(c->statistics.max_logit[i] == -INFINITY);
            assert_int_equal(c->statistics.max_key[i], -1);
            for (int64_t d = 0; d < 24; d++)
                assert_true(case_output(c, 0, i / 40, i % 40, d) == 0);
        }
        case_destroy(c);
    }
}

/* What is added to row `row` at key `key`: all keys as low as f32 goes; all but one; one as high as f32 goes;
 * half hidden, the others low; all of them beyond (a function's +inf is what +inf is elsewhere). */
enum { LOW, LOW_BUT_ONE, HIGH, LOW_OR_HIDDEN, INFINITE, ENDS, ENDS_KEYS = 700, ENDS_ONE = 555 };

static float end_of_f32(int64_t row, int64_t key)
{
    switch (row) {
    case LOW:
        return -FLT_MAX;
    case LOW_BUT_ONE:
        return key == ENDS_ONE ? 0 : -3e38f;
    case HIGH:
        return key == ENDS_ONE ? 3e38f : 0;
    case LOW_OR_HIDDEN:
        return key % 2 ? -2.5e38f : -INFINITY;
    default:
        return INFINITY;
    }
}

static void put_ends(void *context, int64_t batch, int64_t head, int64_t query_begin, int64_t rows,
                     int64_t key_begin, int64_t keys, float *scores, int64_t stride)
{
    (void)context, (void)batch, (void)head;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < keys; k++)
            scores[r * stride + k] = fminf(FLT_MAX, end_of_f32(query_begin + r, key_begin + k));
}

/* Biases, and what the caller's function makes of scores, to the ends of f32: any that is not -inf is
 * visible. Weights are equal where they all are, and all on one key where it alone is not low. */
static void ends_of_f32(void **state)
{
    (void)state;
    for (int turn = 0; turn < 6; turn++) {
        const bool function = turn % 2;
        struct random random = {(uint64_t)turn};
        attn_problem p = attn_problem_init(1, 2, 1, ENDS, ENDS_KEYS, 16);
        attn_scores scores = attn_scores_init();
        set_dtype(&p, (attn_dtype)(ATTN_F32 + turn / 2));
        p.scores = &scores;
        scores.bias = function ? 0 : ATTN_F32;
        scores.bias_stride[2] = ENDS_KEYS;
        scores.function = function ? put_ends : NULL;
        attn_statistics_wanted wanted = attn_statistics_wanted_init(
            ATTN_STAT_ENTROPY | ATTN_STAT_MAX_WEIGHT | ATTN_STAT_MAX_KEY | ATTN_STAT_VISIBLE_KEYS);
        struct case_options options = case_options_init(&p);
        options.wanted = &wanted;
        struct attention_case *c = case_create(&p, &options);
        c->values = "the ends of f32";
        c->function.factor = 0,
        c->function.offset = 1; /* for the bounds: nothing is left of a score */
        case_fill_qkv(c, &random, 1);
        if (!function)
            case_make_bias(c);
        for (int64_t i = 0; i < ENDS; i++)
            for (int64_t j = 0; j < ENDS_KEYS; j++)
                case_set_bias(c, 0, 0, i, j, (double)end_of_f32(i, j));
        run_and_compare(c);
        for (int64_t at = 0; at < 2 * ENDS; at++) {
            const int64_t row = at % ENDS;
            const bool one = row == LOW_BUT_ONE || row == HIGH;
            const double n = one ? 1 : row == LOW_OR_HIDDEN ? ENDS_KEYS / 2 : ENDS_KEYS;
            const double bound =
                (2 * n + 16) * 0x1p-24 + 1e-6; /* bounds.c, exact scores: 9 acc of H */
            assert_int_equal(c->statistics.visible_keys[at],
                             row == LOW_OR_HIDDEN ? ENDS_KEYS / 2 : ENDS_KEYS);
            assert_true(fabs((double)c->statistics.max_weight[at] * n - 1) < bound);
            assert_true(fabs((double)c->statistics.entropy[at] - log(n)) < 10 * bound);
            assert_int_equal(c->statistics.max_key[at], one                    ? ENDS_ONE
                                                        : row == LOW_OR_HIDDEN ? 1
                                                                               : 0);
            assert_true(isfinite(c->args.lse[at]));
        }
        case_destroy(c);
    }
}

/* Finite slopes past what f32 holds in base 2, at the first key or farther: every key but that of the query
 * itself is as low (or as high) as ALiBi goes, and they weigh alike. */
static void steep_slopes(void **state)
{
    (void)state;
    static const float slopes[] = {FLT_MAX, 2.4e38f, 1e38f, 1e36f, 2e35f, -FLT_MAX, -1e38f, -2e35f};
    for (int turn = 0; turn < 3; turn++) {
        struct random random = {(uint64_t)turn};
        attn_problem p = attn_problem_init(1, 8, 2, turn == 1 ? 1 : 40, 1500, 16);
        attn_scores scores = attn_scores_init();
        set_dtype(&p, (attn_dtype)(ATTN_F32 + turn));
        p.scores = &scores;
        p.causal = turn == 2;
        scores.alibi = true;
        attn_statistics_wanted wanted = attn_statistics_wanted_init(
            ATTN_STAT_ENTROPY | ATTN_STAT_MAX_WEIGHT | ATTN_STAT_MAX_KEY | ATTN_STAT_VISIBLE_KEYS |
            ATTN_STAT_COLUMN_MASS);
        struct case_options options = case_options_init(&p);
        options.wanted = &wanted;
        struct attention_case *c = case_create(&p, &options);
        c->values = "slopes to the ends of f32";
        case_fill_qkv(c, &random, 1);
        c->scores_args.alibi_slopes = c->alibi_slopes = need(8, sizeof *c->alibi_slopes);
        memcpy(c->alibi_slopes, slopes, sizeof slopes);
        const int64_t skipped = record.skipped_rows;
        run_and_compare(c);
        assert_int_equal(record.skipped_rows, skipped);
        case_destroy(c);
    }
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_key),          cmocka_unit_test(giant_late_key),
        cmocka_unit_test(late_poison),         cmocka_unit_test(outputs_beyond_f16),
        cmocka_unit_test(sinks_of_every_size), cmocka_unit_test(blind_rows),
        cmocka_unit_test(far_positions),       cmocka_unit_test(ends_of_f32),
        cmocka_unit_test(steep_slopes),
    };
    status = cmocka_run_group_tests_name("check_values_fixed", tests, NULL, NULL);
    record_print(&record);
    return status;
}
