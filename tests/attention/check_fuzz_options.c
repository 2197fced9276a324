/* Calls with random options, then a few fields of them made wrong at random: lengths, sinks, masks, biases,
 * slopes, documents, block lists, dtypes. What the library refuses it refuses with a sentence and untouched
 * outputs; what it serves must be what plain loops give. Changes leave every address that the caller promises
 * within its arrays. */
#include "attention/path.h"
#include "attention/plain_call.h"
#include "attention/random.h"
#include "attn_ref.h"

static int64_t refused_calls, served_calls;

static void fill(void *array, attn_dtype dtype, int64_t count, struct random *random)
{
    for (int64_t i = 0; i < count; i++)
        attn_ref_store(array, dtype, i, random_normal(random));
}

/* Masks as bits: a row has one byte. */
static void choose_scores(struct call *c, struct random *random)
{
    attn_scores_args *a = &c->scores_args;
    c->scores.mask = (attn_mask_kind)random_between(random, 0, 2);
    for (int i = 0; i < B * HQ * NQ * NK; i++)
        c->mask[i] = (uint8_t)(c->scores.mask == ATTN_MASK_BITS ? random_bits(random) & 0xff
                                                                : random_bits(random) & 3);
    if (c->scores.mask == ATTN_MASK_BITS)
        c->scores.mask_stride[0] = HQ * NQ, c->scores.mask_stride[1] = NQ,
        c->scores.mask_stride[2] = 1;
    if (c->scores.mask == ATTN_MASK_NONE)
        a->mask = NULL;
    c->scores.bias = random_chance(random, 0.3)   ? (attn_dtype)0
                     : random_chance(random, 0.5) ? ATTN_F32
                                                  : c->problem.q.dtype;
    for (int i = 0; c->scores.bias && i < B * HQ * NQ * NK; i++)
        attn_ref_store(c->bias, c->scores.bias, i,
                       random_chance(random, 0.1) ? -INFINITY : random_normal(random));
    if (!c->scores.bias)
        a->bias = NULL;
    for (int axis = 0; axis < 3; axis++) { /* broadcasts */
        c->scores.mask_stride[axis] *= random_chance(random, 0.7);
        c->scores.bias_stride[axis] *= random_chance(random, 0.7);
    }
    if (random_chance(random, 0.5))
        c->scores.alibi = false, a->alibi_slopes = NULL;
    for (int i = 0; i < B * NQ; i++)
        c->query_documents[i] = (int32_t)random_between(random, 0, 1);
    for (int i = 0; i < B * NK; i++)
        c->key_documents[i] = (int32_t)random_between(random, 0, 1);
    if (random_chance(random, 0.5))
        c->scores.documents = false, a->query_documents = a->key_documents = NULL;
    if (random_chance(random, 0.5)) {
        c->scores.block_rows = c->scores.block_keys = 0;
        a->block_starts = NULL, a->block_indices = NULL;
    }
    if (random_chance(random, 0.3))
        c->problem.scores = NULL, c->args.scores = NULL;
}

static void choose_options(struct call *c, struct random *random)
{
    attn_problem *p = &c->problem;
    attn_args *a = &c->args;
    const int64_t way = random_between(random, 0, 3);
    if (way == ATTN_LENGTHS_PADDED)
        make_padded(c);
    if (way >= ATTN_LENGTHS_RAGGED_I32)
        make_ragged(c, (attn_lengths)way);
    const attn_dtype dtype = (attn_dtype)random_between(random, 1, 3);
    p->q.dtype = p->k.dtype = p->v.dtype = p->o.dtype = dtype;
    if (random_chance(random, 0.3))
        p->o.dtype = ATTN_F32;
    fill(c->q, dtype, B * HQ * NQ * D, random);
    fill(c->k, dtype, B * HKV * NK * D, random);
    fill(c->v, dtype, B * HKV * NK * D, random);
    p->causal = random_chance(random, 0.5);
    if (random_chance(random, 0.5))
        p->alignment = (attn_alignment)random_between(random, 0, 1), a->query_offset = NULL;
    if (random_chance(random, 0.5))
        p->head_windows = false, a->head_windows = NULL;
    if (random_chance(random, 0.5))
        p->prefix_lm = false, a->prefix_lm = NULL;
    if (random_chance(random, 0.5))
        p->excluded_keys = 0, a->excluded_keys = NULL;
    if (random_chance(random, 0.5))
        p->sinks = false, a->sinks = a->lse_with_sink = NULL;
    if (random_chance(random, 0.3))
        p->softcap = 3.0f;
    for (int b = 0; b < B; b++)
        c->offsets[b] = random_between(random, -3, 9),
        c->prefixes[b] = random_between(random, 0, 9);
    c->wanted.set = random_chance(random, 0.5) ? (uint32_t)random_bits(random) & 0x7fffff : 0;
    choose_scores(c, random);
}

