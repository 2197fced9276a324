/* Column mass added up over the steps of a generation, and keys evicted by it: what a run adds is what it would
 * write, to the bit; nothing else is touched; statistics then go by where keys stand. */
#include <attn/attn.h>
#include <attn/kv.h>
#include <attn/stats.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "attention/guarded.h"
#include "attention/path.h"
#include "attention/random.h"

enum { B = 2, HQ = 6, HKV = 2, CAPACITY = 1500, D = 32, STEP = 40, SEGMENTS = 3 };

/* A run over a cache and all it is told of. */
struct generation {
    attn_kv *kv;
    attn_kv_layout layout;
    attn_problem problem;
    attn_statistics_wanted wanted;
    attn_statistics statistics;
    int64_t lengths[B]; /* queries of each sequence */
    float q[B * HQ * STEP * D], k[B * HKV * STEP * D], v[B * HKV * STEP * D];
    float mass[B * HQ * CAPACITY], self[B * HQ * STEP], first[B * HQ * STEP];
    float distance[B * HQ * STEP], segments[B * HQ * STEP * SEGMENTS];
    int32_t viewers[B * HQ * CAPACITY];
    uint8_t ids[B * CAPACITY];
};

static void fill(float *x, int count, struct random *random)
{
    for (int i = 0; i < count; i++)
        x[i] = (float)random_normal(random);
}

static struct generation *begin(attn_dtype dtype, int64_t page_size)
{
    struct generation *g = need(1, sizeof *g);
    attn_kv_layer layer = attn_kv_layer_init(dtype, HKV, D, page_size);
    layer.positions = true;
    attn_kv_config config = attn_kv_config_init(&layer, 1, B, CAPACITY);
    assert_int_equal(attn_kv_create(&g->kv, &config, NULL, 0, NULL), ATTN_OK);
    assert_int_equal(attn_kv_get_layout(g->kv, 0, &g->layout, NULL), ATTN_OK);
    g->problem = attn_problem_init(B, HQ, HKV, STEP, CAPACITY, D);
    g->problem.cache = &g->layout;
    g->problem.causal = true;
    g->problem.lengths = ATTN_LENGTHS_PADDED;
    g->wanted = attn_statistics_wanted_init(ATTN_STAT_COLUMN_MASS | ATTN_STAT_COLUMN_VIEWERS |
                                            ATTN_STAT_MASS_SELF | ATTN_STAT_MASS_FIRST |
                                            ATTN_STAT_DISTANCE_MEAN | ATTN_STAT_MASS_SEGMENTS);
    g->wanted.segments = SEGMENTS;
    g->problem.statistics = &g->wanted;
    g->statistics = attn_statistics_init();
    g->statistics.column_mass = g->mass, g->statistics.column_viewers = g->viewers;
    g->statistics.mass_self = g->self, g->statistics.mass_first = g->first;
    g->statistics.distance_mean = g->distance, g->statistics.mass_segments = g->segments;
    g->statistics.segment_ids = g->ids;
    for (int i = 0; i < B * CAPACITY; i++)
        g->ids[i] = (uint8_t)(i % CAPACITY / 700);
    return g;
}

static void end(struct generation *g)
{
    attn_kv_destroy(g->kv);
    free(g);
}

static void append(struct generation *g, const int64_t count[B], struct random *random)
{
    attn_kv_rows rows = attn_kv_rows_init(B, HKV, STEP, D, ATTN_F32);
    fill(g->k, B * HKV * STEP * D, random);
    fill(g->v, B * HKV * STEP * D, random);
    rows.lengths = count, rows.k = g->k, rows.v = g->v;
    assert_int_equal(attn_kv_append(g->kv, 0, &rows, NULL, NULL), ATTN_OK);
}

static void run(struct generation *g)
{
    attn_kv_view view;
    attn_error error;
    assert_int_equal(attn_kv_get_view(g->kv, 0, NULL, B, &view, NULL), ATTN_OK);
    attn_args args = attn_args_init(&g->problem);
    args.cache = &view, args.q = g->q, args.query_lengths = g->lengths;
    args.statistics = &g->statistics;
    if (attn_forward(&g->problem, &args, NULL, &error) != ATTN_OK)
        fail_msg("%s", error.message);
}

