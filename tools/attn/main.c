/* attn: the command. It finds the sub-command that is meant, hands it the arguments that follow, and
 * sees to it that what went to standard output arrived there. */
#include "base/output_file.h"
#include "command.h"
#include "inspect/command_inspect.h"
#include "run/command_run.h"

#include <attn/attn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    const char *title; /* argv[0] of the command: what its help and its failures begin with */
    const char *summary;
    int (*run)(int argc, const char **argv);
} commands[] = {
    {"inspect", "attn inspect", "run a text through a model and report what every head attends to",
     command_inspect},
    {"run", "attn run", "write a text with a model, and tell where it looked", command_run},
    {"info", "attn info", "describe this machine, or a model file and what will run it",
     command_info},
    {"bench", "attn bench", "measure the kernels as a share of what this machine can do",
     command_bench},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_help(FILE *stream)
{
    fprintf(stream, "Usage: attn COMMAND [OPTION...]\n"
                    "\n"
                    "Exact fused attention on CPUs, and what every head of a model attends to.\n"
                    "\n"
                    "Commands:\n");
    for (int i = 0; i < COMMANDS; i++)
        fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(
        stream,
        "\n"
        "attn COMMAND --help lists the options of a command; attn --version prints the version.\n"
        "\n"
        "Exit status: 0 success; 1 a failure, told in one sentence on standard error;\n"
        "2 a command line that was not understood; 130 Ctrl-C.\n"
        "ATTN_CPU=portable|avx2|avx512 in the environment chooses the kernels.\n");
}

static int dispatch(int argc, const char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return STATUS_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return STATUS_OK;
    }
    if (strcmp(name, "--version") == 0) {
        printf("attn %s\n", attn_version());
        return STATUS_OK;
    }
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            argv[1] = commands[i].title;
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    return command_usage("attn",
                         name[0] == '-' ? "there is no option %s" : "there is no command %s", name);
}

/* A report that did not arrive is a failure, however well it was made. */
static int finish_output(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "attn: standard output cannot be written: %s\n", strerror(errno));
    return status == STATUS_OK ? STATUS_FAILED : status;
}

int main(int argc, char **argv)
{
    output_files_remove_on_signals();
    return finish_output(dispatch(argc, (const char **)argv));
}
