/* Generation over a paged cache. A prompt is read once; a second sequence begins as the first and shares its
 * pages; then both go on, a token each in every step. One layer of attention over vectors made of token
 * numbers stands for the model. */
#include <attn/kv.h>
#include <attn/rotary.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { B = 2, HEADS = 4, KV_HEADS = 2, SIZE = 32, PROMPT = 40, STEPS = 24, PAGE = 16, WORDS = 50 };
static float q[B * HEADS * SIZE], o[B * HEADS * SIZE], k[KV_HEADS * PROMPT * SIZE];
static float v[KV_HEADS * PROMPT * SIZE];
static attn_error error;

static void must(attn_status status)
{
    if (status != ATTN_OK)
        exit((fprintf(stderr, "%s\n", error.message), 1));
}

/* What a projection would make: [heads, tokens, SIZE] of words. */
static void project(float *x, const int *words, int tokens, int heads)
{
    for (int i = 0; i < heads * tokens * SIZE; i++)
        x[i] = sinf((float)((words[i / SIZE % tokens] + 1) * (i / SIZE / tokens + 3) * (i % SIZE)));
}

static int likeliest(const float *heads)
{
    float x[HEADS * SIZE], best = -INFINITY;
    int word = 0;
    for (int w = 0; w < WORDS; w++) {
        float likeness = 0;
        project(x, &w, 1, HEADS);
        for (int i = 0; i < HEADS * SIZE; i++)
            likeness += heads[i] * x[i];
        if (likeness > best)
            best = likeness, word = w;
    }
    return word;
}

int main(void)
{
    attn_rotary rotary = attn_rotary_init(SIZE);
    attn_kv_layer layer = attn_kv_layer_init(ATTN_F16, KV_HEADS, SIZE, PAGE);
    layer.rotary = &rotary; /* keys turn as they are stored */
    attn_kv_config config = attn_kv_config_init(&layer, 1, B, PROMPT + STEPS);
    attn_kv *kv;
    must(attn_kv_create(&kv, &config, NULL, 0, &error));

    int prompt[PROMPT + 1], word[B] = {7, 11}; /* where they part */
    for (int i = 0; i <= PROMPT; i++)
        prompt[i] = i * i % WORDS;
    project(k, prompt, PROMPT, KV_HEADS);
    project(v, prompt + 1, PROMPT, KV_HEADS); /* the word behind each */
    attn_kv_rows rows = attn_kv_rows_init(1, KV_HEADS, PROMPT, SIZE, ATTN_F32);
    rows.k = k, rows.v = v;
    must(attn_kv_append(kv, 0, &rows, attn_default_executor(), &error));
    must(attn_kv_fork(kv, 0, 1, &error));

    attn_kv_layout layout;
    must(attn_kv_get_layout(kv, 0, &layout, &error));
    attn_problem problem = attn_problem_init(B, HEADS, KV_HEADS, 1, PROMPT + STEPS, SIZE);
    problem.cache = &layout;
    attn_plan *plan;
    must(attn_plan_create(&plan, &problem, &error));
    const attn_executor *all = attn_default_executor();
    size_t size = attn_plan_workspace(plan, all->threads);
    void *workspace = malloc(size);
    attn_kv_view view;
    attn_args args = attn_args_init(&problem);
    args.q = q, args.o = o, args.cache = &view;

    rows = attn_kv_rows_init(B, KV_HEADS, 1, SIZE, ATTN_F32);
    rows.k = k, rows.v = v;
    for (int step = 0; step < STEPS; step++) {
        int64_t at[B] = {attn_kv_length(kv, 0, 0), attn_kv_length(kv, 0, 1)};
        for (int b = 0; b < B; b++) {
            int behind = (word[b] * 3 + 1) % WORDS;
            project(k + b * KV_HEADS * SIZE, &word[b], 1, KV_HEADS);
            project(v + b * KV_HEADS * SIZE, &behind, 1, KV_HEADS);
            project(q + b * HEADS * SIZE, &word[b], 1, HEADS);
        }
        must(attn_rotary_apply(&rotary, B, HEADS, 1, SIZE, q, &problem.q, q, &problem.q, at, NULL,
                               &error));
        must(attn_kv_append(kv, 0, &rows, all, &error));
        must(attn_kv_get_view(kv, 0, NULL, B, &view, &error));
        must(attn_run(plan, &args, workspace, size, all, &error));
        for (int b = 0; b < B; b++)
            printf("%d%s", word[b] = likeliest(o + b * HEADS * SIZE), b == 0 ? " | " : "\n");
    }
    attn_kv_usage usage = {.struct_size = sizeof usage};
    must(attn_kv_get_usage(kv, 0, &usage, &error));
    printf("2 sequences of %d tokens in %d pages, %d of them shared\n",
           (int)attn_kv_length(kv, 0, 0), (int)usage.pages_used, (int)usage.pages_shared);
    free(workspace);
    attn_plan_destroy(plan);
    attn_kv_destroy(kv);
    return 0;
}
