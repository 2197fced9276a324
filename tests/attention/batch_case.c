/* Random batches: see batch_case.h. */
#include "attention/batch_case.h"

#include "attention/guarded.h"
#include "attn_ref.h"

#include <stdlib.h>

static int64_t pick(struct random *random, const int64_t *from, int64_t count)
{
    return from[random_between(random, 0, count - 1)];
}

static void choose_lengths(struct batch_case *c, struct random *random, enum batch_size size)
{
    attn_problem *p = &c->problem;
    const int64_t queries = size == BATCH_SMALL ? 30 : size == BATCH_LARGE ? 260 : 4;
    const int64_t keys = size == BATCH_SMALL ? 70 : 900;
    const bool equal = random_chance(random, 0.2);
    p->queries = p->keys = 0;
    for (int64_t b = 0; b < p->batch; b++) {
        bool copy = equal && b > 0;
        c->query_lengths[b] = copy                         ? c->query_lengths[0]
                              : random_chance(random, 0.1) ? 0
                                                           : random_between(random, 1, queries);
        c->key_lengths[b] = copy                         ? c->key_lengths[0]
                            : random_chance(random, 0.1) ? 0
                                                         : random_between(random, 1, keys);
        p->queries = c->query_lengths[b] > p->queries ? c->query_lengths[b] : p->queries;
        p->keys = c->key_lengths[b] > p->keys ? c->key_lengths[b] : p->keys;
    }
}

/* [batch][heads][longest][size], NaN behind each sequence's end. */
static void *tensor(const struct batch_case *c, struct random *random, int64_t heads,
                    const int64_t *lengths, int64_t longest, int64_t size, double spread)
{
    const attn_dtype dtype = c->problem.q.dtype;
    const int64_t count = c->problem.batch * heads * longest * size;
    void *array = need((size_t)count + 1, (size_t)attn_ref_dtype_size(dtype));
    for (int64_t i = 0; i < count; i++) {
        int64_t b = i / size / longest / heads, row = i / size % longest;
        attn_ref_store(array, dtype, i, row < lengths[b] ? spread * random_normal(random) : NAN);
    }
    return array;
}

/* Depends on its arguments but for the batch, which is another when the sequence is alone. */
static void score_function(void *context, int64_t batch, int64_t head, int64_t query_begin,
                           int64_t rows, int64_t key_begin, int64_t keys, float *scores,
                           int64_t stride)
{
    (void)context, (void)batch;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < keys; j++) {
            int64_t query = query_begin + r, key = key_begin + j;
            float *s = &scores[r * stride + j];
            *s =
                (query + key + head) % 13 == 5 ? -INFINITY : *s + 0.1f * (float)((query + key) % 3);
        }
}

static void choose_scores(struct batch_case *c, struct random *random)
{
    attn_problem *p = &c->problem;
    const int64_t row = p->keys, head = p->queries * row, pairs = p->batch * p->heads * head;
    c->scores = attn_scores_init();
    c->scores.mask = (attn_mask_kind)random_between(random, 0, 2);
    const bool bits = c->scores.mask == ATTN_MASK_BITS;
    const int64_t mask_row = bits ? (row + 7) / 8 + 1 : row;
    for (int axis = 0; axis < 3; axis++) {
        int64_t rows = axis == 0 ? p->heads * p->queries : axis == 1 ? p->queries : 1;
        c->scores.mask_stride[axis] = rows * mask_row;
        c->scores.bias_stride[axis] = rows * row;
    }
    uint8_t *mask = need((size_t)(p->batch * p->heads * p->queries * mask_row) + 1, 1);
    for (int64_t i = 0; i < p->batch * p->heads * p->queries * mask_row; i++)
        mask[i] = (uint8_t)(bits ? random_bits(random) | random_bits(random)
                                 : (uint64_t)random_chance(random, 0.8));
    c->mask = mask;
    c->scores.bias = random_chance(random, 0.5)   ? (attn_dtype)0
                     : random_chance(random, 0.5) ? ATTN_F32
                                                  : p->q.dtype;
    const attn_dtype bias = c->scores.bias ? c->scores.bias : ATTN_F32;
    c->bias = need((size_t)pairs + 1, (size_t)attn_ref_dtype_size(bias));
    for (int64_t i = 0; i < pairs; i++)
        attn_ref_store(c->bias, bias, i,
                       random_chance(random, 0.1) ? -INFINITY : random_normal(random));
    c->scores.alibi = random_chance(random, 0.3);
    c->scores.documents = random_chance(random, 0.3);
    if (random_chance(random, 0.3)) {
        c->scores.block_rows = random_between(random, 1, 70);
        c->scores.block_keys = random_between(random, 1, 70);
    }
    if (random_chance(random, 0.2))
        c->scores.function = score_function;
    if (random_chance(random, 0.6))
        p->scores = &c->scores;
}

static void choose_masks(struct batch_case *c, struct random *random)
{
    attn_problem *p = &c->problem;
    p->causal = random_chance(random, 0.5);
    p->alignment = (attn_alignment)random_between(random, 0, 2);
    if (random_chance(random, 0.3))
        p->window = (attn_window){random_between(random, -1, 40), random_between(random, -1, 40),
                                  random_between(random, 0, 3)};
    p->head_windows = random_chance(random, 0.2);
    p->prefix_lm = random_chance(random, 0.2);
    p->excluded_keys = random_chance(random, 0.2) ? random_between(random, 1, 3) : 0;
    p->sinks = random_chance(random, 0.3);
    p->softcap = random_chance(random, 0.2) ? 5.0f : 0.0f;
    for (int64_t b = 0; b < p->batch; b++) {
        c->offsets[b] = random_between(random, -9, 60);
        c->prefixes[b] = random_between(random, 0, 20);
    }
}

