/* One call of attention with everything it needs: the problem, exactly sized inputs, guarded outputs.
 *
 *     struct attention_case *c = case_random(seed, CASE_SMALL);     // or case_create(...) and fill
 *     case_run(c, executor, &error);
 *     case_compare(c, &record);
 *     case_destroy(c);
 *
 * case_random makes f32 cases of equal lengths without sinks, anything of attn/scores.h, a rotary embedding,
 * unnormalised results or a limit; case_random_all makes everything that the headers offer. */
#ifndef TESTS_ATTENTION_ATTENTION_CASE_H
#define TESTS_ATTENTION_ATTENTION_CASE_H

#include "attn/attn.h"
#include "attn/rotary.h"
#include "attn/scores.h"
#include "attn/stats.h"

#include "attention/guarded.h"
#include "attention/random.h"

#include <stdio.h>

enum { CASE_MAX_OUTPUTS = 48, CASE_MAX_REQUESTS = 4, CASE_MAX_PAIRS = 24 };

/* An input tensor: a block that holds exactly the elements of the run, and the pointer to element 0. */
struct tensor {
    void *block;
    void *origin;
    attn_dtype dtype;
    int64_t extent[4]; /* ragged: [1, H, total, D] */
};

/* A mask or a bias: rows of `row_bytes` by three strides of `width` bytes (attn/scores.h). */
struct pair_tensor {
    unsigned char *block;
    size_t size, origin; /* bytes; the place of element 0 */
};

/* What an output array runs along, and how many elements each row (or key) has. */
struct output_shape {
    enum { ALONG_ROWS, ALONG_KEYS, ALONG_NEITHER } along;
    int64_t each;
};

struct attention_case;

/* The caller's function of random cases: s <- factor * s + offset * noise, noise in [-1, 1] by the pair's
 * own number; every `hides`th pair or so is masked; NaN where other masks hide the pair anyway. */
struct case_function {
    double factor, offset;
    uint64_t seed;
    int64_t hides; /* 0 = none */
    int64_t first; /* number of sequence 0 in the case this one was taken from */
    const struct attention_case *poisons;
};

struct attention_case {
    uint64_t seed;
    const char *values; /* what the inputs hold, in words */
    attn_problem problem;
    attn_args args;
    attn_statistics_wanted wanted;
    attn_statistics statistics;
    attn_scores scores;
    attn_scores_args scores_args; /* of the run, or promised (scores.constant) */
    int64_t extent[3];            /* B, Nq, Nk that scores_args is laid out for */
    attn_rotary rotary;
    struct tensor q, k, v;
    bool packed;   /* q, k and v are views of q.block */
    bool one_line; /* run by attn_forward instead of a plan */

    struct guarded outputs[CASE_MAX_OUTPUTS];
    struct output_shape shape[CASE_MAX_OUTPUTS];
    int outputs_count;
    int o; /* index of o in outputs, -1 = none */

    attn_weights_request requests[CASE_MAX_REQUESTS];
    attn_pair pairs[CASE_MAX_PAIRS];
    int64_t *query_offset;
    attn_window *head_windows;
    int64_t *prefix_lm;
    int64_t *excluded_keys;
    uint8_t *segment_ids;

    int64_t *query_positions, *key_positions;
    float *frequency_divisors;

    int64_t *query_lengths, *key_lengths;
    void *cu_seqlens_q, *cu_seqlens_k;
    float *sinks;
    struct pair_tensor mask, bias;
    float *alibi_slopes;
    int32_t *query_documents, *key_documents;
    int64_t *block_starts;
    int32_t *block_indices;
    struct case_function function;
};

/* What to build around `problem` (its pointer `statistics` is replaced by `wanted`, `scores` and `rotary` by
 * copies). */
struct case_options {
    int64_t batch, queries, keys;               /* lengths of the run; extents of the tensors */
    const int64_t *query_lengths, *key_lengths; /* [batch], if problem.lengths is not EQUAL */
    const attn_statistics_wanted *wanted;
    bool without_o, without_lse;
    bool with_lse_with_sink; /* with problem.sinks */
    bool give_ignored;       /* arrays whose bit is not set are given all the same */
    bool packed;             /* layouts were made by case_pack */
    bool constant; /* what attn/scores.h takes is promised, for the problem's own lengths */
};

struct case_options case_options_init(const attn_problem *problem);

/* Inputs are NaN until filled; outputs hold the guards' pattern. Weights requests, pairs, segment ids,
 * offsets, sinks, what attn/scores.h takes and the like are the caller's to give, in the case's own fields,
 * which case_destroy frees (the random makers give them); lengths are given here. */
struct attention_case *case_create(const attn_problem *problem, const struct case_options *options);
void case_destroy(struct attention_case *c);

/* Another case with the same values in other layouts (q, k, v, o). Here and in the cases made below, what was
 * promised when planning is given at the run instead, and nothing limits the workspace. */
struct attention_case *case_in_layouts(const struct attention_case *c, const attn_problem *layouts);

/* Sequence `batch` of a case as a case of its own, without requests for weights and pairs. Lengths stay
 * what they are: padded a padded batch of one, ragged a ragged one. */
struct attention_case *case_of_sequence(const struct attention_case *c, int64_t batch);

/* The same batch with its lengths told otherwise (from padded or ragged to padded or ragged); and sequence
 * `batch` by itself, of equal lengths. Contiguous layouts; padding is NaN; no requests. */
