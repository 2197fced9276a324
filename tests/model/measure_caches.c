/* What a type of cache costs on a real text: not a test, and not installed.
 *
 *     measure_caches MODEL.gguf TEXT [TOKENS]        (default: 986)
 *
 * First the NLL of the text in one pass, and by how much it changes (mean over the tokens, and the worst one) when the
 * text is read through a session's cache, in steps of 64 tokens and token by token, and in one pass whose keys, values or
 * both are rounded to f16 before attention: what of an f16 cache's change is rounding itself.
 *
 * Then the error of attention on what the model's layers really compute: the output over a cache of each type, less
 * that of one pass in f32, root mean square relative to the output's own; over all layers, and in the worst. A cache
 * with scales per key channel is given the largest size of each channel in this very text. */
#include "model/session.h"

#include "base/text_file.h"
#include "tokenizer/tokenizer.h"

#include <attn/kv.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 986, STEP = 64, PAGE = 32 };

static const struct kind {
    const char *name;
    attn_dtype type;
    bool channels, contiguous;
} kinds[] = {
    {"f32", ATTN_F32, false, false},
    {"f32, contiguous", ATTN_F32, false, true},
    {"f16", ATTN_F16, false, false},
    {"f16, contiguous", ATTN_F16, false, true},
    {"bf16", ATTN_BF16, false, false},
    {"int8", ATTN_INT8, false, false},
    {"int8, scales of key channels", ATTN_INT8, true, false},
    {"int4", ATTN_INT4, false, false},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

struct measured {
    struct model *model;
    const struct model_description *description;
    const attn_executor *executor;
    const int32_t *tokens;
    int64_t count;
    const float *nll;              /* of one pass */
    double squares[KINDS], output; /* of this and all layers before */
    double worst[KINDS];
    int64_t worst_layer[KINDS];
};

/* ---- negative log likelihood ---- */

static void tell_change(const struct measured *m, const char *name, const float *nll)
{
    double sum = 0, worst = 0;
    for (int64_t i = 0; i + 1 < m->count; i++) {
        double change = (double)nll[i] - (double)m->nll[i];
        sum += change;
        worst = fabs(change) > worst ? fabs(change) : worst;
    }
    printf("  %-36s %+10.2e %10.2e", name, sum / (double)(m->count - 1), worst);
}

static bool read_through_cache(const struct measured *m, attn_dtype type, int64_t size, float *nll,
                               int64_t *bytes, struct failure *f)
{
    struct session_options options = session_options_init();
    options.capacity = m->count;
    options.cache_type = type;
    options.executor = m->executor;
    struct session *session;
    if (!session_create(&session, m->model, &options, f))
        return false;
    bool ok = true;
    for (int64_t first = 0; ok && first < m->count; first += size) {
        struct session_wanted wanted = session_wanted_init();
        int64_t count = m->count - first < size ? m->count - first : size;
        wanted.nll = nll + first;
        wanted.follows = first + count < m->count ? m->tokens[first + count] : -1;
        ok = session_step(session, m->tokens + first, count, &wanted, f);
    }
    *bytes = session_cache_bytes(session);
    session_free(session);
    return ok;
}

static bool measure_reading(const struct measured *m, float *nll, struct failure *f)
{
    static const int64_t sizes[] = {STEP, 1};
    for (int i = 0; i < KINDS; i++) {
        if (kinds[i].channels || kinds[i].contiguous)
            continue; /* a session has pages alone */
        for (int j = 0; j < 2; j++) {
            char name[64];
            int64_t bytes;
            if (!read_through_cache(m, kinds[i].type, sizes[j], nll, &bytes, f))
                return false;
            snprintf(name, sizeof name, "%s, steps of %lld", kinds[i].name, (long long)sizes[j]);
            tell_change(m, name, nll);
            printf("  %6.1f MB\n", (double)bytes / 1e6);
            fflush(stdout);
        }
    }
    return true;
}

/* ---- one pass of rounded keys and values ---- */

/* To the nearest number of f16, ties to even; |x| < 65504. */
static float rounded(float x)
{
    int exponent;
    frexpf(x, &exponent);
    float unit = ldexpf(1, (exponent < -13 ? -13 : exponent) - 11);
    return rintf(x / unit) * unit;
}

struct rounding {
    bool keys, values;
    const struct model_description *description;
    int64_t count;
    float largest_key, largest_value;
};

static float round_all(const void *data, int64_t count)
{
    float *x = (float *)data, largest = 0; /* the run's own buffer, which attention reads next */
    for (int64_t i = 0; i < count; i++) {
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
        x[i] = rounded(x[i]);
    }
    return largest;
}

static bool round_arguments(void *context, int64_t layer, attn_args *args, struct failure *f)
{
    (void)layer, (void)f;
    struct rounding *r = context;
    const struct model_description *d = r->description;
    int64_t rows = r->count * d->kv_heads;
    if (r->keys)
        r->largest_key = fmaxf(r->largest_key, round_all(args->k, rows * d->key_size));
    if (r->values)
        r->largest_value = fmaxf(r->largest_value, round_all(args->v, rows * d->value_size));
    return true;
}

static bool measure_rounding(const struct measured *m, float *nll, struct failure *f)
{
    static const char *const names[] = {"", "one pass, keys as f16", "one pass, values as f16",
                                        "one pass, keys and values as f16"};
    for (int which = 1; which <= 3; which++) {
        struct rounding rounding = {.keys = which & 1,
                                    .values = which & 2,
                                    .description = m->description,
                                    .count = m->count};
        const struct model_observer observer = {.context = &rounding,
                                                .attention_arguments = round_arguments};
        struct model_request request = model_request_init();
        request.executor = m->executor;
        request.observer = &observer;
        request.nll = nll;
        if (!model_run(m->model, m->tokens, m->count, &request, f))
            return false;
        tell_change(m, names[which], nll);
        printf("  largest key %.4g, value %.4g\n", (double)rounding.largest_key,
               (double)rounding.largest_value);
    }
    return true;
}

/* ---- the error of attention ---- */

static void channel_scales(const float *k, int64_t tokens, int64_t channels, float *scales)
{
    for (int64_t c = 0; c < channels; c++)
        scales[c] = 1e-30f;
    for (int64_t i = 0; i < tokens * channels; i++)
        scales[i % channels] = fmaxf(scales[i % channels], fabsf(k[i]));
}

/* The same attention with keys and values in a cache, into o. */
static bool attend_cached(const struct measured *m, const struct kind *kind,
                          const struct model_attention *a, const float *scales, float *o,
                          struct failure *f)
{
    const attn_problem *given = a->problem;
    int64_t kv_heads = m->description->kv_heads;
    attn_kv_layer layer = attn_kv_layer_init(kind->type, kv_heads, given->head_size,
                                             kind->contiguous ? m->count : PAGE);
    layer.head_size_v = given->head_size_v;
    layer.k_channel_scales = kind->channels ? scales : NULL;
    attn_kv_config config = attn_kv_config_init(&layer, 1, 1, m->count);
    attn_kv_rows rows = attn_kv_rows_init(1, kv_heads, m->count, given->head_size, ATTN_F32);
    rows.k_layout = given->k, rows.v_layout = given->v;
    rows.k = a->args->k, rows.v = a->args->v;
    attn_kv *kv;
    attn_error error;
    attn_kv_layout layout;
    attn_kv_view view;
    if (attn_kv_create(&kv, &config, NULL, 0, &error) != ATTN_OK)
        return fail(f, "%s", error.message);
    attn_problem problem = *given;
    problem.cache = &layout;
    attn_args args = *a->args;
    args.cache = &view;
    args.k = args.v = NULL;
    args.o = o;
    args.lse = NULL;
    bool ok = attn_kv_append(kv, 0, &rows, NULL, &error) == ATTN_OK &&
              attn_kv_get_layout(kv, 0, &layout, &error) == ATTN_OK &&
              attn_kv_get_view(kv, 0, NULL, 1, &view, &error) == ATTN_OK &&
              attn_forward(&problem, &args, a->executor, &error) == ATTN_OK;
    attn_kv_destroy(kv);
    return ok || fail(f, "layer %lld, %s: %s", (long long)a->layer, kind->name, error.message);
}

static bool compare_layer(void *context, const struct model_attention *a, struct failure *f)
{
    struct measured *m = context;
    int64_t size = m->count * m->description->heads * a->problem->head_size_v;
    int64_t channels = m->description->kv_heads * a->problem->head_size;
    float *o = malloc((size_t)size * sizeof *o),
          *scales = malloc((size_t)channels * sizeof *scales);
    bool ok = (o != NULL && scales != NULL) || fail(f, "out of memory");
    if (ok)
        channel_scales(a->args->k, m->count, channels, scales);
    const float *exact = a->args->o;
    double output = 0;
    for (int64_t j = 0; j < size; j++)
        output += (double)exact[j] * (double)exact[j];
    for (int i = 0; ok && i < KINDS; i++) {
        double squares = 0;
        ok = attend_cached(m, &kinds[i], a, scales, o, f);
        for (int64_t j = 0; ok && j < size; j++)
            squares += pow((double)o[j] - (double)exact[j], 2);
        double error = sqrt(squares / output);
        m->squares[i] += squares / output;
        if (error > m->worst[i])
            m->worst[i] = error, m->worst_layer[i] = a->layer;
    }
    m->output += 1;
    free(o), free(scales);
    return ok;
}

static bool measure_attention(struct measured *m, float *nll, struct failure *f)
{
    const struct model_observer observer = {.context = m, .after_attention = compare_layer};
    struct model_request request = model_request_init();
    request.executor = m->executor;
    request.observer = &observer;
    request.nll = nll;
    if (!model_run(m->model, m->tokens, m->count, &request, f))
        return false;
    printf("\noutput of attention, relative root mean square error\n  %-36s %10s %10s\n", "",
           "all layers", "worst");
    for (int i = 0; i < KINDS; i++)
        printf("  %-36s %10.2e %10.2e  (layer %lld)\n", kinds[i].name,
               sqrt(m->squares[i] / m->output), m->worst[i], (long long)m->worst_layer[i]);
    return true;
}

/* ---- the program ---- */

static bool measure(struct measured *m, struct failure *f)
{
    float *one = malloc((size_t)m->count * sizeof *one),
          *nll = malloc((size_t)m->count * sizeof *nll);
    struct model_request request = model_request_init();
    request.executor = m->executor;
    request.nll = one;
    bool ok = (one != NULL && nll != NULL) || fail(f, "out of memory");
    ok = ok && model_run(m->model, m->tokens, m->count, &request, f);
    if (ok) {
        double sum = 0;
        for (int64_t i = 0; i + 1 < m->count; i++)
            sum += (double)one[i];
        printf("%lld tokens, NLL %.4f nats in one pass; through a cache\n  %-36s %10s %10s\n",
               (long long)m->count, sum / (double)(m->count - 1), "", "mean", "worst");
    }
    m->nll = one;
    ok = ok && measure_rounding(m, nll, f) && measure_reading(m, nll, f) &&
         measure_attention(m, nll, f);
    free(one), free(nll);
    return ok;
}

int main(int argc, char **argv)
{
    struct failure f = {""};
    struct measured m = {.executor = attn_default_executor()};
    const struct tokenizer *tokenizer;
    struct token_list list = {NULL, 0};
    char *text = NULL;
    size_t bytes;
    if (argc < 3) {
        fprintf(stderr, "usage: measure_caches MODEL.gguf TEXT [TOKENS]\n");
        return 2;
    }
    bool ok = model_open(&m.model, argv[1], &f) && model_tokenizer(m.model, &tokenizer, &f) &&
              text_file_read(argv[2], TOKENIZER_MAX_TEXT, &text, &bytes, &f) &&
              tokenizer_encode(tokenizer, (struct text){text, bytes},
                               (struct encode_options){.add_special = true}, &list, &f);
    int64_t most = argc > 3 ? atoll(argv[3]) : TOKENS;
    m.count = (int64_t)list.count < most ? (int64_t)list.count : most;
    ok = ok && (m.count >= 2 || fail(&f, "2 tokens at least"));
    int32_t *tokens = malloc((list.count + 1) * sizeof *tokens);
    for (size_t i = 0; tokens != NULL && i < list.count; i++)
        tokens[i] = list.tokens[i].id;
    m.tokens = tokens;
    if (ok)
        m.description = model_describe(m.model);
    ok = ok && tokens != NULL && measure(&m, &f);
    if (!ok)
        fprintf(stderr, "measure_caches: %s\n", f.message);
    token_list_free(&list);
    free(tokens), free(text);
    model_close(m.model);
    return ok ? 0 : 1;
}
