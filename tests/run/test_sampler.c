/* Drawing tokens: greedy and its ties, the same text for the same seed, what top-k and top-p leave, and how
 * often each token comes.
 *
 * Frequencies: of n draws of probability p the count is within 5 sqrt(n p (1 - p)) of n p, but for one case
 * in a million; the seeds are fixed, so that the test passes always or never. */
#include "run/sampler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 3000, DRAWS = 500 };

static float logits[COUNT];

/* Scores of many sizes, several alike, the best ones spread over the ids. */
static int fill(void **state)
{
    (void)state;
    uint32_t random = 3;
    for (int i = 0; i < COUNT; i++) {
        random = random * 1664525u + 1013904223u;
        logits[i] = (float)((random >> 8) % 257) / 32.0f - 4;
    }
    return 0;
}

static int32_t choose(struct sampler *sampler)
{
    int32_t token = -1;
    struct failure f = {""};
    if (!sampler_choose(sampler, logits, &token, &f))
        fail_msg("%s", f.message);
    assert_in_range(token, 0, COUNT - 1);
    return token;
}

static int rank_order(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (logits[x] != logits[y])
        return logits[x] > logits[y] ? -1 : 1;
    return x - y;
}

/* Ids, best first, by the C library's sort. */
static int32_t *ranked(void)
{
    static int32_t ids[COUNT];
    for (int i = 0; i < COUNT; i++)
        ids[i] = i;
    qsort(ids, COUNT, sizeof *ids, rank_order);
    return ids;
}

static void greedy(void **state)
{
    (void)state;
    struct sampler_options options = sampler_options_init();
    options.top_k = 5, options.top_p = 0.1; /* nothing to them without a temperature */
    struct sampler *sampler = sampler_create(&options, COUNT);
    assert_int_equal(choose(sampler), ranked()[0]);
    assert_int_equal(choose(sampler), ranked()[0]);
    float tied[4] = {1, 3, 3, 2};
    struct sampler *small = sampler_create(&options, 4);
    int32_t token;
    assert_true(sampler_choose(small, tied, &token, NULL));
    assert_int_equal(token, 1);
    sampler_free(small);
    sampler_free(sampler);
}

/* Draw often and compare how often each came with its share of the weight among the first `kept` ranks. */
static void check_frequencies(struct sampler_options options, int64_t kept)
{
    static int seen[COUNT];
    memset(seen, 0, sizeof seen);
    struct sampler *sampler = sampler_create(&options, COUNT);
    for (int i = 0; i < DRAWS; i++)
        seen[choose(sampler)]++;
    const int32_t *ids = ranked();
    double total = 0;
    for (int64_t i = 0; i < kept; i++)
        total += exp((double)logits[ids[i]] / options.temperature);
    for (int64_t i = 0; i < COUNT; i++) {
        double p = i < kept ? exp((double)logits[ids[i]] / options.temperature) / total : 0;
        double off = fabs(seen[ids[i]] - DRAWS * p),
               allowed = 5 * sqrt(DRAWS * p * (1 - p)) + 5 * (p > 0);
        if (!(off <= allowed))
            fail_msg("rank %lld of %lld: %d draws, %.1f expected", (long long)i, (long long)kept,
                     seen[ids[i]], DRAWS * p);
    }
    sampler_free(sampler);
}

/* How many of the best it takes for top_p. */
static int64_t nucleus(double temperature, double top_p, int64_t among)
{
    const int32_t *ids = ranked();
    double total = 0, held = 0;
    for (int64_t i = 0; i < among; i++)
        total += exp((double)logits[ids[i]] / temperature);
    for (int64_t i = 0; i < among; i++) {
        held += exp((double)logits[ids[i]] / temperature);
        if (held >= top_p * total)
            return i + 1;
    }
    return among;
}

static void frequencies(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 3; seed++) {
        struct sampler_options o = {.temperature = 0.7, .top_k = 0, .top_p = 1, .seed = seed};
        check_frequencies(o, COUNT);
        o.top_k = 7;
        check_frequencies(o, 7);
        o.top_k = 1;
        check_frequencies(o, 1);
        o.top_k = 40, o.top_p = 0.6;
        check_frequencies(o, nucleus(0.7, 0.6, 40));
        o.top_k = 0, o.top_p = 0.3; /* a few ranks */
        check_frequencies(o, nucleus(0.7, 0.3, COUNT));
        o.temperature = 5, o.top_p = 0.9; /* more than the first 256 and the first 2048 */
        assert_in_range(nucleus(5, 0.9, COUNT), 2049, COUNT - 1);
        check_frequencies(o, nucleus(5, 0.9, COUNT));
        o.top_p = 1e-9;
        check_frequencies(o, 1);
    }
}

static void same_seed_same_tokens(void **state)
{
    (void)state;
    struct sampler_options options = {.temperature = 1, .top_p = 0.95, .seed = 42};
    struct sampler *a = sampler_create(&options, COUNT), *b = sampler_create(&options, COUNT);
    options.seed = 43;
    struct sampler *c = sampler_create(&options, COUNT);
    int differ = 0;
    for (int i = 0; i < 50; i++) {
        int32_t token = choose(a);
        assert_int_equal(choose(b), token);
        differ += choose(c) != token;
    }
    assert_true(differ > 25);
    sampler_free(a), sampler_free(b), sampler_free(c);
}

static void bad_scores(void **state)
{
    (void)state;
    struct sampler_options options = {.temperature = 1, .top_p = 1};
    struct sampler *sampler = sampler_create(&options, 3);
    struct failure f = {""};
    int32_t token;
    const float nan[3] = {1, NAN, 2}, large[3] = {1, 2, INFINITY};
    const float none[3] = {-INFINITY, -INFINITY, -INFINITY}, one[3] = {-INFINITY, 0, -INFINITY};
    assert_false(sampler_choose(sampler, nan, &token, &f));
    assert_non_null(strstr(f.message, "score of token 1 is nan"));
    assert_false(sampler_choose(sampler, large, &token, &f));
    assert_false(sampler_choose(sampler, none, &token, &f));
    assert_string_equal(f.message, "the model gives no token a score above -infinity");
    for (int i = 0; i < 20; i++) {
        assert_true(sampler_choose(sampler, one, &token, &f));
        assert_int_equal(token, 1);
    }
    sampler_free(sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy),
        cmocka_unit_test(frequencies),
        cmocka_unit_test(same_seed_same_tokens),
        cmocka_unit_test(bad_scores),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
