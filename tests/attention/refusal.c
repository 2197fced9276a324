/* The call that is refused in so many ways: see refusal.h. */
#include "attention/refusal.h"

static struct call valid; /* made once; every call starts from a copy */
const attn_executor *call_executor;

static float *output(size_t count)
{
    valid.outputs[valid.count] = guarded_create("output", count);
    return (float *)valid.outputs[valid.count++].data;
}

static void make_statistics(attn_statistics *s)
{
    const size_t rows = B * HQ * NQ, columns = B * HQ * NK;
    *s = attn_statistics_init();
    float **row_arrays[] = {&s->entropy,    &s->varentropy,    &s->participation, &s->max_weight,
                            &s->max_logit,  &s->max_abs_logit, &s->max_score,     &s->min_score,
                            &s->mass_self,  &s->mass_previous, &s->mass_next,     &s->mass_first,
                            &s->mass_local, &s->distance_mean, &s->distance_sd};
    for (size_t i = 0; i < sizeof row_arrays / sizeof row_arrays[0]; i++)
        *row_arrays[i] = output(rows);
    s->max_key = (int32_t *)output(rows);
    s->visible_keys = (int32_t *)output(rows);
    s->mass_segments = output(rows * 3);
    s->column_mass = output(columns);
    s->column_viewers = (int32_t *)output(columns);
    s->top_keys = (int32_t *)output(rows * 2);
    s->top_weights = output(rows * 2);
    s->segment_ids = valid.segments;
    valid.requests[0] = (attn_weights_request){0, 1, 0, NQ, output(NQ * NK)};
    valid.requests[1] = (attn_weights_request){1, 3, 2, 3, output(NK)};
    s->weights = valid.requests;
    s->weights_count = 2;
    valid.pairs[0] = (attn_pair){0, 0, 0, 0};
    valid.pairs[1] = (attn_pair){B - 1, HQ - 1, NQ - 1, NK - 1};
    s->pairs = valid.pairs;
    s->pairs_count = 2;
    s->pair_weights = output(2);
}

static void prepare_scores(void)
{
    valid.scores = attn_scores_init();
    valid.scores.mask = ATTN_MASK_BYTES;
    valid.scores.bias = ATTN_F32;
    for (int axis = 0, stride = HQ * NQ * NK; axis < 3; axis++) {
        valid.scores.mask_stride[axis] = valid.scores.bias_stride[axis] = stride;
        stride /= axis == 0 ? HQ : NQ;
    }
    valid.scores.alibi = valid.scores.documents = true;
    valid.scores.block_rows = BLOCK_ROWS, valid.scores.block_keys = BLOCK_KEYS;
    valid.scores_args = attn_scores_args_init();
    for (int i = 0; i < B * HQ * NQ * NK; i++)
        valid.mask[i] = i % 5 != 3, valid.bias[i] = (float)(i % 3);
    for (int h = 0; h < HQ; h++)
        valid.slopes[h] = 0.1f, valid.sinks[h] = (float)h;
    for (int list = 0; list < HQ * ROW_BLOCKS; list++)
        for (int block = 0; block < KEY_BLOCKS; block++) {
            valid.block_starts[list + 1] = (list + 1) * KEY_BLOCKS;
            valid.block_indices[list * KEY_BLOCKS + block] = block;
        }
}

void prepare_calls(void)
{
    for (size_t i = 0; i < sizeof valid.q / sizeof(float); i++)
        valid.q[i] = (float)(i % 7) - 3;
    for (size_t i = 0; i < sizeof valid.k / sizeof(float); i++)
        valid.k[i] = (float)(i % 5) - 2, valid.v[i] = (float)(i % 11);
    for (int e = 0; e < B * HQ * E; e++)
        valid.excluded[e] = e % 2 ? -1 : e % NK;
    for (int h = 0; h < HQ; h++)
        valid.windows[h] = (attn_window){h, -1, 1};
    for (int j = 0; j < B * NK; j++)
        valid.segments[j] = (uint8_t)(j % 3);
    valid.problem = attn_problem_init(B, HQ, HKV, NQ, NK, D);
    valid.problem.causal = true;
    valid.problem.alignment = ATTN_OFFSET;
    valid.problem.head_windows = valid.problem.prefix_lm = true;
    valid.problem.excluded_keys = E;
    valid.problem.sinks = true;
    valid.wanted = attn_statistics_wanted_init((1u << 23) - 1);
    valid.wanted.segments = 3;
    valid.wanted.top_keys = 2;
    valid.args = attn_args_init(&valid.problem);
    valid.args.o = output(B * HQ * NQ * D);
    valid.args.lse = output(B * HQ * NQ);
    valid.args.lse_with_sink = output(B * HQ * NQ);
    prepare_scores();
    make_statistics(&valid.statistics);
}

void destroy_calls(void)
{
    for (int i = 0; i < valid.count; i++)
        guarded_destroy(&valid.outputs[i]);
}

