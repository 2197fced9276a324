/* measure() over whole small models against plain loops in double.
 *
 * A second observer watches the same model run and works out every figure of every head from q and k
 * alone: weights row by row as the specification has them (ref/), everything above the rows by plain loops
 * (plain_heads.h). Queries, keys and their order of summation are the same, so the only differences are the f32
 * of the kernels: 1e-4 relative leaves room for scores of size 10 and rows of 300 keys. */
#include "../model/tiny_model.h"
#include "attn_ref.h"
#include "inspect/measure.h"
#include "plain_heads.h"
#include "tokenizer/vocabulary.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void close_to(double got, double want, const char *what, int64_t layer, int64_t head)
{
    if (isnan(want) ? !isnan(got) : !(fabs(got - want) <= 1e-4 * fmax(1.0, fabs(want))))
        fail_msg("layer %lld head %lld: %s is %.9g, expected %.9g", (long long)layer,
                 (long long)head, what, got, want);
}

/* ---- a vocabulary for the tiny models: <s>, </s>, a comma, a line break, and words ---- */

static struct tokenizer *make_tokenizer(bool wrap)
{
    static char words[TINY_VOCABULARY][8];
    static struct text tokens[TINY_VOCABULARY];
    static float scores[TINY_VOCABULARY];
    static unsigned char types[TINY_VOCABULARY];
    for (int i = 0; i < TINY_VOCABULARY; i++) {
        const char *special[] = {"<s>", "</s>", "<unk>", ",", "\n"};
        if (i < 5)
            snprintf(words[i], sizeof words[i], "%s", special[i]);
        else
            snprintf(words[i], sizeof words[i], "w%c%c", 'a' + i / 8, 'a' + i % 8);
        tokens[i] = (struct text){words[i], strlen(words[i])};
        types[i] = i < 2 ? TOKEN_CONTROL : i == 2 ? TOKEN_UNKNOWN : TOKEN_NORMAL;
    }
    struct vocabulary v = vocabulary_default(TOKENIZER_SENTENCEPIECE);
    v.count = TINY_VOCABULARY;
    v.tokens = tokens;
    v.scores = scores;
    v.types = types;
    v.first = v.bos = 0;
    v.last = v.sep = wrap ? 1 : -1;
    v.unknown = 2;
    struct tokenizer *t = NULL;
    struct failure f = {""};
    if (!tokenizer_create(&t, &v, &f))
        fail_msg("%s", f.message);
    return t;
}

/* ---- comparing ---- */

static void compare(const struct inspected_head *got, const struct plain_head *want)
{
    const attn_summary *m = got->summary.metric;
    int64_t l = got->layer, h = got->head;
    assert_int_equal(got->summary.rows_used, want->voting);
    close_to(m[ATTN_METRIC_ENTROPY].mean_all, want->entropy_all, "entropy_mean_all", l, h);
    close_to(m[ATTN_METRIC_MAX_WEIGHT].mean_all, want->max_weight_all, "max_weight_all", l, h);
    close_to(m[ATTN_METRIC_ENTROPY].mean, want->entropy, "entropy", l, h);
    close_to(m[ATTN_METRIC_ENTROPY].sd, want->entropy_sd, "entropy_sd", l, h);
    close_to(m[ATTN_METRIC_ENTROPY].min, want->entropy_min, "entropy_min", l, h);
    close_to(m[ATTN_METRIC_ENTROPY].max, want->entropy_max, "entropy_max", l, h);
    close_to(m[ATTN_METRIC_ENTROPY_NORMALIZED].mean, want->normalized, "normalized", l, h);
    close_to(m[ATTN_METRIC_ENTROPY_DEFICIT].mean, want->deficit, "deficit", l, h);
    close_to(m[ATTN_METRIC_ENTROPY_WITHOUT_SINKS].mean, want->without_sinks, "without sinks", l, h);
    close_to(m[ATTN_METRIC_EFFECTIVE_KEYS].mean, want->effective, "effective keys", l, h);
    close_to(m[ATTN_METRIC_PARTICIPATION].mean, want->participation, "participation", l, h);
    close_to(m[ATTN_METRIC_MAX_WEIGHT].mean, want->max_weight, "max weight", l, h);
    close_to(m[ATTN_METRIC_MAX_LOGIT].max_all, want->max_logit, "max logit", l, h);
    close_to(m[ATTN_METRIC_MAX_SCORE].max_all, want->max_score, "max score", l, h);
    close_to(m[ATTN_METRIC_VARENTROPY].mean, want->varentropy, "varentropy", l, h);
    close_to(m[ATTN_METRIC_MASS_FIRST].mean, want->first4, "first4", l, h);
    close_to(m[ATTN_METRIC_MASS_SELF].mean, want->self, "self", l, h);
    close_to(m[ATTN_METRIC_MASS_PREVIOUS].mean, want->previous, "previous", l, h);
    close_to(m[ATTN_METRIC_MASS_NEXT].mean, want->next, "next", l, h);
    close_to(m[ATTN_METRIC_MASS_LOCAL].mean, want->local, "local", l, h);
    close_to(m[ATTN_METRIC_DISTANCE_MEAN].mean, want->distance, "distance", l, h);
    close_to(m[ATTN_METRIC_DISTANCE_SD].mean, want->distance_sd, "distance_sd", l, h);
    for (int c = 0; c < TOKEN_CLASS_COUNT; c++)
        close_to(got->mass_classes[c], want->classes[c], token_class_name((enum token_class)c), l,
                 h);
    close_to(got->scores.special, want->special_label, "special", l, h);
    close_to(got->scores.entropy_normalized, want->normalized_label, "label entropy", l, h);
    close_to(got->scores.previous, want->previous_label, "label previous", l, h);
    for (int s = 0; s < TOP; s++) {
        assert_int_equal(got->summary.sinks[s].key >= 0, want->sink_key[s] >= 0);
        close_to(got->summary.sinks[s].mass, want->sink_mass[s], "sink", l, h);
    }
}

