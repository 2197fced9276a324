/* What must hold whatever computes it: closed forms, and properties of attention that need no reference.
 *
 * Tolerances follow bounds.c: with scores of magnitude A at most, from d products and n keys,
 *     t = 2 ((d + 8) u A + 8 u A + (4 n + 64) u + 4e-7),      u = 2^-24,
 * bounds a relative error of a weight (and so of a mass, of o against max |v|, absolutely of lse), twice
 * over because two computed results are often compared. Entropy errs by t times what ln p spans. */
#include "attention/attention_case.h"
#include "attention/path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint32_t ALL = (1u << 21) - 1; /* all but weights and pairs */

static double tolerance(int64_t n, int64_t d, double magnitude)
{
    double u = 0x1p-24;
    return 2 * ((double)(d + 16) * u * magnitude + (4 * (double)n + 64) * u + 4e-7);
}

static void near(const char *what, int64_t at, double got, double expected, double bound)
{
    if (!(fabs(got - expected) <= bound))
        fail_msg("%s[%lld] is %.9g, should be %.9g within %.3g", what, (long long)at, got, expected,
                 bound);
}

static struct attention_case *make(const attn_problem *p, uint32_t set, uint64_t seed,
                                   double sharpness)
{
    struct random random = {seed};
    attn_statistics_wanted wanted = attn_statistics_wanted_init(set);
    wanted.segments = 3;
    wanted.top_keys = 4;
    struct case_options options = case_options_init(p);
    options.wanted = &wanted;
    struct attention_case *c = case_create(p, &options);
    c->segment_ids = need((size_t)(p->batch * p->keys), 1);
    for (int64_t j = 0; j < p->batch * p->keys; j++)
        c->segment_ids[j] = (uint8_t)(j * 7 % 3);
    c->statistics.segment_ids = c->segment_ids;
    case_fill_qkv(c, &random, sharpness);
    return c;
}

static void run(struct attention_case *c)
{
    attn_error error;
    if (case_run(c, attn_default_executor(), &error) != ATTN_OK)
        fail_msg("%s", error.message);
}

static const float *output(const struct attention_case *c)
{
    return c->args.o;
}

static void uniform_scores(void **state)
{
    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        const int64_t n = 600, d = 16;
        attn_problem p = attn_problem_init(1, 1, 1, n, n, d);
        p.causal = causal;
        struct attention_case *c = make(&p, ALL, 1, 0);
        run(c);
        const attn_statistics *s = &c->statistics;
        double t = tolerance(n, d, 0), mean[16] = {0};
        for (int64_t i = 0; i < n; i++) {
            double keys = causal ? (double)(i + 1) : (double)n;
            near("lse", i, (double)c->args.lse[i], log(keys), t);
            near("entropy", i, (double)s->entropy[i], log(keys), t);
            near("varentropy", i, (double)s->varentropy[i], 0, t);
            near("max_weight", i, (double)s->max_weight[i], 1 / keys, t / keys);
            near("participation", i, (double)s->participation[i], keys, 2 * t * keys);
            near("mass_self", i, (double)s->mass_self[i], 1 / keys, t / keys);
            near("mass_first", i, (double)s->mass_first[i], fmin(1, 4 / keys), t);
            assert_int_equal(s->max_key[i], 0); /* the lowest of equals */
            assert_int_equal(s->top_keys[i * 4], 0);
            assert_true(keys < 2 || s->top_keys[i * 4 + 1] == 1);
        }
        for (int64_t i = 0; causal && i < n; i++)
            for (int64_t e = 0; e < d; e++) {
                mean[e] += (double)case_element(&c->v, &p.v, 0, 0, i)[e];
                near("o", i, (double)output(c)[i * d + e], mean[e] / (double)(i + 1), 5 * t);
            }
        double expected = 0;
        for (int64_t j = n - 1; causal && j >= 0; j--) {
            expected += 1 / (double)(j + 1);
            near("column_mass", j, (double)s->column_mass[j], expected, 2 * t * expected);
        }
        case_destroy(c);
    }
}

