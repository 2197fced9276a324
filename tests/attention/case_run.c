/* Running a case: workspace of exactly the promised size, at an odd address, full of garbage. */
#include "attention/attention_case.h"

#include <stdlib.h>

static void describe_layout(const char *name, const attn_layout *layout, FILE *file)
{
    static const char *const dtypes[] = {"?", "f32", "bf16", "f16"};
    fprintf(file, " %s %s(%lld %lld %lld %lld)", dtypes[layout->dtype], name,
            (long long)layout->stride[0], (long long)layout->stride[1],
            (long long)layout->stride[2], (long long)layout->stride[3]);
}

static void describe_strides(const char *name, const int64_t stride[3], FILE *file)
{
    fprintf(file, " %s (%lld %lld %lld)", name, (long long)stride[0], (long long)stride[1],
            (long long)stride[2]);
}

static void describe_lengths(const struct attention_case *c, FILE *file)
{
    static const char *const names[] = {"", "padded", "ragged i32", "ragged i64"};
    if (c->problem.lengths == ATTN_LENGTHS_EQUAL)
        return;
    fprintf(file, "  lengths %s:", names[c->problem.lengths]);
    for (int64_t b = 0; b < c->args.batch; b++)
        fprintf(file, " %lld/%lld", (long long)case_queries(c, b), (long long)case_keys(c, b));
    fprintf(file, "\n");
}

static void describe_rotary(const struct attention_case *c, FILE *file)
{
    static const char *const scalings[] = {"plain", "linear", "NTK", "YaRN", "Llama 3"};
    const attn_rotary *r = &c->rotary;
    if (c->problem.rotary)
        fprintf(file, "  rotary of %lld %s, base %g, %s, factor %g of %lld%s%s\n",
                (long long)r->size, r->pairing == ATTN_ROTARY_HALVES ? "halves" : "neighbours",
                r->base, scalings[r->scaling], r->factor, (long long)r->original_length,
                c->query_positions ? ", query positions" : "",
                c->key_positions ? ", key positions" : "");
}

static void describe_scores(const struct attention_case *c, FILE *file)
{
    const attn_scores *s = &c->scores;
    for (int64_t h = 0; c->sinks && h < c->problem.heads; h++)
        fprintf(file, "%s %g", h ? "" : "  sinks", (double)c->sinks[h]);
    if (c->sinks)
        fprintf(file, "\n");
    if (!c->problem.scores)
        return;
    fprintf(file, "  scores%s:", s->constant ? ", promised" : "");
    if (s->mask)
        describe_strides(s->mask == ATTN_MASK_BITS ? "bits" : "bytes", s->mask_stride, file);
    if (s->bias)
        describe_strides(s->bias == ATTN_F32 ? "f32 bias" : "narrow bias", s->bias_stride, file);
    for (int64_t h = 0; s->alibi && h < c->problem.heads; h++)
        fprintf(file, " slope %g", (double)c->alibi_slopes[h]);
    if (s->documents)
        fprintf(file, " documents");
    if (s->block_rows)
        fprintf(file, " blocks of %lld x %lld", (long long)s->block_rows, (long long)s->block_keys);
    if (s->function)
        fprintf(file, " function (%g s + %g noise, hides 1/%lld%s)", c->function.factor,
                c->function.offset, (long long)c->function.hides,
                c->function.poisons ? ", NaN where hidden" : "");
    fprintf(file, "\n");
}

