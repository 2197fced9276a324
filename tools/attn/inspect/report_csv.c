/* One row per head as CSV; see report.h. */
#include "fields.h"
#include "report.h"

#include <inttypes.h>
#include <math.h>

/* Text between quotes where it must be; a quote is written twice (RFC 4180). */
static void print_text(FILE *stream, struct text t)
{
    bool plain = true;
    for (size_t i = 0; i < t.bytes; i++)
        plain &= t.data[i] != '"' && t.data[i] != ',' && t.data[i] != '\n' && t.data[i] != '\r' &&
                 t.data[i] != ' ';
    if (plain) {
        fwrite(t.data, 1, t.bytes, stream);
        return;
    }
    fputc('"', stream);
    for (size_t i = 0; i < t.bytes; i++) {
        if (t.data[i] == '"')
            fputc('"', stream);
        fputc(t.data[i], stream);
    }
    fputc('"', stream);
}

static void print_figure(FILE *stream, double value)
{
    if (isfinite(value))
        fprintf(stream, "%.9g", value);
}

static void print_fields(FILE *stream, const struct field *fields, int count,
                         const struct inspected_head *head)
{
    for (int i = 0; i < count; i++) {
        if (!head) {
            fprintf(stream, "%s,", fields[i].name);
            continue;
        }
        double value = field_value(&fields[i], head);
        if (fields[i].whole)
            fprintf(stream, "%.0f", value);
        else
            print_figure(stream, value);
        fputc(',', stream);
    }
}

static void print_sinks(FILE *stream, const struct inspection *in,
                        const struct inspected_head *head)
{
    for (int i = 0; i < ATTN_SUMMARY_SINKS; i++) {
        if (!head) {
            fprintf(stream, "sinks.%d.key,sinks.%d.token,sinks.%d.mass,sinks.%d.viewers,", i, i, i,
                    i);
            continue;
        }
        const attn_sink *sink = &head->summary.sinks[i];
        if (sink->key < 0) {
            fputs(",,,,", stream);
            continue;
        }
        fprintf(stream, "%" PRId64 ",", sink->key);
        print_text(stream, in->token[sink->key].piece);
        fputc(',', stream);
        print_figure(stream, sink->mass);
        fprintf(stream, ",%" PRId32 ",", sink->viewers);
    }
}

static void print_classes(FILE *stream, const struct inspected_head *head)
{
    for (int c = 0; c < TOKEN_CLASS_COUNT; c++) {
        if (head)
            print_figure(stream, head->mass_classes[c]);
        else
            fprintf(stream, "mass_classes.%s", token_class_name((enum token_class)c));
        fputc(',', stream);
    }
}

static void print_labels(FILE *stream, const struct inspected_head *head)
{
    const char *separator = "";
    if (!head)
        fputs("labels", stream);
    for (int i = 0; head && i < ATTN_LABELS; i++)
        if (head->labels & (1u << i)) {
            fprintf(stream, "%s%s", separator, attn_label_name(1u << i));
            separator = ";";
        }
    fputs("\r\n", stream);
}

void report_csv(FILE *stream, const struct inspection *in)
{
    for (int64_t i = -1; i < in->heads; i++) {
        const struct inspected_head *head = i < 0 ? NULL : &in->head[i]; /* NULL: the names */
        print_fields(stream, fields_before_sinks, fields_before_sinks_count, head);
        print_sinks(stream, in, head);
        print_fields(stream, fields_after_sinks, fields_after_sinks_count, head);
        print_classes(stream, head);
        print_fields(stream, fields_after_classes, fields_after_classes_count, head);
        print_labels(stream, head);
    }
}