static int64_t hostile(struct random *random)
{
    static const int64_t numbers[] = {-1,        INT64_MIN, INT64_MAX, INT64_C(1) << 32,
                                      INT32_MAX, INT32_MIN};
    return random_chance(random, 0.6) ? random_between(random, -1, 9)
                                      : numbers[random_between(random, 0, 5)];
}

static float hostile_float(struct random *random)
{
    static const float numbers[] = {NAN, INFINITY, -INFINITY, 0.0f, -1.5f, 2.0f};
    return numbers[random_between(random, 0, 5)];
}

static void corrupt_problem(struct call *c, struct random *random)
{
    attn_layout *const layouts[] = {&c->problem.q, &c->problem.k, &c->problem.v, &c->problem.o};
    switch (random_between(random, 0, 8)) {
    case 0: /* no dtype of its own fits what is in q */
        layouts[random_between(random, 1, 3)]->dtype = (attn_dtype)random_between(random, -1, 4);
        break;
    case 1:
        if (c->problem.lengths < ATTN_LENGTHS_RAGGED_I32)
            c->problem.lengths = (attn_lengths)random_between(random, -1, 9);
        break;
    case 2:
        *(random_chance(random, 0.5) ? &c->problem.total_queries : &c->problem.total_keys) =
            hostile(random);
        break;
    case 3:
        c->problem.sinks = !c->problem.sinks;
        break;
    case 4:
        c->scores.struct_size += (size_t)random_between(random, 0, 2);
        break;
    case 5:
        c->scores.mask = (attn_mask_kind)(random_chance(random, 0.5) ? 3 : 99);
        break;
    case 6:
        c->scores.bias = (attn_dtype)random_between(random, 4, 9);
        break;
    case 7:
        (random_chance(random, 0.5) ? c->scores.mask_stride
                                    : c->scores.bias_stride)[random_between(random, 0, 2)] =
            random_chance(random, 0.5) ? INT64_MAX : INT64_MIN;
        break;
    default: /* the lists are longer than these blocks need, or refused */
        c->scores.block_rows = random_between(random, 2, 9);
        c->scores.block_keys = random_chance(random, 0.5) ? 3 : hostile(random);
    }
}

static void corrupt_args(struct call *c, struct random *random)
{
    attn_args *a = &c->args;
    const void **const pointers[] = {&a->q, &a->k, &a->v, &a->cu_seqlens_q, &a->cu_seqlens_k};
    const void **const shaping[] = {&c->scores_args.mask, &c->scores_args.bias};
    switch (random_between(random, 0, 4)) {
    case 0:
        *pointers[random_between(random, 0, 4)] = NULL;
        break;
    case 1:
        *shaping[random_between(random, 0, 1)] = NULL;
        break;
    case 2:
        *(const int64_t **[]){&a->query_lengths, &a->key_lengths}[random_between(random, 0, 1)] =
            random_chance(random, 0.5) ? NULL : c->wide_q;
        break;
    case 3:
        c->scores_args.struct_size += (size_t)random_between(random, 0, 1);
        break;
    default:
        a->sinks = random_chance(random, 0.5) ? NULL : shifted(c->sinks, 1);
    }
}

