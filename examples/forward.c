/* Causal attention of 8 query heads over 2 key heads, with the entropy of every row from the same pass. */
#include <attn/attn.h>
#include <attn/stats.h>
#include <stdio.h>

enum { HEADS = 8, KV_HEADS = 2, LENGTH = 1000, SIZE = 64 };
static float q[HEADS][LENGTH][SIZE], k[KV_HEADS][LENGTH][SIZE], v[KV_HEADS][LENGTH][SIZE];
static float o[HEADS][LENGTH][SIZE], entropy[HEADS][LENGTH];

int main(void)
{
    attn_statistics_wanted wanted = attn_statistics_wanted_init(ATTN_STAT_ENTROPY);
    attn_problem problem = attn_problem_init(1, HEADS, KV_HEADS, LENGTH, LENGTH, SIZE);
    problem.causal = true;
    problem.statistics = &wanted;

    attn_statistics statistics = attn_statistics_init();
    statistics.entropy = &entropy[0][0];
    attn_args args = attn_args_init(&problem);
    args.q = q, args.k = k, args.v = v, args.o = o;
    args.statistics = &statistics;

    attn_error error;
    if (attn_forward(&problem, &args, attn_default_executor(), &error) != ATTN_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    printf("the last query sees 1000 keys: %.4f nats\n", (double)entropy[0][LENGTH - 1]);
    return 0; /* all scores are 0 here, so that it is ln 1000 = 6.9078 */
}