static void fill_small(struct batch_case *c, struct random *random)
{
    const attn_problem *p = &c->problem;
    c->sinks = need((size_t)p->heads, sizeof *c->sinks);
    c->slopes = need((size_t)p->heads, sizeof *c->slopes);
    c->windows = need((size_t)p->heads, sizeof *c->windows);
    for (int64_t h = 0; h < p->heads; h++) {
        c->sinks[h] = (float)random_normal(random);
        c->slopes[h] = (float)(0.3 * random_unit(random));
        c->windows[h] = (attn_window){random_between(random, -1, 30), -1, h};
    }
    c->excluded = need((size_t)(p->batch * p->heads * p->excluded_keys), sizeof *c->excluded);
    for (int64_t i = 0; i < p->batch * p->heads * p->excluded_keys; i++)
        c->excluded[i] =
            random_between(random, -1, c->key_lengths[i / p->excluded_keys / p->heads] - 1);
    c->query_documents = need((size_t)(p->batch * p->queries), sizeof *c->query_documents);
    c->key_documents = need((size_t)(p->batch * p->keys), sizeof *c->key_documents);
    c->segments = need((size_t)(p->batch * p->keys), 1);
    for (int64_t i = 0; i < p->batch * p->queries; i++)
        c->query_documents[i] = (int32_t)(i % p->queries * 3 / p->queries);
    for (int64_t i = 0; i < p->batch * p->keys; i++) {
        c->key_documents[i] = (int32_t)(i % p->keys * 3 / p->keys);
        c->segments[i] = (uint8_t)random_between(random, 0, BATCH_SEGMENTS - 1);
    }
}

struct batch_case *batch_case_random(uint64_t seed, enum batch_size size)
{
    static const int64_t head_sizes[] = {1, 8, 16, 24, 33, 64, 80};
    struct random random = {seed};
    struct batch_case *c = need(1, sizeof *c);
    c->seed = seed;
    const int64_t kv_heads = random_between(&random, 1, 2);
    c->problem = attn_problem_init(random_between(&random, 1, BATCH_MOST),
                                   kv_heads * random_between(&random, 1, 3), kv_heads, 0, 0,
                                   pick(&random, head_sizes, 7));
    attn_problem *p = &c->problem;
    p->head_size_v = random_chance(&random, 0.7) ? p->head_size : pick(&random, head_sizes, 7);
    p->q.dtype = p->k.dtype = p->v.dtype = p->o.dtype = (attn_dtype)random_between(&random, 1, 3);
    if (random_chance(&random, 0.3))
        p->o.dtype = ATTN_F32;
    choose_lengths(c, &random, size);
    choose_masks(c, &random);
    choose_scores(c, &random);
    fill_small(c, &random);
    c->q = tensor(c, &random, p->heads, c->query_lengths, p->queries, p->head_size, 1.5);
    c->k = tensor(c, &random, kv_heads, c->key_lengths, p->keys, p->head_size, 1);
    c->v = tensor(c, &random, kv_heads, c->key_lengths, p->keys, p->head_size_v, 1);
    if (random_chance(&random, 0.5)) {
        const uint32_t all = (ATTN_STAT_PAIRS << 1) - 1;
        c->wanted = attn_statistics_wanted_init(
            random_chance(&random, 0.5) ? all : (uint32_t)random_bits(&random) & all);
        c->wanted.segments = BATCH_SEGMENTS;
        c->wanted.top_keys = BATCH_TOP;
        p->statistics = &c->wanted;
    }
    return c;
}

void batch_case_destroy(struct batch_case *c)
{
    void *const memory[] = {
        c->q,        c->k,    c->v,    c->sinks,           c->slopes,        c->windows,
        c->excluded, c->mask, c->bias, c->query_documents, c->key_documents, c->segments};
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
        free(memory[i]);
    free(c);
}

bool batch_is_equal(const struct batch_case *c)
{
    bool equal = true;
    for (int64_t b = 0; b < c->problem.batch; b++)
        equal &= c->query_lengths[b] == c->problem.queries && c->key_lengths[b] == c->problem.keys;
    return equal;
}

void batch_describe(const struct batch_case *c, FILE *file)
{
    const attn_problem *p = &c->problem;
    fprintf(file, "  seed %llu: Hq %lld Hkv %lld Dk %lld Dv %lld dtype %d, o %d; lengths",
            (unsigned long long)c->seed, (long long)p->heads, (long long)p->kv_heads,
            (long long)p->head_size, (long long)p->head_size_v, (int)p->q.dtype, (int)p->o.dtype);
    for (int64_t b = 0; b < p->batch; b++)
        fprintf(file, " %lld x %lld", (long long)c->query_lengths[b], (long long)c->key_lengths[b]);
    fprintf(
        file,
        "\n  causal %d alignment %d window (%lld %lld %lld) of heads %d prefix_lm %d excluded %lld "
        "sinks %d softcap %g; statistics 0x%x\n",
        p->causal, (int)p->alignment, (long long)p->window.left, (long long)p->window.right,
        (long long)p->window.prefix, p->head_windows, p->prefix_lm, (long long)p->excluded_keys,
        p->sinks, (double)p->softcap, p->statistics ? (unsigned)c->wanted.set : 0);
    if (p->scores)
        fprintf(file, "  mask %d bias %d alibi %d documents %d blocks %lld x %lld function %d\n",
                (int)c->scores.mask, (int)c->scores.bias, c->scores.alibi, c->scores.documents,
                (long long)c->scores.block_rows, (long long)c->scores.block_keys,
                c->scores.function != NULL);
}
