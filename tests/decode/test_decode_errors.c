/* What a cache cannot serve, and arguments that do not fit: each refused with a sentence, outputs untouched. */
#include <attn/kv.h>
#include <attn/rotary.h>
#include <attn/scores.h>
#include <attn/stats.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { B = 2, HQ = 4, HKV = 2, N = 40, D = 16, PAGE = 8, PAGES = 12 };

/* A sound call, that each test breaks in one place. */
struct call {
    attn_kv_layout layout;
    attn_kv_view view;
    attn_problem problem;
    attn_args args;
    attn_statistics_wanted wanted;
    attn_scores scores;
    int32_t indptr[B + 1], indices[PAGES], last[B], begin[B], positions[PAGES * PAGE];
    int64_t lengths[B];
    int32_t cu_seqlens[B + 1];
    float q[B * HQ * D], o[B * HQ * D], pool[PAGES * HKV * PAGE * D], scale[PAGES * HKV * PAGE];
};

static struct call *sound(void)
{
    struct call *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->layout = attn_kv_layout_init(ATTN_F32, HKV, PAGE, D);
    c->problem = attn_problem_init(B, HQ, HKV, 1, N, D);
    c->problem.cache = &c->layout;
    c->args = attn_args_init(&c->problem);
    c->args.cache = &c->view;
    c->args.q = c->q, c->args.o = c->o;
    c->view = attn_kv_view_init();
    c->view.k = c->view.v = c->pool;
    c->view.pages = PAGES;
    c->view.indptr = c->indptr, c->view.indices = c->indices;
    c->view.last_page_len = c->last, c->view.first_page_begin = c->begin;
    c->indptr[1] = 3, c->indptr[2] = 7;
    for (int i = 0; i < 7; i++)
        c->indices[i] = 11 - i;
    c->last[0] = 8, c->last[1] = 1;
    c->begin[1] = 2;
    for (int b = 0; b < B; b++)
        c->lengths[b] = 1, c->cu_seqlens[b + 1] = b + 1;
    for (int i = 0; i < PAGES * PAGE; i++)
        c->positions[i] = (11 - i / PAGE) * PAGE + i % PAGE; /* rising along the table */
    return c;
}

/* The same with lengths of its own for each sequence. */
static void padded(struct call *c)
{
    c->problem.lengths = ATTN_LENGTHS_PADDED;
    c->args.query_lengths = c->lengths;
}

static void ragged(struct call *c)
{
    c->problem.lengths = ATTN_LENGTHS_RAGGED_I32;
    c->problem.total_queries = B;
    c->problem.q = c->problem.o = attn_layout_bhsd(ATTN_F32, HQ, B, D);
    c->args.cu_seqlens_q = c->cu_seqlens;
}

static attn_status run(struct call *c, attn_error *error)
{
    for (int i = 0; i < B * HQ * D; i++)
        c->o[i] = 77;
    attn_status status = attn_forward(&c->problem, &c->args, NULL, error);
    for (int i = 0; status != ATTN_OK && i < B * HQ * D; i++)
        assert_true(c->o[i] == 77);
    return status;
}

static void refused(struct call *c, attn_status expected, const char *part)
{
    attn_error error;
    attn_status status = run(c, &error);
    if (status != expected || !strstr(error.message, part))
        fail_msg("status %s, \"%s\"; %s and a sentence with \"%s\" are due",
                 attn_status_name(status), error.message, attn_status_name(expected), part);
    free(c);
}

#define REFUSED(change, status, part)                                                              \
    do {                                                                                           \
        struct call *c = sound();                                                                  \
        change;                                                                                    \
        refused(c, status, part);                                                                  \
    } while (0)

static void sound_calls_run(void **state)
{
    (void)state;
    attn_error error;
    struct call *c = sound();
    assert_int_equal(run(c, &error), ATTN_OK);
    c->layout.positions = true;
    c->view.positions = c->positions;
    assert_int_equal(run(c, &error), ATTN_OK);
    c->args.batch = 0;
    assert_int_equal(run(c, &error), ATTN_OK);
    free(c);
    c = sound();
    padded(c);
    assert_int_equal(run(c, &error), ATTN_OK);
    free(c);
    c = sound();
    ragged(c);
    assert_int_equal(run(c, &error), ATTN_OK);
    free(c);
}

