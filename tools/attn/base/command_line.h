/* What the commands of `attn` have in common: exit statuses, reading options, telling a failure.
 *
 * A command is a function of its own arguments: argv[0] is "attn <name>", the rest follows it. It
 * returns an exit status; main() flushes standard output and reports if that failed. */
#ifndef ATTN_TOOLS_COMMAND_LINE_H
#define ATTN_TOOLS_COMMAND_LINE_H

#include "failure.h"

#include <popt.h>

enum {
    STATUS_OK = 0,
    STATUS_FAILED = 1,        /* one sentence on standard error says what went wrong */
    STATUS_USAGE = 2,         /* the command line was not understood; one sentence says where */
    STATUS_INTERRUPTED = 130, /* Ctrl-C; as shells say 128 + SIGINT */
};

/* Print "<command>: <sentence>" on standard error; returns STATUS_FAILED. */
int command_failed(const char *command, const struct failure *f);

/* The options that every command ends its table with: --help is handled by command_next_option. */
#define COMMAND_HELP_OPTION                                                                        \
    {                                                                                              \
        "help", 'h', POPT_ARG_NONE, NULL, COMMAND_OPTION_HELP, "show this help", NULL              \
    }
enum { COMMAND_OPTION_HELP = 'h', COMMAND_OPTIONS_DONE = -1 };

/* The value of the next option that has one to return, COMMAND_OPTIONS_DONE when all options are
 * read, or COMMAND_OPTIONS_STOP after help was printed (*status = STATUS_OK) or a sentence about an
 * option that was not understood (*status = STATUS_USAGE). `notes` is printed below the options in
 * the help; NULL = nothing. */
enum { COMMAND_OPTIONS_STOP = -2 };
int command_next_option(poptContext context, const char *command, const char *notes, int *status);

/* The number that `text` gives an option, called `name` in the sentence that is printed as by command_usage when it
 * is none or out of range; then false. A text of NULL, an option that was not given, leaves *out as it is.
 * Options are read as texts and then by these, since popt's own complaint names no option and no range.
 * `note` follows the range; "" = nothing. Whole numbers are decimal. */
bool command_whole(const char *command, const char *name, const char *text, long long low,
                   long long high, const char *note, long long *out);
bool command_real(const char *command, const char *name, const char *text, double low, double high,
                  const char *note, double *out);

/* Print "<command>: <sentence> (<command> --help)" on standard error; returns STATUS_USAGE. */
int command_usage(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
