/* What a session keeps of the tokens it has read: the keys and values of every layer, after norms and
 * rotary embedding, in a cache of libattn (attn/kv.h) of any element type. A layer with a window keeps its
 * window, by whole pages.
 *
 * A step begins, adds the rows of each layer and attends to them, and is kept; or it is taken back, as if it
 * had not been. */
#ifndef ATTN_TOOLS_MODEL_STORE_H
#define ATTN_TOOLS_MODEL_STORE_H

#include "run.h"

#include <attn/stats.h>

struct store;

/* Room for `capacity` tokens in the layers of run->model, for steps of up to run->count; plans are made here,
 * once. `statistics`: what store_attend measures when it is asked to; NULL = it is never asked. */
bool store_create(struct store **out, const struct run *run, int64_t capacity, attn_dtype type,
                  const attn_statistics_wanted *statistics, struct failure *f);
void store_free(struct store *store);

/* Tokens held. */
int64_t store_length(const struct store *store);

/* Bytes of the pages in use, which may be fewer than all tokens' in layers with a window. */
int64_t store_bytes(const struct store *store);

/* Make sure of room for `rows` tokens in every layer. */
bool store_begin(struct store *store, int64_t rows, struct failure *f);

/* The k and v of layer l for `rows` tokens behind those held: [rows, kv heads, size]. */
bool store_add(struct store *store, int64_t l, const float *k, const float *v, int64_t rows,
               struct failure *f);

/* The position of the first key that layer l holds: key 0 of statistics. */
int64_t store_first_key(const struct store *store, int64_t l);

/* o = the attention of the last `rows` tokens that were added to layer l, q [rows, heads, size]. With
 * `statistics` (one row alone) those too. */
bool store_attend(struct store *store, int64_t l, const float *q, int64_t rows, float *o,
                  const attn_statistics *statistics, struct failure *f);

/* `rows` tokens were added to every layer; or not to all of them. */
void store_keep(struct store *store, int64_t rows);
void store_take_back(struct store *store);

/* All of it to a file, and from one into an empty store: of the same model, type and window. */
bool store_save(const struct store *store, const char *path, struct failure *f);
bool store_load(struct store *store, const char *path, struct failure *f);

#endif
