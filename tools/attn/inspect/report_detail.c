/* A closer look at one head (--head): its figures, the text shaded by how much attention each token
 * receives, what some queries look at most, and how far it looks. */
#include "../tokenizer/escape.h"
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { TEXT_LINES = 24, LEAST_VIEWERS = 16, BAR = 40 };

static const struct inspected_head *head_of(const struct inspection *in)
{
    for (int64_t i = 0; i < in->heads; i++)
        if (in->head[i].layer == in->detail.layer && in->head[i].head == in->detail.head)
            return &in->head[i];
    return NULL;
}

static void print_labels(FILE *stream, const struct inspected_head *h)
{
    int used = fprintf(stream, "  labels:");
    for (int i = 0; i < ATTN_LABELS; i++) {
        const char *name = attn_label_name(1u << i);
        if (!(h->labels & (1u << i)))
            continue;
        if (used + 1 + (int)strlen(name) > 80)
            used = fprintf(stream, "\n         ") - 1;
        used += fprintf(stream, " %s", name);
    }
    fprintf(stream, "%s\n", h->labels ? "" : " none");
}

struct figure {
    char text[24];
};

/* "-" for what was not measured. */
static struct figure figure(double value, int decimals)
{
    struct figure f = {"-"};
    if (isfinite(value))
        snprintf(f.text, sizeof f.text, "%.*f", decimals, value);
    return f;
}

static void print_figures(FILE *stream, const struct inspected_head *h)
{
    const attn_summary *m = h->summary.metric;
    print_labels(stream, h);
    fprintf(stream, "  entropy %s nats (sd %s), %s of ln n; without sinks %s\n",
            figure(m[ATTN_METRIC_ENTROPY].mean, 3).text, figure(m[ATTN_METRIC_ENTROPY].sd, 3).text,
            figure(m[ATTN_METRIC_ENTROPY_NORMALIZED].mean, 3).text,
            figure(m[ATTN_METRIC_ENTROPY_WITHOUT_SINKS].mean, 3).text);
    fprintf(stream, "  largest weight %s, effective keys %s, largest logit %s\n",
            figure(m[ATTN_METRIC_MAX_WEIGHT].mean, 3).text,
            figure(m[ATTN_METRIC_EFFECTIVE_KEYS].mean, 1).text,
            figure(m[ATTN_METRIC_MAX_LOGIT].max_all, 1).text);
    fprintf(stream, "  on itself %s, previous %s, next %s, first four %s, within 16 %s\n",
            figure(m[ATTN_METRIC_MASS_SELF].mean, 3).text,
            figure(m[ATTN_METRIC_MASS_PREVIOUS].mean, 3).text,
            figure(m[ATTN_METRIC_MASS_NEXT].mean, 3).text,
            figure(m[ATTN_METRIC_MASS_FIRST].mean, 3).text,
            figure(m[ATTN_METRIC_MASS_LOCAL].mean, 3).text);
    fprintf(stream, "  adds %s x the mean of its layer's heads\n",
            figure(h->contribution_norm_ratio, 3).text);
}

/* How much a key receives, from 0 (a thousandth of the rows that see it, or less) to 1 (all of them), by
 * decades; NaN where too few rows see it to tell. */
static double shade(const struct head_detail *d, int64_t key)
{
    if (d->column_viewers[key] < LEAST_VIEWERS)
        return NAN;
    double received = (double)d->column_mass[key] / (double)d->column_viewers[key];
    return fmin(fmax(log10(fmax(received, 1e-9)) / 3.0 + 1.0, 0.0), 1.0);
}

