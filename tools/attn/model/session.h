/* A model that reads and writes on: each step takes the next tokens, remembers their keys and values, and
 * attends to all that is remembered.
 *
 *     struct session *session;
 *     struct session_options options = {.capacity = 4096, .executor = attn_default_executor()};
 *     if (!session_create(&session, model, &options, f))
 *         return false;
 *     struct session_wanted wanted = session_wanted_init();
 *     wanted.logits = logits;
 *     bool ok = session_step(session, prompt, count, &wanted, f);       // reads the prompt
 *     while (ok && ...) {
 *         int32_t token = the best of logits;
 *         ok = session_step(session, &token, 1, &wanted, f);            // and writes
 *     }
 *     session_free(session);
 *
 * Memory is taken when the session is created; a step of one token allocates nothing, and takes time in
 * proportion to the model and what is remembered. The numbers have the same bits for any number of threads;
 * how tokens are cut into steps changes them in the last digits. */
#ifndef ATTN_TOOLS_MODEL_SESSION_H
#define ATTN_TOOLS_MODEL_SESSION_H

#include "model.h"

struct session;

struct session_options {
    int64_t capacity;              /* tokens at most, 1 .. the model's context length */
    const attn_executor *executor; /* NULL = one thread */
    attn_dtype cache_type;         /* of keys and values: f32 (default), f16, bf16, int8, int4 */
    int64_t step_rows; /* a longer step is taken in pieces of so many; 0 (default) = 512 */

    /* Looked at between pieces of work: once not 0, a step fails with "interrupted"; NULL = never. */
    const volatile sig_atomic_t *stop;

    /* Steps of one token can be measured, with this many keys of the highest weight of each head;
     * -1 = they cannot. */
    int top_keys;
    int32_t
        segments; /* with them, the weight on each of so many parts, 0 .. 32; 0 (default) = none */
};

/* capacity 0, f32, no executor, no statistics. */
struct session_options session_options_init(void);

/* Fails when the model predicts no tokens or sees ahead, when the capacity is not as above, or memory does
 * not suffice. The model must outlive the session. */
bool session_create(struct session **out, const struct model *model,
                    const struct session_options *options, struct failure *f);
void session_free(struct session *session);

/* What a token's query saw, head by head: [layers, heads] in the order of layers. */
struct session_statistics {
    float *entropy, *max_weight;
    int32_t *top_key;  /* [layers, heads, top_keys]: positions, best first; -1 = none */
    float *top_weight; /* the same */

    const uint8_t *segment_of; /* [tokens read so far, this one too]: the part that each is in */
    float *segment_weight;     /* [layers, heads, segments] */
};

struct session_wanted {
    float *logits;   /* [vocabulary]: of what follows the last token; NULL = not wanted */
    float *nll;      /* [count]: -ln p(the token that follows), nats; NULL = not wanted */
    int32_t follows; /* the token that follows the last one, for its nll; -1 = unknown: NaN */
    const struct session_statistics *statistics; /* count must be 1; NULL = not wanted */

    /* After every piece of a long step: `done` of `count` tokens. NULL = silent. */
    void (*progress)(void *context, int64_t done, int64_t count);
    void *progress_context;
};

/* Nothing wanted. */
struct session_wanted session_wanted_init(void);

/* Read `count` >= 1 tokens. Fails, with nothing read, when one is not in the vocabulary or there is no room
 * for them; a step that fails later (interrupted, out of memory) has read whole pieces: session_length tells how
 * many. */
bool session_step(struct session *session, const int32_t *tokens, int64_t count,
                  const struct session_wanted *wanted, struct failure *f);

/* From here on steps are not interrupted: to finish after Ctrl-C. */
void session_ignore_stop(struct session *session);

/* Tokens read. */
int64_t session_length(const struct session *session);

/* Bytes of the pages of keys and values in use. */
int64_t session_cache_bytes(const struct session *session);

/* All that is remembered to a file, written whole or not at all; and from a file into a session that has read
 * nothing. Refused: a file that is damaged, of another model or cache type, or longer than the capacity. */
bool session_save(const struct session *session, const char *path, struct failure *f);
bool session_load(struct session *session, const char *path, struct failure *f);

#endif
