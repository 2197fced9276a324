/* Random content for masks, biases, ALiBi, documents, block lists, functions and sinks. */
#include "attention/attention_case.h"

#include <stdlib.h>

/* What a mask looks like: noise of some density, or whole regions, so that blocks are skipped and full. */
struct pattern {
    enum { NOISE, REGIONS, EVERYTHING, NOTHING, PATTERNS } kind;
    double density;
    int64_t size;
    uint64_t seed;
};

static struct pattern random_pattern(struct random *random)
{
    static const double densities[] = {0.05, 0.5, 0.9, 0.99};
    static const int64_t sizes[] = {5, 16, 64, 200};
    struct pattern p = {
        .density = densities[random_between(random, 0, 3)],
        .size = sizes[random_between(random, 0, 3)],
        .seed = random_bits(random),
    };
    p.kind = random_chance(random, 0.55)  ? NOISE
             : random_chance(random, 0.6) ? REGIONS
             : random_chance(random, 0.7) ? EVERYTHING
                                          : NOTHING;
    return p;
}

static bool allows(const struct pattern *p, int64_t b, int64_t h, int64_t i, int64_t j)
{
    if (p->kind == EVERYTHING || p->kind == NOTHING)
        return p->kind == EVERYTHING;
    if (p->kind == REGIONS)
        i /= p->size, j /= p->size;
    struct random own = {p->seed + (uint64_t)(((b * 64 + h) * 4096 + i) * 8192 + j)};
    return random_unit(&own) < (p->kind == REGIONS ? 0.6 : p->density);
}

/* Where a stride is 0, a later pair overwrites an earlier one: the tensor holds one of them. */
static void fill_mask(struct attention_case *c, struct random *random)
{
    struct pattern pattern = random_pattern(random);
    case_make_mask(c);
    if (random_chance(random, 0.5)) /* bits behind the last key are nobody's */
        for (size_t at = 0; at < c->mask.size; at++)
            c->mask.block[at] = 0xff;
    for (int64_t b = 0; b < c->extent[0]; b++)
        for (int64_t h = 0; h < c->problem.heads; h++)
            for (int64_t i = 0; i < c->extent[1]; i++)
                for (int64_t j = 0; j < c->extent[2]; j++)
                    case_set_mask(c, b, h, i, j, allows(&pattern, b, h, i, j));
}

static void fill_bias(struct attention_case *c, struct random *random)
{
    static const double spreads[] = {0, 0.5, 2, 10, 100};
    struct pattern pattern = random_pattern(random);
    double spread = spreads[random_between(random, 0, 4)];
    bool masks = random_chance(random, 0.6);
    case_make_bias(c);
    for (int64_t b = 0; b < c->extent[0]; b++)
        for (int64_t h = 0; h < c->problem.heads; h++)
            for (int64_t i = 0; i < c->extent[1]; i++)
                for (int64_t j = 0; j < c->extent[2]; j++)
                    case_set_bias(c, b, h, i, j,
                                  masks && !allows(&pattern, b, h, i, j)
                                      ? -INFINITY
                                      : spread * random_normal(random));
}

static void fill_slopes(struct attention_case *c, struct random *random)
{
    c->scores_args.alibi_slopes = c->alibi_slopes =
        need((size_t)c->problem.heads, sizeof *c->alibi_slopes);
    for (int64_t h = 0; h < c->problem.heads; h++) {
        double slope = ldexp(1, -(int)random_between(random, 0, 8));
        if (random_chance(random, 0.15))
            slope = 0;
        if (random_chance(random, 0.1))
            slope = -slope / 8;
        c->alibi_slopes[h] = (float)(random_chance(random, 0.05) ? 20 : slope);
    }
}

/* Packed documents rise; now and then they are in disorder. */
static int32_t *make_documents(const struct attention_case *c, int64_t count, struct random *random)
{
    int32_t *documents = need((size_t)count, sizeof *documents), id = -1;
    bool disorder = random_chance(random, 0.2);
    double step = random_chance(random, 0.5) ? 0.02 : 0.2;
    for (int64_t i = 0; i < count; i++) {
        if (random_chance(random, step) || i % (c->extent[2] + 1) == 0)
            id = random_chance(random, 0.1) ? -1 : id + 1;
        documents[i] = disorder ? (int32_t)random_between(random, -1, 2) : id;
    }
    return documents;
}

static void fill_documents(struct attention_case *c, struct random *random)
{
    const bool ragged = c->problem.lengths >= ATTN_LENGTHS_RAGGED_I32;
    int64_t queries = ragged ? c->q.extent[2] : c->extent[0] * c->extent[1];
    int64_t keys = ragged ? c->k.extent[2] : c->extent[0] * c->extent[2];
    if (ragged && c->scores.constant)
        queries = c->problem.total_queries, keys = c->problem.total_keys;
    c->scores_args.query_documents = c->query_documents = make_documents(c, queries, random);
    c->scores_args.key_documents = c->key_documents = make_documents(c, keys, random);
    if (queries == keys && random_chance(random, 0.7))
        memcpy(c->key_documents, c->query_documents, (size_t)keys * sizeof *c->key_documents);
}

struct listing {
    struct random *random;
    double density;
};

static bool listed_by_chance(void *context, int64_t head, int64_t row, int64_t key)
{
    struct listing *listing = context;
    (void)head, (void)row, (void)key;
    return random_chance(listing->random, listing->density);
}

static void fill_function(struct attention_case *c, struct random *random)
{
    static const double factors[] = {1, 1, 0.5, -0.25, 0};
    c->scores.function_context = &c->function;
    c->function = (struct case_function){
        .factor = factors[random_between(random, 0, 4)],
        .offset = 3 * random_unit(random),
        .seed = random_bits(random),
        .hides = random_chance(random, 0.4) ? random_between(random, 1, 8) : 0,
        .poisons = random_chance(random, 0.5) ? c : NULL,
    };
    if (c->function.hides == 1 && random_chance(random, 0.7))
        c->function.hides = 2; /* 1 hides everything */
}

static void fill_sinks(struct attention_case *c, struct random *random)
{
    c->args.sinks = c->sinks = need((size_t)c->problem.heads, sizeof *c->sinks);
    for (int64_t h = 0; h < c->problem.heads; h++) {
        static const float special[] = {-INFINITY, 1e4f, -1e4f, 1e30f, -1e30f, 90};
        c->sinks[h] = random_chance(random, 0.25) ? special[random_between(random, 0, 5)]
                                                  : (float)(3 * random_normal(random));
    }
}

void case_random_scores(struct attention_case *c, struct random *random)
{
    if (c->problem.sinks)
        fill_sinks(c, random);
    if (!c->problem.scores)
        return;
    if (c->scores.mask)
        fill_mask(c, random);
    if (c->scores.bias)
        fill_bias(c, random);
    if (c->scores.alibi)
        fill_slopes(c, random);
    if (c->scores.documents)
        fill_documents(c, random);
    if (c->scores.block_rows) {
        struct listing listing = {random, random_unit(random)};
        case_make_blocks(c, listed_by_chance, &listing);
    }
    if (c->scores.function)
        fill_function(c, random);
}