/* The next line of tokens from *at on; without colour the shades stand below it. */
static void print_text_line(FILE *stream, const struct inspection *in, const struct paint *paint,
                            int64_t *at)
{
    char below[4 * 128] = "";
    int used = 2;
    fputs("  ", stream);
    for (bool broken = false; *at < in->tokens && !broken; ++*at) {
        const struct inspected_token *token = &in->token[*at];
        char piece[ESCAPED_BYTES];
        int wide = escape_text(piece, token->piece, paint->columns - 2);
        bool space = token->space_before && used > 2;
        if (used + space + wide > paint->columns)
            break;
        if (space) {
            fputc(' ', stream);
            strcat(below, " ");
        }
        double level = shade(&in->detail, *at);
        paint_begin(stream, paint, level);
        fputs(piece, stream);
        paint_end(stream, paint);
        for (int i = 0; i < wide; i++)
            strcat(below, paint_glyph(level));
        used += space + wide;
        broken = token->class == TOKEN_CLASS_NEWLINE;
    }
    fputc('\n', stream);
    if (!paint->colour)
        fprintf(stream, "  %s\n", below);
}

static void print_text(FILE *stream, const struct inspection *in, const struct paint *paint)
{
    const struct head_detail *d = &in->detail;
    int64_t at = d->row_begin;
    fprintf(stream, "\n  The text, shaded by the share each token holds of the rows that see it:\n"
                    "  0.001 ");
    paint_ramp(stream, paint);
    fprintf(stream, " 1, by decades\n");
    int lines = paint->colour ? TEXT_LINES : TEXT_LINES / 2;
    for (int i = 0; i < lines && at < d->row_end; i++)
        print_text_line(stream, in, paint, &at);
    if (at < d->row_end)
        fprintf(stream, "  ... %" PRId64 " more tokens (--rows a:b begins at token a)\n",
                d->row_end - at);
}

static void print_queries(FILE *stream, const struct inspection *in)
{
    const struct head_detail *d = &in->detail;
    fprintf(stream, "\n  What some tokens look at most (position, token, weight):\n");
    for (int i = 0; i < d->queries; i++) {
        const struct detail_query *q = &d->query[i];
        char token[ESCAPED_BYTES];
        int wide = escape_quoted(token, in->token[q->query].piece, 14);
        fprintf(stream, "  %6" PRId64 " %s%*s", q->query, token, 14 - wide, "");
        int used = 9 + 14;
        for (int k = 0; k < q->keys; k++) {
            char number[48];
            wide = escape_quoted(token, in->token[q->key[k]].piece, 12);
            int digits = snprintf(number, sizeof number, "%" PRId64, q->key[k]);
            if (used + digits + wide + 8 > 80)
                break;
            fprintf(stream, "  %s %s %.2f", number, token, q->weight[k]);
            used += digits + wide + 8;
        }
        fputc('\n', stream);
    }
}

/* Weight by |distance|, in ranges that double: 0, 1, 2-3, 4-7, ... */
static void print_distances(FILE *stream, const struct inspection *in)
{
    const struct head_detail *d = &in->detail;
    fprintf(stream, "\n  How far it looks (share of weight by distance in tokens):\n");
    int64_t last = in->tokens - 1;
    while (last > 0 && d->distance_mass[last] == 0.0)
        last--;
    for (int64_t low = 0; low <= last; low = low ? 2 * low : 1) {
        int64_t high = low ? 2 * low : 1; /* not included */
        double mass = 0.0;
        for (int64_t i = low; i < high && i < in->tokens; i++)
            mass += d->distance_mass[i];
        char range[48];
        if (high - low == 1)
            snprintf(range, sizeof range, "%" PRId64, low);
        else
            snprintf(range, sizeof range, "%" PRId64 "-%" PRId64, low, high - 1);
        fprintf(stream, "  %13s  %.3f", range, mass);
        for (int i = 0; i < (int)(mass * BAR + 0.5) && i < BAR; i++)
            fprintf(stream, "%s█", i == 0 ? " " : "");
        fputc('\n', stream);
    }
}

void report_detail(FILE *stream, const struct inspection *in, const struct paint *paint)
{
    const struct head_detail *d = &in->detail;
    const struct inspected_head *head = head_of(in);
    char title[96];
    snprintf(title, sizeof title, "Head %" PRId64 ".%" PRId64 ", rows %" PRId64 " to %" PRId64,
             d->layer, d->head, d->row_begin, d->row_end - 1);
    fputc('\n', stream);
    paint_heading(stream, paint, title);
    if (head)
        print_figures(stream, head);
    print_text(stream, in, paint);
    print_queries(stream, in);
    print_distances(stream, in);
}