/* ---- running ---- */

struct subject {
    struct tiny_model *tiny;
    struct model *model;
    struct tokenizer *tokenizer;
    struct inspection in;
};

static struct subject open_subject(bool bert, int64_t tokens)
{
    struct subject s = {.tiny = bert ? tiny_bert(5, false) : tiny_gemma3(5)};
    struct failure f = {""};
    if (!bert) /* wide enough for rows that vote, and a global layer beside it */
        tiny_set_number(s.tiny, "gemma3.attention.sliding_window", 'i', 80);
    tiny_write_gguf(s.tiny);
    if (!model_open(&s.model, s.tiny->path, &f))
        fail_msg("%s", f.message);
    s.tokenizer = make_tokenizer(bert);
    struct inspection *in = &s.in;
    in->model = model_describe(s.model);
    in->tokens = in->text_tokens = tokens;
    in->token = calloc((size_t)tokens, sizeof *in->token);
    for (int64_t i = 0; i < tokens; i++) {
        int32_t id = i == 0 ? 0 : bert && i == tokens - 1 ? 1 : (int32_t)(3 + i * i % 67);
        in->token[i].id = id;
        in->token[i].piece = tokenizer_piece(s.tokenizer, id);
        in->token[i].class = tokenizer_class(s.tokenizer, id);
    }
    in->layers = in->model->layers;
    in->layer = calloc((size_t)in->layers, sizeof *in->layer);
    for (int64_t l = 0; l < in->layers; l++)
        in->layer[l] = l;
    return s;
}

static void close_subject(struct subject *s)
{
    inspection_free(&s->in);
    model_close(s->model);
    tokenizer_free(s->tokenizer);
    tiny_free(s->tiny);
}

static void run_plain(struct subject *s, struct plain *p)
{
    struct inspection *in = &s->in;
    int32_t ids[MOST_TOKENS];
    for (int64_t i = 0; i < in->tokens; i++)
        ids[i] = in->token[i].id;
    p->in = in;
    p->heads = calloc((size_t)(in->model->layers * in->model->heads), sizeof *p->heads);
    struct model_observer observer = {.context = p, .after_attention = plain_watch};
    struct model_request request = model_request_init();
    request.observer = &observer;
    struct failure f = {""};
    if (!model_run(s->model, ids, in->tokens, &request, &f))
        fail_msg("%s", f.message);
}

static void against_plain_loops(bool bert, int64_t tokens)
{
    struct subject s = open_subject(bert, tokens);
    struct measure_options options = measure_options_init();
    options.executor = attn_default_executor();
    options.probe = false;
    struct failure f = {""};
    if (!measure(&s.in, s.model, s.tokenizer, &options, &f))
        fail_msg("%s", f.message);
    struct plain p;
    run_plain(&s, &p);
    assert_int_equal(s.in.heads, s.in.layers * TINY_HEADS);
    for (int64_t i = 0; i < s.in.heads; i++) {
        struct inspected_head *h = &s.in.head[i];
        assert_int_equal(h->layer, i / TINY_HEADS);
        assert_int_equal(h->head, i % TINY_HEADS);
        assert_int_equal(h->kv_head, h->head / (TINY_HEADS / s.in.model->kv_heads));
        compare(h, &p.heads[i]);
        assert_true(isnan(h->induction.mean) && isnan(h->scores.previous_probe));
    }
    for (int64_t l = 0; l < s.in.layers; l++) { /* ratios are of the layer's mean */
        double sum = 0;
        for (int64_t h = 0; h < TINY_HEADS; h++)
            sum += s.in.head[l * TINY_HEADS + h].contribution_norm_ratio;
        close_to(sum, TINY_HEADS, "the ratios' sum", l, -1);
    }
    free(p.heads);
    close_subject(&s);
}

