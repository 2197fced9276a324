/* The steps of a session: the layers of a run (run.h), with the store in place of attention to itself. */
#include "session.h"

#include "store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_ROWS = 512 };

struct session {
    const struct model *model;
    struct model_request request;
    struct run run;
    struct store *store;
    int64_t capacity, step_rows;
    attn_statistics_wanted measured; /* top_keys -1: nothing */
    int top_keys;
    int32_t segments;
    int32_t *top_key; /* [heads, top_keys] of the layer at work */
};

struct session_options session_options_init(void)
{
    return (struct session_options){.cache_type = ATTN_F32, .top_keys = -1};
}

struct session_wanted session_wanted_init(void)
{
    return (struct session_wanted){.follows = -1};
}

static bool check_options(const struct model *model, const struct session_options *options,
                          struct failure *f)
{
    const struct model_description *d = &model->description;
    if (!d->predicts_tokens || !d->causal)
        return fail(f, "a %s model predicts no tokens, so it cannot write", d->architecture);
    if (options->capacity < 1 || options->capacity > d->context_length)
        return fail(f,
                    "room for %lld tokens was asked for; it may be 1 to %lld, the model's context",
                    (long long)options->capacity, (long long)d->context_length);
    return true;
}

static bool prepare_statistics(struct session *session, struct failure *f)
{
    if (session->top_keys < 0)
        return true;
    session->measured =
        attn_statistics_wanted_init(ATTN_STAT_ENTROPY | ATTN_STAT_MAX_WEIGHT |
                                    (session->top_keys > 0 ? ATTN_STAT_TOP_KEYS : 0) |
                                    (session->segments > 0 ? ATTN_STAT_MASS_SEGMENTS : 0));
    session->measured.segments = session->segments;
    session->measured.top_keys = session->top_keys;
    size_t count = (size_t)session->model->settings.heads * (size_t)session->top_keys;
    session->top_key = malloc(count * sizeof *session->top_key + 1);
    return session->top_key != NULL || fail(f, "out of memory");
}

bool session_create(struct session **out, const struct model *model,
                    const struct session_options *options, struct failure *f)
{
    *out = NULL;
    if (!check_options(model, options, f))
        return false;
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return fail(f, "out of memory");
    int64_t rows = options->step_rows > 0 ? options->step_rows : STEP_ROWS;
    session->model = model;
    session->capacity = options->capacity;
    session->step_rows = rows < options->capacity ? rows : options->capacity;
    session->top_keys = options->top_keys;
    session->segments = options->segments;
    session->request = model_request_init();
    session->request.executor = options->executor;
    session->request.stop = options->stop;
    session->run = (struct run){.model = model,
                                .request = &session->request,
                                .executor = options->executor,
                                .count = session->step_rows,
                                .length = session->step_rows,
                                .follows = -1};
    if (!allocate_run(&session->run, f) || !prepare_statistics(session, f) ||
        !store_create(&session->store, &session->run, session->capacity, options->cache_type,
                      session->top_keys < 0 ? NULL : &session->measured, f)) {
        session_free(session);
        return false;
    }
    *out = session;
    return true;
}

void session_free(struct session *session)
{
    if (session == NULL)
        return;
    store_free(session->store);
    free_run(&session->run);
    free(session->top_key);
    free(session);
}

void session_ignore_stop(struct session *session)
{
    session->request.stop = NULL;
}

int64_t session_length(const struct session *session)
{
    return store_length(session->store);
}

int64_t session_cache_bytes(const struct session *session)
{
    return store_bytes(session->store);
}

bool session_save(const struct session *session, const char *path, struct failure *f)
{
    return store_save(session->store, path, f);
}

bool session_load(struct session *session, const char *path, struct failure *f)
{
    return store_load(session->store, path, f);
}

/* Only the last row matters from here on: it becomes row 0. */
static void keep_last_row(struct run *run)
{
    const struct settings *s = &run->model->settings;
    size_t last = (size_t)(run->count - 1), width = (size_t)s->width;
    size_t q_width = (size_t)(s->heads * s->key_size);
    memmove(run->x, run->x + last * width, width * sizeof(float));
    memmove(run->q, run->q + last * q_width, q_width * sizeof(float));
    run->count = run->length = 1;
}

/* The attention of layer l for the rows of the run, the last that were added. */
static bool attend(struct session *session, int64_t l, const struct session_statistics *wanted,
                   struct failure *f)
{
    struct run *run = &session->run;
    if (wanted == NULL)
        return store_attend(session->store, l, run->q, run->count, run->o, NULL, f);
    int64_t heads = run->model->settings.heads, top = session->top_keys;
    int64_t first_key = store_first_key(session->store, l);
    attn_statistics statistics = attn_statistics_init();
    statistics.entropy = wanted->entropy + l * heads;
    statistics.max_weight = wanted->max_weight + l * heads;
    if (top > 0) {
        statistics.top_keys = session->top_key;
        statistics.top_weights = wanted->top_weight + l * heads * top;
    }
    if (session->segments > 0) {
        statistics.segment_ids = wanted->segment_of + first_key;
        statistics.mass_segments = wanted->segment_weight + l * heads * session->segments;
    }
    if (!store_attend(session->store, l, run->q, 1, run->o, &statistics, f))
        return false;
    int32_t *out = wanted->top_key + l * heads * top;
    for (int64_t i = 0; i < heads * top; i++)
        out[i] = session->top_key[i] < 0 ? -1 : session->top_key[i] + (int32_t)first_key;
    return true;
}