void begin(struct call *c)
{
    *c = valid;
    c->problem.statistics = &c->wanted;
    c->problem.scores = &c->scores;
    c->args.q = c->q, c->args.k = c->k, c->args.v = c->v;
    c->args.query_offset = c->offsets;
    c->args.prefix_lm = c->prefixes;
    c->args.excluded_keys = c->excluded;
    c->args.head_windows = c->windows;
    c->args.sinks = c->sinks;
    c->args.statistics = &c->statistics;
    c->args.scores = &c->scores_args;
    c->scores_args.mask = c->mask;
    c->scores_args.bias = c->bias;
    c->scores_args.alibi_slopes = c->slopes;
    c->scores_args.query_documents = c->query_documents;
    c->scores_args.key_documents = c->key_documents;
    c->scores_args.block_starts = c->block_starts;
    c->scores_args.block_indices = c->block_indices;
    c->statistics.segment_ids = c->segments;
    c->statistics.weights = c->requests;
    c->statistics.pairs = c->pairs;
}

/* Sequence 0 is one row and three keys shorter than the longest. */
static void shorten(struct call *c)
{
    c->requests[0].row_end = NQ - 1;
    c->query_lengths[0] = NQ - 1, c->query_lengths[1] = NQ;
    c->key_lengths[0] = NK - 3, c->key_lengths[1] = NK;
}

void make_padded(struct call *c)
{
    shorten(c);
    c->problem.lengths = ATTN_LENGTHS_PADDED;
    c->args.query_lengths = c->query_lengths;
    c->args.key_lengths = c->key_lengths;
}

void make_ragged(struct call *c, attn_lengths lengths)
{
    shorten(c);
    for (int b = 0; b < B; b++) {
        c->wide_q[b + 1] = c->wide_q[b] + c->query_lengths[b];
        c->wide_k[b + 1] = c->wide_k[b] + c->key_lengths[b];
        c->narrow_q[b + 1] = (int32_t)c->wide_q[b + 1];
        c->narrow_k[b + 1] = (int32_t)c->wide_k[b + 1];
    }
    const bool narrow = lengths == ATTN_LENGTHS_RAGGED_I32;
    c->problem.lengths = lengths;
    c->problem.total_queries = c->wide_q[B], c->problem.total_keys = c->wide_k[B];
    c->problem.q = c->problem.o = attn_layout_bhsd(ATTN_F32, HQ, c->wide_q[B], D);
    c->problem.k = c->problem.v = attn_layout_bhsd(ATTN_F32, HKV, c->wide_k[B], D);
    c->args.cu_seqlens_q = narrow ? (const void *)c->narrow_q : c->wide_q;
    c->args.cu_seqlens_k = narrow ? (const void *)c->narrow_k : c->wide_k;
}

void *shifted(const void *pointer, int bytes)
{
    return (char *)(uintptr_t)pointer + bytes;
}

void reset_outputs(struct call *c)
{
    for (int i = 0; i < c->count; i++)
        guarded_reset(&c->outputs[i]);
}

bool outputs_untouched(const struct call *c)
{
    bool untouched = true;
    for (int i = 0; i < c->count; i++)
        untouched &= guarded_untouched(&c->outputs[i]);
    return untouched;
}

void check_refusal(const char *way, attn_status got, const attn_error *error, attn_status expected,
                   const char *names, const struct call *c)
{
    if (got != expected)
        fail_msg("%s gave %s (\"%s\") instead of %s, about %s", way, attn_status_name(got),
                 error->message, attn_status_name(expected), names);
    if (error->status != expected)
        fail_msg("%s: error.status is %s", way, attn_status_name(error->status));
    if (!strstr(error->message, names))
        fail_msg("%s: the message does not name %s: \"%s\"", way, names, error->message);
    if (strlen(error->message) + 1 > sizeof error->message)
        fail_msg("%s: the message is not terminated", way);
    if (!outputs_untouched(c))
        fail_msg("%s: an output was touched (%s)", way, error->message);
}

void refused_saying(struct call *c, attn_status expected, const char *names, const char *value)
{
    attn_error error;
    memset(&error, 0x55, sizeof error);
    attn_status status = attn_forward(&c->problem, &c->args, call_executor, &error);
    check_refusal("attn_forward", status, &error, expected, names, c);
    if (!strstr(error.message, value))
        fail_msg("the message about %s does not say %s: \"%s\"", names, value, error.message);
    if (attn_forward(&c->problem, &c->args, call_executor, NULL) != expected)
        fail_msg("without an attn_error the code about %s is another", names);

    memset(&error, 0x55, sizeof error);
    attn_plan *plan = (attn_plan *)(uintptr_t)1;
    status = attn_plan_create(&plan, &c->problem, &error);
    if (status != ATTN_OK) {
        assert_null(plan);
        check_refusal("attn_plan_create", status, &error, expected, names, c);
        return;
    }
    assert_string_equal(error.message, "");
    assert_int_equal(error.status, ATTN_OK);
    size_t size = attn_plan_workspace(
        plan, call_executor && call_executor->threads > 0 ? call_executor->threads : 1);
    void *workspace = need(size, 1);
    status = attn_run(plan, &c->args, workspace, size, call_executor, &error);
    check_refusal("attn_run", status, &error, expected, names, c);
    free(workspace);
    attn_plan_destroy(plan);
}

void refused(struct call *c, attn_status expected, const char *names)
{
    refused_saying(c, expected, names, "");
}

void served(struct call *c)
{
    attn_error error;
    if (attn_forward(&c->problem, &c->args, call_executor, &error) != ATTN_OK)
        fail_msg("refused: %s", error.message);
    assert_string_equal(error.message, "");
    assert_int_equal(error.status, ATTN_OK);
    reset_outputs(c);
}