static void corrupt_contents(struct call *c, struct random *random)
{
    const int64_t at = random_between(random, 0, B);
    switch (random_between(random, 0, 8)) {
    case 0:
        c->query_lengths[at % B] = hostile(random);
        break;
    case 1:
        c->key_lengths[at % B] = hostile(random);
        break;
    case 2:
        c->wide_q[at] = hostile(random), c->narrow_q[at] = (int32_t)random_between(random, -2, 11);
        break;
    case 3:
        c->wide_k[at] = hostile(random), c->narrow_k[at] = (int32_t)random_between(random, -2, 15);
        break;
    case 4:
        c->sinks[random_between(random, 0, HQ - 1)] = hostile_float(random);
        break;
    case 5:
        c->slopes[random_between(random, 0, HQ - 1)] = hostile_float(random);
        break;
    case 6:
        c->block_starts[random_between(random, 0, HQ * ROW_BLOCKS)] = hostile(random);
        break;
    case 7:
        c->block_indices[random_between(random, 0, HQ * ROW_BLOCKS * KEY_BLOCKS - 1)] =
            (int32_t)hostile(random);
        break;
    default: /* shorter lists */
        for (int64_t i = at + 1; i <= HQ * ROW_BLOCKS; i++)
            c->block_starts[i] -= c->block_starts[i] > INT64_MIN; /* may be hostile already */
    }
}

static bool guards_whole(const struct call *c)
{
    size_t index;
    for (int i = 0; i < c->count; i++)
        if (guarded_fault(&c->outputs[i], &index))
            return false;
    return true;
}

static bool one(uint64_t seed)
{
    static struct call c;
    struct random random = {seed};
    attn_error error;
    begin(&c);
    choose_options(&c, &random);
    for (int64_t i = random_between(&random, 0, 2); i > 0; i--) {
        int64_t kind = random_between(&random, 0, 2);
        (kind == 0 ? corrupt_problem : kind == 1 ? corrupt_args : corrupt_contents)(&c, &random);
    }
    attn_status status = attn_forward(&c.problem, &c.args, NULL, &error);
    bool fine;
    if (status == ATTN_OK) {
        served_calls++;
        fine = plain_call_agrees(&c) && guards_whole(&c);
    } else {
        refused_calls++;
        fine = error.status == status && error.message[0] && outputs_untouched(&c) &&
               status != ATTN_ERR_MEMORY && status != ATTN_ERR_WORKSPACE &&
               status != ATTN_ERR_EXECUTOR && status != ATTN_ERR_CPU;
    }
    if (!fine)
        fprintf(stderr, "  seed %llu, lengths %d, dtypes %d and %d, mask %d, bias %d: %s \"%s\"\n",
                (unsigned long long)seed, (int)c.problem.lengths, (int)c.problem.q.dtype,
                (int)c.problem.o.dtype, (int)c.scores.mask, (int)c.scores.bias,
                attn_status_name(status), error.message);
    reset_outputs(&c);
    return fine;
}

static void random_calls(void **state)
{
    (void)state;
    const char *seed = getenv("ATTN_CHECK_SEED");
    if (seed) {
        assert_true(one(strtoull(seed, NULL, 10)));
        return;
    }
    int failed = 0;
    for (int64_t i = 0; i < path_cases(12000) && failed < 5; i++)
        failed += !one(61000000 + (uint64_t)i);
    printf("%lld calls refused, %lld served\n", (long long)refused_calls, (long long)served_calls);
    if (failed)
        fail_msg("%d calls were answered wrongly", failed);
    assert_true(4 * refused_calls > served_calls);
    assert_true(4 * served_calls > refused_calls);
}

int main(void)
{
    int status = path_check();
    if (status != 0)
        return status;
    prepare_calls();
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_calls)};
    status = cmocka_run_group_tests_name("check_fuzz_options", tests, NULL, NULL);
    destroy_calls();
    return status;
}