/* All layers for one piece; `any` = something is wanted of what comes out. */
static bool run_layers(struct session *session, const struct session_wanted *wanted, bool any,
                       struct failure *f)
{
    struct run *run = &session->run;
    const int64_t layers = run->model->settings.layers, added = run->count;
    for (int64_t l = 0; l < layers; l++) {
        if (!project_rows(run, l, f) || !store_add(session->store, l, run->k, run->v, added, f))
            return false;
        if (l == layers - 1 && !any)
            return true;
        if (l == layers - 1 && wanted->nll == NULL)
            keep_last_row(run);
        if (!attend(session, l, wanted->statistics, f) || !add_attention(run, l, f) ||
            !run_feed_forward(run, l, f))
            return false;
    }
    return true;
}

static bool last_logits(struct session *session, float *logits, struct failure *f)
{
    struct run *run = &session->run;
    const struct model *model = run->model;
    const struct settings *s = &model->settings;
    const struct matrix *output = &model->part[PART_OUTPUT].matrix;
    const float *hidden =
        branch_input(run, &model->part[PART_FINAL_NORM].norm, run->count - 1, 1, f);
    const struct product product = {output, logits, output->outputs};
    if (hidden == NULL || !linear_run(run->linear, hidden, 1, s->width, &product, 1, f))
        return false;
    float cap = (float)s->logit_softcap;
    for (int64_t i = 0; cap > 0 && i < output->outputs; i++)
        logits[i] = cap * tanhf(logits[i] / cap);
    return true;
}

/* One piece of at most step_rows tokens. */
static bool step_piece(struct session *session, const int32_t *tokens, int64_t count, bool last,
                       const struct session_wanted *wanted, float *nll, int32_t follows,
                       struct failure *f)
{
    struct run *run = &session->run;
    run->tokens = tokens;
    run->count = run->length = count;
    run->position = store_length(session->store);
    run->follows = follows;
    session->request.nll = nll;
    bool any = nll != NULL || (last && (wanted->logits != NULL || wanted->statistics != NULL));
    if (!run_advance(run, 0, 0, f) || !store_begin(session->store, count, f) ||
        !turn_rotary(run, f) || !embed_tokens(run, f) || !run_layers(session, wanted, any, f) ||
        (nll != NULL && !finish_run(run, f)) ||
        (last && wanted->logits != NULL && !last_logits(session, wanted->logits, f))) {
        store_take_back(session->store);
        return false;
    }
    store_keep(session->store, count);
    return true;
}

static bool check_step(const struct session *session, const int32_t *tokens, int64_t count,
                       const struct session_wanted *wanted, struct failure *f)
{
    int64_t room = session->capacity - session_length(session);
    if (count < 1)
        return fail(f, "a step reads at least 1 token; it was given %lld", (long long)count);
    if (count > room)
        return fail(f, "%lld tokens do not fit; of room for %lld, %lld are left", (long long)count,
                    (long long)session->capacity, (long long)room);
    int64_t vocabulary = session->model->description.vocabulary;
    for (int64_t i = 0; i < count; i++)
        if (tokens[i] < 0 || tokens[i] >= vocabulary)
            return fail(f, "token %lld is %d, but the vocabulary has ids 0 to %lld", (long long)i,
                        tokens[i], (long long)vocabulary - 1);
    if (wanted->follows >= vocabulary)
        return fail(f, "the token that follows is %d, but the vocabulary has ids 0 to %lld",
                    wanted->follows, (long long)vocabulary - 1);
    if (wanted->statistics != NULL && (count != 1 || session->top_keys < 0))
        return fail(f,
                    "statistics were asked of a step of %lld tokens; it may be one token, of a "
                    "session made to measure",
                    (long long)count);
    return true;
}

bool session_step(struct session *session, const int32_t *tokens, int64_t count,
                  const struct session_wanted *wanted, struct failure *f)
{
    if (!check_step(session, tokens, count, wanted, f))
        return false;
    for (int64_t first = 0; first < count;) {
        int64_t left = count - first;
        int64_t rows = left < session->step_rows ? left : session->step_rows;
        bool last = rows == left;
        if (!step_piece(session, tokens + first, rows, last, wanted,
                        wanted->nll != NULL ? wanted->nll + first : NULL,
                        last ? wanted->follows : tokens[first + rows], f))
            return false;
        first += rows;
        if (wanted->progress != NULL)
            wanted->progress(wanted->progress_context, first, count);
    }
    return true;
}
