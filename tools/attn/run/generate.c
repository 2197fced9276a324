/* Reading the prompt and writing on; see generate.h. */
#include "generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Everything that lives as long as the writing. */
struct writer {
    struct generation *g;
    const struct generation_options *options;
    struct session *session;
    struct sampler *sampler;
    float *logits;
    struct session_statistics statistics;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- statistics of a token ---- */

/* The weight that counts for "most peaked": the largest that is not on the first token. */
static float peak_of(const struct session_statistics *s, int64_t head)
{
    for (int i = 0; i < TOP_KEYS; i++)
        if (s->top_key[head * TOP_KEYS + i] != 0)
            return s->top_weight[head * TOP_KEYS + i];
    return 0;
}

/* The mean over the heads of each layer of the weight on each part. */
static void note_shares(const struct writer *w, struct chosen *chosen, int64_t written)
{
    const struct model_description *m = w->g->model;
    int64_t parts = w->g->segments->count;
    chosen->share = w->g->shares + written * m->layers * parts;
    for (int64_t l = 0; l < m->layers; l++)
        for (int64_t i = 0; i < parts; i++) {
            double sum = 0;
            for (int64_t h = 0; h < m->heads; h++)
                sum += (double)w->statistics.segment_weight[(l * m->heads + h) * parts + i];
            chosen->share[l * parts + i] = (float)(sum / (double)m->heads);
        }
}

static void note_choice(const struct writer *w, int64_t written)
{
    const struct session_statistics *s = &w->statistics;
    const struct model_description *m = w->g->model;
    struct chosen *chosen = &w->g->chosen[written];
    int64_t best = 0;
    chosen->entropy = w->g->entropies + written * m->layers;
    for (int64_t l = 0; l < m->layers; l++) {
        double sum = 0;
        for (int64_t h = 0; h < m->heads; h++) {
            sum += (double)s->entropy[l * m->heads + h];
            if (peak_of(s, l * m->heads + h) > peak_of(s, best))
                best = l * m->heads + h;
        }
        chosen->entropy[l] = (float)(sum / (double)m->heads);
    }
    chosen->layer = best / m->heads;
    chosen->head = best % m->heads;
    memcpy(chosen->key, s->top_key + best * TOP_KEYS, sizeof chosen->key);
    memcpy(chosen->weight, s->top_weight + best * TOP_KEYS, sizeof chosen->weight);
    if (w->g->segments != NULL)
        note_shares(w, chosen, written);
}

static bool allocate_statistics(struct writer *w, struct failure *f)
{
    const struct model_description *m = w->g->model;
    size_t heads = (size_t)(m->layers * m->heads), most = (size_t)w->options->most;
    struct session_statistics *s = &w->statistics;
    s->entropy = malloc(heads * sizeof *s->entropy);
    s->max_weight = malloc(heads * sizeof *s->max_weight);
    s->top_key = malloc(heads * TOP_KEYS * sizeof *s->top_key);
    s->top_weight = malloc(heads * TOP_KEYS * sizeof *s->top_weight);
    w->g->chosen = calloc(most, sizeof *w->g->chosen);
    w->g->entropies = calloc(most * (size_t)m->layers, sizeof *w->g->entropies);
    return (s->entropy != NULL && s->max_weight != NULL && s->top_key != NULL &&
            s->top_weight != NULL && w->g->chosen != NULL && w->g->entropies != NULL) ||
           fail(f, "out of memory for the statistics of %zu tokens", most);
}

/* Which part every position is in, now that it is known how many were loaded. */
static bool allocate_segments(struct writer *w, int64_t capacity, struct failure *f)
{
    struct generation *g = w->g;
    size_t layers = (size_t)g->model->layers, parts = (size_t)g->segments->count;
    size_t most = (size_t)w->options->most;
    uint8_t *segment = malloc((size_t)capacity + 1);
    g->shares = calloc(most, layers * parts * sizeof *g->shares);
    w->statistics.segment_weight =
        malloc(layers * (size_t)g->model->heads * parts * sizeof *w->statistics.segment_weight);
    if (segment == NULL || g->shares == NULL || w->statistics.segment_weight == NULL) {
        free(segment);
        return fail(f, "out of memory for the segments of %zu tokens", most);
    }
    memset(segment, SEGMENT_LOADED, (size_t)g->loaded);
    memcpy(segment + g->loaded, g->segment, (size_t)g->prompt);
    int64_t read = g->loaded + g->prompt;
    memset(segment + read, SEGMENT_OWN, (size_t)(capacity + 1 - read));
    free(g->segment);
    g->segment = segment;
    w->statistics.segment_of = segment;
    return true;
}

/* ---- writing ---- */

/* Strings of control tokens that end what a model says in a conversation. */
static const char *const turn_ends[] = {"<end_of_turn>", "<|im_end|>", "<|eot_id|>",
                                        "<|endoftext|>", "<|end_of_text|>"};

static bool ends_text(const struct tokenizer *tokenizer, int32_t token)
{
    if (tokenizer_ends_text(tokenizer, token))
        return true;
    for (size_t i = 0; i < sizeof turn_ends / sizeof *turn_ends; i++)
        if (token == tokenizer_find(tokenizer, (struct text){turn_ends[i], strlen(turn_ends[i])}))
            return tokenizer_class(tokenizer, token) == TOKEN_CLASS_CONTROL;
    return false;
}

/* With statistics the last token of the prompt is a step of its own, whose attention is seen. */
static bool read_prompt(struct writer *w, struct failure *f)
{
    struct generation *g = w->g;
    struct session_wanted wanted = session_wanted_init(), last = session_wanted_init();
    wanted.progress = w->options->progress;
    wanted.progress_context = w->options->context;
    int64_t alone = w->options->statistics ? 1 : 0, first = g->prompt - alone;
    if (alone == 0)
        wanted.logits = w->logits;
    last.logits = w->logits;
    last.statistics = &w->statistics;
    return (first == 0 || session_step(w->session, g->token, first, &wanted, f)) &&
           (alone == 0 || session_step(w->session, g->token + first, 1, &last, f));
}

/* Choose a token and show it. *end is set where the text is over. */
static bool write_token(struct writer *w, bool *end, struct failure *f)
{
    struct generation *g = w->g;
    int32_t token;
    struct text text;
    if (!sampler_choose(w->sampler, w->logits, &token, f))
        return false;
    if (ends_text(g->tokenizer, token)) {
        g->ending = ENDING_TOKEN;
        return *end = true;
    }
    if (w->options->statistics)
        note_choice(w, g->written);
    g->token[g->prompt + g->written++] = token;
    if (!stream_token(&g->stream, token, &text, f))
        return false;
    if (w->options->show != NULL &&
        !w->options->show(w->options->context, g, g->prompt + g->written - 1, text, f))
        return false;
    if (g->stream.stopped != NULL) {
        g->ending = ENDING_STOP;
        return *end = true;
    }
    bool full = g->loaded + g->prompt + g->written >= g->model->context_length;
    if (g->written == w->options->most || full) {
        g->ending = g->written == w->options->most ? ENDING_LENGTH : ENDING_CONTEXT;
        *end = true;
    }
    return true;
}

/* All that was read and written, the last token too, so that another run can go on behind it. */
static bool save(struct writer *w, struct failure *f)
{
    const struct generation *g = w->g;
    int64_t unread = g->loaded + g->prompt + g->written - session_length(w->session);
    const struct session_wanted nothing = session_wanted_init();
    session_ignore_stop(w->session);
    return (unread == 0 || session_step(w->session, g->token + g->prompt + g->written - unread,
                                        unread, &nothing, f)) &&
           session_save(w->session, w->options->save_cache, f);
}

static bool load(struct writer *w, struct failure *f)
{
    struct generation *g = w->g;
    if (w->options->load_cache == NULL)
        return true;
    if (!session_load(w->session, w->options->load_cache, f))
        return false;
    g->loaded = session_length(w->session);
    int64_t context = g->model->context_length;
    return g->loaded + g->prompt < context ||
           fail(f,
                "%s holds %lld tokens and the prompt has %lld; %s reads at most %lld with room for "
                "one more",
                w->options->load_cache, (long long)g->loaded, (long long)g->prompt,
                g->model->architecture, (long long)context - 1);
}

static bool write_all(struct writer *w, struct failure *f)
{
    struct generation *g = w->g;
    struct session_wanted wanted = session_wanted_init();
    wanted.logits = w->logits;
    wanted.statistics = w->options->statistics ? &w->statistics : NULL;
    double begin = now();
    if (!read_prompt(w, f))
        return false;
    double read = now();
    g->prompt_seconds = read - begin;
    for (bool end = false;;) {
        if (!write_token(w, &end, f))
            return false;
        g->written_seconds = now() - read;
        if (end)
            break;
        if (!session_step(w->session, g->token + g->prompt + g->written - 1, 1, &wanted, f)) {
            if (w->options->stop == NULL || *w->options->stop == 0)
                return false;
            g->ending = ENDING_INTERRUPTED;
            break;
        }
    }
    struct text rest;
    if (!stream_finish(&g->stream, &rest, f) ||
        (w->options->show != NULL && !w->options->show(w->options->context, g, -1, rest, f)))
        return false;
    bool ok = w->options->save_cache == NULL || save(w, f);
    g->cached_tokens = session_length(w->session);
    g->cache_bytes = session_cache_bytes(w->session);
    return ok;
}

static bool prepare(struct writer *w, const struct model *model, struct failure *f)
{
    struct generation *g = w->g;
    const struct model_description *m = g->model;
    int64_t room = g->prompt + w->options->most;
    room = room < m->context_length ? room : m->context_length;
    struct session_options options = session_options_init();
    options.capacity = w->options->load_cache != NULL ? m->context_length : room;
    options.cache_type = w->options->cache_type;
    options.executor = w->options->executor;
    options.stop = w->options->stop;
    options.top_keys = w->options->statistics ? TOP_KEYS : -1;
    options.segments = g->segments != NULL ? g->segments->count : 0;
    int32_t *token = realloc(g->token, (size_t)(room + 1) * sizeof *token);
    if (token == NULL)
        return fail(f, "out of memory for %lld tokens", (long long)room);
    g->token = token;
    w->logits = malloc((size_t)m->vocabulary * sizeof *w->logits);
    w->sampler = sampler_create(&w->options->sampling, m->vocabulary);
    if (w->logits == NULL || w->sampler == NULL)
        return fail(f, "out of memory for the scores of %lld tokens", (long long)m->vocabulary);
    stream_open(&g->stream, g->tokenizer, w->options->stops, w->options->special,
                g->token[g->prompt - 1]);
    return (!w->options->statistics || allocate_statistics(w, f)) &&
           session_create(&w->session, model, &options, f) && load(w, f) &&
           (g->segments == NULL || allocate_segments(w, options.capacity, f));
}

bool generate(struct generation *g, const struct model *model,
              const struct generation_options *options, struct failure *f)
{
    struct writer w = {.g = g, .options = options};
    bool ok = prepare(&w, model, f) && write_all(&w, f);
    session_free(w.session);
    sampler_free(w.sampler);
    free(w.logits);
    free(w.statistics.entropy);
    free(w.statistics.max_weight);
    free(w.statistics.top_key);
    free(w.statistics.top_weight);
    free(w.statistics.segment_weight);
    return ok;
}

void generation_free(struct generation *g)
{
    stream_free(&g->stream);
    free(g->token);
    free(g->chosen);
    free(g->entropies);
    free(g->segment);
    free(g->shares);
}

struct text piece_at(const struct generation *g, int64_t position)
{
    return position >= g->loaded ? tokenizer_piece(g->tokenizer, g->token[position - g->loaded])
                                 : (struct text){"", 0};
}

static const char *const endings[][2] = {
    [ENDING_LENGTH] = {"length", "as many tokens as were asked for"},
    [ENDING_TOKEN] = {"end", "the model ended the text"},
    [ENDING_STOP] = {"stop", "a stop text came"},
    [ENDING_CONTEXT] = {"context", "the model's context is full"},
    [ENDING_INTERRUPTED] = {"interrupted", "interrupted"},
};

const char *ending_name(enum ending ending)
{
    return endings[ending][0];
}

const char *ending_sentence(enum ending ending)
{
    return endings[ending][1];
}

double segment_share(const struct generation *g, int64_t index, int segment)
{
    double sum = 0;
    for (int64_t l = 0; l < g->model->layers; l++)
        sum += (double)g->chosen[index].share[l * g->segments->count + segment];
    return sum / (double)g->model->layers;
}

int64_t segment_tokens(const struct generation *g, int segment)
{
    int64_t count = 0;
    for (int64_t i = 0; i < g->loaded + g->prompt + g->written; i++)
        count += g->segment[i] == segment;
    return count;
}

double prompt_rate(const struct generation *g)
{
    return g->prompt_seconds > 0 ? (double)g->prompt / g->prompt_seconds : 0;
}

/* The first token is chosen from the scores that the prompt gave; each further one takes a step. */
double written_rate(const struct generation *g)
{
    return g->written > 1 && g->written_seconds > 0 ? (double)(g->written - 1) / g->written_seconds
                                                    : 0;
}
