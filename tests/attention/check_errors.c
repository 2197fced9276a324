/* Every call that is refused: its code, a sentence that names the argument, outputs untouched, with or
 * without an attn_error, in one line or by a plan. Here what every call has; the lengths of batches, sinks,
 * dtypes and what shapes scores are in check_errors_options.c. */
#include "attention/orders.h"
#include "attention/path.h"
#include "attention/refusal.h"

static void the_valid_call(void **state)
{
    (void)state;
    struct call c;
    attn_error error;
    begin(&c);
    if (attn_forward(&c.problem, &c.args, NULL, &error) != ATTN_OK)
        fail_msg("%s", error.message);
    assert_string_equal(error.message, "");
    assert_int_equal(error.status, ATTN_OK);
    for (int i = 0; i < c.count; i++) {
        assert_false(guarded_untouched(&c.outputs[i]));
        guarded_reset(&c.outputs[i]);
    }
}

static void problem_counts(void **state)
{
    (void)state;
    struct call c;
    static const int64_t bad[] = {-1, -7, INT64_MIN, INT64_MAX, INT64_C(1) << 40};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        begin(&c), c.problem.keys = bad[i], refused(&c, ATTN_ERR_SHAPE, "keys");
        begin(&c), c.problem.kv_heads = bad[i], refused(&c, ATTN_ERR_SHAPE, "heads");
    }
    for (size_t i = 0; i < 3; i++) {
        begin(&c), c.problem.batch = bad[i], refused(&c, ATTN_ERR_SHAPE, "batch");
        begin(&c), c.problem.heads = bad[i], refused(&c, ATTN_ERR_SHAPE, "heads");
        begin(&c), c.problem.queries = bad[i], refused(&c, ATTN_ERR_SHAPE, "queries");
        begin(&c), c.problem.head_size = bad[i], refused(&c, ATTN_ERR_SHAPE, "head_size");
        begin(&c), c.problem.head_size_v = bad[i], refused(&c, ATTN_ERR_SHAPE, "head_size_v");
    }
    begin(&c), c.problem.head_size = 0, refused(&c, ATTN_ERR_SHAPE, "head_size");
    begin(&c), c.problem.head_size_v = 0, refused(&c, ATTN_ERR_SHAPE, "head_size_v");
    begin(&c), c.problem.kv_heads = 3, refused(&c, ATTN_ERR_SHAPE, "heads");
    begin(&c), c.problem.kv_heads = 0, refused(&c, ATTN_ERR_SHAPE, "heads");
    begin(&c), c.problem.kv_heads = 8, refused(&c, ATTN_ERR_SHAPE, "heads");
}

static void problem_numbers(void **state)
{
    (void)state;
    struct call c;
    begin(&c), c.problem.scale = NAN, refused(&c, ATTN_ERR_VALUE, "scale");
    begin(&c), c.problem.scale = INFINITY, refused(&c, ATTN_ERR_VALUE, "scale");
    begin(&c), c.problem.scale = -INFINITY, refused(&c, ATTN_ERR_VALUE, "scale");
    begin(&c), c.problem.softcap = NAN, refused(&c, ATTN_ERR_VALUE, "softcap");
    begin(&c), c.problem.softcap = INFINITY, refused(&c, ATTN_ERR_VALUE, "softcap");
    begin(&c), c.problem.softcap = -1, refused(&c, ATTN_ERR_VALUE, "softcap");
    begin(&c), c.problem.window.left = -2, refused(&c, ATTN_ERR_VALUE, "window");
    begin(&c), c.problem.window.right = INT64_MIN, refused(&c, ATTN_ERR_VALUE, "window");
    begin(&c), c.problem.window.prefix = -1, refused(&c, ATTN_ERR_VALUE, "window");
    begin(&c), c.problem.alignment = (attn_alignment)3, refused(&c, ATTN_ERR_VALUE, "alignment");
    begin(&c), c.problem.alignment = (attn_alignment)-1, refused(&c, ATTN_ERR_VALUE, "alignment");
    begin(&c), c.problem.excluded_keys = -1, refused(&c, ATTN_ERR_VALUE, "excluded_keys");
    begin(&c), c.problem.excluded_keys = INT64_MAX, refused(&c, ATTN_ERR_VALUE, "excluded_keys");
    begin(&c), c.wanted.set = 1u << 31, refused(&c, ATTN_ERR_VALUE, "set");
    begin(&c), c.wanted.first_keys = -1, refused(&c, ATTN_ERR_VALUE, "first_keys");
    begin(&c), c.wanted.local_distance = -1, refused(&c, ATTN_ERR_VALUE, "local_distance");
    begin(&c), c.wanted.local_distance = 1025, refused(&c, ATTN_ERR_VALUE, "local_distance");
    begin(&c), c.wanted.segments = -1, refused(&c, ATTN_ERR_VALUE, "segments");
    begin(&c), c.wanted.segments = 33, refused(&c, ATTN_ERR_VALUE, "segments");
    begin(&c), c.wanted.top_keys = -1, refused(&c, ATTN_ERR_VALUE, "top_keys");
    begin(&c), c.wanted.top_keys = 65, refused(&c, ATTN_ERR_VALUE, "top_keys");
}

