/* Random content for what only the plan is told: a rotary embedding, a limit of the workspace. */
#include "attention/attention_case.h"

#include <stdlib.h>

attn_rotary case_random_rotary(int64_t head_size, struct random *random)
{
    static const double bases[] = {10000, 10000, 500000, 1000000, 1.5};
    static const int64_t lengths[] = {64, 2048, 8192};
    const bool whole = random_chance(random, 0.6);
    attn_rotary r =
        attn_rotary_init(2 * (whole ? head_size / 2 : random_between(random, 1, head_size / 2)));
    r.pairing = random_chance(random, 0.5) ? ATTN_ROTARY_HALVES : ATTN_ROTARY_NEIGHBOURS;
    r.base = bases[random_between(random, 0, 4)];
    r.scaling =
        random_chance(random, 0.5)
            ? ATTN_ROTARY_PLAIN
            : (attn_rotary_scaling)random_between(random, ATTN_ROTARY_LINEAR, ATTN_ROTARY_LLAMA3);
    r.factor = 1 + 31 * random_unit(random) * random_unit(random);
    r.original_length = lengths[random_between(random, 0, 2)];
    r.whole_ramp = random_chance(random, 0.7);
    if (random_chance(random, 0.3))
        r.attention_factor = 0.5 + random_unit(random);
    return r;
}

static int64_t *random_places(int64_t count, struct random *random)
{
    int64_t *places = need((size_t)count, sizeof *places);
    const double far = random_chance(random, 0.1) ? 0x1p40 : 6000;
    for (int64_t i = 0; i < count; i++)
        places[i] = (int64_t)(far * (random_unit(random) - 0.1));
    return places;
}

void case_random_positions(struct attention_case *c, struct random *random)
{
    const bool ragged = c->problem.lengths >= ATTN_LENGTHS_RAGGED_I32;
    if (random_chance(random, 0.3))
        c->args.query_positions = c->query_positions =
            random_places(ragged ? c->q.extent[2] : c->args.batch * c->args.queries, random);
    if (random_chance(random, 0.3))
        c->args.key_positions = c->key_positions =
            random_places(ragged ? c->k.extent[2] : c->args.batch * c->args.keys, random);
}

/* As the plan tells it who refuses a limit of one byte; 0 if there is nothing to limit. */
static size_t least_limit(const struct attention_case *c, int threads)
{
    attn_problem problem = c->problem;
    problem.workspace_threads = threads;
    problem.workspace_limit = 1;
    attn_plan *plan = NULL;
    attn_error error;
    size_t least = 0;
    if (attn_plan_create(&plan, &problem, &error) == ATTN_ERR_VALUE) {
        static const char words[] = "threads is ";
        const char *told = strstr(error.message, words);
        if (told)
            least = (size_t)strtoull(told + sizeof words - 1, NULL, 10);
    }
    attn_plan_destroy(plan);
    return least;
}

void case_random_limit(struct attention_case *c, struct random *random)
{
    const int threads = (int)random_between(random, 1, 5);
    const double share = random_chance(random, 0.4) ? 0 : random_unit(random);
    const size_t least = least_limit(c, threads);
    attn_plan *plan = NULL;
    if (least == 0 || attn_plan_create(&plan, &c->problem, NULL) != ATTN_OK)
        return;
    const size_t all = attn_plan_workspace(plan, threads);
    attn_plan_destroy(plan);
    c->problem.workspace_threads = threads;
    c->problem.workspace_limit = least + (size_t)(share * (double)(all > least ? all - least : 0));
}
