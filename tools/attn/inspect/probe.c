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
    attn_pair *pairs;   /* [PROBE_SEEDS, layer_heads, PROBE_WORDS, KINDS] */
    float *weights;     /* likewise */
    int64_t next_layer; /* index into in->layer */
    double *scores;     /* [heads, KINDS, PROBE_SEEDS]: mean over rows */
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
    const int64_t heads = p->in->layer_heads;
    for (int64_t i = 0; i < PROBE_SEEDS * heads; i++)
        for (int64_t kind = 0; kind < KINDS; kind++) {
            double sum = 0.0;
            for (int64_t row = 0; row < PROBE_WORDS; row++)
                sum += (double)p->weights[(i * PROBE_WORDS + row) * KINDS + kind];
            int64_t seed = i / heads, head = p->next_layer * heads + i % heads;
            p->scores[(head * KINDS + kind) * PROBE_SEEDS + seed] = sum / PROBE_WORDS;
        }
    p->next_layer++;
    return true;
}

static bool probe_create(struct probe *p, const struct inspection *in, int64_t first_row,
                         struct failure *f)
{
    size_t pairs = PROBE_SEEDS * (size_t)in->layer_heads * PROBE_WORDS * KINDS;
    *p = (struct probe){.in = in};
    p->pairs = calloc(pairs, sizeof *p->pairs);
    p->weights = calloc(pairs, sizeof *p->weights);
    p->scores = calloc((size_t)in->heads * KINDS * PROBE_SEEDS, sizeof *p->scores);
    if (!p->pairs || !p->weights || !p->scores)
        return fail(f, "out of memory for the probe");
    for (size_t i = 0; i < pairs; i++) {
        int64_t row = first_row + (int64_t)(i / KINDS) % PROBE_WORDS;
        int64_t head = (int64_t)i / (PROBE_WORDS * KINDS);
        p->pairs[i].batch = head / in->layer_heads;
        p->pairs[i].head = head % in->layer_heads;
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

/* The ids that go around the words of a probe; false if this model cannot take one. */
struct frame {
    int32_t first, last; /* -1 = none */
    int64_t words;       /* where they begin */
    int64_t count;       /* of the whole probe */
};

static bool frame_of(struct frame *frame, const struct inspection *in,
                     const struct tokenizer *tokenizer)
{
    frame->first = tokenizer_first_id(tokenizer);
    frame->last = tokenizer_last_id(tokenizer);
    frame->words = frame->first >= 0;
    frame->count = frame->words + 2 * PROBE_WORDS + (frame->last >= 0);
    return frame->count <= in->model->context_length;
}

/* All probes, one behind the other. */
static void write_probes(int32_t *tokens, const struct frame *frame, int32_t *words, int64_t count)
{
    for (int seed = 0; seed < PROBE_SEEDS; seed++, tokens += frame->count) {
        uint64_t random = (uint64_t)seed + 1;
        draw_words(words, count, &random);
        if (frame->first >= 0)
            tokens[0] = frame->first;
        for (int64_t i = 0; i < PROBE_WORDS; i++)
            tokens[frame->words + i] = tokens[frame->words + PROBE_WORDS + i] = words[i];
        if (frame->last >= 0)
            tokens[frame->count - 1] = frame->last;
    }
}

bool probe_run(struct inspection *in, const struct model *model, const struct tokenizer *tokenizer,
               const attn_executor *executor, const volatile sig_atomic_t *stop,
               void (*progress)(void *context, int64_t layer, int64_t layers, double done),
               void *progress_context, struct failure *f)
{
    struct frame frame;
    if (!frame_of(&frame, in, tokenizer))
        return true;
    int32_t *words = malloc(((size_t)tokenizer_size(tokenizer) + 1) * sizeof *words);
    int32_t *tokens = malloc((size_t)(PROBE_SEEDS * frame.count) * sizeof *tokens);
    int64_t word_count = words && tokens ? list_words(tokenizer, words) : PROBE_WORDS;
    bool ok = (words && tokens) || fail(f, "out of memory for the probe");
    if (ok && word_count >= PROBE_WORDS) {
        struct probe p;
        write_probes(tokens, &frame, words, word_count);
        struct model_observer observer = {&p, before, arguments, after};
        struct model_request request = model_request_init();
        request.sequences = PROBE_SEEDS;
        request.executor = executor;
        request.observer = &observer;
        request.stop = stop;
        request.progress = progress;
        request.progress_context = progress_context;
        ok = probe_create(&p, in, frame.words + PROBE_WORDS, f) &&
             model_run(model, tokens, PROBE_SEEDS * frame.count, &request, f);
        if (ok)
            keep_scores(in, &p);
        probe_destroy(&p);
    }
    free(tokens);
    free(words);
    return ok;
}
