/* Refusals of what a call may have besides its tensors: dtypes, padded and ragged batches, sinks, and
 * everything that shapes scores. */
#include "attention/refusal.h"

#include <inttypes.h>

/* Every combination: q, k and v of one dtype, o of the same or f32. */
void refused_dtypes(void **state)
{
    (void)state;
    static const char *const names[] = {"q.dtype", "k.dtype", "v.dtype", "o.dtype"};
    struct call c;
    for (int q = 0; q <= 4; q++)
        for (int k = 0; k <= 4; k++)
            for (int v = 0; v <= 4; v++)
                for (int o = 0; o <= 4; o++) {
                    const int dtypes[] = {q, k, v, o};
                    int bad = -1;
                    for (int i = 0; bad < 0 && i < 4; i++)
                        bad = dtypes[i] < 1 || dtypes[i] > 3 ? i : -1;
                    for (int i = 1; bad < 0 && i < 4; i++)
                        bad = dtypes[i] != q && !(i == 3 && dtypes[i] == ATTN_F32) ? i : -1;
                    begin(&c);
                    c.problem.q.dtype = (attn_dtype)q, c.problem.k.dtype = (attn_dtype)k;
                    c.problem.v.dtype = (attn_dtype)v, c.problem.o.dtype = (attn_dtype)o;
                    if (bad < 0)
                        served(&c);
                    else
                        refused(&c, ATTN_ERR_DTYPE, names[bad]);
                }
    begin(&c), c.problem.k.dtype = (attn_dtype)77;
    refused_saying(&c, ATTN_ERR_DTYPE, "k.dtype", "is 77; it may be ATTN_F32 (1)");
    begin(&c), c.problem.q.dtype = (attn_dtype)-1;
    refused_saying(&c, ATTN_ERR_DTYPE, "q.dtype", "is -1");

    /* halves need an even address, not one of four */
    begin(&c);
    c.problem.q.dtype = c.problem.k.dtype = c.problem.v.dtype = c.problem.o.dtype = ATTN_F16;
    c.args.q = shifted(c.q, 2);
    served(&c);
    c.args.q = shifted(c.q, 1), refused(&c, ATTN_ERR_ALIGNMENT, "args.q");
    c.args.q = c.q, c.args.v = shifted(c.v, 1), refused(&c, ATTN_ERR_ALIGNMENT, "args.v");
    c.args.v = c.v, c.args.o = shifted(c.args.o, 1), refused(&c, ATTN_ERR_ALIGNMENT, "args.o");
}

void refused_lengths(void **state)
{
    (void)state;
    struct call c;
    begin(&c), c.problem.lengths = (attn_lengths)4;
    refused_saying(&c, ATTN_ERR_VALUE, "problem.lengths", "is 4; it may be");
    begin(&c), c.problem.lengths = (attn_lengths)-1;
    refused_saying(&c, ATTN_ERR_VALUE, "problem.lengths", "is -1; it may be");
    for (int ragged = 0; ragged < 3; ragged++) {
        static const int64_t bad[] = {-1, INT64_MIN, INT64_MAX, INT64_C(1) << 31, 1};
        for (int i = 0; i < (ragged == 2 ? 4 : 5); i++) {
            char value[40];
            snprintf(value, sizeof value, "is %" PRId64 "; it may be 0 to", bad[i]);
            begin(&c);
            if (ragged == 1)
                make_padded(&c);
            if (ragged == 2)
                make_ragged(&c, ATTN_LENGTHS_RAGGED_I64);
            const int64_t kept = c.problem.total_queries;
            c.problem.total_queries = bad[i];
            refused_saying(&c, ATTN_ERR_SHAPE, "problem.total_queries", value);
            c.problem.total_queries = kept, c.problem.total_keys = bad[i];
            refused_saying(&c, ATTN_ERR_SHAPE, "problem.total_keys", value);
        }
    }
    /* layouts of a ragged batch are told by the totals */
    begin(&c), make_ragged(&c, ATTN_LENGTHS_RAGGED_I32), c.problem.total_keys = INT32_MAX;
    c.problem.v.stride[2] = INT64_C(1) << 34;
    refused(&c, ATTN_ERR_OVERFLOW, "problem.v");
    begin(&c), make_ragged(&c, ATTN_LENGTHS_RAGGED_I32), c.problem.o.stride[1] = D;
    refused(&c, ATTN_ERR_STRIDE, "problem.o");
}

