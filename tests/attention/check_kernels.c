/* Each kernel of the path's tables, one by one, against plain loops in double: tails, strides, empty runs,
 * hostile numbers, and memory that ends where it must not be passed. What the forward pass never asks of
 * them is asked here. With the argument "bench" the kernels are measured instead. */
#include "attention/kernel_check.h"
#include "attention/path.h"

#include <attn/ceiling.h>

const struct attn_kernels *kernels;
const attn_dtype *kernel_dtypes;
int kernel_dtypes_count;

/* Every function of the table stands here once, so that one which nobody checks is noticed. */
static const struct {
    size_t at; /* in the table */
    const char *name;
    CMUnitTestFunction check, another;
} checks[] = {
#define KERNEL(name) offsetof(struct attn_kernels, name), #name
    {KERNEL(pack_queries), check_pack_queries_and_keys, check_pack_every_half},
    {KERNEL(pack_keys), check_pack_queries_and_keys, NULL},
    {KERNEL(pack_values), check_pack_values, NULL},
    {KERNEL(pack_queries_quads), check_pack_queries_quads, NULL},
    {KERNEL(non_finite), check_non_finite, NULL},
    {KERNEL(scores), check_scores, NULL},
    {KERNEL(scores_in_place), check_scores_in_place, NULL},
    {KERNEL(softmax), check_softmax, check_softmax_hostile},
    {KERNEL(softmax_entropy), check_softmax_entropy, NULL},
    {KERNEL(softmax_all), check_softmax_all, NULL},
    {KERNEL(values), check_values, NULL},
    {KERNEL(values_in_place), check_values_in_place, NULL},
    {KERNEL(weights), check_weights, NULL},
    {KERNEL(cached_queries), check_cached_scores, NULL},
    {KERNEL(cached_scores), check_cached_scores, NULL},
    {KERNEL(cached_values), check_cached_values, NULL},
    {KERNEL(widen_cached), check_widen_cached, NULL},
    {KERNEL(multiply_row), check_multiply_row, NULL},
    {KERNEL(softcap), check_softcap, NULL},
    {KERNEL(add_bias), check_add_bias, NULL},
    {KERNEL(add_distance), check_add_distance, NULL},
    {KERNEL(apply_mask), check_apply_mask, NULL},
    {KERNEL(range), check_range, NULL},
    {KERNEL(store_row), check_store_row, NULL},
    {KERNEL(rescale_row), check_rescale_row, NULL},
    {KERNEL(masks.look_at_bytes), check_look_at_masks, NULL},
    {KERNEL(masks.look_at_bias), check_look_at_masks, NULL},
    {KERNEL(masks.hide_by_bytes), check_hide_by_masks, NULL},
    {KERNEL(masks.hide_by_bias), check_hide_by_masks, NULL},
    {KERNEL(masks.gather), check_gather, NULL},
#undef KERNEL
};

enum { CHECKS = sizeof checks / sizeof checks[0] };

static void every_kernel_is_checked(void **state)
{
    (void)state;
    size_t at = offsetof(struct attn_kernels, pack_queries);
    for (int i = 0; i < CHECKS; i++, at += sizeof(void (*)(void)))
        if (checks[i].at != at)
            fail_msg("the table has a kernel before \"%s\" that is not checked", checks[i].name);
    if (at != sizeof *kernels)
        fail_msg("the table has kernels behind \"%s\" that are not checked",
                 checks[CHECKS - 1].name);
}

static int check_table(void)
{
    struct CMUnitTest tests[2 * CHECKS + 1] = {cmocka_unit_test(every_kernel_is_checked)};
    size_t count = 1;
    for (int i = 0; i < CHECKS; i++) {
        if (i == 0 || checks[i].check != checks[i - 1].check)
            tests[count++] = (struct CMUnitTest){checks[i].name, checks[i].check, NULL, NULL, NULL};
        if (checks[i].another)
            tests[count++] =
                (struct CMUnitTest){"more of the same", checks[i].another, NULL, NULL, NULL};
    }
    printf("kernels \"%s\"%s\n", kernels->name, kernels->pair == 2 ? ", pairs of bf16" : "");
    return _cmocka_run_group_tests("check_kernels", tests, count, NULL, NULL);
}

int main(int argc, char **argv)
{
    static const attn_dtype all[] = {ATTN_F32, ATTN_BF16, ATTN_F16}, pairs[] = {ATTN_BF16};
    const bool bench = argc > 1 && strcmp(argv[1], "bench") == 0;
    int status = path_check();
    if (status != 0)
        return status;
    enum attn_path path;
    if (attn_path_choose(&path, NULL) != ATTN_OK || !attn_kernels_of(path, ATTN_F32)) {
        fprintf(stderr, "the path has no kernels\n");
        return 1;
    }
    for (int d = 0; d < 3; d++) { /* the tables differ by dtype on some paths */
        kernels = attn_kernels_of(path, all[d]);
        if (d > 0 && kernels == attn_kernels_of(path, ATTN_F32))
            continue;
        kernel_dtypes = kernels->pair == 2 ? pairs : all;
        kernel_dtypes_count = kernels->pair == 2 ? 1 : 3;
        double peak = 0; /* stays so where it cannot be told */
        if (bench && kernels->pair == 2)
            attn_ceiling_bf16_dot(&peak, 0.5, NULL, NULL);
        else if (bench)
            attn_ceiling_fma(&peak, 0.5, NULL, NULL);
        if (bench)
            bench_kernels(peak);
        else
            status |= check_table();
    }
    return status;
}
