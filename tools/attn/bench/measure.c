/* Rounds of ceiling and case; see measure.h. */
#include "measure.h"

#include <attn/ceiling.h>
#include <string.h>

static const double round_seconds = 0.04;   /* of runs, after each look at the ceiling */
static const double ceiling_seconds = 0.01; /* what one look at the ceiling is asked to take */

struct lists {
    struct numbers case_ms, partner_ms, ratios, medians, ceilings, reading, round_ms;
};

/* Runs of one round: the case and its partner, in changing order. */
static bool run_round(const struct bench_subject *subject, const struct bench_subject *partner,
                      struct lists *lists, struct failure *f)
{
    double begin = bench_now();
    lists->round_ms.count = 0;
    do {
        double own, other = 0;
        bool partner_first = partner && lists->case_ms.count % 2 == 1;
        if (partner_first && !bench_subject_run(partner, &other, f))
            return false;
        if (!bench_subject_run(subject, &own, f))
            return false;
        if (partner && !partner_first && !bench_subject_run(partner, &other, f))
            return false;
        numbers_add(&lists->case_ms, 1e3 * own);
        numbers_add(&lists->round_ms, 1e3 * own);
        if (partner) {
            numbers_add(&lists->partner_ms, 1e3 * other);
            numbers_add(&lists->ratios, own / other);
        }
    } while (bench_now() - begin < round_seconds);
    return true;
}

static attn_status measure_ceiling(const struct bench_setup *setup, enum bench_ceiling kind,
                                   const struct bench_pool *pool, double *ceiling,
                                   attn_error *error)
{
    switch (kind) {
    case CEILING_BF16_DOT:
        return attn_ceiling_bf16_dot(ceiling, ceiling_seconds, setup->executor, error);
    case CEILING_READ:
        return attn_ceiling_read(ceiling, pool->memory, pool->size, 4 * ceiling_seconds,
                                 setup->executor, error);
    default:
        return attn_ceiling_fma(ceiling, ceiling_seconds, setup->executor, error);
    }
}

static bool look_at_ceiling(const struct bench_setup *setup, enum bench_ceiling kind,
                            const struct bench_pool *pool, struct numbers *own,
                            struct bench_ceilings *all, struct failure *f)
{
    double ceiling;
    attn_error error;
    if (*setup->stop)
        return fail(f, "interrupted");
    attn_status status = measure_ceiling(setup, kind, pool, &ceiling, &error);
    if (status != ATTN_OK)
        return fail(f, "%s", error.message);
    if (own)
        numbers_add(own, ceiling);
    numbers_add(&all->looks[kind], ceiling);
    return true;
}

bool bench_look_at_ceilings(const struct bench_setup *setup, struct bench_ceilings *ceilings,
                            struct failure *f)
{
    double unused;
    for (int look = 0; look < 3; look++) {
        if (!look_at_ceiling(setup, CEILING_FMA, NULL, NULL, ceilings, f))
            return false;
        /* Refused where the path has no such instruction. */
        if (attn_ceiling_bf16_dot(&unused, ceiling_seconds, setup->executor, NULL) == ATTN_OK &&
            !look_at_ceiling(setup, CEILING_BF16_DOT, NULL, NULL, ceilings, f))
            return false;
    }
    return true;
}

/* At the ceiling, or at both of a case that decodes. */
static bool look(const struct bench_subject *subject, enum bench_ceiling kind,
                 const struct bench_setup *setup, struct bench_ceilings *all, struct lists *lists,
                 struct failure *f)
{
    return look_at_ceiling(setup, kind, NULL, &lists->ceilings, all, f) &&
           (!subject->pool ||
            look_at_ceiling(setup, CEILING_READ, subject->pool, &lists->reading, all, f));
}

static bool run_rounds(const struct bench_subject *subject, const struct bench_subject *partner,
                       const struct bench_setup *setup, struct bench_ceilings *all_ceilings,
                       struct lists *lists, struct bench_result *result, struct failure *f)
{
    double begin = bench_now();
    int least = subject->c->takes_minutes ? 1 : BENCH_ROUNDS;
    enum bench_ceiling kind = result->ceiling_kind;
    if (!look(subject, kind, setup, all_ceilings, lists, f))
        return false;
    for (int round = 0; round < least || bench_now() - begin < setup->seconds; round++) {
        if (!run_round(subject, partner, lists, f) ||
            !look(subject, kind, setup, all_ceilings, lists, f))
            return false;
        numbers_add(&lists->medians, numbers_spread(&lists->round_ms).median);
    }
    return true;
}