static void problem_layouts(void **state)
{
    (void)state;
    struct call c;
    begin(&c), c.problem.q.stride[3] = 2, refused(&c, ATTN_ERR_STRIDE, "q.stride");
    begin(&c), c.problem.k.stride[3] = 0, refused(&c, ATTN_ERR_STRIDE, "k.stride");
    begin(&c), c.problem.v.stride[3] = -1, refused(&c, ATTN_ERR_STRIDE, "v.stride");
    begin(&c), c.problem.o.stride[3] = INT64_MIN, refused(&c, ATTN_ERR_STRIDE, "o.stride");
    for (int axis = 0; axis < 3; axis++) {
        begin(&c), c.problem.o.stride[axis] = 0, refused(&c, ATTN_ERR_STRIDE, "problem.o");
        begin(&c), c.problem.q.stride[axis] = INT64_MAX,
                   refused(&c, ATTN_ERR_OVERFLOW, "problem.q");
        begin(&c), c.problem.k.stride[axis] = INT64_MIN,
                   refused(&c, ATTN_ERR_OVERFLOW, "problem.k");
        begin(&c), c.problem.v.stride[axis] = INT64_MAX / 2;
        refused(&c, ATTN_ERR_OVERFLOW, "problem.v");
        begin(&c), c.problem.o.stride[axis] = -INT64_MAX,
                   refused(&c, ATTN_ERR_OVERFLOW, "problem.o");
    }
    begin(&c), c.problem.o.stride[2] = D - 1, refused(&c, ATTN_ERR_STRIDE, "problem.o");
    begin(&c), c.problem.o.stride[1] = c.problem.o.stride[2];
    refused(&c, ATTN_ERR_STRIDE, "problem.o");
    begin(&c), c.problem.o.stride[0] = -c.problem.o.stride[1];
    refused(&c, ATTN_ERR_STRIDE, "problem.o");
}

/* Shapes whose every count is fine and whose product no address can tell. */
static void problem_products(void **state)
{
    (void)state;
    struct call c;
    begin(&c);
    c.problem = attn_problem_init(INT32_MAX, INT32_MAX, INT32_MAX, 1, 1, 1);
    c.problem.o.stride[0] = INT64_MAX / 2;
    refused(&c, ATTN_ERR_OVERFLOW, "problem");
    begin(&c);
    c.problem.heads = c.problem.kv_heads = INT32_MAX;
    c.problem.queries = c.problem.batch = INT32_MAX;
    attn_layout nowhere = {ATTN_F32, {0, 0, 0, 1}};
    c.problem.q = c.problem.k = c.problem.v = nowhere;
    attn_error error;
    attn_plan *plan = NULL;
    attn_status status = attn_plan_create(&plan, &c.problem, &error);
    assert_true(status == ATTN_ERR_OVERFLOW || status == ATTN_ERR_STRIDE);
    assert_null(plan);
}

