/* Valid calls with a few fields made wrong at random: the library must refuse them or serve them right,
 * never crash and never give a silent wrong answer. Fields are changed only in ways that leave every
 * address the caller promises within its arrays, so that what is accepted can be checked in full. */
#include "attention/attention_case.h"
#include "attention/compare.h"
#include "attention/orders.h"
#include "attention/path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct record record;
static int64_t refused_calls, served_calls;

static int64_t hostile_count(struct random *random)
{
    static const int64_t counts[] = {
        -1, INT64_MIN, INT64_MAX, INT64_C(1) << 40, INT64_C(1) << 31, -INT64_MAX, INT64_C(1) << 62};
    return counts[random_between(random, 0, 6)];
}

static float hostile_number(struct random *random)
{
    static const float numbers[] = {NAN, INFINITY, -INFINITY, -1.0f, 1e-30f, 0.0f, -0.0f, 3.5f};
    return numbers[random_between(random, 0, 7)];
}

static void corrupt_problem(struct attention_case *c, struct random *random)
{
    attn_problem *p = &c->problem;
    attn_layout *layouts[] = {&p->q, &p->k, &p->v, &p->o};
    attn_layout *layout = layouts[random_between(random, 0, 3)];
    int64_t *counts[] = {&p->batch, &p->heads,     &p->kv_heads,   &p->queries,
                         &p->keys,  &p->head_size, &p->head_size_v};
    switch (random_between(random, 0, 13)) {
    case 0:
        *counts[random_between(random, 0, 6)] = hostile_count(random);
        break;
    case 1:
        *counts[random_between(random, 0, 4)] = 0;
        break;
    case 2:
        layout->dtype = (attn_dtype)random_between(random, -1, 4);
        break;
    case 3:
        layout->stride[3] = random_between(random, -1, 3);
        break;
    case 4:
        layout->stride[random_between(random, 0, 2)] =
            random_chance(random, 0.5) ? INT64_MAX : INT64_MIN;
        break;
    case 5:
        layouts[random_between(random, 0, 2)]->stride[random_between(random, 0, 2)] = 0;
        break;
    case 6:
        p->scale = hostile_number(random);
        break;
    case 7:
        p->softcap = hostile_number(random);
        break;
    case 8:
        p->alignment = (attn_alignment)random_between(random, -1, 3);
        break;
    case 9:
        *(int64_t *[]){&p->window.left, &p->window.right,
                       &p->window.prefix}[random_between(random, 0, 2)] =
            random_chance(random, 0.5) ? hostile_count(random) : random_between(random, -2, 9);
        break;
    case 10:
        p->causal = !p->causal;
        break;
    case 11:
        p->struct_size = (size_t)random_between(random, 0, 400);
        break;
    case 12:
        p->kv_heads = random_between(random, 0, c->k.extent[1]);
        break;
    default:
        p->head_size = random_between(random, 0, c->q.extent[3]);
    }
}

static void corrupt_wanted(struct attention_case *c, struct random *random)
{
    attn_statistics_wanted *w = &c->wanted;
    int32_t *numbers[] = {&w->first_keys, &w->local_distance};
    switch (random_between(random, 0, 3)) {
    case 0:
        w->set |= 1u << random_between(random, 23, 31);
        break;
    case 1:
        *numbers[random_between(random, 0, 1)] = (int32_t)random_between(random, -3, 3000);
        break;
    case 2:
        *(int32_t *[]){&w->segments, &w->top_keys}[random_between(random, 0, 1)] =
            random_chance(random, 0.5) ? -1 : 65;
        break;
    default:
        w->struct_size += (size_t)random_between(random, 1, 9);
    }
}

static void corrupt_args(struct attention_case *c, struct random *random)
{
    attn_args *a = &c->args;
    int64_t *counts[] = {&a->batch, &a->queries, &a->keys};
    switch (random_between(random, 0, 8)) {
    case 0:
        *counts[random_between(random, 0, 2)] = hostile_count(random);
        break;
    case 1:
        a->struct_size = (size_t)random_between(random, 0, 300);
        break;
    case 2:
        *(const void **[]){&a->q, &a->k, &a->v}[random_between(random, 0, 2)] = NULL;
        break;
    case 3:
        if (a->q && a->q == c->q.origin) /* once: two might come to an element */
            a->q = (const char *)a->q + random_between(random, 1, 3);
        break;
    case 4:
        a->query_offset = NULL;
        break;
    case 5:
        if (c->query_offset && c->k.extent[0] > 0)
            c->query_offset[0] = random_chance(random, 0.5) ? hostile_count(random)
                                                            : random_between(random, -99, 99);
        break;
    case 6:
        if (c->prefix_lm)
            c->prefix_lm[0] = hostile_count(random);
        break;
    case 7:
        if (c->excluded_keys && c->k.origin)
            c->excluded_keys[0] = random_between(random, -3, c->k.extent[2] + 3);
        break;
    default:
        if (c->head_windows && c->q.extent[1] > 0)
            c->head_windows[0].right = random_between(random, -4, 4);
    }
}

