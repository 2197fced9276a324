/* `attn bench`: measure cases as shares of what this machine can do. */
#include "base/interrupt.h"
#include "base/output_file.h"
#include "bench/report.h"
#include "command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char notes[] =
    "NAME-PATTERN chooses cases by a part of their name, or by a shell pattern: forward,\n"
    "'causal_*_d64'. Without it all are measured, which takes about four minutes, but for those\n"
    "that take minutes each: their whole name must be given.\n"
    "Each case is checked against plain loops in double: a wrong one is marked, and the exit\n"
    "status is 1. --json without FILE, or with -, writes to standard output in place of the "
    "table.\n";

struct bench_options {
    const char *pattern;
    const char *json;                    /* NULL = none, "-" = standard output */
    char *given_threads, *given_seconds; /* as texts; NULL: not given */
    long long threads;                   /* 0 = all cores */
    double seconds;
    bool list;
};

/* What is left on the line: the pattern, and a "-" that belongs to --json. */
static int read_arguments(poptContext context, const char *command, struct bench_options *options)
{
    for (const char *argument; (argument = poptGetArg(context)) != NULL;) {
        if (strcmp(argument, "-") == 0 && options->json)
            continue;
        if (options->pattern)
            return command_usage(command, "one pattern is expected, but '%s' follows '%s'",
                                 argument, options->pattern);
        options->pattern = argument;
    }
    bool good =
        command_whole(command, "--threads", options->given_threads, 0, 1024, "; 0 is all cores",
                      &options->threads) &&
        command_real(command, "--seconds", options->given_seconds, 0, 3600, "", &options->seconds);
    return good ? STATUS_OK : STATUS_USAGE;
}

static bool read_executor(const struct bench_options *options, attn_executor **own,
                          struct failure *f)
{
    attn_error error;
    return attn_executor_create(own, (int)options->threads, &error) == ATTN_OK ||
           fail(f, "%s", error.message);
}

static bool write_json(const struct bench_run *run, const struct bench_result *results, int count,
                       struct output_file *out, struct failure *f)
{
    json_t *json = bench_json(run, results, count);
    if (!json) {
        output_file_discard(out);
        return fail(f, "out of memory");
    }
    json_dumpf(json, out->stream, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    fputc('\n', out->stream);
    json_decref(json);
    return output_file_commit(out, f);
}

static void show_progress(const char *name)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%s", name);
}

/* Measure every case that is meant, printing each to `table` (unless NULL) as it is done. */
static bool measure_all(const struct bench_options *options, const struct bench_setup *setup,
                        struct bench_run *run, struct bench_result *results, int *count,
                        struct failure *f)
{
    FILE *table = options->json && strcmp(options->json, "-") == 0 ? NULL : stdout;
    struct bench_ceilings ceilings = {0};
    int all;
    const struct bench_case *cases = bench_cases(&all);
    bool ok = bench_measure_reading(setup, &run->read_gb_s, &run->read_bytes, f) &&
              bench_look_at_ceilings(setup, &ceilings, f);
    if (ok && table)
        bench_print_header(table, run);
    for (int i = 0; ok && i < all; i++) {
        if (!bench_case_is_meant(&cases[i], options->pattern))
            continue;
        show_progress(cases[i].name);
        ok = bench_measure(&cases[i], setup, &ceilings, &results[*count], f);
        show_progress("");
        if (ok && table)
            bench_print_result(table, &results[*count]);
        *count += ok;
    }
    run->fma_gflops = numbers_spread(&ceilings.looks[CEILING_FMA]);
    run->bf16_dot_gflops = numbers_spread(&ceilings.looks[CEILING_BF16_DOT]);
    for (int kind = 0; kind < CEILING_COUNT; kind++)
        numbers_free(&ceilings.looks[kind]);
    if (ok && table)
        bench_print_ceilings(table, run);
    return ok;
}

static bool all_passed(const struct bench_result *results, int count, struct failure *f)
{
    for (int i = 0; i < count; i++)
        if (!results[i].verdict.passed)
            return fail(f, "%s computed a wrong result: off by %g where %g is allowed",
                        results[i].c->name, results[i].verdict.residual,
                        results[i].verdict.tolerance);
    return true;
}