/* One key `gap` above all others: Z = 1 + (n-1) e^-gap, H = ln Z + (n-1) gap e^-gap / Z. */
static void two_levels(void **state)
{
    (void)state;
    static const double gaps[] = {0.25, 1, 4, 8, 20, 60};
    for (int g = 0; g < 6; g++) {
        const int64_t n = 300, best = 217;
        attn_problem p = attn_problem_init(1, 1, 1, 1, n, 1);
        p.scale = 1;
        struct attention_case *c = make(&p, ALL, 2, 0);
        case_fill_constant(&c->q, &p.q, 1);
        case_fill_constant(&c->k, &p.k, (float)-gaps[g]);
        case_element(&c->k, &p.k, 0, 0, best)[0] = 0;
        run(c);
        double below = (double)(n - 1) * exp(-gaps[g]), z = 1 + below;
        double h = log(z) + below * gaps[g] / z, t = tolerance(n, 1, gaps[g]);
        double v = below * gaps[g] * gaps[g] / z - pow(below * gaps[g] / z, 2);
        near("lse", g, (double)c->args.lse[0], log(z), t);
        near("entropy", g, (double)c->statistics.entropy[0], h, t * (1 + gaps[g]));
        near("varentropy", g, (double)c->statistics.varentropy[0], v, t * (1 + gaps[g] * gaps[g]));
        near("max_weight", g, (double)c->statistics.max_weight[0], 1 / z, t);
        assert_int_equal(c->statistics.max_key[0], best);
        near("max_score", g, (double)c->statistics.max_score[0], 0, t);
        near("min_score", g, (double)c->statistics.min_score[0], -gaps[g], t * gaps[g]);
        case_destroy(c);
    }
}

/* Scores falling by `slope` with distance, r = e^-slope: a geometric distribution. */
static void geometric(void **state)
{
    (void)state;
    static const double slopes[] = {0.125, 0.25, 0.5, 2};
    for (int a = 0; a < 4; a++) {
        const int64_t n = 640;
        attn_problem p = attn_problem_init(1, 1, 1, n, n, 1);
        p.scale = 1;
        p.causal = true;
        struct attention_case *c = make(&p, ALL, 3, 0);
        case_fill_constant(&c->q, &p.q, 1);
        for (int64_t j = 0; j < n; j++)
            case_element(&c->k, &p.k, 0, 0, j)[0] = (float)(slopes[a] * (double)j);
        run(c);
        double r = exp(-slopes[a]), t = tolerance(n, 1, slopes[a] * (double)n);
        double mean = r / (1 - r), sd = sqrt(r) / (1 - r);
        double h = -log(1 - r) - r * log(r) / (1 - r);
        for (int64_t i = n - 100; i < n; i++) { /* r^(n-100) is far below the tolerance */
            near("entropy", i, (double)c->statistics.entropy[i], h, t * (1 + 3 * h));
            near("distance_mean", i, (double)c->statistics.distance_mean[i], mean, t * (mean + sd));
            near("distance_sd", i, (double)c->statistics.distance_sd[i], sd, 3 * t * (mean + sd));
            near("mass_self", i, (double)c->statistics.mass_self[i], 1 - r, t);
            near("mass_previous", i, (double)c->statistics.mass_previous[i], r * (1 - r), t);
            assert_true(c->statistics.mass_next[i] == 0.0f);
            assert_int_equal(c->statistics.max_key[i], i);
        }
        case_destroy(c);
    }
}

