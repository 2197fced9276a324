/* What a session keeps of the tokens it has read: the keys and values of every layer, after norms and
 * rotary embedding, in f32.
 *
 * A layer that sees everything has room for `capacity` tokens. A layer with a window keeps no more than the
 * window and some steps: when its room is full, what the window still sees moves to the front, once in as many
 * tokens as the room exceeds the window, so that keys always lie in order, where attention reads them in place.
 *
 * A step adds the rows of each layer and attends to them before store_keep makes them part of what is held:
 * a step that fails leaves the store as it was. */
#ifndef ATTN_TOOLS_MODEL_STORE_H
#define ATTN_TOOLS_MODEL_STORE_H

#include "run.h"

#include <attn/stats.h>

struct store;

/* Room for the layers of run->model, for steps of up to run->count tokens; plans are made here, once.
 * `statistics`: what store_attend measures when it is asked to; NULL = it is never asked. */
bool store_create(struct store **out, const struct run *run, int64_t capacity,
                  const attn_statistics_wanted *statistics, struct failure *f);
void store_free(struct store *store);

/* Tokens held. */
int64_t store_length(const struct store *store);

/* Bytes of keys and values held: of fewer tokens in layers with a window. */
int64_t store_bytes(const struct store *store);

/* The k and v of layer l for `rows` tokens behind those held: [rows, kv heads, size]. */
void store_add(struct store *store, int64_t l, const float *k, const float *v, int64_t rows);

/* o = the attention of the last `rows` of `added` tokens, q [rows, heads, size], to what they see. With
 * `statistics` (one row alone) those too; *first_key is then the position of key 0 in them. */
bool store_attend(struct store *store, int64_t l, const float *q, int64_t rows, int64_t added,
                  float *o, const attn_statistics *statistics, int64_t *first_key,
                  struct failure *f);

/* `rows` tokens were added to every layer. */
void store_keep(struct store *store, int64_t rows);

#endif
