/* The first two lines: what dominates, and on what it was measured; and the last: what the words mean. */
#include "../tokenizer/escape.h"
#include "report.h"

#include <inttypes.h>
#include <string.h>

/* The key that most heads have as their largest sink, and how many; -1 if no head has one. */
static int64_t usual_sink(const struct inspection *in, int64_t *heads)
{
    int64_t best = -1, best_count = 0;
    for (int64_t i = 0; i < in->heads; i++) {
        if (!(in->head[i].labels & ATTN_LABEL_SINK))
            continue;
        int64_t key = in->head[i].summary.sinks[0].key, count = 0;
        for (int64_t j = 0; j < in->heads; j++)
            count +=
                (in->head[j].labels & ATTN_LABEL_SINK) && in->head[j].summary.sinks[0].key == key;
        if (count > best_count) {
            best = key;
            best_count = count;
        }
    }
    *heads = best_count;
    return best;
}

/* "23 sink (key 0 "<bos>")", or "23 sink (19 at key 0 "<bos>")". */
static void describe_label(const struct inspection *in, uint32_t label, int64_t count, char *out,
                           size_t size)
{
    int used = snprintf(out, size, "%" PRId64 " %s", count, attn_label_name(label));
    int64_t here, key = label == ATTN_LABEL_SINK ? usual_sink(in, &here) : -1;
    if (key < 0 || used < 0)
        return;
    char token[ESCAPED_BYTES];
    escape_quoted(token, in->token[key].piece, 14);
    char where[32] = "";
    if (here < count)
        snprintf(where, sizeof where, "%" PRId64 " at ", here);
    snprintf(out + used, size - (size_t)used, " (%skey %" PRId64 " %s)", where, key, token);
}

/* The most frequent labels first, as many as the line holds; "..." if there are more. */
static void print_labels(FILE *stream, const struct inspection *in, int columns)
{
    uint32_t told = 0;
    int kinds = 0, shown = 0;
    for (int i = 0; i < ATTN_LABELS; i++)
        kinds += inspection_count_label(in, 1u << i) > 0;
    for (; shown < kinds; shown++) {
        int64_t best_count = 0;
        uint32_t best = 0;
        for (int i = 0; i < ATTN_LABELS; i++) {
            int64_t count = inspection_count_label(in, 1u << i);
            if (!(told & (1u << i)) && count > best_count) {
                best_count = count;
                best = 1u << i;
            }
        }
        char part[ESCAPED_BYTES + 128];
        describe_label(in, best, best_count, part, sizeof part);
        int wide = (int)strlen(part) + 2; /* bytes: never less than columns */
        if (wide + (shown + 1 < kinds ? (int)strlen(", ...") : 0) > columns)
            break;
        fprintf(stream, "%s%s", shown ? ", " : "", part);
        columns -= wide;
        told |= best;
    }
    if (shown < kinds)
        fprintf(stream, "%s...", shown ? ", " : "");
}

void report_verdict(FILE *stream, const struct inspection *in)
{
    int64_t unlabelled = inspection_count_label(in, 0);
    int used = fprintf(stream, "%" PRId64 " heads: ", in->heads);
    if (unlabelled < in->heads)
        print_labels(stream, in, 80 - used);
    else
        fprintf(stream, "none has a label");
    fprintf(stream,
            "\n%" PRId64 " unlabelled; labels overlap. n = %" PRId64
            ", %s kernels, %d thread%s, %.*f s.\n",
            unlabelled, in->tokens, in->cpu_path, in->threads, in->threads == 1 ? "" : "s",
            in->seconds < 1000 ? 1 : 0, in->seconds);
}

static void print_model(FILE *stream, const struct inspection *in)
{
    const struct model_description *m = in->model;
    char name[ESCAPED_BYTES], text[ESCAPED_BYTES];
    const char *title = m->name && m->name[0] ? m->name : m->path;
    escape_text(name, (struct text){title, strlen(title)}, 30);
    escape_text(text, (struct text){in->text_name, strlen(in->text_name)}, 40);
    fprintf(stream, "Model: %s (%s), %" PRId64 " layers of %" PRId64 " heads.\n", name,
            m->architecture, m->layers, m->heads);
    fprintf(stream, "Text: %s", text);
    if (in->text_tokens > in->tokens)
        fprintf(stream, ", the first %" PRId64 " of %" PRId64 " tokens", in->tokens,
                in->text_tokens);
    fprintf(stream, ".\n");
    if (m->quantised)
        fprintf(stream, "The weights are quantised: the original model may differ a little.\n");
}

void report_definitions(FILE *stream, const struct inspection *in, const struct paint *paint)
{
    const attn_label_rules *r = &in->rules;
    bool window = in->label_keys.high < INT32_MAX;
    fputc('\n', stream);
    paint_heading(stream, paint, "What the words mean");
    fprintf(stream,
            "entropy   H = -sum p ln p of a row's weights, in nats; ln n if it sees n alike.\n"
            "sink      a key that holds > %.2g of the rows that see it (%d rows at least).\n"
            "probe     64 random words, then the same 64 again. induction: weight on the key\n"
            "          after the earlier occurrence; duplicate: on the occurrence itself.\n"
            "special   mass on special tokens other than a sink.\n"
            "uniform, broad: H close to ln n.\n"
            "peaked    H < %.2g ln n, or mean largest weight > %.2g; not a fault by itself.\n"
            "inactive  adds < %.2g x the mean of its layer's heads to the residual stream.\n",
            r->sink_above, (int)r->sink_viewers, r->peaked_below, r->peaked_max_weight_above,
            r->inactive_below);
    fprintf(stream, "Means are over rows that see at least %d keys; labels look at ",
            (int)r->voting_keys);
    if (window)
        fprintf(stream, "rows that\nsee %d to %d.", (int)in->label_keys.low,
                (int)in->label_keys.high - 1);
    else
        fprintf(stream, "all of\nthese: too few see %d to %d.", (int)r->label_keys_low,
                (int)r->label_keys_high - 1);
    fprintf(stream,
            " The cut-offs are conventions.\n"
            "Attention is not explanation: a weight tells where a head reads, not what for.\n"
            "One text is not evidence about a model.\n");
}

void report_terminal(FILE *stream, const struct inspection *in, const struct paint *paint)
{
    report_verdict(stream, in);
    fputc('\n', stream);
    print_model(stream, in);
    report_heatmaps(stream, in, paint);
    report_notable(stream, in, paint);
    report_positions(stream, in, paint);
    if (in->detail.present)
        report_detail(stream, in, paint);
    report_definitions(stream, in, paint);
}