/* A case whose keys (and values) are those of `c` by index[j]. */
static struct attention_case *with_keys(const struct attention_case *c, const int64_t *index,
                                        int64_t keys)
{
    attn_problem p = c->problem;
    p.keys = keys;
    p.k = attn_layout_bhsd(ATTN_F32, p.kv_heads, keys, p.head_size);
    p.v = attn_layout_bhsd(ATTN_F32, p.kv_heads, keys, p.head_size_v);
    struct attention_case *n = make(&p, c->wanted.set, 1, 1);
    for (int64_t b = 0; b < p.batch; b++)
        for (int64_t h = 0; h < p.kv_heads; h++)
            for (int64_t j = 0; j < keys; j++) {
                memcpy(case_element(&n->k, &p.k, b, h, j),
                       case_element(&c->k, &c->problem.k, b, h, index[j]),
                       (size_t)p.head_size * sizeof(float));
                memcpy(case_element(&n->v, &p.v, b, h, j),
                       case_element(&c->v, &c->problem.v, b, h, index[j]),
                       (size_t)p.head_size_v * sizeof(float));
            }
    for (int64_t b = 0; b < p.batch; b++)
        for (int64_t h = 0; h < p.heads; h++)
            for (int64_t i = 0; i < p.queries; i++)
                memcpy(case_element(&n->q, &p.q, b, h, i),
                       case_element(&c->q, &c->problem.q, b, h, i),
                       (size_t)p.head_size * sizeof(float));
    return n;
}

enum { ROWS = 2 * 4 * 20, KEYS = 530, SIZE = 40 };

/* The subject of the next tests: normal scores of magnitude 8 at most, no positional mask. */
static struct attention_case *subject(uint32_t set)
{
    attn_problem p = attn_problem_init(2, 4, 2, 20, KEYS, SIZE);
    struct attention_case *c = make(&p, set, 4, 1);
    run(c);
    return c;
}

static const double MAGNITUDE = 12; /* scale sum|q k| of these rows is below */

static void duplicated_keys(void **state)
{
    (void)state;
    struct attention_case *c = subject(ALL);
    static int64_t index[3 * KEYS];
    for (int copies = 2; copies <= 3; copies++) {
        for (int64_t j = 0; j < copies * KEYS; j++)
            index[j] = j % KEYS;
        struct attention_case *n = with_keys(c, index, copies * KEYS);
        run(n);
        double more = log(copies), t = tolerance(copies * KEYS, SIZE, MAGNITUDE);
        for (int64_t i = 0; i < ROWS; i++) {
            near("lse", i, (double)n->args.lse[i], (double)c->args.lse[i] + more, t);
            near("entropy", i, (double)n->statistics.entropy[i],
                 (double)c->statistics.entropy[i] + more, 9 * t);
            near("participation", i, (double)n->statistics.participation[i],
                 copies * (double)c->statistics.participation[i],
                 4 * t * copies * (double)c->statistics.participation[i]);
            assert_int_equal(n->statistics.max_key[i], c->statistics.max_key[i]);
            /* the copies follow each other, the lowest key first */
            for (int k = 1; k < copies; k++)
                assert_int_equal(n->statistics.top_keys[i * 4 + k],
                                 c->statistics.max_key[i] + k * KEYS);
            for (int64_t d = 0; d < SIZE; d++)
                near("o", i, (double)output(n)[i * SIZE + d], (double)output(c)[i * SIZE + d],
                     5 * t);
        }
        case_destroy(n);
    }
    case_destroy(c);
}

static void permuted_keys(void **state)
{
    (void)state;
    struct attention_case *c = subject(ALL);
    int64_t index[KEYS];
    struct random random = {9};
    for (int64_t j = 0; j < KEYS; j++)
        index[j] = j;
    for (int64_t j = KEYS - 1; j > 0; j--) {
        int64_t other = random_between(&random, 0, j), swap = index[j];
        index[j] = index[other];
        index[other] = swap;
    }
    struct attention_case *n = with_keys(c, index, KEYS);
    run(n);
    double t = tolerance(KEYS, SIZE, MAGNITUDE);
    for (int64_t i = 0; i < ROWS; i++) {
        near("lse", i, (double)n->args.lse[i], (double)c->args.lse[i], t);
        near("entropy", i, (double)n->statistics.entropy[i], (double)c->statistics.entropy[i],
             9 * t);
        assert_int_equal(index[n->statistics.max_key[i]], c->statistics.max_key[i]);
        for (int64_t d = 0; d < SIZE; d++)
            near("o", i, (double)output(n)[i * SIZE + d], (double)output(c)[i * SIZE + d], 5 * t);
    }
    for (int64_t h = 0; h < 2 * 4; h++)
        for (int64_t j = 0; j < KEYS; j++)
            near("column_mass", j, (double)n->statistics.column_mass[h * KEYS + j],
                 (double)c->statistics.column_mass[h * KEYS + index[j]], 20 * t);
    case_destroy(n);
    case_destroy(c);
}

