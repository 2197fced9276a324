/* `attn inspect MODEL`: what every head of a model attends to on a text. */
#ifndef ATTN_INSPECT_COMMAND_INSPECT_H
#define ATTN_INSPECT_COMMAND_INSPECT_H

/* argv[0] is "attn inspect". Returns an exit status: 0, 1 after a failure, 2 after a command line that
 * was not understood, 130 after Ctrl-C; but for 0 one sentence on standard error says why. */
int command_inspect(int argc, const char **argv);

#endif
