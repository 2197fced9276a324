/* The heads that stand out most: for each label the two strongest, with the reason and the figure. */
#include "../tokenizer/escape.h"
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { EACH = 2, REASON = ESCAPED_BYTES + 128 };

/* A reason to be in the table: how strongly it holds (the larger the more; NaN: not at all), in words. */
struct reason {
    const char *name;
    uint32_t label; /* 0: not a label */
    double (*strength)(const struct inspected_head *head);
    void (*describe)(const struct inspection *in, const struct inspected_head *head, char *out);
};

/* The head's mean over the rows that labels look at is what the label was told from. */
static double induction(const struct inspected_head *h)
{
    return h->scores.induction;
}
static double duplicate(const struct inspected_head *h)
{
    return h->scores.duplicate;
}
static double previous(const struct inspected_head *h)
{
    return h->scores.previous;
}
static double self(const struct inspected_head *h)
{
    return h->scores.self;
}
static double next(const struct inspected_head *h)
{
    return h->scores.next;
}
static double special(const struct inspected_head *h)
{
    return h->scores.special;
}
static double sink(const struct inspected_head *h)
{
    return h->scores.sink;
}
static double entropy(const struct inspected_head *h)
{
    return h->scores.entropy_normalized;
}
static double inactivity(const struct inspected_head *h)
{
    return -h->scores.contribution_norm_ratio;
}
static double peak(const struct inspected_head *h)
{
    return h->scores.max_weight;
}

/* Logits above 100 are where Kimi K2's QK-clip acts. */
static double large_logit(const struct inspected_head *h)
{
    double logit = h->summary.metric[ATTN_METRIC_MAX_ABS_LOGIT].max_all;
    return logit > 100.0 ? logit : NAN;
}

static double not_finite(const struct inspected_head *h)
{
    return h->rows_not_finite > 0 ? (double)h->rows_not_finite : NAN;
}

static void say_induction(const struct inspection *in, const struct inspected_head *h, char *out)
{
    (void)in;
    snprintf(out, REASON, "%.2f (sd %.2f) on the key after the earlier occurrence",
             h->induction.mean, h->induction.sd);
}

static void say_duplicate(const struct inspection *in, const struct inspected_head *h, char *out)
{
    (void)in;
    snprintf(out, REASON, "%.2f (sd %.2f) on the earlier occurrence itself", h->duplicate.mean,
             h->duplicate.sd);
}

static void say_previous(const struct inspection *in, const struct inspected_head *h, char *out)
{
    (void)in;
    snprintf(out, REASON, "%.2f on the previous token; %.2f on the probe", h->scores.previous,
             h->previous_probe.mean);
}

static void say_self(const struct inspection *in, const struct inspected_head *h, char *out)
{
    (void)in;
    snprintf(out, REASON, "%.2f on its own position", h->scores.self);
}

static void say_next(const struct inspection *in, const struct inspected_head *h, char *out)
{
    (void)in;
    snprintf(out, REASON, "%.2f on the next token", h->scores.next);
}

static void say_special(const struct inspection *in, const struct inspected_head *h, char *out)
{
    (void)in;
    snprintf(out, REASON, "%.2f on special tokens other than a sink", h->scores.special);
}

static void say_sink(const struct inspection *in, const struct inspected_head *h, char *out)
{
    const attn_sink *s = &h->summary.sinks[0];
    char token[ESCAPED_BYTES];
    escape_quoted(token, in->token[s->key].piece, 20);
    snprintf(out, REASON, "key %" PRId64 " %s holds %.2f of the rows that see it", s->key, token,
             s->mass);
}

static void say_entropy(const struct inspection *in, const struct inspected_head *h, char *out)
{
    (void)in;
    snprintf(out, REASON, "H is %.2f of ln n: it looks at %s alike", h->scores.entropy_normalized,
             h->labels & ATTN_LABEL_UNIFORM ? "all" : "most");
}

static void say_peak(const struct inspection *in, const struct inspected_head *h, char *out)
{
    (void)in;
    snprintf(out, REASON, "largest weight %.2f in the mean; H is %.2f of ln n",
             h->scores.max_weight, h->scores.entropy_normalized);
}

static void say_inactive(const struct inspection *in, const struct inspected_head *h, char *out)
{
    (void)in;
    snprintf(out, REASON, "adds %.3f x the mean of its layer's heads", h->contribution_norm_ratio);
}

static void say_large_logit(const struct inspection *in, const struct inspected_head *h, char *out)
{
    (void)in;
    snprintf(out, REASON, "|q.k| scaled reaches %.0f", large_logit(h));
}

static void say_not_finite(const struct inspection *in, const struct inspected_head *h, char *out)
{
    (void)in;
    snprintf(out, REASON, "%" PRId64 " rows are NaN or infinite and were left out",
             h->rows_not_finite);
}

static const struct reason reasons[] = {
    {"not finite", 0, not_finite, say_not_finite},
    {"large logit", 0, large_logit, say_large_logit},
    {"induction", ATTN_LABEL_INDUCTION, induction, say_induction},
    {"duplicate", ATTN_LABEL_DUPLICATE, duplicate, say_duplicate},
    {"previous", ATTN_LABEL_PREVIOUS, previous, say_previous},
    {"self", ATTN_LABEL_SELF, self, say_self},
    {"next", ATTN_LABEL_NEXT, next, say_next},
    {"special", ATTN_LABEL_SPECIAL, special, say_special},
    {"uniform", ATTN_LABEL_UNIFORM, entropy, say_entropy},
    {"broad", ATTN_LABEL_BROAD, entropy, say_entropy},
    {"peaked", ATTN_LABEL_PEAKED, peak, say_peak},
    {"sink", ATTN_LABEL_SINK, sink, say_sink},
    {"inactive", ATTN_LABEL_INACTIVE, inactivity, say_inactive},
};

/* The strongest head for this reason that is weaker than `above` (the one told before), or the first of
 * equals behind it; NULL if there is none. */
static const struct inspected_head *strongest(const struct inspection *in,
                                              const struct reason *reason,
                                              const struct inspected_head *told)
{
    const struct inspected_head *best = NULL;
    for (int64_t i = 0; i < in->heads; i++) {
        const struct inspected_head *head = &in->head[i];
        double strength = reason->strength(head);
        if (isnan(strength) || (reason->label && !(head->labels & reason->label)))
            continue;
        if (told && (strength > reason->strength(told) ||
                     (strength == reason->strength(told) && head <= told)))
            continue;
        if (!best || strength > reason->strength(best))
            best = head;
    }
    return best;
}

void report_notable(FILE *stream, const struct inspection *in, const struct paint *paint)
{
    fputc('\n', stream);
    paint_heading(stream, paint, "Most notable heads");
    int rows = 0;
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        const struct inspected_head *head = NULL;
        for (int n = 0; n < EACH && (head = strongest(in, &reasons[i], head)); n++, rows++) {
            char name[32], words[REASON];
            snprintf(name, sizeof name, "%" PRId64 ".%" PRId64, head->layer, head->head);
            reasons[i].describe(in, head, words);
            fprintf(stream, "  %-8s%-13s%s\n", name, reasons[i].name, words);
        }
    }
    if (rows == 0)
        fprintf(stream, "  none\n");
}
