/* A fixed inspection; see fixed.h. Figures are told by simple rules of the head's number. */
#include "fixed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 2, HEADS = 3, TOKENS = 320 };

static void fill_summary(attn_summary *s, double mean, double low, double high)
{
    *s = (attn_summary){.count_all = TOKENS, .count = TOKENS - 15, .count_label = 65};
    s->mean_all = mean * 0.96875;
    s->min_all = low;
    s->max_all = high;
    s->mean_label = s->mean = mean;
    s->sd = mean / 4;
    s->min = low + 0.125;
    s->max = high - 0.25;
    s->p05 = mean / 2;
    s->p95 = (mean + high) / 2;
    s->histogram_low = low;
    s->histogram_high = high;
    s->histogram[3] = TOKENS - 15;
    s->position_bins = ATTN_POSITION_BINS;
    for (int i = 0; i < ATTN_POSITION_BINS; i++)
        s->position_mean[i] = (float)(mean * i / ATTN_POSITION_BINS);
}

static void fill_head(struct inspected_head *h, int64_t layer, int64_t head)
{
    int i = (int)(layer * HEADS + head);
    h->layer = layer;
    h->head = head;
    h->kv_head = 0;
    h->summary.rows = TOKENS;
    h->summary.rows_used = TOKENS - 15;
    h->summary.rows_label = 65;
    h->summary.label_keys = (attn_key_range){256, 512};
    h->summary.largest_n = TOKENS;
    for (int m = 0; m < ATTN_METRICS; m++) {
        h->summary.measured[m] = true;
        fill_summary(&h->summary.metric[m], (i + 1) / 8.0 + m / 1024.0, m / 64.0, 1 + m / 64.0);
    }
    fill_summary(&h->summary.metric[ATTN_METRIC_ENTROPY], 0.75 * (i + 1), 0, 5.5);
    fill_summary(&h->summary.metric[ATTN_METRIC_MAX_LOGIT], 10, 0, 20 * i);
    fill_summary(&h->summary.metric[ATTN_METRIC_MAX_ABS_LOGIT], 10, 0, 25 * i);
    fill_summary(&h->summary.metric[ATTN_METRIC_DISTANCE_MEAN], 4 << i, 0, 300);
    for (int s = 0; s < ATTN_SUMMARY_SINKS; s++)
        h->summary.sinks[s] = (attn_sink){-1, NAN, 0};
    h->summary.sinks[0] = (attn_sink){i == 4 ? 7 : 0, 0.125 * i, TOKENS - (i == 4 ? 7 : 0)};
    h->summary.sinks[1] = (attn_sink){2, 0.01, TOKENS - 2};
    for (int c = 0; c < TOKEN_CLASS_COUNT; c++)
        h->mass_classes[c] = c == TOKEN_CLASS_ORDINARY ? 0.5 : 0.1;
    h->induction = (struct probe_score){i == 1 ? 0.875 : 0.01, 0.002};
    h->duplicate = (struct probe_score){0.02, 0.003};
    h->previous_probe = (struct probe_score){i == 2 ? 0.9375 : 0.03, 0.004};
    h->contribution_norm = i + 1;
    h->contribution_norm_ratio = i == 0 ? 0.0625 : 1.25;
    h->scores = attn_label_scores_init();
    h->scores.contribution_norm_ratio = h->contribution_norm_ratio;
    h->scores.sink = h->summary.sinks[0].mass;
    h->scores.induction = h->induction.mean;
    h->scores.duplicate = h->duplicate.mean;
    h->scores.previous = i == 2 ? 0.8125 : 0.05;
    h->scores.previous_probe = h->previous_probe.mean;
    h->scores.self = h->scores.next = h->scores.special = 0.1;
    h->scores.entropy_normalized = i == 5 ? 0.96875 : 0.5;
    h->scores.max_weight = 0.25;
    h->labels = attn_head_labels(&h->scores, NULL);
}

static void fill_tokens(struct inspection *in)
{
    static const char *const pieces[] = {"<bos>", " the", " tide",  ",",        "\n",
                                         " wall", "é",    " gauge", "\x1b[31m", "\xe2\x80\xae\"x"};
    in->token = calloc(TOKENS, sizeof *in->token);
    for (int i = 0; i < TOKENS; i++) {
        const char *piece = pieces[i == 0 ? 0 : 1 + i % 9];
        in->token[i].id = i == 0 ? 2 : 100 + i % 9;
        in->token[i].piece = (struct text){piece, strlen(piece)};
        in->token[i].class = i == 0             ? TOKEN_CLASS_FIRST
                             : piece[0] == ','  ? TOKEN_CLASS_PUNCTUATION
                             : piece[0] == '\n' ? TOKEN_CLASS_NEWLINE
                                                : TOKEN_CLASS_ORDINARY;
    }
}

static void fill_detail(struct head_detail *d)
{
    d->present = true;
    d->layer = 0;
    d->head = 1;
    d->row_begin = 0;
    d->row_end = TOKENS;
    d->column_mass = calloc(TOKENS, sizeof *d->column_mass);
    d->column_viewers = calloc(TOKENS, sizeof *d->column_viewers);
    d->distance_mass = calloc(TOKENS, sizeof *d->distance_mass);
    for (int i = 0; i < TOKENS; i++) {
        d->column_viewers[i] = TOKENS - i;
        d->column_mass[i] = i == 0 ? 160.0f : (float)((TOKENS - i) * (i % 10 + 1)) / 1000.0f;
    }
    d->distance_mass[0] = 0.5;
    d->distance_mass[1] = 0.25;
    d->distance_mass[5] = 0.125;
    d->distance_mass[100] = 0.125;
    d->queries = 2;
    d->query[0] = (struct detail_query){159, 2, {0, 8}, {0.5, 0.25}};
    d->query[1] = (struct detail_query){319, 1, {9}, {0.75}};
}

struct inspection fixed_inspection(void)
{
    static const struct model_layer layer[LAYERS] = {{512, 50, 10000}, {0, 0, 0}};
    static const struct model_description model = {.path = "models/fixed.gguf",
                                                   .architecture = "gemma3",
                                                   .name = "Fixed",
                                                   .licence = "",
                                                   .layers = LAYERS,
                                                   .heads = HEADS,
                                                   .kv_heads = 1,
                                                   .key_size = 16,
                                                   .value_size = 16,
                                                   .context_length = 2048,
                                                   .causal = true,
                                                   .quantised = true,
                                                   .layer = layer};
    struct inspection in = {.model = &model,
                            .tokenizer = "SentencePiece BPE",
                            .text_name = "evil\x1b]0;name\x07.txt",
                            .tokens = TOKENS,
                            .text_tokens = 400,
                            .rules = attn_label_rules_init(),
                            .label_keys = {256, 512},
                            .layers = LAYERS,
                            .layer_heads = HEADS,
                            .heads = LAYERS * HEADS,
                            .probe_seeds = 8,
                            .cpu_path = "portable",
                            .threads = 2,
                            .seconds = 1.5};
    memset(in.text_sha256, 'a', SHA256_TEXT - 1);
    memset(in.model_sha256, 'b', SHA256_TEXT - 1);
    in.layer = calloc(LAYERS, sizeof *in.layer);
    in.head = calloc(LAYERS * HEADS, sizeof *in.head);
    for (int64_t l = 0; l < LAYERS; l++) {
        in.layer[l] = l;
        for (int64_t h = 0; h < HEADS; h++)
            fill_head(&in.head[l * HEADS + h], l, h);
    }
    fill_tokens(&in);
    fill_detail(&in.detail);
    return in;
}