static void test_causal_model(void **state)
{
    (void)state;
    against_plain_loops(false, 300); /* label rows of the global layer; none of the local ones */
}

static void test_bidirectional_model(void **state)
{
    (void)state;
    against_plain_loops(true, TINY_BERT_CONTEXT); /* 64 rows see every key: just enough for sinks */
    against_plain_loops(true, 40);                /* too few for sinks */
}

/* ---- the probe, from its definition ---- */

struct probe_watch {
    double sum[3];
    int64_t head;
};

static bool watch_probe(void *context, const struct model_attention *a, struct failure *f)
{
    struct probe_watch *w = context;
    (void)f;
    if (a->layer != 5)
        return true;
    attn_ref_row row;
    assert_int_equal(attn_ref_row_create(&row, a->problem, a->args), ATTN_OK);
    for (int64_t i = 65; i < 129; i++) {
        attn_ref_row_compute(&row, a->problem, a->args, 0, w->head, i);
        w->sum[0] += row.weight[i - 63] / 64;
        w->sum[1] += row.weight[i - 64] / 64;
        w->sum[2] += row.weight[i - 1] / 64;
    }
    attn_ref_row_destroy(&row);
    return true;
}

/* The tokens of a seed, by the words of probe.h: splitmix64, the front of a Fisher-Yates shuffle that goes
 * on from seed to seed. The vocabulary has 65 words: ids 5 to 69. */
static void test_probe(void **state)
{
    (void)state;
    struct subject s = open_subject(false, 20);
    struct measure_options options = measure_options_init();
    struct failure f = {""};
    if (!measure(&s.in, s.model, s.tokenizer, &options, &f))
        fail_msg("%s", f.message);
    assert_int_equal(s.in.probe_seeds, 8);
    int32_t words[65], tokens[129] = {0};
    for (int i = 0; i < 65; i++)
        words[i] = 5 + i;
    double mean[3] = {0}, square[3] = {0};
    for (uint64_t seed = 1; seed <= 8; seed++) {
        uint64_t random = seed;
        for (int i = 0; i < 64; i++) {
            uint64_t z = random += 0x9e3779b97f4a7c15u;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
            z ^= z >> 31;
            int other = i + (int)(z % (uint64_t)(65 - i));
            int32_t word = words[other];
            words[other] = words[i];
            words[i] = word;
        }
        for (int i = 0; i < 64; i++)
            tokens[1 + i] = tokens[65 + i] = words[i];
        struct probe_watch w = {.head = 1};
        struct model_observer observer = {.context = &w, .after_attention = watch_probe};
        struct model_request request = model_request_init();
        request.observer = &observer;
        if (!model_run(s.model, tokens, 129, &request, &f))
            fail_msg("%s", f.message);
        for (int k = 0; k < 3; k++) {
            mean[k] += w.sum[k] / 8;
            square[k] += w.sum[k] * w.sum[k] / 8;
        }
    }
    const struct inspected_head *h = &s.in.head[5 * TINY_HEADS + 1];
    const struct probe_score *scores[3] = {&h->induction, &h->duplicate, &h->previous_probe};
    for (int k = 0; k < 3; k++) {
        close_to(scores[k]->mean, mean[k], "probe mean", 5, k);
        close_to(scores[k]->sd, sqrt(square[k] - mean[k] * mean[k]), "probe sd", 5, k);
        assert_true(mean[k] > 1e-4); /* else the comparison says nothing */
    }
    close_to(h->scores.induction, mean[0], "induction score", 5, 1);
    close_subject(&s);
    /* A model that is not causal has no induction; the rest it has. */
    s = open_subject(false, 20);
    struct model_description bidirectional = *s.in.model;
    bidirectional.causal = false;
    s.in.model = &bidirectional;
    if (!measure(&s.in, s.model, s.tokenizer, &options, &f))
        fail_msg("%s", f.message);
    assert_true(isnan(s.in.head[5 * TINY_HEADS + 1].induction.mean));
    close_to(s.in.head[5 * TINY_HEADS + 1].duplicate.mean, mean[1], "duplicate", 5, 1);
    close_subject(&s);
    /* One whose context is too short has no probe. */
    s = open_subject(true, 20);
    if (!measure(&s.in, s.model, s.tokenizer, &options, &f))
        fail_msg("%s", f.message);
    assert_int_equal(s.in.probe_seeds, 0);
    assert_true(isnan(s.in.head[0].duplicate.mean));
    close_subject(&s);
}

/* ---- the closer look ---- */

struct weights_watch {
    int64_t layer, head;
    double weights[MOST_TOKENS][MOST_TOKENS];
};

