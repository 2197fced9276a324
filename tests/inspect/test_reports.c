/* Every report on a fixed inspection: the JSON's names, types and nulls; the CSV's columns; and the
 * terminal's text against files of golden/, with colour and without. To write these anew after a change
 * that was meant: ATTN_WRITE_GOLDEN=1 test_inspect_reports, and read the difference. */
#include "fixed.h"
#include "inspect/report.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- JSON ---- */

static json_t *json_of(const struct inspection *in)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    assert_true(report_json(stream, in));
    fclose(stream);
    json_error_t error;
    json_t *object = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!object)
        fail_msg("line %d: %s", error.line, error.text);
    free(text);
    return object;
}

/* 'i' integer, 'n' number, 's' string, 'b' boolean, 'o' object, 'a' array; in capitals null is allowed. */
static void has(json_t *object, const char *name, char type)
{
    json_t *value = json_object_get(object, name);
    if (!value)
        fail_msg("there is no %s", name);
    bool right = (type == 'i' || type == 'I')   ? json_is_integer(value)
                 : (type == 'n' || type == 'N') ? json_is_real(value)
                 : (type == 's' || type == 'S') ? json_is_string(value)
                 : type == 'b'                  ? json_is_boolean(value)
                 : type == 'o'                  ? json_is_object(value)
                                                : json_is_array(value);
    if (!right && !(type < 'a' && json_is_null(value)))
        fail_msg("%s is not of type %c", name, type);
}

static void has_all(json_t *object, const char *const *names, char type)
{
    for (; *names; names++)
        has(object, *names, type);
}

static void test_json_schema(void **state)
{
    (void)state;
    struct inspection in = fixed_inspection();
    json_t *json = json_of(&in);
    assert_int_equal(json_integer_value(json_object_get(json, "schema_version")), 1);
    assert_string_equal(json_string_value(json_object_get(json, "units")), "nats");
    has_all(json, (const char *const[]){"schema_version", "tokens", "threads", NULL}, 'i');
    has_all(json, (const char *const[]){"text_sha256", "attn_version", "cpu", "tokenizer", NULL},
            's');
    has(json, "causal", 'b');
    has(json, "seconds", 'n');
    json_t *rows = json_object_get(json, "label_rows");
    assert_int_equal(json_integer_value(json_array_get(rows, 0)), 256);
    assert_int_equal(json_integer_value(json_array_get(rows, 1)), 512);
    json_t *model = json_object_get(json, "model");
    has_all(model, (const char *const[]){"file", "sha256", "architecture", NULL}, 's');
    has_all(
        model,
        (const char *const[]){"layers", "heads", "kv_heads", "head_size", "context_length", NULL},
        'i');
    json_t *layers = json_object_get(json, "layers");
    assert_int_equal(json_array_size(layers), 2);
    has(json_array_get(layers, 0), "layer", 'i');
    has(json_array_get(layers, 0), "window", 'i');
    has(json_array_get(layers, 0), "softcap", 'n');
    has(json_array_get(layers, 0), "rope_base", 'n');
    assert_true(json_is_null(json_object_get(json_array_get(layers, 1), "window")));
    assert_true(json_is_null(json_object_get(json_array_get(layers, 1), "softcap")));
    assert_true(json_is_null(json_object_get(json_array_get(layers, 1), "rope_base")));
    json_t *summary = json_object_get(json, "summary");
    assert_int_equal(json_integer_value(json_object_get(summary, "heads")), 6);
    has(summary, "unlabelled", 'i');
    for (int i = 0; i < ATTN_LABELS; i++)
        has(json_object_get(summary, "labels"), attn_label_name(1u << i), 'i');
    assert_int_equal(json_array_size(json_object_get(json, "heads")), 6);
    json_decref(json);
    inspection_free(&in);
}

static const char *const head_integers[] = {"layer", "head", "kv_head", "rows_used", NULL};
static const char *const head_numbers[] = {"entropy_mean_all",
                                           "max_weight_mean_all",
                                           "entropy_mean",
                                           "entropy_sd",
                                           "entropy_min",
                                           "entropy_max",
                                           "entropy_normalized_mean",
                                           "entropy_normalized_p05",
                                           "entropy_normalized_p95",
                                           "entropy_deficit_mean",
                                           "entropy_without_sinks_mean",
                                           "effective_keys_mean",
                                           "participation_mean",
                                           "max_weight_mean",
                                           "max_logit",
                                           "max_score",
                                           "varentropy_mean",
                                           "first4_mass",
                                           "mass_self",
                                           "mass_previous",
                                           "mass_next",
                                           "mass_local",
                                           "distance_mean",
                                           "distance_sd",
                                           "induction",
                                           "duplicate",
                                           "previous_probe",
                                           "contribution_norm_ratio",
                                           NULL};

