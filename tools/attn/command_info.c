/* `attn info`: this machine, or a model and what will run it. */
#include "command_info.h"

#include "command.h"

static const char notes[] =
    "Without MODEL: this machine, the kernels it can run, and the libraries in use.\n"
    "MODEL is a .gguf file, or a directory with model.safetensors (or its shards) and "
    "config.json.\n";

/* Nothing is printed unless all of it can be. */
static bool print_json(json_t *json, struct failure *f)
{
    if (!json)
        return fail(f, "out of memory");
    json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(json);
    return true;
}

static bool run_info(const char *path, bool as_json, struct failure *f)
{
    json_t *json = NULL;
    if (!as_json)
        return path ? info_model_print(stdout, path, f) : info_machine_print(stdout, f);
    bool ok = path ? info_model_json(&json, path, f) : info_machine_json(&json, f);
    return ok && print_json(json, f);
}

int command_info(int argc, const char **argv)
{
    int json = 0, status = STATUS_OK;
    const struct poptOption table[] = {{"json", 0, POPT_ARG_NONE, &json, 0, "print JSON", NULL},
                                       COMMAND_HELP_OPTION,
                                       POPT_TABLEEND};
    poptContext context = poptGetContext(NULL, argc, argv, table, 0);
    poptSetOtherOptionHelp(context, "[MODEL] [OPTION...]");
    if (command_next_option(context, argv[0], notes, &status) == COMMAND_OPTIONS_DONE) {
        struct failure f;
        const char *path = poptGetArg(context), *more = poptGetArg(context);
        if (more)
            status =
                command_usage(argv[0], "one model is expected, but '%s' follows '%s'", more, path);
        else if (!run_info(path, json != 0, &f))
            status = command_failed(argv[0], &f);
    }
    poptFreeContext(context);
    return status;
}
