/* `attn run`: reads the options and the prompt, writes, and tells how fast it was. */
#include "command_run.h"

#include "../base/command_line.h"
#include "../base/interrupt.h"
#include "../base/output_file.h"
#include "../base/text_file.h"
#include "prompt.h"
#include "report.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_THREADS = 1024, MOST_TOKENS = 128 };

struct arguments {
    char *prompt, *file, *cache, *save_cache, *load_cache, *json, *segments, **stops;
    struct {
        char *tokens, *threads, *temperature, *top_k, *top_p, *seed;
    } given; /* as texts; NULL: not given */
    long long tokens, threads, top_k, seed;
    double temperature, top_p;
    int statistics, special;
    const char *model;
    bool standard_input;
};

static const char notes[] =
    "MODEL is a .gguf file, or a directory with config.json, model.safetensors (or its shards) "
    "and\n"
    "tokenizer.json. - reads the prompt from standard input. The text goes to standard "
    "output as\n"
    "it is written, timings to standard error. Without --temperature the best token is taken each "
    "time.\n"
    "FILE may be - for standard output, which then holds the JSON alone. Exit status: 0 success,\n"
    "1 failure, 2 usage, 130 Ctrl-C.\n";

/* ---- what is shown while it works ---- */

struct display {
    bool text, statistics; /* on standard output */
    bool terminal;         /* standard output is one */
    bool progress;         /* shown and not cleared yet */
    bool line_open;        /* the text does not end in a line break so far */
    bool heading;          /* of the statistics, printed */
    int error;             /* errno of standard output, 0 = none */
};

static void show_progress(void *context, int64_t done, int64_t count)
{
    struct display *d = context;
    d->progress = done < count;
    if (d->progress)
        fprintf(stderr, "\rreading the prompt %3.0f%%", 100.0 * (double)done / (double)count);
    else
        fprintf(stderr, "\r%-32s\r", "");
    fflush(stderr);
}

/* To a terminal no control characters but line breaks and tabs: a text must not command it. */
static void print_text(struct display *d, struct text text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool pair = c == 0xc2 && i + 1 < text.bytes && (unsigned char)text.data[i + 1] < 0xa0;
        bool control = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || pair;
        if (d->terminal && control)
            printf("\\x%02x", pair ? (unsigned char)text.data[++i] : c);
        else
            putchar(c);
        d->line_open = c != '\n';
    }
    fflush(stdout);
}

static bool show_token(void *context, const struct generation *g, int64_t token, struct text text,
                       struct failure *f)
{
    struct display *d = context;
    if (d->text)
        print_text(d, text);
    if (d->statistics && token >= 0) {
        if (!d->heading)
            tell_heading(stdout, g);
        d->heading = true;
        tell_choice(stdout, g, token);
        fflush(stdout);
    }
    if (!ferror(stdout))
        return true;
    d->error = errno;
    return fail(f, "standard output cannot be written");
}

/* ---- the run ---- */

