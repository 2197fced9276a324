/* Drawing the next token; see sampler.h.
 *
 * Sorting a vocabulary of hundreds of thousands to use a handful would take longer than the model: the
 * best 256 are taken out with a heap first, and eight times as many wherever they do not hold top_p. */
#include "sampler.h"

#include <math.h>
#include <stdlib.h>

struct candidate {
    float logit;
    int32_t id;
};

struct sampler {
    struct sampler_options options;
    int64_t count;
    struct candidate *best; /* [count] of room */
    uint64_t random;
};

struct sampler_options sampler_options_init(void)
{
    return (struct sampler_options){.top_p = 1};
}

struct sampler *sampler_create(const struct sampler_options *options, int64_t count)
{
    struct sampler *sampler = calloc(1, sizeof *sampler);
    if (sampler == NULL)
        return NULL;
    sampler->options = *options;
    sampler->count = count;
    sampler->random = options->seed;
    sampler->best = malloc((size_t)count * sizeof *sampler->best + 1);
    if (sampler->best == NULL) {
        free(sampler);
        return NULL;
    }
    return sampler;
}

void sampler_free(struct sampler *sampler)
{
    if (sampler != NULL)
        free(sampler->best);
    free(sampler);
}

/* A number in [0, 1) with 53 random bits: SplitMix64 (Steele, Lea, Flood 2014). */
static double next_number(struct sampler *sampler)
{
    uint64_t z = sampler->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static bool find_best(const float *logits, int64_t count, int32_t *best, struct failure *f)
{
    int64_t at = 0;
    for (int64_t i = 0; i < count; i++) {
        if (isnan(logits[i]) || logits[i] == INFINITY)
            return fail(f,
                        "the model's score of token %lld is %g; its weights are damaged, or too "
                        "large for f32",
                        (long long)i, (double)logits[i]);
        if (logits[i] > logits[at])
            at = i;
    }
    if (count < 1 || logits[at] == -INFINITY)
        return fail(f, "the model gives no token a score above -infinity");
    *best = (int32_t)at;
    return true;
}

/* Whether a comes before b: the higher score, the lower id. */
static bool better(struct candidate a, struct candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static int by_rank(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return better(*x, *y) ? -1 : better(*y, *x);
}

/* The worst of a heap is at its root; put `c` there and let it sink. */
static void replace_root(struct candidate *heap, int64_t size, struct candidate c)
{
    int64_t at = 0;
    for (int64_t child; (child = 2 * at + 1) < size; at = child) {
        if (child + 1 < size && better(heap[child], heap[child + 1]))
            child++;
        if (!better(c, heap[child]))
            break;
        heap[at] = heap[child];
    }
    heap[at] = c;
}

/* The `size` best into sampler->best, best first. */
static void take_best(struct sampler *sampler, const float *logits, int64_t size)
{
    struct candidate *heap = sampler->best;
    if (size < sampler->count) {
        for (int64_t i = 0; i < size; i++) /* all alike and worse than any: a heap */
            heap[i] = (struct candidate){-INFINITY, INT32_MAX};
        for (int64_t i = 0; i < sampler->count; i++) {
            struct candidate c = {logits[i], (int32_t)i};
            if (better(c, heap[0]))
                replace_root(heap, size, c);
        }
    } else {
        for (int64_t i = 0; i < size; i++)
            heap[i] = (struct candidate){logits[i], (int32_t)i};
    }
    qsort(heap, (size_t)size, sizeof *heap, by_rank);
}

static double weight_of(const struct sampler *sampler, float logit, float max)
{
    return exp(((double)logit - (double)max) / sampler->options.temperature);
}

/* One of all tokens, in the order of ids. */
static int32_t draw_from_all(struct sampler *sampler, const float *logits, int32_t best)
{
    double total = 0, sum = 0;
    for (int64_t i = 0; i < sampler->count; i++)
        total += weight_of(sampler, logits[i], logits[best]);
    double wanted = next_number(sampler) * total;
    for (int64_t i = 0; i < sampler->count; i++) {
        sum += weight_of(sampler, logits[i], logits[best]);
        if (sum > wanted)
            return (int32_t)i;
    }
    return best;
}

/* One of the first `size` of sampler->best, cut where their share of `total` reaches top_p. */
static int32_t draw_from_best(struct sampler *sampler, int64_t size, double total)
{
    const struct candidate *best = sampler->best;
    double held = 0, sum = 0;
    int64_t kept = 0;
    while (kept < size && (kept == 0 || held < sampler->options.top_p * total))
        held += weight_of(sampler, best[kept++].logit, best[0].logit);
    double wanted = next_number(sampler) * held;
    for (int64_t i = 0; i < kept; i++) {
        sum += weight_of(sampler, best[i].logit, best[0].logit);
        if (sum > wanted)
            return best[i].id;
    }
    return best[0].id;
}

static int32_t draw_top_p(struct sampler *sampler, const float *logits, int32_t best)
{
    double total = 0;
    for (int64_t i = 0; i < sampler->count; i++)
        total += weight_of(sampler, logits[i], logits[best]);
    for (int64_t size = 256;; size *= 8) {
        size = size < sampler->count ? size : sampler->count;
        take_best(sampler, logits, size);
        double held = 0;
        for (int64_t i = 0; i < size; i++)
            held += weight_of(sampler, sampler->best[i].logit, logits[best]);
        if (size == sampler->count || held >= sampler->options.top_p * total)
            return draw_from_best(sampler, size, total);
    }
}

bool sampler_choose(struct sampler *sampler, const float *logits, int32_t *token, struct failure *f)
{
    const struct sampler_options *o = &sampler->options;
    if (!find_best(logits, sampler->count, token, f))
        return false;
    if (o->temperature == 0)
        return true;
    if (o->top_k > 0 && o->top_k < sampler->count) {
        take_best(sampler, logits, o->top_k);
        double total = 0;
        for (int64_t i = 0; i < o->top_k; i++)
            total += weight_of(sampler, sampler->best[i].logit, logits[*token]);
        *token = draw_from_best(sampler, o->top_k, total);
    } else if (o->top_p < 1) {
        *token = draw_top_p(sampler, logits, *token);
    } else {
        *token = draw_from_all(sampler, logits, *token);
    }
    return true;
}