static void summarise(struct lists *lists, const struct bench_subject *subject,
                      struct bench_result *result)
{
    result->runs = lists->case_ms.count;
    result->ms = numbers_spread(&lists->case_ms);
    result->ceiling = numbers_spread(&lists->ceilings);
    double work = result->flops;
    if (subject->pool) {
        struct spread reading = numbers_spread(&lists->reading);
        result->bytes = (double)subject->pool->bytes;
        if (result->bytes / reading.max > result->flops / result->ceiling.max) {
            result->ceiling_kind = CEILING_READ;
            result->ceiling = reading;
            work = result->bytes;
        }
    }
    result->rate = work / (1e6 * result->ms.median);
    struct spread medians = numbers_spread(&lists->medians);
    double ceiling = result->ceiling.max, most = work / (1e6 * ceiling);
    result->share = (struct spread){most / medians.max, most / medians.median, most / medians.min};
    result->quiet = result->ceiling.median > 0.9 * ceiling && result->share.median < 1;
    result->partner_ms = numbers_spread(&lists->partner_ms);
    result->ratio = numbers_spread(&lists->ratios);
    result->extra_bytes = subject->workspace_size;
    memcpy(result->kernel, subject->kernel, sizeof result->kernel);
}

static void free_lists(struct lists *lists)
{
    numbers_free(&lists->case_ms);
    numbers_free(&lists->partner_ms);
    numbers_free(&lists->ratios);
    numbers_free(&lists->medians);
    numbers_free(&lists->ceilings);
    numbers_free(&lists->reading);
    numbers_free(&lists->round_ms);
}

/* The first run touches fresh pages and is not counted, but where a run takes minutes it is the only one:
 * its outputs are spoilt before. */
static bool warm_up(const struct bench_subject *subject, const struct bench_subject *partner,
                    struct failure *f)
{
    double unused;
    if (subject->c->takes_minutes) {
        bench_subject_spoil(subject);
        return true;
    }
    return bench_subject_run(subject, &unused, f) &&
           (!partner || bench_subject_run(partner, &unused, f));
}

/* What was timed is verified: outputs are spoilt, and written once more by the same call. */
static bool verify(const struct bench_subject *subject, struct bench_result *result,
                   struct failure *f)
{
    double unused;
    if (!subject->c->takes_minutes) {
        bench_subject_spoil(subject);
        if (!bench_subject_run(subject, &unused, f))
            return false;
    }
    return bench_verify(subject, &result->verdict, f);
}

bool bench_measure(const struct bench_case *c, const struct bench_setup *setup,
                   struct bench_ceilings *ceilings, struct bench_result *result, struct failure *f)
{
    struct bench_tensors tensors;
    struct bench_subject subject = {0}, partner = {0};
    struct lists lists = {0};
    bool paired = c->partner != ALONE;
    enum bench_mask partner_mask = c->partner == BESIDE_FULL ? MASK_NONE : c->mask;

    *result = (struct bench_result){.c = c, .flops = bench_case_flops(c)};
    bool ok = bench_tensors_make(&tensors, c, f) &&
              bench_subject_make(&subject, c, c->mask, c->statistics, &tensors, setup->executor, f);
    if (ok && paired)
        ok = bench_subject_make(&partner, c, partner_mask, STATISTICS_NONE, &tensors,
                                setup->executor, f);
    result->ceiling_kind = bench_subject_uses_dots(&subject) ? CEILING_BF16_DOT : CEILING_FMA;
    ok = ok && warm_up(&subject, paired ? &partner : NULL, f) &&
         run_rounds(&subject, paired ? &partner : NULL, setup, ceilings, &lists, result, f) &&
         verify(&subject, result, f);
    if (ok)
        summarise(&lists, &subject, result);
    free_lists(&lists);
    bench_subject_free(&subject);
    bench_subject_free(&partner);
    bench_tensors_free(&tensors);
    if (ok || *setup->stop)
        return ok;
    return failure_prefix(f, "%s", c->name);
}

bool bench_measure_reading(const struct bench_setup *setup, double *gbytes, size_t *bytes,
                           struct failure *f)
{
    attn_cpu cpu = {.struct_size = sizeof cpu};
    attn_error error;
    if (attn_cpu_describe(&cpu, &error) != ATTN_OK)
        return fail(f, "%s", error.message);
    size_t size = (size_t)256 << 20;
    if (cpu.cache_bytes[2] < (size_t)1 << 30 && 4 * cpu.cache_bytes[2] > size)
        size = 4 * cpu.cache_bytes[2];
    void *memory = malloc(size);
    if (!memory)
        return fail(f, "out of memory: %zu bytes were wanted to measure reading", size);
    memset(memory, 1, size);
    attn_status status = attn_ceiling_read(gbytes, memory, size, 0.1, setup->executor, &error);
    free(memory);
    *bytes = size;
    return status == ATTN_OK || fail(f, "%s", error.message);
}