static void struct_sizes(void **state)
{
    (void)state;
    struct call c;
    static const size_t bad[] = {0, 1, 8, SIZE_MAX};
    for (size_t i = 0; i < 4; i++) {
        begin(&c), c.problem.struct_size = bad[i], refused(&c, ATTN_ERR_STRUCT_SIZE, "problem");
        begin(&c), c.args.struct_size = bad[i], refused(&c, ATTN_ERR_STRUCT_SIZE, "args");
        begin(&c), c.wanted.struct_size = bad[i], refused(&c, ATTN_ERR_STRUCT_SIZE, "statistics");
        begin(&c), c.statistics.struct_size = bad[i],
                   refused(&c, ATTN_ERR_STRUCT_SIZE, "statistics");
    }
    begin(&c), c.problem.struct_size += 8, refused(&c, ATTN_ERR_STRUCT_SIZE, "struct_size");
    attn_cpu cpu = {.struct_size = 3};
    attn_error error;
    assert_int_equal(attn_cpu_describe(&cpu, &error), ATTN_ERR_STRUCT_SIZE);
    assert_non_null(strstr(error.message, "struct_size"));
    assert_int_equal(attn_cpu_describe(NULL, &error), ATTN_ERR_NULL);
}

static void run_lengths(void **state)
{
    (void)state;
    struct call c;
    static const int64_t bad[] = {-1, INT64_MIN, INT64_MAX, 8};
    for (size_t i = 0; i < 4; i++) {
        begin(&c), c.args.batch = bad[i], refused(&c, ATTN_ERR_SHAPE, "batch");
        begin(&c), c.args.queries = bad[i], refused(&c, ATTN_ERR_SHAPE, "queries");
        begin(&c), c.args.keys = bad[i], refused(&c, ATTN_ERR_SHAPE, "keys");
    }
}

