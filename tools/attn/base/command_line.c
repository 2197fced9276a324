/* Reading a command's options with popt, and telling what was wrong in one sentence; see
 * command_line.h. */
#include "command_line.h"

#include "text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* strtoll and strtod pass over white space in front. */
static bool begins_number(const char *text)
{
    return strchr("+-.0123456789", text[0]) != NULL && text[0] != '\0';
}

bool command_whole(const char *command, const char *name, const char *text, long long low,
                   long long high, const char *note, long long *out)
{
    if (text == NULL)
        return true;
    char *end, quoted[TEXT_QUOTED];
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool good = begins_number(text) && *end == '\0' && errno == 0 && value >= low && value <= high;
    if (good)
        *out = value;
    else
        command_usage(command, "%s is %s; it may be a whole number from %lld to %lld%s", name,
                      text_quote((struct text){text, strlen(text)}, quoted), low, high, note);
    return good;
}

bool command_real(const char *command, const char *name, const char *text, double low, double high,
                  const char *note, double *out)
{
    if (text == NULL)
        return true;
    char *end, quoted[TEXT_QUOTED];
    double value = strtod(text, &end);
    bool good = begins_number(text) && *end == '\0' && value >= low && value <= high;
    if (good)
        *out = value;
    else
        command_usage(command, "%s is %s; it may be a number from %g to %g%s", name,
                      text_quote((struct text){text, strlen(text)}, quoted), low, high, note);
    return good;
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