static void test_json_heads(void **state)
{
    (void)state;
    struct inspection in = fixed_inspection();
    json_t *json = json_of(&in), *heads = json_object_get(json, "heads");
    for (size_t i = 0; i < 6; i++) {
        json_t *head = json_array_get(heads, i);
        has_all(head, head_integers, 'i');
        has_all(head, head_numbers, 'n');
        assert_int_equal(json_integer_value(json_object_get(head, "layer")), i / 3);
        assert_int_equal(json_integer_value(json_object_get(head, "head")), i % 3);
        json_t *sinks = json_object_get(head, "sinks");
        assert_int_equal(json_array_size(sinks), 2);
        has(json_array_get(sinks, 0), "key", 'i');
        has(json_array_get(sinks, 0), "token", 's');
        has(json_array_get(sinks, 0), "mass", 'n');
        has(json_array_get(sinks, 0), "viewers", 'i');
        for (int c = 0; c < TOKEN_CLASS_COUNT; c++)
            has(json_object_get(head, "mass_classes"), token_class_name((enum token_class)c), 'n');
        has(head, "labels", 'a');
    }
    const struct inspected_head *h = &in.head[1];
    const attn_summary *m = h->summary.metric;
    const struct {
        const char *name;
        double value;
    } figures[] = {
        {"entropy_mean_all", m[ATTN_METRIC_ENTROPY].mean_all},
        {"max_weight_mean_all", m[ATTN_METRIC_MAX_WEIGHT].mean_all},
        {"entropy_mean", m[ATTN_METRIC_ENTROPY].mean},
        {"entropy_sd", m[ATTN_METRIC_ENTROPY].sd},
        {"entropy_min", m[ATTN_METRIC_ENTROPY].min},
        {"entropy_max", m[ATTN_METRIC_ENTROPY].max},
        {"entropy_normalized_mean", m[ATTN_METRIC_ENTROPY_NORMALIZED].mean},
        {"entropy_normalized_p05", m[ATTN_METRIC_ENTROPY_NORMALIZED].p05},
        {"entropy_normalized_p95", m[ATTN_METRIC_ENTROPY_NORMALIZED].p95},
        {"entropy_deficit_mean", m[ATTN_METRIC_ENTROPY_DEFICIT].mean},
        {"entropy_without_sinks_mean", m[ATTN_METRIC_ENTROPY_WITHOUT_SINKS].mean},
        {"effective_keys_mean", m[ATTN_METRIC_EFFECTIVE_KEYS].mean},
        {"participation_mean", m[ATTN_METRIC_PARTICIPATION].mean},
        {"max_weight_mean", m[ATTN_METRIC_MAX_WEIGHT].mean},
        {"max_logit", m[ATTN_METRIC_MAX_LOGIT].max_all},
        {"max_abs_logit", m[ATTN_METRIC_MAX_ABS_LOGIT].max_all},
        {"max_score", m[ATTN_METRIC_MAX_SCORE].max_all},
        {"min_score", m[ATTN_METRIC_MIN_SCORE].min_all},
        {"varentropy_mean", m[ATTN_METRIC_VARENTROPY].mean},
        {"first4_mass", m[ATTN_METRIC_MASS_FIRST].mean},
        {"mass_self", m[ATTN_METRIC_MASS_SELF].mean},
        {"mass_previous", m[ATTN_METRIC_MASS_PREVIOUS].mean},
        {"mass_next", m[ATTN_METRIC_MASS_NEXT].mean},
        {"mass_local", m[ATTN_METRIC_MASS_LOCAL].mean},
        {"distance_mean", m[ATTN_METRIC_DISTANCE_MEAN].mean},
        {"distance_sd", m[ATTN_METRIC_DISTANCE_SD].mean},
        {"induction", 0.875},
        {"induction_sd", 0.002},
        {"duplicate", 0.02},
        {"duplicate_sd", 0.003},
        {"previous_probe", 0.03},
        {"previous_probe_sd", 0.004},
        {"contribution_norm", 2},
        {"contribution_norm_ratio", 1.25},
        {"special", 0.1},
    };
    /* Values come from where their names say; nine digits are written. */
    json_t *head = json_array_get(heads, 1);
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        double got = json_real_value(json_object_get(head, figures[i].name));
        if (!(fabs(got - figures[i].value) <= 1e-8 * fabs(figures[i].value)))
            fail_msg("%s is %.12g, expected %.12g", figures[i].name, got, figures[i].value);
    }
    json_t *labels = json_object_get(head, "labels");
    assert_int_equal(json_array_size(labels), 1);
    assert_string_equal(json_string_value(json_array_get(labels, 0)), "induction");
    json_t *sink = json_array_get(json_object_get(json_array_get(heads, 4), "sinks"), 0);
    assert_string_equal(json_string_value(json_object_get(sink, "token")), "\x1b[31m");
    json_decref(json);
    inspection_free(&in);
}