void refused_padded_batches(void **state)
{
    (void)state;
    static const int64_t bad[] = {-1, INT64_MIN, INT64_MAX, NK + 1};
    struct call c;
    begin(&c), make_padded(&c), served(&c);
    for (int i = 0; i < 4; i++)
        for (int b = 0; b < B; b++) {
            char name[40], value[40];
            snprintf(value, sizeof value, "is %" PRId64 "; it may be 0 to", bad[i]);
            snprintf(name, sizeof name, "args.query_lengths[%d]", b);
            begin(&c), make_padded(&c), c.query_lengths[b] = bad[i];
            refused_saying(&c, ATTN_ERR_VALUE, name, value);
            snprintf(name, sizeof name, "args.key_lengths[%d]", b);
            begin(&c), make_padded(&c), c.key_lengths[b] = bad[i];
            refused_saying(&c, ATTN_ERR_VALUE, name, value);
        }
    begin(&c), make_padded(&c), c.query_lengths[1] = NQ + 1;
    refused_saying(&c, ATTN_ERR_VALUE, "args.query_lengths[1]", "is 6; it may be 0 to 5");
    begin(&c), make_padded(&c), c.args.query_lengths = NULL;
    refused(&c, ATTN_ERR_NULL, "args.query_lengths");
    begin(&c), make_padded(&c), c.args.key_lengths = NULL;
    refused(&c, ATTN_ERR_NULL, "args.key_lengths");
    begin(&c), make_padded(&c), c.args.query_lengths = shifted(c.query_lengths, 4);
    refused(&c, ATTN_ERR_ALIGNMENT, "args.query_lengths");
    begin(&c), make_padded(&c), c.args.key_lengths = shifted(c.key_lengths, 1);
    refused(&c, ATTN_ERR_ALIGNMENT, "args.key_lengths");
    begin(&c), make_padded(&c), c.args.cu_seqlens_q = c.wide_q;
    refused(&c, ATTN_ERR_VALUE, "args.cu_seqlens_q");
    begin(&c), c.args.query_lengths = c.query_lengths;
    refused(&c, ATTN_ERR_VALUE, "args.query_lengths");
    begin(&c), c.args.key_lengths = c.key_lengths;
    refused(&c, ATTN_ERR_VALUE, "args.key_lengths");
    /* requests and pairs are told by the sequence's own lengths */
    begin(&c), make_padded(&c), c.requests[0].row_end = NQ;
    refused_saying(&c, ATTN_ERR_VALUE, "weights[0]", "[0, 5); they must lie in [0, 4)");
    begin(&c), make_padded(&c), c.pairs[0].query = NQ - 1;
    refused(&c, ATTN_ERR_VALUE, "pairs[0].query");
    begin(&c), make_padded(&c), c.pairs[0].key = NK - 3;
    refused(&c, ATTN_ERR_VALUE, "pairs[0].key");
}

/* Entry `at` of a list of int32 or int64. */
static void set_entry(void *list, bool wide, int at, int64_t value)
{
    if (wide)
        ((int64_t *)list)[at] = value;
    else
        ((int32_t *)list)[at] = (int32_t)value;
}

