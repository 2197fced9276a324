/* `attn run MODEL`: a text written by a model behind a prompt. */
#ifndef ATTN_RUN_COMMAND_RUN_H
#define ATTN_RUN_COMMAND_RUN_H

/* argv[0] is "attn run". Returns an exit status: 0, 1 after a failure, 2 after a command line that was not
 * understood, 130 after Ctrl-C. Where there is no text one sentence on standard error says why; else timings
 * stand there. */
int command_run(int argc, const char **argv);

#endif
