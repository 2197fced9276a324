/* Lines about a text that was written; see report.h. */
#include "report.h"

#include "../tokenizer/escape.h"

#include <math.h>
#include <string.h>

enum {
    SEGMENT_COLUMNS = 10,
    TOKEN_COLUMNS = 14,
    KEY_COLUMNS = 12,
    MOST_GLYPHS = 32,
    KEYS_SHOWN = 3
};

/* Layers beyond MOST_GLYPHS share one. */
static int64_t glyphs_of(const struct generation *g)
{
    return g->model->layers < MOST_GLYPHS ? g->model->layers : MOST_GLYPHS;
}

/* The parts in the order of the text: what was loaded, start, those of the file, the rest of the prompt, own text.
 * -1 behind the last. A part that no token can be in is left out. */
static int segment_in_order(const struct generation *g, int at)
{
    int listed = g->segments->count - SEGMENTS_KNOWN, order = 0;
    for (int i = 0; i < g->segments->count; i++) {
        int part = i == 0            ? SEGMENT_LOADED
                   : i == 1          ? SEGMENT_START
                   : i < 2 + listed  ? SEGMENTS_KNOWN + i - 2
                   : i == 2 + listed ? SEGMENT_PROMPT
                                     : SEGMENT_OWN;
        bool known = part == SEGMENT_OWN || segment_tokens(g, part) > 0;
        if (known && order++ == at)
            return part;
    }
    return -1;
}

/* The name of a part in so many columns as are returned. */
static int show_segment(char shown[ESCAPED_BYTES], const struct generation *g, int part)
{
    const char *name = g->segments->part[part].name;
    return escape_text(shown, (struct text){name, strlen(name)}, SEGMENT_COLUMNS);
}

static void tell_segment_names(FILE *stream, const struct generation *g)
{
    for (int i = 0, part; (part = segment_in_order(g, i)) >= 0; i++) {
        char shown[ESCAPED_BYTES];
        int used = show_segment(shown, g, part);
        fprintf(stream, "  %*s%s", used < 4 ? 4 - used : 0, "", shown);
    }
}

static int segment_columns(const struct generation *g, int part)
{
    char shown[ESCAPED_BYTES];
    int used = show_segment(shown, g, part);
    return used < 4 ? 4 : used;
}

static void tell_shares(FILE *stream, const struct generation *g, int64_t at)
{
    for (int i = 0, part; (part = segment_in_order(g, i)) >= 0; i++)
        fprintf(stream, "  %*.2f", segment_columns(g, part),
                segment_share(g, at - g->prompt, part));
}

void tell_heading(FILE *stream, const struct generation *g)
{
    int width = (int)glyphs_of(g) > 7 ? (int)glyphs_of(g) : 7;
    fprintf(stream, "%-*s %-*s  mean", TOKEN_COLUMNS, "token", width, "entropy");
    if (g->segments != NULL)
        tell_segment_names(stream, g);
    fputs("  peaked  on\n", stream);
}

/* How many keys a query at `position` of layer l sees. */
static double seen_keys(const struct generation *g, int64_t l, int64_t position)
{
    int64_t window = g->model->layer[l].window, all = position + 1;
    return (double)(window > 0 && window < all ? window : all);
}

/* The layers of one glyph: mean entropy as a share of ln(seen keys). */
static double share_of(const struct generation *g, int64_t at, int64_t first, int64_t end)
{
    double sum = 0;
    for (int64_t l = first; l < end; l++) {
        double most = log(seen_keys(g, l, g->loaded + at - 1));
        sum += most > 0 ? (double)g->chosen[at - g->prompt].entropy[l] / most : 0;
    }
    return end > first ? sum / (double)(end - first) : 0;
}

static void print_glyphs(FILE *stream, const struct generation *g, int64_t at)
{
    static const char *const ramp[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    int64_t count = glyphs_of(g), layers = g->model->layers;
    for (int64_t i = 0; i < count; i++) {
        int level = (int)(8 * share_of(g, at, i * layers / count, (i + 1) * layers / count));
        fputs(ramp[level < 0 ? 0 : level > 7 ? 7 : level], stream);
    }
    fprintf(stream, "%*s", count < 7 ? (int)(7 - count) : 0, "");
}

static void print_padded(FILE *stream, struct text piece, int columns, bool pad)
{
    char shown[ESCAPED_BYTES];
    int used = escape_quoted(shown, piece, columns);
    fprintf(stream, "%s%*s", shown, pad ? columns - used : 0, "");
}

void tell_choice(FILE *stream, const struct generation *g, int64_t at)
{
    const struct chosen *c = &g->chosen[at - g->prompt];
    double sum = 0;
    for (int64_t l = 0; l < g->model->layers; l++)
        sum += (double)c->entropy[l];
    print_padded(stream, tokenizer_piece(g->tokenizer, g->token[at]), TOKEN_COLUMNS, true);
    fputc(' ', stream);
    print_glyphs(stream, g, at);
    char head[32];
    snprintf(head, sizeof head, "%lld.%lld", (long long)c->layer, (long long)c->head);
    fprintf(stream, "  %4.2f", sum / (double)g->model->layers);
    if (g->segments != NULL)
        tell_shares(stream, g, at);
    fprintf(stream, "  %-6s", head);
    for (int i = 0; i < KEYS_SHOWN && c->key[i] >= 0; i++) {
        fprintf(stream, "  %.2f ", (double)c->weight[i]);
        print_padded(stream, piece_at(g, c->key[i]), KEY_COLUMNS, false);
    }
    fputc('\n', stream);
}

void tell_timings(FILE *stream, const struct generation *g, const struct run_settings *settings)
{
    fprintf(stream, "prompt   %7lld tokens  %8.3f s  %8.1f tokens/s\n", (long long)g->prompt,
            g->prompt_seconds, prompt_rate(g));
    fprintf(stream, "written  %7lld tokens  %8.3f s  ", (long long)g->written, g->written_seconds);
    if (written_rate(g) > 0)
        fprintf(stream, "%8.1f tokens/s", written_rate(g));
    else
        fprintf(stream, "%8s tokens/s", "-");
    fprintf(stream, "  (%s)\n", ending_sentence(g->ending));
    fprintf(stream, "cache    %7lld tokens  %8.1f MB of keys and values in %s\n",
            (long long)g->cached_tokens, (double)g->cache_bytes / 1e6, settings->cache_type);
}