static void refused_entries(bool wide, bool keys)
{
    static const struct {
        int at;
        int64_t value;
        bool wide_only;
    } bad[] = {
        {0, 1, false},
        {0, -1, false},
        {1, -1, false},
        {1, NK + 1, false},
        {2, 0, false}, /* falls */
        {2, INT32_MAX, false},
        {2, INT32_MIN, false},
        {0, INT64_MIN, true},
        {1, INT64_MAX, true},
        {2, INT64_MIN, true},
        {2, INT64_MAX, true},
        {2, INT64_C(1) << 32, true},
    };
    const attn_lengths lengths = wide ? ATTN_LENGTHS_RAGGED_I64 : ATTN_LENGTHS_RAGGED_I32;
    struct call c;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (bad[i].wide_only && !wide)
            continue;
        char name[40], value[60];
        snprintf(name, sizeof name, "args.cu_seqlens_%s[%d]", keys ? "k" : "q", bad[i].at);
        snprintf(value, sizeof value, "is %" PRId64 "; ", bad[i].value);
        begin(&c), make_ragged(&c, lengths);
        void *narrow = keys ? c.narrow_k : c.narrow_q;
        void *list = wide ? (void *)(keys ? c.wide_k : c.wide_q) : narrow;
        set_entry(list, wide, bad[i].at, bad[i].value);
        refused_saying(&c, ATTN_ERR_VALUE, name, value);
    }
    begin(&c), make_ragged(&c, lengths);
    *(keys ? &c.problem.total_keys : &c.problem.total_queries) -= 1;
    refused(&c, ATTN_ERR_SHAPE, keys ? "args.cu_seqlens_k[2]" : "args.cu_seqlens_q[2]");
    /* without sequences too, the list begins with 0 */
    begin(&c), make_ragged(&c, lengths), c.args.batch = 0;
    c.statistics.weights_count = c.statistics.pairs_count = 0;
    served(&c);
    set_entry(wide   ? (void *)(keys ? c.wide_k : c.wide_q)
              : keys ? c.narrow_k
                     : c.narrow_q,
              wide, 0, 5);
    refused(&c, ATTN_ERR_VALUE, keys ? "args.cu_seqlens_k[0]" : "args.cu_seqlens_q[0]");
}

void refused_ragged_batches(void **state)
{
    (void)state;
    struct call c;
    for (int wide = 0; wide < 2; wide++) {
        const attn_lengths lengths = wide ? ATTN_LENGTHS_RAGGED_I64 : ATTN_LENGTHS_RAGGED_I32;
        begin(&c), make_ragged(&c, lengths), served(&c);
        refused_entries(wide, false);
        refused_entries(wide, true);
        begin(&c), make_ragged(&c, lengths), c.args.cu_seqlens_q = NULL;
        refused(&c, ATTN_ERR_NULL, "args.cu_seqlens_q");
        begin(&c), make_ragged(&c, lengths), c.args.cu_seqlens_k = NULL;
        refused(&c, ATTN_ERR_NULL, "args.cu_seqlens_k");
        begin(&c), make_ragged(&c, lengths);
        c.args.cu_seqlens_q = shifted(c.args.cu_seqlens_q, wide ? 4 : 2);
        refused(&c, ATTN_ERR_ALIGNMENT, "args.cu_seqlens_q");
        begin(&c), make_ragged(&c, lengths);
        c.args.cu_seqlens_k = shifted(c.args.cu_seqlens_k, wide ? 4 : 1);
        refused(&c, ATTN_ERR_ALIGNMENT, "args.cu_seqlens_k");
        begin(&c), make_ragged(&c, lengths), c.args.key_lengths = c.key_lengths;
        refused(&c, ATTN_ERR_VALUE, "args.key_lengths");
        begin(&c), make_ragged(&c, lengths), c.pairs[0].key = NK - 3;
        refused(&c, ATTN_ERR_VALUE, "pairs[0].key");
    }
    begin(&c), c.args.cu_seqlens_k = c.wide_k, refused(&c, ATTN_ERR_VALUE, "args.cu_seqlens_k");
}

