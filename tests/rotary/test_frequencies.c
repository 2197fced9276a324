/* attn_rotary_frequencies: against the specification, closed forms, and Hugging Face transformers
 * (golden/transformers.txt, made by golden/make_golden.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "attn_ref_rotary.h"
#include "rotary/tensor.h"

#include <cmocka.h>

enum { PAIRS = 512 };

static void close_to(double got, double want, double relative, const char *name, int64_t pair)
{
    if (!(fabs(got - want) <= relative * fabs(want)))
        fail_msg("%s, pair %d: %.17g, expected %.17g within %.3g of it", name, (int)pair, got, want,
                 relative);
}

/* ---- against the specification ----
 * Both are a few operations of double, each within a few units e = 2^-53: 16 e together. A ramp's place in
 * [0, 1] is a difference of numbers of the size of what it is measured in over its width: with
 * random_rotary's parameters (width >= size / 24, or high / (high - low) <= 2) 24 times that, and it may
 * multiply what is as small as 1 / factor of the frequency. */
static void test_specification(void **state)
{
    (void)state;
    struct random random = {1};
    for (int trial = 0; trial < 3000; trial++) {
        attn_rotary r = random_rotary(&random, 2 * random_between(&random, 1, PAIRS));
        float divisors[PAIRS];
        for (int64_t m = 0; m < r.size / 2; m++)
            divisors[m] = (float)(0.1 + 8 * random_unit(&random));
        if (random_chance(&random, 0.3))
            r.frequency_divisors = divisors;
        double frequencies[PAIRS], factor;
        attn_error error;
        assert_int_equal(attn_rotary_frequencies(&r, frequencies, &factor, &error), ATTN_OK);
        assert_string_equal(error.message, "");
        bool ramp = r.scaling == ATTN_ROTARY_YARN || r.scaling == ATTN_ROTARY_LLAMA3;
        for (int64_t m = 0; m < r.size / 2; m++)
            close_to(frequencies[m], attn_ref_rotary_frequency(&r, m),
                     16 * (1 + (ramp ? 24 * r.factor : 0)) * 0x1p-53, "frequency", m);
        close_to(factor, attn_ref_rotary_length_factor(&r), 0x1p-50, "length factor", 0);
    }
}

/* ---- closed forms ---- */

static void fill(const attn_rotary *r, double *frequencies)
{
    assert_int_equal(attn_rotary_frequencies(r, frequencies, NULL, NULL), ATTN_OK);
}

static void test_closed_forms(void **state)
{
    (void)state;
    double plain[64], other[64];
    attn_rotary r = attn_rotary_init(128);
    fill(&r, plain);
    assert_true(plain[0] == 1);
    close_to(plain[32], 0.01, 1e-15, "10000^(-1/2)", 32);
    /* NTK: the fastest pair stays, the slowest is stretched by exactly the factor */
    r.scaling = ATTN_ROTARY_NTK;
    r.factor = 5;
    fill(&r, other);
    assert_true(other[0] == 1);
    close_to(other[63], plain[63] / 5, 1e-14, "NTK", 63);
    r.size = 2;
    fill(&r, other);
    assert_true(other[0] == 1);
    /* a factor of 1 changes nothing, whatever the scaling */
    r = attn_rotary_init(128);
    r.original_length = 4096;
    for (int scaling = 0; scaling <= 4; scaling++) {
        r.scaling = (attn_rotary_scaling)scaling;
        fill(&r, other);
        for (int m = 0; m < 64; m++)
            close_to(other[m], plain[m], 1e-15, "factor 1", m);
    }
    /* both ends of the two ramps */
    r.factor = 8;
    for (int scaling = ATTN_ROTARY_YARN; scaling <= ATTN_ROTARY_LLAMA3; scaling++) {
        r.scaling = (attn_rotary_scaling)scaling;
        fill(&r, other);
        close_to(other[0], plain[0], 1e-15, "fast end", 0);
        close_to(other[63], plain[63] / 8, 1e-15, "slow end", 63);
    }
}

/* A ramp whose ends cross or meet is a step: nothing is divided by its width. */
static void test_step(void **state)
{
    (void)state;
    double frequencies[32];
    attn_rotary r = attn_rotary_init(64);
    r.scaling = ATTN_ROTARY_YARN;
    r.factor = 4;
    r.whole_ramp = false;
    r.beta_fast = r.beta_slow = 8;
    r.original_length = 4096;
    fill(&r, frequencies);
    for (int m = 0; m < 32; m++) {
        double plain = pow(1e4, -m / 32.0);
        bool stays = 4096 * plain / 6.283185307179586 > 8;
        close_to(frequencies[m], stays ? plain : plain / 4, 1e-14, "step", m);
    }
    r.original_length = 1; /* less than one turn of the fastest pair */
    fill(&r, frequencies);
    close_to(frequencies[1], pow(1e4, -1 / 32.0) / 4, 1e-14, "low clamped", 1);
    r.beta_fast =
        32; /* the ramp begins at pair 0 where even that turns less than beta_fast times */
    r.beta_slow = 1;
    r.original_length = 100;
    fill(&r, frequencies);
    double high = 64 * log(100 / 6.283185307179586) / (2 * log(1e4));
    for (int m = 0; m < 9; m++)
        close_to(frequencies[m], pow(1e4, -m / 32.0) * (1 - 0.75 * m / high), 1e-14, "low", m);
    r.original_length = INT64_MAX;
    r.base = 2;
    fill(&r, frequencies);
    close_to(frequencies[31], pow(2, -31 / 32.0), 1e-14, "high clamped", 31);
}