static bool watch_weights(void *context, const struct model_attention *a, struct failure *f)
{
    struct weights_watch *w = context;
    (void)f;
    if (a->layer != w->layer)
        return true;
    attn_ref_row row;
    assert_int_equal(attn_ref_row_create(&row, a->problem, a->args), ATTN_OK);
    for (int64_t i = 0; i < a->args->queries; i++) {
        attn_ref_row_compute(&row, a->problem, a->args, 0, w->head, i);
        memcpy(w->weights[i], row.weight, (size_t)a->args->keys * sizeof(double));
    }
    attn_ref_row_destroy(&row);
    return true;
}

static void test_closer_look(void **state)
{
    (void)state;
    enum { N = 200, BEGIN = 30, END = 190 };
    struct subject s = open_subject(false, N);
    struct measure_options options = measure_options_init();
    options.probe = false;
    options.detail_layer = 3;
    options.detail_head = 2;
    options.row_begin = BEGIN;
    options.row_end = END;
    struct failure f = {""};
    if (!measure(&s.in, s.model, s.tokenizer, &options, &f))
        fail_msg("%s", f.message);
    static struct weights_watch w;
    w.layer = 3;
    w.head = 2;
    int32_t ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = s.in.token[i].id;
    struct model_observer observer = {.context = &w, .after_attention = watch_weights};
    struct model_request request = model_request_init();
    request.observer = &observer;
    if (!model_run(s.model, ids, N, &request, &f))
        fail_msg("%s", f.message);
    const struct head_detail *d = &s.in.detail;
    assert_true(d->present);
    double distance[N] = {0}, column[N] = {0};
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            column[j] += w.weights[i][j];
            if (i >= BEGIN && i < END)
                distance[abs(i - j)] += w.weights[i][j] / (END - BEGIN);
        }
    for (int j = 0; j < N; j++) {
        close_to(d->distance_mass[j], distance[j], "distance", j, 0);
        close_to((double)d->column_mass[j], column[j], "column", j, 0);
        int viewers = j + 80 <= N ? 80 : N - j; /* a window of 80 */
        assert_int_equal(d->column_viewers[j], viewers);
    }
    assert_int_equal(d->queries, DETAIL_QUERIES);
    assert_int_equal(d->query[DETAIL_QUERIES - 1].query, END - 1);
    for (int q = 0; q < d->queries; q++) {
        const struct detail_query *query = &d->query[q];
        assert_int_equal(query->keys, DETAIL_KEYS);
        for (int k = 0; k < query->keys; k++) {
            close_to(query->weight[k], w.weights[query->query][query->key[k]], "top weight", q, k);
            int64_t better = 0;
            for (int j = 0; j < N; j++)
                better += w.weights[query->query][j] > query->weight[k] * (1 + 1e-4);
            assert_true(better <= k);
        }
    }
    close_subject(&s);
}

/* ---- some layers only, threads, stopping ---- */

static void test_some_layers(void **state)
{
    (void)state;
    struct subject all = open_subject(false, 100), some = open_subject(false, 100);
    struct measure_options options = measure_options_init();
    struct failure f = {""};
    some.in.layers = 2;
    some.in.layer[0] = 1;
    some.in.layer[1] = 5;
    assert_true(measure(&all.in, all.model, all.tokenizer, &options, &f));
    options.executor = attn_default_executor(); /* the same bits for any number of threads */
    assert_true(measure(&some.in, some.model, some.tokenizer, &options, &f));
    assert_int_equal(some.in.heads, 2 * TINY_HEADS);
    for (int64_t i = 0; i < some.in.heads; i++) {
        const struct inspected_head *got = &some.in.head[i];
        const struct inspected_head *want =
            &all.in.head[(i < TINY_HEADS ? 1 : 5) * TINY_HEADS + i % TINY_HEADS];
        assert_int_equal(got->layer, want->layer);
        assert_memory_equal(&got->summary, &want->summary, sizeof got->summary);
        assert_true(got->induction.mean == want->induction.mean);
        assert_true(got->contribution_norm == want->contribution_norm);
    }
    close_subject(&all);
    close_subject(&some);
}

static void test_stopping(void **state)
{
    (void)state;
    struct subject s = open_subject(false, 100);
    struct measure_options options = measure_options_init();
    volatile sig_atomic_t stop = 1;
    options.stop = &stop;
    struct failure f = {""};
    assert_false(measure(&s.in, s.model, s.tokenizer, &options, &f));
    assert_non_null(strstr(f.message, "interrupted"));
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_causal_model), cmocka_unit_test(test_bidirectional_model),
        cmocka_unit_test(test_probe),        cmocka_unit_test(test_closer_look),
        cmocka_unit_test(test_some_layers),  cmocka_unit_test(test_stopping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