void refused_sinks(void **state)
{
    (void)state;
    struct call c;
    begin(&c), c.args.sinks = NULL, refused(&c, ATTN_ERR_NULL, "args.sinks");
    begin(&c), c.sinks[2] = NAN, refused_saying(&c, ATTN_ERR_VALUE, "args.sinks[2]", "nan");
    begin(&c), c.sinks[0] = INFINITY;
    refused_saying(&c, ATTN_ERR_VALUE, "args.sinks[0]", "inf; it may be");
    begin(&c), c.args.sinks = shifted(c.sinks, 2), refused(&c, ATTN_ERR_ALIGNMENT, "args.sinks");
    begin(&c), c.args.lse_with_sink = shifted(c.args.lse_with_sink, 1);
    refused(&c, ATTN_ERR_ALIGNMENT, "args.lse_with_sink");
    begin(&c), c.problem.sinks = false, refused(&c, ATTN_ERR_VALUE, "args.sinks");
    begin(&c), c.problem.sinks = false, c.args.sinks = NULL;
    refused(&c, ATTN_ERR_VALUE, "args.lse_with_sink");
    /* no sink at all, and no array for it, are fine */
    begin(&c), c.sinks[1] = -INFINITY, served(&c);
    begin(&c), c.args.lse_with_sink = NULL;
    assert_int_equal(attn_forward(&c.problem, &c.args, NULL, NULL), ATTN_OK);
    reset_outputs(&c);
}

void refused_scores(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 8, sizeof(attn_scores) - 8, SIZE_MAX};
    struct call c;
    for (int i = 0; i < 4; i++) {
        begin(&c), c.scores.struct_size = sizes[i];
        refused(&c, ATTN_ERR_STRUCT_SIZE, "problem.scores.struct_size");
    }
    begin(&c), c.scores.mask = (attn_mask_kind)3;
    refused_saying(&c, ATTN_ERR_VALUE, "problem.scores.mask", "is 3; it may be");
    begin(&c), c.scores.mask = (attn_mask_kind)-1;
    refused(&c, ATTN_ERR_VALUE, "problem.scores.mask");
    for (int dtype = -1; dtype <= 4; dtype++) { /* of f32 tensors */
        begin(&c), c.scores.bias = (attn_dtype)dtype;
        if (dtype != 0 && dtype != ATTN_F32)
            refused(&c, ATTN_ERR_DTYPE, "problem.scores.bias");
    }
    begin(&c), c.scores.bias = ATTN_F16;
    c.problem.q.dtype = c.problem.k.dtype = c.problem.v.dtype = ATTN_BF16;
    refused_saying(&c, ATTN_ERR_DTYPE, "problem.scores.bias", "is 3; it may be 0 (none)");
    c.scores.bias = ATTN_BF16, served(&c);
    c.args.scores = &c.scores_args, c.scores_args.bias = shifted(c.bias, 1);
    refused(&c, ATTN_ERR_ALIGNMENT, "args.scores.bias");
    for (int axis = 0; axis < 3; axis++) {
        char name[48];
        snprintf(name, sizeof name, "problem.scores.mask_stride[%d]", axis);
        begin(&c), c.scores.mask_stride[axis] = INT64_MAX, refused(&c, ATTN_ERR_OVERFLOW, name);
        begin(&c), c.scores.mask_stride[axis] = INT64_MIN, refused(&c, ATTN_ERR_OVERFLOW, name);
        snprintf(name, sizeof name, "problem.scores.bias_stride[%d]", axis);
        begin(&c), c.scores.bias_stride[axis] = -INT64_MAX / 2;
        refused(&c, ATTN_ERR_OVERFLOW, name);
        /* strides of what is not given are not looked at */
        begin(&c), c.scores.bias_stride[axis] = INT64_MAX, c.scores.bias = (attn_dtype)0;
        c.scores_args.bias = NULL, served(&c);
    }
    static const int64_t blocks[][2] = {
        {0, 3}, {2, 0}, {-1, 3}, {2, -1}, {INT64_C(1) << 31, 3}, {2, INT64_MAX}};
    for (int i = 0; i < 6; i++) {
        begin(&c), c.scores.block_rows = blocks[i][0], c.scores.block_keys = blocks[i][1];
        refused(&c, ATTN_ERR_VALUE, "problem.scores.block_rows and block_keys");
    }
}

