/* What a cache holds, apart from where it lies: the stored elements and scales of every token, which can be
 * laid into pages of any size and order. Wherever no token lies, the pool holds NaN, Inf and worse. */
#ifndef TESTS_DECODE_STORE_H
#define TESTS_DECODE_STORE_H

#include "attention/attention_case.h"
#include "attn/kv.h"

struct store_type {
    attn_dtype k, v;
    int64_t group;
    bool channel_scales, positions, latent; /* latent: v is k's first channels */
};

struct store {
    struct store_type type;
    int64_t batch, kv_heads, head_size, head_size_v, most; /* most keys of a sequence */
    int64_t *keys;                                         /* [batch] */
    /* element (b, kv head, key) of k at ((b * kv_heads + head) * most + key) * row bytes */
    unsigned char *k, *v;
    int64_t k_row, v_row;       /* bytes */
    float *k_scale, *v_scale;   /* [batch][kv_heads][most][scales of a token] */
    int64_t k_scales, v_scales; /* of a token; 0 */
    float *channel_scale;       /* [kv_heads][head_size] */
    int32_t *position;          /* [batch][most] */
    int64_t *like, *alike;      /* [batch]: the first alike[b] keys are those of like[b]; or NULL */
};

/* Values from a case's dense k and v, rounded or quantised; scales are as large as the values ask. */
struct store *store_create(const struct attention_case *c, struct store_type type,
                           struct random *random);
void store_destroy(struct store *store);

/* Sequence `batch` of it alone. */
struct store *store_of_sequence(const struct store *store, int64_t batch);

/* Let most sequences begin as one before them, with a random number of its keys; and let laid rings all begin in
 * the same slot, so that their pages can be shared. */
void store_begin_alike(struct store *store, struct random *random);

/* Turn key `key` of a kv head (all its elements and scales) hostile. */
void store_poison(struct store *store, int64_t batch, int64_t head, int64_t key,
                  struct random *random);

/* The value alone, so that scores say nothing of it. */
void store_poison_value(struct store *store, int64_t batch, int64_t head, int64_t key,
                        struct random *random);

/* A pool that holds the store. */
struct laid {
    attn_kv_layout layout;
    attn_kv_view view;
    void *memory[12];
    int memory_count;
};

/* Pages of `page_size` in a random order with room between them (`orderly`: one after the other), heads or
 * tokens first, some tokens gone at the start. */
struct laid store_lay(const struct store *store, int64_t page_size, bool orderly,
                      struct random *random);
void laid_destroy(struct laid *laid);

/* Let sequences that begin alike be in the same pages as far as these are whole (or all there is). */
void laid_share(struct laid *laid, const struct store *store);

/* Make the case read the pool instead of its tensors. Sequence numbers of the store are those of the case. */
void laid_use(const struct laid *laid, struct attention_case *c);

#endif