/* Measure and report; `out` is open if JSON is wanted, and closed after. */
static bool measure_and_write(const struct bench_options *options, struct bench_run *run,
                              struct bench_result *results, struct output_file *out,
                              struct failure *f)
{
    attn_executor *executor = NULL;
    int count = 0;
    double begin = bench_now();
    bool ok = read_executor(options, &executor, f);
    if (ok) {
        struct bench_setup setup = {executor, options->seconds, &interrupted};
        run->threads = executor->threads;
        interrupt_catch();
        ok = measure_all(options, &setup, run, results, &count, f);
        interrupt_release();
    }
    run->seconds = bench_now() - begin;
    if (ok && options->json)
        ok = write_json(run, results, count, out, f);
    attn_executor_destroy(executor);
    return ok && all_passed(results, count, f);
}

static bool run_bench(const struct bench_options *options, struct failure *f)
{
    struct bench_run run = {.cpu = {.struct_size = sizeof(attn_cpu)}};
    struct output_file out = {NULL, NULL};
    attn_error error;
    if (attn_cpu_describe(&run.cpu, &error) != ATTN_OK)
        return fail(f, "%s", error.message);
    int all;
    bench_cases(&all);
    struct bench_result *results = calloc((size_t)all, sizeof *results);
    if (!results)
        return fail(f, "out of memory");
    /* Opened first: a report that cannot be written is not worth the wait. */
    bool ok = !options->json || output_file_open(&out, options->json, f);
    ok = ok && measure_and_write(options, &run, results, &out, f);
    output_file_discard(&out);
    free(results);
    return ok;
}

/* --list shows also what is only run by its whole name. */
static bool is_any_meant(const struct bench_options *options)
{
    int count;
    const struct bench_case *cases = bench_cases(&count);
    for (int i = 0; i < count; i++)
        if (options->list ? bench_case_matches(cases[i].name, options->pattern)
                          : bench_case_is_meant(&cases[i], options->pattern))
            return true;
    return false;
}

int command_bench(int argc, const char **argv)
{
    struct bench_options options = {.seconds = 1};
    int list = 0, status = STATUS_OK, option;
    char *json = NULL;
    enum { OPTION_JSON = 'j' };
    const struct poptOption table[] = {
        {"json", 0, POPT_ARG_STRING | POPT_ARGFLAG_OPTIONAL, NULL, OPTION_JSON,
         "write JSON to FILE, or to standard output", "FILE|-"},
        {"threads", 't', POPT_ARG_STRING, &options.given_threads, 0, "threads (default: all cores)",
         "N"},
        {"seconds", 's', POPT_ARG_STRING, &options.given_seconds, 0,
         "time for each case (default: 1; five rounds at least)", "S"},
        {"list", 'l', POPT_ARG_NONE, &list, 0, "list the cases and measure nothing", NULL},
        COMMAND_HELP_OPTION,
        POPT_TABLEEND};
    poptContext context = poptGetContext(NULL, argc, argv, table, 0);
    poptSetOtherOptionHelp(context, "[NAME-PATTERN] [OPTION...]");
    while ((option = command_next_option(context, argv[0], notes, &status)) == OPTION_JSON) {
        free(json);
        json = poptGetOptArg(context);
        options.json = json ? json : "-";
    }
    if (option == COMMAND_OPTIONS_DONE) {
        struct failure f;
        options.list = list != 0;
        status = read_arguments(context, argv[0], &options);
        if (status == STATUS_OK && !is_any_meant(&options))
            status = command_usage(argv[0], "no case is named like '%s'; --list names them",
                                   options.pattern);
        if (status == STATUS_OK && options.list)
            bench_print_list(stdout, options.pattern);
        else if (status == STATUS_OK && !run_bench(&options, &f))
            status =
                command_failed(argv[0], &f) && interrupted ? STATUS_INTERRUPTED : STATUS_FAILED;
    }
    free(json);
    free(options.given_threads);
    free(options.given_seconds);
    poptFreeContext(context);
    return status;
}