/* Two halves of the keys, put together by their lse, are the whole (math.md, "Merge"). */
static void split_and_merge(void **state)
{
    (void)state;
    struct attention_case *c = subject(ALL);
    static const int64_t borders[] = {1, 100, 265, 512, KEYS - 1};
    double t = tolerance(KEYS, SIZE, MAGNITUDE);
    for (int at = 0; at < 5; at++) {
        int64_t index[KEYS];
        for (int64_t j = 0; j < KEYS; j++)
            index[j] = j;
        struct attention_case *a = with_keys(c, index, borders[at]);
        struct attention_case *b = with_keys(c, index + borders[at], KEYS - borders[at]);
        run(a), run(b);
        for (int64_t i = 0; i < ROWS; i++) {
            double la = (double)a->args.lse[i], lb = (double)b->args.lse[i];
            double lse = fmax(la, lb) + log1p(exp(-fabs(la - lb)));
            double wa = exp(la - lse), wb = exp(lb - lse);
            near("lse", i, lse, (double)c->args.lse[i], t);
            near("entropy", i,
                 wa * ((double)a->statistics.entropy[i] + lse - la) +
                     wb * ((double)b->statistics.entropy[i] + lse - lb),
                 (double)c->statistics.entropy[i], 9 * t);
            for (int64_t d = 0; d < SIZE; d++)
                near("o", i,
                     wa * (double)output(a)[i * SIZE + d] + wb * (double)output(b)[i * SIZE + d],
                     (double)output(c)[i * SIZE + d], 5 * t);
        }
        case_destroy(a);
        case_destroy(b);
    }
    case_destroy(c);
}

/* Masses are parts of 1; o lies within V's range; column mass adds up to the rows that see a key. */
static void sums_and_ranges(void **state)
{
    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        const int64_t n = 300, blind = 50;
        attn_problem p = attn_problem_init(2, 4, 2, n, n - blind, SIZE);
        p.causal = causal; /* bottom-right: the first 50 queries see nothing */
        struct attention_case *c = make(&p, ALL, 5, 3);
        run(c);
        const attn_statistics *s = &c->statistics;
        double t = tolerance(n, SIZE, 3 * MAGNITUDE);
        for (int64_t h = 0; h < 8; h++) {
            double columns = 0, viewers = 0, seen = 0;
            for (int64_t j = 0; j < n - blind; j++) {
                columns += (double)s->column_mass[h * (n - blind) + j];
                viewers += (double)s->column_viewers[h * (n - blind) + j];
            }
            for (int64_t i = h * n; i < (h + 1) * n; i++) {
                bool sees = s->visible_keys[i] > 0;
                const float *m = s->mass_segments + i * 3;
                near("segments", i, (double)m[0] + (double)m[1] + (double)m[2], sees, t);
                assert_true((double)s->top_weights[i * 4] <= (double)s->max_weight[i] * (1 + t));
                assert_true((double)s->entropy[i] <= log(fmax(1, s->visible_keys[i])) + t);
                assert_true(s->entropy[i] >= 0.0f && s->varentropy[i] >= 0.0f);
                assert_true(s->max_weight[i] <= 1.0f && (double)s->mass_local[i] <= 1 + t);
                assert_true((double)s->participation[i] <= (double)s->visible_keys[i] * (1 + t));
                seen += s->visible_keys[i];
                for (int64_t d = 0; d < SIZE; d++)
                    assert_true(fabsf(output(c)[i * SIZE + d]) < 6.5f * (float)sees + 1e-30f);
            }
            assert_true(viewers == seen);
            near("column sum", h, columns, causal ? (double)(n - blind) : (double)n, t * (double)n);
        }
        case_destroy(c);
    }
}