static void null_pointers(void **state)
{
    (void)state;
    struct call c;
    begin(&c), c.args.q = NULL, refused(&c, ATTN_ERR_NULL, "q");
    begin(&c), c.args.k = NULL, refused(&c, ATTN_ERR_NULL, "k");
    begin(&c), c.args.v = NULL, refused(&c, ATTN_ERR_NULL, "v");
    begin(&c), c.args.query_offset = NULL, refused(&c, ATTN_ERR_NULL, "query_offset");
    begin(&c), c.args.head_windows = NULL, refused(&c, ATTN_ERR_NULL, "head_windows");
    begin(&c), c.args.prefix_lm = NULL, refused(&c, ATTN_ERR_NULL, "prefix_lm");
    begin(&c), c.args.excluded_keys = NULL, refused(&c, ATTN_ERR_NULL, "excluded_keys");
    begin(&c), c.args.statistics = NULL, refused(&c, ATTN_ERR_NULL, "statistics");
    begin(&c), c.statistics.entropy = NULL, refused(&c, ATTN_ERR_NULL, "entropy");
    begin(&c), c.statistics.varentropy = NULL, refused(&c, ATTN_ERR_NULL, "varentropy");
    begin(&c), c.statistics.participation = NULL, refused(&c, ATTN_ERR_NULL, "participation");
    begin(&c), c.statistics.max_weight = NULL, refused(&c, ATTN_ERR_NULL, "max_weight");
    begin(&c), c.statistics.max_key = NULL, refused(&c, ATTN_ERR_NULL, "max_key");
    begin(&c), c.statistics.max_logit = NULL, refused(&c, ATTN_ERR_NULL, "max_logit");
    begin(&c), c.statistics.max_abs_logit = NULL, refused(&c, ATTN_ERR_NULL, "max_abs_logit");
    begin(&c), c.statistics.max_score = NULL, refused(&c, ATTN_ERR_NULL, "max_score");
    begin(&c), c.statistics.min_score = NULL, refused(&c, ATTN_ERR_NULL, "min_score");
    begin(&c), c.statistics.mass_self = NULL, refused(&c, ATTN_ERR_NULL, "mass_self");
    begin(&c), c.statistics.mass_previous = NULL, refused(&c, ATTN_ERR_NULL, "mass_previous");
    begin(&c), c.statistics.mass_next = NULL, refused(&c, ATTN_ERR_NULL, "mass_next");
    begin(&c), c.statistics.mass_first = NULL, refused(&c, ATTN_ERR_NULL, "mass_first");
    begin(&c), c.statistics.mass_local = NULL, refused(&c, ATTN_ERR_NULL, "mass_local");
    begin(&c), c.statistics.mass_segments = NULL, refused(&c, ATTN_ERR_NULL, "mass_segments");
    begin(&c), c.statistics.distance_mean = NULL, refused(&c, ATTN_ERR_NULL, "distance_mean");
    begin(&c), c.statistics.distance_sd = NULL, refused(&c, ATTN_ERR_NULL, "distance_sd");
    begin(&c), c.statistics.visible_keys = NULL, refused(&c, ATTN_ERR_NULL, "visible_keys");
    begin(&c), c.statistics.column_mass = NULL, refused(&c, ATTN_ERR_NULL, "column_mass");
    begin(&c), c.statistics.column_viewers = NULL, refused(&c, ATTN_ERR_NULL, "column_viewers");
    begin(&c), c.statistics.top_keys = NULL, refused(&c, ATTN_ERR_NULL, "top_keys");
    begin(&c), c.statistics.top_weights = NULL, refused(&c, ATTN_ERR_NULL, "top_weights");
    begin(&c), c.statistics.segment_ids = NULL, refused(&c, ATTN_ERR_NULL, "segment_ids");
    begin(&c), c.statistics.weights = NULL, refused(&c, ATTN_ERR_NULL, "weights");
    begin(&c), c.requests[1].weights = NULL, refused(&c, ATTN_ERR_NULL, "weights");
    begin(&c), c.statistics.pairs = NULL, refused(&c, ATTN_ERR_NULL, "pairs");
    begin(&c), c.statistics.pair_weights = NULL, refused(&c, ATTN_ERR_NULL, "pair_weights");

    attn_error error;
    attn_plan *plan = NULL;
    begin(&c);
    assert_int_equal(attn_plan_create(NULL, &c.problem, &error), ATTN_ERR_NULL);
    assert_non_null(strstr(error.message, "plan"));
    assert_int_equal(attn_plan_create(&plan, NULL, &error), ATTN_ERR_NULL);
    assert_non_null(strstr(error.message, "problem"));
    assert_int_equal(attn_forward(NULL, &c.args, NULL, &error), ATTN_ERR_NULL);
    assert_int_equal(attn_forward(&c.problem, NULL, NULL, &error), ATTN_ERR_NULL);
    assert_int_equal(attn_run(NULL, &c.args, NULL, 0, NULL, &error), ATTN_ERR_NULL);
    assert_int_equal(attn_run(NULL, &c.args, NULL, 0, NULL, NULL), ATTN_ERR_NULL);
    assert_int_equal(attn_executor_create(NULL, 1, &error), ATTN_ERR_NULL);
    attn_plan_destroy(NULL);
    attn_executor_destroy(NULL);
}

/* Arrays that the plan did not announce would be ignored without a word; they are refused. */
static void superfluous_arrays(void **state)
{
    (void)state;
    struct call c;
    begin(&c), c.problem.alignment = ATTN_TOP_LEFT, refused(&c, ATTN_ERR_VALUE, "query_offset");
    begin(&c), c.problem.head_windows = false, refused(&c, ATTN_ERR_VALUE, "head_windows");
    begin(&c), c.problem.prefix_lm = false, refused(&c, ATTN_ERR_VALUE, "prefix_lm");
    begin(&c), c.problem.excluded_keys = 0, refused(&c, ATTN_ERR_VALUE, "excluded_keys");
}

