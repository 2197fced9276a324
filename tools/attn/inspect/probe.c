/* The repeated random probe; see probe.h. */
#include "probe.h"

#include <math.h>
#include <stdlib.h>

enum { KINDS = 3 }; /* induction, duplicate, previous */
static const int64_t kind_distance[KINDS] = {PROBE_WORDS - 1, PROBE_WORDS, 1};

struct probe {
    const struct inspection *in;
    attn_statistics_wanted wanted;
    attn_statistics statistics;
    attn_pair *pairs;   /* [layer_heads, PROBE_WORDS, KINDS] */
    float *weights;     /* likewise */
    int64_t next_layer; /* index into in->layer */
    int seed;
    double *scores; /* [heads, KINDS, PROBE_SEEDS]: mean over rows */
};

/* splitmix64 (Steele, Lea and Flood 2014). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* All words of the vocabulary into words[tokenizer_size]; returns how many. */
static int64_t list_words(const struct tokenizer *tokenizer, int32_t *words)
{
    int64_t count = 0;
    for (int32_t id = 0; id < tokenizer_size(tokenizer); id++)
        if (tokenizer_is_word(tokenizer, id))
            words[count++] = id;
    return count;
}

/* 64 different words to the front of words[count] (the first steps of a Fisher-Yates shuffle). */
static void draw_words(int32_t *words, int64_t count, uint64_t *random)
{
    for (int64_t i = 0; i < PROBE_WORDS; i++) {
        int64_t other = i + (int64_t)(next_random(random) % (uint64_t)(count - i));
        int32_t word = words[other];
        words[other] = words[i];
        words[i] = word;
    }
}

static bool wanted_layer(const struct probe *p, int64_t layer)
{
    return p->next_layer < p->in->layers && p->in->layer[p->next_layer] == layer;
}

static bool before(void *context, int64_t layer, attn_problem *problem, bool *contribution,
                   struct failure *f)
{
    struct probe *p = context;
    (void)contribution, (void)f;
    if (wanted_layer(p, layer))
        problem->statistics = &p->wanted;
    return true;
}

static bool arguments(void *context, int64_t layer, attn_args *args, struct failure *f)
{
    struct probe *p = context;
    (void)f;
    if (wanted_layer(p, layer))
        args->statistics = &p->statistics;
    return true;
}

static bool after(void *context, const struct model_attention *attention, struct failure *f)
{
    struct probe *p = context;
    (void)f;
    if (!wanted_layer(p, attention->layer))
        return true;
    for (int64_t h = 0; h < p->in->layer_heads; h++)
        for (int64_t kind = 0; kind < KINDS; kind++) {
            double sum = 0.0;
            for (int64_t row = 0; row < PROBE_WORDS; row++)
                sum += (double)p->weights[(h * PROBE_WORDS + row) * KINDS + kind];
            int64_t head = p->next_layer * p->in->layer_heads + h;
            p->scores[(head * KINDS + kind) * PROBE_SEEDS + p->seed] = sum / PROBE_WORDS;
        }
    p->next_layer++;
    return true;
}

static bool probe_create(struct probe *p, const struct inspection *in, int64_t first_row,
                         struct failure *f)
{
    size_t pairs = (size_t)in->layer_heads * PROBE_WORDS * KINDS;
    *p = (struct probe){.in = in};
    p->pairs = calloc(pairs, sizeof *p->pairs);
    p->weights = calloc(pairs, sizeof *p->weights);
    p->scores = calloc((size_t)in->heads * KINDS * PROBE_SEEDS, sizeof *p->scores);
    if (!p->pairs || !p->weights || !p->scores)
        return fail(f, "out of memory for the probe");
    for (size_t i = 0; i < pairs; i++) {
        int64_t row = first_row + (int64_t)(i / KINDS) % PROBE_WORDS;
        p->pairs[i].head = (int64_t)i / (PROBE_WORDS * KINDS);
        p->pairs[i].query = row;
        p->pairs[i].key = row - kind_distance[i % KINDS];
    }
    p->wanted = attn_statistics_wanted_init(ATTN_STAT_PAIRS);
    p->statistics = attn_statistics_init();
    p->statistics.pairs = p->pairs;
    p->statistics.pairs_count = (int64_t)pairs;
    p->statistics.pair_weights = p->weights;
    return true;
}

static void probe_destroy(struct probe *p)
{
    free(p->pairs);
    free(p->weights);
    free(p->scores);
}

static struct probe_score over_seeds(const double *scores)
{
    double mean = 0.0, squares = 0.0;
    for (int i = 0; i < PROBE_SEEDS; i++)
        mean += scores[i] / PROBE_SEEDS;
    for (int i = 0; i < PROBE_SEEDS; i++)
        squares += (scores[i] - mean) * (scores[i] - mean) / PROBE_SEEDS;
    return (struct probe_score){mean, sqrt(squares)};
}

static void keep_scores(struct inspection *in, const struct probe *p)
{
    for (int64_t i = 0; i < in->heads; i++) {
        const double *scores = p->scores + i * KINDS * PROBE_SEEDS;
        if (in->model->causal)
            in->head[i].induction = over_seeds(scores);
        in->head[i].duplicate = over_seeds(scores + PROBE_SEEDS);
        in->head[i].previous_probe = over_seeds(scores + 2 * PROBE_SEEDS);
    }
    in->probe_seeds = PROBE_SEEDS;
}

bool probe_run(struct inspection *in, const struct model *model, const struct tokenizer *tokenizer,
               const attn_executor *executor, const volatile sig_atomic_t *stop,
               void (*progress)(void *context, int seed), void *progress_context, struct failure *f)
{
    const struct probe_score none = {NAN, NAN};
    for (int64_t i = 0; i < in->heads; i++)
        in->head[i].induction = in->head[i].duplicate = in->head[i].previous_probe = none;
    int32_t tokens[2 * PROBE_WORDS + 2];
    int64_t before_words = 0, count;
    if (tokenizer_first_id(tokenizer) >= 0)
        tokens[before_words++] = tokenizer_first_id(tokenizer);
    count = before_words + 2 * PROBE_WORDS;
    if (tokenizer_last_id(tokenizer) >= 0)
        tokens[count++] = tokenizer_last_id(tokenizer);
    if (count > in->model->context_length)
        return true;
    int32_t *words = malloc(((size_t)tokenizer_size(tokenizer) + 1) * sizeof *words);
    if (!words)
        return fail(f, "out of memory for the probe");
    int64_t word_count = list_words(tokenizer, words);
    if (word_count < PROBE_WORDS) {
        free(words);
        return true;
    }
    struct probe p;
    bool ok = probe_create(&p, in, before_words + PROBE_WORDS, f);
    struct model_observer observer = {&p, before, arguments, after};
    struct model_request request = model_request_init();
    request.executor = executor;
    request.observer = &observer;
    request.stop = stop;
    for (p.seed = 0; ok && p.seed < PROBE_SEEDS; p.seed++) {
        uint64_t random = (uint64_t)p.seed + 1;
        if (progress)
            progress(progress_context, p.seed);
        draw_words(words, word_count, &random);
        for (int64_t i = 0; i < PROBE_WORDS; i++)
            tokens[before_words + i] = tokens[before_words + PROBE_WORDS + i] = words[i];
        p.next_layer = 0;
        ok = model_run(model, tokens, count, &request, f);
    }
    if (ok)
        keep_scores(in, &p);
    probe_destroy(&p);
    free(words);
    return ok;
}
