/* `attn inspect`: reads the options, runs the model, writes the reports. Files appear when everything has
 * been measured and written, or not at all. */
#include "command_inspect.h"

#include "../base/command_line.h"
#include "../base/interrupt.h"
#include "input.h"
#include "measure.h"
#include "options.h"
#include "report.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_THREADS = 1024, ALL_TOKENS = 0 };

struct arguments {
    char *text, *layers, *head, *json, *csv, *npz, *rows;
    char *given_tokens, *given_threads; /* as texts; NULL: not given */
    long long tokens;                   /* ALL_TOKENS or the first so many */
    long long threads;
    int special, lossy;
    const char *model;
};

static const char notes[] =
    "MODEL is a .gguf file, or a directory with model.safetensors (or its shards), config.json "
    "and\n"
    "tokenizer.json.\n"
    "FILE may be - for standard output, which then holds that report alone. Without --text a "
    "short\n"
    "text of the command's own is read. Exit status: 0 success, 1 failure, 2 usage, 130 Ctrl-C.\n";

/* ---- progress: one line of standard error, if that is a terminal ---- */

static void show_progress(void *context, const char *what, double done)
{
    (void)context;
    fprintf(stderr, "\r%-28s %3.0f%%", what, 100.0 * done);
    fflush(stderr);
}

static void clear_progress(void)
{
    fprintf(stderr, "\r%-36s\r", "");
    fflush(stderr);
}

/* ---- reports ---- */

/* Write a report, of which commit only makes the file. What cannot be written is told here. */
static bool write_report(struct output_file *out, const char *path, const struct inspection *in,
                         bool json, struct failure *f)
{
    if (!output_file_open(out, path, f))
        return false;
    if (json && !report_json(out->stream, in))
        return fail(f, "%s: out of memory", path);
    if (!json)
        report_csv(out->stream, in);
    return fflush(out->stream) == 0 || output_file_commit(out, f);
}

static bool is_standard_output(const char *path)
{
    return path && strcmp(path, "-") == 0;
}

/* ---- the run ---- */

static bool commit_npz(const struct inspection *in, struct npz *z, struct failure *f)
{
    const struct head_detail *d = &in->detail;
    int32_t *ids = malloc((size_t)in->tokens * sizeof *ids + 1);
    if (!ids) {
        npz_discard(z);
        return fail(f, "out of memory");
    }
    for (int64_t i = 0; i < in->tokens; i++)
        ids[i] = in->token[i].id;
    bool ok = npz_commit(z, (int64_t[]){d->row_begin, d->row_end}, (int64_t[]){d->layer, d->head},
                         ids, in->tokens, f);
    free(ids);
    return ok;
}

/* No file gets its name before all of them are written. */
static bool write_reports(const struct arguments *a, const struct inspection *in, struct npz *z,
                          struct failure *f)
{
    struct output_file json = {NULL, NULL}, csv = {NULL, NULL};
    bool ok = (!a->json || write_report(&json, a->json, in, true, f)) &&
              (!a->csv || write_report(&csv, a->csv, in, false, f)) &&
              (!a->npz || commit_npz(in, z, f)) && (!a->json || output_file_commit(&json, f)) &&
              (!a->csv || output_file_commit(&csv, f));
    output_file_discard(&json);
    output_file_discard(&csv);
    if (!ok || is_standard_output(a->json) || is_standard_output(a->csv))
        return ok;
    struct paint paint = paint_for(stdout);
    report_terminal(stdout, in, &paint);
    return true; /* main() looks at standard output */
}

static bool is_inspected(const struct inspection *in, int64_t layer)
{
    bool found = false;
    for (int64_t i = 0; i < in->layers; i++)
        found |= in->layer[i] == layer;
    return found;
}

static bool choose_detail(const struct arguments *a, const struct inspection *in,
                          struct measure_options *options, struct failure *f)
{
    if (!a->head)
        return true;
    if (!parse_head(a->head, in->model->layers, in->model->heads, &options->detail_layer,
                    &options->detail_head, f) ||
        !parse_rows(a->rows, in->tokens, &options->row_begin, &options->row_end, f))
        return false;
    if (!is_inspected(in, options->detail_layer))
        return fail(f, "--head is %s; its layer is not among --layers %s", a->head, a->layers);
    return true;
}

/* Everything between the options and the reports. The files of weights are complete, but have no name
 * before the reports are written too. */
static bool inspect(const struct arguments *a, struct inspection *in, const struct model *model,
                    const struct tokenizer *tokenizer, struct measure_options *options,
                    struct npz *z, struct failure *f)
{
    if (a->npz) {
        if (!npz_open(z, a->npz, options->row_end - options->row_begin, in->tokens, f))
            return false;
        options->npz = z;
    }
    bool terminal = isatty(STDERR_FILENO);
    if (terminal)
        options->progress = show_progress;
    interrupt_catch();
    options->stop = &interrupted;
    bool ok = measure(in, model, tokenizer, options, f);
    if (ok && a->json)
        ok = sha256_file(in->model->path, in->model_sha256, &interrupted, f);
    interrupt_release();
    if (terminal)
        clear_progress();
    return ok && write_reports(a, in, z, f);
}

static bool describe_cpu(struct inspection *in, struct failure *f)
{
    attn_cpu cpu = {.struct_size = sizeof cpu};
    attn_error error;
    if (attn_cpu_describe(&cpu, &error) != ATTN_OK)
        return fail(f, "%s", error.message);
    snprintf(in->cpu_path, sizeof in->cpu_path, "%s", cpu.path);
    return true;
}