static void misaligned_pointers(void **state)
{
    (void)state;
    struct call c;
    for (int bytes = 1; bytes < 4; bytes++) {
        begin(&c), c.args.q = shifted(c.q, bytes), refused(&c, ATTN_ERR_ALIGNMENT, "q");
        begin(&c), c.args.k = shifted(c.k, bytes), refused(&c, ATTN_ERR_ALIGNMENT, "k");
        begin(&c), c.args.v = shifted(c.v, bytes), refused(&c, ATTN_ERR_ALIGNMENT, "v");
        begin(&c), c.args.o = shifted(c.args.o, bytes), refused(&c, ATTN_ERR_ALIGNMENT, "o");
        begin(&c), c.args.lse = shifted(c.args.lse, bytes), refused(&c, ATTN_ERR_ALIGNMENT, "lse");
        begin(&c), c.statistics.entropy = shifted(c.statistics.entropy, bytes);
        refused(&c, ATTN_ERR_ALIGNMENT, "entropy");
        begin(&c), c.statistics.max_key = shifted(c.statistics.max_key, bytes);
        refused(&c, ATTN_ERR_ALIGNMENT, "max_key");
        begin(&c), c.statistics.pair_weights = shifted(c.statistics.pair_weights, bytes);
        refused(&c, ATTN_ERR_ALIGNMENT, "pair_weights");
        begin(&c), c.requests[0].weights = shifted(c.requests[0].weights, bytes);
        refused(&c, ATTN_ERR_ALIGNMENT, "weights");
    }
    begin(&c), c.args.query_offset = shifted(c.offsets, 4);
    refused(&c, ATTN_ERR_ALIGNMENT, "query_offset");
    begin(&c), c.args.prefix_lm = shifted(c.prefixes, 2);
    refused(&c, ATTN_ERR_ALIGNMENT, "prefix_lm");
    begin(&c), c.args.excluded_keys = shifted(c.excluded, 1);
    refused(&c, ATTN_ERR_ALIGNMENT, "excluded_keys");
    begin(&c), c.args.head_windows = shifted(c.windows, 4);
    refused(&c, ATTN_ERR_ALIGNMENT, "head_windows");
}

static void run_contents(void **state)
{
    (void)state;
    struct call c;
    begin(&c), c.offsets[1] = INT64_C(1) << 31, refused(&c, ATTN_ERR_VALUE, "query_offset");
    begin(&c), c.offsets[0] = INT64_MIN, refused(&c, ATTN_ERR_VALUE, "query_offset");
    begin(&c), c.windows[3].left = -2, refused(&c, ATTN_ERR_VALUE, "head_windows");
    begin(&c), c.windows[0].right = -9, refused(&c, ATTN_ERR_VALUE, "head_windows");
    begin(&c), c.windows[2].prefix = -1, refused(&c, ATTN_ERR_VALUE, "head_windows");
    begin(&c), c.prefixes[1] = -1, refused(&c, ATTN_ERR_VALUE, "prefix_lm");
    begin(&c), c.excluded[3] = NK, refused(&c, ATTN_ERR_VALUE, "excluded_keys");
    begin(&c), c.excluded[0] = -2, refused(&c, ATTN_ERR_VALUE, "excluded_keys");
    begin(&c), c.segments[B * NK - 1] = 3, refused(&c, ATTN_ERR_VALUE, "segment_ids");
    begin(&c), c.requests[1].batch = B, refused(&c, ATTN_ERR_VALUE, "weights");
    begin(&c), c.requests[1].batch = -1, refused(&c, ATTN_ERR_VALUE, "weights");
    begin(&c), c.requests[0].head = HQ, refused(&c, ATTN_ERR_VALUE, "weights");
    begin(&c), c.requests[0].row_begin = -1, refused(&c, ATTN_ERR_VALUE, "weights");
    begin(&c), c.requests[0].row_end = NQ + 1, refused(&c, ATTN_ERR_VALUE, "weights");
    begin(&c), c.requests[1].row_end = 1, refused(&c, ATTN_ERR_VALUE, "weights");
    begin(&c), c.statistics.weights_count = -1, refused(&c, ATTN_ERR_SHAPE, "weights_count");
    begin(&c), c.pairs[1].batch = B, refused(&c, ATTN_ERR_VALUE, "pairs");
    begin(&c), c.pairs[1].head = -1, refused(&c, ATTN_ERR_VALUE, "pairs");
    begin(&c), c.pairs[0].query = NQ, refused(&c, ATTN_ERR_VALUE, "pairs");
    begin(&c), c.pairs[0].key = NK, refused(&c, ATTN_ERR_VALUE, "pairs");
    begin(&c), c.pairs[0].key = INT64_MIN, refused(&c, ATTN_ERR_VALUE, "pairs");
    begin(&c), c.statistics.pairs_count = INT64_MIN, refused(&c, ATTN_ERR_SHAPE, "pairs_count");
}