/* ---- Hugging Face ----
 * Its f32 arithmetic, u = 2^-24: the exponent 2m / size is rounded, which moves base^exponent by
 * ln(base) u; the power, quotients and products add about 8 u. On a ramp the place in [0, 1] errs by
 * 4 ln(base) u and more where it is measured by wavelengths, and multiplies what may be as small as
 * 1 / factor. The length factor and divisors are printed with 9 digits. */
static double their_error(const attn_rotary *r)
{
    bool ramp = r->scaling == ATTN_ROTARY_YARN || r->scaling == ATTN_ROTARY_LLAMA3;
    return (log(r->base) + 8) * 0x1p-24 * (ramp ? 1 + 2 * r->factor : 1);
}

static FILE *golden(void)
{
    FILE *file = fopen(ATTN_SOURCE_DIR "/tests/rotary/golden/transformers.txt", "r");
    if (!file)
        fail_msg("tests/rotary/golden/transformers.txt cannot be opened");
    return file;
}

static attn_rotary_scaling scaling_of(const char *name)
{
    const char *names[] = {"plain", "linear", "ntk", "yarn", "llama3"};
    for (int i = 0; i < 5; i++)
        if (strcmp(name, names[i]) == 0)
            return (attn_rotary_scaling)i;
    fail_msg("unknown scaling %s", name);
    return ATTN_ROTARY_PLAIN;
}

static void check_golden(FILE *file)
{
    char name[32], scaling[16];
    attn_rotary r = attn_rotary_init(2);
    float divisors[PAIRS];
    double frequencies[PAIRS], factor, theirs;
    int whole, count;
    int64_t size, original;
    int fields = fscanf(file,
                        "%31s size %ld base %lf scaling %15s factor %lf original %ld fast %lf slow "
                        "%lf whole %d low %lf high %lf attention %lf divisors %d",
                        name, &size, &r.base, scaling, &r.factor, &original, &r.beta_fast,
                        &r.beta_slow, &whole, &r.low_frequency_factor, &r.high_frequency_factor,
                        &r.attention_factor, &count);
    assert_int_equal(fields, 13);
    r.size = size;
    r.original_length = original;
    r.whole_ramp = whole != 0;
    r.scaling = scaling_of(scaling);
    for (int m = 0; m < count; m++)
        assert_int_equal(fscanf(file, "%f", &divisors[m]), 1);
    r.frequency_divisors = count > 0 ? divisors : NULL;
    attn_error error;
    if (attn_rotary_frequencies(&r, frequencies, &factor, &error))
        fail_msg("%s: %s", name, error.message);
    assert_int_equal(fscanf(file, " length_factor %lf", &theirs), 1);
    close_to(factor, theirs, 1e-8, name, -1);
    assert_int_equal(fscanf(file, " frequencies %d", &count), 1);
    assert_int_equal(count, size / 2);
    for (int m = 0; m < count; m++) {
        assert_int_equal(fscanf(file, "%lf", &theirs), 1);
        close_to(frequencies[m], theirs, their_error(&r), name, m);
    }
}

static void test_transformers(void **state)
{
    (void)state;
    FILE *file = golden();
    char word[32];
    int cases = 0;
    while (fscanf(file, "%31s", word) == 1 && strcmp(word, "case") == 0) {
        check_golden(file);
        cases++;
    }
    assert_int_equal(cases, 12);
    fclose(file);
}

/* Rows turned by transformers: which channels are a pair, which way it turns, what is left alone. */
static void test_turned_rows(void **state)
{
    (void)state;
    FILE *file = golden();
    char word[32], pairing[16];
    int rows = 0;
    while (fscanf(file, "%31s", word) == 1) {
        int size, head, position;
        float x[64], y[64], theirs;
        if (strcmp(word, "turned") != 0)
            continue;
        assert_int_equal(
            fscanf(file, "%15s size %d head %d position %d x", pairing, &size, &head, &position),
            4);
        for (int d = 0; d < head; d++)
            assert_int_equal(fscanf(file, "%f", &x[d]), 1);
        attn_rotary r = attn_rotary_init(size);
        r.pairing = strcmp(pairing, "halves") == 0 ? ATTN_ROTARY_HALVES : ATTN_ROTARY_NEIGHBOURS;
        attn_layout layout = attn_layout_bhsd(ATTN_F32, 1, 1, head);
        int64_t at = position;
        assert_int_equal(
            attn_rotary_apply(&r, 1, 1, 1, head, x, &layout, y, &layout, &at, NULL, NULL), ATTN_OK);
        assert_int_equal(fscanf(file, " y%c", pairing), 1);
        for (int d = 0; d < head; d++) {
            assert_int_equal(fscanf(file, "%f", &theirs), 1);
            /* both round cosines, products and sums of numbers below 4 to f32: 2 * 8 * 3 u */
            assert_true(fabs((double)y[d] - (double)theirs) <= 48 * 0x1p-24);
        }
        rows++;
    }
    assert_int_equal(rows, 4);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specification), cmocka_unit_test(test_closed_forms),
        cmocka_unit_test(test_step),          cmocka_unit_test(test_transformers),
        cmocka_unit_test(test_turned_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
