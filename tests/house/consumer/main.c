/* A program of somebody else's that uses attn as it was installed; check_install.py builds it in every
 * way there is. With q = 0 every key weighs the same, so that o is the mean of v. */
#include <attn/attn.h>

#include <stdio.h>

int main(void)
{
    float q[2 * 4] = {0}, k[4 * 4] = {1, 2, 3, 4, 5, 6, 7, 8}, v[4 * 4], o[2 * 4];
    for (int i = 0; i < 16; i++)
        v[i] = (float)i;

    attn_problem problem = attn_problem_init(1, 1, 1, 2, 4, 4);
    attn_args args = attn_args_init(&problem);
    args.q = q, args.k = k, args.v = v, args.o = o;
    attn_error error;
    if (attn_forward(&problem, &args, attn_default_executor(), &error) != ATTN_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    for (int i = 0; i < 8; i++) {
        float mean = 6.0f + (float)(i % 4);
        if (o[i] < mean - 1e-4f || o[i] > mean + 1e-4f) {
            fprintf(stderr, "o[%d] is %g, not %g\n", i, (double)o[i], (double)mean);
            return 1;
        }
    }
    printf("attn %s works\n", attn_version());
    return 0;
}