static void corrupt_statistics(struct attention_case *c, struct random *random)
{
    attn_statistics *s = &c->statistics;
    switch (random_between(random, 0, 5)) {
    case 0:
        s->struct_size = 0;
        break;
    case 1:
        s->weights_count = random_chance(random, 0.5) ? -s->weights_count : 0;
        break;
    case 2:
        if (s->pairs_count > 0)
            c->pairs[0].key = random_between(random, -2, c->k.extent[2] + 2);
        break;
    case 3:
        if (s->weights_count > 0) /* fewer rows fit into what was made for more */
            c->requests[0].row_end -= random_between(random, 0, 3);
        break;
    case 4:
        if (c->segment_ids && c->k.extent[0] * c->k.extent[2] > 0)
            c->segment_ids[0] = (uint8_t)random_between(random, 0, 255);
        break;
    default:
        c->args.statistics = NULL;
    }
}

static void corrupt(struct attention_case *c, struct random *random)
{
    int64_t kind = random_between(random, 0, 9);
    if (kind < 5)
        corrupt_problem(c, random);
    else if (kind < 6 && c->problem.statistics)
        corrupt_wanted(c, random);
    else if (kind < 7 && c->args.statistics)
        corrupt_statistics(c, random);
    else
        corrupt_args(c, random);
}

static bool outputs_untouched(const struct attention_case *c)
{
    bool untouched = true;
    for (int i = 0; i < c->outputs_count; i++)
        untouched &= guarded_untouched(&c->outputs[i]);
    return untouched;
}

/* Huge maxima may be planned; a workspace for them is not made here. */
static attn_status run(struct attention_case *c, attn_error *error, bool *too_large)
{
    attn_plan *plan = NULL;
    attn_status status = attn_plan_create(&plan, &c->problem, error);
    if (status == ATTN_OK) {
        *too_large = attn_plan_workspace(plan, 1) > (size_t)1 << 26;
        if (!*too_large)
            status = case_run_plan(c, plan, NULL, error);
    }
    attn_plan_destroy(plan);
    return status;
}

static int one(uint64_t seed)
{
    struct random random = {seed};
    struct attention_case *c = case_random(seed, CASE_SMALL);
    int64_t changes = random_between(&random, 1, 3);
    for (int64_t i = 0; i < changes; i++)
        corrupt(c, &random);
    attn_error error;
    bool too_large = false;
    int faults = 0;
    attn_status status = run(c, &error, &too_large);
    if (status == ATTN_OK && !too_large) {
        served_calls++;
        faults = case_compare(c, &record);
    } else if (status != ATTN_OK) {
        refused_calls++;
        faults = error.status != status || error.message[0] == 0 || !outputs_untouched(c) ||
                 status == ATTN_ERR_MEMORY || status == ATTN_ERR_WORKSPACE ||
                 status == ATTN_ERR_EXECUTOR || status == ATTN_ERR_CPU;
        if (faults) {
            case_describe(c, stderr);
            fprintf(stderr, "    %s: \"%s\"\n", attn_status_name(status), error.message);
        }
    }
    case_destroy(c);
    return faults;
}

static void corrupted_calls(void **state)
{
    (void)state;
    const char *seed = getenv("ATTN_CHECK_SEED");
    if (seed) {
        assert_int_equal(one(strtoull(seed, NULL, 10)), 0);
        return;
    }
    int failed = 0;
    for (int64_t i = 0; i < path_cases(4000) && failed < 5; i++)
        failed += one(31000000 + (uint64_t)i) != 0;
    printf("%lld calls refused, %lld served\n", (long long)refused_calls, (long long)served_calls);
    if (failed)
        fail_msg("%d corrupted calls were answered wrongly", failed);
    assert_true(refused_calls > served_calls / 4);
    assert_true(served_calls > refused_calls / 20);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    const struct CMUnitTest tests[] = {cmocka_unit_test(corrupted_calls)};
    status = cmocka_run_group_tests_name("check_fuzz", tests, NULL, NULL);
    record_print(&record);
    return status;
}