/* Adding a constant to all scores of a row (by one more channel) moves lse and nothing else. */
static void shifted_scores(void **state)
{
    (void)state;
    static const double shifts[] = {-300, -20, 50, 700};
    const int64_t n = 140;
    attn_problem p = attn_problem_init(1, 2, 1, 30, n, SIZE);
    p.scale = 0.125f;
    struct attention_case *c = make(&p, ALL, 6, 1);
    for (int64_t j = 0; j < n; j++)
        case_element(&c->k, &p.k, 0, 0, j)[SIZE - 1] = 1;
    for (int64_t i = 0; i < 60; i++)
        case_element(&c->q, &p.q, 0, i / 30, i % 30)[SIZE - 1] = 0;
    run(c);
    for (int x = 0; x < 4; x++) {
        struct attention_case *m = case_in_layouts(c, &p);
        for (int64_t i = 0; i < 60; i++)
            case_element(&m->q, &p.q, 0, i / 30, i % 30)[SIZE - 1] = (float)(shifts[x] / 0.125);
        run(m);
        double t = tolerance(n, SIZE, MAGNITUDE + fabs(shifts[x]));
        for (int64_t i = 0; i < 60; i++) {
            near("lse", i, (double)m->args.lse[i], (double)c->args.lse[i] + shifts[x], t);
            near("entropy", i, (double)m->statistics.entropy[i], (double)c->statistics.entropy[i],
                 9 * t);
            for (int64_t d = 0; d < SIZE; d++)
                near("o", i, (double)output(m)[i * SIZE + d], (double)output(c)[i * SIZE + d],
                     5 * t);
        }
        case_destroy(m);
    }
    case_destroy(c);
}

/* A step of generation, one query against the first t + 1 keys, is row t of the causal whole. */
static void decode_steps(void **state)
{
    (void)state;
    const int64_t n = 200;
    attn_problem p = attn_problem_init(1, 4, 2, n, n, SIZE);
    p.causal = true;
    p.window.left = 90;
    struct attention_case *c = make(&p, ALL, 7, 1);
    run(c);
    static float o[4 * SIZE], lse[4];
    double t = tolerance(n, SIZE, MAGNITUDE);
    attn_problem step = p;
    step.queries = 1;
    step.o = attn_layout_bhsd(ATTN_F32, 4, 1, SIZE);
    for (int64_t at = 0; at < n; at += 13) {
        attn_args args = attn_args_init(&step);
        args.keys = at + 1;
        args.q = case_element(&c->q, &p.q, 0, 0, at);
        args.k = c->args.k, args.v = c->args.v, args.o = o, args.lse = lse;
        assert_int_equal(attn_forward(&step, &args, NULL, NULL), ATTN_OK);
        for (int64_t h = 0; h < 4; h++) {
            near("lse", at, (double)lse[h], (double)c->args.lse[h * n + at], t);
            for (int64_t d = 0; d < SIZE; d++)
                near("o", at, (double)o[h * SIZE + d], (double)output(c)[(h * n + at) * SIZE + d],
                     5 * t);
        }
    }
    case_destroy(c);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_scores),  cmocka_unit_test(two_levels),
        cmocka_unit_test(geometric),       cmocka_unit_test(duplicated_keys),
        cmocka_unit_test(permuted_keys),   cmocka_unit_test(split_and_merge),
        cmocka_unit_test(sums_and_ranges), cmocka_unit_test(shifted_scores),
        cmocka_unit_test(decode_steps),
    };
    return cmocka_run_group_tests_name("check_properties", tests, NULL, NULL);
}