void case_describe(const struct attention_case *c, FILE *file)
{
    const attn_problem *p = &c->problem;
    const attn_args *a = &c->args;
    fprintf(file,
            "  seed %llu: B %lld/%lld Hq %lld Hkv %lld Nq %lld/%lld Nk %lld/%lld Dk %lld Dv %lld\n",
            (unsigned long long)c->seed, (long long)a->batch, (long long)p->batch,
            (long long)p->heads, (long long)p->kv_heads, (long long)a->queries,
            (long long)p->queries, (long long)a->keys, (long long)p->keys, (long long)p->head_size,
            (long long)p->head_size_v);
    fprintf(file, "  strides");
    describe_layout("q", &p->q, file);
    if (!p->cache) { /* beside one they are anything */
        describe_layout("k", &p->k, file);
        describe_layout("v", &p->v, file);
    }
    describe_layout("o", &p->o, file);
    fprintf(file, "%s%s\n", c->packed ? " packed" : "", p->cache ? " over a cache" : "");
    fprintf(file, "  scale %g softcap %g causal %d alignment %d window (%lld %lld %lld)",
            (double)p->scale, (double)p->softcap, p->causal, (int)p->alignment,
            (long long)p->window.left, (long long)p->window.right, (long long)p->window.prefix);
    for (int64_t b = 0; c->query_offset && b < a->batch; b++)
        fprintf(file, " offset %lld", (long long)c->query_offset[b]);
    for (int64_t h = 0; c->head_windows && h < p->heads; h++)
        fprintf(file, " head window (%lld %lld %lld)", (long long)c->head_windows[h].left,
                (long long)c->head_windows[h].right, (long long)c->head_windows[h].prefix);
    if (p->prefix_lm)
        fprintf(file, " prefix_lm, strides (%lld %lld)", (long long)a->prefix_lm_stride[0],
                (long long)a->prefix_lm_stride[1]);
    fprintf(file, " excluded keys %lld%s", (long long)p->excluded_keys,
            p->unnormalised ? " unnormalised" : "");
    if (p->workspace_limit > 0)
        fprintf(file, " limit %zu for %d threads", p->workspace_limit, p->workspace_threads);
    fprintf(file, "\n");
    describe_lengths(c, file);
    describe_rotary(c, file);
    describe_scores(c, file);
    fprintf(file,
            "  statistics %s set 0x%x first %d local %d segments %d top %d; o %s, lse %s, %s; %s\n",
            p->statistics ? "yes" : "no", p->statistics ? (unsigned)c->wanted.set : 0,
            (int)c->wanted.first_keys, (int)c->wanted.local_distance, (int)c->wanted.segments,
            (int)c->wanted.top_keys, a->o ? "yes" : "no", a->lse ? "yes" : "no",
            c->one_line ? "attn_forward" : "plan and run", c->values);
}

attn_status case_run_plan(struct attention_case *c, const attn_plan *plan,
                          const attn_executor *executor, attn_error *error)
{
    enum { BAND = 128 };
    size_t size = attn_plan_workspace(plan, executor ? executor->threads : 1);
    size_t shift = (size_t)(c->seed % 67);
    if (c->problem.workspace_limit > 0 &&
        attn_plan_workspace(plan, c->problem.workspace_threads) > c->problem.workspace_limit) {
        fprintf(stderr, "the workspace is larger than its limit\n");
        return ATTN_ERR_WORKSPACE;
    }
    unsigned char *block = malloc(size + shift + BAND);
    if (!block)
        return ATTN_ERR_MEMORY;
    memset(block, 0xff, size + shift + BAND); /* every float a NaN, every count negative */
    attn_status status = attn_run(plan, &c->args, block + shift, size, executor, error);
    for (size_t i = 0; i < shift + BAND; i++) {
        unsigned char byte = i < shift ? block[i] : block[size + i];
        if (byte == 0xff)
            continue;
        fprintf(stderr, "the workspace was overrun %s\n", i < shift ? "before" : "behind");
        status = ATTN_ERR_WORKSPACE;
        break;
    }
    free(block);
    return status;
}

attn_status case_run(struct attention_case *c, const attn_executor *executor, attn_error *error)
{
    if (c->one_line)
        return attn_forward(&c->problem, &c->args, executor, error);
    attn_plan *plan = NULL;
    attn_status status = attn_plan_create(&plan, &c->problem, error);
    if (status == ATTN_OK)
        status = case_run_plan(c, plan, executor, error);
    attn_plan_destroy(plan);
    return status;
}

bool case_multiplies_pairs(const struct attention_case *c)
{
    char text[2048] = "";
    attn_plan *plan = NULL;
    if (attn_plan_create(&plan, &c->problem, NULL) == ATTN_OK)
        attn_plan_explain(plan, text, sizeof text);
    attn_plan_destroy(plan);
    return strstr(text, "multiplied in pairs") != NULL;
}