void refused_scores_args(void **state)
{
    (void)state;
    struct call c;
    begin(&c), c.scores_args.struct_size = sizeof(attn_scores_args) + 8;
    refused(&c, ATTN_ERR_STRUCT_SIZE, "args.scores.struct_size");
    begin(&c), c.args.scores = NULL, refused(&c, ATTN_ERR_NULL, "args.scores");
    begin(&c), c.problem.scores = NULL, refused(&c, ATTN_ERR_VALUE, "args.scores");

    begin(&c), c.scores_args.mask = NULL, refused(&c, ATTN_ERR_NULL, "args.scores.mask");
    begin(&c), c.scores_args.bias = NULL, refused(&c, ATTN_ERR_NULL, "args.scores.bias");
    begin(&c), c.scores_args.alibi_slopes = NULL;
    refused(&c, ATTN_ERR_NULL, "args.scores.alibi_slopes");
    begin(&c), c.scores_args.query_documents = NULL;
    refused(&c, ATTN_ERR_NULL, "args.scores.query_documents");
    begin(&c), c.scores_args.key_documents = NULL;
    refused(&c, ATTN_ERR_NULL, "args.scores.key_documents");
    begin(&c), c.scores_args.block_starts = NULL;
    refused(&c, ATTN_ERR_NULL, "args.scores.block_starts");
    begin(&c), c.scores_args.block_indices = NULL;
    refused(&c, ATTN_ERR_NULL, "args.scores.block_indices");

    /* what the plan does not have would be ignored without a word */
    begin(&c), c.scores.mask = ATTN_MASK_NONE, refused(&c, ATTN_ERR_VALUE, "args.scores.mask");
    begin(&c), c.scores.bias = (attn_dtype)0, refused(&c, ATTN_ERR_VALUE, "args.scores.bias");
    begin(&c), c.scores.alibi = false, refused(&c, ATTN_ERR_VALUE, "args.scores.alibi_slopes");
    begin(&c), c.scores.documents = false;
    refused(&c, ATTN_ERR_VALUE, "args.scores.query_documents");
    begin(&c), c.scores.documents = false, c.scores_args.query_documents = NULL;
    refused(&c, ATTN_ERR_VALUE, "args.scores.key_documents");
    begin(&c), c.scores.block_rows = c.scores.block_keys = 0;
    refused(&c, ATTN_ERR_VALUE, "args.scores.block_starts");
    c.scores_args.block_starts = NULL, refused(&c, ATTN_ERR_VALUE, "args.scores.block_indices");

    begin(&c), c.scores_args.bias = shifted(c.bias, 2);
    refused(&c, ATTN_ERR_ALIGNMENT, "args.scores.bias");
    begin(&c), c.scores_args.alibi_slopes = shifted(c.slopes, 2);
    refused(&c, ATTN_ERR_ALIGNMENT, "args.scores.alibi_slopes");
    begin(&c), c.scores_args.query_documents = shifted(c.query_documents, 1);
    refused(&c, ATTN_ERR_ALIGNMENT, "args.scores.query_documents");
    begin(&c), c.scores_args.key_documents = shifted(c.key_documents, 2);
    refused(&c, ATTN_ERR_ALIGNMENT, "args.scores.key_documents");
    begin(&c), c.scores_args.block_starts = shifted(c.block_starts, 4);
    refused(&c, ATTN_ERR_ALIGNMENT, "args.scores.block_starts");
    begin(&c), c.scores_args.block_indices = shifted(c.block_indices, 2);
    refused(&c, ATTN_ERR_ALIGNMENT, "args.scores.block_indices");

    begin(&c), c.slopes[3] = NAN;
    refused_saying(&c, ATTN_ERR_VALUE, "args.scores.alibi_slopes[3]", "nan; it must be finite");
    begin(&c), c.slopes[0] = -INFINITY;
    refused_saying(&c, ATTN_ERR_VALUE, "args.scores.alibi_slopes[0]", "-inf; it must be finite");
}

