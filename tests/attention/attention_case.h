/* One call of attention with everything it needs: the problem, exactly sized inputs, guarded outputs.
 *
 *     struct attention_case *c = case_random(seed, CASE_SMALL);     // or case_create(...) and fill
 *     case_run(c, executor, &error);
 *     case_compare(c, &record);
 *     case_destroy(c);
 */
#ifndef TESTS_ATTENTION_ATTENTION_CASE_H
#define TESTS_ATTENTION_ATTENTION_CASE_H

#include "attn/attn.h"
#include "attn/stats.h"

#include "attention/guarded.h"
#include "attention/random.h"

#include <stdio.h>

enum { CASE_MAX_OUTPUTS = 48, CASE_MAX_REQUESTS = 4, CASE_MAX_PAIRS = 24 };

/* An input tensor: a block that holds exactly the elements of the run, and the pointer to element 0. */
struct tensor {
    float *block;
    float *origin;
    int64_t extent[4];
};

struct attention_case {
    uint64_t seed;
    const char *values; /* what the inputs hold, in words */
    attn_problem problem;
    attn_args args;
    attn_statistics_wanted wanted;
    attn_statistics statistics;
    struct tensor q, k, v;
    bool packed;   /* q, k and v are views of q.block */
    bool one_line; /* run by attn_forward instead of a plan */

    struct guarded outputs[CASE_MAX_OUTPUTS];
    int outputs_count;
    int o; /* index of o in outputs, -1 = none */

    attn_weights_request requests[CASE_MAX_REQUESTS];
    attn_pair pairs[CASE_MAX_PAIRS];
    int64_t *query_offset;
    attn_window *head_windows;
    int64_t *prefix_lm;
    int64_t *excluded_keys;
    uint8_t *segment_ids;
};

/* What to build around `problem` (its pointer `statistics` is replaced by `wanted`, NULL = none). */
struct case_options {
    int64_t batch, queries, keys; /* lengths of the run; extents of the tensors */
    const attn_statistics_wanted *wanted;
    bool without_o, without_lse;
    bool give_ignored; /* arrays whose bit is not set are given all the same */
    bool packed;       /* layouts were made by case_pack */
};

struct case_options case_options_init(const attn_problem *problem);

/* Inputs are NaN until filled; outputs hold the guards' pattern. Weights requests, pairs, segment ids,
 * offsets and the like are the caller's to give (case_random gives them). */
struct attention_case *case_create(const attn_problem *problem, const struct case_options *options);
void case_destroy(struct attention_case *c);

/* Another case with the same values in other layouts (q, k, v, o). */
struct attention_case *case_in_layouts(const struct attention_case *c, const attn_problem *layouts);

/* Sequence `batch` of a case as a case of its own, without requests for weights and pairs. */
struct attention_case *case_of_sequence(const struct attention_case *c, int64_t batch);

/* Element (b, h, n, 0) of an input. */
float *case_element(const struct tensor *tensor, const attn_layout *layout, int64_t batch,
                    int64_t head, int64_t index);

/* Normal numbers of this spread around `mean` into a whole tensor. */
void case_fill_normal(const struct tensor *tensor, const attn_layout *layout, struct random *random,
                      double spread, double mean);
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

/* Random strides for q, k, v and o of a problem. */
void case_random_layouts(attn_problem *problem, struct random *random, bool broadcasts);

/* q, k and v side by side in one row of a projection [B, N, Hq*Dk + Hkv*Dk + Hkv*Dv]. */
void case_pack(attn_problem *problem);

void case_describe(const struct attention_case *c, FILE *file);

/* Every output element that belongs to the call, in the order of its logical index, whatever the
 * layout: `words` gets at most `size`, the count is returned. */
size_t case_snapshot(const struct attention_case *c, uint32_t *words, size_t size);

/* Outputs back to the guards' pattern. */
void case_reset(struct attention_case *c);

/* Plan, workspace of exactly the asked size at an odd address full of NaN, run. */
attn_status case_run(struct attention_case *c, const attn_executor *executor, attn_error *error);

/* A run of an existing plan. */
attn_status case_run_plan(struct attention_case *c, const attn_plan *plan,
                          const attn_executor *executor, attn_error *error);

#endif
