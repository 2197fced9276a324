/* A call in which everything is used, and the way each refusal of it is checked: the code, a sentence that
 * names the argument and says what it was, outputs untouched, with or without an attn_error, in one line or
 * by a plan.
 *
 *     struct call c;
 *     begin(&c), c.problem.scale = NAN, refused(&c, ATTN_ERR_VALUE, "scale");
 */
#ifndef TESTS_ATTENTION_REFUSAL_H
#define TESTS_ATTENTION_REFUSAL_H

#include "attention/guarded.h"

#include "attn/attn.h"
#include "attn/scores.h"
#include "attn/stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { B = 2, HQ = 4, HKV = 2, NQ = 5, NK = 7, D = 8, E = 2 };
enum { BLOCK_ROWS = 2, BLOCK_KEYS = 3, ROW_BLOCKS = 3, KEY_BLOCKS = 3 };

/* Its pointers are within itself, but for the outputs, which all calls share. */
struct call {
    attn_problem problem;
    attn_scores scores;
    attn_statistics_wanted wanted;
    attn_args args;
    attn_scores_args scores_args;
    attn_statistics statistics;
    float q[B * HQ * NQ * D], k[B * HKV * NK * D], v[B * HKV * NK * D];
    int64_t offsets[B], prefixes[B], excluded[B * HQ * E];
    attn_window windows[HQ];
    float sinks[HQ];
    uint8_t mask[B * HQ * NQ * NK];
    float bias[B * HQ * NQ * NK];
    float slopes[HQ];
    int32_t query_documents[B * NQ], key_documents[B * NK];
    int64_t block_starts[HQ * ROW_BLOCKS + 1];
    int32_t block_indices[HQ * ROW_BLOCKS * KEY_BLOCKS];
    int64_t query_lengths[B], key_lengths[B];
    int32_t narrow_q[B + 1], narrow_k[B + 1]; /* cu_seqlens */
    int64_t wide_q[B + 1], wide_k[B + 1];
    uint8_t segments[B * NK];
    attn_weights_request requests[2];
    attn_pair pairs[2];
    struct guarded outputs[32];
    int count;
};

/* Before the first and after the last call. */
void prepare_calls(void);
void destroy_calls(void);

/* A fresh valid call, of equal lengths; then made padded, or ragged. */
void begin(struct call *c);
void make_padded(struct call *c);
void make_ragged(struct call *c, attn_lengths lengths);

/* The call must be refused with this code and a sentence that contains `names`. */
void refused(struct call *c, attn_status expected, const char *names);
/* ... and `value` as well: what the argument was. */
void refused_saying(struct call *c, attn_status expected, const char *names, const char *value);
void check_refusal(const char *way, attn_status got, const attn_error *error, attn_status expected,
                   const char *names, const struct call *c);

/* The call must be served; outputs are reset afterwards. */
void served(struct call *c);

bool outputs_untouched(const struct call *c);
void reset_outputs(struct call *c);

extern const attn_executor *call_executor; /* of the next calls; NULL = serial */

/* `pointer` moved by so many bytes. */
void *shifted(const void *pointer, int bytes);

/* check_errors_options.c */
void refused_dtypes(void **state);
void refused_lengths(void **state);
void refused_padded_batches(void **state);
void refused_ragged_batches(void **state);
void refused_sinks(void **state);
void refused_scores(void **state);
void refused_scores_args(void **state);
void refused_block_lists(void **state);
void empty_ragged_batches(void **state);

#endif