static void workspaces(void **state)
{
    (void)state;
    struct call c;
    begin(&c);
    attn_plan *plan = NULL;
    attn_error error;
    assert_int_equal(attn_plan_create(&plan, &c.problem, &error), ATTN_OK);
    size_t size = attn_plan_workspace(plan, 1);
    assert_true(size > 0);
    assert_true(attn_plan_workspace(plan, 2) >= size);
    void *workspace = need(size, 1);
    const size_t sizes[] = {0, 1, size / 2, size - 1};
    for (int i = 0; i < 4; i++) {
        attn_status status = attn_run(plan, &c.args, workspace, sizes[i], NULL, &error);
        check_refusal("attn_run", status, &error, ATTN_ERR_WORKSPACE, "workspace", &c);
    }
    attn_status status = attn_run(plan, &c.args, NULL, size, NULL, &error);
    if (status != ATTN_ERR_NULL)
        check_refusal("attn_run", status, &error, ATTN_ERR_WORKSPACE, "workspace", &c);
    assert_true(outputs_untouched(&c));

    /* attn_plan_explain cuts as snprintf does */
    char text[32];
    memset(text, 'x', sizeof text);
    size_t length = attn_plan_explain(plan, NULL, 0);
    assert_true(length > 40);
    assert_int_equal(attn_plan_explain(plan, text, 16), length);
    assert_int_equal(strlen(text), 15);
    assert_int_equal(text[16], 'x');
    free(workspace);
    attn_plan_destroy(plan);
}

static void executors(void **state)
{
    (void)state;
    struct call c;
    struct ordered_executor own;
    attn_error error;
    ordered_executor_init(&own, ORDER_FORWARD, 2, 1);
    call_executor = &own.executor;
    own.executor.struct_size = 0, begin(&c), refused(&c, ATTN_ERR_STRUCT_SIZE, "executor");
    own.executor.struct_size = sizeof own.executor;
    own.executor.threads = 0, begin(&c), refused(&c, ATTN_ERR_EXECUTOR, "executor");
    own.executor.threads = -3, begin(&c), refused(&c, ATTN_ERR_EXECUTOR, "executor");
    own.executor.threads = 2;
    own.executor.parallel_for = NULL, begin(&c), refused(&c, ATTN_ERR_EXECUTOR, "executor");
    call_executor = NULL;

    /* One that reports a failure, in each of its launches in turn; then it works again. */
    ordered_executor_init(&own, ORDER_FORWARD, 2, 1);
    begin(&c);
    assert_int_equal(attn_forward(&c.problem, &c.args, &own.executor, &error), ATTN_OK);
    int64_t launches = own.launches;
    assert_true(launches >= 1);
    for (int64_t launch = 1; launch <= launches; launch++) {
        own.launches = 0;
        own.fail_at_launch = (int)launch;
        assert_int_equal(attn_forward(&c.problem, &c.args, &own.executor, &error),
                         ATTN_ERR_EXECUTOR);
        assert_non_null(strstr(error.message, "executor"));
    }
    own.fail_at_launch = 0;
    assert_int_equal(attn_forward(&c.problem, &c.args, &own.executor, &error), ATTN_OK);
    reset_outputs(&c);

    attn_executor *none = (attn_executor *)(uintptr_t)1;
    assert_int_equal(attn_executor_create(&none, -1, &error), ATTN_ERR_VALUE);
    assert_non_null(strstr(error.message, "threads"));
    assert_null(none);
    assert_int_equal(attn_executor_create(&none, 1025, &error), ATTN_ERR_VALUE);
    assert_null(none);
}