/* Arrays of keys as they were before a run that adds, and what it is to find: what a run writes is added. */
static void add_and_compare(struct generation *g)
{
    enum { COUNT = B * HQ * CAPACITY };
    float *mass = need(COUNT, sizeof *mass);
    int32_t *viewers = need(COUNT, sizeof *viewers);
    memcpy(mass, g->mass, sizeof g->mass);
    memcpy(viewers, g->viewers, sizeof g->viewers);
    g->statistics.column_add = true;
    run(g);
    float *sum = need(COUNT, sizeof *sum);
    int32_t *counts = need(COUNT, sizeof *counts);
    memcpy(sum, g->mass, sizeof g->mass);
    memcpy(counts, g->viewers, sizeof g->viewers);
    g->statistics.column_add = false;
    run(g);
    for (int i = 0; i < COUNT; i++) {
        const int64_t keys = attn_kv_keys(g->kv, 0, i / (HQ * CAPACITY));
        if (i % CAPACITY >= keys) {
            assert_true(sum[i] == mass[i] && counts[i] == viewers[i]);
            assert_true(g->mass[i] == 0 && g->viewers[i] == 0);
            continue;
        }
        /* both are rounded once from sums of the same numbers in double */
        assert_true(fabs((double)sum[i] - (double)mass[i] - (double)g->mass[i]) <=
                    0x1p-23 * ((double)mass[i] + (double)g->mass[i]));
        assert_int_equal(counts[i], viewers[i] + g->viewers[i]);
    }
    memcpy(g->mass, sum, sizeof g->mass);
    memcpy(g->viewers, counts, sizeof g->viewers);
    free(mass);
    free(viewers);
    free(sum);
    free(counts);
}

/* Every row gives 1 away, whatever has been evicted. */
static void check_totals(const struct generation *g, int b, int64_t rows)
{
    for (int h = b * HQ; h < (b + 1) * HQ; h++) {
        double total = 0;
        for (int j = 0; j < CAPACITY; j++)
            total += (double)g->mass[h * CAPACITY + j];
        assert_true(fabs(total - (double)rows) < 1e-4 * (double)rows);
    }
}

static void steps_add_up(void **state)
{
    (void)state;
    static const struct {
        int64_t count[B];
    } steps[] = {{{40, 40}}, {{1, 1}},  {{1, 1}},  {{5, 5}},
                 {{33, 33}}, {{40, 2}}, {{2, 40}}, {{0, 0}}};
    struct random random = {91};
    struct generation *g = begin(ATTN_F16, 16);
    int64_t rows[B] = {0};
    for (int i = 0; i < B * HQ * CAPACITY; i++)
        g->mass[i] = 0, g->viewers[i] = 0;
    for (int i = 0; i < 30; i++)
        append(g, (int64_t[]){40, 40}, &random);
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
        append(g, steps[s].count, &random);
        fill(g->q, B * HQ * STEP * D, &random);
        memcpy(g->lengths, steps[s].count, sizeof g->lengths);
        add_and_compare(g);
        for (int b = 0; b < B; b++)
            rows[b] += steps[s].count[b];
    }
    for (int b = 0; b < B; b++)
        check_totals(g, b, rows[b]);
    end(g);
}

enum { READ = 1200, LEFT = 600 }; /* rows of each sequence before and after it is thinned out */

/* The rows of a sequence that all heads together look at most go on; the others are evicted. */
static void thin_out(struct generation *g, int b, int64_t kept[LEFT])
{
    double sums[READ];
    int64_t out[READ - LEFT], outs = 0, left = 0;
    for (int j = 0; j < READ; j++) {
        sums[j] = 0;
        for (int h = b * HQ; h < (b + 1) * HQ; h++)
            sums[j] += (double)g->mass[h * CAPACITY + j];
    }
    for (int j = 0; j < READ; j++) {
        int lighter = 0;
        for (int i = 0; i < READ; i++)
            lighter += sums[i] < sums[j] || (sums[i] == sums[j] && i < j);
        if (lighter < READ - LEFT)
            out[outs++] = j;
        else
            kept[left++] = j;
    }
    assert_int_equal(attn_kv_evict(g->kv, 0, b, out, outs, NULL), ATTN_OK);
    assert_int_equal(attn_kv_keys(g->kv, 0, b), LEFT);
}

