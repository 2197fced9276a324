/* Reading a command's options with popt, and telling what was wrong in one sentence; see
 * command_line.h. */
#include "command_line.h"

#include <stdarg.h>
#include <stdio.h>

int command_failed(const char *command, const struct failure *f)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", command, f->message);
    return STATUS_FAILED;
}

int command_usage(const char *command, const char *format, ...)
{
    struct failure f;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(f.message, sizeof f.message, format, arguments);
    va_end(arguments);
    fflush(stdout);
    fprintf(stderr, "%s: %s (see %s --help)\n", command, f.message, command);
    return STATUS_USAGE;
}

int command_next_option(poptContext context, const char *command, const char *notes, int *status)
{
    int option = poptGetNextOpt(context);
    if (option == COMMAND_OPTION_HELP) {
        poptPrintHelp(context, stdout, 0);
        if (notes)
            printf("\n%s", notes);
        *status = STATUS_OK;
        return COMMAND_OPTIONS_STOP;
    }
    if (option < -1) {
        *status = command_usage(command, "%s: %s", poptBadOption(context, POPT_BADOPTION_NOALIAS),
                                poptStrerror(option));
        return COMMAND_OPTIONS_STOP;
    }
    return option;
}