/* NULL is f32; 0 for what is no type. */
static attn_dtype cache_type_of(const char *name)
{
    static const struct {
        const char *name;
        attn_dtype type;
    } types[] = {{"f32", ATTN_F32},
                 {"f16", ATTN_F16},
                 {"bf16", ATTN_BF16},
                 {"int8", ATTN_INT8},
                 {"int4", ATTN_INT4}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (name == NULL || strcmp(name, types[i].name) == 0)
            return types[i].type;
    return (attn_dtype)0;
}

static bool read_prompt(const struct arguments *a, const char **name, char **text, size_t *bytes,
                        struct failure *f)
{
    if (a->prompt != NULL) {
        *name = "--prompt";
        *text = strdup(a->prompt);
        *bytes = strlen(a->prompt);
        return *text != NULL || fail(f, "out of memory");
    }
    const char *path = a->file != NULL ? a->file : "-";
    *name = text_file_name(path);
    return text_file_read(path, TOKENIZER_MAX_TEXT, text, bytes, f);
}

/* The model's own words for what can be wrong before any work is done. */
static bool prepare(const struct arguments *a, struct generation *g, struct model *model,
                    const struct segments *segments, struct failure *f)
{
    const char *name;
    char *text = NULL;
    size_t bytes;
    g->model = model_describe(model);
    if (!g->model->predicts_tokens)
        return fail(f, "%s: a %s model predicts no tokens, so it cannot write", a->model,
                    g->model->architecture);
    struct prompt prompt = {.count = 0};
    struct prompt_options options = {
        .begin = a->load_cache == NULL, .special = a->special != 0, .segments = segments};
    bool ok = model_tokenizer(model, &g->tokenizer, f) && read_prompt(a, &name, &text, &bytes, f) &&
              (segments == NULL || segments_fit(segments, a->segments, bytes, f)) &&
              prompt_tokens(g->tokenizer, g->model, name, (struct text){text, bytes}, &options,
                            &prompt, f);
    free(text);
    g->token = prompt.token;
    g->segment = prompt.segment;
    g->prompt = prompt.count;
    g->segments = segments;
    if (ok && tokenizer_size(g->tokenizer) < g->model->vocabulary)
        ok = fail(f, "%s: the model scores %lld tokens, its tokenizer knows %d", a->model,
                  (long long)g->model->vocabulary, (int)tokenizer_size(g->tokenizer));
    return ok;
}

static bool write_json(struct output_file *out, const char *path, const struct generation *g,
                       const struct run_settings *settings, struct failure *f)
{
    return tell_json(out->stream, g, settings) ? output_file_commit(out, f)
                                               : fail(f, "%s: out of memory", path);
}

static bool describe_settings(struct run_settings *settings, const attn_executor *executor,
                              struct failure *f)
{
    attn_cpu cpu = {.struct_size = sizeof cpu};
    attn_error error;
    if (attn_cpu_describe(&cpu, &error) != ATTN_OK)
        return fail(f, "%s", error.message);
    snprintf(settings->path, sizeof settings->path, "%s", cpu.path);
    settings->threads = executor->threads;
    return true;
}

/* A bad place for the cache is told before the model works for it. The file itself is written aside by the
 * library and renamed, so that only a regular file can be replaced. */
static bool check_save(const char *path, struct failure *f)
{
    struct output_file probe;
    struct stat status;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
        return fail(f, "%s: is not a regular file, and cannot be replaced by one", path);
    if (!output_file_open(&probe, path, f))
        return false;
    output_file_discard(&probe);
    return true;
}

static bool is_standard_output(const char *path)
{
    return path != NULL && strcmp(path, "-") == 0;
}

static bool write_text(const struct arguments *a, struct generation *g, const struct model *model,
                       const attn_executor *executor, struct failure *f)
{
    bool quiet = is_standard_output(a->json);
    struct display display = {.text = !quiet && !a->statistics,
                              .statistics = !quiet && a->statistics,
                              .terminal = isatty(STDOUT_FILENO)};
    struct generation_options options = {
        .most = a->tokens,
        .sampling = {.temperature = a->temperature,
                     .top_k = (int)a->top_k,
                     .top_p = a->top_p,
                     .seed = (uint64_t)a->seed},
        .stops = (const char *const *)a->stops,
        .special = a->special != 0,
        .statistics = a->statistics != 0,
        .cache_type = cache_type_of(a->cache),
        .load_cache = a->load_cache,
        .save_cache = a->save_cache,
        .executor = executor,
        .stop = &interrupted,
        .context = &display,
        .progress = isatty(STDERR_FILENO) ? show_progress : NULL,
        .show = show_token,
    };
    struct run_settings settings = {.options = &options,
                                    .cache_type = a->cache != NULL ? a->cache : "f32"};
    struct output_file json = {NULL, NULL};
    if (!describe_settings(&settings, executor, f) ||
        (a->save_cache != NULL && !check_save(a->save_cache, f)) ||
        (a->json != NULL && !output_file_open(&json, a->json, f)))
        return false;
    interrupt_catch();
    bool ok = generate(g, model, &options, f);
    interrupt_release();
    if (display.progress)
        show_progress(&display, 1, 1);
    if (display.line_open)
        putchar('\n');
    fflush(stdout);
    ok = ok && (a->json == NULL || write_json(&json, a->json, g, &settings, f));
    output_file_discard(&json);
    if (ok)
        tell_timings(stderr, g, &settings);
    errno = display.error;
    return ok;
}

static int run(const struct arguments *a, const char *command)
{
    struct failure f = {""};
    struct generation g = {0};
    struct segments segments = {.count = 0};
    struct model *model = NULL;
    attn_executor *own = NULL;
    const attn_executor *executor = attn_default_executor();
    attn_error error;
    bool ok = true;
    if (a->threads > 0) {
        ok = attn_executor_create(&own, (int)a->threads, &error) == ATTN_OK ||
             fail(&f, "%s", error.message);
        executor = own;
    }
    ok = ok && (a->segments == NULL || segments_read(&segments, a->segments, &f)) &&
         model_open(&model, a->model, &f) &&
         prepare(a, &g, model, a->segments != NULL ? &segments : NULL, &f) &&
         write_text(a, &g, model, executor, &f);
    int error_of_output = errno;
    bool stopped = ok && g.ending == ENDING_INTERRUPTED;
    generation_free(&g);
    segments_free(&segments);
    model_close(model);
    attn_executor_destroy(own);
    if (ok)
        return stopped ? STATUS_INTERRUPTED : STATUS_OK;
    if (ferror(stdout)) { /* main() tells */
        errno = error_of_output;
        return STATUS_FAILED;
    }
    command_failed(command, &f);
    return interrupted ? STATUS_INTERRUPTED : STATUS_FAILED;
}

/* ---- options ---- */

/* The numbers as they were given, over the defaults. */
static bool read_numbers(struct arguments *a, const char *command)
{
    if (!command_whole(command, "--tokens", a->given.tokens, 1, INT_MAX, "", &a->tokens) ||
        !command_whole(command, "--threads", a->given.threads, 1, MOST_THREADS, "", &a->threads) ||
        !command_real(command, "--temperature", a->given.temperature, 0, 1000, "",
                      &a->temperature) ||
        !command_whole(command, "--top-k", a->given.top_k, 0, INT_MAX, "; 0 is all", &a->top_k) ||
        !command_real(command, "--top-p", a->given.top_p, 0, 1, ", but not 0", &a->top_p) ||
        !command_whole(command, "--seed", a->given.seed, 0, LLONG_MAX, "", &a->seed))
        return false;
    if (a->top_p > 0)
        return true;
    command_usage(command, "--top-p is '%s'; it may be a number from 0 to 1, but not 0",
                  a->given.top_p);
    return false;
}

static int check_sampling(const struct arguments *a, const char *command)
{
    const char *idle = a->given.top_k != NULL   ? "--top-k"
                       : a->given.top_p != NULL ? "--top-p"
                       : a->given.seed != NULL  ? "--seed"
                                                : NULL;
    if (idle != NULL && !(a->temperature > 0))
        return command_usage(
            command, "%s needs --temperature above 0; without it the best token is taken", idle);
    return STATUS_OK;
}

static int check(const struct arguments *a, const char *command)
{
    int prompts = (a->prompt != NULL) + (a->file != NULL) + a->standard_input;
    if (prompts == 0)
        return command_usage(command, "which prompt? give --prompt TEXT, --file FILE, or -");
    if (prompts > 1)
        return command_usage(command,
                             "--prompt, --file and - are each a prompt; it may be one of them");
    if (cache_type_of(a->cache) == 0)
        return command_usage(command, "--cache is '%s'; it may be f32, f16, bf16, int8 or int4",
                             a->cache);
    if (is_standard_output(a->save_cache) || is_standard_output(a->load_cache))
        return command_usage(command, "--%s-cache is -; it may be the name of a file",
                             is_standard_output(a->save_cache) ? "save" : "load");
    if (a->segments != NULL && !a->statistics)
        return command_usage(command, "--segments needs --stats, which tells of them");
    if (is_standard_output(a->segments))
        return command_usage(command, "--segments is -; it may be the name of a file");
    for (char **stop = a->stops; stop != NULL && *stop != NULL; stop++)
        if (**stop == '\0')
            return command_usage(command, "--stop is empty; it may be any text");
    return check_sampling(a, command);
}

static int read_options(poptContext context, struct arguments *a, const char *command)
{
    int status = STATUS_OK;
    if (command_next_option(context, command, notes, &status) == COMMAND_OPTIONS_STOP)
        return a->model = NULL, status;
    a->model = poptGetArg(context);
    if (a->model == NULL)
        return command_usage(command, "which model? give a .gguf file or a directory");
    const char *extra = poptGetArg(context);
    a->standard_input = extra != NULL && strcmp(extra, "-") == 0;
    if (a->standard_input)
        extra = poptGetArg(context);
    status = extra != NULL ? command_usage(command, "'%s' is one argument too many", extra)
             : !read_numbers(a, command) ? STATUS_USAGE
                                         : check(a, command);
    if (status != STATUS_OK)
        a->model = NULL;
    return status;
}

static void free_arguments(struct arguments *a)
{
    char *numbers[] = {a->given.tokens, a->given.threads, a->given.temperature,
                       a->given.top_k,  a->given.top_p,   a->given.seed};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        free(numbers[i]);
    for (char **stop = a->stops; stop != NULL && *stop != NULL; stop++)
        free(*stop);
    free(a->stops);
    free(a->prompt);
    free(a->file);
    free(a->cache);
    free(a->save_cache);
    free(a->load_cache);
    free(a->json);
    free(a->segments);
}

int command_run(int argc, const char **argv)
{
    struct arguments a = {.tokens = MOST_TOKENS, .top_p = 1};
    struct poptOption table[] = {
        {"prompt", 'p', POPT_ARG_STRING, &a.prompt, 0, "begin with this text", "TEXT"},
        {"file", 'f', POPT_ARG_STRING, &a.file, 0, "begin with the text of this file", "FILE|-"},
        {"tokens", 'n', POPT_ARG_STRING, &a.given.tokens, 0,
         "write at most N tokens (default: 128)", "N"},
        {"temperature", 't', POPT_ARG_STRING, &a.given.temperature, 0,
         "draw tokens, the more evenly the higher it is (default: 0, the best)", "T"},
        {"top-k", 0, POPT_ARG_STRING, &a.given.top_k, 0, "draw from the K best (default: 0, all)",
         "K"},
        {"top-p", 0, POPT_ARG_STRING, &a.given.top_p, 0,
         "draw from the best that hold this share of the probability (default: 1)", "P"},
        {"seed", 0, POPT_ARG_STRING, &a.given.seed, 0, "of the draws (default: 0)", "S"},
        {"stop", 0, POPT_ARG_ARGV, &a.stops, 0,
         "end in front of this text; may be given several times", "TEXT"},
        {"cache", 0, POPT_ARG_STRING, &a.cache, 0,
         "keep keys and values as f32 (default), f16, bf16, int8 or int4", "TYPE"},
        {"save-cache", 0, POPT_ARG_STRING, &a.save_cache, 0,
         "at the end write keys and values of the whole text", "FILE"},
        {"load-cache", 0, POPT_ARG_STRING, &a.load_cache, 0,
         "go on behind a text that was saved: the prompt follows it", "FILE"},
        {"stats", 0, POPT_ARG_NONE, &a.statistics, 0, "tell for each token where the model looked",
         NULL},
        {"segments", 0, POPT_ARG_STRING, &a.segments, 0,
         "with --stats, also the share of attention on each part of the prompt that FILE names, in "
         "lines BEGIN END NAME",
         "FILE"},
        {"json", 0, POPT_ARG_STRING, &a.json, 0, "write text and figures as JSON", "FILE|-"},
        {"threads", 0, POPT_ARG_STRING, &a.given.threads, 0, "use N threads (default: all cores)",
         "N"},
        {"special", 0, POPT_ARG_NONE, &a.special, 0,
         "read strings such as <bos> in the prompt as special tokens, and show those written",
         NULL},
        COMMAND_HELP_OPTION,
        POPT_TABLEEND,
    };
    poptContext context = poptGetContext("attn", argc, argv, table, 0);
    poptSetOtherOptionHelp(context, "MODEL [-] [OPTION...]");
    int status = read_options(context, &a, argv[0]);
    if (a.model != NULL)
        status = run(&a, argv[0]);
    poptFreeContext(context);
    free_arguments(&a);
    return status;
}