/* A sequence of one row: its weights are those before, over what is left of them; places are the old ones. */
static void check_thinned(const struct generation *g, int h, const float *before,
                          const int64_t kept[LEFT])
{
    double left = 0, distance = 0, first = 0, self = 0, segments = 0;
    for (int i = 0; i < LEFT; i++) {
        const double weight = (double)before[kept[i]];
        left += weight;
        distance += weight * (double)(kept[LEFT - 1] - kept[i]);
        first += kept[i] < 4 ? weight : 0;
        self += i == LEFT - 1 ? weight : 0; /* the query stands at the last key that is left */
    }
    for (int i = 0; i < LEFT; i++)
        assert_true(fabs((double)g->mass[h * CAPACITY + i] - (double)before[kept[i]] / left) <
                    1e-5);
    for (int s = 0; s < SEGMENTS; s++)
        segments += (double)g->segments[h * STEP * SEGMENTS + s];
    assert_true(fabs(segments - 1) < 1e-5);
    assert_true(fabs((double)g->distance[h * STEP] - distance / left) < 1e-2);
    assert_true(fabs((double)g->first[h * STEP] - first / left) < 1e-5);
    assert_true(fabs((double)g->self[h * STEP] - self / left) < 1e-5);
}

static void evicted_by_mass(void **state)
{
    (void)state;
    struct random random = {92};
    struct generation *g = begin(ATTN_F32, 8);
    int64_t kept[B][LEFT];
    for (int i = 0; i < READ / STEP; i++)
        append(g, (int64_t[]){STEP, STEP}, &random);
    fill(g->q, B * HQ * STEP * D, &random);
    g->lengths[0] = 1, g->lengths[1] = STEP; /* one decodes, one does not */
    g->problem.causal = false;
    run(g);
    float *before = need(B * HQ * CAPACITY, sizeof *before);
    memcpy(before, g->mass, sizeof g->mass);
    for (int b = 0; b < B; b++)
        thin_out(g, b, kept[b]);
    run(g);
    for (int h = 0; h < HQ; h++)
        check_thinned(g, h, before + h * CAPACITY, kept[0]);
    check_totals(g, 0, 1);
    check_totals(g, 1, STEP);
    free(before);
    end(g);
}

/* Without a cache too: adding twice to nothing is twice what is written, and exactly so. */
static void added_without_cache(void **state)
{
    (void)state;
    enum { H = 3, NQ = 70, NK = 600 };
    struct random random = {93};
    float *q = need(H * NQ * D, 4), *k = need(H * NK * D, 4), *v = need(H * NK * D, 4);
    float *mass = need(H * NK, 4), *twice = need(H * NK, 4);
    int32_t *viewers = need(H * NK, 4), *counts = need(H * NK, 4);
    fill(q, H * NQ * D, &random);
    fill(k, H * NK * D, &random);
    attn_problem p = attn_problem_init(1, H, H, NQ, NK, D);
    attn_statistics_wanted wanted =
        attn_statistics_wanted_init(ATTN_STAT_COLUMN_MASS | ATTN_STAT_COLUMN_VIEWERS);
    p.causal = true, p.statistics = &wanted, p.window = (attn_window){300, 0, 2};
    p.excluded_keys = 1;
    const int64_t excluded[H] = {5, -1, 599};
    attn_statistics statistics = attn_statistics_init();
    attn_args args = attn_args_init(&p);
    args.q = q, args.k = k, args.v = v, args.statistics = &statistics;
    args.excluded_keys = excluded;
    statistics.column_mass = mass, statistics.column_viewers = viewers;
    assert_int_equal(attn_forward(&p, &args, NULL, NULL), ATTN_OK);
    statistics.column_mass = twice, statistics.column_viewers = counts;
    statistics.column_add = true;
    for (int i = 0; i < 2; i++)
        assert_int_equal(attn_forward(&p, &args, NULL, NULL), ATTN_OK);
    for (int i = 0; i < H * NK; i++) {
        assert_true(fabs((double)twice[i] - 2 * (double)mass[i]) <= 0x1p-22 * (double)mass[i]);
        assert_int_equal(counts[i], 2 * viewers[i]);
    }
    assert_true(viewers[599] == 1 && counts[599] == 2); /* the last row alone sees the last key */
    free(q);
    free(k);
    free(v);
    free(mass);
    free(twice);
    free(viewers);
    free(counts);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_add_up),
        cmocka_unit_test(evicted_by_mass),
        cmocka_unit_test(added_without_cache),
    };
    return cmocka_run_group_tests_name("decode_columns", tests, NULL, NULL);
}