struct attention_case *case_with_lengths(const struct attention_case *c, attn_lengths lengths);
struct attention_case *case_alone(const struct attention_case *c, int64_t batch);

/* Lengths of a sequence; the values of a query, key or value of it (kv heads for the last two). */
int64_t case_queries(const struct attention_case *c, int64_t batch);
int64_t case_keys(const struct attention_case *c, int64_t batch);
enum case_tensor { CASE_Q, CASE_K, CASE_V };
void *case_vector(const struct attention_case *c, enum case_tensor tensor, int64_t batch,
                  int64_t head, int64_t index);

/* Element (b, h, n, 0) of an input, of an f32 one; element (b, h, n, d) of any input, rounded to its dtype. */
void *case_place(const struct tensor *tensor, const attn_layout *layout, int64_t batch,
                 int64_t head, int64_t index);
float *case_element(const struct tensor *tensor, const attn_layout *layout, int64_t batch,
                    int64_t head, int64_t index);
double case_get(const struct tensor *tensor, const attn_layout *layout, int64_t batch, int64_t head,
                int64_t index, int64_t channel);
void case_set(const struct tensor *tensor, const attn_layout *layout, int64_t batch, int64_t head,
              int64_t index, int64_t channel, double value);

/* Element (b, h, i, d) of o. */
double case_output(const struct attention_case *c, int64_t batch, int64_t head, int64_t query,
                   int64_t channel);

/* Normal numbers of this spread around `mean` into a whole tensor. */
void case_fill_normal(const struct tensor *tensor, const attn_layout *layout, struct random *random,
                      double spread, double mean);
/* q of this spread, k and v of 1. */
void case_fill_qkv(struct attention_case *c, struct random *random, double spread);
void case_fill_constant(const struct tensor *tensor, const attn_layout *layout, float value);

/* A weights request for rows [begin, end); pairs. Before the run. */
void case_request_weights(struct attention_case *c, int64_t batch, int64_t head, int64_t begin,
                          int64_t end);
void case_request_pair(struct attention_case *c, attn_pair pair);

/* A random case. The seed says everything. */
enum case_size {
    CASE_SMALL, /* tens of rows and keys, every feature */
    CASE_LARGE, /* hundreds: several blocks of queries and keys */
    CASE_WIDE,  /* few rows of very large heads */
};
struct attention_case *case_random(uint64_t seed, enum case_size size);
struct attention_case *case_random_all(uint64_t seed, enum case_size size);

/* Random strides for q, k, v and o of a problem, whose dtypes stay. */
void case_random_layouts(attn_problem *problem, struct random *random, bool broadcasts);

/* q, k and v side by side in one row of a projection [B, N, Hq*Dk + Hkv*Dk + Hkv*Dv]. */
void case_pack(attn_problem *problem);

/* Random content for what problem.scores (c->scores) and problem.sinks say there is. */
void case_random_scores(struct attention_case *c, struct random *random);

/* Segments of keys, weights and pairs, as far as they are wanted. */
void case_random_requests(struct attention_case *c, struct random *random);

/* Random options of the plan alone: a limit of the workspace, from the least that will do to all of it. The
 * last to be drawn: plans are made to find it. */
void case_random_limit(struct attention_case *c, struct random *random);

/* Random scaling, pairing and positions of an embedding. */
attn_rotary case_random_rotary(int64_t head_size, struct random *random);
void case_random_positions(struct attention_case *c, struct random *random);

/* Room for a mask or bias of these strides, and where it begins; set as scores_args.mask or .bias. */
void case_make_mask(struct attention_case *c);
void case_make_bias(struct attention_case *c);

/* Whether a boolean mask lets a pair be; does nothing if there is no mask. */
void case_set_mask(struct attention_case *c, int64_t batch, int64_t head, int64_t query,
                   int64_t key, bool visible);
void case_set_bias(struct attention_case *c, int64_t batch, int64_t head, int64_t query,
                   int64_t key, double bias);

/* Block lists from what `listed` says of (head, row block, key block). */
void case_make_blocks(struct attention_case *c,
                      bool (*listed)(void *context, int64_t head, int64_t row, int64_t key),
                      void *context);

/* What attn_scores.function is to be, with &c->function as its context. */
void case_score_function(void *context, int64_t batch, int64_t head, int64_t query_begin,
                         int64_t rows, int64_t key_begin, int64_t keys, float *scores,
                         int64_t stride);

void case_describe(const struct attention_case *c, FILE *file);

/* Whether the plan of this case rounds weights to bf16 and multiplies in pairs, as its explanation says. */
bool case_multiplies_pairs(const struct attention_case *c);

/* Every output element that belongs to the call, in the order of its logical index, whatever the
 * layout: `words` gets at most `size`, the count is returned. */
size_t case_snapshot(const struct attention_case *c, uint32_t *words, size_t size);

/* The same of one sequence alone, without padding, requests and pairs: equal for equal results, however
 * the lengths of the batch are told. */
size_t case_sequence_snapshot(const struct attention_case *c, int64_t batch, uint32_t *words,
                              size_t size);

/* Outputs back to the guards' pattern. */
void case_reset(struct attention_case *c);

/* Plan, workspace of exactly the asked size at an odd address full of NaN, run. */
attn_status case_run(struct attention_case *c, const attn_executor *executor, attn_error *error);

/* A run of an existing plan. */
attn_status case_run_plan(struct attention_case *c, const attn_plan *plan,
                          const attn_executor *executor, attn_error *error);

#endif