/* Nothing to do is no error, and needs no pointers. */
static void empty_calls(void **state)
{
    (void)state;
    for (int which = 0; which < 4; which++) {
        attn_problem p =
            attn_problem_init(which == 0 ? 0 : 2, which == 1 ? 0 : 4, which == 1 ? 0 : 2,
                              which == 2 ? 0 : 5, which == 3 ? 0 : 6, 8);
        attn_args args = attn_args_init(&p);
        attn_error error;
        struct guarded o = guarded_create("o", 2 * 4 * 5 * 8), lse = guarded_create("lse", 40);
        if (attn_forward(&p, &args, NULL, &error) != ATTN_OK)
            fail_msg("empty call %d: %s", which, error.message);
        args.o = o.data, args.lse = (float *)lse.data;
        if (attn_forward(&p, &args, attn_default_executor(), &error) != ATTN_OK)
            fail_msg("empty call %d: %s", which, error.message);
        assert_int_equal(guarded_untouched(&o), which != 3);
        assert_int_equal(guarded_untouched(&lse), which != 3);
        if (which == 3)
            for (size_t i = 0; i < o.count; i++)
                assert_true(((float *)o.data)[i] == 0.0f);
        guarded_destroy(&o);
        guarded_destroy(&lse);
    }
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(attn_status_name(ATTN_OK), "ATTN_OK");
    assert_string_equal(attn_status_name(ATTN_ERR_SHAPE), "ATTN_ERR_SHAPE");
    assert_string_equal(attn_status_name(ATTN_ERR_EXECUTOR), "ATTN_ERR_EXECUTOR");
    assert_string_equal(attn_status_name((attn_status)999), "unknown status");
    assert_string_equal(attn_status_name((attn_status)-1), "unknown status");
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", ATTN_VERSION_MAJOR, ATTN_VERSION_MINOR,
             ATTN_VERSION_PATCH);
    assert_string_equal(attn_version(), version);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    prepare_calls();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_valid_call),
        cmocka_unit_test(problem_counts),
        cmocka_unit_test(problem_numbers),
        cmocka_unit_test(problem_layouts),
        cmocka_unit_test(problem_products),
        cmocka_unit_test(struct_sizes),
        cmocka_unit_test(run_lengths),
        cmocka_unit_test(null_pointers),
        cmocka_unit_test(superfluous_arrays),
        cmocka_unit_test(misaligned_pointers),
        cmocka_unit_test(run_contents),
        cmocka_unit_test(workspaces),
        cmocka_unit_test(executors),
        cmocka_unit_test(empty_calls),
        cmocka_unit_test(names),
        cmocka_unit_test(refused_dtypes),
        cmocka_unit_test(refused_lengths),
        cmocka_unit_test(refused_padded_batches),
        cmocka_unit_test(refused_ragged_batches),
        cmocka_unit_test(refused_sinks),
        cmocka_unit_test(refused_scores),
        cmocka_unit_test(refused_scores_args),
        cmocka_unit_test(refused_block_lists),
        cmocka_unit_test(empty_ragged_batches),
    };
    status = cmocka_run_group_tests_name("check_errors", tests, NULL, NULL);
    destroy_calls();
    return status;
}