void refused_block_lists(void **state)
{
    (void)state;
    static const int64_t starts[][2] = {
        {0, 1},   {0, -1},        {1, -1},        {1, 4},         {5, 0},        {12, 99},
        {12, 32}, {3, INT64_MIN}, {4, INT64_MAX}, {0, INT64_MIN}, {0, INT64_MAX}};
    static const int32_t indices[][2] = {{0, -1}, {0, KEY_BLOCKS}, {1, 0},         {2, 1}, {1, 2},
                                         {35, 3}, {34, INT32_MIN}, {35, INT32_MAX}};
    struct call c;
    char name[48], value[48];
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        snprintf(name, sizeof name, "args.scores.block_starts[%" PRId64 "]", starts[i][0]);
        snprintf(value, sizeof value, "is %" PRId64 "; it m", starts[i][1]);
        begin(&c), c.block_starts[starts[i][0]] = starts[i][1];
        refused_saying(&c, ATTN_ERR_VALUE, name, value);
    }
    for (size_t i = 0; i < sizeof indices / sizeof indices[0]; i++) {
        begin(&c), c.block_indices[indices[i][0]] = indices[i][1];
        /* a wrong entry may be noticed at the one after it */
        refused(&c, ATTN_ERR_VALUE, "args.scores.block_indices[");
    }
    begin(&c), c.block_indices[2] = 1;
    refused_saying(&c, ATTN_ERR_VALUE, "args.scores.block_indices[2]",
                   "is 1; it must be more than 1 and less than 3");
    /* lists are of the run's own queries and keys */
    begin(&c), c.args.keys = BLOCK_KEYS, c.pairs[1].key = 0;
    for (int e = 0; e < B * HQ * E; e++)
        c.excluded[e] = -1;
    refused_saying(&c, ATTN_ERR_VALUE, "args.scores.block_starts[1]", "is 3; it may be 0 to 1");
    /* empty lists need no indices */
    begin(&c), memset(c.block_starts, 0, sizeof c.block_starts);
    c.scores_args.block_indices = NULL, served(&c);
}

/* A ragged batch whose sequences are all empty has empty tensors, whatever its longest sequence may be. */
void empty_ragged_batches(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        attn_problem p = attn_problem_init(B, HQ, HKV, NQ, NK, D);
        attn_scores scores = attn_scores_init();
        attn_statistics_wanted wanted = attn_statistics_wanted_init(ATTN_STAT_ENTROPY);
        attn_scores_args scores_args = attn_scores_args_init();
        attn_statistics statistics = attn_statistics_init();
        struct guarded o = guarded_create("o", HQ * 4 * D);
        const int64_t none[B + 1] = {0, 0, 0}, some[B + 1] = {0, 1, 4};
        attn_error error;
        scores.documents = true;
        p.lengths = ATTN_LENGTHS_RAGGED_I64;
        p.total_queries = p.total_keys = 4;
        p.q = p.o = attn_layout_bhsd(ATTN_F32, HQ, 4, D);
        p.k = p.v = attn_layout_bhsd(ATTN_F32, HKV, 4, D);
        p.scores = &scores;
        p.statistics = which == 2 ? NULL : &wanted;
        attn_args args = attn_args_init(&p);
        args.scores = &scores_args;
        args.statistics = which == 2 ? NULL : &statistics;
        args.cu_seqlens_q = which == 2 ? some : none;
        args.cu_seqlens_k = which == 1 ? some : none;
        const int32_t documents[4] = {0};
        if (which == 2)
            scores_args.query_documents = documents, args.o = o.data;
        if (which == 1)
            scores_args.key_documents = documents;
        if (attn_forward(&p, &args, NULL, &error) != ATTN_OK)
            fail_msg("empty ragged call %d: %s", which, error.message);
        for (size_t i = 0; which == 2 && i < o.count; i++) /* no key: zeros */
            assert_true(((float *)o.data)[i] == 0.0f);
        assert_int_equal(guarded_untouched(&o), which != 2);
        guarded_destroy(&o);
    }
}