static void problems(void **state)
{
    (void)state;
    static const attn_rotary rotary;
    REFUSED(c->layout.struct_size = 8, ATTN_ERR_STRUCT_SIZE, "problem.cache.struct_size");
    REFUSED(c->layout.k_dtype = (attn_dtype)6, ATTN_ERR_DTYPE, "problem.cache.k_dtype");
    REFUSED(c->layout.page_size = 0, ATTN_ERR_SHAPE, "problem.cache.page_size");
    REFUSED(c->layout.k_stride[1] = -1, ATTN_ERR_STRIDE, "problem.cache.k_stride[1]");
    REFUSED(c->layout.group = 4, ATTN_ERR_VALUE, "problem.cache.group");
    REFUSED(c->problem.q.dtype = ATTN_INT8, ATTN_ERR_DTYPE, "problem.q.dtype");
    REFUSED(c->problem.o.dtype = ATTN_INT4, ATTN_ERR_DTYPE, "problem.o.dtype");
    REFUSED(c->problem.rotary = &rotary, ATTN_ERR_STRUCT_SIZE, "rotary.struct_size");
    REFUSED(c->problem.total_keys = 3, ATTN_ERR_SHAPE, "problem.total_keys");
    REFUSED(ragged(c);
            c->problem.total_keys = 3, ATTN_ERR_SHAPE,
            "problem.total_keys is 3; with problem.cache, whose table tells lengths, it must be 0");
}

static void options(void **state)
{
    (void)state;
    static const attn_scores_args constant;
    REFUSED(c->scores = attn_scores_init(); c->scores.constant = &constant;
            c->problem.scores = &c->scores, ATTN_ERR_STRUCT_SIZE, "problem.scores.constant");
}

#define IN_A_CACHE(name) "args." name " is given, but keys are in a cache; it must be NULL"

static void arguments(void **state)
{
    (void)state;
    REFUSED(c->args.cache = NULL, ATTN_ERR_NULL, "args.cache");
    REFUSED(c->problem.cache = NULL; c->args.k = c->args.v = c->pool, ATTN_ERR_VALUE, "args.cache");
    REFUSED(c->args.k = c->pool, ATTN_ERR_VALUE, "args.k");
    REFUSED(c->args.v = c->pool, ATTN_ERR_VALUE, "args.v");
    REFUSED(c->args.key_lengths = c->lengths, ATTN_ERR_VALUE, IN_A_CACHE("key_lengths"));
    REFUSED(padded(c); c->args.key_lengths = c->lengths, ATTN_ERR_VALUE, IN_A_CACHE("key_lengths"));
    REFUSED(c->args.cu_seqlens_k = c->cu_seqlens, ATTN_ERR_VALUE, IN_A_CACHE("cu_seqlens_k"));
    REFUSED(ragged(c);
            c->args.cu_seqlens_k = c->cu_seqlens, ATTN_ERR_VALUE, IN_A_CACHE("cu_seqlens_k"));
    REFUSED(padded(c); c->args.cu_seqlens_q = c->cu_seqlens, ATTN_ERR_VALUE, "args.cu_seqlens_q");
    REFUSED(ragged(c); c->args.query_lengths = c->lengths, ATTN_ERR_VALUE, "args.query_lengths");
    REFUSED(c->view.k = NULL, ATTN_ERR_NULL, "args.cache.k");
    REFUSED(c->view.indptr = NULL, ATTN_ERR_NULL, "args.cache.indptr");
    REFUSED(c->indptr[0] = 1, ATTN_ERR_VALUE, "args.cache.indptr[0]");
    REFUSED(c->indptr[1] = -1, ATTN_ERR_VALUE, "args.cache.indptr[1]");
    REFUSED(c->indices[4] = PAGES, ATTN_ERR_VALUE, "args.cache.indices[4]");
    REFUSED(c->indices[5] = c->indices[4], ATTN_ERR_VALUE, "args.cache.indices");
    REFUSED(c->last[0] = 9, ATTN_ERR_VALUE, "args.cache.last_page_len[0]");
    REFUSED(c->begin[0] = PAGE, ATTN_ERR_VALUE, "args.cache.first_page_begin[0]");
    REFUSED(c->args.keys = 20, ATTN_ERR_SHAPE, "args.cache");
    REFUSED(c->view.positions = c->positions, ATTN_ERR_VALUE, "args.cache.positions");
    REFUSED(c->layout.positions = true; c->view.positions = c->positions;
            c->positions[11 * PAGE + 1] = 0, ATTN_ERR_VALUE, "args.cache.positions");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_calls_run),
        cmocka_unit_test(problems),
        cmocka_unit_test(options),
        cmocka_unit_test(arguments),
    };
    return cmocka_run_group_tests_name("decode_errors", tests, NULL, NULL);
}