/* What was not measured is null, everywhere; and no other value but a number or null is written. */
static void test_json_nulls(void **state)
{
    (void)state;
    struct inspection in = fixed_inspection();
    in.model_sha256[0] = '\0';
    in.label_keys = in.head[0].summary.label_keys = (attn_key_range){16, INT32_MAX};
    for (int m = 0; m < ATTN_METRICS; m++) {
        attn_summary *s = &in.head[0].summary.metric[m];
        s->mean = s->sd = s->min = s->max = s->p05 = s->p95 = NAN;
        s->mean_all = s->min_all = INFINITY;
        s->max_all = -INFINITY;
        s->position_mean[0] = NAN;
    }
    const struct probe_score none = {NAN, NAN};
    in.head[0].induction = in.head[0].duplicate = in.head[0].previous_probe = none;
    in.head[0].contribution_norm_ratio = NAN;
    in.head[0].mass_classes[0] = NAN;
    in.head[0].summary.sinks[0].key = -1;
    json_t *json = json_of(&in), *head = json_array_get(json_object_get(json, "heads"), 0);
    for (const char *const *name = head_numbers; *name; name++)
        assert_true(json_is_null(json_object_get(head, *name)));
    assert_int_equal(json_array_size(json_object_get(head, "sinks")), 0);
    assert_true(json_is_null(json_object_get(json_object_get(head, "mass_classes"), "bos_or_cls")));
    assert_true(json_is_null(json_object_get(json_object_get(json, "model"), "sha256")));
    json_t *rows = json_object_get(json, "label_rows");
    assert_int_equal(json_integer_value(json_array_get(rows, 0)), 16);
    assert_int_equal(json_integer_value(json_array_get(rows, 1)),
                     321); /* no row sees more than 320 */
    json_decref(json);
    inspection_free(&in);
}

/* ---- CSV ---- */

enum { MOST_FIELDS = 128 };

/* One line of RFC 4180 into fields; returns how many, and moves *at on. */
static int split(char **at, char *fields[MOST_FIELDS])
{
    int count = 0;
    char *from = *at, *to = *at;
    for (bool more = true; more; count++) {
        assert_true(count < MOST_FIELDS);
        fields[count] = to;
        bool quoted = *from == '"';
        from += quoted;
        for (; quoted ? !(from[0] == '"' && from[1] != '"') : (*from != ',' && *from != '\r');
             from++) {
            assert_true(*from != '\0');
            from += quoted && *from == '"';
            *to++ = *from;
        }
        from += quoted;
        more = *from == ',';
        from += more ? 1 : 2;
        *to++ = '\0';
    }
    *at = from;
    return count;
}

/* The JSON value that a column's name leads to: "sinks.0.key". */
static json_t *follow(json_t *value, const char *name)
{
    char part[64];
    while (*name) {
        size_t length = strcspn(name, ".");
        snprintf(part, sizeof part, "%.*s", (int)length, name);
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(part))
                                     : json_object_get(value, part);
        name += length + (name[length] == '.');
    }
    return value;
}

static void test_csv(void **state)
{
    (void)state;
    struct inspection in = fixed_inspection();
    in.head[5].summary.metric[ATTN_METRIC_ENTROPY].mean = NAN;
    in.head[3].summary.sinks[0].key = 3; /* a comma */
    in.head[2].summary.sinks[0].key = 8; /* a quote after a bidi override */
    char *text = NULL, *names[MOST_FIELDS], *fields[MOST_FIELDS];
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    report_csv(stream, &in);
    fclose(stream);
    json_t *json = json_of(&in);
    char *at = text;
    int columns = split(&at, names);
    for (int row = 0; row < 6; row++) {
        assert_int_equal(split(&at, fields), columns);
        json_t *head = json_array_get(json_object_get(json, "heads"), (size_t)row);
        for (int c = 0; c < columns; c++) {
            json_t *value = follow(head, names[c]);
            bool beyond = strncmp(names[c], "sinks.", 6) == 0 && !value;
            if (!value && !beyond)
                fail_msg("the JSON has no %s", names[c]);
            if (json_is_string(value))
                assert_string_equal(fields[c], json_string_value(value));
            else if (json_is_number(value) && atof(fields[c]) != json_number_value(value))
                fail_msg("%s is %s in the CSV", names[c], fields[c]);
            else if (!value || json_is_null(value))
                assert_string_equal(fields[c], "");
        }
    }
    assert_int_equal(*at, '\0');
    /* And all of the contract's names are columns. */
    for (const char *const *name = head_numbers; *name; name++) {
        bool found = false;
        for (int c = 0; c < columns; c++)
            found |= strcmp(names[c], *name) == 0;
        assert_true(found);
    }
    assert_string_equal(names[columns - 1], "labels");
    assert_string_equal(fields[columns - 1], "sink;uniform");
    free(text);
    json_decref(json);
    inspection_free(&in);
}