/* What can be wrong before any work is done is told first. */
static bool prepare(const struct arguments *a, struct inspection *in, struct model *model,
                    const struct tokenizer **tokenizer, const struct input *input,
                    struct measure_options *options, struct failure *f)
{
    struct input_options how = {a->tokens, a->special, a->lossy};
    in->model = model_describe(model);
    if (!describe_cpu(in, f) ||
        !parse_layers(a->layers, in->model->layers, &in->layer, &in->layers, f) ||
        !model_tokenizer(model, tokenizer, f))
        return false;
    in->tokenizer = tokenizer_kind_name(*tokenizer);
    return input_tokens(in, input, *tokenizer, &how, f) && choose_detail(a, in, options, f);
}

static int run(const struct arguments *a, const char *command)
{
    struct failure f = {""};
    struct inspection in = {0};
    struct input input = {0};
    struct npz z = {0};
    struct model *model = NULL;
    const struct tokenizer *tokenizer = NULL;
    attn_executor *own = NULL;
    struct measure_options options = measure_options_init();
    options.executor = attn_default_executor();
    attn_error error;
    bool ok = true;
    if (a->threads > 0) {
        ok = attn_executor_create(&own, (int)a->threads, &error) == ATTN_OK ||
             fail(&f, "%s", error.message);
        options.executor = own;
    }
    ok = ok && model_open(&model, a->model, &f) && input_read(&input, a->text, &f) &&
         prepare(a, &in, model, &tokenizer, &input, &options, &f) &&
         inspect(a, &in, model, tokenizer, &options, &z, &f);
    npz_discard(&z);
    inspection_free(&in);
    input_free(&input);
    model_close(model);
    attn_executor_destroy(own);
    if (ok)
        return STATUS_OK;
    command_failed(command, &f);
    return interrupted ? STATUS_INTERRUPTED : STATUS_FAILED;
}

/* ---- options ---- */

/* Numbers, and combinations that make no sense; STATUS_OK if all is well. */
static int check(struct arguments *a, const char *command)
{
    struct failure f;
    int64_t layer, head, begin, end;
    if (!command_whole(command, "--tokens", a->given_tokens, 1, INT_MAX, "", &a->tokens) ||
        !command_whole(command, "--threads", a->given_threads, 1, MOST_THREADS, "", &a->threads))
        return STATUS_USAGE;
    if (a->npz && !a->head)
        return command_usage(command, "--npz needs --head LAYER.HEAD, whose weights it holds");
    if (a->rows && !a->head)
        return command_usage(command, "--rows needs --head LAYER.HEAD, whose rows are meant");
    if (a->layers && !check_layers(a->layers, &f))
        return command_usage(command, "%s", f.message);
    if (a->head && !parse_head(a->head, INT64_MAX, INT64_MAX, &layer, &head, &f))
        return command_usage(command, "%s", f.message);
    if (a->rows && !parse_rows(a->rows, INT64_MAX, &begin, &end, &f))
        return command_usage(command, "%s", f.message);
    if (is_standard_output(a->npz))
        return command_usage(command, "--npz is -; it may be the name of a file");
    if (is_standard_output(a->json) && is_standard_output(a->csv))
        return command_usage(command, "--json and --csv cannot both be standard output");
    return STATUS_OK;
}

static int read_options(poptContext context, struct arguments *a, const char *command)
{
    int status = STATUS_OK;
    if (command_next_option(context, command, notes, &status) == COMMAND_OPTIONS_STOP)
        return a->model = NULL, status;
    a->model = poptGetArg(context);
    if (!a->model)
        return command_usage(command, "which model? give a .gguf file or a directory");
    const char *extra = poptGetArg(context);
    if (extra)
        status = command_usage(command, "'%s' is one argument too many", extra);
    else
        status = check(a, command);
    if (status != STATUS_OK)
        a->model = NULL;
    return status;
}

static void free_arguments(struct arguments *a)
{
    char *all[] = {a->text, a->layers, a->head,         a->json,         a->csv,
                   a->npz,  a->rows,   a->given_tokens, a->given_threads};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

int command_inspect(int argc, const char **argv)
{
    struct arguments a = {.tokens = ALL_TOKENS};
    struct poptOption table[] = {
        {"text", 't', POPT_ARG_STRING, &a.text, 0, "read this text", "FILE|-"},
        {"tokens", 'n', POPT_ARG_STRING, &a.given_tokens, 0, "read the first N tokens only", "N"},
        {"layers", 'l', POPT_ARG_STRING, &a.layers, 0, "inspect these layers only", "0,5-7"},
        {"head", 0, POPT_ARG_STRING, &a.head, 0, "look at one head more closely", "LAYER.HEAD"},
        {"rows", 0, POPT_ARG_STRING, &a.rows, 0, "of that head, these rows only", "BEGIN:END"},
        {"json", 0, POPT_ARG_STRING, &a.json, 0, "write all figures as JSON", "FILE|-"},
        {"csv", 0, POPT_ARG_STRING, &a.csv, 0, "write a row per head as CSV", "FILE|-"},
        {"npz", 0, POPT_ARG_STRING, &a.npz, 0, "write that head's exact weights", "FILE"},
        {"threads", 0, POPT_ARG_STRING, &a.given_threads, 0, "use N threads (default: all cores)",
         "N"},
        {"special", 0, POPT_ARG_NONE, &a.special, 0,
         "read strings such as <bos> in the text as special tokens", NULL},
        {"lossy", 0, POPT_ARG_NONE, &a.lossy, 0, "replace what is not UTF-8 with U+FFFD", NULL},
        COMMAND_HELP_OPTION,
        POPT_TABLEEND,
    };
    poptContext context = poptGetContext("attn", argc, argv, table, 0);
    poptSetOtherOptionHelp(context, "MODEL [OPTION...]");
    int status = read_options(context, &a, argv[0]);
    if (a.model)
        status = run(&a, argv[0]);
    poptFreeContext(context);
    free_arguments(&a);
    return status;
}