/* ---- the terminal ---- */

static char *terminal_of(const struct inspection *in, bool colour)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    struct paint paint = {colour, 80};
    report_terminal(stream, in, &paint);
    fclose(stream);
    return text;
}

static void against_golden(const char *name, const char *text)
{
    char path[512], golden[65536];
    snprintf(path, sizeof path, "%s/tests/inspect/golden/%s", ATTN_SOURCE_DIR, name);
    if (getenv("ATTN_WRITE_GOLDEN")) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        fputs(text, file);
        fclose(file);
    }
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(golden, 1, sizeof golden - 1, file);
    fclose(file);
    golden[size] = '\0';
    assert_string_equal(text, golden);
}

static void test_terminal_golden(void **state)
{
    (void)state;
    struct inspection in = fixed_inspection();
    char *plain = terminal_of(&in, false), *colour = terminal_of(&in, true);
    against_golden("plain.txt", plain);
    against_golden("colour.txt", colour);
    free(plain);
    free(colour);
    inspection_free(&in);
}

/* Columns of UTF-8 text in which every character is one wide (as all glyphs of the report are). */
static int columns_of(const char *line, size_t bytes)
{
    int columns = 0;
    for (size_t i = 0; i < bytes; i++)
        columns += ((unsigned char)line[i] & 0xc0) != 0x80;
    return columns;
}

static void check_lines(const struct inspection *in)
{
    char *text = terminal_of(in, false);
    assert_null(strchr(text, '\x1b'));
    assert_null(strchr(text, '\x07'));
    assert_null(strstr(text, "\xe2\x80\xae"));
    for (const char *line = text; *line;) {
        size_t bytes = strcspn(line, "\n");
        if (columns_of(line, bytes) > 80)
            fail_msg("more than 80 columns: %.*s", (int)bytes, line);
        if (bytes > 0 && line[bytes - 1] == ' ')
            fail_msg("spaces at the end: %.*s", (int)bytes, line);
        line += bytes + (line[bytes] == '\n');
    }
    free(text);
}

static void test_terminal_lines(void **state)
{
    (void)state;
    struct inspection in = fixed_inspection();
    check_lines(&in);
    for (int64_t i = 0; i < in.heads; i++) /* the longest verdict there can be */
        in.head[i].labels = (1u << ATTN_LABELS) - 1;
    in.tokens = 320;
    in.seconds = 12345;
    in.threads = 1024;
    check_lines(&in);
    for (int64_t i = 0; i < in.heads; i++)
        in.head[i].labels = 0;
    check_lines(&in);
    inspection_free(&in);
}

/* Models of many heads: side by side, below each other, and cut into blocks. */
static void test_terminal_many_heads(void **state)
{
    (void)state;
    static const int64_t counts[] = {1, 2, 12, 16, 24, 25, 64, 75, 76, 128};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        struct inspection in = fixed_inspection();
        struct inspected_head *heads = calloc((size_t)counts[c] * 2, sizeof *heads);
        for (int64_t i = 0; i < 2 * counts[c]; i++) {
            heads[i] = in.head[i % 6];
            heads[i].layer = i / counts[c];
            heads[i].head = i % counts[c];
        }
        free(in.head);
        in.head = heads;
        in.layer_heads = counts[c];
        in.heads = 2 * counts[c];
        check_lines(&in);
        inspection_free(&in);
    }
}

/* A text of one token, nothing measured. */
static void test_terminal_of_nothing(void **state)
{
    (void)state;
    struct inspection in = fixed_inspection();
    in.detail.present = false;
    in.tokens = in.text_tokens = 1;
    in.probe_seeds = 0;
    for (int64_t i = 0; i < in.heads; i++) {
        struct inspected_head *h = &in.head[i];
        for (int m = 0; m < ATTN_METRICS; m++) {
            h->summary.metric[m] = (attn_summary){0};
            h->summary.metric[m].mean = h->summary.metric[m].mean_all = NAN;
        }
        for (int s = 0; s < ATTN_SUMMARY_SINKS; s++)
            h->summary.sinks[s] = (attn_sink){-1, NAN, 0};
        h->scores = attn_label_scores_init();
        h->labels = 0;
    }
    check_lines(&in);
    json_t *json = json_of(&in);
    json_decref(json);
    inspection_free(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_schema),         cmocka_unit_test(test_json_heads),
        cmocka_unit_test(test_json_nulls),          cmocka_unit_test(test_csv),
        cmocka_unit_test(test_terminal_golden),     cmocka_unit_test(test_terminal_lines),
        cmocka_unit_test(test_terminal_many_heads), cmocka_unit_test(test_terminal_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
